/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "clock.h"

#include <bsd/stdlib.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_deadline(int64_t ms)
{
	int64_t at;

	if (ms == INT64_MAX || __builtin_add_overflow(clock_ms(), ms, &at))
		return INT64_MAX;
	return at;
}

int64_t clock_left(int64_t deadline)
{
	int64_t now = clock_ms();

	if (deadline == INT64_MAX)
		return INT64_MAX;
	return deadline > now ? deadline - now : 0;
}

static void sleep_us(int64_t us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}

void clock_sleep(int64_t ms)
{
	sleep_us(ms * 1000);
}

uint32_t backoff_next(struct backoff *b)
{
	uint64_t ceiling = (uint64_t)b->first_us << (b->tries < 24 ? b->tries : 24);

	b->tries++;
	if (ceiling > b->cap_us)
		ceiling = b->cap_us;
	return arc4random_uniform((uint32_t)ceiling + 1);
}

bool backoff_wait(struct backoff *b, int64_t deadline)
{
	int64_t us = backoff_next(b);
	int64_t left = clock_left(deadline);

	if (!left)
		return false;
	if (!b->since)
		b->since = clock_ms();
	if (left < us / 1000)
		us = left * 1000;
	sleep_us(us);
	return true;
}

bool waiting_due(const struct waiting *waiting, struct backoff *b)
{
	if (!waiting->tell || b->told || !b->since || clock_ms() - b->since < WAITING_TELL_MS)
		return false;
	b->told = true;
	return true;
}

void clock_rfc3339(int64_t unix_seconds, char out[static 32])
{
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
