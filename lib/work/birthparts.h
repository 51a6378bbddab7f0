/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * birthparts: what births and removals share. Used by the files of the room
 * `birth` only; the crash story is in birth.h.
 */
#ifndef BIRTHPARTS_H
#define BIRTHPARTS_H

#include "birth.h"
#include "spawn.h"

/* All names of one birth end in its birth id, so that each can be found from the record. */
#define BIRTH_STAGE "birth-"		     /* in interlock/: the admin directory to be */
#define BIRTH_TRASH "trash-"		     /* in interlock/: what was one */
#define BIRTH_TREE ".interlock-newborn-"     /* in the pool: the worktree to be */
#define BIRTH_TREE_TRASH ".interlock-trash-" /* in the pool: what was one */

/* The file of an admin directory that holds struct slot_birth. */
#define BIRTH_RECORD "interlock"

/* Beside it: the topmost directory that this birth had to make for its pool. */
#define BIRTH_MADE "interlock-made"

/* Is the open directory what `name` in `dir` leads to? */
bool birth_same_dir(int fd, int dir, const char *name);

/* FAIL_GONE, FAIL_CORRUPT, ... Release `out` also after a failure. */
int birth_read_record(int admin, struct slot_birth *out, struct fail *fail);

/*
 * Opens the directory that holds the worktree of a record, and finds the
 * worktree's name in it (points into the record). FAIL_GONE when it is not there.
 */
int birth_open_parent(const struct slot_birth *birth, const char **name, struct fail *fail);

/*
 * Opens the worktree `name`, which must be the directory of the record: FAIL_GONE,
 * or FAIL_CORRUPT when something else stands there.
 */
int birth_open_tree(const struct slot_birth *birth, int parent, const char *name,
		    struct fail *fail);

/* The way from directory `from` to `to`; both absolute and without symlinks. The caller frees. */
char *birth_way(const char *from, const char *to);

/* Removes a dead or failed birth before step 4 whose lock the caller holds. */
int birth_unmake(struct repo *repo, int stage, const char *born, struct fail *fail);

/* Prepares git to run in the worktree of a slot, on its admin directory and nothing else. */
void birth_git(const struct slot *slot, struct spawn *cmd);

/* Runs it; a status other than 0 is FAIL_FATAL in git's own words, after "<what>: ". */
int birth_run(struct spawn *cmd, const char *what, struct fail *fail);

/* The commit at which HEAD is detached; FAIL_CORRUPT when it is not. */
int birth_read_head(struct slot *slot, struct oid *oid, struct fail *fail);

/*
 * Moves HEAD of a slot to `branch` (which is at `to`), or detaches it at `to` (NULL).
 * The reflog says that it was at `from`, on `left` (NULL: detached). FAIL_BUSY when
 * somebody holds git's lock on it.
 */
struct head_move {
	const struct oid *from, *to;
	const char *left, *branch;
};
int birth_move_head(struct slot *slot, const struct head_move *move, struct fail *fail);

#endif
