/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* lock, clock, file: exclusion between real processes. */
#include "clock.h"
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const struct file_modes modes = FILE_MODES_PRIVATE;

struct place {
	char path[64];
	int dir;
};

static int make_place(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/interlock-lock-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->dir < 0 ? -1 : 0;
}

static int clear_place(void **state)
{
	struct place *p = *state;
	struct bytes names = BYTES_INIT;
	struct fail fail = FAIL_INIT;

	file_each_name(p->dir, &names, &fail);
	for (char *n = names.data; n < names.data + names.len; n += strlen(n) + 1)
		unlinkat(p->dir, n, 0);
	bytes_release(&names);
	close(p->dir);
	rmdir(p->path);
	free(p);
	return 0;
}

/* A process that holds the lock until it is killed; returns when it does. */
static pid_t hold(struct place *p, const char *name)
{
	struct fail fail = FAIL_INIT;
	struct lock lock = LOCK_INIT;
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		byte = lock_take(&lock, p->dir, name, LOCK_EXCLUSIVE, 0, NULL, &modes, &fail) == 0;
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void busy_names_the_holder(void **state)
{
	struct place *p = *state;
	struct lock lock = LOCK_INIT;
	struct fail fail = FAIL_INIT;
	pid_t pid = hold(p, "x");
	char wanted[32];

	snprintf(wanted, sizeof(wanted), "pid %d", (int)pid);
	assert_int_equal(lock_take(&lock, p->dir, "x", LOCK_EXCLUSIVE, 0, NULL, &modes, &fail),
			 FAIL_BUSY);
	assert_int_equal(lock.fd, -1);
	assert_non_null(strstr(fail.message, wanted));
	end(pid);
}

static void a_look_tells_four_states_apart(void **state)
{
	struct place *p = *state;
	pid_t pid = hold(p, "held");
	int fd = openat(p->dir, "free", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(symlinkat("free", p->dir, "link"), 0);
	assert_int_equal(lock_look(p->dir, "free"), LOCK_FREE);
	assert_int_equal(lock_look(p->dir, "held"), LOCK_HELD);
	assert_int_equal(lock_look(p->dir, "link"), LOCK_UNJUDGED);
	assert_int_equal(lock_look(p->dir, "none"), LOCK_ABSENT);
	assert_int_equal(faccessat(p->dir, "none", F_OK, 0), -1);
	end(pid);
	assert_int_equal(lock_look(p->dir, "held"), LOCK_FREE);
}

static void a_deadline_is_kept(void **state)
{
	struct place *p = *state;
	struct lock lock = LOCK_INIT;
	struct fail fail = FAIL_INIT;
	pid_t pid = hold(p, "x");
	int64_t start = clock_ms(), took;

	assert_int_equal(lock_take(&lock, p->dir, "x", LOCK_EXCLUSIVE, clock_deadline(200), NULL,
				   &modes, &fail),
			 FAIL_BUSY);
	took = clock_ms() - start;
	assert_true(took >= 200);
	assert_true(took < 1000);
	end(pid);
}

struct told {
	int count;
	int64_t after;
	char what[256];
};

static void take_word(void *arg, const char *what)
{
	struct told *told = arg;

	told->count++;
	told->after = clock_ms() - told->after;
	snprintf(told->what, sizeof(told->what), "%s", what);
}

/* Also without a deadline, and when the holder goes away later. */
static void a_long_wait_is_told_of_once(void **state)
{
	struct place *p = *state;
	struct lock lock = LOCK_INIT;
	struct fail fail = FAIL_INIT;
	pid_t pid = hold(p, "x"), killer;
	struct told told = {0};
	const struct waiting waiting = {.tell = take_word, .arg = &told};
	char wanted[64];

	assert_int_equal(lock_take(&lock, p->dir, "x", LOCK_EXCLUSIVE, clock_deadline(100),
				   &waiting, &modes, &fail),
			 FAIL_BUSY);
	assert_int_equal(told.count, 0);
	killer = fork();
	if (killer == 0) {
		clock_sleep(WAITING_TELL_MS + 500);
		kill(pid, SIGKILL);
		_exit(0);
	}
	fail_clear(&fail);
	told.after = clock_ms();
	assert_int_equal(
		lock_take(&lock, p->dir, "x", LOCK_EXCLUSIVE, INT64_MAX, &waiting, &modes, &fail),
		0);
	assert_int_equal(told.count, 1);
	assert_true(told.after >= WAITING_TELL_MS && told.after < 1000);
	snprintf(wanted, sizeof(wanted), "lock 'x', held by pid %d", (int)pid);
	assert_non_null(strstr(told.what, wanted));
	lock_drop(&lock);
	waitpid(killer, NULL, 0);
	waitpid(pid, NULL, 0);
}

/* The waiter sleeps in the kernel: it wakes because the holder died, not at the deadline. */
static void death_wakes_the_waiter(void **state)
{
	struct place *p = *state;
	struct lock lock = LOCK_INIT;
	struct fail fail = FAIL_INIT;
	pid_t pid = hold(p, "x");
	pid_t killer = fork();
	int64_t start = clock_ms();

	if (killer == 0) {
		clock_sleep(100);
		kill(pid, SIGKILL);
		_exit(0);
	}
	assert_int_equal(lock_take(&lock, p->dir, "x", LOCK_EXCLUSIVE, clock_deadline(30000), NULL,
				   &modes, &fail),
			 0);
	assert_true(clock_ms() - start >= 95);
	assert_true(clock_ms() - start < 5000);
	lock_drop(&lock);
	waitpid(killer, NULL, 0);
	waitpid(pid, NULL, 0);
}

/*
 * B4: while we wait, a sweeper unlinks the file and somebody makes a new one.
 * What we then get must be a lock on the new file: the naive lock, without the
 * look-up after flock, is shown to be held beside another holder.
 */
static void a_swept_file_is_not_a_lock(void **state)
{
	struct place *p = *state;
	struct lock ours = LOCK_INIT, other = LOCK_INIT;
	struct fail fail = FAIL_INIT;
	pid_t pid = hold(p, "x");
	int naive = openat(p->dir, "x", O_RDWR | O_CLOEXEC);
	pid_t sweeper = fork();

	if (sweeper == 0) {
		clock_sleep(100);
		unlinkat(p->dir, "x", 0);
		kill(pid, SIGKILL);
		_exit(0);
	}
	assert_int_equal(lock_take(&ours, p->dir, "x", LOCK_EXCLUSIVE, clock_deadline(30000), NULL,
				   &modes, &fail),
			 0);
	waitpid(sweeper, NULL, 0);
	waitpid(pid, NULL, 0);
	assert_int_equal(flock(naive, LOCK_EX | LOCK_NB), 0); /* two "holders": the naive version */
	assert_int_equal(lock_take(&other, p->dir, "x", LOCK_EXCLUSIVE, 0, NULL, &modes, &fail),
			 FAIL_BUSY);
	close(naive);
	lock_drop(&ours);
}

static void shared_and_exclusive(void **state)
{
	struct place *p = *state;
	struct lock a = LOCK_INIT, b = LOCK_INIT, c = LOCK_INIT;
	struct fail fail = FAIL_INIT;

	assert_int_equal(lock_take(&a, p->dir, "x", LOCK_SHARED, 0, NULL, &modes, &fail), 0);
	assert_int_equal(lock_take(&b, p->dir, "x", LOCK_SHARED, 0, NULL, &modes, &fail), 0);
	assert_int_equal(lock_take(&c, p->dir, "x", LOCK_EXCLUSIVE, 0, NULL, &modes, &fail),
			 FAIL_BUSY);
	fail_clear(&fail);
	lock_drop(&a);
	lock_drop(&b);
	assert_int_equal(lock_take(&c, p->dir, "x", LOCK_EXCLUSIVE, 0, NULL, &modes, &fail), 0);
	lock_drop(&c);
}

/* A child that the holder starts must not keep the lock alive. */
static void children_do_not_inherit(void **state)
{
	struct place *p = *state;
	struct lock lock = LOCK_INIT;
	struct fail fail = FAIL_INIT;

	assert_int_equal(lock_take(&lock, p->dir, "x", LOCK_EXCLUSIVE, 0, NULL, &modes, &fail), 0);
	assert_true(fcntl(lock.fd, F_GETFD) & FD_CLOEXEC);
	lock_drop(&lock);
}

/* F5: what is planted where a lock should be is refused, not followed and not waited on. */
static void planted_things_are_refused(void **state)
{
	struct place *p = *state;
	struct lock lock = LOCK_INIT;
	char outside[80];

	snprintf(outside, sizeof(outside), "%s/outside", p->path);
	assert_int_equal(symlinkat(outside, p->dir, "link"), 0);
	assert_int_equal(mkfifoat(p->dir, "fifo", 0600), 0);
	for (int i = 0; i < 2; i++) {
		struct fail fail = FAIL_INIT;

		assert_int_equal(lock_take(&lock, p->dir, i ? "fifo" : "link", LOCK_EXCLUSIVE, 0,
					   NULL, &modes, &fail),
				 FAIL_CORRUPT);
	}
	assert_int_equal(access(outside, F_OK), -1);
}

static void replaced_in_whole(void **state)
{
	struct place *p = *state;
	struct fail fail = FAIL_INIT;
	struct bytes content = BYTES_INIT, names = BYTES_INIT;

	assert_int_equal(file_replace(p->dir, "r", "one", 3, &modes, true, &fail), 0);
	assert_int_equal(file_replace(p->dir, "r", "two!", 4, &modes, false, &fail), 0);
	assert_int_equal(file_read(p->dir, "r", 100, &content, &fail), 0);
	assert_string_equal(content.data, "two!");
	assert_int_equal(file_each_name(p->dir, &names, &fail), 0);
	assert_int_equal(names.len, 2); /* "r" and nothing else */
	bytes_clear(&content);
	assert_int_equal(file_read(p->dir, "r", 3, &content, &fail), FAIL_CORRUPT);
	bytes_release(&content);
	bytes_release(&names);
}

static void backoff_has_a_ceiling_and_jitter(UNUSED void **state)
{
	struct backoff b = BACKOFF_INIT;
	uint32_t seen = 0;

	for (unsigned i = 0; i < 40; i++) {
		uint64_t ceiling = (uint64_t)b.first_us << (i < 24 ? i : 24);
		uint32_t wait = backoff_next(&b);

		assert_true(wait <= ceiling && wait <= b.cap_us);
		if (wait > seen)
			seen = wait;
	}
	assert_true(seen > b.first_us); /* it grows; 1 in 2^200 that it only looked so */
	assert_int_equal(b.tries, 40);
	assert_false(backoff_wait(&b, clock_deadline(0)));
	assert_false(waiting_due(&(struct waiting){.tell = take_word}, &b));
	b.since = clock_ms() - WAITING_TELL_MS;
	assert_false(waiting_due(&(struct waiting){0}, &b));
	assert_true(waiting_due(&(struct waiting){.tell = take_word}, &b));
	assert_false(waiting_due(&(struct waiting){.tell = take_word}, &b));
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, clear_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(busy_names_the_holder),
		WITH_PLACE(a_look_tells_four_states_apart),
		WITH_PLACE(a_deadline_is_kept),
		WITH_PLACE(a_long_wait_is_told_of_once),
		WITH_PLACE(death_wakes_the_waiter),
		WITH_PLACE(a_swept_file_is_not_a_lock),
		WITH_PLACE(shared_and_exclusive),
		WITH_PLACE(children_do_not_inherit),
		WITH_PLACE(planted_things_are_refused),
		WITH_PLACE(replaced_in_whole),
		cmocka_unit_test(backoff_has_a_ceiling_and_jitter),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
