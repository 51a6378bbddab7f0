/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * clock: monotonic time, deadlines, and how long to wait before another try.
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
};

#define BACKOFF_INIT \
	{ \
		.first_us = 1000, .cap_us = 256000, .tries = 0 \
	}

/* The next wait in microseconds; counts a try. */
uint32_t backoff_next(struct backoff *b);

/* Sleeps for the next wait, but not past `deadline`; false when it has passed. */
bool backoff_wait(struct backoff *b, int64_t deadline);

/* "2026-11-21T06:33:11Z"; `out` has at least 32 bytes. */
void clock_rfc3339(int64_t unix_seconds, char out[static 32]);

#endif
