/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * otherend: which of our ancestors talks with us on our standard streams?
 *
 * A program that an agent runs as its hook is not always its child: a shell, git, or a
 * wrapper stands in between, and they are gone when the hook is. The agent is the one
 * at the other end of the streams, and the kernel knows it:
 *
 *	- a socketpair names the process that made it (SO_PEERCRED)
 *	- of a pipe, an ancestor has the other end open (/proc/<pid>/fd)
 *
 * Only ancestors count: another process at the other end is a stage of a pipeline. Standard
 * input decides when it tells, because who asks us writes there. Of standard output and
 * error the older ancestor is the answer: a wrapper that captures our output passes
 * standard error through, and has a shorter life than whoever started it.
 *
 * No name of a program is looked at, and "nobody" is an answer: standard streams
 * that are files or a terminal, another PID namespace, a /proc that hides what is asked.
 */
#ifndef OTHEREND_H
#define OTHEREND_H

#include "prelude.h"

#include <sys/types.h>

/* Its pid, as our PID namespace numbers it; 0: nobody, or it cannot be told. */
pid_t otherend_ancestor(void);

#endif
