/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* birth and erase: real worktrees, real git beside them, real kills. */
#include "sandbox.h"

#include "erase.h"
#include "newborn.h"
#include "ref.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- helpers --------------------------------------------------------------------- */

static char helper_dir[PATH_MAX]; /* build/t/helper */

/* Texts that are only an argument: freed when all tests have run. */
static struct argv scraps = ARGV_INIT;

static char *scrap(char *text)
{
	argv_take(&scraps, text);
	return text;
}

static char *helper(const char *name)
{
	return mem_printf("%s/%s", helper_dir, name);
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Runs words (up to NULL); returns its status, output in `out`, stderr in `err`. */
static int run_words(const char **words, struct bytes *out, struct bytes *err)
{
	struct spawn cmd = SPAWN_INIT;
	struct fail fail = FAIL_INIT;
	int status;

	for (; *words; words++)
		argv_push(&cmd.argv, *words);
	cmd.die_with_parent = false;
	assert_ok(spawn_capture_any(&cmd, out, &fail), fail);
	status = cmd.status;
	if (err)
		bytes_add(err, cmd.err.data, cmd.err.len);
	spawn_release(&cmd);
	return status;
}

#define run_into(out, err, ...) run_words((const char *[]){__VA_ARGS__, NULL}, out, err)

static int run_quiet(const char **words)
{
	struct bytes out = BYTES_INIT;
	int status = run_words(words, &out, NULL);

	bytes_release(&out);
	return status;
}

#define run(...) run_quiet((const char *[]){__VA_ARGS__, NULL})

static int git_status(const char *line)
{
	const char *words[32] = {"git"};
	char *copy = strdup(line), *save = NULL;
	size_t n = 1;
	int status;

	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	status = run_quiet(words);
	free(copy);
	return status;
}

static char *git_says(const char *line)
{
	struct bytes out = BYTES_INIT;

	git_feed(line, NULL, 0, &out);
	bytes_chomp(&out);
	return bytes_take(&out);
}

static void assert_git_says(const char *line, const char *want)
{
	char *said = git_says(line);

	if (strcmp(said, want) != 0)
		fail_msg("git %s: '%s', not '%s'", line, said, want);
	free(said);
}

static void assert_git_agrees(const char *one, const char *other)
{
	char *want = git_says(other);

	assert_git_says(one, want);
	free(want);
}

/* Every process that was left behind ends here, and is waited for. */
static void wait_for_all(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		continue;
}

static size_t count_entries(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void identity(void)
{
	git("config user.name A");
	git("config user.email a@example.com");
}

static void fill(size_t files)
{
	for (size_t i = 0; i < files; i++) {
		char path[32];

		snprintf(path, sizeof(path), "d%zu", i % 7);
		mkdir(path, 0777);
		snprintf(path, sizeof(path), "d%zu/f%zu", i % 7, i);
		put(path, path);
	}
	git("add .");
	git("commit -q -m files");
}

static void make_repo(const struct variant *v, struct repo *repo)
{
	sandbox_repo(v, repo);
	git("symbolic-ref HEAD refs/heads/main");
	identity();
	git("commit -q --allow-empty -m root");
	fill(30);
}

/* The repository of the current directory, as it is configured by now. */
static void reopen(struct repo *repo)
{
	struct fail fail = FAIL_INIT;
	bool by_git = repo->engine == ENGINE_GIT;

	repo_close(repo);
	if (by_git)
		setenv("GIT_INTERLOCK_ENGINE", "git", 1);
	assert_ok(repo_open(repo, REPO_ANY, &fail), fail);
	unsetenv("GIT_INTERLOCK_ENGINE");
}

static char *pool_dir(void)
{
	char *cwd = getcwd(NULL, 0), *dir = mem_printf("%s.pool", cwd);

	free(cwd);
	return dir;
}

/* Births "pool-<number>" at HEAD. */
static int make(struct repo *repo, int64_t number, struct slot *slot, struct fail *fail)
{
	char *dir = pool_dir();
	struct oid base;
	struct birth_plan plan = {
		.pool = "pool",
		.number = number,
		.dir = dir,
		.base = &base,
		.record = {.since = 1, .uid = getuid()},
	};
	struct fail undo = FAIL_INIT;
	int r;

	assert_ok(ref_read(repo, "HEAD", &base, fail), *fail);
	r = birth_make(repo, &plan, slot, fail);
	if (r == 0)
		r = birth_populate(slot, &base, fail);
	if (r < 0 && slot->locked)
		assert_ok(birth_remove(slot, &undo), undo);
	wait_for_all();
	free(dir);
	return r;
}

static void make_ok(struct repo *repo, int64_t number, struct slot *slot)
{
	struct fail fail = FAIL_INIT;

	assert_ok(make(repo, number, slot, &fail), fail);
}

/* Stages and trash: all that is in interlock/ but the locks. */
static size_t count_debris(void)
{
	if (!exists(".git/interlock"))
		return 0;
	return count_entries(".git/interlock") - exists(".git/interlock/locks");
}

/* As a failed birth has to leave it: `pool_stays` when it was there before. */
static void assert_nothing_left(bool pool_stays)
{
	char *dir = pool_dir();

	assert_false(exists(".git/worktrees"));
	assert_int_equal(count_debris(), 0);
	assert_int_equal(exists(dir), pool_stays);
	if (pool_stays)
		assert_int_equal(count_entries(dir), 0);
	free(dir);
}

static void remove_slot(struct slot *slot)
{
	struct fail fail = FAIL_INIT;

	assert_ok(birth_remove(slot, &fail), fail);
	assert_false(slot->locked);
	assert_int_equal(slot->admin, -1);
	slot_close(slot);
	wait_for_all();
}

/* ---- what is born is what git would have added ------------------------------------------ */

static void assert_like_gits(const struct slot *slot, const char *gits)
{
	static const char *const questions[] = {
		"ls-files -s -t",
		"rev-parse HEAD HEAD^{tree} --is-inside-work-tree --show-prefix",
		"rev-parse --is-bare-repository",
		"config --list --local",
		"status --porcelain --branch --ignored",
		"for-each-ref",
	};

	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		char *ours = mem_printf("-C %s %s", slot->path, questions[i]);
		char *theirs = mem_printf("-C %s %s", gits, questions[i]);

		assert_git_agrees(ours, theirs);
		free(ours);
		free(theirs);
	}
}

static bool lock_is_free(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool is_free = flock(fd, LOCK_EX | LOCK_NB) == 0;

	assert_true(fd >= 0);
	close(fd);
	return is_free;
}

static void like_git(const struct variant *v)
{
	struct repo repo;
	struct slot slot, again;
	struct fail fail = FAIL_INIT;
	char *line;

	make_repo(v, &repo);
	git("worktree add -q --detach ../gits");
	make_ok(&repo, 1, &slot);
	assert_string_equal(slot.name, "pool-1");
	assert_true(slot.locked);
	assert_int_equal(slot.record.phase, SLOT_BIRTH);
	assert_int_equal(slot.birth.number, 1);
	assert_like_gits(&slot, "../gits");
	/* Step 1: the flock of the stage is the slot's lock. */
	assert_false(lock_is_free(".git/worktrees/pool-1"));
	/* git has it locked, so that no prune can take it. */
	line = mem_printf("worktree remove %s", slot.path);
	assert_int_not_equal(git_status(line), 0);
	free(line);
	assert_int_equal(git_status("fsck --strict"), 0);
	line = mem_printf("-C %s rev-parse HEAD@{0}", slot.path);
	assert_git_agrees(line, "rev-parse HEAD");
	free(line);
	/* Somebody's commit there is a commit. */
	line = mem_printf("-C %s commit -q --allow-empty -m there", slot.path);
	git(line);
	free(line);

	assert_int_equal(make(&repo, 1, &again, &fail), FAIL_NO);
	slot_close(&again);
	remove_slot(&slot);
	git("worktree remove --force ../gits");
	assert_nothing_left(false);
	repo_close(&repo);
}

static void born_like_gits(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++)
		like_git(&sandbox_variants[i]);
}

/* The lock of a slot that was born here ends with the descriptor. */
static void lock_ends(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;

	make_repo(&sandbox_variants[0], &repo);
	make_ok(&repo, 1, &slot);
	slot_close(&slot);
	assert_true(lock_is_free(".git/worktrees/pool-1"));
	repo_close(&repo);
}

static void without_logs(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;

	make_repo(&sandbox_variants[0], &repo);
	git("config core.logAllRefUpdates false");
	reopen(&repo);
	make_ok(&repo, 1, &slot);
	assert_false(exists(".git/worktrees/pool-1/logs"));
	slot_close(&slot);
	repo_close(&repo);
}

/* Sparse patterns and settings of the caller's worktree go along, as with `git worktree add`. */
static void settings_go_along(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	char *path;

	make_repo(&sandbox_variants[0], &repo);
	git("config extensions.worktreeConfig true");
	git("sparse-checkout set d1 d2");
	git("config --worktree core.worktree ..");
	git("config --worktree some.thing 7");
	git("config --worktree core.bare false");
	git("worktree add -q --detach ../gits-sparse");
	reopen(&repo);
	make_ok(&repo, 1, &slot);
	path = mem_printf("%s/d1", slot.path);
	assert_true(exists(path));
	free(path);
	path = mem_printf("%s/d3", slot.path);
	assert_false(exists(path));
	free(path);
	/* git leaves a core.bare=false where it is; it says nothing there. */
	git("-C ../gits-sparse config --worktree --unset core.bare");
	assert_like_gits(&slot, "../gits-sparse");
	/* The record keeps what it was born with. */
	assert_ok(file_read(AT_FDCWD, ".git/worktrees/pool-1/config.worktree", 65536, &text, &fail),
		  fail);
	assert_string_equal(slot.birth.config, text.data);
	assert_non_null(strstr(text.data, "thing"));
	bytes_clear(&text);
	assert_ok(file_read(AT_FDCWD, ".git/worktrees/pool-1/info/sparse-checkout", 65536, &text,
			    &fail),
		  fail);
	assert_string_equal(slot.birth.sparse, text.data);
	bytes_release(&text);
	slot_close(&slot);
	repo_close(&repo);
}

static void submodules(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	char *path;

	make_repo(&sandbox_variants[0], &repo);
	git("clone -q . ../lib-repo");
	git("-c protocol.file.allow=always submodule add -q ../lib-repo lib");
	git("commit -q -m module");
	git("config submodule.recurse true");
	reopen(&repo);
	make_ok(&repo, 1, &slot);
	path = mem_printf("%s/lib", slot.path);
	assert_true(exists(path));
	assert_int_equal(count_entries(path), 0);
	free(path);
	slot_close(&slot);
	repo_close(&repo);
}

static void in_a_bare_repository(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;
	char *dir = NULL, *line;

	make_repo(&sandbox_variants[0], &repo);
	repo_close(&repo);
	git("clone -q --bare . ../naked.git");
	assert_int_equal(chdir("../naked.git"), 0);
	git("config extensions.worktreeConfig true");
	git("config --worktree core.bare true");
	git("config --unset core.bare");
	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	assert_int_equal(birth_default_dir(&repo, &dir, &fail), FAIL_UNSUPPORTED);
	assert_non_null(strstr(fail.message, "interlock.poolDir"));
	fail_clear(&fail);
	make_ok(&repo, 1, &slot);
	line = mem_printf("-C %s status --porcelain", slot.path);
	assert_git_says(line, "");
	free(line);
	slot_close(&slot);
	repo_close(&repo);
}

static void shared(UNUSED void **state)
{
	static const char *const files[] = {"commondir", "gitdir", "HEAD", "locked", "interlock"};
	struct repo repo;
	struct slot slot;
	struct stat st;
	mode_t old = umask(077);

	make_repo(&sandbox_variants[1], &repo);
	git("config core.sharedRepository group");
	reopen(&repo);
	make_ok(&repo, 1, &slot);
	assert_int_equal(fstat(slot.admin, &st), 0);
	assert_int_equal(st.st_mode & 02070, 02070);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		assert_int_equal(fstatat(slot.admin, files[i], &st, 0), 0);
		assert_int_equal(st.st_mode & 0060, 0060);
	}
	umask(old);
	slot_close(&slot);
	repo_close(&repo);
}

/* Forms of the index that only git reads. */
static void other_indexes(UNUSED void **state)
{
	static const char *const settings[] = {
		"config core.splitIndex true",
		"config --unset core.splitIndex",
		"config index.version 4",
		"config feature.manyFiles true",
		"sparse-checkout set --cone --sparse-index d1",
	};
	struct repo repo;
	struct slot slot;
	char *line;

	make_repo(&sandbox_variants[0], &repo);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		git(settings[i]);
		reopen(&repo);
		make_ok(&repo, (int64_t)i + 1, &slot);
		line = mem_printf("-C %s status --porcelain", slot.path);
		assert_git_says(line, "");
		free(line);
		slot_close(&slot);
	}
	repo_close(&repo);
}

/* Naive: what is attached already is none of a birth's business. */
static void assert_detached_again(struct slot *slot)
{
	struct fail fail = FAIL_INIT;
	struct oid base;
	char *line = mem_printf("-C %s symbolic-ref -q HEAD", slot->path);

	assert_ok(ref_read(slot->repo, "HEAD", &base, &fail), fail);
	assert_ok(birth_populate(slot, &base, &fail), fail);
	assert_int_equal(git_status(line), 1);
	free(line);
	line = mem_printf("-C %s rev-parse HEAD", slot->path);
	assert_git_agrees(line, "rev-parse HEAD");
	free(line);
}

/* ---- newer git ----------------------------------------------------------------------------- */

static void reftable(UNUSED void **state)
{
	struct repo repo;
	struct slot slot, other;
	struct fail fail = FAIL_INIT;

	assert_int_equal(chdir(sandbox_dir), 0);
	if (git_status("init -q -b main --ref-format=reftable tables") != 0)
		return; /* `make check TEST_GIT=<dir>` runs it */
	assert_int_equal(chdir("tables"), 0);
	identity();
	git("commit -q --allow-empty -m one");
	fill(10);
	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	git("worktree add -q --detach ../gits-tables");
	make_ok(&repo, 1, &slot);
	assert_like_gits(&slot, "../gits-tables");
	assert_ok(birth_attach(&slot, "refs/heads/topic", true, &fail), fail);
	assert_git_says("-C ../tables.pool/pool-1 symbolic-ref HEAD", "refs/heads/topic");
	make_ok(&repo, 2, &other);
	assert_int_equal(birth_attach(&other, "refs/heads/topic", false, &fail), FAIL_BUSY);
	fail_clear(&fail);
	assert_int_equal(git_status("-C ../tables.pool/pool-2 symbolic-ref -q HEAD"), 1);
	assert_int_equal(git_status("fsck"), 0);
	assert_detached_again(&slot);
	slot_close(&slot);
	remove_slot(&other);
	repo_close(&repo);
}

static void relative_paths(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	bool known;

	make_repo(&sandbox_variants[0], &repo);
	git("config worktree.useRelativePaths true");
	git("worktree add -q --detach ../gits-relative");
	known = git_status("config extensions.relativeWorktrees") == 0;
	/* As before git's own first one. */
	git_status("config --unset extensions.relativeWorktrees");
	git("config core.repositoryFormatVersion 0");
	reopen(&repo);
	make_ok(&repo, 1, &slot);
	assert_ok(file_read(slot.admin, "gitdir", 4096, &text, &fail), fail);
	assert_int_equal(text.data[0] != '/', known);
	bytes_clear(&text);
	assert_int_equal(git_status("config extensions.relativeWorktrees") == 0, known);
	assert_git_says("config core.repositoryFormatVersion", known ? "1" : "0");
	reopen(&repo);
	assert_like_gits(&slot, "../gits-relative");
	assert_git_agrees("worktree list", "worktree list");
	if (known) {
		/* Both may be moved together. */
		char *cwd = getcwd(NULL, 0), *pool = pool_dir();

		slot_close(&slot);
		assert_int_equal(mkdir("../elsewhere", 0777), 0);
		assert_int_equal(
			rename(cwd, scrap(mem_printf("../elsewhere/%s", strrchr(cwd, '/') + 1))),
			0);
		rename(pool, scrap(mem_printf("../%s", strrchr(pool, '/') + 1)));
		assert_git_says(scrap(mem_printf("-C ../%s/pool-1 status --porcelain",
						 strrchr(pool, '/') + 1)),
				"");
	} else {
		slot_close(&slot);
	}
	bytes_release(&text);
	repo_close(&repo);
}

/* ---- A5, A6, A7: failing ------------------------------------------------------------------------
 */

/* A smudge filter for all files, which must work. */
static void set_filter(const char *smudge)
{
	put(".git/info/attributes", "* filter=test\n");
	assert_int_equal(run("git", "config", "filter.test.smudge", smudge), 0);
	git("config filter.test.clean cat");
	git("config filter.test.required true");
}

static void a5_failed_birth_leaves_nothing(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;
	struct stat before, after;
	char *dir, *path;

	make_repo(&sandbox_variants[0], &repo);
	set_filter("false");
	reopen(&repo);
	assert_true(make(&repo, 1, &slot, &fail) < 0);
	/* git's own words. */
	assert_non_null(strstr(fail.message, "smudge filter"));
	fail_clear(&fail);
	slot_close(&slot);
	assert_nothing_left(false);

	/* What was there before stays, be it empty. */
	dir = pool_dir();
	assert_int_equal(mkdir(dir, 0777), 0);
	assert_true(make(&repo, 1, &slot, &fail) < 0);
	fail_clear(&fail);
	slot_close(&slot);
	assert_nothing_left(true);
	path = mem_printf("%s/pool-1", dir);
	assert_int_equal(mkdir(path, 0777), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(make(&repo, 1, &slot, &fail), FAIL_NO);
	fail_clear(&fail);
	slot_close(&slot);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	free(path);
	free(dir);
	repo_close(&repo);
}

/* A base that is not there, whatever else is right. */
static void a5_no_such_base(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;
	struct oid nothing;
	char *dir;
	struct birth_plan plan = {.pool = "pool", .number = 1, .base = &nothing};

	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	plan.dir = dir;
	assert_true(oid_parse(HASH_SHA1, "1234567890123456789012345678901234567890", 40, &nothing));
	assert_ok(birth_make(&repo, &plan, &slot, &fail), fail);
	assert_true(birth_populate(&slot, &nothing, &fail) < 0);
	assert_non_null(strstr(fail.message, "1234567890"));
	fail_clear(&fail);
	remove_slot(&slot);
	assert_nothing_left(false);
	free(dir);
	repo_close(&repo);
}

/* Starts a command in the background. */
static pid_t start(const char **words)
{
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		/* Whoever runs tests in the background has it ignored, for all that it starts. */
		signal(SIGINT, SIG_DFL);
		execvp(words[0], (char **)words);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static size_t files_written(const char *tree)
{
	struct bytes out = BYTES_INIT;
	size_t n = 0;

	run_into(&out, NULL, "find", tree, "-path", "*/d[0-9]/f*", "-type", "f");
	for (size_t i = 0; i < out.len; i++)
		n += out.data[i] == '\n';
	bytes_release(&out);
	return n;
}

/* Kills a birth when its filter has told that it is at work; the number of files then. */
static size_t cancel(const char **words, int sig, int told, const char *tree)
{
	char byte;
	pid_t pid = start(words);

	assert_int_equal(read(told, &byte, 1), 1);
	kill(pid, sig);
	wait_for_all();
	return files_written(tree);
}

static void a6_cancelled_birth_stops(UNUSED void **state)
{
	static const int signals[] = {SIGKILL, SIGTERM, SIGINT};
	struct repo repo;
	struct fail fail = FAIL_INIT;
	struct slot slot;
	char *dir, *birth = helper("birth"), *path, *filter;
	int told;
	size_t all;

	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	all = files_written(".");
	assert_int_equal(mkfifo("../told", 0600), 0);
	told = open("../told", O_RDWR | O_CLOEXEC);
	filter = mem_printf("printf x >%s/told; sleep 0.02; cat", sandbox_dir);
	set_filter(filter);

	/* Naive: the orphan goes on writing. */
	assert_int_equal(
		cancel((const char *[]){"git", "worktree", "add", "--detach", "../naive", NULL},
		       SIGKILL, told, "../naive"),
		all);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		char number[8];

		snprintf(number, sizeof(number), "%zu", i + 1);
		path = mem_printf("%s/pool-%s", dir, number);
		close(told);
		told = open("../told", O_RDWR | O_CLOEXEC);
		assert_in_range(cancel((const char *[]){birth, "make", "pool", number, dir, NULL},
				       signals[i], told, path),
				0, all - 1);
		free(path);
		/* Half-born: whoever has its lock finishes it. */
		path = mem_printf("pool-%s", number);
		assert_ok(newborn_open(&repo, path, &slot, &fail), fail);
		free(path);
		set_filter("cat");
		{
			struct oid base;
			char *line;

			assert_ok(ref_read(&repo, "HEAD", &base, &fail), fail);
			assert_ok(birth_populate(&slot, &base, &fail), fail);
			line = mem_printf("-C %s status --porcelain", slot.path);
			assert_git_says(line, "");
			free(line);
		}
		slot_close(&slot);
		set_filter(filter);
	}
	close(told);
	free(filter);
	free(birth);
	free(dir);
	repo_close(&repo);
}

/* A half-born slot is brought to another base, over what was written already. */
static void half_born_at_another_base(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;
	struct oid base;
	char *line;

	make_repo(&sandbox_variants[0], &repo);
	make_ok(&repo, 1, &slot);
	assert_int_equal(unlinkat(slot.admin, "index", 0), 0);
	put(".git/worktrees/pool-1/index.lock", "");
	put(".git/worktrees/pool-1/HEAD.lock", "");
	git("rm -q -r d1");
	put("d2/f2", "other\n");
	git("commit -q -a -m other");
	assert_ok(ref_read(&repo, "HEAD", &base, &fail), fail);
	line = mem_printf("%s/d1/f1", slot.path);
	assert_int_equal(unlink(line), 0);
	free(line);
	assert_ok(birth_populate(&slot, &base, &fail), fail);
	line = mem_printf("-C %s diff --stat HEAD", slot.path);
	assert_git_says(line, "");
	free(line);
	line = mem_printf("-C %s rev-parse HEAD", slot.path);
	assert_git_agrees(line, "rev-parse HEAD");
	free(line);
	slot_close(&slot);
	repo_close(&repo);
}

/* Killed between step 7 and step 8. */
static void a9_half_born_on_its_branch(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		make_repo(&sandbox_variants[i], &repo);
		make_ok(&repo, 1, &slot);
		assert_ok(birth_attach(&slot, "refs/heads/topic", true, &fail), fail);
		assert_detached_again(&slot);
		assert_ok(birth_attach(&slot, "refs/heads/topic", false, &fail), fail);
		slot_close(&slot);
		repo_close(&repo);
	}
}

/* Naive: git said 0, so it is there. */
static void a7_birth_is_confirmed(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;
	char *old = strdup(getenv("PATH")), *path;

	make_repo(&sandbox_variants[0], &repo);
	assert_int_equal(mkdir("../liar", 0777), 0);
	put("../liar/git", "#!/bin/sh\nexit 0\n");
	chmod("../liar/git", 0755);
	path = mem_printf("%s/liar:%s", sandbox_dir, old);
	setenv("PATH", path, 1);
	assert_int_equal(make(&repo, 1, &slot, &fail), FAIL_CORRUPT);
	assert_non_null(strstr(fail.message, "no index"));
	setenv("PATH", old, 1);
	slot_close(&slot);
	assert_nothing_left(false);
	free(path);
	free(old);
	repo_close(&repo);
}

/* ---- A8: nobody's prune gets it
 * -------------------------------------------------------------------- */

struct held {
	pid_t pid;
	int in, out;
};

static pid_t held_now;

/* A command that killat stops before a certain call. */
static struct held hold_at(const char *where, const char **words)
{
	char *killat = helper("killat"), *hold = mem_printf("--hold=%s", where);
	const char *all[32] = {killat, hold, "--"};
	int in[2], out[2];
	size_t n = 3;
	struct held held;
	char byte;

	while (*words)
		all[n++] = *words++;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	held.pid = fork();
	if (held.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(killat, (char **)all);
		_exit(127);
	}
	held_now = held.pid;
	close(in[0]);
	close(out[1]);
	held.in = in[1];
	held.out = out[0];
	if (read(held.out, &byte, 1) != 1)
		fail_msg("%s was never reached", where);
	free(killat);
	free(hold);
	return held;
}

static int go_on(struct held *held)
{
	int status;
	char buffer[4096];

	close(held->in);
	while (read(held->out, buffer, sizeof(buffer)) > 0)
		continue;
	close(held->out);
	assert_int_equal(waitpid(held->pid, &status, 0), held->pid);
	held_now = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool can_trace(void)
{
	char *killat = helper("killat");
	bool can = run(killat, "-c", "-o", "/dev/null", "--", "true") == 0;

	free(killat);
	return can;
}

static void a8_prune_cannot_take_it(UNUSED void **state)
{
	/* From the first directory to the population. */
	static const char *const moments[] = {
		"mkdirat:birth-",     "flock",
		"openat:commondir",   "openat:HEAD",
		"mkdirat:.interlock", "renameat2:.interlock-newborn-",
		"renameat2:birth-",   "openat:index.lock",
	};
	struct repo repo;
	char *dir, *birth = helper("birth");
	struct held held;

	if (!can_trace())
		return;
	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	/* Naive: what is there without "locked" and "gitdir" goes at once. */
	held = hold_at("openat:locked", (const char *[]){"git", "worktree", "add", "-q", "--detach",
							 "../naive", NULL});
	git("worktree prune");
	assert_int_not_equal(go_on(&held), 0);
	for (size_t i = 0; i < ARRAY_SIZE(moments); i++) {
		char number[8];

		snprintf(number, sizeof(number), "%zu", i + 1);
		held = hold_at(moments[i],
			       (const char *[]){birth, "make", "pool", number, dir, NULL});
		git("worktree prune --expire=now");
		git("gc -q --prune=now");
		git("worktree list");
		if (go_on(&held) != 0)
			fail_msg("a prune at %s took it", moments[i]);
	}
	assert_git_says("worktree prune -v", "");
	free(birth);
	free(dir);
	repo_close(&repo);
}

/* git's rmdir of an empty worktrees/ comes between our mkdir and our rename. */
static void worktrees_removed_under_us(UNUSED void **state)
{
	struct repo repo;
	char *dir, *birth = helper("birth");
	struct held held;

	if (!can_trace())
		return;
	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	held = hold_at("renameat2:birth-", (const char *[]){birth, "make", "pool", "1", dir, NULL});
	assert_int_equal(rmdir(".git/worktrees"), 0);
	assert_int_equal(go_on(&held), 0);
	/* Another one has the id meanwhile. */
	held = hold_at("renameat2:birth-", (const char *[]){birth, "make", "pool", "2", dir, NULL});
	assert_int_equal(mkdir(".git/worktrees/pool-2", 0777), 0);
	assert_int_equal(go_on(&held), 1);
	assert_int_equal(count_entries(".git/worktrees/pool-2"), 0);
	assert_int_equal(count_debris(), 0);
	assert_int_equal(count_entries(dir), 1);
	free(birth);
	free(dir);
	repo_close(&repo);
}

/* Maker and sweeper meet on a stage that is not locked yet: neither harms the other. */
static void sweeper_meets_maker(UNUSED void **state)
{
	struct repo repo;
	char *dir, *birth = helper("birth");
	struct fail fail = FAIL_INIT;
	struct held held;
	size_t swept;

	if (!can_trace())
		return;
	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	held = hold_at("flock", (const char *[]){birth, "make", "pool", "1", dir, NULL});
	assert_ok(birth_sweep(&repo, false, &swept, &fail), fail);
	assert_int_equal(swept, 1);
	assert_int_equal(go_on(&held), 0);
	held = hold_at("openat:commondir", (const char *[]){birth, "make", "pool", "2", dir, NULL});
	assert_ok(birth_sweep(&repo, false, &swept, &fail), fail);
	assert_int_equal(swept, 0);
	assert_int_equal(go_on(&held), 0);
	assert_git_says("-C . worktree prune -v", "");
	free(birth);
	free(dir);
	repo_close(&repo);
}

/* ---- A9: killed anywhere
 * ------------------------------------------------------------------------------ */

static void assert_sound(const char *dir, size_t slots)
{
	struct bytes out = BYTES_INIT, err = BYTES_INIT;

	assert_int_equal(run_into(&out, &err, "git", "fsck", "--no-dangling"), 0);
	assert_string_equal(out.data, "");
	bytes_clear(&err);
	assert_int_equal(run_into(&out, &err, "git", "worktree", "prune", "-v"), 0);
	assert_int_equal(out.len + err.len, 0);
	assert_int_equal(run_into(&out, &err, "git", "worktree", "list", "--porcelain"), 0);
	assert_null(strstr(out.data, "prunable"));
	assert_int_equal(err.len, 0);
	assert_int_equal(count_debris(), 0);
	assert_int_equal(exists(dir) ? count_entries(dir) : 0, slots);
	assert_int_equal(exists(".git/worktrees") ? count_entries(".git/worktrees") : 0, slots);
	bytes_release(&out);
	bytes_release(&err);
}

static unsigned long calls_of(const char **words)
{
	char *killat = helper("killat");
	const char *all[32] = {killat, "-o", "../report", "--"};
	char line[256];
	unsigned long calls = 0;
	FILE *report;
	size_t n = 4;

	while (*words)
		all[n++] = *words++;
	assert_int_equal(run_quiet(all), 0);
	wait_for_all();
	report = fopen("../report", "re");
	assert_non_null(report);
	while (fgets(line, sizeof(line), report))
		sscanf(line, "calls %lu", &calls);
	fclose(report);
	free(killat);
	assert_true(calls > 50);
	return calls;
}

static void kill_at(unsigned long call, bool one, const char **words)
{
	char *killat = helper("killat"), at[32];
	const char *all[32] = {killat, "-n", at, one ? "--one" : "--", NULL};
	size_t n = 4;

	snprintf(at, sizeof(at), "%lu", call);
	if (one)
		all[n++] = "--";
	while (*words)
		all[n++] = *words++;
	run_quiet(all);
	wait_for_all();
	free(killat);
}

static unsigned long kill_points(void)
{
	const char *points = getenv("KILL_POINTS");

	return points ? strtoul(points, NULL, 10) : 12;
}

static void killed_at(struct repo *repo, const char *dir, unsigned long call, bool one)
{
	char *birth = helper("birth");
	struct fail fail = FAIL_INIT;
	struct slot slot;
	size_t swept, slots = 0;

	kill_at(call, one, (const char *[]){birth, "make", "pool", "1", dir, NULL});
	/* What git sees is whole in every moment. */
	assert_int_equal(git_status("worktree prune --expire=now"), 0);
	assert_ok(birth_sweep(repo, false, &swept, &fail), fail);
	wait_for_all();
	if (exists(".git/worktrees/pool-1")) {
		assert_int_equal(run(birth, "finish", "pool-1"), 0);
		slots++;
	}
	assert_sound(dir, slots);
	if (!slots)
		assert_int_equal(run(birth, "make", "pool", "1", dir), 0);
	assert_sound(dir, 1);
	assert_int_equal(run("git", "-C", dir, "-C", "pool-1", "diff", "--quiet", "HEAD"), 0);
	assert_ok(newborn_open(repo, "pool-1", &slot, &fail), fail);
	remove_slot(&slot);
	assert_sound(dir, 0);
	rmdir(dir);
	free(birth);
}

static void a9_killed_births_are_reclaimed(UNUSED void **state)
{
	struct repo repo;
	char *dir, *birth = helper("birth");
	unsigned long calls, points = kill_points(), offset;

	if (!can_trace())
		return;
	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	calls = calls_of((const char *[]){birth, "make", "pool", "1", dir, NULL});
	assert_int_equal(run(birth, "remove", "pool-1"), 0);
	wait_for_all();
	rmdir(dir);
	if (points > calls)
		points = calls;
	offset = (unsigned long)getpid() % (calls / points);
	print_message("# note: killed at %lu of %lu calls, from %lu on\n", points, calls, offset);
	for (unsigned long i = 0; i < points; i++)
		killed_at(&repo, dir, 1 + offset + i * calls / points, i % 2);
	free(birth);
	free(dir);
	repo_close(&repo);
}

static void a9_killed_removals_are_finished(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;
	char *dir, *birth = helper("birth");
	unsigned long calls, points = kill_points();
	size_t swept;

	if (!can_trace())
		return;
	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	assert_int_equal(run(birth, "make", "pool", "1", dir), 0);
	calls = calls_of((const char *[]){birth, "remove", "pool-1", NULL});
	if (points > calls)
		points = calls;
	for (unsigned long i = 0; i < points; i++) {
		unsigned long at = 1 + i * calls / points;

		assert_int_equal(run(birth, "make", "pool", "1", dir), 0);
		kill_at(at, i % 2, (const char *[]){birth, "remove", "pool-1", NULL});
		assert_int_equal(git_status("worktree prune --expire=now"), 0);
		/* Untouched or vanished: the same call goes on from there. */
		if (exists(".git/worktrees/pool-1")) {
			assert_ok(newborn_open(&repo, "pool-1", &slot, &fail), fail);
			remove_slot(&slot);
		}
		assert_ok(birth_sweep(&repo, false, &swept, &fail), fail);
		wait_for_all();
		assert_sound(dir, 0);
	}
	free(birth);
	free(dir);
	repo_close(&repo);
}

static void dry_sweep(UNUSED void **state)
{
	struct repo repo;
	struct fail fail = FAIL_INIT;
	char *dir, *birth = helper("birth");
	size_t swept;

	if (!can_trace())
		return;
	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	assert_ok(birth_sweep(&repo, true, &swept, &fail), fail);
	assert_int_equal(swept, 0);
	assert_false(exists(".git/interlock"));
	{
		struct held held = hold_at("renameat2:birth-",
					   (const char *[]){birth, "make", "pool", "1", dir, NULL});

		kill(held.pid, SIGKILL);
		go_on(&held);
	}
	wait_for_all();
	for (int i = 0; i < 2; i++) {
		assert_ok(birth_sweep(&repo, true, &swept, &fail), fail);
		assert_int_equal(swept, 1);
	}
	assert_true(exists(dir));
	/* Somebody has put something into the newborn: that stays. */
	put(scrap(mem_printf("%s/pool-1/mine", dir)), "");
	assert_ok(birth_sweep(&repo, false, &swept, &fail), fail);
	assert_int_equal(swept, 1);
	assert_int_equal(count_debris(), 0);
	assert_true(exists(scrap(mem_printf("%s/pool-1/mine", dir))));
	free(birth);
	free(dir);
	repo_close(&repo);
}

/* ---- A11: the branch
 * --------------------------------------------------------------------------------------- */

static void attach_fails(struct repo *repo, struct slot *slot, const char *branch, bool create,
			 int kind, const char *words)
{
	struct fail fail = FAIL_INIT;

	(void)repo;
	if (birth_attach(slot, branch, create, &fail) != kind)
		fail_msg("%s: %d: %s", branch, fail.kind, fail.message);
	if (!strstr(fail.message, words))
		fail_msg("%s: %s", branch, fail.message);
	/* Nothing has changed. */
	assert_int_equal(git_status(scrap(mem_printf("-C %s symbolic-ref -q HEAD", slot->path))),
			 1);
	assert_git_says(scrap(mem_printf("-C %s status --porcelain", slot->path)), "");
}

static void attach(const struct variant *v)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;

	make_repo(v, &repo);
	git("branch free");
	git("branch elsewhere HEAD~1");
	git("branch dir/below");
	git("config branch.autoSetupMerge always");
	make_ok(&repo, 1, &slot);
	attach_fails(&repo, &slot, "refs/heads/main", false, FAIL_BUSY, "checked out in");
	attach_fails(&repo, &slot, "refs/heads/main", true, FAIL_BUSY, "checked out in");
	attach_fails(&repo, &slot, "refs/heads/free", true, FAIL_NO, "exists");
	attach_fails(&repo, &slot, "refs/heads/none", false, FAIL_NO, "does not exist");
	attach_fails(&repo, &slot, "refs/heads/elsewhere", false, FAIL_BUSY, "moved");
	attach_fails(&repo, &slot, "refs/heads/dir", true, FAIL_FATAL, "refs/heads/dir");
	attach_fails(&repo, &slot, "refs/heads/-x", true, FAIL_USAGE, "-x");
	attach_fails(&repo, &slot, "refs/heads/HEAD", true, FAIL_USAGE, "HEAD");
	attach_fails(&repo, &slot, "refs/tags/x", true, FAIL_USAGE, "refs/tags/x");
	attach_fails(&repo, &slot, "refs/heads/a..b", true, FAIL_USAGE, "a..b");
	assert_ok(birth_attach(&slot, "refs/heads/new", true, &fail), fail);
	assert_git_says(scrap(mem_printf("-C %s symbolic-ref HEAD", slot.path)), "refs/heads/new");
	assert_git_says(scrap(mem_printf("-C %s status --porcelain", slot.path)), "");
	assert_git_agrees("rev-parse new", "rev-parse HEAD");
	/* No tracking. */
	assert_int_equal(git_status("config branch.new.merge"), 1);
	/* The way back is known, as after `git checkout`. */
	assert_git_agrees(scrap(mem_printf("-C %s rev-parse @{-1}", slot.path)), "rev-parse HEAD");
	slot_close(&slot);
	make_ok(&repo, 2, &slot);
	attach_fails(&repo, &slot, "refs/heads/new", false, FAIL_BUSY, "pool-1");
	/* A symbolic ref to a branch that somebody has. */
	git("symbolic-ref refs/heads/alias refs/heads/new");
	attach_fails(&repo, &slot, "refs/heads/alias", false, FAIL_BUSY, "pool-1");
	assert_ok(birth_attach(&slot, "refs/heads/free", false, &fail), fail);
	assert_git_says(scrap(mem_printf("-C %s symbolic-ref HEAD", slot.path)), "refs/heads/free");
	assert_int_equal(git_status("fsck"), 0);
	slot_close(&slot);
	repo_close(&repo);
}

static void a11_branches(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++)
		attach(&sandbox_variants[i]);
}

static void a11_two_claims_of_one_branch(UNUSED void **state)
{
	struct repo repo;
	char *dir, *birth = helper("birth");

	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	for (int round = 0; round < 6; round++) {
		char *branch = mem_printf("refs/heads/wanted-%d", round);
		pid_t pids[4];
		int won = 0, busy = 0;

		/* An existing one, and a new one. */
		if (round % 2 == 0)
			git(scrap(mem_printf("branch wanted-%d", round)));
		for (int i = 0; i < 4; i++) {
			char *number = mem_printf("%d", round * 4 + i + 1);

			pids[i] = start((const char *[]){birth, "make", "pool", number, dir, "HEAD",
							 branch, round % 2 ? "new" : NULL, NULL});
			free(number);
		}
		for (int i = 0; i < 4; i++) {
			int status;

			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			won += WEXITSTATUS(status) == 0;
			busy += WEXITSTATUS(status) == 75 || WEXITSTATUS(status) == 1;
		}
		assert_int_equal(won, 1);
		assert_int_equal(busy, 3);
		free(branch);
	}
	free(birth);
	free(dir);
	repo_close(&repo);
}

/* A plain checkout that comes between our look and our HEAD is seen by looking again. */
static void a11_plain_checkout_in_between(UNUSED void **state)
{
	struct repo repo;
	char *dir, *birth = helper("birth");
	struct held held;

	if (!can_trace())
		return;
	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	git("branch wanted");
	held = hold_at("openat:HEAD.lock", (const char *[]){birth, "make", "pool", "1", dir, "HEAD",
							    "refs/heads/wanted", NULL});
	git("worktree add -q ../plain wanted");
	assert_int_equal(go_on(&held), 75);
	assert_git_says("-C ../plain symbolic-ref HEAD", "refs/heads/wanted");
	/* One that we had made stays: somebody works on it now. */
	held = hold_at("openat:HEAD.lock", (const char *[]){birth, "make", "pool", "2", dir, "HEAD",
							    "refs/heads/fresh", "new", NULL});
	git("worktree add -q ../plain-2 fresh");
	assert_int_equal(go_on(&held), 75);
	assert_int_equal(git_status("rev-parse --verify -q fresh"), 0);
	free(birth);
	free(dir);
	repo_close(&repo);
}

/* ---- F5: something else stands there
 * ---------------------------------------------------------------------------- */

static void removal_refused(struct repo *repo, const char *id)
{
	struct fail fail = FAIL_INIT;
	struct slot slot;

	assert_ok(newborn_open(repo, id, &slot, &fail), fail);
	assert_int_equal(birth_remove(&slot, &fail), FAIL_CORRUPT);
	assert_true(slot.locked);
	assert_true(slot.admin >= 0);
	slot_close(&slot);
	wait_for_all();
}

static void f5_planted(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	struct fail fail = FAIL_INIT;
	char *path, *away;

	make_repo(&sandbox_variants[0], &repo);
	make_ok(&repo, 1, &slot);
	path = strdup(slot.path);
	away = mem_printf("%s.away", path);
	slot_close(&slot);
	assert_int_equal(rename(path, away), 0);
	assert_int_equal(mkdir("../precious", 0777), 0);
	put("../precious/file", "");
	/* A symlink. */
	assert_int_equal(symlink("../precious", path), 0);
	removal_refused(&repo, "pool-1");
	assert_true(exists("../precious/file"));
	assert_int_equal(unlink(path), 0);
	/* Another directory, with a .git file that says it is the one. */
	assert_int_equal(mkdir(path, 0777), 0);
	assert_int_equal(
		run("cp", scrap(mem_printf("%s/.git", away)), scrap(mem_printf("%s/.git", path))),
		0);
	put(scrap(mem_printf("%s/file", path)), "");
	removal_refused(&repo, "pool-1");
	assert_true(exists(scrap(mem_printf("%s/file", path))));
	assert_int_equal(run("rm", "-r", path), 0);
	/* A file. */
	put(path, "");
	removal_refused(&repo, "pool-1");
	assert_int_equal(unlink(path), 0);
	/* The symlink that leads to the very directory. */
	assert_int_equal(symlink(away, path), 0);
	removal_refused(&repo, "pool-1");
	assert_int_equal(unlink(path), 0);
	/* Vanished: only the admin directory goes. */
	assert_ok(newborn_open(&repo, "pool-1", &slot, &fail), fail);
	remove_slot(&slot);
	assert_false(exists(".git/worktrees"));
	assert_true(exists(away));
	free(path);
	free(away);
	repo_close(&repo);
}

static void birth_refused(struct repo *repo, int kind)
{
	struct fail fail = FAIL_INIT;
	struct slot slot;

	if (make(repo, 1, &slot, &fail) != kind)
		fail_msg("%d: %s", fail.kind, fail.message);
	slot_close(&slot);
}

static void f5_places(UNUSED void **state)
{
	struct repo repo;
	char *dir;

	make_repo(&sandbox_variants[0], &repo);
	dir = pool_dir();
	put(dir, "a file");
	birth_refused(&repo, FAIL_CORRUPT);
	assert_int_equal(unlink(dir), 0);
	assert_int_equal(mkdir("../real-pool", 0777), 0);
	assert_int_equal(symlink("real-pool", dir), 0);
	birth_refused(&repo, FAIL_CORRUPT);
	assert_int_equal(count_entries("../real-pool"), 0);
	assert_int_equal(unlink(dir), 0);
	/* worktrees/ that leads away. */
	assert_int_equal(mkdir("../admins", 0777), 0);
	assert_int_equal(symlink("../../admins", ".git/worktrees"), 0);
	birth_refused(&repo, FAIL_CORRUPT);
	assert_int_equal(count_entries("../admins"), 0);
	assert_int_equal(unlink(".git/worktrees"), 0);
	assert_nothing_left(false);
	/* interlock/ that leads away. */
	assert_int_equal(run("rm", "-rf", ".git/interlock"), 0);
	assert_int_equal(symlink("../../admins", ".git/interlock"), 0);
	reopen(&repo);
	birth_refused(&repo, FAIL_CORRUPT);
	assert_int_equal(count_entries("../admins"), 0);
	free(dir);
	repo_close(&repo);
}

/* A birth record that was edited to lead elsewhere is not followed. */
static void f5_edited_record(UNUSED void **state)
{
	struct repo repo;
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct slot slot;
	size_t swept;
	char *born;

	make_repo(&sandbox_variants[0], &repo);
	make_ok(&repo, 1, &slot);
	assert_int_equal(mkdir("../precious", 0777), 0);
	put("../precious/.git", "");
	born = strdup(slot.birth.born);
	free(slot.birth.path);
	slot.birth.path = mem_printf("%s/precious", sandbox_dir);
	{
		struct stat st;

		assert_int_equal(stat("../precious", &st), 0);
		slot.birth.dev = st.st_dev;
		slot.birth.ino = st.st_ino;
	}
	slot_birth_format(&slot.birth, &text);
	assert_int_equal(
		rename(".git/worktrees/pool-1", scrap(mem_printf(".git/interlock/birth-%s", born))),
		0);
	put(scrap(mem_printf(".git/interlock/birth-%s/interlock", born)), text.data);
	slot_close(&slot);
	assert_ok(birth_sweep(&repo, false, &swept, &fail), fail);
	assert_int_equal(swept, 1);
	assert_true(exists("../precious/.git"));
	bytes_release(&text);
	free(born);
	repo_close(&repo);
}

/* ---- where pools are
 * ---------------------------------------------------------------------------------------------- */

static void default_dir(UNUSED void **state)
{
	struct repo repo;
	struct fail fail = FAIL_INIT;
	char *dir = NULL, *cwd, *want;

	make_repo(&sandbox_variants[0], &repo);
	cwd = getcwd(NULL, 0);
	want = mem_printf("%s.worktrees", cwd);
	assert_ok(birth_default_dir(&repo, &dir, &fail), fail);
	assert_string_equal(dir, want);
	free(dir);
	git("worktree add -q --detach ../from-linked");
	repo_close(&repo);
	assert_int_equal(chdir("../from-linked"), 0);
	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	assert_ok(birth_default_dir(&repo, &dir, &fail), fail);
	assert_string_equal(dir, want);
	free(dir);
	repo_close(&repo);
	/* Inside another checkout. */
	assert_int_equal(chdir(cwd), 0);
	git("init -q inner");
	assert_int_equal(chdir("inner"), 0);
	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	assert_int_equal(birth_default_dir(&repo, &dir, &fail), FAIL_UNSUPPORTED);
	assert_non_null(strstr(fail.message, "interlock.poolDir"));
	fail_clear(&fail);
	repo_close(&repo);
	/* A submodule, and a repository beside its work tree. */
	assert_int_equal(chdir(cwd), 0);
	git("-c protocol.file.allow=always submodule add -q ../from-linked sub");
	git("init -q --separate-git-dir ../apart.git ../apart");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(chdir(i ? "../apart" : "sub"), 0);
		assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
		assert_int_equal(birth_default_dir(&repo, &dir, &fail), FAIL_UNSUPPORTED);
		fail_clear(&fail);
		repo_close(&repo);
		assert_int_equal(chdir(cwd), 0);
	}
	free(want);
	free(cwd);
}

/* ---- erase
 * ------------------------------------------------------------------------------------------------------------
 */

static void erases_deep_trees(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	struct rlimit old, few;
	int top;

	assert_int_equal(chdir(sandbox_dir), 0);
	assert_int_equal(mkdir("deep", 0777), 0);
	top = open("deep", O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 1500; i++) {
		int next;

		assert_int_equal(mkdirat(top, "x", 0777), 0);
		close(openat(top, "file", O_WRONLY | O_CREAT, 0444));
		next = openat(top, "x", O_RDONLY | O_DIRECTORY);
		close(top);
		top = next;
	}
	close(top);
	getrlimit(RLIMIT_NOFILE, &old);
	few = (struct rlimit){200, old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &few);
	assert_ok(erase_tree(AT_FDCWD, "deep", &fail), fail);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_false(exists("deep"));
}

static void erases_no_more(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;

	assert_int_equal(chdir(sandbox_dir), 0);
	assert_int_equal(mkdir("outside", 0777), 0);
	put("outside/file", "");
	assert_int_equal(mkdir("tree", 0777), 0);
	assert_int_equal(mkdir("tree/locked", 0777), 0);
	put("tree/locked/file", "");
	assert_int_equal(symlink("../outside", "tree/link"), 0);
	assert_int_equal(mkfifo("tree/fifo", 0600), 0);
	assert_int_equal(chmod("tree/locked", 0), 0);
	assert_ok(erase_tree(AT_FDCWD, "tree", &fail), fail);
	assert_false(exists("tree"));
	assert_ok(erase_tree(AT_FDCWD, "tree", &fail), fail);
	assert_int_equal(symlink("outside", "tree"), 0);
	assert_ok(erase_tree(AT_FDCWD, "tree", &fail), fail);
	assert_true(exists("outside/file"));

	/* What is mounted inside is not ours. */
	assert_int_equal(mkdir("tree", 0777), 0);
	assert_int_equal(mkdir("tree/mounted", 0777), 0);
	put("tree/file", "");
	if (mount("outside", "tree/mounted", NULL, MS_BIND, NULL) < 0)
		return;
	assert_int_equal(erase_tree(AT_FDCWD, "tree", &fail), FAIL_SYSTEM);
	assert_true(exists("outside/file"));
	assert_false(exists("tree/file"));
	assert_int_equal(umount("tree/mounted"), 0);
}

/* A worktree with directories that cannot be written goes all the same. */
static void unwritable_directories(UNUSED void **state)
{
	struct repo repo;
	struct slot slot;
	char *path;

	make_repo(&sandbox_variants[0], &repo);
	make_ok(&repo, 1, &slot);
	path = mem_printf("%s/cache", slot.path);
	assert_int_equal(mkdir(path, 0777), 0);
	put(scrap(mem_printf("%s/file", path)), "");
	assert_int_equal(chmod(path, 0555), 0);
	remove_slot(&slot);
	assert_nothing_left(false);
	free(path);
	repo_close(&repo);
}

/* ---- all
 * ----------------------------------------------------------------------------------------------------------------
 */

static int set_up(UNUSED void **state)
{
	char *slash;
	ssize_t n = readlink("/proc/self/exe", helper_dir, sizeof(helper_dir) - 16);

	assert_true(n > 0);
	helper_dir[n] = '\0';
	for (int i = 0; i < 2; i++) {
		slash = strrchr(helper_dir, '/');
		*slash = '\0';
	}
	strcat(helper_dir, "/helper");
	/* Whatever outlives its parent here is ours to wait for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return 0;
}

static int enter(UNUSED void **state)
{
	sandbox_enter();
	return 0;
}

static int leave(UNUSED void **state)
{
	/* A test that failed has left it standing. */
	if (held_now)
		kill(held_now, SIGKILL);
	held_now = 0;
	wait_for_all();
	sandbox_leave();
	return 0;
}

#define IN_SANDBOX(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SANDBOX(born_like_gits),
		IN_SANDBOX(lock_ends),
		IN_SANDBOX(without_logs),
		IN_SANDBOX(settings_go_along),
		IN_SANDBOX(submodules),
		IN_SANDBOX(in_a_bare_repository),
		IN_SANDBOX(shared),
		IN_SANDBOX(other_indexes),
		IN_SANDBOX(reftable),
		IN_SANDBOX(relative_paths),
		IN_SANDBOX(a5_failed_birth_leaves_nothing),
		IN_SANDBOX(a5_no_such_base),
		IN_SANDBOX(a6_cancelled_birth_stops),
		IN_SANDBOX(half_born_at_another_base),
		IN_SANDBOX(a9_half_born_on_its_branch),
		IN_SANDBOX(a7_birth_is_confirmed),
		IN_SANDBOX(a8_prune_cannot_take_it),
		IN_SANDBOX(worktrees_removed_under_us),
		IN_SANDBOX(sweeper_meets_maker),
		IN_SANDBOX(a9_killed_births_are_reclaimed),
		IN_SANDBOX(a9_killed_removals_are_finished),
		IN_SANDBOX(dry_sweep),
		IN_SANDBOX(a11_branches),
		IN_SANDBOX(a11_two_claims_of_one_branch),
		IN_SANDBOX(a11_plain_checkout_in_between),
		IN_SANDBOX(f5_planted),
		IN_SANDBOX(f5_places),
		IN_SANDBOX(f5_edited_record),
		IN_SANDBOX(default_dir),
		IN_SANDBOX(erases_deep_trees),
		IN_SANDBOX(erases_no_more),
		IN_SANDBOX(unwritable_directories),
	};

	int failed = cmocka_run_group_tests(tests, set_up, NULL);

	argv_release(&scraps);
	return failed;
}
