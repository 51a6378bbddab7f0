/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * shield: signals that ask us to end wait until things are in order.
 *
 *	struct shield shield = SHIELD_INIT;
 *
 *	if (shield_raise(&shield, fail) < 0)
 *		return fail->kind;
 *	...			// SIGTERM, SIGINT, SIGHUP, SIGQUIT do not end us here
 *	shield_lower(&shield);
 *
 * A signal that was ignored before (nohup, the background of a shell without
 * job control) stays ignored and is never seen here. The mask is the calling
 * thread's: other threads block all signals anyway (crew.h, anylock.h).
 */
#ifndef SHIELD_H
#define SHIELD_H

#include "fail.h"

#include <signal.h>

struct shield {
	int fd;	      /* readable when one has come; -1 while the shield is down */
	sigset_t old; /* the mask from before */
};

#define SHIELD_INIT \
	{ \
		.fd = -1 \
	}

/* Raising a raised one changes nothing. */
int shield_raise(struct shield *shield, struct fail *fail);

/* The next signal that came, or 0. Does not wait. */
int shield_take(struct shield *shield);

/* What came and was not taken is dropped: it asked us to end, and here we are. */
void shield_lower(struct shield *shield);

#endif
