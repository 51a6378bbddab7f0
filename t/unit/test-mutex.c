/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* mutex: one at a time, told by the kernel; kin: who is a descendant (A2, A3). */
#include "sandbox.h"

#include "kin.h"
#include "mutex.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int enter(UNUSED void **state)
{
	sandbox_enter();
	return 0;
}

static int leave(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

/* Runs in a process of its own; its status. */
static int apart(int (*body)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(body(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_record(UNUSED void **state)
{
	const struct mutex_run run = {.mutex = (char *)"a/b",
				      .id = (char *)"0123456789abcdef0123456789abcdef",
				      .pid = 812,
				      .since = 1767323045,
				      .command = (char *)"make \xff\n\"x\""};
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct mutex_run back;

	mutex_run_format(&run, &text);
	assert_ok(mutex_run_parse(text.data, text.len, &back, &fail), fail);
	assert_string_equal(back.mutex, "a/b");
	assert_string_equal(back.id, run.id);
	assert_int_equal(back.pid, 812);
	assert_int_equal(back.since, 1767323045);
	assert_non_null(strstr(back.command, "make "));
	mutex_run_release(&back);
	/* Cut short anywhere it is none. */
	for (size_t len = 0; len + 1 < text.len; len++) {
		fail_clear(&fail);
		assert_true(mutex_run_parse(text.data, len, &back, &fail) < 0);
		mutex_run_release(&back);
	}
	text.data[14] = '2';
	fail_clear(&fail);
	assert_int_equal(mutex_run_parse(text.data, text.len, &back, &fail), FAIL_UNSUPPORTED);
	mutex_run_release(&back);
	bytes_release(&text);
}

static void test_record_nonsense(UNUSED void **state)
{
	static const char *const bad[] = {
		"",
		"interlock-run 1 ",
		"interlock-run 1 []",
		"interlock-run 1 {}",
		"interlock-run 1 {\"mutex\":\"../x\",\"run\":\"0123456789abcdef0123456789abcdef\","
		"\"pid\":1,\"since\":0,\"command\":\"x\"}",
		"interlock-run 1 {\"mutex\":\"x\",\"run\":\"0123\",\"pid\":1,\"since\":0,"
		"\"command\":\"x\"}",
		"interlock-run 1 {\"mutex\":\"x\",\"run\":\"0123456789abcdef0123456789abcdef\","
		"\"pid\":0,\"since\":0,\"command\":\"x\"}",
		"interlock-run 1 {\"mutex\":\"x\",\"run\":\"0123456789abcdef0123456789abcdef\","
		"\"pid\":1,\"since\":-1,\"command\":\"x\"}",
		"interlock-run 1 {\"mutex\":\"x\",\"run\":\"0123456789abcdef0123456789abcdef\","
		"\"pid\":1,\"since\":0,\"command\":null}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fail fail = FAIL_INIT;
		struct mutex_run run;

		assert_int_equal(mutex_run_parse(bad[i], strlen(bad[i]), &run, &fail),
				 FAIL_CORRUPT);
		mutex_run_release(&run);
	}
}

/* ---- kin --------------------------------------------------------------------------- */

struct locked {
	int fd;
	struct stat st;
};

static struct locked lock_file(const char *name)
{
	struct locked l = {.fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666)};

	assert_true(l.fd >= 0);
	assert_int_equal(flock(l.fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(fstat(l.fd, &l.st), 0);
	return l;
}

static int child_sees_ancestor(void *arg)
{
	struct locked *l = arg;

	close(l->fd);
	return kin_holds(&l->st, "tick") && !kin_inherited(&l->st, "tick");
}

static int child_inherits(void *arg)
{
	struct locked *l = arg;

	return kin_inherited(&l->st, "tick") && !kin_inherited(&l->st, "tock");
}

/* Opened anew it is another open file: it carries no lock. */
static int child_opens(void *arg)
{
	struct locked *l = arg;
	int fd;

	close(l->fd);
	fd = open("tick", O_RDWR | O_CLOEXEC);
	return fd >= 0 && !kin_inherited(&l->st, "tick");
}

static void test_kin(UNUSED void **state)
{
	struct locked l = lock_file("tick");

	assert_int_equal(kin_holder(&l.st), getpid());
	assert_int_equal(apart(child_sees_ancestor, &l), 1);
	assert_int_equal(apart(child_inherits, &l), 1);
	assert_int_equal(apart(child_opens, &l), 1);
	/* We hold it ourselves, which is not to descend from its holder. */
	assert_false(kin_holds(&l.st, "tick"));
	assert_int_equal(flock(l.fd, LOCK_UN), 0);
	assert_int_equal(kin_holder(&l.st), 0);
	assert_int_equal(apart(child_sees_ancestor, &l), 0);
	assert_int_equal(apart(child_inherits, &l), 0);
	close(l.fd);
}

/* A sibling's child is no descendant of the holder. */
static void test_kin_of_others(UNUSED void **state)
{
	int up[2], go[2];
	struct stat st;
	pid_t pid;
	char c;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		lock_file("tock");
		if (write(up[1], "x", 1) == 1 && read(go[0], &c, 1) == 0)
			_exit(0);
		_exit(1);
	}
	assert_int_equal(read(up[0], &c, 1), 1);
	assert_int_equal(stat("tock", &st), 0);
	assert_int_equal(kin_holder(&st), pid);
	assert_false(kin_holds(&st, "tock"));
	assert_false(kin_inherited(&st, "tock"));
	close(go[1]);
	waitpid(pid, NULL, 0);
	close(go[0]);
	close(up[0]);
	close(up[1]);
}

/* ---- mutex ------------------------------------------------------------------------ */

static int take(struct repo *repo, const char *name, struct mutex *mutex, struct fail *fail)
{
	const struct mutex_wish wish = {.name = name, .command = "make nightly"};

	return mutex_take(repo, &wish, mutex, fail);
}

/* Waits for nobody: this process has no ancestor that holds it. */
static int child_is_nested(void *arg)
{
	struct mutex mutex;
	struct fail fail = FAIL_INIT;

	return take(arg, "x", &mutex, &fail) == 0 && mutex.nested && mutex.work < 0;
}

static void test_mutex(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	struct mutex mutex, other;
	struct mutex_runs runs;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	assert_ok(take(&repo, "x", &mutex, &fail), fail);
	assert_false(mutex.nested);
	/* We are no descendant of ourselves: a second one in this process is a peer. */
	assert_int_equal(take(&repo, "x", &other, &fail), FAIL_BUSY);
	assert_non_null(strstr(fail.message, "mutex 'x' is held by pid "));
	assert_non_null(strstr(fail.message, "(make nightly), since "));
	fail_clear(&fail);
	assert_int_equal(apart(child_is_nested, &repo), 1);
	assert_ok(take(&repo, "y", &other, &fail), fail);
	assert_ok(mutex_look(&repo, &runs, &fail), fail);
	assert_int_equal(runs.count, 2);
	mutex_runs_release(&runs);
	mutex_drop(&other);
	mutex_drop(&mutex);
	assert_ok(mutex_look(&repo, &runs, &fail), fail);
	assert_int_equal(runs.count, 0);
	mutex_runs_release(&runs);
	assert_ok(take(&repo, "x", &mutex, &fail), fail);
	mutex_drop(&mutex);
	repo_close(&repo);
}

/* What a killed holder leaves: an empty record, a torn one, a whole one. */
static void test_leftovers(UNUSED void **state)
{
	static const char *const left[] = {"", "interlock-run 1 {\"mut", "garbage"};
	struct fail fail = FAIL_INIT;
	struct mutex mutex;
	struct bytes names = BYTES_INIT;
	struct repo repo;
	int dir;

	sandbox_repo(&sandbox_variants[0], &repo);
	dir = repo_state_dir(&repo, "runs", &fail);
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		int fd =
			openat(dir, "x.0123456789abcdef0123456789abcdef", O_CREAT | O_WRONLY, 0666);

		assert_int_equal(write(fd, left[i], strlen(left[i])), strlen(left[i]));
		close(fd);
		assert_ok(take(&repo, "x", &mutex, &fail), fail);
		mutex_drop(&mutex);
		bytes_clear(&names);
		assert_ok(file_each_name(dir, &names, &fail), fail);
		assert_int_equal(names.len, 0);
	}
	bytes_release(&names);
	close(dir);
	repo_close(&repo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record), cmocka_unit_test(test_record_nonsense),
		cmocka_unit_test(test_kin),    cmocka_unit_test(test_kin_of_others),
		cmocka_unit_test(test_mutex),  cmocka_unit_test(test_leftovers),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
