/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * poolwatch: the watcher of a lease that is bound to a process (LEASE_OWNER).
 *
 *	if (pool_claim(repo, &wish, &claimed, fail) == 0 && !claimed.again)
 *		pool_watch(&claimed.slot, &pid, fail);
 *
 * Whoever claimed exits; what stays is a small process (watch.h) that holds the slot's locks
 * while the owner lives, and gives the slot back, its work rescued, when the owner has ended.
 * It lets go, without a release, when somebody asks for one (poolrequest.h).
 *
 * Crash story: as in watch.h. A watcher that is killed frees its locks; the owner in the record
 * judges the lease from then on. One that is killed in its release leaves what any killed
 * release leaves (poolrelease.c).
 */
#ifndef POOLWATCH_H
#define POOLWATCH_H

#include "slot.h"

/*
 * Starts it for a slot that was just claimed, whose locks the caller holds; `pid` is for
 * messages. As watch_start() fails; nothing has been released then.
 */
int pool_watch(struct slot *slot, pid_t *pid, struct fail *fail);

#endif
