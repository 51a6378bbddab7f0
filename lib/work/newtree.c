/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "newtree.h"

#include "erase.h"
#include "ref.h"
#include "spawn.h"
#include "worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 20 /* a prune that is at work may delete what is being written */
#define LOCK_REASON "being made whole again after a prune had removed a part of it"
#define KEEP_REASON "kept by interlock.lockWorktrees"

struct mending {
	struct newtree *out;
	const char *commit;
	char *admin;  /* path of the admin directory */
	char *common; /* of the common directory */
	int admin_fd, common_fd;
	struct file_modes modes;
};

/* ---- where it belongs -------------------------------------------------------------------- */

/* "gitdir: <path>" in .git; the path may be relative. */
static int read_gitfile(struct mending *m, struct fail *fail)
{
	struct bytes text = BYTES_INIT;
	char here[PATH_MAX], *slash;

	if (!getcwd(here, sizeof(here)))
		return fail_errno(fail, "find the current directory");
	m->out->path = mem_strdup(here);
	if (file_read(AT_FDCWD, ".git", PATH_MAX, &text, fail) == 0) {
		bytes_chomp(&text);
		if (!strncmp(text.data, "gitdir: ", 8))
			m->admin = text.data[8] == '/' ? mem_strdup(text.data + 8)
						       : mem_printf("%s/%s", here, text.data + 8);
	}
	bytes_release(&text);
	slash = m->admin ? strrchr(m->admin, '/') : NULL;
	if (fail->kind == 0 &&
	    (!slash || slash - m->admin < 10 || strncmp(slash - 10, "/worktrees", 10)))
		return fail_set(fail, FAIL_UNSUPPORTED, "'%s' is no linked worktree", here);
	if (fail->kind)
		return fail->kind;
	m->out->id = mem_strdup(slash + 1);
	m->common = mem_dup(m->admin, (size_t)(slash - 10 - m->admin));
	m->common_fd = file_open_dir(AT_FDCWD, m->common, fail);
	return m->common_fd < 0 ? fail->kind : 0;
}

static bool has(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Does its gitdir lead to a .git file that is not this one? */
static bool is_somebodys(const struct mending *m)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	struct stat there, here;
	bool other = false;

	if (file_read(m->admin_fd, "gitdir", PATH_MAX, &text, &ignored) == 0) {
		bytes_chomp(&text);
		other = fstatat(m->admin_fd, text.data, &there, 0) == 0 &&
			stat(".git", &here) == 0 &&
			(there.st_dev != here.st_dev || there.st_ino != here.st_ino);
	}
	bytes_release(&text);
	return other;
}

static void note(struct mending *m, const char *what)
{
	if (strstr(m->out->mended.data, what))
		return;
	bytes_addf(&m->out->mended, "%s%s", m->out->mended.len ? ", " : "", what);
}

/* ---- its files ------------------------------------------------------------------------------ */

/* Is the branch that git names after the directory at the commit, and nobody on it? */
static char *branch_of_name(const struct mending *m)
{
	char *ref = mem_printf("refs/heads/%s", strrchr(m->out->path, '/') + 1);
	struct worktrees list = {0};
	struct fail ignored = FAIL_INIT;
	struct repo repo;
	struct oid oid;
	char hex[OID_HEX_MAX + 1];
	bool free_one;

	/* The new worktree itself cannot be opened now; the common directory can. */
	setenv("GIT_DIR", m->common, 1);
	free_one = repo_open(&repo, REPO_ANY, &ignored) == 0 && refname_valid(ref) &&
		   ref_read(&repo, ref, &oid, &ignored) == 0 &&
		   !strcmp(oid_hex(&oid, hex), m->commit) &&
		   worktrees_list(&repo, &list, &ignored) == 0 &&
		   !worktrees_on_branch(&list, ref, m->out->id);
	worktrees_release(&list);
	repo_close(&repo);
	unsetenv("GIT_DIR");
	if (free_one)
		return ref;
	free(ref);
	return NULL;
}

static int put(struct mending *m, int dir, const char *name, const char *text, struct fail *fail)
{
	return file_replace(dir, name, text, strlen(text), &m->modes, false, fail);
}

static int put_head(struct mending *m, int dir, struct fail *fail)
{
	char *branch, *text;

	if (has(m->common_fd, "reftable"))
		return fail_set(fail, FAIL_UNSUPPORTED,
				"a prune has removed what git knew of '%s'; remove it with 'git "
				"worktree remove --force' or by hand, and add it again",
				m->out->path);
	branch = branch_of_name(m);
	text = branch ? mem_printf("ref: %s\n", branch) : mem_printf("%s\n", m->commit);
	put(m, dir, "HEAD", text, fail);
	note(m, branch ? "HEAD" : "HEAD (detached)");
	free(text);
	free(branch);
	return fail->kind;
}

/* What is missing, the lock first. */
static int put_missing(struct mending *m, int dir, struct fail *fail)
{
	char *gitdir = mem_printf("%s/.git\n", m->out->path);
	bool head = has(dir, "HEAD"), common = has(dir, "commondir"), back = has(dir, "gitdir");

	if (!(head && common && back) && !has(dir, "locked") &&
	    put(m, dir, "locked", LOCK_REASON "\n", fail) == 0)
		m->out->locked = true;
	if (fail->kind == 0 && !back && put(m, dir, "gitdir", gitdir, fail) == 0)
		note(m, "gitdir");
	if (fail->kind == 0 && !common && put(m, dir, "commondir", "../..\n", fail) == 0)
		note(m, "commondir");
	if (fail->kind == 0 && !head)
		put_head(m, dir, fail);
	free(gitdir);
	return fail->kind;
}

/* All of it is gone: built beside, and renamed into place. */
static int make_anew(struct mending *m, struct fail *fail)
{
	struct bytes name = BYTES_INIT, stage = BYTES_INIT;
	char *place = mem_printf("worktrees/%s", m->out->id);
	int dir = -1;

	file_nonce_name("interlock/tmp/worktree-", &name);
	bytes_adds(&stage, name.data);
	if (file_make_dirs(m->common_fd, "worktrees", &m->modes, fail) == 0 &&
	    file_make_dirs(m->common_fd, stage.data, &m->modes, fail) == 0)
		dir = file_open_dir(m->common_fd, stage.data, fail);
	if (dir >= 0 && put_missing(m, dir, fail) == 0 &&
	    renameat2(m->common_fd, stage.data, m->common_fd, place, RENAME_NOREPLACE) < 0 &&
	    errno != EEXIST && errno != ENOENT)
		fail_errno(fail, "rename '%s'", stage.data);
	if (dir >= 0)
		close(dir);
	if (has(m->common_fd, stage.data)) {
		struct fail ignored = FAIL_INIT;

		erase_tree(m->common_fd, stage.data, &ignored);
	}
	bytes_release(&name);
	bytes_release(&stage);
	free(place);
	return fail->kind;
}

static bool is_whole(const struct mending *m)
{
	struct stat named, open_dir;

	return m->admin_fd >= 0 && has(m->admin_fd, "HEAD") && has(m->admin_fd, "commondir") &&
	       has(m->admin_fd, "gitdir") && stat(m->admin, &named) == 0 &&
	       fstat(m->admin_fd, &open_dir) == 0 && named.st_ino == open_dir.st_ino &&
	       named.st_dev == open_dir.st_dev;
}

static int open_again(struct mending *m)
{
	struct fail gone = FAIL_INIT;

	if (m->admin_fd >= 0)
		close(m->admin_fd);
	m->admin_fd = file_open_dir(AT_FDCWD, m->admin, &gone);
	return m->admin_fd;
}

static int make_whole(struct mending *m, struct fail *fail)
{
	for (int tries = 0; fail->kind == 0 && tries < TRIES; tries++) {
		if (open_again(m) >= 0 && is_somebodys(m))
			return fail_set(fail, FAIL_CORRUPT,
					"what git knew of '%s' was removed, and '%s' belongs to "
					"another worktree now; remove this one and add it again",
					m->out->path, m->admin);
		if (is_whole(m))
			return 0;
		if (m->admin_fd < 0)
			make_anew(m, fail);
		else if (put_missing(m, m->admin_fd, fail) < 0 && !has(AT_FDCWD, m->admin))
			fail_clear(fail); /* it was being deleted: now it is gone */
	}
	return fail_set(fail, FAIL_BUSY, "'%s' is deleted again and again", m->admin);
}

int newtree_mend(const char *commit, struct newtree *out, struct fail *fail)
{
	struct mending m = {.out = out,
			    .commit = commit,
			    .admin_fd = -1,
			    .common_fd = -1,
			    .modes = FILE_MODES_PRIVATE};

	*out = (struct newtree){.mended = BYTES_INIT};
	if (read_gitfile(&m, fail) == 0)
		make_whole(&m, fail);
	if (m.admin_fd >= 0)
		close(m.admin_fd);
	if (m.common_fd >= 0)
		close(m.common_fd);
	free(m.admin);
	free(m.common);
	return fail->kind;
}

/* The index is a cache of the commit here: nothing was staged yet. */
static int make_index(struct repo *repo, struct newtree *out, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes text = BYTES_INIT;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "reset", "--quiet", "--mixed", NULL);
	if (spawn_capture(&cmd, &text, fail) == 0)
		bytes_addf(&out->mended, "%sindex", out->mended.len ? ", " : "");
	spawn_release(&cmd);
	bytes_release(&text);
	return fail->kind;
}

int newtree_finish(struct repo *repo, bool keep_locked, struct newtree *out, struct fail *fail)
{
	int dir = worktree_open_admin(repo, out->id, fail);

	if (dir < 0)
		return fail->kind;
	if (!has(dir, "index"))
		make_index(repo, out, fail);
	if (fail->kind == 0 && keep_locked && (out->locked || !has(dir, "locked")))
		file_replace(dir, "locked", KEEP_REASON "\n", strlen(KEEP_REASON) + 1, &repo->modes,
			     false, fail);
	else if (fail->kind == 0 && out->locked && unlinkat(dir, "locked", 0) < 0 &&
		 errno != ENOENT)
		fail_errno(fail, "unlock '%s'", out->path);
	close(dir);
	return fail->kind;
}

void newtree_release(struct newtree *newtree)
{
	free(newtree->path);
	free(newtree->id);
	bytes_release(&newtree->mended);
	*newtree = (struct newtree){.mended = BYTES_INIT};
}
