/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* worktree: against what git says about real linked worktrees. */
#include "sandbox.h"

#include "worktree.h"

#include <fcntl.h>
#include <sys/stat.h>

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int git_status(const char *line)
{
	struct spawn cmd = SPAWN_INIT;
	struct fail fail = FAIL_INIT;
	struct bytes out = BYTES_INIT;
	char *copy = strdup(line), *save = NULL;
	int status;

	argv_push(&cmd.argv, "git");
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv_push(&cmd.argv, word);
	assert_ok(spawn_capture_any(&cmd, &out, &fail), fail);
	status = cmd.status;
	spawn_release(&cmd);
	bytes_release(&out);
	free(copy);
	return status;
}

static void identity(void)
{
	git("config user.name A");
	git("config user.email a@example.com");
}

/* A repository with two commits on "main", opened. */
static void make_repo(const struct variant *v, struct repo *repo)
{
	sandbox_repo(v, repo);
	git("symbolic-ref HEAD refs/heads/main");
	identity();
	put("a", "1\n");
	git("add a");
	git("commit -q -m one");
	put("a", "2\n");
	git("commit -q -a -m two");
}

static const struct worktree *named(const struct worktrees *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++)
		if (id ? list->items[i].id && !strcmp(list->items[i].id, id) : !list->items[i].id)
			return &list->items[i];
	return NULL;
}

static void list_again(struct repo *repo, struct worktrees *list)
{
	struct fail fail = FAIL_INIT;

	worktrees_release(list);
	assert_ok(worktrees_list(repo, list, &fail), fail);
}

static void assert_on(struct repo *repo, const char *branch, const char *id)
{
	struct worktrees list = {0};
	const struct worktree *on;

	list_again(repo, &list);
	on = worktrees_on_branch(&list, branch, NULL);
	if (!on)
		fail_msg("%s: nobody has it", branch);
	if (id)
		assert_string_equal(on->id, id);
	else
		assert_null(on->id);
	if (id)
		assert_null(worktrees_on_branch(&list, branch, id));
	worktrees_release(&list);
}

/* The list in the words of `git worktree list --porcelain`, without ids and commits. */
static void as_porcelain(const struct worktrees *list, struct bytes *out)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct worktree *worktree = &list->items[i];

		bytes_addf(out, "worktree %s\n", worktree->path);
		bytes_addf(out, worktree->branch ? "branch %s\n" : "detached\n", worktree->branch);
		if (worktree->locked)
			bytes_addf(out, *worktree->locked ? "locked %s\n" : "locked\n",
				   worktree->locked);
	}
}

static void git_porcelain(struct bytes *out)
{
	struct bytes text = BYTES_INIT;
	char *save = NULL;

	git_feed("worktree list --porcelain", NULL, 0, &text);
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, "HEAD ", 5) != 0 && strncmp(line, "prunable ", 9) != 0)
			bytes_addf(out, "%s\n", line);
	bytes_release(&text);
}

static void assert_as_git_says(struct repo *repo)
{
	struct worktrees list = {0};
	struct bytes ours = BYTES_INIT, gits = BYTES_INIT;

	list_again(repo, &list);
	as_porcelain(&list, &ours);
	git_porcelain(&gits);
	assert_string_equal(ours.data, gits.data);
	bytes_release(&ours);
	bytes_release(&gits);
	worktrees_release(&list);
}

static void listing(const struct variant *v)
{
	struct repo repo;

	make_repo(v, &repo);
	assert_as_git_says(&repo);
	git("worktree add -q --detach ../wt-a");
	git("worktree add -q -b topic ../wt-b");
	git("worktree add -q --no-checkout --detach ../wt-c");
	git("worktree lock ../wt-a");
	git("worktree lock --reason why? ../wt-b");
	assert_as_git_says(&repo);
	assert_on(&repo, "refs/heads/topic", "wt-b");
	assert_on(&repo, "refs/heads/main", NULL);
	git("worktree remove -f -f ../wt-a");
	git("worktree remove -f -f ../wt-b");
	git("worktree remove -f ../wt-c");
	assert_as_git_says(&repo);
	repo_close(&repo);
}

static void listing_in_each(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		listing(&sandbox_variants[i]);
		assert_int_equal(chdir(sandbox_dir), 0);
	}
}

static void from_a_linked_one(UNUSED void **state)
{
	struct repo repo, linked;
	struct fail fail = FAIL_INIT;

	make_repo(&sandbox_variants[0], &repo);
	git("worktree add -q -b topic ../linked");
	repo_close(&repo);
	assert_int_equal(chdir("../linked"), 0);
	assert_ok(repo_open(&linked, REPO_ANY, &fail), fail);
	assert_as_git_says(&linked);
	assert_on(&linked, "refs/heads/main", NULL);
	repo_close(&linked);
}

/* A bare repository's HEAD holds no branch, whoever asks. */
static void bare(UNUSED void **state)
{
	struct repo repo, linked;
	struct worktrees list = {0};
	struct fail fail = FAIL_INIT;

	make_repo(&sandbox_variants[0], &repo);
	repo_close(&repo);
	git("clone -q --bare . ../bare.git");
	assert_int_equal(chdir("../bare.git"), 0);
	git("worktree add -q --detach ../of-bare");
	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	assert_int_equal(chdir("../of-bare"), 0);
	assert_ok(repo_open(&linked, REPO_ANY, &fail), fail);
	for (int i = 0; i < 2; i++) {
		list_again(i ? &linked : &repo, &list);
		assert_int_equal(list.count, 2);
		assert_true(list.items[0].bare);
		assert_null(list.items[0].path);
		assert_null(worktrees_on_branch(&list, "refs/heads/main", NULL));
	}
	worktrees_release(&list);
	repo_close(&linked);
	repo_close(&repo);
}

/* A branch that is being rebased or bisected is not free, though HEAD is detached. */
static void unfinished(UNUSED void **state)
{
	struct repo repo;
	struct worktrees list = {0};

	make_repo(&sandbox_variants[0], &repo);
	git("worktree add -q -b topic ../rebased HEAD~1");
	put("../rebased/a", "3\n");
	git("-C ../rebased commit -q -a -m three");
	git("-C ../rebased branch under");
	put("../rebased/b", "3\n");
	git("-C ../rebased add b");
	git("-C ../rebased commit -q -m four");
	assert_int_not_equal(git_status("-C ../rebased rebase --update-refs main"), 0);
	assert_on(&repo, "refs/heads/topic", "rebased");
	assert_on(&repo, "refs/heads/under", "rebased");
	list_again(&repo, &list);
	assert_null(named(&list, "rebased")->branch);
	git("-C ../rebased rebase --abort");
	assert_int_not_equal(git_status("-C ../rebased rebase --apply main"), 0);
	assert_on(&repo, "refs/heads/topic", "rebased");
	git("-C ../rebased rebase --abort");

	git("worktree add -q -b searched ../bisected");
	git("-C ../bisected bisect start");
	git("-C ../bisected bisect bad");
	git("-C ../bisected bisect good main~1");
	git("-C ../bisected checkout -q --detach");
	assert_on(&repo, "refs/heads/searched", "bisected");
	worktrees_release(&list);
	repo_close(&repo);
}

/* What is broken is listed without a path, and read through no symlink. */
static void broken(UNUSED void **state)
{
	struct repo repo;
	struct worktrees list = {0};
	struct fail fail = FAIL_INIT;

	make_repo(&sandbox_variants[0], &repo);
	git("worktree add -q --detach ../whole");
	assert_int_equal(mkdir(".git/worktrees/empty", 0777), 0);
	put(".git/worktrees/file", "");
	assert_int_equal(symlink("whole", ".git/worktrees/link"), 0);
	assert_int_equal(mkdir(".git/worktrees/planted", 0777), 0);
	put("../elsewhere", "/etc/.git\n");
	assert_int_equal(symlink("../../../../elsewhere", ".git/worktrees/planted/gitdir"), 0);
	assert_int_equal(symlink("/nowhere", ".git/worktrees/planted/locked"), 0);
	list_again(&repo, &list);
	assert_int_equal(list.count, 6);
	assert_non_null(named(&list, "whole")->path);
	assert_null(named(&list, "empty")->path);
	assert_null(named(&list, "file")->path);
	assert_null(named(&list, "link")->path);
	assert_null(named(&list, "planted")->path);
	assert_string_equal(named(&list, "planted")->locked, "");

	assert_int_equal(worktree_open_admin(&repo, "none", &fail), FAIL_GONE);
	fail_clear(&fail);
	assert_int_equal(worktree_open_admin(&repo, "../objects", &fail), FAIL_GONE);
	fail_clear(&fail);
	assert_int_equal(worktree_open_admin(&repo, "link", &fail), FAIL_CORRUPT);
	fail_clear(&fail);
	assert_true(worktree_open_admin(&repo, "whole", &fail) >= 0);
	worktrees_release(&list);
	repo_close(&repo);
}

/* The path that git would show, also when gitdir is relative to the admin directory. */
static void relative(UNUSED void **state)
{
	struct repo repo;
	struct worktrees list = {0};
	char *want;

	make_repo(&sandbox_variants[0], &repo);
	git("worktree add -q --detach ../near");
	list_again(&repo, &list);
	want = strdup(named(&list, "near")->path);
	put(".git/worktrees/near/gitdir", "../../../../near/.git\n");
	list_again(&repo, &list);
	assert_string_equal(named(&list, "near")->path, want);
	put(".git/worktrees/near/gitdir", "./../../..//../near/.git");
	list_again(&repo, &list);
	assert_string_equal(named(&list, "near")->path, want);
	put(".git/worktrees/near/gitdir", "../../../../../../../../../../near/.git");
	list_again(&repo, &list);
	assert_string_equal(named(&list, "near")->path, "/near");
	free(want);
	worktrees_release(&list);
	repo_close(&repo);
}

/* Every variable that this git calls local is one that we clear. */
static void local_variables(UNUSED void **state)
{
	struct bytes out = BYTES_INIT;
	struct argv env = ARGV_INIT;
	char *save = NULL;

	setenv("GIT_CONFIG_KEY_0", "a.b", 1);
	worktree_forget_env(&env);
	unsetenv("GIT_CONFIG_KEY_0");
	git_feed("rev-parse --local-env-vars", NULL, 0, &out);
	bytes_adds(&out, "GIT_CONFIG_KEY_0\n");
	for (char *name = strtok_r(out.data, "\n", &save); name;
	     name = strtok_r(NULL, "\n", &save)) {
		bool found = false;

		for (size_t i = 0; i < env.count && !found; i++)
			found = !strcmp(env.items[i], name);
		if (!found)
			fail_msg("%s is not cleared", name);
	}
	argv_release(&env);
	bytes_release(&out);
}

static void entering(UNUSED void **state)
{
	static const char *const set[] = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE",
					  "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"};
	struct repo repo, linked;
	struct fail fail = FAIL_INIT;
	int dir;

	make_repo(&sandbox_variants[0], &repo);
	git("worktree add -q -b topic ../entered");
	dir = open("../entered", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	assert_int_equal(rename("../entered", "../moved"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		setenv(set[i], "/nonexistent", 1);
	setenv("GIT_CONFIG_COUNT", "1", 1);
	setenv("GIT_CONFIG_KEY_0", "core.worktree", 1);
	setenv("GIT_CONFIG_VALUE_0", "/nonexistent", 1);
	assert_ok(worktree_enter(dir, &linked, &fail), fail);
	assert_string_equal(linked.worktree_id, "entered");
	assert_string_equal(linked.prefix, "");
	assert_string_equal(strrchr(linked.work_tree, '/'), "/moved");
	assert_string_equal(linked.common_dir, repo.common_dir);
	assert_null(getenv("GIT_CONFIG_VALUE_0"));
	close(dir);
	repo_close(&linked);
	repo_close(&repo);
}

/* reftable keeps HEAD where only git can read it. */
static void reftable(UNUSED void **state)
{
	struct repo repo;
	struct fail fail = FAIL_INIT;
	struct worktrees list = {0};

	assert_int_equal(chdir(sandbox_dir), 0);
	if (git_status("init -q -b main --ref-format=reftable tables") != 0)
		return; /* `make check TEST_GIT=<dir>` runs it */
	assert_int_equal(chdir("tables"), 0);
	identity();
	git("commit -q --allow-empty -m one");
	git("worktree add -q --detach ../rt-a");
	git("worktree add -q -b topic ../rt-b");
	git("worktree add -q --orphan -b unborn ../rt-c");
	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	assert_true(repo.refs_by_git);
	assert_as_git_says(&repo);
	assert_on(&repo, "refs/heads/topic", "rt-b");
	assert_on(&repo, "refs/heads/unborn", "rt-c");
	/* Two that say they are in one place: git's listing does not tell them apart. */
	put(".git/worktrees/rt-a/gitdir", "/nonexistent/.git\n");
	put(".git/worktrees/rt-b/gitdir", "/nonexistent/.git\n");
	list_again(&repo, &list);
	assert_null(named(&list, "rt-a")->branch);
	assert_string_equal(named(&list, "rt-b")->branch, "refs/heads/topic");
	worktrees_release(&list);
	repo_close(&repo);
}

static int set_up(UNUSED void **state)
{
	sandbox_enter();
	return 0;
}

static int tear_down(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listing_in_each),
		cmocka_unit_test(from_a_linked_one),
		cmocka_unit_test(bare),
		cmocka_unit_test(unfinished),
		cmocka_unit_test(broken),
		cmocka_unit_test(relative),
		cmocka_unit_test(local_variables),
		cmocka_unit_test(entering),
		cmocka_unit_test(reftable),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
