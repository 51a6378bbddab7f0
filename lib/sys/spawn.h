/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * spawn: run another program without a shell.
 *
 *	struct spawn cmd = SPAWN_INIT;
 *	struct bytes out = BYTES_INIT;
 *
 *	argv_push_all(&cmd.argv, "git", "rev-parse", "HEAD", NULL);
 *	if (spawn_capture(&cmd, &out, fail) < 0)	// could not be run, or status != 0
 *		...
 *	spawn_release(&cmd);
 *
 * A child gets /dev/null as standard input unless `input` is set, inherits no
 * descriptor of ours but the standard ones, and gets a SIGTERM when we die if
 * `die_with_parent` is set. A command that failed is never an empty answer:
 * spawn_capture() returns FAIL_FATAL with the first line of its stderr.
 */
#ifndef SPAWN_H
#define SPAWN_H

#include "argv.h"
#include "bytes.h"
#include "fail.h"

struct spawn {
	struct argv argv;
	struct argv env;   /* "NAME=value" sets, "NAME" removes */
	const char *cwd;   /* NULL: ours */
	int cwd_fd;	   /* the same as an open directory, whatever its name is now; 0: none */
	const char *input; /* fed to standard input; NULL: /dev/null */
	size_t input_len;
	bool inherit_stdin;
	bool die_with_parent;
	bool stderr_to_null;
	int stderr_fd;	  /* its standard error goes there; 0: captured, or ours */
	int status;	  /* exit status of the last run; 128+n for signal n */
	struct bytes err; /* what the last captured run wrote to stderr */
};

#define SPAWN_INIT \
	{ \
		.err = BYTES_INIT, .die_with_parent = true \
	}

/* Runs it, appending its standard output; any status but 0 is FAIL_FATAL. */
int spawn_capture(struct spawn *cmd, struct bytes *out, struct fail *fail);

/* The same, but a status other than 0 is returned in cmd->status and not a failure. */
int spawn_capture_any(struct spawn *cmd, struct bytes *out, struct fail *fail);

/* Runs it on our own standard streams; its status is in cmd->status. */
int spawn_wait(struct spawn *cmd, struct fail *fail);

void spawn_release(struct spawn *cmd);

/* A co-process that answers requests on pipes. */
struct coprocess {
	pid_t pid; /* 0 while not running */
	int to;
	int from;
};

#define COPROCESS_INIT \
	{ \
		.pid = 0, .to = -1, .from = -1 \
	}

int coprocess_start(struct coprocess *co, struct spawn *cmd, struct fail *fail);
/* Closes its input, waits for it; returns its status, or -1 when it was not running. */
int coprocess_end(struct coprocess *co);

#endif
