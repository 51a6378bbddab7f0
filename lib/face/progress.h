/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * progress: git-style progress on stderr, for work that takes over a second.
 *
 *	struct progress progress;
 *
 *	if (progress_init(&progress, PROGRESS_AUTO, quiet, fail) < 0)
 *		return fail->kind;
 *	progress_begin(&progress, "Scanning files", 0);
 *	while (...)
 *		progress_update(&progress, ++seen);
 *	progress_end(&progress);
 *
 * shows "Scanning files: 12345", rewritten in place a few times a second, and
 * at the end "Scanning files: 12345, done." on a line that stays. Work that is
 * over before the delay shows nothing at all. With a total there is a
 * percentage in front: "Writing objects:  42% (21/50)".
 *
 * One phase at a time, and calls from one thread at a time. Nothing here fails:
 * what cannot be written to stderr is lost.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include "bytes.h"
#include "fail.h"

enum progress_when {
	PROGRESS_AUTO,	 /* when stderr is a terminal and nobody asked for quiet */
	PROGRESS_ALWAYS, /* --progress: also through a pipe, and stronger than --quiet */
	PROGRESS_NEVER,	 /* --no-progress */
};

struct progress {
	bool wanted;
	int fd;
	int64_t delay;		/* ms before the first line */
	int64_t (*clock)(void); /* monotonic, ms; a test sets its own */

	const char *title; /* NULL between phases */
	uint64_t total;	   /* 0: not known */
	uint64_t last;
	int64_t next;	   /* when the next line is due */
	bool shown;	   /* something was written in this phase */
	struct bytes line; /* what stands on the terminal, without the CR */
};

/*
 * Decides whether to show anything. The delay is a second, or GIT_PROGRESS_DELAY
 * seconds as for git; a malformed one is FAIL_USAGE. Holds no memory until
 * progress_begin(), and none after progress_end().
 */
int progress_init(struct progress *progress, enum progress_when when, bool quiet,
		  struct fail *fail);

/* `title` must outlive the phase. */
void progress_begin(struct progress *progress, const char *title, uint64_t total);

/* Cheap: may be called for every file. */
void progress_update(struct progress *progress, uint64_t done);

/* Takes the line off the terminal, so that a message can be printed; it comes back by itself. */
void progress_clear(struct progress *progress);

/* Ends the phase: ", done." when anything was shown. Harmless when none is under way. */
void progress_end(struct progress *progress);

/* Ends it without a word, because the work failed: the line is taken away. */
void progress_abort(struct progress *progress);

#endif
