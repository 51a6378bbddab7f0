/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * refgit: the swap of one ref by `git update-ref`, and what it shares with
 * reftxn: waiting for locks, and making sense of git's refusals. Used by ref's
 * own files only. The crash story is in ref.h.
 */
#ifndef REFGIT_H
#define REFGIT_H

#include "argv.h"
#include "clock.h"
#include "ref.h"
#include "spawn.h"

/* ref_swap() through git. */
int refgit_swap(struct repo *repo, const struct ref_lock *lock, const struct ref_swap *swap,
		struct oid *now, struct fail *fail);

/* git's lock file on a ref. The caller frees it. */
char *refgit_lock_path(const struct repo *repo, const char *name);

/*
 * `path` stands in the way: clears it away if it is a dead writer's of ours, else
 * waits a little. FAIL_BUSY, naming the file, its age and its holder, when
 * `deadline` has passed.
 */
int refgit_make_way(struct repo *repo, const char *path, const char *own_key,
		    struct backoff *backoff, int64_t deadline, struct fail *fail);

/* Waits a little for git's lock at `path`; tells who holds it when that goes on. */
bool refgit_wait(struct repo *repo, const char *path, struct backoff *backoff, int64_t deadline);

/*
 * Pushes settings: git's own waiting for locks stays within the deadline, and
 * full ids are taken for what they are.
 */
void refgit_settings(const struct repo *repo, struct spawn *cmd, int64_t deadline);

/* With interlock.durability = full: what git wrote is on the disk afterwards. */
int refgit_sync(const struct repo *repo, struct fail *fail);

/* FAIL_FATAL in git's own words; `err` is all that it wrote to stderr. */
int refgit_words(const char *err, struct fail *fail);

/* The locks that git is going to take: their paths, and the text of a git intent. */
struct refgit_locks {
	struct repo *repo;
	char *head; /* the branch that HEAD names: its lock covers HEAD too */
	struct argv paths;
	struct bytes intent;
};

void refgit_locks_init(struct refgit_locks *locks, struct repo *repo);
void refgit_locks_release(struct refgit_locks *locks);

/* `value` is what the ref's lock may hold; `symbolic`: it may hold anything. */
void refgit_expect(struct refgit_locks *locks, const char *name, const struct oid *value,
		   bool symbolic);

/* What git takes for deleting any ref. */
void refgit_expect_delete(struct refgit_locks *locks);

/* The first of them that exists, or NULL. */
const char *refgit_first_in_way(const struct refgit_locks *locks);

/*
 * Is a directory gone that one of them would be in? git makes it first, so a run of
 * pack-refs removed it as empty in between. git itself tries only three times.
 */
#define REFGIT_VANISHED_TRIES 3
bool refgit_room_vanished(const struct refgit_locks *locks);

/* FAIL_BUSY: names the lock, its age and its holder. */
int refgit_busy(struct repo *repo, const char *path, struct fail *fail);

/* HEAD of this worktree names the ref: then its reflog is written too. */
bool refgit_head_names(struct repo *repo, const char *name);

#endif
