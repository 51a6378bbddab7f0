/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * bytes: a growing run of bytes that always has a NUL behind its end.
 *
 *	struct bytes line = BYTES_INIT;
 *
 *	bytes_addf(&line, "%s %u\n", name, count);
 *	file_write(fd, line.data, line.len);
 *	bytes_release(&line);
 *
 * `data` is never NULL to read from: an empty one points at a static NUL.
 * Contents may hold NULs; `len` decides.
 */
#ifndef BYTES_H
#define BYTES_H

#include "prelude.h"

struct bytes {
	char *data;
	size_t len;
	size_t cap; /* 0 while `data` is the static NUL */
};

extern char bytes_empty[];
#define BYTES_INIT \
	{ \
		.data = bytes_empty, .len = 0, .cap = 0 \
	}

void bytes_init(struct bytes *b);
void bytes_release(struct bytes *b);		  /* frees, and leaves it empty and usable */
void bytes_clear(struct bytes *b);		  /* length 0, memory kept */
void bytes_reserve(struct bytes *b, size_t more); /* room for `more` bytes behind len */
void bytes_truncate(struct bytes *b, size_t len); /* len <= b->len */
void bytes_add(struct bytes *b, const void *data, size_t len);
void bytes_adds(struct bytes *b, const char *text);
void bytes_addc(struct bytes *b, int c);
void bytes_addf(struct bytes *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Hands the memory to the caller, who releases it with free(). */
char *bytes_take(struct bytes *b);

/* Removes one trailing LF, or CR LF. */
void bytes_chomp(struct bytes *b);

#endif
