/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * worktree: git's linked worktrees as they stand on disk, read without a process.
 *
 * <common-dir>/worktrees/<id> is the admin directory: "gitdir" leads to the
 * worktree's .git file, which leads back; "HEAD", "index", "locked" as git has
 * them. Everything is read below one directory descriptor, through no symlink.
 */
#ifndef WORKTREE_H
#define WORKTREE_H

#include "argv.h"
#include "bytes.h"
#include "fail.h"
#include "repo.h"

struct worktree {
	char *id;     /* NULL: the main worktree */
	char *path;   /* of the worktree (gitdir without "/.git"); NULL when it cannot be read, and
			 for the main one when there is none (bare) or nothing says where it is */
	char *branch; /* "refs/heads/x" that HEAD names; NULL: detached */
	struct argv held; /* branches that an unfinished rebase or bisect will come back to */
	char *locked;	  /* reason, "" for none; NULL: not locked */
	bool bare;	  /* the main one of a bare repository: its HEAD holds no branch */
};

struct worktrees {
	struct worktree *items; /* the main one first, then by id */
	size_t count, cap;
};

/*
 * Lists them; one that cannot be read is there with path NULL. Where refs are not
 * plain files this is one git process.
 */
int worktrees_list(struct repo *repo, struct worktrees *out, struct fail *fail);
void worktrees_release(struct worktrees *worktrees);

/*
 * Who has `branch` ("refs/heads/x") checked out, or is rebasing or bisecting it,
 * except the worktree `but` (an id, or NULL). NULL: nobody. Points into the list.
 */
const struct worktree *worktrees_on_branch(const struct worktrees *worktrees, const char *branch,
					   const char *but);

/* Opens <common-dir>/worktrees/<id>; FAIL_GONE when there is none. */
int worktree_open_admin(struct repo *repo, const char *id, struct fail *fail);

/*
 * What the settings of the repository say about its main worktree, as opposed to
 * what is known from the current one: it is bare; core.worktree (NULL: not set).
 * The caller frees.
 */
struct worktree_main {
	bool bare;
	char *work_tree;
};
int worktree_main_read(const struct repo *repo, struct worktree_main *out, struct fail *fail);

/* What `git rev-parse --local-env-vars` lists, for any git; NULL at the end. */
extern const char *const worktree_local_env[];

/*
 * Pushes names to an environment (spawn.h) so that git does not see them: all of
 * the above, and the settings that GIT_CONFIG_COUNT counts.
 */
void worktree_forget_env(struct argv *env);

/*
 * Leaves the caller's repository behind and opens the one of another worktree:
 * clears what `git rev-parse --local-env-vars` lists, changes the current
 * directory to `dir` (an open directory: whatever is renamed meanwhile, it is
 * that one), and opens it. For commands that act on slots; everything that the
 * caller still needs of the old place must be an absolute path or a descriptor.
 */
int worktree_enter(int dir, struct repo *repo, struct fail *fail);

/* Its first half: leaves, and opens nothing. */
int worktree_leave_for(int dir, struct fail *fail);

#endif
