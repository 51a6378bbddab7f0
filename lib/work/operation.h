/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * operation: what git left unfinished in a worktree: kept as a commit, and cleared.
 *
 * A merge, rebase, cherry-pick, revert, am or bisect is some files and folders in the
 * admin directory, some refs of that worktree alone, and unmerged entries in its index.
 * operation_keep() makes one commit of all that:
 *
 *	HEAD, MERGE_HEAD, rebase-merge/..., BISECT_LOG, ...	as they are
 *	refs/bisect/..., refs/worktree/..., refs/rewritten/...	one file a ref
 *	config.worktree, info/sparse-checkout			as they are
 *	index, sharedindex.<id>					raw
 *	stages/<n>/<path>					unmerged entries
 *	found/...						what tidy and salvage put back:
 *								a damaged HEAD or index,
 *								another config.worktree
 *
 * Its parents are the commits that those files name, so that none of them (an
 * autostash, what is still to be picked) is lost.
 *
 * `git <command> --abort` is not used to clear: it needs an index and a HEAD in good
 * order, runs the user's hooks, and applies an autostash to the tree that is about
 * to be reset. What was kept can be removed.
 */
#ifndef OPERATION_H
#define OPERATION_H

#include "slot.h"
#include "snapshot.h"

/* Folder in the admin directory for what had to be put back before anything could be kept. */
#define OPERATION_FOUND "interlock-found"

struct operation {
	const char *name; /* "rebase", "merge", ...; static; NULL: none under way */
	bool any;	  /* there is something to keep, unmerged entries not counted */
	bool unmerged;	  /* the caller says so */
	struct snapshot_extra extra;
};

/* Looks: one listing of the admin directory where there is nothing. Release with
   operation_release(), also after a failure. */
int operation_look(struct slot *slot, struct repo *slot_repo, struct operation *out,
		   struct fail *fail);

/* The name of what is under way in any git directory; NULL: nothing. */
const char *operation_name(int git_dir, struct fail *fail);

/* Where HEAD was last, by its own log; false when that does not say. */
bool operation_last_head(int git_dir, enum hash_algo algo, struct oid *oid);

/* Makes the commit: out->extra. `also` (may be NULL) is one more commit that it keeps alive. */
int operation_keep(struct slot *slot, struct repo *slot_repo, const struct oid *also,
		   struct operation *out, struct fail *fail);

/* Removes all of it but the index and the settings. What is gone already is fine. */
int operation_clear(struct slot *slot, struct repo *slot_repo, struct fail *fail);

void operation_release(struct operation *operation);

#endif
