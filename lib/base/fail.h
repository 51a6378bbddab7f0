/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * fail: why a call did not complete.
 *
 * Every function that can fail returns int: 0, or one of the negative kinds
 * below, and fills the caller's `struct fail` (never NULL) with one line for
 * people. Outcomes that are expected (a lost swap, a busy lock, a missing
 * thing) have a kind of their own, so that nobody has to read the text.
 *
 *	struct fail fail = FAIL_INIT;
 *
 *	if (ref_read(repo, name, &oid, &fail) < 0)
 *		return status_report(&fail);
 *
 * Nothing is allocated here: a failure can be recorded when memory is short.
 * Messages are lower case, quote their subject, and have no full stop:
 * "open lock 'x': Permission denied". The first failure wins: a second
 * fail_set() on the same struct is ignored until fail_clear().
 */
#ifndef FAIL_H
#define FAIL_H

#include "prelude.h"

enum fail_kind {
	FAIL_NONE = 0,
	FAIL_NO = -1,	       /* a definite no: compare failed, refused; exit 1 */
	FAIL_GONE = -2,	       /* what was asked for does not exist; exit 1 or 128 */
	FAIL_BUSY = -3,	       /* held by somebody past the deadline; exit 75 */
	FAIL_USAGE = -4,       /* malformed option, variable or setting; exit 129 */
	FAIL_SYSTEM = -5,      /* a system call said no; `err` holds errno; exit 128 */
	FAIL_CORRUPT = -6,     /* what is on disk makes no sense; exit 128 */
	FAIL_UNSUPPORTED = -7, /* refused on purpose; the message says what to do; exit 128 */
	FAIL_UNKNOWN = -8,     /* it may or may not have been applied; exit 128 */
	FAIL_ENGINE = -9,      /* the native engine must not decide this: ask git */
	FAIL_FATAL = -10,      /* anything else; exit 128 */
};

struct fail {
	int kind; /* enum fail_kind */
	int err;  /* errno, or 0 */
	char message[1024];
};

#define FAIL_INIT \
	{ \
		.kind = FAIL_NONE \
	}

/* Both return the kind, so that `return fail_set(...)` reads well. */
int fail_set(struct fail *fail, int kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Records FAIL_SYSTEM with the current errno and appends ": <strerror>". */
int fail_errno(struct fail *fail, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts "<context>: " in front of a failure already recorded; returns its kind. */
int fail_context(struct fail *fail, const char *fmt, ...) PRINTF_LIKE(2, 3);

void fail_clear(struct fail *fail);

#endif
