/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * reap: find slots whose owner is gone, rescue their work, give them back.
 *
 * Decides first, then acts: reap_plan() makes one entry per slot from slot_judge()'s
 * state by a pure function, reap_run() takes each slot's lock, looks again and does
 * it. Taking the lock is the proof of death and the election.
 */
#ifndef REAP_H
#define REAP_H

#include "salvage.h"
#include "slot.h"

enum reap_action {
	REAP_NONE,
	REAP_RESCUE_RESET,
	REAP_REMOVE,
	REAP_UNREGISTER,
	REAP_SWEEP
};
enum reap_result {
	REAP_DONE,
	REAP_PLANNED,
	REAP_SKIPPED,
	REAP_BUSY,
	REAP_FAILED
};
const char *reap_action_name(enum reap_action action);
const char *reap_result_name(enum reap_result result);

struct reap_options {
	const char *pool;
	const char *const *only; /* slots or paths; NULL: all */
	size_t only_count;
	bool dry_run;
	bool remove;	  /* --remove: free and reaped slots are removed */
	bool prune;	  /* --prune: vanished ones are unregistered */
	int64_t deadline; /* reconcile: stop beginning new ones after that */
};

/* Pure: what is done with a slot in that state. `many_vanished`: see REAP_VANISHED_MANY. */
enum reap_action reap_decide(enum slot_state state, const struct reap_options *options,
			     bool many_vanished, const char **reason);

/*
 * More than half of the slots, and at least this many, vanished at once: that is an
 * unmounted disk or another mount namespace. Reported, never acted on.
 */
#define REAP_VANISHED_MANY 3
bool reap_is_many(size_t gone, size_t slots);

struct reap_entry {
	struct slot slot; /* as looked at */
	enum reap_action action;
	enum reap_result result;
	char *rescue; /* ref, or NULL */
	char *reason; /* for people */
};

struct reap {
	struct reap_entry *entries;
	size_t count, cap;
	size_t swept; /* debris of births and removals, stale locks */
	size_t failed;
};

/* Plans, and unless dry_run acts; one failing slot is an entry with its reason. */
int reap_run(struct repo *repo, const struct reap_options *options, struct reap *out,
	     struct fail *fail);
void reap_release(struct reap *reap);

/* Only the debris: of births, removals, leases that no slot names, and dead writers' locks. */
void reap_sweep(struct repo *repo, size_t *swept);

#endif
