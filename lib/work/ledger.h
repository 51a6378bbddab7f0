/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * ledger: what happened, one line an event, for people and for `git interlock events`.
 *
 * <common-dir>/interlock/ledger. A line is
 *
 *	1 <crc32 of the JSON, 8 hex digits> <JSON object> LF
 *
 * with at least the keys time, event, slot, lease, pid and reason (null when
 * there is none). Lines are only ever added, under the flock "ledger" in
 * interlock/locks, each in one write.
 *
 * Retention (interlock.ledgerKeep): when the first line is older than that, the writer
 * sets the file aside as ledger.old, by a rename under the same lock, and begins
 * anew. That drops the ledger.old before it, and so it waits until nothing was
 * written to that one for as long. An event is kept at least that long, and nothing is
 * ever copied: there is no half of it to be left by a kill, and a reader that has the file
 * open goes on reading it to its end (ledgerread.h).
 *
 * Crash story: a writer killed inside its write leaves a torn last line. The
 * next writer sees that the file does not end in LF and starts with one, so
 * that only the torn line is lost; readers skip and count it.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include "fail.h"

struct repo;

struct ledger_event {
	const char *event; /* "save-failed", ...; ASCII */
	const char *ref;   /* these may be NULL */
	const char *session;
	const char *slot;
	const char *lease; /* or the id of a run under a mutex */
	const char *mutex;
	const char *reason;
};

#define LEDGER_FILE "ledger"
#define LEDGER_OLD "ledger.old"

/* A wait for the ledger that nobody minds, ms. */
#define LEDGER_WAIT 1000

/* Waits for the lock no longer than `wait_ms`, which need not be long. */
int ledger_append(struct repo *repo, const struct ledger_event *event, int64_t wait_ms,
		  struct fail *fail);

#endif
