/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * status: from a kind of failure to an exit code and one line on stderr.
 *
 * The codes are the same everywhere (CONTRACT, exit codes):
 *	1 a definite no, 75 busy, 129 usage, 128 everything else.
 */
#ifndef STATUS_H
#define STATUS_H

#include "fail.h"

enum {
	STATUS_OK = 0,
	STATUS_NO = 1,
	STATUS_INCOMPLETE = 3,
	STATUS_BUSY = 75,
	STATUS_FATAL = 128,
	STATUS_USAGE = 129,
};

int status_of(const struct fail *fail);

/*
 * Prints "fatal: <message>" ("error:" for 1 and 75) to stderr, made safe for a
 * terminal, and returns the exit code. Usage errors are followed by a hint to -h.
 */
int status_report(const char *command, const struct fail *fail);

/* A line of talk on stderr, made safe for a terminal. */
void status_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * Puts something in the place of standard streams that are closed, so that no file of
 * ours gets the number of one. Writing to such a stream fails. To be called first.
 */
void status_open_streams(void);

/* Flushes standard output; a full disk or closed pipe there is STATUS_FATAL. */
int status_close_stdout(int status);

#endif
