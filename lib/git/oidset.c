/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "oidset.h"

#include <stdlib.h>

/* The slot that holds the id, or the free one where it belongs. */
static struct oid *find(const struct oidset *set, const struct oid *oid)
{
	size_t mask = set->slot_count - 1;
	uint64_t start;

	/* An id is a hash already: its first bytes are as good as any. */
	memcpy(&start, oid->raw, sizeof(start));
	for (size_t i = (size_t)start & mask;; i = (i + 1) & mask)
		if (!set->slots[i].algo || oid_equal(&set->slots[i], oid))
			return &set->slots[i];
}

static void grow(struct oidset *set)
{
	struct oidset bigger = {.count = set->count};

	bigger.slot_count = set->slot_count ? set->slot_count * 2 : 64;
	bigger.slots = mem_array(bigger.slot_count, sizeof(*bigger.slots));
	for (size_t i = 0; i < set->slot_count; i++)
		if (set->slots[i].algo)
			*find(&bigger, &set->slots[i]) = set->slots[i];
	free(set->slots);
	*set = bigger;
}

bool oidset_add(struct oidset *set, const struct oid *oid)
{
	struct oid *slot;

	if (set->count >= set->slot_count / 2)
		grow(set);
	slot = find(set, oid);
	if (slot->algo)
		return false;
	*slot = *oid;
	set->count++;
	return true;
}

bool oidset_has(const struct oidset *set, const struct oid *oid)
{
	return set->slot_count && find(set, oid)->algo;
}

void oidset_release(struct oidset *set)
{
	free(set->slots);
	*set = (struct oidset)OIDSET_INIT;
}
