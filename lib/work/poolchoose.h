/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * poolchoose: which slot a claim gets: the part of a claim under the "slots" lock.
 *
 * All that two claims must agree on is decided here, in a few milliseconds: who has
 * which key, which branch, which slot, and which number a newborn gets. The record
 * that says so is on disk before the lock is dropped. Nothing here waits for a
 * slot's lock: whoever holds "slots" only tries those, so that a process which
 * holds a slot's lock may wait for "slots".
 */
#ifndef POOLCHOOSE_H
#define POOLCHOOSE_H

#include "lock.h"
#include "pool.h"

/* One claim under way. */
struct claiming {
	struct repo *repo;
	const struct pool_claim *wish;
	struct pool_claimed *out;
	struct oid base;
	char *base_hex;
	char *branch;		   /* "refs/heads/x", or NULL */
	char *dir;		   /* of the pool */
	char *previous;		   /* the lease that the chosen slot had, whose files go at the end */
	bool can_wait;		   /* none was to be had, but somebody's lease can end */
	bool newborn;		   /* the slot was published a moment ago, and is not populated */
	struct slot_record before; /* what the record of the chosen slot was */
	struct argv spoiled;	   /* ids of slots that this claim could not make ready */
	struct slots seen;	   /* all slots, as the last round saw them */
};

/*
 * Chooses. `won` is a slot whose lock the caller already holds, or NULL; it is taken
 * over or unlocked. 0 with out->slot locked and recorded (or out->again); FAIL_BUSY
 * when every slot is taken, or the key or the branch, naming by whom: then
 * `wait` says whether waiting can help.
 */
int pool_choose(struct claiming *c, struct slot *won, bool *wait, struct fail *fail);

/* The record of a lease that is beginning; owned by this process until it is done. */
void pool_begin_record(const struct claiming *c, struct slot_record *record);

#endif
