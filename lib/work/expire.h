/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * expire: drop whole old segments, and what only they held.
 *
 * A plan first, then its execution; --dry-run prints the plan. The present
 * segment of a chain is never dropped, and ids of checkpoints that stay do not
 * change, because segments do not share parents.
 *
 * Crash story:
 *   1. interlock/expire-pending says that objects are to be dropped
 *   2. pins of dropped segments are deleted, oldest first, each by a swap under
 *      its per-ref lock		-> killed: the history is shorter, from its
 *					   old end; the next run goes on, because of 1
 *   3. what the repository reaches is listed by git, with no lock held: that can
 *      take a while
 *   4. "objects" lock exclusively: no save is under way. What has become reachable
 *      since 3 is listed, and our packs are rewritten without the rest (pack.h)
 *					-> killed: old packs, or both; the next run
 *					   finishes
 *   5. expire-pending goes, unless packs in use were left for the next run
 *
 * An object is only dropped when it is in our packs and none of these reaches it:
 * refs, HEADs, reflogs and indexes of all worktrees, their own refs (bisect, ...),
 * and any id that is written in FETCH_HEAD, MERGE_HEAD and the like or in the state
 * of a rebase or sequencer.
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

/* Is there anything to be dropped from our packs, by this run or by one that did not finish? */
bool expire_is_pending(struct repo *repo);

/*
 * Rewrites our packs without what nothing reaches any more. `left`: packs that were
 * used within the last hour have been left as they are. FAIL_BUSY while saves run.
 * With extensions.preciousObjects only what killed writers left goes; the rest stays
 * pending, for when somebody takes the extension away.
 */
int expire_objects(struct repo *repo, uint64_t *bytes_freed, bool *left, struct fail *fail);

void expire_plan_release(struct expire_plan *plan);

#endif
