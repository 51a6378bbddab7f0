/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * terminal: lending the controlling terminal to another process group.
 *
 * One group of a session is the terminal's foreground: it may read, and the
 * keys ^C, ^Z and ^\ and changes of the window's size go to it. A command in
 * a group of its own has to be made the foreground, and what it leaves behind
 * has to be undone, as a shell does for its jobs.
 *
 * Lent at once when we are run as a job of our own at a prompt. In a pipeline
 * our neighbours are in our group and may need the terminal themselves (a
 * pager behind us), so there it is lent when the command asks for it, which
 * the kernel tells us by stopping it (SIGTTIN, SIGTTOU).
 *
 * The caller blocks SIGTTOU meanwhile: from the background each of these calls
 * would stop us otherwise. All of it does nothing without a terminal, and a
 * terminal that has gone away is no terminal.
 */
#ifndef TERMINAL_H
#define TERMINAL_H

#include "prelude.h"

#include <termios.h>

struct terminal {
	int fd;	   /* the controlling terminal, close-on-exec; -1: none */
	bool lent; /* by us; somebody may have changed it since */
	bool have_ours, have_theirs;
	struct termios ours, theirs; /* modes */
};

void terminal_open(struct terminal *terminal);
void terminal_close(struct terminal *terminal);

/* The foreground group, or 0. */
pid_t terminal_front(const struct terminal *terminal);

/* We are the foreground. */
bool terminal_is_ours(const struct terminal *terminal);

/* May it be lent before it is asked for? */
bool terminal_lend_at_once(const struct terminal *terminal);

/* To a group that has had it before: with the modes that it had then. */
void terminal_lend(struct terminal *terminal, pid_t group);

/* In the borrower itself, between fork and exec. */
void terminal_borrow(const struct terminal *terminal);

/*
 * Makes us the foreground again. With `restore` the modes are what they were
 * when it was lent, and the borrower's are kept for the next time; without,
 * a change of modes that a command made on purpose (stty) stays.
 */
void terminal_take_back(struct terminal *terminal, bool restore);

#endif
