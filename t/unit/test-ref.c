/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* ref, intent, reflog, reftxn, refscript, rev: over real repositories. */
#include "sandbox.h"

#include "clock.h"
#include "intent.h"
#include "ref.h"
#include "reflog.h"
#include "refscript.h"
#include "reftxn.h"
#include "rev.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* ---- names ------------------------------------------------------------------------- */

static bool git_says_valid(const char *name)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	int status;

	argv_push_all(&cmd.argv, "git", "check-ref-format", name, NULL);
	assert_ok(spawn_capture_any(&cmd, &out, &fail), fail);
	status = cmd.status;
	spawn_release(&cmd);
	bytes_release(&out);
	return status == 0;
}

static void names(UNUSED void **state)
{
	static const char *const given[] = {
		"refs/heads/main", "refs/x",	    "refs/x/.y",    "refs/x/y.",     "refs/x./y",
		"refs/x.lock/y",   "refs/x.lock",   "refs/x.lockx", "refs/a..b",     "refs/a.b",
		"refs/@",	   "refs/@{x",	    "refs/a@b{c",   "refs/a//b",     "refs/a/",
		"refs/a b",	   "refs/a\tb",	    "refs/a\x7f",   "refs/a~b",	     "refs/a^b",
		"refs/a:b",	   "refs/a?b",	    "refs/a*b",	    "refs/a[b",	     "refs/a]b",
		"refs/a\\b",	   "refs/-a",	    "refs/a/-b",    "refs/\xc3\xa4", "refs/\xff",
		"refs/a\nb",	   "refs/heads/@{", "refs/a/..",    "refs/a/.",	     "refs/",
		"refs/a/.b",	   "refs/a@",	    "refs/.lock",
	};

	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		if (refname_valid(given[i]) != git_says_valid(given[i]))
			fail_msg("'%s': git says otherwise", given[i]);
	assert_false(refname_valid("HEAD"));
	assert_false(refname_valid("heads/main"));
	assert_false(refname_valid(""));
	assert_true(refname_is_root("HEAD"));
	assert_true(refname_is_root("ORIG_HEAD"));
	assert_false(refname_is_root("head"));
	assert_false(refname_is_root("MASTHEAD"));
	assert_false(refname_is_root("main"));
	assert_false(refname_is_root("../HEAD"));
	assert_true(refname_per_worktree("refs/worktree/x"));
	assert_false(refname_per_worktree("refs/worktrees/x"));
}

/* ---- reading ------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text)
{
	struct fail fail = FAIL_INIT;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	assert_ok(file_write_fd(fd, path, text, strlen(text), &fail), fail);
	close(fd);
}

static struct oid make_commit(enum hash_algo algo, const char *message)
{
	char *line =
		mem_printf("commit-tree -m %s %s", message,
			   algo == HASH_SHA256 ? "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b"
						 "4b9b939dd74decc5321"
					       : "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
	struct oid oid;

	git("mktree"); /* the empty tree, from an empty input */
	oid = git_oid_of(algo, line);
	free(line);
	return oid;
}

/* Every listed ref is found in packed-refs, no unlisted one, sorted or not. */
static void check_packed(struct repo *repo, const struct oid *oid, const char *const *list,
			 size_t count)
{
	struct fail fail = FAIL_INIT;
	struct oid got;

	for (size_t i = 0; i < count; i++) {
		char *longer = mem_printf("%s-", list[i]);
		char *below = mem_printf("%s/below", list[i]);

		assert_ok(ref_read(repo, list[i], &got, &fail), fail);
		assert_oid_equal(&got, oid);
		assert_int_equal(ref_read(repo, longer, &got, &fail), FAIL_GONE);
		fail_clear(&fail);
		assert_int_equal(ref_check_room(repo, below, &fail), FAIL_FATAL);
		fail_clear(&fail);
		assert_ok(ref_check_room(repo, longer, &fail), fail);
		free(longer);
		free(below);
	}
	assert_int_equal(ref_check_room(repo, "refs/x/dir", &fail), FAIL_FATAL);
	fail_clear(&fail);
	assert_ok(ref_check_room(repo, "refs/x/di", &fail), fail);
	assert_int_equal(ref_read(repo, "refs/a", &got, &fail), FAIL_GONE);
	fail_clear(&fail);
	assert_int_equal(ref_read(repo, "refs/zzz", &got, &fail), FAIL_GONE);
}

static void packed(UNUSED void **state)
{
	static const char *const list[] = {"refs/heads/main",  "refs/tags/v1",	"refs/x/a",
					   "refs/x/a-b",       "refs/x/a.b",	"refs/x/dir/one",
					   "refs/x/dir/three", "refs/x/dir0",	"refs/x/\xc3\xa4",
					   "refs/x/zz",	       "refs/y/single", "refs/z"};
	struct fail fail = FAIL_INIT;
	struct bytes reversed = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	struct repo repo;
	struct oid oid;

	for (size_t v = 0; v < ARRAY_SIZE(sandbox_variants); v++) {
		sandbox_repo(&sandbox_variants[v], &repo);
		oid = make_commit(repo.algo, "x");
		for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
			char *line = mem_printf("update-ref %s %s", list[i], oid_hex(&oid, hex));

			git(line);
			free(line);
		}
		git("tag -a -m annotated annotated refs/x/a");
		git("pack-refs --all");
		check_packed(&repo, &oid, list, ARRAY_SIZE(list));
		bytes_clear(&reversed);
		for (size_t i = ARRAY_SIZE(list); i-- > 0;)
			bytes_addf(&reversed, "%s %s\n", oid_hex(&oid, hex), list[i]);
		write_text(".git/packed-refs", reversed.data);
		check_packed(&repo, &oid, list, ARRAY_SIZE(list));
		/* Without its last LF, and empty. */
		bytes_chomp(&reversed);
		write_text(".git/packed-refs", reversed.data);
		check_packed(&repo, &oid, list, ARRAY_SIZE(list));
		write_text(".git/packed-refs", "");
		assert_int_equal(ref_read(&repo, list[0], &oid, &fail), FAIL_GONE);
		fail_clear(&fail);
		repo_close(&repo);
	}
	bytes_release(&reversed);
}

static void loose(UNUSED void **state)
{
	static const char *const corrupt[] = {"",
					      "x",
					      "ref: ../../x",
					      "ref: refs/a..b",
					      "ref:",
					      "4b825dc642cb6eb9a060e54bf8d69288fbee490"};
	struct fail fail = FAIL_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid oid, got;
	struct repo repo;
	char *text, *leaf;

	sandbox_repo(&sandbox_variants[0], &repo);
	oid = make_commit(repo.algo, "x");
	oid_hex(&oid, hex);
	mkdir(".git/refs/x", 0777);
	for (size_t i = 0; i < ARRAY_SIZE(corrupt); i++) {
		write_text(".git/refs/x/a", corrupt[i]);
		assert_int_equal(ref_read(&repo, "refs/x/a", &got, &fail), FAIL_CORRUPT);
		fail_clear(&fail);
	}
	text = mem_printf("%sx", hex);
	write_text(".git/refs/x/a", text);
	free(text);
	assert_int_equal(ref_read(&repo, "refs/x/a", &got, &fail), FAIL_CORRUPT);
	fail_clear(&fail);
	text = mem_printf("%s trailing words", hex);
	write_text(".git/refs/x/a", text);
	free(text);
	assert_ok(ref_read(&repo, "refs/x/a", &got, &fail), fail);
	assert_oid_equal(&got, &oid);
	write_text(".git/refs/x/b", "ref:   refs/x/a\n");
	/* Old gits made symbolic refs as symbolic links. */
	assert_int_equal(symlink("refs/x/b", ".git/refs/x/c"), 0);
	assert_ok(ref_follow(&repo, "refs/x/c", &got, &leaf, &fail), fail);
	assert_string_equal(leaf, "refs/x/a");
	assert_oid_equal(&got, &oid);
	free(leaf);
	assert_int_equal(symlink("../../../../etc/passwd", ".git/refs/x/d"), 0);
	assert_int_equal(ref_read(&repo, "refs/x/d", &got, &fail), FAIL_CORRUPT);
	fail_clear(&fail);
	write_text(".git/refs/x/e", "ref: refs/x/e\n");
	assert_int_equal(ref_read(&repo, "refs/x/e", &got, &fail), FAIL_CORRUPT);
	fail_clear(&fail);
	write_text(".git/refs/x/f", "ref: refs/x/nowhere\n");
	assert_int_equal(ref_follow(&repo, "refs/x/f", &got, &leaf, &fail), FAIL_GONE);
	assert_string_equal(leaf, "refs/x/nowhere");
	free(leaf);
	repo_close(&repo);
}

/* ---- the swap ------------------------------------------------------------------------- */

static int swap(struct repo *repo, const char *name, const struct oid *old_oid,
		const struct oid *new_oid, struct oid *now, struct fail *fail)
{
	struct ref_swap swap = {.name = name,
				.old_oid = *old_oid,
				.new_oid = *new_oid,
				.deadline = clock_deadline(3000)};
	struct ref_lock lock = REF_LOCK_INIT;

	fail_clear(fail);
	if (ref_lock_take(repo, name, swap.deadline, &lock, fail) == 0)
		ref_swap(repo, &lock, &swap, now, fail);
	ref_lock_drop(&lock);
	return fail->kind;
}

static void swaps(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	struct oid a, b, zero, now;
	struct repo repo;

	for (size_t v = 0; v < ARRAY_SIZE(sandbox_variants); v++) {
		sandbox_repo(&sandbox_variants[v], &repo);
		a = make_commit(repo.algo, "a");
		b = make_commit(repo.algo, "b");
		oid_zero(repo.algo, &zero);
		assert_ok(swap(&repo, "refs/x/a", &zero, &a, &now, &fail), fail);
		assert_int_equal(swap(&repo, "refs/x/a", &zero, &b, &now, &fail), FAIL_NO);
		assert_oid_equal(&now, &a);
		assert_ok(swap(&repo, "refs/x/a", &a, &b, &now, &fail), fail);
		assert_int_equal(swap(&repo, "refs/x/none", &a, &b, &now, &fail), FAIL_NO);
		assert_true(oid_is_zero(&now));
		assert_ok(swap(&repo, "refs/x/a", &b, &zero, &now, &fail), fail);
		assert_int_equal(ref_read(&repo, "refs/x/a", &now, &fail), FAIL_GONE);
		repo_close(&repo);
	}
}

static void mends(UNUSED void **state)
{
	struct ref_swap s = {.name = "refs/shadow/x", .mend = true};
	struct ref_lock lock = REF_LOCK_INIT;
	struct fail fail = FAIL_INIT;
	struct oid a, now;
	struct repo repo;

	for (size_t v = 0; v < ARRAY_SIZE(sandbox_variants); v++) {
		sandbox_repo(&sandbox_variants[v], &repo);
		a = make_commit(repo.algo, "a");
		mkdir(".git/refs/shadow", 0777);
		write_text(".git/refs/shadow/x", "");
		s.old_oid = s.new_oid = a;
		s.deadline = clock_deadline(1000);
		assert_ok(ref_lock_take(&repo, s.name, s.deadline, &lock, &fail), fail);
		s.mend = false;
		assert_int_equal(ref_swap(&repo, &lock, &s, &now, &fail), FAIL_CORRUPT);
		fail_clear(&fail);
		s.mend = true;
		assert_ok(ref_swap(&repo, &lock, &s, &now, &fail), fail);
		ref_lock_drop(&lock);
		assert_ok(ref_read(&repo, s.name, &now, &fail), fail);
		assert_oid_equal(&now, &a);
		repo_close(&repo);
	}
}

/* Two worktrees have a HEAD each, and one lock each for it. */
static void lock_per_worktree(UNUSED void **state)
{
	struct ref_lock lock = REF_LOCK_INIT, other = REF_LOCK_INIT;
	struct fail fail = FAIL_INIT;
	struct repo main_repo, linked;

	sandbox_repo(&sandbox_variants[0], &main_repo);
	git("commit -q --allow-empty -m a");
	git("worktree add -q --detach linked");
	assert_int_equal(chdir("linked"), 0);
	assert_ok(repo_open(&linked, REPO_ANY, &fail), fail);
	assert_ok(ref_lock_take(&main_repo, "HEAD", clock_deadline(0), &lock, &fail), fail);
	assert_ok(ref_lock_take(&linked, "HEAD", clock_deadline(0), &other, &fail), fail);
	ref_lock_drop(&other);
	assert_int_equal(ref_lock_take(&main_repo, "HEAD", 0, &other, &fail), FAIL_BUSY);
	fail_clear(&fail);
	ref_lock_drop(&lock);
	assert_ok(ref_lock_take(&main_repo, "refs/x", clock_deadline(0), &lock, &fail), fail);
	assert_int_equal(ref_lock_take(&linked, "refs/x", 0, &other, &fail), FAIL_BUSY);
	ref_lock_drop(&lock);
	repo_close(&linked);
	repo_close(&main_repo);
}

/* ---- intents: what is healed, and what never ---------------------------------------------- */

/* A git intent of a dead writer that lists one lock. */
static void dead_intent(const char *lock, const char *content)
{
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	char *path = mem_printf("%s/%s", sandbox_dir, lock);
	int fd;

	bytes_adds(&text, "interlock-git-writer 1\n");
	git_intent_add(&text, path, content);
	mkdir(".git/interlock", 0777);
	mkdir(".git/interlock/git", 0777);
	fd = open(".git/interlock/git/dead", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	assert_true(fd >= 0);
	assert_ok(file_write_fd(fd, "intent", text.data, text.len, &fail), fail);
	close(fd);
	free(path);
	bytes_release(&text);
}

static void age(const char *path, int64_t ms)
{
	struct timespec now, times[2];

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec -= (time_t)(ms / 1000);
	times[0] = times[1] = now;
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* The lock is `content`, made after the intent; is it removed within three seconds? */
static bool healed(struct repo *repo, const char *lock, const char *content)
{
	int64_t deadline = clock_deadline(3000);
	char *path = mem_printf("%s/%s", sandbox_dir, lock);

	write_text(path, content);
	while (!intent_clear(repo, path, NULL) && exists(".git/interlock/git/dead") &&
	       clock_left(deadline))
		clock_sleep(20);
	free(path);
	return !exists(".git/interlock/git/dead") && clock_left(deadline) > 0;
}

static void git_intents(UNUSED void **state)
{
	static const char hex[] = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
	static const char other[] = "5b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
	struct repo repo;
	char *lock, *path;
	int fd;

	sandbox_repo(&sandbox_variants[0], &repo);
	lock = mem_printf("%s/refs/x.lock", repo.git_dir + strlen(sandbox_dir) + 1);
	path = mem_printf("%s/%s", sandbox_dir, lock);
	/* Left by the dead: empty, or with what was meant, also cut short. */
	dead_intent(lock, hex);
	assert_true(healed(&repo, lock, "4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"));
	assert_false(exists(path));
	dead_intent(lock, hex);
	assert_true(healed(&repo, lock, "4b825dc642cb6eb9a060e54bf8d69288fbee4904"));
	assert_false(exists(path));
	dead_intent(lock, "");
	assert_true(healed(&repo, lock, ""));
	assert_false(exists(path));
	/* Somebody else's value, somebody else's age, a file that is open: not ours. */
	dead_intent(lock, hex);
	healed(&repo, lock, other);
	assert_true(exists(path));
	dead_intent(lock, "");
	healed(&repo, lock, hex);
	assert_true(exists(path));
	write_text(path, "");
	age(path, 60000);
	dead_intent(lock, hex);
	assert_false(intent_clear(&repo, path, NULL));
	assert_true(exists(path));
	unlink(path);
	dead_intent(lock, "*");
	write_text(path, "");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	clock_sleep(1100);
	assert_false(intent_clear(&repo, path, NULL));
	assert_true(exists(path));
	close(fd);
	unlink(path);
	/* A list that is not of this version is left alone. */
	write_text(".git/interlock/git/dead", "interlock-git-writer 2\n/etc/passwd");
	write_text(path, "");
	clock_sleep(1100);
	assert_false(intent_clear(&repo, path, NULL));
	assert_true(exists(path) && exists(".git/interlock/git/dead"));
	free(lock);
	free(path);
	repo_close(&repo);
}

/* A live writer's locks stay, however old they are. */
static void live_git_intent(UNUSED void **state)
{
	struct git_intent intent;
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct repo repo;
	char *path;
	pid_t child;
	int to[2];

	sandbox_repo(&sandbox_variants[0], &repo);
	path = mem_printf("%s/refs/x.lock", repo.git_dir);
	git_intent_add(&text, path, "");
	assert_ok(git_intent_begin(&repo, &text, &intent, &fail), fail);
	write_text(path, "");
	/* Its writer has gone, but a child that inherited the intent has not. */
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		char c;

		close(to[1]);
		_exit(read(to[0], &c, 1) ? 1 : 0);
	}
	close(to[0]);
	git_intent_leave(&intent);
	clock_sleep(1100);
	assert_false(intent_clear(&repo, path, NULL));
	assert_true(exists(path));
	close(to[1]);
	waitpid(child, NULL, 0);
	assert_true(intent_clear(&repo, path, NULL));
	assert_false(exists(path));
	free(path);
	bytes_release(&text);
	repo_close(&repo);
}

static void linked_intents(UNUSED void **state)
{
	struct ref_lock lock = REF_LOCK_INIT;
	struct fail fail = FAIL_INIT;
	struct oid a, b, zero, now;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	a = make_commit(repo.algo, "a");
	b = make_commit(repo.algo, "b");
	oid_zero(repo.algo, &zero);
	assert_ok(swap(&repo, "refs/x/a", &zero, &a, &now, &fail), fail);
	/* As a killed swap leaves them: intent and lock are one file. */
	assert_ok(ref_lock_take(&repo, "refs/x/a", 0, &lock, &fail), fail);
	write_text(".git/interlock/locks/ref-refs%2Fx%2Fa.intent", "x\n");
	assert_int_equal(link(".git/interlock/locks/ref-refs%2Fx%2Fa.intent", ".git/refs/x/a.lock"),
			 0);
	assert_int_equal(link(".git/interlock/locks/ref-refs%2Fx%2Fa.intent", ".git/HEAD.lock"), 0);
	/* While the flock is held its holder lives. */
	assert_false(intent_clear(&repo, ".git/refs/x/a.lock", NULL));
	ref_lock_drop(&lock);
	assert_true(intent_clear(&repo, ".git/HEAD.lock", NULL));
	assert_ok(swap(&repo, "refs/x/a", &a, &b, &now, &fail), fail);
	assert_false(exists(".git/refs/x/a.lock"));
	assert_false(exists(".git/interlock/locks/ref-refs%2Fx%2Fa.intent"));
	/* Another file, even with the same content, is somebody else's. */
	write_text(".git/interlock/locks/ref-refs%2Fx%2Fa.intent", "x\n");
	write_text(".git/refs/x/a.lock", "x\n");
	assert_int_equal(swap(&repo, "refs/x/a", &b, &a, &now, &fail), FAIL_BUSY);
	assert_true(exists(".git/refs/x/a.lock"));
	assert_non_null(strstr(fail.message, "refs/x/a.lock"));
	repo_close(&repo);
}

/* ---- reflogs --------------------------------------------------------------------------------- */

static void reflog_taken_back(UNUSED void **state)
{
	struct reflog log = REFLOG_INIT;
	struct fail fail = FAIL_INIT;
	struct stat st;
	struct repo repo;
	struct oid a;

	sandbox_repo(&sandbox_variants[0], &repo);
	a = make_commit(repo.algo, "a");
	assert_ok(reflog_open(&repo, "refs/heads/x/y", false, &log, &fail), fail);
	assert_ok(reflog_append(&repo, &log, &a, &a, "  why \n not  ", &fail), fail);
	reflog_close(&log, false);
	assert_false(exists(".git/logs/refs/heads/x/y"));
	assert_ok(reflog_open(&repo, "refs/heads/x/y", false, &log, &fail), fail);
	assert_ok(reflog_append(&repo, &log, &a, &a, NULL, &fail), fail);
	reflog_close(&log, true);
	assert_int_equal(stat(".git/logs/refs/heads/x/y", &st), 0);
	assert_ok(reflog_open(&repo, "refs/heads/x/y", false, &log, &fail), fail);
	assert_true(log.end == st.st_size);
	assert_ok(reflog_append(&repo, &log, &a, &a, "more", &fail), fail);
	reflog_close(&log, false);
	assert_int_equal(stat(".git/logs/refs/heads/x/y", &st), 0);
	assert_true(st.st_size > 0);
	assert_ok(reflog_open(&repo, "refs/other/x", false, &log, &fail), fail);
	assert_int_equal(log.fd, -1);
	reflog_close(&log, true);
	repo_close(&repo);
}

/* ---- several refs -----------------------------------------------------------------------------
 */

struct told {
	char name[64];
	char now[OID_HEX_MAX + 8];
	int count;
};

static void tell(void *arg, const char *name, const char *now)
{
	struct told *told = arg;

	snprintf(told->name, sizeof(told->name), "%s", name);
	snprintf(told->now, sizeof(told->now), "%s", now);
	told->count++;
}

static void transaction(UNUSED void **state)
{
	struct ref_txn_options options = {.lost = tell};
	struct ref_txn txn = REF_TXN_INIT;
	struct fail fail = FAIL_INIT;
	struct oid a, b, zero, now;
	struct told told;
	struct repo repo;

	for (size_t v = 0; v < ARRAY_SIZE(sandbox_variants); v++) {
		struct ref_edit edits[2];

		sandbox_repo(&sandbox_variants[v], &repo);
		a = make_commit(repo.algo, "a");
		b = make_commit(repo.algo, "b");
		oid_zero(repo.algo, &zero);
		edits[0] =
			(struct ref_edit){.name = "refs/shadow/x", .old_oid = zero, .new_oid = a};
		edits[1] = (struct ref_edit){.name = "refs/x/b", .old_oid = zero, .new_oid = b};
		options.deadline = clock_deadline(5000);
		told = (struct told){.count = 0};
		options.lost_arg = &told;
		/* Given up: nothing has changed, and nothing is locked. */
		assert_ok(ref_txn_prepare(&repo, edits, 2, &options, &txn, &fail), fail);
		ref_txn_abort(&txn);
		assert_int_equal(ref_read(&repo, "refs/x/b", &now, &fail), FAIL_GONE);
		fail_clear(&fail);
		assert_ok(ref_txn_prepare(&repo, edits, 2, &options, &txn, &fail), fail);
		assert_ok(ref_txn_commit(&txn, &fail), fail);
		ref_txn_abort(&txn);
		assert_ok(ref_read(&repo, "refs/x/b", &now, &fail), fail);
		assert_oid_equal(&now, &b);
		edits[0] = (struct ref_edit){.name = "refs/shadow/x", .old_oid = a, .new_oid = b};
		edits[1] = (struct ref_edit){.name = "refs/x/b", .old_oid = a, .new_oid = zero};
		assert_int_equal(ref_txn_prepare(&repo, edits, 2, &options, &txn, &fail), FAIL_NO);
		fail_clear(&fail);
		assert_int_equal(told.count, 1);
		assert_string_equal(told.name, "refs/x/b");
		assert_ok(ref_read(&repo, "refs/shadow/x", &now, &fail), fail);
		assert_oid_equal(&now, &a);
		repo_close(&repo);
	}
}

/* ---- revisions ----------------------------------------------------------------------------------
 */

static void revisions(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	struct repo repo;
	struct oid a, got;

	for (size_t v = 0; v < ARRAY_SIZE(sandbox_variants); v++) {
		static const char *const same[] = {
			"main",	      "HEAD",	       "@",	"refs/heads/main",
			"heads/main", "main^{commit}", "HEAD~0"};
		static const char *const none[] = {
			"nothing", "main~1", "refs/heads/none", "^main", "main..main", "-q", ".."};

		sandbox_repo(&sandbox_variants[v], &repo);
		git("checkout -q -b main");
		git("commit -q --allow-empty -m a");
		a = git_oid_of(repo.algo, "rev-parse HEAD");
		for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
			assert_ok(rev_resolve(&repo, same[i], &got, &fail), fail);
			assert_oid_equal(&got, &a);
		}
		for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
			assert_int_equal(rev_resolve(&repo, none[i], &got, &fail), FAIL_FATAL);
			fail_clear(&fail);
		}
		assert_ok(rev_resolve_or_none(&repo, "", &got, &fail), fail);
		assert_true(oid_is_zero(&got) && got.algo == repo.algo);
		assert_int_equal(rev_resolve(&repo, "", &got, &fail), FAIL_FATAL);
		fail_clear(&fail);
		repo_close(&repo);
	}
}

/* ---- the language of --stdin
 * ------------------------------------------------------------------------ */

static void script(UNUSED void **state)
{
	static const char text[] = "update refs/a new \"ol\\144\"\nverify refs/b\nstart\ncreate x";
	struct refscript_command command;
	struct fail fail = FAIL_INIT;
	size_t used, at = 0;

	assert_int_equal(refscript_next(text, strlen(text), false, false, &command, &used, &fail),
			 1);
	assert_int_equal(command.verb, REFSCRIPT_UPDATE);
	assert_string_equal(command.ref, "refs/a");
	assert_string_equal(command.new_value, "new");
	assert_string_equal(command.old_value, "old");
	refscript_release(&command);
	at += used;
	assert_int_equal(
		refscript_next(text + at, strlen(text + at), false, false, &command, &used, &fail),
		1);
	assert_null(command.old_value);
	refscript_release(&command);
	at += used;
	assert_int_equal(
		refscript_next(text + at, strlen(text + at), false, false, &command, &used, &fail),
		1);
	assert_int_equal(command.verb, REFSCRIPT_START);
	at += used;
	assert_int_equal(
		refscript_next(text + at, strlen(text + at), false, false, &command, &used, &fail),
		0);
	assert_int_equal(
		refscript_next(text + at, strlen(text + at), false, true, &command, &used, &fail),
		FAIL_USAGE);
	fail_clear(&fail);
	assert_int_equal(
		refscript_next("delete a\0old\0more", 16, true, false, &command, &used, &fail), 1);
	assert_int_equal(used, 13);
	assert_string_equal(command.old_value, "old");
	refscript_release(&command);
	/* Nothing may be read behind the given length. */
	assert_int_equal(refscript_next("delete a\0old\0", 12, true, false, &command, &used, &fail),
			 0);
	assert_int_equal(refscript_next("delete a\0\0", 10, true, false, &command, &used, &fail),
			 FAIL_USAGE);
}

static int enter(UNUSED void **state)
{
	sandbox_enter();
	setenv("GIT_AUTHOR_NAME", "A U Thor", 1);
	setenv("GIT_AUTHOR_EMAIL", "author@example.com", 1);
	setenv("GIT_COMMITTER_NAME", "A U Thor", 1);
	setenv("GIT_COMMITTER_EMAIL", "author@example.com", 1);
	return 0;
}

static int leave(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),	  cmocka_unit_test(packed),
		cmocka_unit_test(loose),	  cmocka_unit_test(swaps),
		cmocka_unit_test(mends),	  cmocka_unit_test(lock_per_worktree),
		cmocka_unit_test(git_intents),	  cmocka_unit_test(live_git_intent),
		cmocka_unit_test(linked_intents), cmocka_unit_test(reflog_taken_back),
		cmocka_unit_test(transaction),	  cmocka_unit_test(revisions),
		cmocka_unit_test(script),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
