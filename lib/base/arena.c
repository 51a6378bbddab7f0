/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "arena.h"

#include <stdalign.h>
#include <stdlib.h>

#define BLOCK_SIZE ((size_t)64 * 1024)

struct arena_block {
	struct arena_block *next;
	alignas(max_align_t) char data[];
};

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct arena_block *block;
	size_t want;
	char *p;

	if (size > SIZE_MAX / 2)
		abort();
	/* Nothing is somewhere, too: memcpy() takes no NULL. */
	size = (size_max(size, 1) + align - 1) & ~(align - 1);
	if ((size_t)(arena->end - arena->at) < size) {
		want = size_max(size, BLOCK_SIZE);
		block = mem_alloc(sizeof(*block) + want);
		block->next = arena->blocks;
		arena->blocks = block;
		arena->at = block->data;
		arena->end = block->data + want;
	}
	p = arena->at;
	arena->at += size;
	return p;
}

void arena_release(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
	*arena = (struct arena)ARENA_INIT;
}
