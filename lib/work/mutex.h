/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * mutex: one run at a time of what has a name, such as a scheduled tick.
 *
 *	struct mutex mutex = MUTEX_INIT;
 *
 *	if (mutex_take(repo, &wish, &mutex, fail) < 0)
 *		return fail->kind;	// FAIL_BUSY names the peer
 *	...				// the command inherits mutex.work
 *	mutex_drop(&mutex);
 *
 * On disk, with the name encoded (name.h):
 *
 *	interlock/locks/mutex-<name>
 *			the lock: empty, flocked by the supervisor alone. Never deleted
 *	interlock/runs/<name>.<id>
 *			one run: its record, and its work lock. Made, flocked and written,
 *			in this order, by who holds the lock of that name; the
 *			descriptor goes to the command and all that it starts.
 *			"interlock-run 1 " and one JSON object
 *
 * A peer runs as long as either is locked. The kernel says so, never a name, a pid
 * or the record, which is for messages only.
 *
 * A descendant of the holder is no peer: it runs within the run that it belongs to, and
 * takes no lock (`nested`). That it is one shows itself in two ways, both told by the
 * kernel (kin.h): an ancestor has the lock, which holds for all that was left to the
 * supervisor, too, because it is a subreaper; or we have inherited the work lock, from
 * a supervisor whose PID namespace we have left.
 *
 * Crash story: a killed supervisor leaves no lock and the record of its run, with the work lock
 * held for as long as anything lives that the command has started (the command
 * itself is told to end, lifetime.h). Until then a peer is running. Afterwards the next
 * one that gets the lock of this name removes the record: only the holder of that lock
 * makes or removes files of the name, so nobody meets another one half-made. Killed
 * between making and writing it: an empty record, which is removed in the same way.
 */
#ifndef MUTEX_H
#define MUTEX_H

#include "lock.h"

struct repo;

#define MUTEX_DEFAULT "default"

struct mutex_wish {
	const char *name;			      /* name_check() has passed it */
	const char *command;			      /* for people */
	int64_t deadline;			      /* of the wait (clock.h); 0: do not wait */
	void (*waiting)(void *arg, const char *whom); /* told within a second; may be NULL */
	void *arg;
};

struct mutex {
	struct lock lock;
	int runs; /* descriptor of interlock/runs */
	int work; /* the run's file, locked; for the command to inherit. -1 */
	char *file;
	char *id;    /* of the run; NULL when nested */
	bool nested; /* a descendant of the holder: nothing was taken */
};

#define MUTEX_INIT \
	{ \
		.lock = LOCK_INIT, .runs = -1, .work = -1 \
	}

/*
 * FAIL_BUSY: "mutex 'x' is held by pid 812 (make nightly), since 2026-..., for 3m".
 * FAIL_SYSTEM when the lock cannot be judged, which is neither free nor busy.
 */
int mutex_take(struct repo *repo, const struct mutex_wish *wish, struct mutex *mutex,
	       struct fail *fail);

/* Ends the run. Also after a failure, and when nothing was taken. */
void mutex_drop(struct mutex *mutex);

/* The runs that are under way. */
struct mutex_run {
	char *mutex; /* its name */
	char *id;
	pid_t pid; /* the supervisor, as it saw itself */
	int64_t since;
	char *command;
};
struct mutex_runs {
	struct mutex_run *items;
	size_t count, cap;
};

int mutex_look(struct repo *repo, struct mutex_runs *out, struct fail *fail);
void mutex_runs_release(struct mutex_runs *runs);

/*
 * Calls `visit` for the file of each run that is over and was left behind, and removes it
 * unless `dry_run`: what the next run under that mutex would do.
 */
int mutex_sweep(struct repo *repo, bool dry_run, void (*visit)(void *arg, const char *file),
		void *arg, struct fail *fail);

/* "interlock-run 1 {...}" with a line feed, and back. FAIL_UNSUPPORTED, FAIL_CORRUPT. */
void mutex_run_format(const struct mutex_run *run, struct bytes *out);
int mutex_run_parse(const char *text, size_t len, struct mutex_run *out, struct fail *fail);
void mutex_run_release(struct mutex_run *run);

#endif
