/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * shadowguard: a save that must neither fail nor delay the hook that it runs in.
 *
 * The save goes on in a child; the parent does nothing but wait. What the child may
 * wait for has deadlines of its own. The parent is for the rest: a hook of the user's
 * that git runs under the ref's lock and that does not end, a file system that does
 * not answer, a signal. A save may be killed at any time (snapshot.h).
 *
 *	if (guard_begin(&guard, fail) == 0 && guard.child)
 *		return guard_wait(&guard, fail);	// the parent
 *	...						// the child
 *	guard_tell(&guard, GUARD_APPENDING, ms);
 *
 * Without a child (no fork) the save goes on unguarded.
 */
#ifndef SHADOWGUARD_H
#define SHADOWGUARD_H

#include "fail.h"

struct guard {
	pid_t child; /* 0: we are the child, or there is none */
	int pipe;    /* -1: no guard */
};

#define GUARD_INIT \
	{ \
		.pipe = -1 \
	}

enum guard_stage {
	GUARD_APPENDING = 1, /* all is read; so many ms may pass from here to the end */
	GUARD_SAVED,	     /* and reported: what is left is only for tidiness */
};

/* Forks. */
int guard_begin(struct guard *guard, struct fail *fail);

/* The child's word; INT64_MAX: without end. Nothing without a guard. */
void guard_tell(const struct guard *guard, enum guard_stage stage, int64_t ms);

/*
 * The parent's part, to the end of the child. 0: it has ended by itself, and has said
 * what there was to say. FAIL_BUSY: it was killed because its time was over;
 * FAIL_FATAL: a signal ended it.
 */
int guard_wait(struct guard *guard, struct fail *fail);

#endif
