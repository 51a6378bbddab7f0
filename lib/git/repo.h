/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * repo: find the repository, its paths, and decide which engine may read it.
 *
 * The native engine is libgit2 and our own scan. It is used only where it is
 * known to read what git reads. Everything else goes to git's own plumbing, and
 * the row that decided is kept in `engine_reason` for -v and --json. The choice
 * is made once per repository, never per object, and never guesses: whatever
 * libgit2 cannot open is git's.
 *
 * All paths are absolute and end without a slash.
 */
#ifndef REPO_H
#define REPO_H

#include "clock.h"
#include "file.h"
#include "gitconf.h"
#include "oid.h"

enum engine {
	ENGINE_NATIVE,
	ENGINE_GIT
};

struct git_repository;

struct repo {
	char *git_dir;	   /* of this worktree: HEAD and index live here */
	char *common_dir;  /* refs, objects, config; equals git_dir in the main worktree */
	char *object_dir;  /* where new objects go */
	char *work_tree;   /* NULL in a bare repository */
	char *prefix;	   /* current directory below work_tree: "" or "a/b/" */
	char *index_path;  /* honours GIT_INDEX_FILE */
	char *worktree_id; /* NULL in the main worktree */
	enum hash_algo algo;
	bool bare;
	bool sparse;	  /* core.sparseCheckout */
	bool tolerant;	  /* REPO_TOLERANT */
	bool refs_by_git; /* refs are not plain files, or we cannot know: git reads and writes them
			   */
	enum engine engine;
	char engine_reason[128];       /* why git: "sha256", "reftable", ...; "" when native */
	struct file_modes modes;       /* of what we create, after core.sharedRepository */
	int common_fd;		       /* O_DIRECTORY descriptor of common_dir */
	int state_fd;		       /* <common-dir>/interlock, -1 until repo_state_dir() */
	struct git_repository *handle; /* NULL under the git engine */
	struct gitconf conf;
	struct waiting waiting; /* the caller's to set once the repository is open */
	bool git_progress; /* so is this: git shows how far it is on our standard error */
};

enum repo_need {
	REPO_ANY = 0,
	REPO_WORK_TREE = 1, /* FAIL_UNSUPPORTED in a bare repository */
	REPO_TOLERANT = 2,  /* a malformed setting of ours is noted (gitconf.h), no failure */
};

/*
 * Opens the repository of the current directory and environment, as git would
 * find it. FAIL_GONE "not a git repository ...", FAIL_UNSUPPORTED for an owner
 * that git would refuse (safe.directory). Release with repo_close(), also after
 * a failure.
 */
int repo_open(struct repo *repo, enum repo_need need, struct fail *fail);
void repo_close(struct repo *repo);

/* Moves a native repository to the git engine (a row found later, during the scan). */
void repo_use_git(struct repo *repo, const char *reason);

struct spawn;

/*
 * Prepares "git" as a command on this repository: our own environment (so that
 * git finds what it would find for the caller), no optional locks, no prompt,
 * none of the user's hooks, no fsmonitor. The caller adds arguments and runs it.
 */
void repo_git(const struct repo *repo, struct spawn *cmd);

/* The same, but the user's hooks run: for writing refs. */
void repo_git_with_hooks(const struct repo *repo, struct spawn *cmd);

/*
 * Lets a prepared command run in the top of the work tree, whatever the caller's
 * relative variables lead to.
 */
void repo_git_at_top(const struct repo *repo, struct spawn *cmd);

/* Opens (creating) <common-dir>/interlock/<sub>; the caller closes the descriptor. */
int repo_state_dir(struct repo *repo, const char *sub, struct fail *fail);

/* The present branch: "refs/heads/x", or NULL when HEAD is detached (caller frees). */
int repo_head_branch(struct repo *repo, char **ref, struct fail *fail);

/* The commit that HEAD names; all zeros when HEAD is unborn. */
int repo_head_commit(struct repo *repo, struct oid *oid, struct fail *fail);

const char *engine_name(enum engine engine); /* "native", "git" */

#endif
