/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "indextree.h"

#include <stdlib.h>

/* NUL, "0 0", LF: no node takes fewer bytes, which bounds their number. */
#define NODE_SIZE_LEAST 5

struct reader {
	const uint8_t *at, *end;
	size_t hash;
	uint32_t limit;
	struct index_tree *nodes;
	size_t used, room;
};

/* A decimal number and the byte that ends it. "-1" is the only negative one. */
static bool read_number(struct reader *r, char stop, int32_t *out)
{
	int64_t value = 0;
	const uint8_t *start = r->at;

	if (r->end - r->at >= 3 && r->at[0] == '-' && r->at[1] == '1' && r->at[2] == stop) {
		r->at += 3;
		*out = -1;
		return true;
	}
	for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
		value = value * 10 + (*r->at - '0');
		if (value > INT32_MAX)
			return false;
	}
	if (r->at == start || r->at == r->end || *r->at != stop)
		return false;
	r->at++;
	*out = (int32_t)value;
	return true;
}

/* One node; its subtrees get their places at once, and are read into them later. */
static bool read_node(struct reader *r, struct index_tree *node)
{
	size_t room = (size_t)(r->end - r->at);
	size_t len = strnlen((const char *)r->at, room);
	int32_t subtrees;

	if (len == room)
		return false;
	node->name = (const char *)r->at;
	node->name_len = (uint32_t)len;
	r->at += len + 1;
	if (!read_number(r, ' ', &node->entry_count) || !read_number(r, '\n', &subtrees) ||
	    subtrees < 0 || (size_t)subtrees > r->room - r->used ||
	    node->entry_count > (int64_t)r->limit)
		return false;
	if (node->entry_count >= 0) {
		if ((size_t)(r->end - r->at) < r->hash)
			return false;
		node->oid = r->at;
		r->at += r->hash;
	}
	node->subtree_count = (uint32_t)subtrees;
	node->subtrees = r->nodes + r->used;
	r->used += (size_t)subtrees;
	return true;
}

/* Nodes that wait for the rest of their subtrees, outermost first. */
struct pending {
	struct {
		struct index_tree *node;
		uint32_t next;
	} * items;
	size_t count, cap;
};

static void push(struct pending *stack, struct index_tree *node)
{
	MEM_GROW(stack->items, stack->cap, stack->count + 1);
	stack->items[stack->count].node = node;
	stack->items[stack->count++].next = 0;
}

struct index_tree *indextree_read(const uint8_t *data, size_t len, size_t hash, uint32_t limit)
{
	struct reader r = {.at = data, .end = data + len, .hash = hash, .limit = limit};
	struct pending stack = {0};
	bool ok;

	r.room = len / NODE_SIZE_LEAST + 1;
	r.nodes = mem_array(r.room, sizeof(*r.nodes));
	r.used = 1;
	ok = read_node(&r, &r.nodes[0]) && !r.nodes[0].name_len;
	push(&stack, &r.nodes[0]);
	while (ok && stack.count) {
		struct index_tree *node = stack.items[stack.count - 1].node;
		uint32_t next = stack.items[stack.count - 1].next++;

		if (next == node->subtree_count) {
			stack.count--;
			continue;
		}
		ok = read_node(&r, &node->subtrees[next]) && node->subtrees[next].name_len;
		push(&stack, &node->subtrees[next]);
	}
	free(stack.items);
	if (ok && r.at == r.end)
		return r.nodes;
	free(r.nodes);
	return NULL;
}
