/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * history: one chain's checkpoints as one history, across its segments.
 *
 * history_each() walks from the newest. history_grafts() says the same to git:
 * the text of a graft file in which a segment's first checkpoint follows the
 * last one of the segment before, and the first of all follows its base. With it
 * `git log --first-parent <tip> --not <base>` is the chain, path limits, diffs
 * and colours included, and never enters the user's history. Only one commit per
 * segment is read for it.
 *
 * A segment whose pin has been dropped (expire) is simply no longer there: the
 * history ends before it.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include "bytes.h"
#include "checkpoint.h"

typedef int history_visit(void *arg, const struct checkpoint *cp, struct fail *fail);

/* Visits from `tip` on; a positive return of `visit` ends the walk without a failure. */
int history_each(struct odb *odb, const struct oid *tip, history_visit *visit, void *arg,
		 struct fail *fail);

/*
 * Appends graft lines for the chain that ends in `tip`, and gives the commit
 * at which a first-parent walk must stop (zero: none).
 */
int history_grafts(struct odb *odb, const struct oid *tip, struct bytes *grafts, struct oid *stop,
		   struct fail *fail);

#endif
