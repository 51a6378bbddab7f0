/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* slot: real worktrees, real locks, real processes. What was seen, and what it is called. */
#include "slot.h"

#include "clock.h"
#include "sandbox.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct repo repo;
static char tree[128]; /* worktree of the slot that each test has: default-1 */

/* Lent for the next few calls. */
PRINTF_LIKE(1, 2)
static char *text_of(const char *fmt, ...)
{
	static char texts[8][600];
	static unsigned next;
	char *text = texts[next++ % 8];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(texts[0]), fmt, ap);
	va_end(ap);
	return text;
}

/* ---- a slot ------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static char *admin_file(const char *id, const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/worktrees/%s/%s", repo.common_dir, id, name);
	return path;
}

/* As a birth leaves it: a worktree of git's, locked, with its birth record; free. */
static void make_slot(const char *pool, int64_t number, const char *path)
{
	struct slot_birth birth = {.born = slot_new_id(),
				   .pool = mem_strdup(pool),
				   .number = number,
				   .path = mem_strdup(path)};
	struct slot_record record = {.phase = SLOT_FREE};
	char *id = slot_id_of(pool, number), *name = slot_name_of(pool, number), line[400];
	struct bytes text = BYTES_INIT;
	struct stat st;

	snprintf(line, sizeof(line), "worktree add -q --detach %s", path);
	git(line);
	/* git takes the last part of the path for the id. */
	assert_string_equal(strrchr(path, '/') + 1, id);
	assert_int_equal(stat(path, &st), 0);
	birth.dev = st.st_dev;
	birth.ino = st.st_ino;
	slot_birth_format(&birth, &text);
	write_file(admin_file(id, "interlock"), text.data);
	bytes_clear(&text);
	slot_record_format(&record, name, &text);
	write_file(admin_file(id, "locked"), text.data);
	bytes_release(&text);
	slot_birth_release(&birth);
	free(id);
	free(name);
}

static int setup(UNUSED void **state)
{
	static const struct variant variant = {HASH_SHA1, ENGINE_NATIVE};

	sandbox_enter();
	sandbox_repo(&variant, &repo);
	git("-c user.name=n -c user.email=e commit -q --allow-empty -m first");
	snprintf(tree, sizeof(tree), "%s/slots/default-1", sandbox_dir);
	make_slot("default", 1, tree);
	return 0;
}

static int teardown(UNUSED void **state)
{
	repo_close(&repo);
	unsetenv("GIT_INTERLOCK_LEASE");
	sandbox_leave();
	return 0;
}

static struct slot look(const char *id)
{
	struct slot slot;
	struct fail fail = FAIL_INIT;

	assert_ok(slot_look(&repo, id, &slot, &fail), fail);
	return slot;
}

#define assert_state(id, want) \
	do { \
		struct slot seen_ = look(id); \
		if (seen_.state != (want)) \
			fail_msg("%s, not %s (%s)", slot_state_name(seen_.state), \
				 slot_state_name(want), seen_.who ? seen_.who : "-"); \
		slot_close(&seen_); \
	} while (0)

static void must_lock(struct slot *slot)
{
	struct fail fail = FAIL_INIT;

	assert_ok(slot_lock(slot, 0, &fail), fail);
}

/* A lease that was taken by `owner`, recorded as a claim records it. The lock is let go. */
static void lease_to(const struct procid *owner, enum lease_kind kind, int64_t left)
{
	struct slot slot = look("default-1");
	struct fail fail = FAIL_INIT;
	int64_t now = (int64_t)time(NULL);

	must_lock(&slot);
	slot_note_before(&slot);
	slot.record.phase = SLOT_LEASED;
	free(slot.record.lease);
	slot.record.lease = slot_new_id();
	slot.record.kind = kind;
	slot.record.since = now;
	slot.record.expires = kind == LEASE_TIME ? now + left : 0;
	slot.record.uid = geteuid();
	slot.record.owner = *owner;
	assert_ok(slot_write(&slot, &fail), fail);
	slot_close(&slot);
}

static struct procid id_of(pid_t pid)
{
	struct procid id;
	struct fail fail = FAIL_INIT;

	assert_ok(procid_of(pid, &id, &fail), fail);
	return id;
}

/* ---- processes ------------------------------------------------------------------------ */

/* A process that sits in `dir`, holds the slot's lock when asked to, and waits. */
static pid_t start(const char *dir, bool lock)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(admin_file("default-1", "."), O_RDONLY | O_DIRECTORY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(dir) < 0 || (lock && flock(fd, LOCK_EX | LOCK_NB) < 0) ||
		    write(ready[1], "r", 1) != 1)
			_exit(1);
		close(ready[0]);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct procid dead_process(void)
{
	pid_t pid = start("/", false);
	struct procid id = id_of(pid);

	end(pid);
	return id;
}

/* ---- the lock --------------------------------------------------------------------------- */

static void test_B1_held_until_killed(UNUSED void **state)
{
	struct procid dead = dead_process();
	pid_t pid;

	assert_state("default-1", STATE_FREE);
	lease_to(&dead, LEASE_COMMAND, 0);
	pid = start("/", true);
	assert_state("default-1", STATE_HELD); /* the record says that its owner is gone */
	end(pid);
	assert_state("default-1", STATE_ORPHANED);
}

static void test_B14_records_deleted_under_a_holder(UNUSED void **state)
{
	pid_t pid = start("/", true);
	struct slot slot;
	struct fail fail = FAIL_INIT;

	assert_int_equal(unlink(admin_file("default-1", "locked")), 0);
	assert_state("default-1", STATE_HELD);
	write_file(admin_file("default-1", "locked"), "mine, hands off\n");
	assert_state("default-1", STATE_HELD);
	write_file(admin_file("default-1", "locked"), "interlock 7 {}\n");
	assert_state("default-1", STATE_HELD);
	assert_int_equal(unlink(admin_file("default-1", "interlock")), 0);
	assert_state("default-1", STATE_HELD);
	slot = look("default-1");
	assert_int_equal(slot_lock(&slot, 0, &fail), FAIL_BUSY);
	assert_non_null(strstr(fail.message, "test-slot"));
	slot_close(&slot);
	end(pid);
	assert_state("default-1", STATE_UNKNOWN);
}

static void test_lock_looks_again(UNUSED void **state)
{
	struct procid me = id_of(getpid());
	struct slot slot = look("default-1");

	lease_to(&me, LEASE_TIME, 100);
	assert_int_equal(slot.state, STATE_FREE);
	must_lock(&slot);
	assert_int_equal(slot.state, STATE_LEASED);
	assert_state("default-1", STATE_HELD); /* by us, as seen by anybody */
	slot_unlock(&slot);
	assert_state("default-1", STATE_LEASED);
	slot_close(&slot);
}

/* Naive: whoever waited holds a directory that the name no longer leads to. */
static void test_B4_removed_and_born_again(UNUSED void **state)
{
	struct slot slot = look("default-1");
	struct fail fail = FAIL_INIT;
	char *admin = text_of("%s/worktrees/default-1", repo.common_dir);

	assert_int_equal(rename(admin, text_of("%s/trash", repo.common_dir)), 0);
	assert_int_equal(slot_lock(&slot, 0, &fail), FAIL_GONE);
	assert_false(slot.locked);
	fail_clear(&fail);
	assert_int_equal(mkdir(admin, 0777), 0);
	assert_int_equal(slot_lock(&slot, 0, &fail), FAIL_GONE);
	slot_close(&slot);
}

/* Naive: the probes of a hundred lookers make a claim fail. */
static void test_probes_make_nobody_fail(UNUSED void **state)
{
	pid_t probers[4];
	struct slot slot = look("default-1");
	int fd = open(admin_file("default-1", "."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(probers); i++) {
		probers[i] = fork();
		if (probers[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(fd);
			fd = open(admin_file("default-1", "."), O_RDONLY | O_DIRECTORY);
			for (;; usleep(20)) /* four that never pause leave others no processor */
				if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
					usleep(20);
					flock(fd, LOCK_UN);
				}
		}
	}
	for (int i = 0; i < 300; i++) {
		must_lock(&slot);
		assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
		slot_unlock(&slot);
	}
	for (size_t i = 0; i < ARRAY_SIZE(probers); i++)
		end(probers[i]);
	close(fd);
	slot_close(&slot);
}

static void test_B2_waits_until_the_holder_dies(UNUSED void **state)
{
	pid_t pid = start("/", true), killer;
	struct slot slot = look("default-1");
	struct fail fail = FAIL_INIT;

	killer = fork();
	if (killer == 0) {
		clock_sleep(50);
		kill(pid, SIGKILL);
		_exit(0);
	}
	assert_ok(slot_lock(&slot, clock_deadline(20000), &fail), fail);
	assert_int_equal(slot.state, STATE_FREE);
	slot_close(&slot);
	waitpid(killer, NULL, 0);
	waitpid(pid, NULL, 0);
}

/* ---- leases ------------------------------------------------------------------------------ */

static void test_time_lease(UNUSED void **state)
{
	struct procid me = id_of(getpid());

	lease_to(&me, LEASE_TIME, 100);
	assert_state("default-1", STATE_LEASED);
	lease_to(&me, LEASE_TIME, -1);
	assert_state("default-1", STATE_EXPIRED);
}

static void test_living_owner_is_unknown(UNUSED void **state)
{
	struct procid me = id_of(getpid());

	lease_to(&me, LEASE_OWNER, 0);
	assert_state("default-1", STATE_UNKNOWN);
	me.pid_ns++;
	lease_to(&me, LEASE_OWNER, 0);
	assert_state("default-1", STATE_UNKNOWN);
}

static void test_H6_occupied_and_B15_who_was_there_before(UNUSED void **state)
{
	struct procid dead = dead_process();
	pid_t before = start(tree, false), after;

	lease_to(&dead, LEASE_COMMAND, 0);
	assert_state("default-1", STATE_ORPHANED); /* it was there before the lease */
	after = start(tree, false);
	assert_state("default-1", STATE_OCCUPIED);
	end(after);
	assert_state("default-1", STATE_ORPHANED);
	end(before);
}

/* Naive: a shell that is older than the lease is a stranger, and loses what it is in. */
static void test_H6_older_process_that_came_in_later(UNUSED void **state)
{
	struct procid me = id_of(getpid());
	int go[2], there[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(go) + pipe(there), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(go[0], &byte, 1) != 1 || chdir(tree) < 0 || write(there[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	lease_to(&me, LEASE_TIME, -1);
	assert_state("default-1", STATE_EXPIRED);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(read(there[0], &byte, 1), 1);
	assert_state("default-1", STATE_OCCUPIED);
	end(pid);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(there[i]);
	}
}

/* The caller's own shell: in the way of a reap, and not of a release. */
static void test_B15_ancestors(UNUSED void **state)
{
	struct procid dead = dead_process();
	pid_t pid;
	int status;

	lease_to(&dead, LEASE_COMMAND, 0);
	assert_int_equal(chdir(tree), 0);
	pid = fork();
	if (pid == 0) {
		struct slot slot;
		struct fail fail = FAIL_INIT;
		bool right = slot_look(&repo, "default-1", &slot, &fail) == 0 &&
			     slot.state == STATE_OCCUPIED;

		slot_ask_inside(&slot, true);
		_exit(right && slot.state == STATE_ORPHANED ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(chdir(repo.work_tree), 0);
}

static void test_B13_leaked_work_lock_pins_nothing(UNUSED void **state)
{
	struct slot slot = look("default-1");
	struct fail fail = FAIL_INIT;
	pid_t daemon;

	must_lock(&slot);
	slot.record.phase = SLOT_LEASED;
	slot.record.lease = slot_new_id();
	slot.record.kind = LEASE_COMMAND;
	slot.record.owner = dead_process();
	slot.record.uid = geteuid();
	assert_ok(slot_write(&slot, &fail), fail);
	assert_true(slot.work >= 0);
	daemon = start("/", false); /* inherits the work lock, and the slot's, which it closes */
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
	daemon = fork();
	if (daemon == 0) {
		close(slot.admin);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	slot_close(&slot);
	while (slot = look("default-1"), slot.state == STATE_HELD)
		slot_close(&slot); /* until it has closed it */
	assert_int_equal(slot.state, STATE_ORPHANED);
	slot_close(&slot);
	end(daemon);
}

/* ---- records that disagree ---------------------------------------------------------------- */

static char *lease_file(const char *lease)
{
	return text_of("%s/interlock/leases/%s", repo.common_dir, lease);
}

static void test_C10_unlocked_by_hand(UNUSED void **state)
{
	struct procid me = id_of(getpid()), dead = dead_process();

	git(text_of("worktree unlock %s", tree));
	assert_state("default-1", STATE_DESYNCED);
	lease_to(&me, LEASE_TIME, 100);
	git(text_of("worktree unlock %s", tree));
	assert_state("default-1", STATE_LEASED); /* the lease's own file knows */
	lease_to(&me, LEASE_COMMAND, 0);
	git(text_of("worktree unlock %s", tree));
	assert_state("default-1", STATE_UNKNOWN);
	lease_to(&dead, LEASE_COMMAND, 0);
	write_file(admin_file("default-1", "locked"), "interlock 1 {\"sl");
	assert_state("default-1", STATE_DESYNCED);
}

static void test_C10_lease_file(UNUSED void **state)
{
	struct procid dead = dead_process();
	struct bytes text = BYTES_INIT;
	struct slot slot;
	const char *path;

	lease_to(&dead, LEASE_COMMAND, 0);
	slot = look("default-1");
	path = lease_file(slot.record.lease);
	write_file(path, "garbage");
	assert_state("default-1", STATE_DESYNCED);
	write_file(path, "interlock 9 {}");
	assert_state("default-1", STATE_UNKNOWN);
	slot_record_format(&slot.record, "default-2", &text);
	write_file(path, text.data); /* edited to point elsewhere */
	assert_state("default-1", STATE_DESYNCED);
	assert_int_equal(unlink(path), 0);
	assert_state("default-1", STATE_ORPHANED); /* a deleted folder is no contradiction */
	bytes_release(&text);
	slot_close(&slot);
}

/* Killed between the lease's file and A/locked: the later end counts. */
static void test_renewal_that_was_killed(UNUSED void **state)
{
	struct procid me = id_of(getpid());
	struct bytes text = BYTES_INIT;
	struct slot slot;
	const char *path;

	lease_to(&me, LEASE_TIME, -1);
	slot = look("default-1");
	assert_int_equal(slot.state, STATE_EXPIRED);
	path = lease_file(slot.record.lease);
	slot.record.expires += 1000;
	slot_record_format(&slot.record, slot.name, &text);
	write_file(path, text.data);
	assert_state("default-1", STATE_LEASED);
	bytes_release(&text);
	slot_close(&slot);
}

static void test_human_and_foreign(UNUSED void **state)
{
	git("worktree add -q --detach ../elsewhere");
	assert_state("elsewhere", STATE_FOREIGN);
	git(text_of("worktree unlock %s", tree));
	git(text_of("worktree lock --reason hands-off %s", tree));
	assert_state("default-1", STATE_FOREIGN);
}

/* ---- the directory -------------------------------------------------------------------------- */

static void test_A10_vanished_F5_replaced_C14_moved(UNUSED void **state)
{
	char moved[160];

	snprintf(moved, sizeof(moved), "%s.moved", tree);
	assert_int_equal(rename(tree, moved), 0);
	assert_state("default-1", STATE_VANISHED);
	assert_int_equal(symlink(moved, tree), 0);
	assert_state("default-1", STATE_UNKNOWN);
	assert_int_equal(unlink(tree), 0);
	write_file(tree, "a file");
	assert_state("default-1", STATE_UNKNOWN);
	assert_int_equal(unlink(tree), 0);
	assert_int_equal(mkdir(tree, 0777), 0);
	assert_state("default-1", STATE_UNKNOWN);
	assert_int_equal(rmdir(tree), 0);
	assert_int_equal(rename(moved, tree), 0);
	assert_state("default-1", STATE_FREE);
	/* git knows where it went: it must not be unregistered. */
	git(text_of("worktree move -f -f %s %s", tree, moved));
	assert_state("default-1", STATE_UNKNOWN);
}

static void test_F5_admin_directory_is_a_symlink(UNUSED void **state)
{
	assert_int_equal(symlink("default-1", text_of("%s/worktrees/default-2", repo.common_dir)),
			 0);
	assert_state("default-2", STATE_UNKNOWN);
	write_file(text_of("%s/worktrees/default-3", repo.common_dir), "x");
	{
		struct slot slot;
		struct fail fail = FAIL_INIT;

		assert_int_equal(slot_look(&repo, "default-3", &slot, &fail), FAIL_GONE);
		slot_close(&slot);
	}
}

static void test_device_counts_within_its_boot(UNUSED void **state)
{
	struct slot slot = look("default-1");
	struct stat st;

	assert_int_equal(stat(tree, &st), 0);
	assert_true(slot_born_as(&slot.birth, &st));
	st.st_dev++;
	assert_false(slot_born_as(&slot.birth, &st));
	slot.birth.boot[0] ^= 1; /* after a reboot devices may be numbered anew */
	assert_true(slot_born_as(&slot.birth, &st));
	st.st_ino++;
	assert_false(slot_born_as(&slot.birth, &st));
	slot_close(&slot);
}

/* ---- finding --------------------------------------------------------------------------------- */

static void expect_found(const char *given, const char *name)
{
	struct slot slot;
	struct fail fail = FAIL_INIT;

	if (slot_find(&repo, given, &slot, &fail) < 0)
		fail_msg("%s: %s", given, fail.message);
	assert_string_equal(slot.name, name);
	slot_close(&slot);
}

static void test_find(UNUSED void **state)
{
	struct slot slot;
	struct fail fail = FAIL_INIT;
	char path[200];

	snprintf(path, sizeof(path), "%s/slots/team%%2Fa-7", sandbox_dir);
	make_slot("team/a", 7, path);
	expect_found("default-1", "default-1");
	expect_found("team/a-7", "team/a-7");
	expect_found("team%2Fa-7", "team/a-7");
	expect_found(tree, "default-1");
	expect_found(path, "team/a-7");
	assert_int_equal(mkdir(text_of("%s/deep", tree), 0777), 0);
	expect_found(text_of("%s/deep", tree), "default-1");
	assert_int_equal(symlink(tree, text_of("%s/link", sandbox_dir)), 0);
	expect_found(text_of("%s/link/deep", sandbox_dir), "default-1");
	assert_int_equal(slot_find(&repo, "default-9", &slot, &fail), FAIL_GONE);
	fail_clear(&fail);
	assert_int_equal(slot_find(&repo, "../..", &slot, &fail), FAIL_GONE);
	fail_clear(&fail);
	assert_int_equal(slot_find(&repo, NULL, &slot, &fail), FAIL_GONE);
}

static void test_all_of_a_pool(UNUSED void **state)
{
	struct slots slots;
	struct fail fail = FAIL_INIT;
	char path[200];

	for (int n = 10; n > 1; n--) {
		snprintf(path, sizeof(path), "%s/slots/default-%d", sandbox_dir, n);
		make_slot("default", n, path);
	}
	snprintf(path, sizeof(path), "%s/slots/alpha-1", sandbox_dir);
	make_slot("alpha", 1, path);
	git("worktree add -q --detach ../elsewhere");
	assert_ok(slots_look(&repo, "default", false, &slots, &fail), fail);
	assert_int_equal(slots.count, 10);
	for (size_t i = 0; i < slots.count; i++)
		assert_int_equal(slots.items[i].birth.number, i + 1); /* 10 comes after 9 */
	slots_release(&slots);
	assert_ok(slots_look(&repo, NULL, false, &slots, &fail), fail);
	assert_int_equal(slots.count, 11);
	assert_string_equal(slots.items[0].name, "alpha-1");
	slots_release(&slots);
	assert_ok(slots_look(&repo, NULL, true, &slots, &fail), fail);
	assert_int_equal(slots.count, 12);
	assert_string_equal(slots.items[11].name, "elsewhere");
	assert_int_equal(slots.items[11].state, STATE_FOREIGN);
	slots_release(&slots);
}

/* So many that several threads look: each is what it is when it is looked at alone. */
static void expect_as_alone(size_t count, int last_descriptor)
{
	struct slots slots;
	struct fail fail = FAIL_INIT;
	size_t open = 0;

	assert_ok(slots_look(&repo, NULL, false, &slots, &fail), fail);
	assert_int_equal(slots.count, count);
	for (size_t i = 0; i < slots.count; i++) {
		struct slot *one = &slots.items[i], alone = look(one->id);

		assert_string_equal(one->name, alone.name);
		assert_string_equal(one->path, alone.path);
		assert_int_equal(one->state, alone.state);
		assert_int_equal(one->record.phase, alone.record.phase);
		assert_true(!one->record.lease == !alone.record.lease);
		assert_true(!one->record.lease || !strcmp(one->record.lease, alone.record.lease));
		assert_true(one->admin <= last_descriptor);
		open += one->admin >= 0;
		slot_close(&alone);
	}
	assert_true(last_descriptor == INT_MAX ? open == count : open > 0 && open < count);
	slots_release(&slots);
}

static void test_more_than_one_thread_looks_at(UNUSED void **state)
{
	enum {
		SLOTS = 80
	};
	struct rlimit before, few;
	struct procid me = id_of(getpid());
	size_t seen[STATE_UNKNOWN + 1] = {0};
	struct slots slots;
	struct fail fail = FAIL_INIT;
	pid_t holder;

	lease_to(&me, LEASE_TIME, 100);
	for (int n = 2; n <= SLOTS; n++) {
		make_slot("default", n, text_of("%s/slots/default-%d", sandbox_dir, n));
		if (n % 4 == 0)
			assert_int_equal(unlink(admin_file(text_of("default-%d", n), "locked")), 0);
		if (n % 4 == 1)
			write_file(admin_file(text_of("default-%d", n), "locked"), "interlock 1 {");
	}
	holder = start(tree, true);
	assert_ok(slots_look(&repo, NULL, false, &slots, &fail), fail);
	for (size_t i = 0; i < slots.count; i++)
		seen[slots.items[i].state]++;
	slots_release(&slots);
	assert_int_equal(seen[STATE_HELD], 1);
	assert_int_equal(seen[STATE_FREE], 40);
	assert_int_equal(seen[STATE_DESYNCED], 39);
	expect_as_alone(SLOTS, INT_MAX);
	/* Others need descriptors too: beyond the limit less 128, none stays open. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 128 + 40;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	expect_as_alone(SLOTS, 40);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	end(holder);
}

static void test_whose_lease(UNUSED void **state)
{
	struct procid me = id_of(getpid()), dead = dead_process();
	struct slot slot;

	slot = look("default-1");
	assert_false(slot_is_callers(&slot));
	slot_close(&slot);
	lease_to(&me, LEASE_OWNER, 0);
	slot = look("default-1");
	assert_true(slot_is_callers(&slot));
	slot_close(&slot);
	lease_to(&dead, LEASE_OWNER, 0);
	slot = look("default-1");
	assert_false(slot_is_callers(&slot));
	setenv("GIT_INTERLOCK_LEASE", slot.record.lease, 1);
	assert_true(slot_is_callers(&slot));
	setenv("GIT_INTERLOCK_LEASE", "0193f2a4c1d7aabbccddeeff00112233", 1);
	assert_false(slot_is_callers(&slot));
	slot_close(&slot);
	lease_to(&dead, LEASE_TIME, 100);
	slot = look("default-1");
	assert_true(slot_is_callers(&slot));
	slot.record.uid++;
	assert_false(slot_is_callers(&slot));
	slot_close(&slot);
}

static void test_git_shows_the_reason_and_keeps_off(UNUSED void **state)
{
	struct procid me = id_of(getpid());
	struct bytes out = BYTES_INIT;

	lease_to(&me, LEASE_TIME, 100);
	git_feed("worktree list --porcelain", NULL, 0, &out);
	assert_non_null(strstr(out.data, "locked "));
	assert_non_null(strstr(out.data, "interlock 1 {"));
	bytes_release(&out);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_B1_held_until_killed),
		TEST(test_B14_records_deleted_under_a_holder),
		TEST(test_lock_looks_again),
		TEST(test_B4_removed_and_born_again),
		TEST(test_probes_make_nobody_fail),
		TEST(test_B2_waits_until_the_holder_dies),
		TEST(test_time_lease),
		TEST(test_living_owner_is_unknown),
		TEST(test_H6_occupied_and_B15_who_was_there_before),
		TEST(test_H6_older_process_that_came_in_later),
		TEST(test_B15_ancestors),
		TEST(test_B13_leaked_work_lock_pins_nothing),
		TEST(test_C10_unlocked_by_hand),
		TEST(test_C10_lease_file),
		TEST(test_renewal_that_was_killed),
		TEST(test_human_and_foreign),
		TEST(test_A10_vanished_F5_replaced_C14_moved),
		TEST(test_F5_admin_directory_is_a_symlink),
		TEST(test_device_counts_within_its_boot),
		TEST(test_find),
		TEST(test_all_of_a_pool),
		TEST(test_more_than_one_thread_looks_at),
		TEST(test_whose_lease),
		TEST(test_git_shows_the_reason_and_keeps_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
