/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * history: one chain's checkpoints as one history, across its segments.
 *
 *	struct history history;
 *
 *	history_init(&history, odb);
 *	history_each(&history, &tip, visit, arg, fail);
 *	history_release(&history);
 *
 * A segment belongs to the history as long as a pin holds its end. When expire has
 * dropped the pin the history ends before it, at once, although its objects may
 * still be there in part. So read the tip before the first call: its segments were
 * pinned before it became the tip.
 *
 * Commits that somebody else put on a chain are stepped over, thousands of them: what
 * lies behind them is only ours when a checkpoint follows.
 *
 * history_grafts() says all that to git: the text of a graft file in which a
 * segment's first checkpoint follows the last one of the segment before, and the
 * first of all follows its base. With it `git log --first-parent <tip> ^<base>` is
 * the chain, path limits, diffs and colours included, and never enters the user's
 * history. Two commits are read per segment.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include "bytes.h"
#include "checkpoint.h"
#include "oidset.h"

struct history {
	struct odb *odb;
	struct oidset pinned; /* ends of older segments, once needed */
	bool pins_read;
	struct oidset grafted; /* commits that have a graft line */
	struct oid next;       /* when `led`: a checkpoint is known to be there or behind it */
	bool led;
};

/* Reads nothing yet. */
void history_init(struct history *history, struct odb *odb);
void history_release(struct history *history);

/*
 * The first checkpoint at `from` or behind it, over commits of others in a row: 1 and in `out`,
 * or 0. `out` is released by the caller in any case.
 */
int history_nearest(struct odb *odb, const struct oid *from, struct checkpoint *out,
		    struct fail *fail);

/* What comes before a checkpoint: 1 and its id, 0 at the start, or a failure. */
int history_before(struct history *history, const struct checkpoint *cp, struct oid *id,
		   struct fail *fail);

/* Visits from `tip` on; a positive return of `visit` ends the walk without a failure. */
typedef int history_visit(void *arg, const struct checkpoint *cp, struct fail *fail);
int history_each(struct history *history, const struct oid *tip, history_visit *visit, void *arg,
		 struct fail *fail);

/*
 * Appends graft lines for the chain that ends in `tip`, and gives the commit at
 * which a first-parent walk must stop (zero: none). With `all_chains` a base that
 * is itself a checkpoint is no stop: it is shown with its own chain. Each commit
 * gets one line, also over several calls.
 */
int history_grafts(struct history *history, const struct oid *tip, bool all_chains,
		   struct bytes *grafts, struct oid *stop, struct fail *fail);

#endif
