/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * inside: which processes work below a directory.
 *
 * One pass over /proc, for any number of directories: a process is inside when its
 * current directory, its root, an open file or a mapped file lies below one. The
 * kernel's own answers (/proc/<pid>/cwd ...) are compared by path; current directory
 * and root also by device and inode, on the way up from them, because another mount
 * of the directory has another path.
 *
 * What decides about a lease is the kernel lock; this is what is asked when that
 * lock is free, so that a slot with live work in it is never reset. The calling
 * process itself is never reported: it changes directory into slots to do its work.
 *
 * What cannot be seen: a process of another user, unless we are root, or one with more
 * capabilities than we have; an open or
 * mapped file that was reached through another mount, by a process whose current
 * directory is elsewhere; a thread that has a current directory of its own.
 */
#ifndef INSIDE_H
#define INSIDE_H

#include "procid.h"

#include <sys/types.h>

struct inside_process {
	pid_t pid;	/* as /proc numbers it */
	uint64_t start; /* see procid.h */
	bool within;   /* it works below the directory; else it has `token` open, and that is all */
	bool has_file; /* it has `token` open (a work lock that it inherited) */
	bool has_env;  /* it is within, and its environment says `variable` */
	bool is_ancestor; /* of this process */
};

struct inside_question {
	const char *path;     /* absolute; the directory */
	int token;	      /* an open file that belongs to the lease, or -1 */
	const char *variable; /* "GIT_INTERLOCK_LEASE=<id>", or NULL */
	uint64_t after;	      /* who started before (procid.h) cannot have inherited `token` */
};

struct inside {
	struct inside_process *found;
	size_t count, cap;
	/*
	 * `token` is locked, no process that can be seen has it open, and there is one that
	 * may have inherited it and cannot be looked into. (When there is none, it is a
	 * descriptor on its way through a socket.)
	 */
	bool holder_unseen;
	bool hidden; /* /proc does not show every process that may matter, or the directory
			cannot be judged: what was not found proves nothing */
};

/*
 * Answers `count` questions in one pass; `out` has as many. Fails only when /proc
 * cannot be read at all. Release each with inside_release(), also after a failure.
 */
int inside_look(const struct inside_question *questions, size_t count, struct inside *out,
		struct fail *fail);
void inside_release(struct inside *inside);

/*
 * Who sits in the directory now: current directories only, which is what a person's
 * shell or an editor shows, and costs one system call a process. At most `room`;
 * returns how many. Ancestors of this process are among them.
 */
size_t inside_sitting(const char *path, struct procid *out, size_t room);

#endif
