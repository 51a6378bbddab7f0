/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * crew: a few threads that work off one shared stack of jobs.
 *
 * Jobs may add jobs. crew_run() returns when no job is left and no thread is
 * busy. The calling thread is one of the crew. `worker` is 0..size-1 and is the
 * same for all jobs of one thread, so that each can have scratch of its own.
 */
#ifndef CREW_H
#define CREW_H

#include "prelude.h"

struct crew;

typedef void crew_job(struct crew *crew, unsigned worker, void *job);

/* `size` 0 means one per online processor, at most 16. */
struct crew *crew_new(unsigned size, crew_job *run);
unsigned crew_size(const struct crew *crew);
void crew_add(struct crew *crew, void *job);
void crew_run(struct crew *crew);
void crew_free(struct crew *crew);

#endif
