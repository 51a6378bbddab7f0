/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * watch: a small process that holds locks for as long as another process lives.
 *
 * Somebody who takes a lease with --owner-pid has no supervisor: the command that
 * took it prints a path and is gone. What stays is a watcher. It sleeps on a pidfd
 * of the owner, holds the descriptors that it was given (a lock belongs to the open file,
 * so it goes on being held when its taker exits), and when the owner has ended
 * it calls the release and exits.
 *
 * Crash story: a watcher that is killed frees its locks. The record still names
 * the owner, which judges the lease from then on (slot.h); nobody is woken any more.
 *
 * It is nobody's child and nobody's session, works in "/", has /dev/null as its standard streams
 * and no descriptor but the given ones: it holds no `$(...)`, no terminal and no directory of
 * its caller's. Hence the release opens again what it needs, by absolute paths, and must not
 * rely on threads (crew.h): they did not come along.
 */
#ifndef WATCH_H
#define WATCH_H

#include "procid.h"

struct watch {
	struct procid owner;
	const int *keep; /* descriptors above 2 that the watcher holds */
	size_t keep_count;
	void (*release)(void *arg); /* runs in the watcher; no signal of the shield ends it */
	/*
	 * Another reason to end: when the descriptor `wake` (one of `keep`; NULL: none)
	 * becomes readable, let_go() is asked. True ends the watcher, and the locks are
	 * free without a release.
	 */
	const int *wake;
	bool (*let_go)(void *arg);
	void *arg;
};

/*
 * Returns when the watcher watches and has let go of everything else; `pid` is the watcher's,
 * for messages. The caller then closes its own copies of the descriptors. FAIL_GONE when the
 * owner has ended, also when its pid is another process's now: there is no watcher then and nothing
 * has been released. FAIL_UNSUPPORTED when it cannot be known.
 */
int watch_start(const struct watch *watch, pid_t *pid, struct fail *fail);

#endif
