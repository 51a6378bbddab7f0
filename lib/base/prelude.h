/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * prelude: what every file may take for granted.
 *
 * Include it first. It holds the fixed-width types, a few attributes, and the
 * allocator. Running out of memory is the one failure that is not returned:
 * mem_*() abort the process, which every on-disk protocol here survives just
 * as it survives SIGKILL.
 */
#ifndef PRELUDE_H
#define PRELUDE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NODISCARD __attribute__((warn_unused_result))
#define UNUSED __attribute__((unused))

static inline size_t size_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* All of these return memory that the caller releases with free(). */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_array(size_t count, size_t size); /* zeroed; the product is checked */
void *mem_resize(void *old, size_t count, size_t size);
void *mem_dup(const void *data, size_t len); /* adds a NUL behind the copy */
char *mem_strdup(const char *text);
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *mem_vprintf(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);

/*
 * Makes room for at least `need` elements in a growing array, doubling.
 * `array` and `cap` are lvalues.
 */
#define MEM_GROW(array, cap, need) \
	do { \
		if ((size_t)(need) > (cap)) { \
			(cap) = size_max((need), (cap) ? (cap)*2 : 16); \
			(array) = mem_resize((array), (cap), sizeof(*(array))); \
		} \
	} while (0)

#endif
