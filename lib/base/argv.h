/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * argv: a growing, NULL-terminated list of strings, owned by the list.
 *
 * Serves for command lines, environments and lists of paths.
 */
#ifndef ARGV_H
#define ARGV_H

#include "prelude.h"

struct argv {
	char **items; /* NULL while empty; else items[count] is NULL */
	size_t count;
	size_t cap;
};

#define ARGV_INIT \
	{ \
		0 \
	}

void argv_push(struct argv *list, const char *text); /* copies */
void argv_pushf(struct argv *list, const char *fmt, ...) PRINTF_LIKE(2, 3);
void argv_take(struct argv *list, char *text); /* the list frees it from now on */

/* Pushes every argument up to the NULL that ends them. */
void argv_push_all(struct argv *list, ...) __attribute__((sentinel));

void argv_release(struct argv *list);

#endif
