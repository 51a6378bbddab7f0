/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* A slot brought back to what a claim promises (C1, C2, C3, H7, H9), also through kills (C6). */
#include "slotbox.h"

#include <errno.h>

static char *admin_dir(const struct box *box)
{
	return mem_printf("%s/worktrees/pool-1", box->repo.common_dir);
}

static char *program; /* this one */

/* ---- C1: settings --------------------------------------------------------------------- */

/* Everything by which a slot could make whoever reaps it run a program of its choice. */
static void hostile(const struct variant *v)
{
	struct box box;
	struct fail fail = FAIL_INIT;
	struct bytes config = BYTES_INIT, changed = BYTES_INIT;
	char *admin, *evil, *commit, *line;

	box_make(&box, v, "--detach");
	admin = admin_dir(&box);
	git_in(box.main, "config extensions.worktreeConfig true");
	evil = mem_printf("%s/evil", sandbox_dir);
	put("", evil, "#!/bin/sh\ntouch \"$(dirname \"$0\")/pwned\"\ncat\n");
	assert_int_equal(chmod(evil, 0755), 0);
	line = mem_printf("%s/hooks/post-checkout", sandbox_dir);
	put("", line, "#!/bin/sh\ntouch \"$(dirname \"$0\")/../pwned\"\n");
	assert_int_equal(chmod(line, 0755), 0);
	free(line);
	line = mem_printf("%s/included", sandbox_dir);
	bytes_addf(&config, "[core]\n\tfsmonitor = %s\n", evil);
	put("", line, config.data);
	bytes_clear(&config);
	bytes_addf(&config,
		   "[core]\n\thooksPath = %s/hooks\n\tworktree = %s\n"
		   "[include]\n\tpath = %s\n"
		   "[filter \"x\"]\n\tclean = %s\n\tsmudge = %s\n",
		   sandbox_dir, sandbox_dir, line, evil, evil);
	put(admin, "config.worktree", config.data);
	free(line);
	put(box.slot.path, ".gitattributes", "* filter=x\n");
	put(box.slot.path, "a", "dirty\n");

	assert_ok(tidy_settings(&box.slot, &changed, &fail), fail);
	assert_string_equal(changed.data, config.data);
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_rescued(&box, "a", "dirty\n");
	commit = box_operation(&box);
	line = mem_printf("cat-file -e %s:found/config.worktree", commit);
	git_in(box.main, line);
	free(line);
	box_tidy(&box, &box.base, false);
	assert_false(there(sandbox_dir, "pwned"));
	assert_false(there(admin, "config.worktree"));
	assert_tidy(&box, &box.base);
	assert_false(there(sandbox_dir, "pwned"));

	/* What was there at birth is there again. */
	box.slot.birth.config = mem_strdup("[user]\n\tname = Born\n");
	put(admin, "config.worktree", "[user]\n\tname = Other\n");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_text(admin, "config.worktree", "[user]\n\tname = Born\n");
	box_rescue(&box, NULL);
	assert_false(box.found.needed);
	free(commit);
	free(evil);
	free(admin);
	bytes_release(&config);
	bytes_release(&changed);
	box_free(&box);
}

static void test_C1_settings_of_the_slot(void **state)
{
	(void)state;
	each_variant(hostile);
}

/* The way from the slot to its repository leads elsewhere. */
static void led_astray(const struct variant *v)
{
	struct box box;
	char *admin, *line, *aside;

	box_make(&box, v, "--detach");
	admin = admin_dir(&box);
	line = mem_printf("%s/.git", box.slot.path);
	assert_int_equal(unlink(line), 0);
	free(line);
	line = mem_printf("init -q %s", box.slot.path);
	git_in(sandbox_dir, line);
	free(line);
	put(box.slot.path, "a", "dirty\n");
	commit_all(box.slot.path, "elsewhere");
	put(admin, "commondir", box.slot.path);
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_rescued(&box, "a", "dirty\n");
	aside = mem_printf("%s/interlock/aside/" BOX_LEASE "/.git", box.repo.common_dir);
	assert_git(aside, "log -1 --format=%s", "elsewhere");
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	free(aside);
	free(admin);
	box_free(&box);
}

static void test_dot_git_and_commondir_are_put_back(void **state)
{
	(void)state;
	each_variant(led_astray);
}

/* ---- C3, H7 ------------------------------------------------------------------------------ */

static void stale(const struct variant *v)
{
	struct box box;
	char *admin;

	box_make(&box, v, "-b leftover");
	admin = admin_dir(&box);
	put(admin, "index.lock", "");
	put(admin, "HEAD.lock", "");
	put(admin, "config.worktree.lock", "");
	put(admin, "logs/HEAD.lock", "");
	put(admin, "refs/bisect/bad.lock", "");
	put(box.slot.path, "a", "dirty\n");
	put(box.slot.path, "deep/er/untracked", "x\n");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_false(there(admin, "HEAD.lock"));
	assert_false(there(box.slot.path, "deep"));
	assert_git(box.main, "rev-parse --verify --quiet refs/heads/leftover",
		   box.slot.record.base);
	free(admin);
	box_free(&box);
}

static void test_C3_dirty_slot_on_a_branch_with_stale_locks(void **state)
{
	(void)state;
	each_variant(stale);
}

/* ---- HEAD ------------------------------------------------------------------------------------ */

static void broken_head(const struct variant *v)
{
	struct box box;
	struct oid tip;
	char *admin, *head;

	box_make(&box, v, "--detach");
	admin = admin_dir(&box);
	put(box.slot.path, "a", "one\n");
	commit_all(box.slot.path, "one");
	tip = git_oid_in(&box, box.slot.path, "HEAD");
	put(admin, "HEAD", "");
	box_rescue(&box, NULL);
	assert_oid_equal(&box.found.head, &tip);
	assert_int_equal(box.found.commits, 1);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);

	head = mem_printf("%s/HEAD", admin);
	assert_int_equal(unlink(head), 0);
	box_rescue(&box, NULL);
	assert_false(box.found.needed);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);

	/* Neither HEAD nor its log: the record knows the base. */
	put(admin, "HEAD", "ref: nonsense\n");
	free(head);
	head = mem_printf("%s/logs/HEAD", admin);
	unlink(head);
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	free(head);
	free(admin);
	box_free(&box);
}

static void test_C10_damaged_or_missing_HEAD(void **state)
{
	(void)state;
	each_variant(broken_head);
}

/* ---- the switch
 * ---------------------------------------------------------------------------------- */

static void to_another_base(const struct variant *v)
{
	struct box box;

	box_make(&box, v, "--detach");
	put(box.slot.path, "cache.o", "built\n");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.first, false);
	assert_tidy(&box, &box.first);
	assert_text(box.slot.path, "a", "first\n");
	assert_text(box.slot.path, "cache.o", "built\n");

	/* An ignored file stands where the base has a tracked one. */
	put(box.main, "cache.o", "tracked\n");
	git_in(box.main, "add -f cache.o");
	commit_all(box.main, "third");
	box.base = git_oid_in(&box, box.main, "HEAD");
	box_rescue(&box, NULL);
	assert_false(box.found.needed);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_text(box.slot.path, "cache.o", "tracked\n");

	/* Files and directories that change places. */
	assert_int_equal(git_any(box.slot.path, "rm -q -r dir", NULL), 0);
	put(box.slot.path, "dir", "a file now\n");
	git_in(box.slot.path, "rm -q a");
	put(box.slot.path, "a/b/c", "a directory now\n");
	box_rescue(&box, NULL);
	assert_rescued(&box, "dir", "a file now\n");
	assert_rescued(&box, "a/b/c", "a directory now\n");
	box_tidy(&box, &box.first, false);
	assert_tidy(&box, &box.first);

	/* Taken out of the index, and not in the base. */
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	git_in(box.slot.path, "rm -q --cached cache.o");
	put(box.slot.path, "x.o", "ignored\n");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.first, true);
	assert_tidy(&box, &box.first);
	assert_false(there(box.slot.path, "x.o"));
	box_free(&box);
}

static void test_C1_switch_to_another_base(void **state)
{
	(void)state;
	each_variant(to_another_base);
}

/* What the lease's own rules ignored is untracked under those of the base. */
static void other_rules(const struct variant *v)
{
	struct box box;

	box_make(&box, v, "--detach");
	put(box.slot.path, ".gitignore", "*.o\n*.tmp\n");
	commit_all(box.slot.path, "rules");
	put(box.slot.path, "x.tmp", "hidden by the rules\n");
	put(box.slot.path, "x.o", "ignored by both\n");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	assert_true(box.found.needed);
	assert_rescued(&box, "x.tmp", "hidden by the rules\n");
	assert_text(box.slot.path, "x.o", "ignored by both\n");

	/* The rules are themselves untracked. */
	put(box.slot.path, "dir/.gitignore", "*\n");
	put(box.slot.path, "dir/y", "hidden\n");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	assert_tidy(&box, &box.base);
	if (v->engine == ENGINE_NATIVE)
		assert_false(there(box.slot.path, "dir/.gitignore") &&
			     !there(box.slot.path, "dir/y"));
	box_free(&box);
}

static void test_C1_ignore_rules_that_differ(void **state)
{
	(void)state;
	each_variant(other_rules);
}

static void sparse(const struct variant *v)
{
	struct box box;
	char *admin;

	box_make(&box, v, "--detach");
	admin = admin_dir(&box);
	git_in(box.slot.path, "sparse-checkout set --no-cone /a /.gitignore");
	box.slot.birth.config = get(admin, "config.worktree");
	box.slot.birth.sparse = get(admin, "info/sparse-checkout");
	assert_non_null(box.slot.birth.sparse);
	assert_false(there(box.slot.path, "dir/b"));
	box_rescue(&box, NULL);
	assert_false(box.found.needed);

	/* Work outside of the patterns, other patterns, and a hidden file inside. */
	put(box.slot.path, "dir/b", "outside\n");
	git_in(box.slot.path, "update-index --skip-worktree a");
	put(box.slot.path, "a", "inside\n");
	git_in(box.slot.path, "config --worktree sparse.expectFilesOutsideOfPatterns true");
	put(admin, "info/sparse-checkout", "/run.sh\n");
	box_rescue(&box, NULL);
	assert_true(box.found.needed);
	assert_rescued(&box, "dir/b", "outside\n");
	assert_rescued(&box, "a", "inside\n");
	assert_rescued(&box, "run.sh", "#!/bin/sh\n");
	box_tidy(&box, &box.first, false);
	assert_tidy(&box, &box.first);
	assert_text(box.slot.path, "a", "first\n");
	assert_false(there(box.slot.path, "dir/b"));
	assert_text(admin, "info/sparse-checkout", box.slot.birth.sparse);
	free(admin);
	box_free(&box);
}

static void test_C1_sparse_slot_keeps_its_patterns(void **state)
{
	(void)state;
	each_variant(sparse);
}

static void clean_all(const struct variant *v)
{
	struct box box;

	box_make(&box, v, "--detach");
	put(box.slot.path, "build/x.o", "built\n");
	put(box.slot.path, "keep.o", "built\n");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, true);
	assert_tidy(&box, &box.base);
	assert_false(there(box.slot.path, "build"));
	assert_false(there(box.slot.path, "keep.o"));
	box_free(&box);
}

static void test_C2_clean_all_removes_ignored_files(void **state)
{
	(void)state;
	each_variant(clean_all);
}

/* F5: what is at the slot's path is another directory. */
static void test_F5_another_directory_is_left_alone(void **state)
{
	struct box box;
	struct fail fail = FAIL_INIT;
	char *away;
	struct tidy_options options = {.base = NULL};

	(void)state;
	box_make(&box, any_variant(), "--detach");
	options.base = &box.base;
	options.found = &box.found;
	put(box.slot.path, "untracked", "x\n");
	box_rescue(&box, NULL);
	away = mem_printf("%s/away", sandbox_dir);
	assert_int_equal(rename(box.slot.path, away), 0);
	assert_int_equal(mkdir(box.slot.path, 0777), 0);
	put(box.slot.path, "untracked", "somebody else's\n");
	assert_int_equal(tidy_slot(&box.slot, &box.slot_repo, &options, &fail), FAIL_CORRUPT);
	assert_text(box.slot.path, "untracked", "somebody else's\n");
	free(away);
	box_free(&box);
}

/* ---- H9
 * ------------------------------------------------------------------------------------------- */

static void included(const struct variant *v)
{
	struct box box;
	struct fail fail = FAIL_INIT;
	uint64_t copied;
	char *line;
	struct stat st;

	box_make(&box, v, "--detach");
	assert_ok(tidy_include(&box.slot, &copied, &fail), fail);
	assert_int_equal(copied, 0);
	put(box.main, ".gitignore", "*.o\n.env*\nsecret/\nlinks\n");
	put(box.main, ".worktreeinclude",
	    "# what a build needs\n.env*\n!.env.old\nsecret/\nuntracked\nlinks\na\n");
	git_in(box.main, "add .gitignore");
	git_in(box.main, "commit -q -m rules");
	box.base = git_oid_in(&box, box.main, "HEAD");
	box_rescue(&box, NULL);
	box_tidy(&box, &box.base, false);
	put(box.main, ".env", "KEY=1\n");
	put(box.main, ".env.old", "KEY=0\n");
	put(box.main, "dir/.env.local", "KEY=2\n");
	put(box.main, "secret/deep/key", "key\n");
	put(box.main, "untracked", "not ignored\n");
	put(box.main, "x.o", "not named\n");
	line = mem_printf("%s/.env", box.main);
	assert_int_equal(chmod(line, 0640), 0);
	free(line);
	/* Ways out: a symlink for a file, and one for a directory. */
	line = mem_printf("%s/outside", sandbox_dir);
	assert_int_equal(mkdir(line, 0777), 0);
	put(line, "file", "outside\n");
	assert_int_equal(chdir(box.main), 0);
	assert_int_equal(symlink("../outside/file", ".env.link"), 0);
	assert_int_equal(symlink("../outside", "links"), 0);
	free(line);
	/* The slot has one already, and a symlink where a directory would be. */
	put(box.slot.path, ".env", "mine\n");
	line = mem_printf("%s/secret", box.slot.path);
	assert_int_equal(symlink("../../outside", line), 0);
	assert_ok(tidy_include(&box.slot, &copied, &fail), fail);
	assert_int_equal(copied, 1);
	assert_text(box.slot.path, ".env", "mine\n");
	assert_text(box.slot.path, "dir/.env.local", "KEY=2\n");
	assert_false(there(sandbox_dir, "outside/deep"));
	assert_false(there(box.slot.path, ".env.link"));
	assert_false(there(box.slot.path, "links"));
	assert_false(there(box.slot.path, ".env.old"));
	assert_false(there(box.slot.path, "untracked"));
	assert_false(there(box.slot.path, "x.o"));
	assert_int_equal(unlink(line), 0);
	free(line);
	line = mem_printf("%s/.env", box.slot.path);
	assert_int_equal(unlink(line), 0);
	assert_ok(tidy_include(&box.slot, &copied, &fail), fail);
	assert_int_equal(copied, 2);
	assert_text(box.slot.path, "secret/deep/key", "key\n");
	assert_text(box.slot.path, ".env", "KEY=1\n");
	assert_int_equal(stat(line, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	free(line);
	assert_tidy(&box, &box.base);
	box_free(&box);
}

static void test_H9_worktreeinclude(void **state)
{
	(void)state;
	each_variant(included);
}

/* ---- C6: kills
 * ---------------------------------------------------------------------------------------- */

/* In a process of its own: rescue and clean the slot of the repository `main`. */
static int work(const char *main, const char *slot_path, const char *base_hex, const char *recorded)
{
	struct fail fail = FAIL_INIT;
	struct repo repo, slot_repo;
	struct slot slot = {.repo = &repo,
			    .name = (char *)"pool-1",
			    .id = (char *)"pool-1",
			    .path = (char *)slot_path,
			    .admin = -1,
			    .work = -1};
	struct salvage found = {0};
	struct oid base;
	struct tidy_options options = {.base = &base, .found = &found};
	struct stat st;
	int dir;

	if (stat(slot_path, &st) < 0)
		return 1;
	slot.birth.dev = st.st_dev;
	slot.birth.ino = st.st_ino;
	slot.record.lease = (char *)BOX_LEASE;
	slot.record.base = (char *)recorded;
	if (chdir(main) < 0 || repo_open(&repo, REPO_ANY, &fail) < 0)
		goto failed;
	slot.admin = worktree_open_admin(&repo, "pool-1", &fail);
	if (slot.admin < 0 || !oid_parse(repo.algo, base_hex, strlen(base_hex), &base) ||
	    tidy_settings(&slot, NULL, &fail) < 0)
		goto failed;
	dir = open(slot_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || worktree_enter(dir, &slot_repo, &fail) < 0 ||
	    salvage_slot(&slot, &slot_repo, BOX_LEASE, NULL, &found, &fail) < 0 ||
	    tidy_slot(&slot, &slot_repo, &options, &fail) < 0)
		goto failed;
	return 0;
failed:
	fprintf(stderr, "%s\n", fail.message);
	return 1;
}

/* Runs it under killat with `extra` arguments; returns the status, and the report in `out`. */
static int run_work(struct box *box, unsigned long at, struct bytes *report)
{
	struct spawn cmd = SPAWN_INIT;
	struct fail fail = FAIL_INIT;
	struct bytes out = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	char *slash = strrchr(program, '/');
	char *file = mem_printf("%s/report", sandbox_dir);
	int status;

	argv_pushf(&cmd.argv, "%.*s/../helper/killat", (int)(slash - program), program);
	argv_push_all(&cmd.argv, "-o", file, NULL);
	if (at) {
		argv_push(&cmd.argv, "-n");
		argv_pushf(&cmd.argv, "%lu", at);
	}
	argv_push_all(&cmd.argv, "--", program, "--work", box->main, box->slot.path,
		      oid_hex(&box->base, hex), NULL);
	assert_ok(spawn_capture_any(&cmd, &out, &fail), fail);
	status = cmd.status;
	if (status && status != 137)
		fail_msg("killed at %lu: %s", at, cmd.err.data);
	if (report)
		assert_ok(file_read(AT_FDCWD, file, 1 << 20, report, &fail), fail);
	spawn_release(&cmd);
	bytes_release(&out);
	free(file);
	return status;
}

static void make_work(struct box *box, unsigned long n, char **commit)
{
	char text[64], *line;
	struct oid tip;
	char hex[OID_HEX_MAX + 1];

	snprintf(text, sizeof(text), "work %lu\n", n);
	put(box->slot.path, "dir/c", text);
	git_in(box->slot.path, "add dir/c");
	git_in(box->slot.path, "commit -q -m commit");
	tip = git_oid_in(box, box->slot.path, "HEAD");
	*commit = mem_strdup(oid_hex(&tip, hex));
	put(box->slot.path, "a", text);
	put(box->slot.path, "new/untracked", text);
	git_in(box->slot.path, "update-index --skip-worktree dir/b");
	put(box->slot.path, "dir/b", text);
	git_in(box->slot.path, "update-ref refs/worktree/mine HEAD");
	line = mem_printf("init -q %s/clone-%lu", box->slot.path, n);
	git_in(box->main, line);
	free(line);
	line = mem_printf("clone-%lu/file", n);
	put(box->slot.path, line, text);
	free(line);
}

/* The text is at the path in the slot, or in one of the last checkpoints. */
static bool is_kept(struct box *box, const char *path, const char *text)
{
	char *now = get(box->slot.path, path);
	struct bytes ids = BYTES_INIT;
	bool kept = now && !strcmp(now, text);
	char *save = NULL;

	free(now);
	git_any(box->main, "log --first-parent -n 4 --format=%H " BOX_REF, &ids);
	for (char *id = strtok_r(ids.data, "\n", &save); id && !kept;
	     id = strtok_r(NULL, "\n", &save)) {
		char *line = mem_printf("cat-file blob %s:%s", id, path);
		struct bytes blob = BYTES_INIT;

		kept = git_any(box->main, line, &blob) == 0 && !strcmp(blob.data, text);
		bytes_release(&blob);
		free(line);
	}
	bytes_release(&ids);
	return kept;
}

static void assert_kept(struct box *box, unsigned long n, unsigned long at, const char *commit,
			bool finished)
{
	static const char *const paths[] = {"a", "dir/b", "new/untracked"};
	char text[64], *line, *place, *now;

	snprintf(text, sizeof(text), "work %lu\n", n);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!is_kept(box, paths[i], text))
			fail_msg("killed at %lu: '%s' is lost", at, paths[i]);
		now = finished ? get(box->slot.path, paths[i]) : NULL;
		if (now && !strcmp(now, text))
			fail_msg("killed at %lu: '%s' is dirty still", at, paths[i]);
		free(now);
	}
	/* The clone: in the slot, or aside. */
	line = mem_printf("%s/clone-%lu/file", box->slot.path, n);
	place = mem_printf("%s/interlock/aside/" BOX_LEASE "/clone-%lu/file", box->repo.common_dir,
			   n);
	now = get("", line);
	if (!now)
		now = get("", place);
	if (!now || strcmp(now, text) != 0)
		fail_msg("killed at %lu: the clone is lost", at);
	free(now);
	free(line);
	free(place);
	/* The commit: HEAD, or below the rescue. */
	line = mem_printf("merge-base --is-ancestor %s " BOX_REF, commit);
	place = mem_printf("merge-base --is-ancestor %s HEAD", commit);
	if (git_any(box->main, line, NULL) && git_any(box->slot.path, place, NULL))
		fail_msg("killed at %lu: the commit is lost", at);
	free(line);
	free(place);
}

static void killed(const struct variant *v)
{
	struct box box;
	struct bytes report = BYTES_INIT;
	unsigned long calls, samples, n = 0;
	char *commit;

	box_make(&box, v, "--detach");
	make_work(&box, n, &commit);
	assert_int_equal(run_work(&box, 0, &report), 0);
	assert_kept(&box, n, 0, commit, true);
	assert_tidy(&box, &box.base);
	free(commit);
	assert_int_equal(sscanf(report.data, "calls %lu", &calls), 1);
	samples = getenv("KILLS") ? strtoul(getenv("KILLS"), NULL, 10) : 24;
	for (unsigned long i = 0; i < samples; i++) {
		unsigned long at = 1 + calls * i / samples + calls / samples / 2;

		n++;
		make_work(&box, n, &commit);
		run_work(&box, at, NULL);
		assert_kept(&box, n, at, commit, false);
		if (run_work(&box, 0, NULL) != 0)
			fail_msg("killed at %lu: the next run fails", at);
		assert_kept(&box, n, at, commit, true);
		assert_tidy(&box, &box.base);
		free(commit);
	}
	assert_git(box.main, "fsck --strict --no-dangling", "");
	bytes_release(&report);
	box_free(&box);
}

static void test_C6_killed_anywhere_loses_nothing(void **state)
{
	(void)state;
	each_variant(killed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_C1_settings_of_the_slot),
		cmocka_unit_test(test_dot_git_and_commondir_are_put_back),
		cmocka_unit_test(test_C3_dirty_slot_on_a_branch_with_stale_locks),
		cmocka_unit_test(test_C10_damaged_or_missing_HEAD),
		cmocka_unit_test(test_C1_switch_to_another_base),
		cmocka_unit_test(test_C1_ignore_rules_that_differ),
		cmocka_unit_test(test_C1_sparse_slot_keeps_its_patterns),
		cmocka_unit_test(test_C2_clean_all_removes_ignored_files),
		cmocka_unit_test(test_F5_another_directory_is_left_alone),
		cmocka_unit_test(test_H9_worktreeinclude),
		cmocka_unit_test(test_C6_killed_anywhere_loses_nothing),
	};

	if (argc >= 5 && !strcmp(argv[1], "--work"))
		return work(argv[2], argv[3], argv[4], argv[argc > 5 ? 5 : 4]);
	program = realpath("/proc/self/exe", NULL);
	if (getenv("ONLY"))
		cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
