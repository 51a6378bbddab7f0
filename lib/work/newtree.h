/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * newtree: a worktree that `git worktree add` has just made is whole, or is made whole.
 *
 * Nothing locks <common-dir>/worktrees: a prune that looked at the new admin directory
 * before it was complete deletes it after it is. The worktree itself stands, its .git file
 * leads nowhere, and whatever was to be done there fails, or worse, finds a repository
 * further up. What the admin directory has to say can be told from the worktree:
 *
 *	commondir	"../.."
 *	gitdir		where the .git file is
 *	HEAD		the commit that was checked out; the branch, when it is the one that
 *			git names after the directory and nobody else is on it
 *	index		of that commit
 *
 * Crash story: a whole admin directory that is missing is built beside, in interlock/tmp,
 * with a "locked" file in it, so that no prune takes it, and appears by one rename. Killed
 * before: a folder below interlock/tmp. Killed after: a worktree that is locked, and says
 * why. The lock goes when all is there.
 *
 * Where refs are not plain files an admin directory that lost its HEAD is not made again.
 */
#ifndef NEWTREE_H
#define NEWTREE_H

#include "repo.h"

struct newtree {
	char *path;	     /* of the worktree */
	char *id;	     /* name of its admin directory */
	bool locked;	     /* by newtree_mend() */
	struct bytes mended; /* "HEAD, index": what had to be made again; empty: it was whole */
};

/*
 * For the current directory, and the commit (in hex) that it was made at: its admin directory is
 * there, and git can open the worktree. FAIL_UNSUPPORTED: it is no linked worktree, or cannot
 * be made whole; FAIL_CORRUPT: its admin directory belongs to somebody else by now. Release
 * with newtree_release(), also after a failure.
 */
int newtree_mend(const char *commit, struct newtree *out, struct fail *fail);

/*
 * The rest, with the worktree's repository open (worktree_enter()): an index, and no lock
 * of ours, or with interlock.lockWorktrees one that stays.
 */
int newtree_finish(struct repo *repo, bool keep_locked, struct newtree *out, struct fail *fail);
void newtree_release(struct newtree *newtree);

#endif
