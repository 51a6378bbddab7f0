/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * anylock: wait until one of several flocks is free, or something else happens.
 *
 * flock(2) has no descriptor to poll, so each lock is waited for by a thread of
 * its own that sleeps in the kernel; a holder's SIGKILL wakes it in well under a
 * millisecond. The first one that gets its lock keeps it (that is the election),
 * the others are called back.
 */
#ifndef ANYLOCK_H
#define ANYLOCK_H

#include "fail.h"

struct anylock {
	const int *fds; /* open descriptors to flock, exclusive */
	size_t count;
	const int *wake; /* descriptors that end the wait when they become readable */
	size_t wake_count;
};

/*
 * Waits until `deadline` (clock.h). 0: `won` is the index of the descriptor that
 * is now locked, or `count` when a wake descriptor became readable. FAIL_BUSY at
 * the deadline. Never returns holding more than the one lock.
 */
int anylock_wait(const struct anylock *locks, int64_t deadline, size_t *won, struct fail *fail);

#endif
