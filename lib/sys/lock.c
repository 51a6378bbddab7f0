/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "lock.h"

#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * A wait that a timer can end. flock(2) has no timeout, so a timer sends this
 * thread a signal whose handler does nothing: flock returns EINTR. The timer
 * repeats, because its first shot may come before flock has begun to wait.
 */
struct alarm_clock {
	timer_t timer;
	struct sigaction old_action;
	sigset_t old_mask;
	bool armed;
};

static void wake(UNUSED int sig)
{
}

#define WAKE_SIGNAL (SIGRTMIN + 3)
#define WAKE_REPEAT_NS 20000000

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int alarm_start(struct alarm_clock *clock, struct fail *fail)
{
	struct sigaction action = {.sa_handler = wake};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = WAKE_SIGNAL};
	sigset_t unblock;

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &clock->timer) < 0)
		return fail_errno(fail, "start a timer");
	sigemptyset(&action.sa_mask);
	sigaction(WAKE_SIGNAL, &action, &clock->old_action);
	sigemptyset(&unblock);
	sigaddset(&unblock, WAKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &unblock, &clock->old_mask);
	clock->armed = true;
	return 0;
}

/* Wakes this thread in `ms` milliseconds, and then again and again; INT64_MAX: not at all. */
static void alarm_set(struct alarm_clock *clock, int64_t ms)
{
	struct itimerspec when = {0};

	if (ms != INT64_MAX) {
		when.it_interval.tv_nsec = WAKE_REPEAT_NS;
		when.it_value.tv_sec = (time_t)(ms / 1000);
		when.it_value.tv_nsec = ms % 1000 * 1000000 + 1;
	}
	timer_settime(clock->timer, 0, &when, NULL);
}

static void alarm_stop(struct alarm_clock *clock)
{
	if (!clock->armed)
		return;
	timer_delete(clock->timer);
	pthread_sigmask(SIG_SETMASK, &clock->old_mask, NULL);
	/* A last signal may be pending: it must still find the handler that ignores it. */
	clock->old_action.sa_handler =
		clock->old_action.sa_handler == SIG_DFL ? wake : clock->old_action.sa_handler;
	sigaction(WAKE_SIGNAL, &clock->old_action, NULL);
	clock->armed = false;
}

static int busy(int fd, const char *name, struct fail *fail)
{
	struct bytes holder = BYTES_INIT;

	lock_describe_holder(fd, &holder);
	fail_set(fail, FAIL_BUSY, "lock '%s' is held by %s", name, holder.data);
	bytes_release(&holder);
	return FAIL_BUSY;
}

static void tell(int fd, const char *name, const struct waiting *waiting)
{
	struct bytes what = BYTES_INIT;

	bytes_addf(&what, "lock '%s', held by ", name);
	lock_describe_holder(fd, &what);
	waiting->tell(waiting->arg, what.data);
	bytes_release(&what);
}

/* Waits for the flock on an open file. */
static int wait_for_flock(int fd, const char *name, int operation, int64_t deadline,
			  const struct waiting *waiting, struct fail *fail)
{
	struct alarm_clock clock = {0};
	int64_t tell_at = INT64_MAX;
	int r;

	if (flock(fd, operation | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK && errno != EINTR)
		return fail_errno(fail, "lock '%s'", name);
	if (!clock_left(deadline))
		return busy(fd, name, fail);
	if (waiting && waiting->tell)
		tell_at = clock_deadline(WAITING_TELL_MS);
	r = alarm_start(&clock, fail);
	while (r == 0) {
		alarm_set(&clock, clock_left(deadline < tell_at ? deadline : tell_at));
		if (flock(fd, operation) == 0)
			break;
		if (errno != EINTR) {
			r = fail_errno(fail, "lock '%s'", name);
		} else if (!clock_left(deadline)) {
			r = busy(fd, name, fail);
		} else if (!clock_left(tell_at)) {
			tell(fd, name, waiting);
			tell_at = INT64_MAX;
		}
	}
	alarm_stop(&clock);
	return r;
}

/* Does the name still lead to the file that we have open? */
static bool same_file(int fd, int dir, const char *name)
{
	struct stat open_file, named;

	return fstat(fd, &open_file) == 0 && fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

int lock_take(struct lock *lock, int dir, const char *name, enum lock_mode mode, int64_t deadline,
	      const struct waiting *waiting, const struct file_modes *modes, struct fail *fail)
{
	int operation = mode == LOCK_SHARED ? LOCK_SH : LOCK_EX;

	for (;;) {
		int fd = file_open(dir, name, O_RDWR | O_CREAT, modes, fail);

		if (fd < 0)
			return fd;
		if (wait_for_flock(fd, name, operation, deadline, waiting, fail) < 0) {
			close(fd);
			return fail->kind;
		}
		if (same_file(fd, dir, name)) {
			lock->fd = fd;
			return 0;
		}
		/* Swept while we waited: what we hold is nothing. Take the new file's. */
		close(fd);
	}
}

#define PROBE_MS 1000 /* far longer than anybody asks */

int lock_take_open(int fd, const char *label, int64_t deadline, struct fail *fail)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK && flock(fd, LOCK_SH | LOCK_NB) == 0) {
		int64_t soon = clock_deadline(PROBE_MS);

		/* Nobody holds it, somebody asks, as we just did. */
		if (deadline < soon)
			deadline = soon;
	}
	if (wait_for_flock(fd, label, LOCK_EX, deadline, NULL, fail) < 0)
		flock(fd, LOCK_UN);
	return fail->kind;
}

int lock_probe_open(int fd, struct fail *fail)
{
	while (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return fail_set(fail, FAIL_BUSY, "it is locked");
		if (errno != EINTR)
			return fail_errno(fail, "ask for a lock");
	}
	flock(fd, LOCK_UN);
	return 0;
}

enum lock_state lock_look(int dir, const char *name)
{
	enum lock_state state = LOCK_FREE;
	struct fail fail = FAIL_INIT;
	int fd = file_open(dir, name, O_RDONLY, NULL, &fail);

	if (fd < 0)
		return fail.kind == FAIL_GONE ? LOCK_ABSENT : LOCK_UNJUDGED;
	if (lock_probe_open(fd, &fail) < 0)
		state = fail.kind == FAIL_BUSY ? LOCK_HELD : LOCK_UNJUDGED;
	close(fd);
	return state;
}

void lock_drop(struct lock *lock)
{
	if (lock->fd >= 0)
		close(lock->fd);
	lock->fd = -1;
}

/* The pid in a line of /proc/locks that tells of a flock on `st`; 0 for other lines. */
static pid_t flock_owner(const char *line, const struct stat *st)
{
	unsigned major_id, minor_id;
	unsigned long inode;
	int pid;

	if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%lu", &pid, &major_id, &minor_id, &inode) !=
	    4)
		return 0;
	/*
	 * The device is not compared: stat shows another one than the kernel's
	 * superblock on btrfs and overlayfs. This is for a message only.
	 */
	return inode == (unsigned long)st->st_ino ? pid : 0;
}

void lock_describe_holder(int fd, struct bytes *out)
{
	char line[256];
	struct stat st;
	pid_t pid = 0;
	FILE *locks = fstat(fd, &st) == 0 ? fopen("/proc/locks", "re") : NULL;

	while (locks && pid <= 0 && fgets(line, sizeof(line), locks))
		pid = flock_owner(line, &st);
	if (locks)
		fclose(locks);
	if (pid > 0)
		proc_describe(pid, out);
	else
		bytes_adds(out, "a process that cannot be seen from here");
}
