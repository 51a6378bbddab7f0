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
int interlock_doctor(int argc, char **argv);
int interlock_hook(int argc, char **argv);
int interlock_agent(int argc, char **argv);

/* The directory of the hooks that were installed or built with this program, or NULL; caller frees.
 */
char *interlock_programs(void);

/* How wide, and in colour? */
struct screen {
	int color;    /* 1, 0; -1: on a terminal. Set before screen_look() */
	size_t width; /* columns; SIZE_MAX: no limit */
};
int screen_look(struct screen *screen, struct fail *fail);

/* A text whose first line begins at column `indent`, as do the others: nothing of it is cut. */
void screen_fold(const struct screen *screen, size_t indent, const char *text, struct bytes *out);

#endif
