/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * proc: who is that process, for messages.
 *
 * A pid alone never decides anything (pids are reused, and hidden in other
 * namespaces); what is found here is only ever shown to people.
 */
#ifndef PROC_H
#define PROC_H

#include "bytes.h"

/* The name of its program, "git-shadow-commit"; nothing when /proc hides it. */
void proc_command(pid_t pid, struct bytes *out);

/* "pid 812 (git-shadow-commit)"; the command is left out when /proc hides it. */
void proc_describe(pid_t pid, struct bytes *out);

/* A process that has the regular file `path` open, or 0 when none can be seen. */
pid_t proc_find_opener(const char *path);

/*
 * Appends who has it open, for a lock file: "pid 812 (git)", or "nobody who can be seen".
 * Is there somebody?
 */
bool proc_describe_opener(const char *path, struct bytes *out);

#endif
