/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * ref: reading refs, and the one swap that everything of ours goes through.
 *
 * A swap compares and sets under two locks: our own per-ref flock, which makes
 * it fair among our processes, and git's "<ref>.lock", which excludes everybody
 * else. There is no blind write.
 *
 * Crash story of a native swap (I = interlock/locks/<key>.intent):
 *   1. take the flock on interlock/locks/<key>
 *   2. write the new value to a fresh file I        -> killed: I alone; nothing
 *                                                      happened. The next holder
 *                                                      of the flock removes it
 *   3. link(I, "<ref>.lock"), and when HEAD names   -> killed: the locks are one
 *      the ref also link(I, "HEAD.lock")               inode with I, and the
 *                                                      flock is free: that proves
 *                                                      that they are ours and
 *                                                      their owner dead. The next
 *                                                      holder unlinks them, or
 *                                                      whoever they stand in the
 *                                                      way of
 *   4. read the ref, compare, append to the reflogs -> killed: as 3
 *   5. rename("<ref>.lock", "<ref>")                -> killed: the swap is done.
 *                                                      I is one inode with the
 *                                                      ref; as 3 for HEAD.lock
 *   6. unlink HEAD.lock, unlink I, drop the flock
 * Steps 3 to 6 run with the usual signals blocked, and never wait: when one of
 * the locks is taken, the other is given back first. A lock that is not the inode
 * of an intent is somebody else's: it is waited for until the deadline, named,
 * and never broken.
 *
 * Deletes, several refs at once (reftxn.h), symbolic refs other than HEAD,
 * per-worktree refs, reftable, core.fsync, quarantine and repositories with a
 * reference-transaction hook of somebody else's go through `git update-ref`, under the
 * same flock:
 *   1. take the flock
 *   2. write and flock a git intent (intent.h) that lists git's locks
 *   3. run git, which inherits that flock            -> killed: intent.h says how
 *                                                       what git left is found
 *   4. remove the intent, drop the flock
 * Whatever looks odd to the native way (a hard link that the file system refuses,
 * a file where a directory should be) goes to git as well, before anything is
 * written.
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
 * The name must be valid: refname_valid() or refname_is_root().
 */
int ref_read(struct repo *repo, const char *name, struct oid *oid, struct fail *fail);

/* The same, and the last name on the way (caller frees, also after a failure). */
int ref_follow(struct repo *repo, const char *name, struct oid *oid, char **leaf,
	       struct fail *fail);

/*
 * One step: an id, or the name that a symbolic ref points at (caller frees; else
 * NULL). Where git keeps the refs, `oid` is the followed value as well.
 */
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
 * Takes the per-ref lock; symbolic refs are followed by the caller, so that all
 * writers of one ref take one lock. FAIL_BUSY, naming the holder, when
 * `deadline` passes.
 */
int ref_lock_take(struct repo *repo, const char *name, int64_t deadline, struct ref_lock *lock,
		  struct fail *fail);
void ref_lock_drop(struct ref_lock *lock);

/* Removes what a dead holder of the lock left. ref_swap() does it; for others who hold it. */
int ref_lock_heal(struct repo *repo, const char *name, struct fail *fail);

struct ref_swap {
	const char *name;
	const char *through; /* the symbolic ref that was followed to `name`, or NULL */
	struct oid old_oid;  /* zero: must not exist */
	struct oid new_oid;  /* zero: delete */
	const char *reason;  /* for the reflog; may be NULL */
	bool create_reflog;
	bool no_deref; /* replace a symbolic ref itself */
	bool mend;     /* a corrupt file counts as holding `old_oid` (our own refs only) */
	int64_t deadline;
	struct bytes *chatter; /* gets what the user's hooks said; may be NULL */
};

/*
 * The swap, under a per-ref lock that the caller holds. 0: done. FAIL_NO: the
 * ref holds something else, which is left in `now` (zero: it does not exist).
 * FAIL_BUSY: git's lock stayed held past the deadline; the message names the
 * file, its age and its holder. FAIL_UNKNOWN: it may have been applied.
 * The target's existence is not checked natively: that is the caller's.
 */
int ref_swap(struct repo *repo, const struct ref_lock *lock, const struct ref_swap *swap,
	     struct oid *now, struct fail *fail);

/* Why git writes this ref ("reference-transaction hook", ...); NULL: we do. */
const char *ref_git_reason(struct repo *repo, const struct ref_swap *swap);

/* Calls `visit` for every ref below `prefix` ("refs/shadow/"), sorted by name. */
typedef int ref_visit(void *arg, const char *name, const struct oid *oid, struct fail *fail);
int ref_each(struct repo *repo, const char *prefix, ref_visit *visit, void *arg, struct fail *fail);

/*
 * Does git run a reference-transaction hook here that is not ours alone? Then git writes
 * every ref. Ours says yes to whatever our own swap does: with nothing behind it, it need
 * not be asked. Looked up anew each time; any doubt is a yes. In refhook.c.
 */
bool ref_has_foreign_hook(struct repo *repo);

#endif
