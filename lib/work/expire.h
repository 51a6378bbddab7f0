/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * expire: drop whole old segments, and what only they held.
 *
 * A plan first, then its execution; --dry-run prints the plan. The present
 * segment of a chain is never dropped, and ids of checkpoints that stay do not
 * change, because segments do not share parents.
 *
 * Crash story:
 *   1. pins of dropped segments are deleted, oldest first, each by a swap under
 *      its per-ref lock		-> killed: the rest is dropped by the next run
 *   2. "objects" lock exclusively: no save is under way
 *   3. everything that any ref, reflog, index or HEAD of any worktree reaches is
 *      listed by git, and our packs are rewritten without the rest (pack.h)
 *					-> killed: old packs, or both; the next run
 *					   finishes
 */
#ifndef EXPIRE_H
#define EXPIRE_H

#include "odb.h"
#include "repo.h"

struct expire_options {
	const char *chain;  /* only this chain; NULL: all */
	int64_t keep;	    /* at least so many newest checkpoints of each chain; -1: no rule */
	int64_t older_than; /* only segments that ended before this second; -1: no rule */
};

struct expire_item {
	char *pin;	/* refs/shadow-old/... */
	struct oid tip; /* the last checkpoint of the segment */
	int64_t checkpoints;
	int64_t time; /* of its last checkpoint */
	bool drop;
	bool done;
};

struct expire_plan {
	struct expire_item *items; /* sorted by name: per chain, oldest first */
	size_t count, cap;
};

int expire_plan(struct odb *odb, const struct expire_options *options, struct expire_plan *plan,
		struct fail *fail);

/* Deletes the pins that the plan drops. Items that are done say so, also after a failure. */
int expire_drop(struct repo *repo, struct expire_plan *plan, struct fail *fail);

/* Rewrites our packs without what nothing reaches any more. FAIL_BUSY while saves run. */
int expire_objects(struct repo *repo, uint64_t *bytes_freed, struct fail *fail);

void expire_plan_release(struct expire_plan *plan);

#endif
