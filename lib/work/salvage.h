/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * salvage: what would be lost in a slot, saved under refs/rescue/<slot>/<lease>.
 *
 * The rescue is a checkpoint (snapshot.h) of the slot's work tree: tracked and
 * untracked files, the staged content as a parent, and HEAD's commit as a parent,
 * which keeps the commits of a detached HEAD. An unfinished merge, rebase,
 * cherry-pick, revert, am or bisect, unmerged entries, and what tidy_settings() found and put
 * back, are one more parent (operation.h). `git shadow-commit restore <ref>` brings the
 * files back.
 *
 * Nothing is left out because it is large. A nested repository, what cannot be read,
 * and a file over SALVAGE_PACKED_MAX is set aside (aside.h) and named in a trailer
 * Shadow-Aside. Sockets, FIFOs and devices hold nothing. What the ignore rules name is not
 * rescued: tidy leaves it where it is, or is told to delete it (interlock.clean = all). What
 * interlock.noise names is no reason for a rescue, but is in one that has another.
 *
 * If anything cannot be saved the call fails, and the caller leaves the slot as it is.
 *
 * Crash story:
 *   1. a damaged HEAD or index goes to A/interlock-found, and git writes another
 *					-> killed: A/interlock-found is kept by the next run
 *   2. skip-worktree and assume-unchanged flags are cleared, by git, in one new index
 *					-> killed: what they hid can be seen now
 *   3. repositories are set aside, by renames
 *					-> killed: they lie there; the next run names them
 *   4. the checkpoint (snapshot.h); what it cannot hold is set aside before its commit
 *					-> killed: saved, or as before. The next one saves again
 *					   under the same name: unchanged, or one more
 */
#ifndef SALVAGE_H
#define SALVAGE_H

#include "slot.h"

#define SALVAGE_PACKED_MAX ((int64_t)1 << 30)

struct salvage {
	bool needed; /* there was something to rescue */
	char *ref;   /* NULL when there was not */
	struct oid commit;
	struct oid head;  /* that HEAD names; zero when it names none */
	uint64_t changed; /* paths that differ from HEAD, untracked ones included */
	uint64_t
		commits; /* commits on HEAD that no branch, tag or remote ref has; capped at 1000 */
	const char *operation; /* "merge", "rebase", ...; NULL; static */
	struct argv aside;     /* what was set aside: from the common directory, or absolute */

	/* For tidy. */
	char *lease;	   /* as given */
	bool clean;	   /* the work tree and the index were found as HEAD is */
	bool listed;	   /* `extras` is all that git would call untracked */
	bool rules_differ; /* ignore rules are among what changed */
	struct argv extras;
};

/*
 * Looks, and saves when there is anything. `slot_repo` was opened by worktree_enter()
 * in the slot, whose lock the caller holds, after tidy_settings(). `lease` names the
 * rescue: whose work it is. `doomed` (may be NULL) is a branch ("refs/heads/x") that is
 * going to be deleted: its commits count as not held.
 */
int salvage_slot(struct slot *slot, struct repo *slot_repo, const char *lease, const char *doomed,
		 struct salvage *out, struct fail *fail);
void salvage_release(struct salvage *salvage);

#endif
