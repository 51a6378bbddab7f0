/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Reads the digits at the start of `text`; returns what follows them, or NULL. */
static const char *digits(const char *text, int64_t *out)
{
	int64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *p - '0', &value))
			return NULL;
	*out = value;
	return p == text ? NULL : p;
}

int number_parse(const char *text, const char *what, int64_t low, int64_t high, int64_t *out,
		 struct fail *fail)
{
	const char *rest = digits(text, out);

	if (!rest || *rest || *out < low || *out > high)
		return fail_set(fail, FAIL_USAGE,
				"%s: '%s' is not a number from %" PRId64 " to %" PRId64, what, text,
				low, high);
	return 0;
}

int duration_parse(const char *text, const char *what, int64_t *ms, struct fail *fail)
{
	static const struct {
		const char *suffix;
		int64_t ms;
	} units[] = {
		{"", 1000},	{"ms", 1},	 {"s", 1000},	   {"m", 60000},
		{"h", 3600000}, {"d", 86400000}, {"w", 604800000},
	};
	int64_t value;
	const char *rest;

	if (!strcmp(text, "never")) {
		*ms = DURATION_NEVER;
		return 0;
	}
	rest = digits(text, &value);
	for (size_t i = 0; rest && i < ARRAY_SIZE(units); i++)
		if (!strcmp(rest, units[i].suffix) &&
		    !__builtin_mul_overflow(value, units[i].ms, ms) && *ms != DURATION_NEVER)
			return 0;
	return fail_set(fail, FAIL_USAGE,
			"%s: '%s' is not a duration (500ms, 30s, 10m, 8h, 2d or never)", what,
			text);
}

int size_parse(const char *text, const char *what, int64_t *bytes, struct fail *fail)
{
	int64_t value;
	const char *rest = digits(text, &value);
	int64_t unit = 0;

	if (rest && !*rest)
		unit = 1;
	else if (rest && !strcasecmp(rest, "k"))
		unit = 1024;
	else if (rest && !strcasecmp(rest, "m"))
		unit = 1024 * 1024;
	else if (rest && !strcasecmp(rest, "g"))
		unit = 1024 * 1024 * 1024;
	if (!unit || __builtin_mul_overflow(value, unit, bytes))
		return fail_set(fail, FAIL_USAGE,
				"%s: '%s' is not a size (bytes, or with k, m or g)", what, text);
	return 0;
}

int bool_parse(const char *text, const char *what, bool *out, struct fail *fail)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0", ""};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (!strcasecmp(text, yes[i])) {
			*out = true;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (!strcasecmp(text, no[i])) {
			*out = false;
			return 0;
		}
	return fail_set(fail, FAIL_USAGE, "%s: '%s' is not a boolean", what, text);
}
