/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* tidy_include(): what .worktreeinclude names, from the main worktree into a slot. */
#include "tidy.h"

#include "beneath.h"
#include "file.h"
#include "spawn.h"
#include "worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCLUDE_FILE ".worktreeinclude"

/* ---- which files ------------------------------------------------------------------------ */

/* git in one of the two worktrees, whatever the environment says. */
static void in_worktree(const struct repo *repo, const char *git_dir, const char *work_tree,
			struct spawn *cmd)
{
	repo_git(repo, cmd);
	worktree_forget_env(&cmd->env);
	cmd->cwd = work_tree;
	argv_pushf(&cmd->env, "GIT_DIR=%s", git_dir);
	argv_pushf(&cmd->env, "GIT_WORK_TREE=%s", work_tree);
}

/* Untracked files of the main worktree that the rules of .worktreeinclude name. */
static int list_named(const struct repo *repo, const char *main_tree, struct bytes *names,
		      struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;

	in_worktree(repo, repo->common_dir, main_tree, &cmd);
	argv_push_all(&cmd.argv, "ls-files", "-z", "--others", "--ignored",
		      "--exclude-from=" INCLUDE_FILE, NULL);
	spawn_capture(&cmd, names, fail);
	spawn_release(&cmd);
	return fail->kind;
}

/* Appends those of `names` (a NUL behind each) that the ignore rules of a worktree name. */
static int ask_ignored(const struct repo *repo, const char *git_dir, const char *work_tree,
		       const char *names, size_t len, struct bytes *ignored, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes input = BYTES_INIT, out = BYTES_INIT;
	size_t first = len ? strlen(names) + 1 : 0;

	for (const char *p = names; p < names + len; p += strlen(p) + 1) {
		bytes_adds(&input, "./"); /* a leading colon would be pathspec magic */
		bytes_add(&input, p, strlen(p) + 1);
	}
	in_worktree(repo, git_dir, work_tree, &cmd);
	argv_push_all(&cmd.argv, "check-ignore", "-z", "--stdin", NULL);
	cmd.input = input.data;
	cmd.input_len = input.len;
	if (len && spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status <= 1)
		for (char *p = out.data; p < out.data + out.len; p += strlen(p) + 1)
			bytes_add(ignored, p + 2, strlen(p + 2) + 1);
	/* One path behind a symlink or in a submodule makes git give up: each by itself then. */
	for (const char *p = names;
	     fail->kind == 0 && cmd.status > 1 && first < len && p < names + len;
	     p += strlen(p) + 1)
		ask_ignored(repo, git_dir, work_tree, p, strlen(p) + 1, ignored, fail);
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}

static int keep_ignored(const struct repo *repo, const char *git_dir, const char *work_tree,
			struct bytes *names, struct fail *fail)
{
	struct bytes ignored = BYTES_INIT;

	ask_ignored(repo, git_dir, work_tree, names->data, names->len, &ignored, fail);
	bytes_release(names);
	*names = ignored;
	return fail->kind;
}

/* ---- one file ---------------------------------------------------------------------------------
 */

/* Shares the blocks where the file system can, else copies inside the kernel, else by hand. */
static int copy_content(int from, int to, const char *path, struct fail *fail)
{
	ssize_t n;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	while ((n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0)) > 0)
		;
	/* Some file systems say "end" for what they cannot copy: the rest is read to make sure. */
	if (n < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP &&
	    errno != EPERM && errno != EINTR)
		return fail_errno(fail, "copy '%s'", path);
	return file_copy_fd(from, to, path, fail);
}

/* The directory of a path in the slot, made where it is missing; through no symlink. */
static int make_parent(int top, const char *path, const struct file_modes *modes, struct fail *fail)
{
	const char *slash = strrchr(path, '/');
	int at = openat(top, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (const char *p = path; at >= 0 && slash && p < slash;) {
		size_t n = strcspn(p, "/");
		char *name = mem_dup(p, n);
		int next = -1;

		if (mkdirat(at, name, modes->dir) == 0 || errno == EEXIST)
			next = beneath_open(at, name, O_PATH | O_DIRECTORY);
		close(at);
		at = next;
		free(name);
		p += n + 1;
	}
	return at >= 0 ? at : fail_errno(fail, "make the directory of '%s'", path);
}

/* An unnamed file gets its name when it is whole; EEXIST is somebody's file. */
static int publish(int fd, int dir, const char *name)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
}

static int fill(int from, int to, const struct stat *st, const char *path, struct fail *fail)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (copy_content(from, to, path, fail) < 0)
		return fail->kind;
	if (fchmod(to, st->st_mode & 0777) < 0 || futimens(to, times) < 0)
		return fail_errno(fail, "set the mode and time of '%s'", path);
	return 0;
}

/* Without unnamed files: a name that means nothing, removed again unless we are killed. */
static int write_named(int from, int dir, const char *name, const struct stat *st, const char *path,
		       struct fail *fail)
{
	struct bytes temporary = BYTES_INIT;
	int to, err = 0;

	file_nonce_name(".interlock-", &temporary);
	to = openat(dir, temporary.data, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (to < 0) {
		fail_errno(fail, "write '%s'", path);
	} else {
		if (fill(from, to, st, path, fail) == 0 &&
		    linkat(dir, temporary.data, dir, name, 0) < 0)
			err = errno;
		unlinkat(dir, temporary.data, 0);
		close(to);
	}
	bytes_release(&temporary);
	return err;
}

static int write_file(int from, int dir, const char *name, const struct stat *st, const char *path,
		      struct fail *fail)
{
	int to = openat(dir, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	int err = 0;

	if (to < 0)
		return write_named(from, dir, name, st, path, fail);
	if (fill(from, to, st, path, fail) == 0)
		err = publish(to, dir, name);
	close(to);
	/* No /proc: its name has to be there from the beginning. */
	return err == ENOENT && lseek(from, 0, SEEK_SET) == 0
		       ? write_named(from, dir, name, st, path, fail)
		       : err;
}

static int copy_one(const struct repo *repo, int from_top, int to_top, const char *path,
		    uint64_t *copied, struct fail *fail)
{
	const char *slash = strrchr(path, '/');
	int from = beneath_open(from_top, path, O_RDONLY), dir, err = 0;
	struct stat st;

	/* A symlink, a directory, a file that is gone: nothing that we copy. */
	if (from < 0 || fstat(from, &st) < 0 || !S_ISREG(st.st_mode)) {
		if (from >= 0)
			close(from);
		else if (errno != ENOENT && errno != ELOOP && errno != ENOTDIR && errno != ENXIO)
			return fail_errno(fail, "read '%s'", path);
		return 0;
	}
	dir = make_parent(to_top, path, &repo->modes, fail);
	/* What the slot has in the way stays there. */
	if (dir < 0 && (fail->err == ELOOP || fail->err == ENOTDIR))
		fail_clear(fail);
	else if (dir >= 0 &&
		 faccessat(dir, slash ? slash + 1 : path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		err = EEXIST;
	else if (dir >= 0)
		err = write_file(from, dir, slash ? slash + 1 : path, &st, path, fail);
	if (dir >= 0 && !err && fail->kind == 0)
		(*copied)++;
	errno = err;
	if (err && err != EEXIST)
		fail_errno(fail, "write '%s'", path);
	if (dir >= 0)
		close(dir);
	close(from);
	return fail->kind;
}

/* ---- the room's front
 * ------------------------------------------------------------------------------ */

static char *main_worktree(struct repo *repo, struct fail *fail)
{
	struct worktrees all = {0};
	char *path = NULL;

	if (worktrees_list(repo, &all, fail) == 0 && all.count && !all.items[0].id &&
	    all.items[0].path)
		path = mem_strdup(all.items[0].path);
	worktrees_release(&all);
	return path;
}

static int copy_all(const struct repo *repo, int from_top, int to_top, const struct bytes *names,
		    uint64_t *copied, struct fail *fail)
{
	for (char *p = names->data; fail->kind == 0 && p < names->data + names->len;
	     p += strlen(p) + 1)
		copy_one(repo, from_top, to_top, p, copied, fail);
	return fail->kind;
}

int tidy_include(struct slot *slot, uint64_t *copied, struct fail *fail)
{
	struct repo *repo = slot->repo;
	char *main_tree = main_worktree(repo, fail);
	char *admin = mem_printf("%s/worktrees/%s", repo->common_dir, slot->id);
	struct bytes names = BYTES_INIT;
	int from = -1, to = -1, rules = -1;

	*copied = 0;
	if (main_tree)
		from = file_open_dir(AT_FDCWD, main_tree, fail);
	if (from >= 0)
		rules = beneath_open(from, INCLUDE_FILE, O_RDONLY);
	/* None, or a symlink: git would follow it. */
	if (rules < 0)
		goto done;
	to = slot_open_tree(slot, fail);
	if (to >= 0 && list_named(repo, main_tree, &names, fail) == 0 &&
	    keep_ignored(repo, repo->common_dir, main_tree, &names, fail) == 0 &&
	    keep_ignored(repo, admin, slot->path, &names, fail) == 0)
		copy_all(repo, from, to, &names, copied, fail);
done:
	if (fail->kind)
		fail_context(fail, "copy what " INCLUDE_FILE " names");
	if (rules >= 0)
		close(rules);
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	free(admin);
	free(main_tree);
	bytes_release(&names);
	return fail->kind;
}
