/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "watch.h"

#include "shield.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void close_between(unsigned first, unsigned last)
{
	long limit;

	if (first > last || close_range(first, last, 0) == 0)
		return;
	/* A kernel without close_range(2). */
	limit = sysconf(_SC_OPEN_MAX);
	for (long fd = first; fd <= (long)last && fd < limit; fd++)
		close((int)fd);
}

/* Closes all above 2 that is not in the sorted list. */
static void close_others(const int *keep, size_t count)
{
	unsigned next = 3;

	for (size_t i = 0; i < count; i++) {
		if ((unsigned)keep[i] < next)
			continue;
		close_between(next, (unsigned)keep[i] - 1);
		next = (unsigned)keep[i] + 1;
	}
	close_between(next, UINT_MAX);
}

/* As after an exec: handlers of the caller's program and its mask mean nothing here. */
static void forget_signals(void)
{
	struct sigaction action;
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++) {
		if (sigaction(sig, NULL, &action) < 0 ||
		    (action.sa_handler == SIG_IGN && sig != SIGCHLD))
			continue;
		action = (struct sigaction){.sa_handler = SIG_DFL};
		sigaction(sig, &action, NULL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Lets go of everything of the caller's; false when /dev/null cannot be had. */
static bool detach(const struct watch *watch, int owner, int ready)
{
	int *keep = mem_array(watch->keep_count + 2, sizeof(*keep));
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	bool done = null >= 0 && chdir("/") == 0;

	for (int fd = 0; fd < 3 && done; fd++)
		done = dup2(null, fd) == fd;
	for (size_t i = 0; i < watch->keep_count; i++)
		keep[i] = watch->keep[i];
	keep[watch->keep_count] = owner;
	keep[watch->keep_count + 1] = ready;
	qsort(keep, watch->keep_count + 2, sizeof(*keep), by_number);
	close_others(keep, watch->keep_count + 2);
	free(keep);
	return done;
}

/* Sleeps until the owner has ended; exits when somebody else wants the locks. */
static void sleep_beside(const struct watch *watch, int owner)
{
	struct pollfd fds[] = {
		{.fd = owner, .events = POLLIN},
		{.fd = watch->wake ? *watch->wake : -1, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno != EINTR)
				_exit(1);
			continue;
		}
		if (fds[0].revents)
			return;
		if (fds[1].revents && watch->let_go(watch->arg))
			_exit(0);
	}
}

static void watcher(const struct watch *watch, int owner, int ready)
{
	struct shield shield = SHIELD_INIT;
	struct fail ignored = FAIL_INIT;
	pid_t self = getpid();

	forget_signals();
	if (!detach(watch, owner, ready) || write(ready, &self, sizeof(self)) != sizeof(self))
		_exit(1);
	close(ready);
	sleep_beside(watch, owner);
	/* Half a release is for a reaper to finish; better that none has to. */
	shield_raise(&shield, &ignored);
	watch->release(watch->arg);
	_exit(0);
}

/* Twice forked: the watcher is not our child, and its session has no leader and no terminal. */
static int fork_watcher(const struct watch *watch, int owner, int ready, struct fail *fail)
{
	pid_t pid = fork();

	if (pid < 0)
		return fail_errno(fail, "fork a watcher");
	if (pid == 0) {
		setsid();
		pid = fork();
		if (pid == 0)
			watcher(watch, owner, ready);
		_exit(pid < 0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/*
 * A pidfd of the owner. Opened first and compared then: if the process that has the pid
 * now is the owner, it was the owner all the time, and so when the pidfd was opened.
 */
static int open_owner(const struct procid *owner, struct fail *fail)
{
	int fd = pidfd_open(owner->pid, 0);
	enum proc_state state;

	if (fd < 0 && errno != ESRCH)
		return fail_errno(fail, "watch process %d", (int)owner->pid);
	state = procid_state(owner);
	if (state == PROC_ALIVE && fd >= 0)
		return fd;
	if (fd >= 0)
		close(fd);
	if (state != PROC_UNKNOWN)
		return fail_set(fail, FAIL_GONE, "process %d has ended", (int)owner->pid);
	return fail_set(fail, FAIL_UNSUPPORTED,
			"process %d cannot be watched: another host, another namespace, or hidden",
			(int)owner->pid);
}

/* Up to the end of file: then the watcher has closed this one, too. */
static size_t read_whole(int fd, void *data, size_t size)
{
	size_t got = 0;
	char more;

	for (;;) {
		ssize_t n =
			got < size ? read(fd, (char *)data + got, size - got) : read(fd, &more, 1);

		if (n == 0 || (n < 0 && errno != EINTR))
			return got;
		got += n > 0 && got < size ? (size_t)n : 0;
	}
}

int watch_start(const struct watch *watch, pid_t *pid, struct fail *fail)
{
	int ready[2], owner;
	size_t n;

	owner = open_owner(&watch->owner, fail);
	if (owner < 0)
		return fail->kind;
	if (pipe2(ready, O_CLOEXEC) < 0) {
		fail_errno(fail, "pipe");
		close(owner);
		return fail->kind;
	}
	fork_watcher(watch, owner, ready[1], fail);
	close(ready[1]);
	close(owner);
	n = read_whole(ready[0], pid, sizeof(*pid));
	close(ready[0]);
	if (n != sizeof(*pid))
		fail_set(fail, FAIL_SYSTEM, "the watcher of process %d could not be started",
			 (int)watch->owner.pid);
	return fail->kind;
}
