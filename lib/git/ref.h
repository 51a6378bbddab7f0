/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * ref: reading refs, and the one swap that everything of ours goes through.
 *
 * A swap compares and sets under two locks: our own per-ref flock, which makes
 * it fair among our processes, and git's "<ref>.lock", which excludes everybody
 * else. There is no blind write.
 *
 * Crash story of a swap on a loose ref (I = interlock/locks/<key>.intent):
 *   1. take the flock on interlock/locks/<key>
 *   2. write the new value to a fresh file I        -> killed: I alone; nothing
 *                                                      happened. The next holder
 *                                                      of the flock removes it
 *   3. link(I, "<ref>.lock")                        -> killed: I and <ref>.lock
 *                                                      are one inode, which
 *                                                      proves that the lock is
 *                                                      ours and its owner dead
 *                                                      (the flock is free): the
 *                                                      next holder unlinks both
 *   4. read the ref, compare, append to the reflog  -> killed: as 3
 *   5. rename("<ref>.lock", "<ref>")                -> killed: I is one inode
 *                                                      with the ref: the swap is
 *                                                      done; unlink I
 *   6. unlink(I), drop the flock
 * A "<ref>.lock" that is not the inode of I is somebody else's: it is waited
 * for until the deadline, named, and never broken.
 *
 * Deletes, several refs at once, symbolic refs, the branch that HEAD names (its
 * reflog is HEAD's too), per-worktree refs, reftable and repositories with a
 * reference-transaction hook go through `git update-ref`, under the same flock.
 * For these I is not linked: it says "git was writing". When its writer is dead,
 * a "<ref>.lock" that is younger than I, that no process has open and that holds
 * nothing or the new value is what the killed git left.
 */
#ifndef REF_H
#define REF_H

#include "bytes.h"
#include "fail.h"
#include "lock.h"
#include "oid.h"
#include "refname.h"

struct repo;

/*
 * The value of a ref after following symbolic refs. FAIL_GONE when it does not
 * exist (also a symbolic ref to nothing), FAIL_CORRUPT when its file holds
 * neither an id nor a symbolic ref (an empty file after a power loss: D19).
 */
int ref_read(struct repo *repo, const char *name, struct oid *oid, struct fail *fail);

/* One step: an id, or the name that a symbolic ref points at (caller frees; else NULL). */
int ref_read_raw(struct repo *repo, const char *name, struct oid *oid, char **target,
		 struct fail *fail);

/* FAIL_FATAL when another ref stands where a new ref's directory, or the new ref, would be. */
int ref_check_room(struct repo *repo, const char *name, struct fail *fail);

/* The per-ref flock. Not recursive. */
struct ref_lock {
	struct lock flock;
	char *name;
	int dir;   /* interlock/locks */
	char *key; /* file name of the flock in `dir` */
};

#define REF_LOCK_INIT \
	{ \
		.flock = LOCK_INIT, .dir = -1 \
	}

/*
 * Takes the per-ref lock and heals what a killed holder left behind (D18).
 * FAIL_BUSY, naming the holder, when `deadline` passes.
 */
int ref_lock_take(struct repo *repo, const char *name, int64_t deadline, struct ref_lock *lock,
		  struct fail *fail);
void ref_lock_drop(struct ref_lock *lock);

struct ref_swap {
	const char *name;
	struct oid old_oid; /* zero: must not exist */
	struct oid new_oid; /* zero: delete */
	const char *reason; /* for the reflog; may be NULL */
	bool create_reflog;
	bool no_deref; /* replace a symbolic ref itself */
	bool mend;     /* a corrupt file counts as holding `old_oid` (our own refs only) */
	int64_t deadline;
};

/*
 * The swap, under a per-ref lock that the caller holds. 0: done. FAIL_NO: the
 * ref holds something else, which is left in `now` (zero: it does not exist).
 * FAIL_BUSY: git's lock stayed held past the deadline; the message names the
 * file, its age and its holder. FAIL_UNKNOWN: it may have been applied.
 */
int ref_swap(struct repo *repo, const struct ref_lock *lock, const struct ref_swap *swap,
	     struct oid *now, struct fail *fail);

/* Calls `visit` for every ref below `prefix` ("refs/shadow/"), sorted by name. */
typedef int ref_visit(void *arg, const char *name, const struct oid *oid, struct fail *fail);
int ref_each(struct repo *repo, const char *prefix, ref_visit *visit, void *arg, struct fail *fail);

/* An installed, executable reference-transaction hook: then git writes every ref. */
bool ref_has_transaction_hook(struct repo *repo);

#endif
