/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * plumbrun: what plumb.h does not show of the private folder, for plumb*.c.
 */
#ifndef PLUMBRUN_H
#define PLUMBRUN_H

#include "plumb.h"
#include "spawn.h"

/* A git command in the folder's environment; the caller adds to its argv, runs and releases it. */
void plumb_prepare(struct plumb *plumb, struct spawn *cmd);

/* Runs git with the arguments up to NULL; a status that is not 0 is FAIL_FATAL. */
int plumb_run(struct plumb *plumb, struct bytes *out, struct fail *fail, ...)
	__attribute__((sentinel));

/* Copies an index with its mtime into the folder; a source that is missing makes no copy. */
int plumb_copy_index(struct plumb *plumb, const char *source, const char *name, struct fail *fail);

/* Which file in the folder git has for its index from now on; "index" at first. */
void plumb_use_index(struct plumb *plumb, const char *name);

#endif
