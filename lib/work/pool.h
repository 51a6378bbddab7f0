/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pool: claim, release and renew.
 *
 * Data's way of a claim:
 *   1. reconcile (reap.h), at most 2 seconds; its failure is told, never fatal
 *   2. "slots" lock (interlock/locks/slots), never held over git work: look at all slots,
 *      refuse a key or branch that is taken, choose: a free one, else one that reap would
 *      take, else a number for a birth below --max. Take the slot's lock, write the record
 *      (phase claiming, lease, key, branch), drop "slots"
 *					-> killed: the slot's lock is free, its phase is
 *					   "claiming": orphaned, nobody was told of the lease
 *   3. under the slot's lock only: birth_populate(), or tidy_settings(), salvage_slot(), tidy_slot()
 *   4. birth_attach(), tidy_include(), post-checkout hook
 *   5. record: leased		-> killed: orphaned for a lease by process; a time
 *					   lease counts from here
 *   6. the path is printed
 * None free: the "slots" lock is dropped and every held slot's lock is waited for at
 * once (anylock.h), with an inotify watch of interlock/leases and a timer for the
 * next time lease that runs out; then 2 again.
 */
#ifndef POOL_H
#define POOL_H

#include "slottree.h"

struct pool_claim {
	const char *pool;   /* "default" */
	struct oid base;    /* commit: pool_base() */
	const char *branch; /* -b, -B; NULL: detached */
	bool create;	    /* -b: it must not exist */
	const char *key;
	int64_t max;	  /* slots of this pool; 0: no limit */
	int64_t deadline; /* clock.h; 0: do not wait */
	enum lease_kind kind;
	pid_t owner;	     /* LEASE_OWNER */
	int64_t ttl;	     /* LEASE_TIME, seconds; INT64_MAX: never */
	bool resume;	     /* --resume: take over one's own time lease of that key */
	bool clean_all;	     /* interlock.clean = all */
	const char *command; /* for people */
	void (*waiting)(void *arg, const char *whom); /* once, within a second */
	void (*warn)(void *arg, const char *line);
	void *arg;
	struct bytes *chatter; /* gets what the user's post-checkout hook said; may be NULL */
};

/*
 * The commit that a claim begins at: `given`, else the tip of an existing `branch` (may be NULL),
 * else HEAD. To be asked before the first claim: afterwards the current directory
 * is a slot, where HEAD is another one.
 */
int pool_base(struct repo *repo, const char *given, const char *branch, struct oid *oid,
	      struct fail *fail);

/*
 * How long a claim may wait, ms: `given` (which `what` says; below 0: not given), or the
 * setting. A wait that outlives its caller is killed half-way: one that somebody chose has
 * to be below the cap (FAIL_USAGE, with both), the default one is made so.
 */
int pool_patience(const struct gitconf *conf, int64_t given, const char *what, int64_t *ms,
		  struct fail *fail);

struct pool_claimed {
	struct slot slot;
	struct salvage rescued; /* what was found in it */
	bool again;		/* it was the caller's already: nothing was changed in it */
};

/*
 * Claims one. The slot's lock is then held, except for LEASE_TIME and for what was the
 * caller's already; slot.work is open for leases by process. FAIL_BUSY names who holds
 * what; FAIL_NO: a branch that exists, or does not. Release with
 * pool_claimed_release(), which lets the lock go.
 *
 * The current directory is the slot afterwards, and the environment that of a fresh
 * process in it (worktree_enter()).
 */
int pool_claim(struct repo *repo, const struct pool_claim *claim, struct pool_claimed *out,
	       struct fail *fail);
void pool_claimed_release(struct pool_claimed *claimed);

/* FAIL_NO: not the caller's, or no longer the current lease. FAIL_BUSY: somebody is inside. */
int pool_release(struct slot *slot, const struct pool_release *release, struct pool_released *out,
		 struct fail *fail);

/* Renews a time lease; ttl 0: by its own. FAIL_NO as above, and for leases by process. */
int pool_renew(struct slot *slot, const char *lease, int64_t ttl, struct fail *fail);

/* A use of the suite in a worktree: renews the time lease when it is the caller's. Never fails, and
   costs one failed open where there is no lease. */
void pool_touch(struct repo *repo);

#endif
