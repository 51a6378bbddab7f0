/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(struct fail *fail, const char *text)
{
	size_t used = strlen(fail->message);

	snprintf(fail->message + used, sizeof(fail->message) - used, "%s", text);
}

/* The first failure wins: false when there is one. */
PRINTF_LIKE(4, 0)
static bool record(struct fail *fail, int kind, int err, const char *fmt, va_list ap)
{
	if (fail->kind != FAIL_NONE)
		return false;
	vsnprintf(fail->message, sizeof(fail->message), fmt, ap);
	fail->err = err;
	fail->kind = kind;
	return true;
}

int fail_set(struct fail *fail, int kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(fail, kind, 0, fmt, ap);
	va_end(ap);
	return fail->kind;
}

int fail_errno(struct fail *fail, const char *fmt, ...)
{
	int err = errno;
	va_list ap;
	bool first;

	va_start(ap, fmt);
	first = record(fail, FAIL_SYSTEM, err, fmt, ap);
	va_end(ap);
	if (first) {
		append(fail, ": ");
		append(fail, strerror(err));
	}
	return fail->kind;
}

int fail_context(struct fail *fail, const char *fmt, ...)
{
	char old[sizeof(fail->message)];
	va_list ap;

	memcpy(old, fail->message, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(fail->message, sizeof(fail->message), fmt, ap);
	va_end(ap);
	append(fail, ": ");
	append(fail, old);
	return fail->kind;
}

void fail_clear(struct fail *fail)
{
	fail->kind = FAIL_NONE;
	fail->err = 0;
	fail->message[0] = '\0';
}
