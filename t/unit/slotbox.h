/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * slotbox: a repository "main" with a few commits and a worktree of it, as a slot that is
 * leased: the part of struct slot that salvage and tidy read is filled by hand.
 */
#ifndef SLOTBOX_H
#define SLOTBOX_H

#include "sandbox.h"

#include "file.h"
#include "salvage.h"
#include "tidy.h"
#include "worktree.h"

#include <fcntl.h>
#include <sys/stat.h>

struct box {
	const struct variant *variant;
	struct repo repo; /* of the main worktree */
	struct slot slot;
	char *main;
	struct oid first, base;
	struct repo slot_repo; /* after box_rescue() */
	struct salvage found;
};

#define BOX_LEASE "0123456789abcdef0123456789abcdef"
#define BOX_REF "refs/rescue/pool-1/" BOX_LEASE

/* ---- files ----------------------------------------------------------------------- */

static inline void put_data(const char *dir, const char *path, const void *data, size_t len)
{
	char *full = mem_printf("%s/%s", dir, path);
	struct fail fail = FAIL_INIT;
	struct file_modes modes = FILE_MODES_PRIVATE;
	int fd;

	for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0777);
		*p = '/';
	}
	unlink(full);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, modes.file);
	if (fd < 0)
		fail_msg("write '%s'", full);
	assert_ok(file_write_fd(fd, full, data, len, &fail), fail);
	close(fd);
	free(full);
}

static inline void put(const char *dir, const char *path, const char *text)
{
	put_data(dir, path, text, strlen(text));
}

/* NULL when it is not there. The caller frees. */
static inline char *get(const char *dir, const char *path)
{
	char *full = mem_printf("%s/%s", dir, path);
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	int r = file_read(AT_FDCWD, full, SIZE_MAX / 2, &text, &fail);

	free(full);
	if (r < 0) {
		bytes_release(&text);
		return NULL;
	}
	return bytes_take(&text);
}

static inline bool there(const char *dir, const char *path)
{
	char *full = mem_printf("%s/%s", dir, path);
	struct stat st;
	bool yes = lstat(full, &st) == 0;

	free(full);
	return yes;
}

static inline void assert_text(const char *dir, const char *path, const char *text)
{
	char *now = get(dir, path);

	if (!now)
		fail_msg("'%s/%s' is not there", dir, path);
	assert_string_equal(now, text);
	free(now);
}

/* ---- git in a directory --------------------------------------------------------------- */

/* Any status; what it printed. The words of `line` are split at blanks. */
static inline int git_any(const char *dir, const char *line, struct bytes *out)
{
	struct spawn cmd = SPAWN_INIT;
	struct fail fail = FAIL_INIT;
	struct bytes ignored = BYTES_INIT;
	char *copy = strdup(line), *save = NULL;
	int status;

	argv_push_all(&cmd.argv, "git", "-C", dir, NULL);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv_push(&cmd.argv, word);
	argv_push_all(&cmd.env, "GIT_EDITOR=:", "GIT_SEQUENCE_EDITOR=:", NULL);
	cmd.stderr_to_null = true;
	assert_ok(spawn_capture_any(&cmd, out ? out : &ignored, &fail), fail);
	status = cmd.status;
	spawn_release(&cmd);
	bytes_release(&ignored);
	free(copy);
	return status;
}

static inline void git_in(const char *dir, const char *line)
{
	int status = git_any(dir, line, NULL);

	if (status)
		fail_msg("git -C %s %s: exit status %d", dir, line, status);
}

/* What git prints, without line ends at its end. The caller frees. */
static inline char *git_says(const char *dir, const char *line)
{
	struct bytes out = BYTES_INIT;

	if (git_any(dir, line, &out))
		fail_msg("git -C %s %s failed", dir, line);
	while (out.len && out.data[out.len - 1] == '\n')
		bytes_chomp(&out);
	return bytes_take(&out);
}

static inline void assert_git(const char *dir, const char *line, const char *answer)
{
	char *says = git_says(dir, line);

	if (strcmp(says, answer) != 0)
		fail_msg("git %s: '%s', not '%s'", line, says, answer);
	free(says);
}

static inline struct oid git_oid_in(const struct box *box, const char *dir, const char *what)
{
	char *line = mem_printf("rev-parse --verify %s", what);
	char *says = git_says(dir, line);
	struct oid oid;

	assert_true(oid_parse(box->variant->algo, says, strlen(says), &oid));
	free(says);
	free(line);
	return oid;
}

/* ---- the box ------------------------------------------------------------------------------ */

static inline void commit_all(const char *dir, const char *message)
{
	char *line = mem_printf("commit -q -m %s", message);

	git_in(dir, "add -A");
	git_in(dir, line);
	free(line);
}

/* The worktree `path` of box->main becomes its slot. */
static inline void box_add_slot(struct box *box, const char *how)
{
	struct fail fail = FAIL_INIT;
	char hex[OID_HEX_MAX + 1];
	char *line = mem_printf("worktree add -q %s %s/slots/pool-1", how, sandbox_dir);
	struct stat st;

	git_in(box->main, line);
	free(line);
	box->slot = (struct slot){.repo = &box->repo, .admin = -1, .work = -1};
	box->slot.name = mem_strdup("pool-1");
	box->slot.id = mem_strdup("pool-1");
	box->slot.path = mem_printf("%s/slots/pool-1", sandbox_dir);
	box->slot.record.lease = mem_strdup(BOX_LEASE);
	box->slot.record.base = mem_strdup(oid_hex(&box->base, hex));
	box->slot.birth.path = mem_strdup(box->slot.path);
	assert_int_equal(stat(box->slot.path, &st), 0);
	box->slot.birth.dev = st.st_dev;
	box->slot.birth.ino = st.st_ino;
	box->slot.admin = worktree_open_admin(&box->repo, "pool-1", &fail);
	if (box->slot.admin < 0)
		fail_msg("%s", fail.message);
	box->slot.locked = true;
}

/* main: a, dir/b, run.sh, link, .gitignore ("*.o"); two commits. */
static inline void box_make(struct box *box, const struct variant *variant, const char *how)
{
	*box = (struct box){.variant = variant};
	sandbox_enter();
	setenv("GIT_AUTHOR_NAME", "A", 1);
	setenv("GIT_AUTHOR_EMAIL", "a@example.com", 1);
	setenv("GIT_COMMITTER_NAME", "A", 1);
	setenv("GIT_COMMITTER_EMAIL", "a@example.com", 1);
	unsetenv("GIT_INTERLOCK_ENGINE");
	sandbox_repo(variant, &box->repo);
	if (variant->engine == ENGINE_GIT)
		setenv("GIT_INTERLOCK_ENGINE", "git", 1);
	box->main = mem_strdup(box->repo.work_tree);
	put(box->main, "a", "first\n");
	put(box->main, "dir/b", "b\n");
	put(box->main, "run.sh", "#!/bin/sh\n");
	put(box->main, ".gitignore", "*.o\n");
	assert_int_equal(symlink("a", "link"), 0);
	commit_all(box->main, "first");
	box->first = git_oid_in(box, box->main, "HEAD");
	put(box->main, "a", "second\n");
	commit_all(box->main, "second");
	box->base = git_oid_in(box, box->main, "HEAD");
	box_add_slot(box, how);
}

static inline void box_free(struct box *box)
{
	if (box->slot_repo.git_dir)
		repo_close(&box->slot_repo);
	salvage_release(&box->found);
	if (box->slot.admin >= 0)
		close(box->slot.admin);
	free(box->slot.name);
	free(box->slot.id);
	free(box->slot.path);
	free(box->slot.record.lease);
	free(box->slot.record.base);
	free(box->slot.birth.path);
	free(box->slot.birth.config);
	free(box->slot.birth.sparse);
	free(box->main);
	repo_close(&box->repo);
	unsetenv("GIT_INTERLOCK_ENGINE");
	sandbox_leave();
}

/* ---- what is tested ---------------------------------------------------------------------------
 */

static inline int box_try_rescue(struct box *box, const char *doomed, struct fail *fail)
{
	int dir;

	salvage_release(&box->found);
	if (box->slot_repo.git_dir)
		repo_close(&box->slot_repo);
	box->slot_repo = (struct repo){0};
	if (tidy_settings(&box->slot, NULL, fail) < 0)
		return fail->kind;
	dir = open(box->slot.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	worktree_enter(dir, &box->slot_repo, fail);
	close(dir);
	if (fail->kind == 0)
		salvage_slot(&box->slot, &box->slot_repo, BOX_LEASE, doomed, &box->found, fail);
	return fail->kind;
}

static inline void box_rescue(struct box *box, const char *doomed)
{
	struct fail fail = FAIL_INIT;

	assert_ok(box_try_rescue(box, doomed, &fail), fail);
	if (box->found.needed) {
		assert_string_equal(box->found.ref, BOX_REF);
		assert_git(box->main, "cat-file -t " BOX_REF, "commit");
	} else {
		assert_null(box->found.ref);
	}
}

static inline void box_tidy(struct box *box, const struct oid *base, bool all)
{
	struct fail fail = FAIL_INIT;
	struct tidy_options options = {.base = base, .all = all, .found = &box->found};

	assert_ok(tidy_slot(&box->slot, &box->slot_repo, &options, &fail), fail);
}

/* C1. */
static inline void assert_tidy(struct box *box, const struct oid *base)
{
	char hex[OID_HEX_MAX + 1];
	struct bytes flags = BYTES_INIT;
	char *admin = mem_printf("%s/worktrees/pool-1", box->repo.common_dir);

	assert_git(box->slot.path, "status --porcelain --untracked-files=all", "");
	assert_git(box->slot.path, "rev-parse HEAD", oid_hex(base, hex));
	assert_int_equal(git_any(box->slot.path, "symbolic-ref -q HEAD", NULL), 1);
	assert_git(box->slot.path, "ls-files --unmerged", "");
	assert_git(box->slot.path, "for-each-ref refs/bisect refs/worktree refs/rewritten", "");
	git_any(box->slot.path, "ls-files -v", &flags);
	for (char *p = flags.data, *end; p < flags.data + flags.len; p = end + 1) {
		end = strchr(p, '\n');
		*end = '\0';
		if (*p != 'H' && !there(admin, "info/sparse-checkout"))
			fail_msg("a flag is left: %s", p);
	}
	bytes_release(&flags);
	for (const char *const *name =
		     (const char *const[]){"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD",
					   "rebase-merge", "rebase-apply", "sequencer",
					   "BISECT_LOG", "BISECT_START", "index.lock",
					   "interlock-found", NULL};
	     *name; name++)
		if (there(admin, *name))
			fail_msg("'%s' is left", *name);
	free(admin);
}

/* What a path holds in the rescue. */
static inline void assert_rescued(struct box *box, const char *path, const char *text)
{
	char *line = mem_printf("cat-file blob " BOX_REF ":%s", path);
	struct bytes out = BYTES_INIT;

	if (git_any(box->main, line, &out))
		fail_msg("the rescue has no '%s'", path);
	assert_string_equal(out.data, text);
	bytes_release(&out);
	free(line);
}

/* The commit of the unfinished operation. */
static inline char *box_operation(struct box *box)
{
	return git_says(box->main,
			"log -1 --format=%(trailers:key=Shadow-Operation,valueonly) " BOX_REF);
}

static inline bool with_reftable(void)
{
	const char *format = getenv("GIT_DEFAULT_REF_FORMAT");

	return format && !strcmp(format, "reftable");
}

/* All of them; with GIT_DEFAULT_REF_FORMAT=reftable (git 2.45 and newer) those that know it. */
static inline void each_variant(void (*test)(const struct variant *variant))
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++)
		if (!with_reftable() || sandbox_variants[i].engine == ENGINE_GIT)
			test(&sandbox_variants[i]);
}

static inline const struct variant *any_variant(void)
{
	return &sandbox_variants[with_reftable() ? 1 : 0];
}

#endif
