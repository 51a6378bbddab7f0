/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* What would be lost in a slot: found, saved, restorable (C1, C2, C3, H5, H8, D10). */
#include "slotbox.h"

#include "restore.h"

#include <errno.h>

static char *admin_dir(const struct box *box)
{
	return mem_printf("%s/worktrees/pool-1", box->repo.common_dir);
}

/* ---- nothing to rescue ------------------------------------------------------------------- */

static void clean(const struct variant *v)
{
	struct box box;

	box_make(&box, v, "--detach");
	put(box.slot.path, "cache.o", "built\n");
	box_rescue(&box, NULL);
	assert_false(box.found.needed);
	assert_int_equal(box.found.changed, 0);
	assert_int_equal(box.found.commits, 0);
	assert_oid_equal(&box.found.head, &box.base);
	assert_int_equal(box.found.clean, v->engine == ENGINE_NATIVE);
	assert_git(box.main, "for-each-ref refs/rescue", "");
	box_free(&box);
}

static void test_clean_slot_needs_no_rescue(void **state)
{
	(void)state;
	each_variant(clean);
}

/* ---- H5: dirty ------------------------------------------------------------------------------ */

static void dirty(const struct variant *v)
{
	struct box box;
	char *index;

	box_make(&box, v, "--detach");
	put(box.slot.path, "a", "staged\n");
	git_in(box.slot.path, "add a");
	put(box.slot.path, "a", "unstaged\n");
	put(box.slot.path, "new/untracked", "untracked\n");
	put(box.slot.path, "-odd\tname", "odd\n");
	put(box.slot.path, "x.o", "ignored\n");
	git_in(box.slot.path, "rm -q dir/b");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_int_equal(box.found.changed, 4);
	assert_null(box.found.operation);
	assert_rescued(&box, "a", "unstaged\n");
	assert_rescued(&box, "new/untracked", "untracked\n");
	assert_int_not_equal(git_any(box.main, "cat-file -e " BOX_REF ":x.o", NULL), 0);
	assert_int_not_equal(git_any(box.main, "cat-file -e " BOX_REF ":dir/b", NULL), 0);
	index = git_says(box.main,
			 "log -1 --format=%(trailers:key=Shadow-Index,valueonly) " BOX_REF);
	assert_true(strlen(index) > 0);
	free(index);
	/* A second look saves nothing more. */
	{
		struct oid one = box.found.commit;

		box_rescue(&box, NULL);
		assert_true(box.found.needed);
		assert_oid_equal(&one, &box.found.commit);
	}
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_text(box.slot.path, "a", "second\n");
	assert_text(box.slot.path, "x.o", "ignored\n");
	assert_false(there(box.slot.path, "new"));
	assert_git(box.main, "fsck --strict --no-dangling", "");
	box_free(&box);
}

static void test_H5_dirty_files_are_rescued(void **state)
{
	(void)state;
	each_variant(dirty);
}

/* The rescue of a slot comes back in the main worktree, because its ref is given in full. */
static void restored(const struct variant *v)
{
	struct box box;
	struct fail fail = FAIL_INIT;
	struct restore restore;
	struct repo repo;
	const struct restore_options options = {.checkpoint = BOX_REF};

	box_make(&box, v, "--detach");
	put(box.slot.path, "a", "mine\n");
	put(box.slot.path, "untracked", "untracked\n");
	box_rescue(&box, NULL);
	assert_int_equal(chdir(box.main), 0);
	assert_ok(repo_open(&repo, REPO_WORK_TREE, &fail), fail);
	assert_ok(restore_prepare(&repo, &options, &restore, &fail), fail);
	assert_ok(restore_act(&restore, &fail), fail);
	restore_release(&restore);
	repo_close(&repo);
	assert_text(box.main, "a", "mine\n");
	assert_text(box.main, "untracked", "untracked\n");
	box_free(&box);
}

static void test_rescue_is_restored_elsewhere(void **state)
{
	(void)state;
	each_variant(restored);
}

/* ---- commits ----------------------------------------------------------------------------------
 */

static void commits(const struct variant *v)
{
	struct box box;
	struct oid tip;

	box_make(&box, v, "--detach");
	put(box.slot.path, "a", "one\n");
	commit_all(box.slot.path, "one");
	put(box.slot.path, "a", "two\n");
	commit_all(box.slot.path, "two");
	tip = git_oid_in(&box, box.slot.path, "HEAD");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_int_equal(box.found.commits, 2);
	assert_int_equal(box.found.changed, 0);
	assert_oid_equal(&box.found.head, &tip);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	/* Still reached, by the rescue alone. */
	git_in(box.main, "reflog expire --expire=now --all");
	git_in(box.slot.path, "reflog expire --expire=now --all");
	git_in(box.main, "gc -q --prune=now");
	assert_git(box.main, "log -1 --format=%s " BOX_REF "^2", "two");
	box_free(&box);
}

static void test_H5_commits_of_a_detached_HEAD(void **state)
{
	(void)state;
	each_variant(commits);
}

static void on_branch(const struct variant *v)
{
	struct box box;
	struct oid tip;

	box_make(&box, v, "-b topic");
	put(box.slot.path, "a", "one\n");
	commit_all(box.slot.path, "one");
	tip = git_oid_in(&box, box.slot.path, "HEAD");
	box_rescue(&box, NULL);
	assert_false(box.found.needed);
	box_rescue(&box, "refs/heads/topic");
	assert_true(box.found.needed);
	assert_int_equal(box.found.commits, 1);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	/* The branch was left where it is. */
	{
		struct oid now = git_oid_in(&box, box.main, "refs/heads/topic");

		assert_oid_equal(&now, &tip);
	}
	box_free(&box);

	/* The branch is to go, but HEAD is elsewhere. */
	box_make(&box, v, "-b topic");
	put(box.slot.path, "a", "one\n");
	commit_all(box.slot.path, "one");
	tip = git_oid_in(&box, box.slot.path, "HEAD");
	git_in(box.slot.path, "checkout -q --detach HEAD~1");
	box_rescue(&box, "refs/heads/topic");
	assert_int_equal(box.found.commits, 1);
	box_tidy(&box, &box.base, false);
	git_in(box.main, "branch -q -D topic");
	git_in(box.slot.path, "reflog expire --expire=now --all");
	git_in(box.main, "gc -q --prune=now");
	{
		char hex[OID_HEX_MAX + 1];
		char *line = mem_printf("merge-base --is-ancestor %s " BOX_REF, oid_hex(&tip, hex));

		git_in(box.main, line);
		free(line);
	}
	box_free(&box);
}

static void test_commits_of_a_doomed_branch(void **state)
{
	(void)state;
	each_variant(on_branch);
}

/* C14: the branch is deleted under the slot; its commits are in HEAD's own log. */
static void branch_gone(const struct variant *v)
{
	struct box box;
	struct oid tip;

	/* There, HEAD's log cannot be read any more when its branch is gone. */
	if (with_reftable())
		return;
	box_make(&box, v, "-b topic");
	put(box.slot.path, "a", "one\n");
	commit_all(box.slot.path, "one");
	tip = git_oid_in(&box, box.slot.path, "HEAD");
	git_in(box.main, "update-ref -d refs/heads/topic");
	box_rescue(&box, NULL);
	assert_int_equal(box.found.commits, 1);
	assert_int_equal(box.found.changed, 0);
	assert_oid_equal(&box.found.head, &tip);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	box_free(&box);
}

static void test_C14_branch_deleted_under_the_slot(void **state)
{
	(void)state;
	each_variant(branch_gone);
}

/* ---- C2: unfinished operations
 * ------------------------------------------------------------------- */

/* Two branches that differ in `a`. */
static void make_conflict(struct box *box)
{
	git_in(box->slot.path, "checkout -q -b side");
	put(box->slot.path, "a", "side\n");
	commit_all(box->slot.path, "side");
	put(box->slot.path, "a", "side again\n");
	commit_all(box->slot.path, "again");
	git_in(box->slot.path, "checkout -q --detach HEAD~2");
	put(box->slot.path, "a", "here\n");
	commit_all(box->slot.path, "here");
}

struct unfinished {
	const char *name, *command, *file;
	bool conflict;
};

static const struct unfinished unfinished[] = {
	{"merge", "merge -q side", "MERGE_HEAD", true},
	{"rebase", "rebase -q --merge side", "rebase-merge/orig-head", true},
	{"rebase", "rebase -q --apply side", "rebase-apply/orig-head", true},
	{"rebase", "rebase -q -i --autosquash -x false HEAD~1", "rebase-merge/done", false},
	{"cherry-pick", "cherry-pick side", "CHERRY_PICK_HEAD", true},
	{"cherry-pick", "cherry-pick side~2..side", "sequencer/todo", true},
	{"revert", "revert --no-edit side~1", "REVERT_HEAD", true},
	{"am", "am -q ../../mail", "rebase-apply/applying", false},
	{"bisect", "bisect start HEAD HEAD~1", "BISECT_LOG", false},
};

static void operation(const struct variant *v, const struct unfinished *u)
{
	struct box box;
	char *admin, *commit, *line;

	box_make(&box, v, "--detach");
	admin = admin_dir(&box);
	make_conflict(&box);
	put(box.slot.path, "untracked", "untracked\n");
	if (!strcmp(u->name, "am")) {
		char *mail = git_says(box.slot.path, "format-patch --stdout side~1..side");

		put(sandbox_dir, "mail", mail);
		free(mail);
	}
	if (!strcmp(u->name, "bisect")) {
		git_in(box.slot.path, "checkout -q --detach side");
		line = mem_strdup("bisect start HEAD HEAD~3");
	} else {
		line = mem_strdup(u->command);
	}
	git_any(box.slot.path, line, NULL);
	free(line);
	if (!there(admin, u->file) && !with_reftable())
		fail_msg("%s: no '%s'", u->command, u->file);
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_string_equal(box.found.operation, u->name);
	commit = box_operation(&box);
	line = mem_printf("cat-file -e %s:%s", commit, u->file);
	git_in(box.main, line);
	free(line);
	if (u->conflict) {
		char *at = mem_printf("cat-file blob %s:stages/2/a", commit);

		/* Each side as it was staged, and the raw index. */
		git_in(box.main, at);
		free(at);
		at = mem_printf("cat-file -e %s:index", commit);
		git_in(box.main, at);
		free(at);
	}
	/* It is one of the rescue's parents. */
	line = mem_printf("merge-base --is-ancestor %s " BOX_REF, commit);
	git_in(box.main, line);
	free(line);
	free(commit);
	assert_rescued(&box, "untracked", "untracked\n");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	/* What only the operation knew is kept: the side branch goes, and everything unreached. */
	git_any(box.main, "branch -q -D side", NULL);
	git_in(box.slot.path, "reflog expire --expire=now --all");
	git_in(box.main, "gc -q --prune=now");
	assert_git(box.main, "fsck --strict --no-dangling", "");
	/* Nothing is left to rescue. */
	box_rescue(&box, NULL);
	assert_true(box.found.commits == 0);
	free(admin);
	box_free(&box);
}

static void operations(const struct variant *v)
{
	/* The two ways to SHA-1 differ in nothing that matters here. */
	for (size_t i = 0; i < ARRAY_SIZE(unfinished); i++)
		if (v != &sandbox_variants[1] || i == 0 || i + 1 == ARRAY_SIZE(unfinished))
			operation(v, &unfinished[i]);
}

static void test_C2_unfinished_operations(void **state)
{
	(void)state;
	each_variant(operations);
}

/* An autostash is reached by nothing but a file. */
static void test_C2_autostash_is_kept(void **state)
{
	struct box box;
	char *admin, *stash, *line;

	(void)state;
	box_make(&box, any_variant(), "--detach");
	admin = admin_dir(&box);
	make_conflict(&box);
	put(box.slot.path, "run.sh", "stashed\n");
	git_any(box.slot.path, "rebase -q --autostash side", NULL);
	stash = get(admin, "rebase-merge/autostash");
	assert_non_null(stash);
	stash[strcspn(stash, "\n")] = '\0';
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	git_in(box.slot.path, "reflog expire --expire=now --all");
	git_in(box.main, "gc -q --prune=now");
	line = mem_printf("cat-file blob %s:run.sh", stash);
	assert_git(box.main, line, "stashed");
	free(line);
	free(stash);
	free(admin);
	box_free(&box);
}

/* ---- C1: what git was told not to look at
 * ------------------------------------------------------------ */

static void hidden(const struct variant *v)
{
	struct box box;

	box_make(&box, v, "--detach");
	git_in(box.slot.path, "update-index --skip-worktree a");
	git_in(box.slot.path, "update-index --assume-unchanged dir/b");
	put(box.slot.path, "a", "hidden\n");
	put(box.slot.path, "dir/b", "hidden too\n");
	assert_git(box.slot.path, "status --porcelain", "");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_rescued(&box, "a", "hidden\n");
	assert_rescued(&box, "dir/b", "hidden too\n");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_text(box.slot.path, "a", "second\n");
	assert_text(box.slot.path, "dir/b", "b\n");
	box_free(&box);
}

static void test_C1_skip_worktree_and_assume_unchanged(void **state)
{
	(void)state;
	each_variant(hidden);
}

/* A split index and a forged one of no entries. */
static void odd_index(const struct variant *v)
{
	struct box box;
	char *admin, *commit, *line;

	box_make(&box, v, "--detach");
	admin = admin_dir(&box);
	git_in(box.slot.path, "update-index --split-index");
	git_in(box.slot.path, "update-index --skip-worktree a");
	put(box.slot.path, "a", "hidden\n");
	box_rescue(&box, NULL);
	assert_rescued(&box, "a", "hidden\n");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);

	put(admin, "index", "DIRCgarbage");
	put(box.slot.path, "a", "dirty\n");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_rescued(&box, "a", "dirty\n");
	commit = box_operation(&box);
	line = mem_printf("cat-file blob %s:found/index", commit);
	assert_git(box.main, line, "DIRCgarbage");
	free(line);
	free(commit);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);

	line = mem_printf("%s/index", admin);
	assert_int_equal(unlink(line), 0);
	free(line);
	put(box.slot.path, "dir/b", "dirty\n");
	box_rescue(&box, NULL);
	assert_int_equal(box.found.changed, 1);
	assert_rescued(&box, "dir/b", "dirty\n");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);

	git_in(box.slot.path, "read-tree --empty");
	box_rescue(&box, NULL);
	assert_int_equal(box.found.changed, 0);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	free(admin);
	box_free(&box);
}

static void test_C10_damaged_missing_and_split_index(void **state)
{
	(void)state;
	each_variant(odd_index);
}

/* ---- what a checkpoint cannot hold
 * ----------------------------------------------------------------------- */

static char *aside(const struct box *box, const char *name)
{
	return mem_printf("%s/interlock/aside/" BOX_LEASE "/%s", box->repo.common_dir, name);
}

static void nested(const struct variant *v)
{
	struct box box;
	char *dir, *trailer;

	box_make(&box, v, "--detach");
	dir = mem_printf("init -q %s/sub/clone", box.slot.path);
	git_in(box.main, dir);
	free(dir);
	put(box.slot.path, "sub/clone/work", "work\n");
	dir = mem_printf("init -q %s/ignored.o", box.slot.path);
	git_in(box.main, dir);
	free(dir);
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_int_equal(box.found.aside.count, 1);
	dir = aside(&box, "sub%2Fclone");
	assert_text(dir, "work", "work\n");
	assert_true(there(dir, ".git/HEAD"));
	free(dir);
	assert_true(there(box.slot.path, "ignored.o/.git"));
	trailer = git_says(box.main,
			   "log -1 --format=%(trailers:key=Shadow-Aside,valueonly) " BOX_REF);
	assert_string_equal(trailer, "interlock/aside/" BOX_LEASE "/sub%2Fclone");
	free(trailer);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	box_free(&box);
}

static void test_C2_nested_repositories_are_set_aside(void **state)
{
	(void)state;
	each_variant(nested);
}

/* Repositories of submodules are reached by path here. */
static void allow_file_protocol(void)
{
	setenv("GIT_CONFIG_COUNT", "1", 1);
	setenv("GIT_CONFIG_KEY_0", "protocol.file.allow", 1);
	setenv("GIT_CONFIG_VALUE_0", "always", 1);
}

/* main gets a submodule "sub", and the slot has it populated. */
static void box_make_submodule(struct box *box, const struct variant *v)
{
	char *line, *lib = NULL;

	box_make(box, v, "--detach");
	lib = mem_printf("%s/lib", sandbox_dir);
	line = mem_printf("init -q %s %s", v->algo == HASH_SHA256 ? "--object-format=sha256" : "",
			  lib);
	git_in(box->main, line);
	free(line);
	put(lib, "l", "one\n");
	commit_all(lib, "l1");
	put(lib, "l", "two\n");
	commit_all(lib, "l2");
	allow_file_protocol();
	line = mem_printf("submodule --quiet add %s sub", lib);
	git_in(box->main, line);
	free(line);
	commit_all(box->main, "submodule");
	box->base = git_oid_in(box, box->main, "HEAD");
	git_in(box->slot.path, "checkout -q --detach master");
	git_in(box->slot.path, "submodule --quiet update --init");
	unsetenv("GIT_CONFIG_COUNT");
	free(lib);
}

static void submodules(const struct variant *v)
{
	struct box box;
	char *sub, *dir, *line;

	/* Nothing of its own: it stays. */
	box_make_submodule(&box, v);
	sub = mem_printf("%s/sub", box.slot.path);
	put(box.slot.path, "a", "dirty\n");
	box_rescue(&box, NULL);
	assert_int_equal(box.found.aside.count, 0);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_text(sub, "l", "two\n");

	/* On another commit that its remote has: brought back. */
	git_in(sub, "checkout -q --detach HEAD~1");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_text(sub, "l", "two\n");

	/* A commit of its own: set aside with its repository. */
	put(sub, "l", "mine\n");
	commit_all(sub, "mine");
	box_rescue(&box, NULL);
	assert_int_equal(box.found.aside.count, 1);
	dir = aside(&box, "sub");
	assert_text(dir, "l", "mine\n");
	assert_git(dir, "log -1 --format=%s", "mine");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	/* And the slot can have it anew. */
	allow_file_protocol();
	git_in(box.slot.path, "submodule --quiet update --init");
	unsetenv("GIT_CONFIG_COUNT");
	assert_text(sub, "l", "two\n");

	/* Only a changed file. */
	put(sub, "l", "dirty\n");
	box_rescue(&box, NULL);
	free(dir);
	dir = aside(&box, "sub~2");
	assert_text(dir, "l", "dirty\n");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);

	/* Settings that would run a program: nobody asks git there. */
	allow_file_protocol();
	git_in(box.slot.path, "submodule --quiet update --init");
	unsetenv("GIT_CONFIG_COUNT");
	line = mem_printf("config filter.x.clean \"touch\t%s/pwned\"", sandbox_dir);
	git_any(sub, line, NULL);
	free(line);
	line = mem_printf("%s/.git/worktrees/pool-1/modules/sub/config", box.main);
	{
		struct bytes text = BYTES_INIT;
		char *old = get("", line);

		bytes_addf(&text, "%s[filter \"x\"]\n\tclean = touch %s/pwned; cat\n", old,
			   sandbox_dir);
		put("", line, text.data);
		free(old);
		bytes_release(&text);
	}
	free(line);
	put(sub, ".gitattributes", "* filter=x\n");
	put(sub, "l", "new\n");
	box_rescue(&box, NULL);
	assert_false(there(sandbox_dir, "pwned"));
	box_tidy(&box, &box.base, false);
	assert_false(there(sandbox_dir, "pwned"));
	assert_tidy(&box, &box.base);
	free(dir);
	free(sub);
	box_free(&box);
}

static void test_submodules_with_work_are_set_aside(void **state)
{
	(void)state;
	each_variant(submodules);
}

/* A required filter that fails: the file itself is kept. */
static void unrecordable(const struct variant *v)
{
	struct box box;
	char *dir;
	struct stat st;

	box_make(&box, v, "--detach");
	git_in(box.main, "config filter.broken.clean false");
	git_in(box.main, "config filter.broken.required true");
	put(box.slot.path, ".gitattributes", "*.secret filter=broken\n");
	put(box.slot.path, "x.secret", "the only copy\n");
	dir = mem_printf("%s/fifo", box.slot.path);
	assert_int_equal(mkfifo(dir, 0666), 0);
	free(dir);
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	dir = aside(&box, "x.secret");
	assert_int_equal(stat(dir, &st), 0);
	free(dir);
	assert_int_equal(box.found.aside.count, 1);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_false(there(box.slot.path, "fifo"));
	box_free(&box);
}

static void test_D13_what_cannot_be_recorded_is_set_aside(void **state)
{
	(void)state;
	each_variant(unrecordable);
}

/* ---- H8
 * --------------------------------------------------------------------------------------------- */

static void noise(const struct variant *v)
{
	struct box box;

	box_make(&box, v, "--detach");
	git_in(box.main, "config interlock.noise /.agent/");
	git_in(box.main, "config --add interlock.noise *.session.json");
	put(box.slot.path, ".agent/settings/local.json", "{}\n");
	put(box.slot.path, "dir/x.session.json", "{}\n");
	box_rescue(&box, NULL);
	assert_false(box.found.needed);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	/* With work beside it, it is in the rescue like the rest. */
	put(box.slot.path, ".agent/settings/local.json", "{}\n");
	put(box.slot.path, "work", "work\n");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_rescued(&box, ".agent/settings/local.json", "{}\n");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	/* The variable has the whole list. */
	setenv("GIT_INTERLOCK_NOISE", "work\nnothing", 1);
	put(box.slot.path, "work", "work\n");
	box_rescue(&box, NULL);
	assert_false(box.found.needed);
	put(box.slot.path, "dir/x.session.json", "{}\n");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	unsetenv("GIT_INTERLOCK_NOISE");
	box_free(&box);
}

static void test_H8_noise_does_not_count(void **state)
{
	(void)state;
	each_variant(noise);
}

/* ---- a failure leaves the slot as it is
 * --------------------------------------------------------------------- */

static void test_failed_rescue_changes_nothing(void **state)
{
	struct box box;
	struct fail fail = FAIL_INIT;
	char *lock, *before, *after;

	(void)state;
	if (with_reftable()) /* whose lock is another one */
		skip();
	box_make(&box, any_variant(), "--detach");
	put(box.slot.path, "a", "dirty\n");
	put(box.slot.path, "new", "new\n");
	lock = mem_printf("%s/" BOX_REF ".lock", box.repo.common_dir);
	put("", lock, "");
	setenv("GIT_INTERLOCK_LOCK_TIMEOUT", "0", 1);
	before = git_says(box.slot.path, "status --porcelain");
	assert_int_equal(box_try_rescue(&box, NULL, &fail), FAIL_BUSY);
	after = git_says(box.slot.path, "status --porcelain");
	unsetenv("GIT_INTERLOCK_LOCK_TIMEOUT");
	assert_string_equal(before, after);
	assert_text(box.slot.path, "a", "dirty\n");
	assert_text(box.slot.path, "new", "new\n");
	assert_int_equal(unlink(lock), 0);
	box_rescue(&box, NULL);
	free(before);
	free(after);
	free(lock);
	box_free(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean_slot_needs_no_rescue),
		cmocka_unit_test(test_H5_dirty_files_are_rescued),
		cmocka_unit_test(test_rescue_is_restored_elsewhere),
		cmocka_unit_test(test_H5_commits_of_a_detached_HEAD),
		cmocka_unit_test(test_commits_of_a_doomed_branch),
		cmocka_unit_test(test_C14_branch_deleted_under_the_slot),
		cmocka_unit_test(test_C2_unfinished_operations),
		cmocka_unit_test(test_C2_autostash_is_kept),
		cmocka_unit_test(test_C1_skip_worktree_and_assume_unchanged),
		cmocka_unit_test(test_C10_damaged_missing_and_split_index),
		cmocka_unit_test(test_C2_nested_repositories_are_set_aside),
		cmocka_unit_test(test_submodules_with_work_are_set_aside),
		cmocka_unit_test(test_D13_what_cannot_be_recorded_is_set_aside),
		cmocka_unit_test(test_H8_noise_does_not_count),
		cmocka_unit_test(test_failed_rescue_changes_nothing),
	};

	if (getenv("ONLY"))
		cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
