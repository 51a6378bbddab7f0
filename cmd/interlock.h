/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * interlock: what the verbs of git interlock share.
 */
#ifndef INTERLOCK_H
#define INTERLOCK_H

#include "fail.h"
#include "opt.h"
#include "out.h"
#include "repo.h"
#include "status.h"

#define INTERLOCK_COMMAND "git interlock"

/* Each takes the verb's own argv (argv[0] is the verb) and returns the exit status. */
int interlock_install(int argc, char **argv);
int interlock_uninstall(int argc, char **argv);
int interlock_run(int argc, char **argv);
int interlock_events(int argc, char **argv);
int interlock_status(int argc, char **argv);
int interlock_hook(int argc, char **argv);
int interlock_agent(int argc, char **argv);

#endif
