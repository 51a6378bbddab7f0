/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "treebag.h"

#include "hash.h"

#include <stdlib.h>

/* Allocated one by one, so that a content does not move when the table grows. */
struct held {
	struct oid oid;
	struct bytes content;
};

struct treebag {
	enum hash_algo algo;
	struct held **slots;
	size_t slot_count; /* a power of two */
	size_t count;
};

struct treebag *treebag_new(enum hash_algo algo)
{
	struct treebag *bag = mem_zalloc(sizeof(*bag));

	bag->algo = algo;
	bag->slot_count = 64;
	bag->slots = mem_array(bag->slot_count, sizeof(struct held *));
	return bag;
}

void treebag_free(struct treebag *bag)
{
	if (!bag)
		return;
	for (size_t i = 0; i < bag->slot_count; i++) {
		if (!bag->slots[i])
			continue;
		bytes_release(&bag->slots[i]->content);
		free(bag->slots[i]);
	}
	free(bag->slots);
	free(bag);
}

enum hash_algo treebag_algo(const struct treebag *bag)
{
	return bag->algo;
}

/* The slot that holds the id, or the free one where it belongs. */
static struct held **find(struct held **slots, size_t slot_count, const struct oid *oid)
{
	size_t mask = slot_count - 1;
	uint64_t start;

	memcpy(&start, oid->raw, sizeof(start));
	for (size_t i = (size_t)start & mask;; i = (i + 1) & mask)
		if (!slots[i] || oid_equal(&slots[i]->oid, oid))
			return &slots[i];
}

static void grow(struct treebag *bag)
{
	size_t slot_count = bag->slot_count * 2;
	struct held **slots = mem_array(slot_count, sizeof(struct held *));

	for (size_t i = 0; i < bag->slot_count; i++)
		if (bag->slots[i])
			*find(slots, slot_count, &bag->slots[i]->oid) = bag->slots[i];
	free(bag->slots);
	bag->slots = slots;
	bag->slot_count = slot_count;
}

void treebag_put(struct treebag *bag, const void *data, size_t len, struct oid *oid)
{
	struct held **slot;

	object_id(bag->algo, OBJECT_TREE, data, len, oid);
	if (bag->count >= bag->slot_count / 2)
		grow(bag);
	slot = find(bag->slots, bag->slot_count, oid);
	if (*slot)
		return;
	*slot = mem_zalloc(sizeof(**slot));
	(*slot)->oid = *oid;
	bytes_init(&(*slot)->content);
	bytes_add(&(*slot)->content, data, len);
	bag->count++;
}

const struct bytes *treebag_get(const struct treebag *bag, const struct oid *oid)
{
	const struct held *held = *find(bag->slots, bag->slot_count, oid);

	return held ? &held->content : NULL;
}
