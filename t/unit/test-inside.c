/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* inside: who works below a directory, in every way that a process can (B13, H6). */
#include "inside.h"

#include "sandbox.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char slot[128], near[128], token[128];

static int setup(UNUSED void **state)
{
	int fd;

	sandbox_enter();
	assert_int_equal(chmod(sandbox_dir, 0755), 0);
	snprintf(slot, sizeof(slot), "%s/slot-1", sandbox_dir);
	snprintf(near, sizeof(near), "%s/slot-10", sandbox_dir);
	snprintf(token, sizeof(token), "%s/token.work", sandbox_dir);
	assert_int_equal(mkdir(slot, 0755), 0);
	assert_int_equal(mkdir(near, 0755), 0);
	assert_int_equal(mkdir("slot-1/deep", 0755), 0);
	fd = open("slot-1/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	return 0;
}

static int teardown(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

/* ---- a process, ready and waiting -------------------------------------------------- */

static int ready = -1; /* of the child: says that it is where it should be */

static void say_ready(void)
{
	if (write(ready, "r", 1) != 1)
		_exit(1);
	close(ready);
}

static pid_t start(void (*body)(void *arg), void *arg)
{
	int pipes[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
		close(pipes[0]);
		ready = pipes[1];
		body(arg);
		say_ready();
		for (;;)
			pause();
	}
	close(pipes[1]);
	if (read(pipes[0], &byte, 1) != 1)
		fail_msg("the process did not come up");
	close(pipes[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void need(bool ok)
{
	if (!ok)
		_exit(2);
}

static struct inside look_with(const char *path, int fd, const char *variable)
{
	const struct inside_question question = {
		.path = path, .token = fd, .variable = variable, .after = procid_start(getpid())};
	struct inside inside;
	struct fail fail = FAIL_INIT;

	assert_ok(inside_look(&question, 1, &inside, &fail), fail);
	return inside;
}

static const struct inside_process *find(const struct inside *inside, pid_t pid)
{
	for (size_t i = 0; i < inside->count; i++)
		if (inside->found[i].pid == pid)
			return &inside->found[i];
	return NULL;
}

static bool is_within(const char *path, pid_t pid)
{
	struct inside inside = look_with(path, -1, NULL);
	const struct inside_process *process = find(&inside, pid);
	bool is = process && process->within;

	assert_false(inside.hidden);
	inside_release(&inside);
	return is;
}

/* In the slot, and in none of the others that are there. */
static void check_within(void (*body)(void *), void *arg)
{
	pid_t pid = start(body, arg);
	bool inside = is_within(slot, pid), elsewhere = is_within(near, pid);

	end(pid);
	assert_true(inside);
	assert_false(elsewhere);
	assert_false(is_within(slot, pid));
}

/* ---- ways to be inside --------------------------------------------------------------- */

static void sit(void *path)
{
	need(chdir(path) == 0);
}

static void close_all(void *path)
{
	sit(path);
	for (int fd = 0; fd < 1024; fd++)
		if (fd != ready)
			close(fd);
}

static void open_file(UNUSED void *arg)
{
	need(chdir("/") == 0 && open(slot, O_RDONLY | O_DIRECTORY) >= 0);
}

static void map_file(UNUSED void *arg)
{
	int fd = open("slot-1/file", O_RDONLY);

	need(fd >= 0 && mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	close(fd);
	need(chdir("/") == 0);
}

static void stop(void *path)
{
	sit(path);
	say_ready();
	raise(SIGSTOP);
}

static void grandchild(void *path)
{
	if (fork() == 0) {
		setsid();
		alarm(60); /* its parent's death does not end it */
		need(chdir(path) == 0);
		say_ready();
		for (;;)
			pause();
	}
	close(ready);
	need(chdir("/") == 0);
	for (;;)
		pause();
}

static void test_B13_ways_to_be_inside(UNUSED void **state)
{
	char deep[160];

	snprintf(deep, sizeof(deep), "%s/deep", slot);
	check_within(sit, slot);
	check_within(sit, deep);
	check_within(close_all, slot);
	check_within(open_file, NULL);
	check_within(map_file, NULL);
}

static void test_B13_stopped_is_inside(UNUSED void **state)
{
	pid_t pid = start(stop, slot);
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
	assert_true(is_within(slot, pid));
	end(pid);
}

static void test_B13_setsid_grandchild_is_inside(UNUSED void **state)
{
	pid_t parent = start(grandchild, slot);
	struct inside inside = look_with(slot, -1, NULL);
	pid_t found;

	assert_int_equal(inside.count, 1);
	assert_true(inside.found[0].within && !inside.found[0].is_ancestor);
	assert_int_not_equal(inside.found[0].pid, parent);
	found = inside.found[0].pid;
	end(parent);
	assert_true(is_within(slot, found)); /* its parent's death changes nothing */
	kill(found, SIGKILL);
	inside_release(&inside);
}

static void *sleep_on(UNUSED void *arg)
{
	say_ready();
	for (;;)
		pause();
	return NULL;
}

static void leave_threads(void *path)
{
	pthread_t thread;

	sit(path);
	need(pthread_create(&thread, NULL, sleep_on, NULL) == 0);
	pthread_exit(NULL);
}

/* Naive: /proc/<pid>/cwd does not resolve, so nothing is inside. */
static void test_B13_threads_without_their_leader_are_inside(UNUSED void **state)
{
	pid_t pid = start(leave_threads, slot);
	char path[48], text[512] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (!strstr(text, ") Z ")) {
		FILE *f = fopen(path, "re");

		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
	}
	assert_true(is_within(slot, pid));
	end(pid);
}

static void test_B13_zombie_is_not_inside(UNUSED void **state)
{
	pid_t pid = start(sit, slot);
	siginfo_t info;

	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(is_within(slot, pid));
	end(pid);
}

static void test_B15_caller_is_not_reported_its_parent_is(UNUSED void **state)
{
	pid_t pid;
	int status;

	sit(slot);
	pid = fork();
	if (pid == 0) {
		struct inside inside = look_with(slot, -1, NULL);
		const struct inside_process *parent = find(&inside, getppid());

		_exit(inside.count == 1 && parent && parent->within && parent->is_ancestor ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_false(is_within(slot, getpid()));
	assert_int_equal(chdir(sandbox_dir), 0);
}

static void set_variable(void *path)
{
	setenv("LEASE", "17", 1);
	sit(path);
	need(dup2(ready, 9) == 9);
	execlp("sh", "sh", "-c", "echo r >&9; exec 9>&-; sleep 1000", NULL);
	_exit(3);
}

static void test_environment_tells_whose_it_is(UNUSED void **state)
{
	pid_t pid = start(set_variable, slot);
	struct inside inside = look_with(slot, -1, "LEASE=17");

	assert_true(find(&inside, pid)->has_env);
	inside_release(&inside);
	inside = look_with(slot, -1, "LEASE=1");
	assert_false(find(&inside, pid)->has_env);
	for (size_t i = 0; i < inside.count; i++)
		kill(inside.found[i].pid, SIGKILL);
	inside_release(&inside);
	end(pid);
}

/* ---- other mounts ------------------------------------------------------------------------ */

static void sit_in_other_mount(UNUSED void *arg)
{
	need(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	need(mount(slot, near, NULL, MS_BIND, NULL) == 0);
	need(chdir(near) == 0 && chdir("deep") == 0);
}

static void sit_in_chroot(UNUSED void *arg)
{
	need(chroot(slot) == 0);
}

static void sit_in_pid_namespace(void *path)
{
	need(unshare(CLONE_NEWPID) == 0);
	grandchild(path);
}

/* Naive: its path is another one. */
static void test_B13_another_mount_is_the_same_directory(UNUSED void **state)
{
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = start(sit_in_other_mount, NULL);
	assert_true(is_within(slot, pid));
	end(pid);
	check_within(sit_in_chroot, NULL);
}

static void test_B13_other_pid_namespace_is_seen_from_the_outer_one(UNUSED void **state)
{
	struct inside inside;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = start(sit_in_pid_namespace, slot);
	inside = look_with(slot, -1, NULL);
	assert_int_equal(inside.count, 1);
	assert_true(inside.found[0].within);
	kill(inside.found[0].pid, SIGKILL);
	inside_release(&inside);
	end(pid);
}

/* ---- the work lock --------------------------------------------------------------------------- */

static int lock_token(void)
{
	int fd = open(token, O_RDWR | O_CREAT, 0644);

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	return fd;
}

static void keep_only_token(UNUSED void *arg)
{
	need(chdir("/") == 0);
}

/* A daemon that kept a descriptor, and nothing else of the slot. */
static void test_B13_leaked_descriptor_is_not_within(UNUSED void **state)
{
	int fd = lock_token(), mine;
	pid_t pid = start(keep_only_token, NULL);
	struct inside inside;

	close(fd);
	mine = open(token, O_RDONLY | O_CLOEXEC);
	inside = look_with(slot, mine, NULL);
	assert_int_equal(inside.count, 1);
	assert_int_equal(inside.found[0].pid, pid);
	assert_true(inside.found[0].has_file && !inside.found[0].within);
	assert_false(inside.holder_unseen);
	inside_release(&inside);
	end(pid);
	close(mine);
}

/* The descriptor that holds the lock itself is asked about: the lock must stay what it is. */
static void test_own_lock_survives_the_question(UNUSED void **state)
{
	int fd = lock_token(), other;
	struct inside inside = look_with(slot, fd, NULL);

	assert_int_equal(inside.count, 0);
	assert_false(inside.holder_unseen);
	other = open(token, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(other, LOCK_SH | LOCK_NB), -1);
	close(other);
	close(fd);
	inside_release(&inside);
}

/* Puts the locked descriptor into a socket, where no process has it. */
static void post_descriptor(int socket, int fd)
{
	char byte = 'x';
	struct iovec io = {&byte, 1};
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr message = {.msg_iov = &io,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(int));
	assert_int_equal(sendmsg(socket, &message, 0), 1);
}

static int look_as_nobody(int mine)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct inside_question question = {.path = slot, .token = mine};
		struct inside inside;
		struct fail fail = FAIL_INIT;

		need(setgid(65534) == 0 && setuid(65534) == 0);
		need(inside_look(&question, 1, &inside, &fail) == 0);
		_exit(inside.holder_unseen ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void test_B13_descriptor_in_flight(UNUSED void **state)
{
	int fd, mine, sockets[2];
	struct inside inside;

	if (geteuid() != 0)
		skip();
	fd = lock_token();
	mine = open(token, O_RDONLY | O_CLOEXEC);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	post_descriptor(sockets[0], fd);
	close(fd);
	inside = look_with(slot, mine, NULL);
	assert_false(inside.holder_unseen); /* nobody works behind it */
	inside_release(&inside);
	assert_int_equal(look_as_nobody(mine), 1);
	close(sockets[0]);
	close(sockets[1]);
	assert_int_equal(look_as_nobody(mine), 0);
	close(mine);
}

/* ---- what /proc hides
 * ---------------------------------------------------------------------------- */

static int hidden_behind(const char *option)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct inside inside;

		need(unshare(CLONE_NEWNS) == 0 &&
		     mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		     mount("proc", "/proc", "proc", 0, option) == 0 && setgid(65534) == 0 &&
		     setuid(65534) == 0);
		inside = look_with(slot, -1, NULL);
		_exit(inside.hidden ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void test_B13_hidden_proc_proves_nothing(UNUSED void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(hidden_behind("hidepid=0"), 0);
	assert_int_equal(hidden_behind("hidepid=1"), 1);
	assert_int_equal(hidden_behind("hidepid=2"), 1);
}

static void test_missing_directory_proves_nothing(UNUSED void **state)
{
	struct inside inside = look_with("/nowhere/at/all", -1, NULL);

	assert_true(inside.hidden);
	inside_release(&inside);
}

/* ---- many, and quickly
 * ------------------------------------------------------------------------------ */

static void test_one_pass_answers_many(UNUSED void **state)
{
	struct inside_question questions[3] = {{.path = near, .token = -1},
					       {.path = "/nowhere", .token = -1},
					       {.path = slot, .token = -1}};
	pid_t one = start(sit, slot), two = start(sit, near);
	struct inside inside[3];
	struct fail fail = FAIL_INIT;

	assert_ok(inside_look(questions, 3, inside, &fail), fail);
	assert_true(find(&inside[0], two) && !find(&inside[0], one));
	assert_true(!inside[1].count && inside[1].hidden);
	assert_true(find(&inside[2], one) && !find(&inside[2], two));
	for (int i = 0; i < 3; i++)
		inside_release(&inside[i]);
	end(one);
	end(two);
}

static void test_B15_sitting(UNUSED void **state)
{
	pid_t one = start(sit, slot), two = start(sit, near), three = start(open_file, NULL);
	struct procid found[4];

	assert_int_equal(inside_sitting(slot, found, 4), 1);
	assert_int_equal(found[0].pid, one);
	assert_int_equal(procid_state(&found[0]), PROC_ALIVE);
	assert_int_equal(inside_sitting(slot, found, 0), 0);
	assert_int_equal(inside_sitting("/nowhere", found, 4), 0);
	end(one);
	end(two);
	end(three);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B13_ways_to_be_inside),
		cmocka_unit_test(test_B13_stopped_is_inside),
		cmocka_unit_test(test_B13_setsid_grandchild_is_inside),
		cmocka_unit_test(test_B13_threads_without_their_leader_are_inside),
		cmocka_unit_test(test_B13_zombie_is_not_inside),
		cmocka_unit_test(test_B15_caller_is_not_reported_its_parent_is),
		cmocka_unit_test(test_environment_tells_whose_it_is),
		cmocka_unit_test(test_B13_another_mount_is_the_same_directory),
		cmocka_unit_test(test_B13_other_pid_namespace_is_seen_from_the_outer_one),
		cmocka_unit_test(test_B13_leaked_descriptor_is_not_within),
		cmocka_unit_test(test_own_lock_survives_the_question),
		cmocka_unit_test(test_B13_descriptor_in_flight),
		cmocka_unit_test(test_B13_hidden_proc_proves_nothing),
		cmocka_unit_test(test_missing_directory_proves_nothing),
		cmocka_unit_test(test_one_pass_answers_many),
		cmocka_unit_test(test_B15_sitting),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
