/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * ledgerread: the ledger, line by line, and what comes to it.
 *
 *	struct ledger_reader reader;
 *
 *	ledger_read_open(repo, &reader, fail);
 *	while (ledger_read(&reader, &line, fail) > 0)
 *		...			// line.object; then ledger_line_release(&line)
 *	ledger_read_close(&reader);
 *
 * Reads what was set aside (ledger.h) first, then the ledger, takes no lock and makes
 * nothing. A line that is torn, that does not have its checksum, or that is of another version
 * is passed over and counted; nothing is dropped silently (E7).
 *
 * When ledger_read() has nothing more, the same reader can wait: ledger_watch() gives
 * a descriptor (inotify) that becomes readable when there may be more. A ledger that
 * is set aside meanwhile is read to its end, which is final by then, because who sets it
 * aside does so under the writers' lock; then its successor is read from its beginning. So
 * no event is missed or told twice.
 */
#ifndef LEDGERREAD_H
#define LEDGERREAD_H

#include "bytes.h"
#include "fail.h"

#include <sys/stat.h>

struct repo;
struct json_t;

struct ledger_line {
	int64_t when; /* seconds */
	struct json_t *object;
};

/* One line without its line feed. FAIL_CORRUPT; FAIL_UNSUPPORTED for another version. */
int ledger_parse(const char *text, size_t len, struct ledger_line *out, struct fail *fail);
void ledger_line_release(struct ledger_line *line);

/* Longest line that is taken for one. */
#define LEDGER_LINE_MAX (1024 * 1024)

struct ledger_reader {
	struct repo *repo;
	int files[2];	    /* open, in the order in which they are read; -1 */
	struct bytes ahead; /* of files[0] */
	size_t used;	    /* of that, given out already */
	bool oversize;	    /* inside a line that is too long for one */
	uint64_t damaged;   /* lines that were passed over: torn or corrupt */
	uint64_t newer;	    /* of another version */
	int watch;
	int common; /* watch of the folder above, while ours does not exist; -1 */
};

/* That there is no ledger is no failure. */
int ledger_read_open(struct repo *repo, struct ledger_reader *reader, struct fail *fail);

/* 1: `line` is one; 0: there is no more now; or a failure. */
int ledger_read(struct ledger_reader *reader, struct ledger_line *line, struct fail *fail);

/*
 * Counts a last line that has no end: for who reads no more. (For who does it is still
 * being written.)
 */
void ledger_read_end(struct ledger_reader *reader);
void ledger_read_close(struct ledger_reader *reader);

/*
 * To be called before ledger_read() each time the descriptor was readable, and once
 * before the first wait. Returns the descriptor, which stays the reader's.
 */
int ledger_watch(struct ledger_reader *reader, struct fail *fail);

#endif
