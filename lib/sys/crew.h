/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * crew: a few threads that work off one shared stack of jobs.
 *
 *	struct crew *crew = crew_new(0, run_job);
 *
 *	crew_add(crew, job);
 *	crew_run(crew);
 *	crew_free(crew);
 *
 * Jobs may add jobs. crew_run() returns when no job is left and no thread is
 * busy, and may be called again. The calling thread is one of the crew and has
 * number 0; the others are started when there is more than one job to do, and
 * wait for the next run in between. `worker` is 0..size-1 and is the same for
 * all jobs of one thread, so that each can have scratch of its own. Everything
 * that jobs of one run wrote is visible after crew_run().
 *
 * A thread that cannot be started is done without. The threads block all
 * signals: handlers run in the threads that the program has anyway.
 */
#ifndef CREW_H
#define CREW_H

#include "prelude.h"

struct crew;

typedef void crew_job(struct crew *crew, unsigned worker, void *job);

/* `size` 0 means one per processor that this process may use, at most 16. */
struct crew *crew_new(unsigned size, crew_job *run);
unsigned crew_size(const struct crew *crew);

/*
 * The caller does the first `jobs` without starting threads: for work that may be over
 * before a thread is. Call it before the first run.
 */
void crew_begin_alone(struct crew *crew, unsigned jobs);

/* Last in, first out. Thread-safe. */
void crew_add(struct crew *crew, void *job);
void crew_run(struct crew *crew);

/* Ends the threads. Jobs that no run has taken are dropped; they stay the caller's. */
void crew_free(struct crew *crew);

#endif
