/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* watch, hold: locks that are held for somebody else. */
#include "clock.h"
#include "file.h"
#include "hold.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct scene {
	char path[64]; /* a file to lock */
	int lock;
	int said[2]; /* the release writes here */
	int keep[2];
	pid_t owner;
	struct watch watch;
};

static void say(void *arg)
{
	struct scene *s = arg;

	if (write(s->said[1], "R", 1) != 1)
		_exit(1);
}

static void say_slowly(void *arg)
{
	struct scene *s = arg;

	if (write(s->said[1], "r", 1) != 1)
		_exit(1);
	clock_sleep(200);
	say(arg);
}

static int make_scene(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct fail fail = FAIL_INIT;

	s->owner = fork();
	if (s->owner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	strcpy(s->path, "/tmp/interlock-watch-XXXXXX");
	s->lock = mkostemp(s->path, O_CLOEXEC);
	if (s->lock < 0 || flock(s->lock, LOCK_EX) < 0 || pipe2(s->said, O_CLOEXEC) < 0)
		return -1;
	s->keep[0] = s->said[1];
	s->keep[1] = s->lock;
	s->watch = (struct watch){.keep = s->keep, .keep_count = 2, .release = say, .arg = s};
	*state = s;
	return procid_of(s->owner, &s->watch.owner, &fail);
}

static int clear_scene(void **state)
{
	struct scene *s = *state;

	kill(s->owner, SIGKILL);
	waitpid(s->owner, NULL, 0);
	close(s->lock);
	close(s->said[0]);
	close(s->said[1]);
	unlink(s->path);
	free(s);
	return 0;
}

/* What the release said, or 0 when it said nothing in `ms`; -1 when nobody can say anything. */
static int hear(const struct scene *s, int ms)
{
	struct pollfd fd = {.fd = s->said[0], .events = POLLIN};
	char byte;

	if (poll(&fd, 1, ms) == 0)
		return 0;
	return read(s->said[0], &byte, 1) == 1 ? byte : -1;
}

static pid_t start(struct scene *s)
{
	struct fail fail = FAIL_INIT;
	pid_t pid = 0;

	if (watch_start(&s->watch, &pid, &fail) < 0)
		fail_msg("watch_start: %s", fail.message);
	assert_true(pid > 0);
	return pid;
}

/* Our own copies go, as they do when a command exits. */
static void let_go(struct scene *s)
{
	close(s->lock);
	close(s->said[1]);
	s->lock = s->said[1] = -1;
}

static bool can_be_locked(const struct scene *s)
{
	int fd = open(s->path, O_RDWR | O_CLOEXEC);
	bool got = flock(fd, LOCK_EX | LOCK_NB) == 0;

	close(fd);
	return got;
}

/* An exit closes one descriptor after the other: the pipe's end may come before the lock's. */
static void wait_for_lock(const struct scene *s)
{
	int fd = open(s->path, O_RDWR | O_CLOEXEC);

	alarm(20); /* ends the test when it never comes */
	assert_int_equal(flock(fd, LOCK_EX), 0);
	alarm(0);
	close(fd);
}

static void it_holds_while_the_owner_lives(void **state)
{
	struct scene *s = *state;

	start(s);
	let_go(s);
	assert_int_equal(hear(s, 200), 0);
	assert_false(can_be_locked(s));
	kill(s->owner, SIGKILL); /* not waited for: a zombie has ended, too */
	assert_int_equal(hear(s, 10000), 'R');
	assert_int_equal(hear(s, 10000), -1); /* it has exited */
	wait_for_lock(s);
}

/* The owner ended and somebody else has its pid: told by the start time. */
static void another_process_with_that_pid_is_not_the_owner(void **state)
{
	struct scene *s = *state;
	struct fail fail = FAIL_INIT;
	pid_t pid;

	s->watch.owner.start--;
	assert_int_equal(watch_start(&s->watch, &pid, &fail), FAIL_GONE);
	let_go(s);
	assert_int_equal(hear(s, 10000), -1); /* nobody watches */
}

static void an_owner_that_has_ended_is_not_watched(void **state)
{
	struct scene *s = *state;
	struct fail fail = FAIL_INIT;
	pid_t pid;

	kill(s->owner, SIGKILL);
	waitpid(s->owner, NULL, 0);
	assert_int_equal(watch_start(&s->watch, &pid, &fail), FAIL_GONE);
	fail_clear(&fail);
	s->watch.owner.pid_ns ^= 1; /* the number of some other process, that may live */
	assert_int_equal(watch_start(&s->watch, &pid, &fail), FAIL_UNSUPPORTED);
}

static void an_owner_elsewhere_is_unknown(void **state)
{
	struct scene *s = *state;
	struct fail fail = FAIL_INIT;
	pid_t pid;

	s->watch.owner.pid_ns ^= 1;
	assert_int_equal(watch_start(&s->watch, &pid, &fail), FAIL_UNSUPPORTED);
}

/* B15: `x=$(claim --owner-pid $$)` comes back, though the watcher lives on. */
static void b15_it_holds_no_command_substitution(void **state)
{
	struct scene *s = *state;
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	int64_t from = clock_ms();
	int pipe_fds[2];
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0) {
		pid_t watcher;

		dup2(pipe_fds[1], 1);
		dup2(pipe_fds[1], 2);
		dup2(pipe_fds[1], 55);
		if (watch_start(&s->watch, &watcher, &fail) < 0)
			_exit(1);
		dprintf(1, "/the/path\n");
		_exit(0);
	}
	close(pipe_fds[1]);
	assert_int_equal(file_read_fd(pipe_fds[0], "output", 4096, &out, &fail), 0);
	assert_string_equal(out.data, "/the/path\n");
	assert_true(clock_ms() - from < 5000);
	waitpid(pid, NULL, 0);
	let_go(s);
	assert_int_equal(hear(s, 100), 0); /* and it does live on */
	kill(s->owner, SIGKILL);
	assert_int_equal(hear(s, 10000), 'R');
	close(pipe_fds[0]);
	bytes_release(&out);
}

static void link_of(pid_t pid, const char *what, char *out, size_t size)
{
	char path[128];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	n = readlink(path, out, size - 1);
	assert_true(n > 0);
	out[n] = '\0';
}

static void it_keeps_nothing_of_the_callers(void **state)
{
	struct scene *s = *state;
	struct bytes names = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	char path[64], link[256];
	size_t count = 0;
	pid_t pid;
	int dir, other = open("/dev/zero", O_RDONLY);

	dup2(other, 77);
	pid = start(s);
	link_of(pid, "cwd", link, sizeof(link));
	assert_string_equal(link, "/");
	for (int fd = 0; fd < 3; fd++) {
		snprintf(path, sizeof(path), "fd/%d", fd);
		link_of(pid, path, link, sizeof(link));
		assert_string_equal(link, "/dev/null");
	}
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = file_open_dir(AT_FDCWD, path, &fail);
	assert_true(dir >= 0);
	assert_int_equal(file_each_name(dir, &names, &fail), 0);
	for (char *n = names.data; n < names.data + names.len; n += strlen(n) + 1)
		count++;
	assert_int_equal(count, 3 + 2 + 1); /* streams, kept ones, the pidfd */
	assert_int_not_equal(getsid(pid), getsid(0));
	assert_int_not_equal(getsid(pid), pid); /* no terminal can become its own */
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
	close(77);
	close(other);
	close(dir);
	bytes_release(&names);
}

static void a_handler(UNUSED int sig)
{
	_exit(9);
}

/* The caller's mask and handlers did not come along: SIGTERM ends a watcher, and frees the lock. */
static void a_killed_watcher_frees_the_lock(void **state)
{
	struct scene *s = *state;
	sigset_t set, old;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGTERM, a_handler);
	pid = start(s);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	let_go(s);
	assert_false(can_be_locked(s));
	kill(pid, SIGTERM);
	assert_int_equal(hear(s, 10000), -1);
	wait_for_lock(s);
}

static void a_signal_does_not_break_the_release(void **state)
{
	struct scene *s = *state;
	pid_t pid;

	s->watch.release = say_slowly;
	pid = start(s);
	let_go(s);
	kill(s->owner, SIGKILL);
	assert_int_equal(hear(s, 10000), 'r');
	kill(pid, SIGTERM);
	kill(pid, SIGHUP);
	assert_int_equal(hear(s, 10000), 'R');
}

/* ---- hold --------------------------------------------------------------------------- */

/* A process that holds until `in` closes; its answer comes as its exit status. */
static pid_t holder(int in, int out, int ready)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct shield shield = SHIELD_INIT;
		struct fail fail = FAIL_INIT;
		int sig = 99;
		bool woken;

		if (out >= 0)
			close(out);
		if (shield_raise(&shield, &fail) < 0 || write(ready, "x", 1) != 1 ||
		    hold_until_closed(in, -1, &shield, &sig, &woken, &fail) < 0)
			_exit(98);
		raise(SIGTERM); /* what follows is not disturbed */
		shield_lower(&shield);
		_exit(sig);
	}
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void hold_ends_with_its_input(UNUSED void **state)
{
	int in[2], ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(ready), 0);
	pid = holder(in[0], in[1], ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(write(in[1], "words\n", 6), 6); /* are no end */
	clock_sleep(100);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	close(in[1]);
	assert_int_equal(status_of(pid), 0);
	close(in[0]);
	/* No input at all is the end of it, too. */
	pid = holder(900, -1, ready[1]);
	assert_int_equal(status_of(pid), 0);
	close(ready[0]);
	close(ready[1]);
}

static void hold_ends_with_a_signal(UNUSED void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		int in[2], ready[2];
		char byte;
		pid_t pid;

		assert_int_equal(pipe(in), 0);
		assert_int_equal(pipe(ready), 0);
		pid = holder(in[0], in[1], ready[1]);
		assert_int_equal(read(ready[0], &byte, 1), 1);
		kill(pid, signals[i]);
		assert_int_equal(status_of(pid), signals[i]);
		for (int fd = 0; fd < 2; fd++) {
			close(in[fd]);
			close(ready[fd]);
		}
	}
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, make_scene, clear_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(it_holds_while_the_owner_lives),
		WITH_SCENE(another_process_with_that_pid_is_not_the_owner),
		WITH_SCENE(an_owner_that_has_ended_is_not_watched),
		WITH_SCENE(an_owner_elsewhere_is_unknown),
		WITH_SCENE(b15_it_holds_no_command_substitution),
		WITH_SCENE(it_keeps_nothing_of_the_callers),
		WITH_SCENE(a_killed_watcher_frees_the_lock),
		WITH_SCENE(a_signal_does_not_break_the_release),
		cmocka_unit_test(hold_ends_with_its_input),
		cmocka_unit_test(hold_ends_with_a_signal),
	};

	return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
