/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * arena: many small pieces of memory that are given back all at once.
 *
 * Nothing is freed on its own. Not thread-safe: one arena per thread.
 */
#ifndef ARENA_H
#define ARENA_H

#include "prelude.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	char *at, *end;		    /* what is left of the newest */
};

#define ARENA_INIT \
	{ \
		0 \
	}

void *arena_alloc(struct arena *arena, size_t size); /* aligned for anything, not zeroed */
void arena_release(struct arena *arena);

#endif
