/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * clock: monotonic time, deadlines, how long to wait before another try, and who
 * is told of a wait that goes on.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include "prelude.h"

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t clock_ms(void);

/* The moment `ms` milliseconds from now; DURATION_NEVER (INT64_MAX) stays that. */
int64_t clock_deadline(int64_t ms);

/* Milliseconds left until `deadline`: 0 when it has passed, INT64_MAX for never. */
int64_t clock_left(int64_t deadline);

void clock_sleep(int64_t ms); /* sleeps on through signals */

/*
 * Full jitter: try k waits a random time below min(cap, first << k), so that
 * rivals who collided once do not collide again in step.
 */
struct backoff {
	uint32_t first_us;
	uint32_t cap_us;
	unsigned tries; /* waits handed out so far */
	int64_t since;	/* when the first began; 0: none has */
	bool told;	/* of this wait, see waiting_due() */
};

#define BACKOFF_INIT \
	{ \
		.first_us = 1000, .cap_us = 256000, .tries = 0 \
	}

/* The next wait in microseconds; counts a try. */
uint32_t backoff_next(struct backoff *b);

/* Sleeps for the next wait, but not past `deadline`; false when it has passed. */
bool backoff_wait(struct backoff *b, int64_t deadline);

/*
 * Who is told of a wait for somebody else's lock, once it has gone on for
 * WAITING_TELL_MS: "lock 'x', held by pid 812 (git)". Once for each wait. The lock is
 * still held then, and waiting goes on as soon as `tell` returns.
 */
struct waiting {
	void (*tell)(void *arg, const char *what); /* NULL: nobody wants to know */
	void *arg;
};

#define WAITING_TELL_MS 500

/* Is it time to tell of the wait that these tries make up? True once at the most. */
bool waiting_due(const struct waiting *waiting, struct backoff *b);

/* "2026-11-21T06:33:11Z"; `out` has at least 32 bytes. */
void clock_rfc3339(int64_t unix_seconds, char out[static 32]);

#endif
