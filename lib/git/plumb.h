/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * plumb: the git engine's scan: git's own plumbing on a private index.
 *
 * For repositories that only git reads right. The user's index is copied with
 * its timestamps (git trusts stat data only when the index is younger, so a copy
 * with a fresh time would hide same-second edits), `git add -A` and `git
 * write-tree` run on the copy, and what they write goes to a private object
 * directory that has the repository's as its alternate. The pack room then takes
 * from there what the checkpoint needs.
 *
 * On disk: <common-dir>/interlock/tmp/<nonce>/{index,staged,last,plain,objects/}, and beside
 * it <nonce>.lock, on which the owner holds a flock from before the folder is made
 * until after it is removed.
 *
 * Crash story: killed at any point, the folder is left and means nothing; the
 * next plumb_begin() removes every folder there whose lock is free.
 */
#ifndef PLUMB_H
#define PLUMB_H

#include "argv.h"
#include "lock.h"
#include "oid.h"

struct repo;

struct plumb {
	struct repo *repo;
	char *dir;  /* absolute */
	int parent; /* interlock/tmp */
	struct lock alive;
	struct argv
		env; /* GIT_INDEX_FILE, GIT_OBJECT_DIRECTORY, GIT_ALTERNATE_OBJECT_DIRECTORIES */
};

#define PLUMB_INIT \
	{ \
		.parent = -1, .alive = LOCK_INIT, .env = ARGV_INIT \
	}

/* Makes the folder, with a copy of the user's index (none when there is none). */
int plumb_begin(struct repo *repo, struct plumb *plumb, struct fail *fail);

/*
 * git compares whole seconds, and so believes an entry whose file was written again
 * in the same second when the index is younger: it took long to write, or is a copy.
 * Such entries lose their stat data here, so that git reads the files. `paths`
 * (from the top) says which entries matter; NULL: all.
 */
int plumb_doubt(struct plumb *plumb, const struct argv *paths, struct fail *fail);

/* Starts from the entries of a tree instead of the user's index. */
int plumb_read_tree(struct plumb *plumb, const struct oid *tree, struct fail *fail);

/*
 * Fills a second index, for plumb_last_names(): a line "<mode> <id> TAB <path>", with
 * a NUL behind it, for each entry.
 */
int plumb_fill_last(struct plumb *plumb, const struct bytes *lines, struct fail *fail);

/* The paths (from the top) in the private or the second index that pathspecs match. */
int plumb_names(struct plumb *plumb, const char *const *pathspecs, size_t count, struct argv *names,
		struct fail *fail);
int plumb_last_names(struct plumb *plumb, const char *const *pathspecs, size_t count,
		     struct argv *names, struct fail *fail);

/* Does a pathspec match anything on disk (ignored or not) or in the private index? */
int plumb_matches(struct plumb *plumb, const char *pathspec, bool *matches, struct fail *fail);

/*
 * FIFOs, sockets and devices that are not ignored: git leaves them out without a
 * word. Paths from the top of the work tree.
 */
int plumb_special_files(struct plumb *plumb, struct argv *found, struct fail *fail);

/* Those of these paths (from the top; none beyond a symlink) that git ignores. */
int plumb_ignored(struct plumb *plumb, const struct argv *paths, struct argv *ignored,
		  struct fail *fail);

/*
 * `git add -A`, for everything or for pathspecs (as git has them, relative to the
 * current directory; each must match something). Paths that git could not add
 * are pushed to `failed`.
 */
int plumb_add(struct plumb *plumb, const char *const *pathspecs, size_t count, struct argv *failed,
	      struct fail *fail);

/* The same for exactly these paths, from the top; what git cannot add stays as it is. */
int plumb_add_exact(struct plumb *plumb, const struct argv *paths, struct fail *fail);

/*
 * Where a .gitattributes is no file in the work tree, git goes by the index. One
 * that was deleted, or became a symlink, must not go on converting what is added
 * after it: this brings it up to date in the private index.
 */
int plumb_add_attributes(struct plumb *plumb, struct fail *fail);

/* Removes the unmerged entries that nothing was added for: they are of no interest. */
int plumb_drop_unmerged(struct plumb *plumb, struct fail *fail);

/* `git write-tree`: FAIL_FATAL when an add has left unmerged entries. */
int plumb_write_tree(struct plumb *plumb, struct oid *tree, struct fail *fail);

/*
 * The same before anything was added: the user's own staged tree, FAIL_NO when it
 * has unmerged entries. Its blobs may be missing here (a partial clone), which is
 * nothing to fetch them for.
 */
int plumb_write_index_tree(struct plumb *plumb, struct oid *tree, struct fail *fail);

/* Is the user's index empty or missing? */
int plumb_index_is_empty(struct plumb *plumb, bool *empty, struct fail *fail);

/* Removes the folder. */
void plumb_end(struct plumb *plumb);

/* Removes what killed ones have left; plumb_begin() does it, too. */
void plumb_sweep(struct repo *repo);

#endif
