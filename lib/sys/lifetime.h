/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * lifetime: run a command whose life is bound to ours.
 *
 *	struct lifetime life = LIFETIME_INIT;
 *	struct lifetime_end end;
 *
 *	argv_push_all(&life.argv, "make", "test", NULL);
 *	if (lifetime_run(&life, &end, fail) == 0)
 *		...				// put things in order; no signal ends us here
 *	lifetime_release(&life);
 *
 * The command gets its own process group. It is told to end when we end (also
 * when we are killed), and we end only after it, and after what it left running:
 *
 *	- SIGTERM, SIGINT, SIGHUP, SIGQUIT to us are passed on to its group, once
 *	  each; what is still there `grace` later gets SIGKILL
 *	- it dies with us: PR_SET_PDEATHSIG, armed before exec and checked against
 *	  the parent's pid that was saved before the fork. That signal is SIGTERM, it
 *	  reaches the command only and not what it started, and the kernel also
 *	  sends it when the *thread* ends that called lifetime_run()
 *	- when its time is over the group gets SIGTERM, and after `grace` SIGKILL
 *	- we are a subreaper: what it left running (background jobs, setsid children,
 *	  double forks) is ours. When the command ended by itself that has `grace` to
 *	  end too, then it gets SIGTERM, and `grace` later SIGKILL. When the command
 *	  was ended, all of this happens within the one `grace` that it had itself
 *	- on a terminal it is the foreground group (terminal.h); when it stops (^Z) we
 *	  take the terminal back and stop too, and go on with it when we are continued
 *
 * Only own children are signalled, and the group while its leader has not been
 * waited for: such a pid cannot be used again. Children that the caller had
 * before are left alone.
 *
 * No polling: signalfds, a pidfd and the next deadline are waited for together.
 */
#ifndef LIFETIME_H
#define LIFETIME_H

#include "argv.h"
#include "fail.h"
#include "shield.h"

struct lifetime {
	struct argv argv; /* the command, found on PATH, never through a shell */
	struct argv env;  /* "NAME=value" sets, "NAME" removes, as in spawn.h */
	const char *cwd;  /* NULL: ours */
	int inherit;	  /* a descriptor that the command keeps (the work lock), or -1 */
	int64_t time;	  /* ms that it may run; INT64_MAX: for ever */
	int64_t grace;	  /* ms between the polite signal and SIGKILL */
	void (*tell)(void *arg, const char *line); /* talk: what was left running, the deadline */
	void *tell_arg;
	struct shield shield; /* may be raised earlier, so that no signal falls in between */
};

#define LIFETIME_INIT \
	{ \
		.inherit = -1, .time = INT64_MAX, .grace = LIFETIME_GRACE, .shield = SHIELD_INIT \
	}

/* With it a cancelled run is over, and put in order, within 10 seconds (B12). */
#define LIFETIME_GRACE 5000

/* How long SIGKILL may take before a process counts as one that cannot be ended, ms. */
#define LIFETIME_KILL_WAIT 2000

struct lifetime_end {
	int status;	    /* the command's: 0..255, or 128+n for signal n */
	bool deadline;	    /* its time was over: status is 142 */
	int signal;	    /* the signal to us that ended it, or 0: status is 128+n */
	int killed;	    /* the signal that it died of itself, or 0 */
	size_t left_behind; /* processes that outlived the command and had to be ended */
	size_t survivors;   /* processes that could not be ended (never waited for) */
};

/*
 * Runs it to its end, with our standard streams, and with the signal mask and the ignored
 * signals that we had at the beginning. Failures are those to start it, and nothing has run then:
 * FAIL_GONE when there is no such command, else FAIL_SYSTEM. (A shell says 127 and 126
 * of its own; for us both are a fatal error, 128, for which -E can choose another code.)
 * A signal that came before the command was started ends the run: nothing is started.
 *
 * From then on until lifetime_release() no signal of the shield ends us, so that
 * what follows the run is done once, for one signal or for ten.
 */
int lifetime_run(struct lifetime *life, struct lifetime_end *end, struct fail *fail);
void lifetime_release(struct lifetime *life);

#endif
