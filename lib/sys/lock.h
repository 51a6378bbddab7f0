/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * lock: an exclusion that the kernel ends when its holder dies.
 *
 * A lock is flock(2) on a regular file that stays where it is. Whoever gets
 * the lock holds the file that the name leads to: after each flock the name is
 * looked up again and compared with the open descriptor, so that a sweep that
 * unlinked the file in between cannot give two holders (REQUIREMENTS B4).
 *
 * Crash story: the lock file is empty and means nothing by itself. A holder
 * that is killed leaves the file and no lock. Nobody has to repair anything.
 *
 *	struct lock lock = LOCK_INIT;
 *
 *	if (lock_take(&lock, dir, "ref-x", LOCK_EXCLUSIVE, deadline, NULL, &modes, fail) < 0)
 *		return fail->kind;	// FAIL_BUSY names the holder
 *	...
 *	lock_drop(&lock);
 *
 * The descriptor is close-on-exec: a child never keeps our lock.
 * Waiting is done in the kernel; a deadline is kept by a timer that interrupts
 * the wait, so a waiter wakes as soon as the holder is gone.
 */
#ifndef LOCK_H
#define LOCK_H

#include "clock.h"
#include "file.h"

enum lock_mode {
	LOCK_SHARED,
	LOCK_EXCLUSIVE
};

struct lock {
	int fd; /* -1 while not held */
};

#define LOCK_INIT \
	{ \
		.fd = -1 \
	}

/*
 * Takes the lock, waiting until `deadline` (clock_deadline(); 0 means do not
 * wait); who is `waiting` (may be NULL) is told who holds it when that takes
 * long. FAIL_BUSY when time ran out; FAIL_SYSTEM when the lock cannot be
 * judged (EACCES, ENOLCK): that is neither free nor busy.
 */
int lock_take(struct lock *lock, int dir, const char *name, enum lock_mode mode, int64_t deadline,
	      const struct waiting *waiting, const struct file_modes *modes, struct fail *fail);

void lock_drop(struct lock *lock);

/*
 * The same for an open file or directory: its flock, taken alone, until `deadline`.
 * The caller compares with the name afterwards. Whoever only asks whether a lock is
 * free takes it shared for a moment; that is waited out, and never FAIL_BUSY.
 */
int lock_take_open(int fd, const char *label, int64_t deadline, struct fail *fail);

/*
 * Asks, and gives back: 0 when nobody holds it alone, FAIL_BUSY, or FAIL_SYSTEM when
 * the kernel cannot say. Not on a descriptor that may hold the lock itself.
 */
int lock_probe_open(int fd, struct fail *fail);

enum lock_state {
	LOCK_FREE,
	LOCK_HELD,     /* somebody holds it alone */
	LOCK_UNJUDGED, /* cannot be opened or asked: neither free nor held */
	LOCK_ABSENT    /* no such file. Whether that is free, or an end, its protocol says */
};

/* The same for a regular file by its name. It makes no file, and may be outdated at once. */
enum lock_state lock_look(int dir, const char *name);

/*
 * Says who holds a flock on the open file `fd`: "pid 812 (git-shadow-commit), for 3s".
 * From /proc/locks, so it is for messages only; "an unseen process" when hidden.
 */
void lock_describe_holder(int fd, struct bytes *out);

#endif
