/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* procid: real processes, alive, gone, and not to be known (B13). */
#include "procid.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static pid_t start_sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	assert_true(pid > 0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct procid id_of(pid_t pid)
{
	struct procid id;
	struct fail fail = FAIL_INIT;

	if (procid_of(pid, &id, &fail) < 0)
		fail_msg("%s", fail.message);
	return id;
}

/* Runs in a process of its own, which may change what it likes; what it returns. */
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

static int state_as_status(void *arg)
{
	return (int)procid_state(arg);
}

static void test_alive_then_gone(UNUSED void **state)
{
	pid_t pid = start_sleeper();
	struct procid id = id_of(pid);
	struct fail fail = FAIL_INIT;

	assert_int_equal(procid_state(&id), PROC_ALIVE);
	end(pid);
	assert_int_equal(procid_state(&id), PROC_GONE);
	assert_int_equal(procid_of(pid, &id, &fail), FAIL_GONE);
}

static void test_own_process_is_alive(UNUSED void **state)
{
	struct procid id = id_of(getpid());

	assert_int_equal(procid_state(&id), PROC_ALIVE);
	assert_true(id.start && id.pid_ns);
	assert_int_equal(strlen(id.boot), 36);
	assert_true(strlen(id.host) > 32);
}

static void test_B13_stopped_is_alive_and_zombie_is_gone(UNUSED void **state)
{
	pid_t pid = start_sleeper();
	struct procid id = id_of(pid);
	siginfo_t info;

	kill(pid, SIGSTOP);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
	assert_int_equal(procid_state(&id), PROC_ALIVE);
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(procid_state(&id), PROC_GONE); /* not waited for yet */
	end(pid);
}

static void *sleep_on(UNUSED void *arg)
{
	for (;;)
		pause();
	return NULL;
}

/* /proc says Z for a process whose first thread has ended. Naive: that is gone. */
static void test_B13_zombie_leader_of_living_threads_is_alive(UNUSED void **state)
{
	pid_t pid = fork();
	struct procid id;
	char path[48], text[512] = "";

	if (pid == 0) {
		pthread_t thread;

		pthread_create(&thread, NULL, sleep_on, NULL);
		pthread_exit(NULL);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (!strstr(text, ") Z ")) {
		FILE *f = fopen(path, "re");

		assert_non_null(f);
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
	}
	id = id_of(pid);
	assert_int_equal(procid_state(&id), PROC_ALIVE);
	end(pid);
	assert_int_equal(procid_state(&id), PROC_GONE);
}

/* A pid alone is never a process. */
static void test_B13_same_pid_other_process(UNUSED void **state)
{
	struct procid id = id_of(getpid());

	id.start--;
	assert_int_equal(procid_state(&id), PROC_GONE);
	assert_false(procid_is_ancestor(&id));
}

static void test_B13_other_boot_host_namespace(UNUSED void **state)
{
	const struct procid mine = id_of(getpid());
	struct procid id = mine;

	id.boot[0] = id.boot[0] == 'x' ? 'y' : 'x';
	assert_int_equal(procid_state(&id), PROC_GONE); /* this host, before it was rebooted */
	assert_true(procid_can_see(&id));
	id.host[0] = id.host[0] == 'x' ? 'y' : 'x';
	assert_int_equal(procid_state(&id), PROC_UNKNOWN);
	assert_false(procid_can_see(&id));
	id = mine;
	id.host[0] = id.host[0] == 'x' ? 'y' : 'x'; /* a container's name; one boot is one kernel */
	assert_int_equal(procid_state(&id), PROC_ALIVE);
	id = mine;
	id.pid_ns++;
	assert_int_equal(procid_state(&id), PROC_UNKNOWN);
	id = mine;
	id.pid_ns = 0;
	assert_int_equal(procid_state(&id), PROC_UNKNOWN);
	id = mine;
	id.boot[0] = '\0';
	assert_int_equal(procid_state(&id), PROC_UNKNOWN);
	id = (struct procid){0};
	assert_int_equal(procid_state(&id), PROC_UNKNOWN);
}

static int is_ancestor_of_me(void *arg)
{
	return procid_is_ancestor(arg);
}

static int is_ancestor_of_a_grandchild(void *arg)
{
	setsid();
	return apart(is_ancestor_of_me, arg);
}

static void test_ancestors(UNUSED void **state)
{
	struct procid me = id_of(getpid());
	pid_t other = start_sleeper(), chain[64];
	struct procid sibling = id_of(other);

	assert_true(procid_is_ancestor(&me));
	assert_int_equal(apart(is_ancestor_of_a_grandchild, &me), 1);
	assert_int_equal(apart(is_ancestor_of_me, &sibling), 0);
	assert_true(procid_ancestors(chain, 64) >= 2);
	assert_int_equal(chain[0], getpid());
	assert_int_equal(chain[1], getppid());
	end(other);
}

/* ---- namespaces, as root ------------------------------------------------------------ */

#define CANNOT 99 /* this kernel or sandbox lets nobody do it */

static void check_apart(int (*body)(void *), void *arg, int want)
{
	int got = apart(body, arg);

	if (got == CANNOT)
		skip();
	assert_int_equal(got, want);
}

static int in_pid_namespace(void *arg)
{
	/* /proc stays that of the outer namespace: its numbers are not ours. */
	return unshare(CLONE_NEWPID) < 0 ? CANNOT : apart(state_as_status, arg);
}

static int with_own_proc(void *arg)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0)
		return CANNOT;
	return state_as_status(arg);
}

static int in_container(void *arg)
{
	return unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 ? CANNOT : apart(with_own_proc, arg);
}

/* Naive: pid 7 of another namespace is looked for here, and found to be gone. */
static void test_B13_other_pid_namespace_is_unknown(UNUSED void **state)
{
	pid_t pid = start_sleeper();
	struct procid id = id_of(pid);

	check_apart(in_pid_namespace, &id, PROC_UNKNOWN);
	check_apart(in_container, &id, PROC_UNKNOWN);
	end(pid);
}

static int own_state_inside(UNUSED void *arg)
{
	struct procid id;
	struct fail fail = FAIL_INIT;

	return procid_of(getpid(), &id, &fail) < 0 ? 50 : (int)procid_state(&id);
}

static int own_state_in_pid_namespace(UNUSED void *arg)
{
	return unshare(CLONE_NEWPID) < 0 ? CANNOT : apart(own_state_inside, NULL);
}

static int own_state_with_own_proc(void *arg)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0)
		return CANNOT;
	return own_state_inside(arg);
}

static int own_state_in_container(void *arg)
{
	return unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 ? CANNOT
						       : apart(own_state_with_own_proc, arg);
}

/* With /proc of the outer namespace, what it shows under our pid is somebody else. */
static void test_B13_foreign_proc_is_not_believed(UNUSED void **state)
{
	check_apart(own_state_in_pid_namespace, NULL, PROC_UNKNOWN);
	check_apart(own_state_in_container, NULL, PROC_ALIVE);
}

static int in_time_namespace(void *arg)
{
	FILE *offsets;

	if (unshare(CLONE_NEWTIME) < 0 || !(offsets = fopen("/proc/self/timens_offsets", "we")))
		return CANNOT;
	fprintf(offsets, "boottime 100000 0\n");
	if (fclose(offsets) != 0)
		return CANNOT;
	return apart(state_as_status, arg);
}

/* Naive: the start time is another one there, so it must be another process. */
static void test_B13_other_time_namespace_is_unknown(UNUSED void **state)
{
	pid_t pid = start_sleeper();
	struct procid id = id_of(pid);

	check_apart(in_time_namespace, &id, PROC_UNKNOWN);
	end(pid);
	check_apart(in_time_namespace, &id, PROC_GONE); /* no such pid is no such process */
}

struct hidden {
	const char *option;
	struct procid *id;
};

static int behind_hidepid(void *arg)
{
	const struct hidden *hidden = arg;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, hidden->option) < 0 || setgid(65534) < 0 ||
	    setuid(65534) < 0)
		return CANNOT;
	return state_as_status(hidden->id);
}

/* Naive: it is not in /proc, so it is gone. */
static void test_B13_hidden_proc_is_unknown(UNUSED void **state)
{
	pid_t pid = start_sleeper();
	struct procid id = id_of(pid);
	struct hidden one = {"hidepid=1", &id}, two = {"hidepid=2", &id};

	check_apart(behind_hidepid, &one, PROC_UNKNOWN);
	check_apart(behind_hidepid, &two, PROC_UNKNOWN);
	end(pid);
	check_apart(behind_hidepid, &two, PROC_GONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alive_then_gone),
		cmocka_unit_test(test_own_process_is_alive),
		cmocka_unit_test(test_B13_stopped_is_alive_and_zombie_is_gone),
		cmocka_unit_test(test_B13_zombie_leader_of_living_threads_is_alive),
		cmocka_unit_test(test_B13_same_pid_other_process),
		cmocka_unit_test(test_B13_other_boot_host_namespace),
		cmocka_unit_test(test_ancestors),
		cmocka_unit_test(test_B13_other_pid_namespace_is_unknown),
		cmocka_unit_test(test_B13_foreign_proc_is_not_believed),
		cmocka_unit_test(test_B13_other_time_namespace_is_unknown),
		cmocka_unit_test(test_B13_hidden_proc_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
