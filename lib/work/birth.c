/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* birth: making one. The order of everything here is the crash story of birth.h. */
#include "birthparts.h"

#include "commit.h"
#include "index.h"
#include "ref.h"
#include "refgit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Rivals that are in the way every time; each time they have got something done. */
#define MAX_TRIES 1000

/* What git says of a HEAD that is on no branch. */
#define DETACHED "\nHEAD\n"
#define DETACHED_LEN strlen(DETACHED)

struct maker {
	struct repo *repo;
	const struct birth_plan *plan;
	char *name, *id;
	char *dir;     /* the pool's directory, without symlinks */
	char *missing; /* the topmost directory that has to be made for it, or NULL */
	int dir_fd;
	struct slot_birth birth;
	char *stage; /* name in interlock/ */
	int admin;   /* the stage, locked; what is A later */
};

/* ---- the pool's directory ------------------------------------------------------------ */

/* A directory at or above `path` that is a checkout; NULL when there is none. */
static char *checkout_around(const char *path)
{
	char *dir = mem_strdup(path);
	struct stat st;

	for (;;) {
		char *slash = strrchr(dir, '/');
		char *dot_git = mem_printf("%s/.git", dir);
		char *head = mem_printf("%s/.git/HEAD", dir);
		bool found =
			lstat(dot_git, &st) == 0 && (S_ISREG(st.st_mode) || lstat(head, &st) == 0);

		free(dot_git);
		free(head);
		if (found) {
			if (!*dir) {
				free(dir);
				return mem_strdup("/");
			}
			return dir;
		}
		if (!slash)
			break;
		*slash = '\0';
	}
	free(dir);
	return NULL;
}

/* git in a slot would be in that checkout's, and that one's `clean` would take the slots. */
static int refuse_checkout(const char *dir, const char *above, struct fail *fail)
{
	char *around = checkout_around(above);

	if (around)
		fail_set(fail, FAIL_UNSUPPORTED,
			 "'%s' would be inside the checkout '%s': set interlock.poolDir to another "
			 "directory",
			 dir, around);
	free(around);
	return fail->kind;
}

/*
 * Where it is or will be, without symlinks. What is missing of it is made later, when
 * a record says that it was us: m->missing is the topmost directory of that.
 */
static int find_pool_dir(struct maker *m, struct fail *fail)
{
	const char *dir = m->plan->dir;
	char *top = mem_strdup(dir);
	char *real = NULL, *slash;
	const char *rest;
	struct stat st;

	if (dir[0] != '/' || strchr(dir, '\n'))
		fail_set(fail, FAIL_UNSUPPORTED,
			 "'%s' cannot be the directory of a pool: set interlock.poolDir to an "
			 "absolute path without a newline",
			 dir);
	else if (lstat(dir, &st) == 0 && S_ISLNK(st.st_mode))
		fail_set(fail, FAIL_CORRUPT,
			 "the directory of the pool, '%s', is a symbolic link; set "
			 "interlock.poolDir to where it leads",
			 dir);
	else if (lstat(dir, &st) == 0 && !S_ISDIR(st.st_mode))
		fail_set(fail, FAIL_CORRUPT, "the directory of the pool, '%s', is not a directory",
			 dir);
	while (fail->kind == 0 && !(real = realpath(top[0] ? top : "/", NULL)) && errno == ENOENT &&
	       (slash = strrchr(top, '/')))
		*slash = '\0';
	if (fail->kind == 0 && !real)
		fail_errno(fail, "find the directory of the pool, '%s'", dir);
	if (real) {
		rest = dir + strlen(top);
		rest += strspn(rest, "/");
		if (!strcmp(real, "/"))
			real[0] = '\0';
		m->dir = *rest ? mem_printf("%s/%s", real, rest) : mem_strdup(*real ? real : "/");
		if (*rest)
			m->missing = mem_printf("%s/%.*s", real, (int)strcspn(rest, "/"), rest);
		refuse_checkout(m->dir, m->dir, fail);
	}
	free(real);
	free(top);
	return fail->kind;
}

static int removed_again(const struct maker *m, struct fail *fail)
{
	return fail_set(fail, FAIL_BUSY, "'%s' is removed again and again", m->dir);
}

static int taken(const struct maker *m, const char *what, struct fail *fail)
{
	return fail_set(fail, FAIL_NO, "%s of slot '%s' is taken", what, m->name);
}

/* Only spares work: what counts are the two renames. */
static int refuse_taken(const struct maker *m, struct fail *fail)
{
	char *admin = mem_printf("worktrees/%s", m->id);
	struct stat st;

	if (lstat(m->birth.path, &st) == 0)
		taken(m, "the place", fail);
	else if (fstatat(m->repo->common_fd, admin, &st, AT_SYMLINK_NOFOLLOW) == 0)
		taken(m, "the id", fail);
	free(admin);
	return fail->kind;
}

/* ---- step 1: the stage ---------------------------------------------------------------- */

/*
 * One that is not locked yet is anybody's to sweep: after the lock it must still
 * be what the name leads to. 1: it is; 0: try again under another name.
 */
static int try_stage(struct maker *m, struct fail *fail)
{
	free(m->birth.born);
	free(m->stage);
	m->birth.born = slot_new_id();
	m->stage = mem_printf("%s%s", BIRTH_STAGE, m->birth.born);
	m->admin = repo_state_dir(m->repo, m->stage, fail);
	if (m->admin == FAIL_GONE) {
		fail_clear(fail);
		return 0;
	}
	if (m->admin < 0)
		return fail->kind;
	if (flock(m->admin, LOCK_EX | LOCK_NB) == 0) {
		if (birth_same_dir(m->admin, m->repo->state_fd, m->stage))
			return 1;
	} else if (errno != EWOULDBLOCK) {
		fail_errno(fail, "lock 'interlock/%s'", m->stage);
		unlinkat(m->repo->state_fd, m->stage, AT_REMOVEDIR);
	}
	close(m->admin);
	m->admin = -1;
	return fail->kind;
}

static int make_stage(struct maker *m, struct fail *fail)
{
	int r = 0;

	for (int tries = 0; r == 0 && tries < MAX_TRIES; tries++)
		r = try_stage(m, fail);
	if (r == 0)
		fail_set(fail, FAIL_BUSY, "somebody else sweeps every birth away");
	return fail->kind;
}

/* ---- step 2: what git reads in an admin directory ------------------------------------------ */

static int put(struct maker *m, int dir, const char *name, const void *data, size_t len,
	       struct fail *fail)
{
	int fd = file_open(dir, name, O_WRONLY | O_CREAT | O_EXCL, &m->repo->modes, fail);

	if (fd < 0)
		return fd;
	file_write_fd(fd, name, data, len, fail);
	if (close(fd) < 0)
		fail_errno(fail, "close '%s'", name);
	return fail->kind;
}

static int put_text(struct maker *m, const char *name, const char *text, struct fail *fail)
{
	return put(m, m->admin, name, text, strlen(text), fail);
}

/* HEAD and its log, as refs in plain files have them. */
static int put_head(struct maker *m, struct fail *fail)
{
	struct repo *repo = m->repo;
	char hex[OID_HEX_MAX + 1], zero_hex[OID_HEX_MAX + 1];
	struct bytes text = BYTES_INIT;
	struct fail nobody = FAIL_INIT;
	struct oid zero;

	oid_zero(repo->algo, &zero);
	bytes_addf(&text, "%s\n", oid_hex(m->plan->base, hex));
	put(m, m->admin, "HEAD", text.data, text.len, fail);
	/* Linked worktrees have logs by default, also those of a bare repository. */
	if (fail->kind == 0 && repo->conf.log_all_ref_updates != 0 &&
	    file_make_dirs(m->admin, "logs", &repo->modes, fail) == 0) {
		bytes_clear(&text);
		bytes_addf(&text, "%s %s ", oid_hex(&zero, zero_hex), hex);
		/* Who has no name gets no line: git would make one up. */
		if (commit_committer(repo, &text, &nobody) == 0)
			bytes_adds(&text, "\tinterlock: birth\n");
		else
			bytes_clear(&text);
		put(m, m->admin, "logs/HEAD", text.data, text.len, fail);
	}
	bytes_release(&text);
	return fail->kind;
}

/* Prepares git to run on an admin directory, wherever it is, and on nothing else. */
static void git_on(struct repo *repo, const char *admin, struct spawn *cmd)
{
	repo_git(repo, cmd);
	worktree_forget_env(&cmd->env);
	argv_pushf(&cmd->env, "GIT_DIR=%s", admin);
}

void birth_git(const struct slot *slot, struct spawn *cmd)
{
	char *admin = mem_printf("%s/worktrees/%s", slot->repo->common_dir, slot->id);

	git_on(slot->repo, admin, cmd);
	argv_push(&cmd->env, "GIT_WORK_TREE=.");
	free(admin);
}

int birth_run(struct spawn *cmd, const char *what, struct fail *fail)
{
	struct bytes out = BYTES_INIT;

	if (spawn_capture_any(cmd, &out, fail) == 0 && cmd->status) {
		if (cmd->status > 128 && !cmd->err.len)
			fail_set(fail, FAIL_FATAL, "git was killed by signal %d",
				 cmd->status - 128);
		else
			refgit_words(cmd->err.data, fail);
		fail_context(fail, "%s", what);
	}
	bytes_release(&out);
	return fail->kind;
}

/*
 * Refs that are not plain files: git writes them, into what makes the stage look
 * like a worktree's admin directory of that kind.
 */
static int put_head_by_git(struct maker *m, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	char *path = mem_printf("%s/interlock/%s", m->repo->common_dir, m->stage);
	char hex[OID_HEX_MAX + 1];

	git_on(m->repo, path, &cmd);
	argv_push_all(&cmd.argv, "update-ref", "--no-deref", "-m", "interlock: birth", "HEAD",
		      oid_hex(m->plan->base, hex), NULL);
	if (file_make_dirs(m->admin, "refs", &m->repo->modes, fail) == 0 &&
	    file_make_dirs(m->admin, "reftable", &m->repo->modes, fail) == 0 &&
	    put_text(m, "HEAD", "ref: refs/heads/.invalid\n", fail) == 0 &&
	    put_text(m, "refs/heads", "refs are kept in reftable/\n", fail) == 0)
		birth_run(&cmd, "detach HEAD of the newborn", fail);
	spawn_release(&cmd);
	free(path);
	return fail->kind;
}

/* Reads a file of the caller's own admin directory; FAIL_GONE when there is none. */
static int read_own(const struct maker *m, const char *name, size_t limit, struct bytes *out,
		    struct fail *fail)
{
	char *path = mem_printf("%s/%s", m->repo->git_dir, name);
	int r = file_read(AT_FDCWD, path, limit, out, fail);

	free(path);
	return r;
}

static int unset(struct maker *m, const char *key, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	git_on(m->repo, m->repo->common_dir, &cmd);
	cmd.cwd_fd = m->admin;
	argv_push_all(&cmd.argv, "config", "--file", "config.worktree", "--unset-all", key, NULL);
	/* 5: it was not set. */
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status && cmd.status != 5)
		refgit_words(cmd.err.data, fail);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/*
 * The caller's own settings, as `git worktree add` hands them on: all but those
 * that say where, or that no, work tree is.
 */
static int put_config(struct maker *m, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	if (!m->repo->conf.worktree_config)
		return 0;
	if (read_own(m, "config.worktree", SLOT_CONFIG_MAX, &text, fail) == FAIL_GONE) {
		fail_clear(fail);
		goto done;
	}
	if (fail->kind || put(m, m->admin, "config.worktree", text.data, text.len, fail) < 0)
		goto done;
	/* A key's name stands there in full, whatever else the file is. */
	if (strcasestr(text.data, "bare"))
		unset(m, "core.bare", fail);
	if (fail->kind == 0 && strcasestr(text.data, "worktree"))
		unset(m, "core.worktree", fail);
	bytes_clear(&text);
	if (fail->kind == 0 &&
	    file_read(m->admin, "config.worktree", SLOT_CONFIG_MAX, &text, fail) == 0)
		m->birth.config = bytes_take(&text);
done:
	bytes_release(&text);
	return fail->kind;
}

static int put_sparse(struct maker *m, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	if (!m->repo->sparse)
		return 0;
	if (read_own(m, "info/sparse-checkout", SLOT_SPARSE_MAX, &text, fail) == FAIL_GONE)
		fail_clear(fail);
	else if (fail->kind == 0 && file_make_dirs(m->admin, "info", &m->repo->modes, fail) == 0 &&
		 put(m, m->admin, "info/sparse-checkout", text.data, text.len, fail) == 0)
		m->birth.sparse = bytes_take(&text);
	bytes_release(&text);
	return fail->kind;
}

static int put_record(struct maker *m, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	slot_birth_format(&m->birth, &text);
	file_replace(m->admin, BIRTH_RECORD, text.data, text.len, &m->repo->modes, false, fail);
	bytes_release(&text);
	return fail->kind;
}

/* What is made for the pool goes with this slot, when nothing else has come in by then. */
static int put_made(struct maker *m, struct fail *fail)
{
	if (m->missing)
		file_replace(m->admin, BIRTH_MADE, m->missing, strlen(m->missing), &m->repo->modes,
			     false, fail);
	return fail->kind;
}

/* The directory of the pool was there, and is not any more: now it is we who make it. */
static int make_it_ours(struct maker *m, struct fail *fail)
{
	if (m->missing)
		return 0;
	m->missing = mem_strdup(m->dir);
	return put_made(m, fail);
}

/*
 * A directory that a birth made goes with its last slot, or with a failed birth: a removal
 * that ends at this moment may take it away between any two steps here.
 */
static int open_pool_dir(struct maker *m, struct fail *fail)
{
	for (int tries = 0; m->dir_fd < 0 && tries < MAX_TRIES; tries++) {
		if (m->missing && file_make_dirs(AT_FDCWD, m->dir, &m->repo->modes, fail) < 0)
			return fail_context(fail, "make the directory of the pool, '%s'", m->dir);
		m->dir_fd = file_open_dir(AT_FDCWD, m->dir, fail);
		if (m->dir_fd == FAIL_GONE) {
			fail_clear(fail);
			if (make_it_ours(m, fail) < 0)
				return fail->kind;
		} else if (m->dir_fd < 0) {
			return fail_context(fail, "the directory of the pool");
		}
	}
	if (m->dir_fd < 0)
		return removed_again(m, fail);
	return 0;
}

static int fill_stage(struct maker *m, struct fail *fail)
{
	if (put_text(m, "commondir", "../..\n", fail) < 0 || put_config(m, fail) < 0 ||
	    put_sparse(m, fail) < 0)
		return fail->kind;
	/* git must know which repository this is before it can write HEAD. */
	return m->repo->refs_by_git ? put_head_by_git(m, fail) : put_head(m, fail);
}

/* ---- step 3: the worktree, and the links between both ---------------------------------------- */

char *birth_way(const char *from, const char *to)
{
	struct bytes out = BYTES_INIT;
	size_t same = 0;

	for (size_t i = 0;; i++) {
		bool from_ends = !from[i] || from[i] == '/', to_ends = !to[i] || to[i] == '/';

		if (from_ends && to_ends)
			same = i;
		if (!from[i] || !to[i] || from[i] != to[i])
			break;
	}
	for (const char *p = from + same; *p; p++)
		if (*p == '/')
			bytes_adds(&out, "../");
	bytes_adds(&out, to + same + (to[same] == '/'));
	return bytes_take(&out);
}

static bool git_knows_relative(struct repo *repo, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	unsigned long major, minor = 0;
	char *end = NULL;

	repo_git(repo, &cmd);
	argv_push(&cmd.argv, "version");
	if (spawn_capture(&cmd, &out, fail) == 0 && !strncmp(out.data, "git version ", 12)) {
		major = strtoul(out.data + 12, &end, 10);
		if (*end == '.')
			minor = strtoul(end + 1, NULL, 10);
		minor += major > 2 ? 1000 : 0;
	}
	spawn_release(&cmd);
	bytes_release(&out);
	return minor >= 48;
}

/*
 * worktree.useRelativePaths, which changes the format of the repository: git does
 * that when it writes the first such path, and so do we. A git that does not know
 * it writes absolute paths, whatever is set.
 */
static int want_relative(struct maker *m, bool *relative, struct fail *fail)
{
	static const char *const settings[][2] = {
		{"core.repositoryFormatVersion", "1"},
		{"extensions.relativeWorktrees", "true"},
	};
	struct repo *repo = m->repo;

	*relative = repo->conf.relative_worktrees;
	if (!*relative || repo->conf.relative_extension)
		return 0;
	*relative = git_knows_relative(repo, fail);
	for (size_t i = 0; *relative && fail->kind == 0 && i < ARRAY_SIZE(settings); i++) {
		struct spawn cmd = SPAWN_INIT;

		git_on(repo, repo->common_dir, &cmd);
		argv_push_all(&cmd.argv, "config", settings[i][0], settings[i][1], NULL);
		birth_run(&cmd, "allow relative paths of worktrees", fail);
		spawn_release(&cmd);
	}
	return fail->kind;
}

/* 1: made; 0: the pool's directory was removed under us. */
static int make_tree(struct maker *m, const char *early, int *tree, struct fail *fail)
{
	struct stat st;

	if (mkdirat(m->dir_fd, early, 0777) < 0)
		return errno == ENOENT ? 0 : fail_errno(fail, "create a directory in '%s'", m->dir);
	*tree = file_open_dir(m->dir_fd, early, fail);
	if (*tree >= 0 && fstat(*tree, &st) < 0)
		fail_errno(fail, "stat '%s/%s'", m->dir, early);
	if (fail->kind)
		return fail->kind;
	m->birth.dev = st.st_dev;
	m->birth.ino = st.st_ino;
	return 1;
}

/* A failed birth of somebody else's may have taken the empty directory with it. */
static int make_tree_anyhow(struct maker *m, const char *early, int *tree, struct fail *fail)
{
	int r = 0;

	for (int tries = 0; r == 0 && tries < MAX_TRIES; tries++) {
		r = make_tree(m, early, tree, fail);
		if (r == 0) {
			close(m->dir_fd);
			m->dir_fd = -1;
			if (make_it_ours(m, fail) == 0)
				open_pool_dir(m, fail);
			r = fail->kind;
		}
	}
	return r ? fail->kind : removed_again(m, fail);
}

static int link_both(struct maker *m, int tree, struct fail *fail)
{
	char *admin = mem_printf("%s/worktrees/%s", m->repo->common_dir, m->id);
	char *there = NULL, *back = NULL;
	struct bytes record = BYTES_INIT;
	bool relative;

	if (want_relative(m, &relative, fail) == 0) {
		there = relative ? birth_way(m->birth.path, admin) : mem_strdup(admin);
		back = relative ? birth_way(admin, m->birth.path) : mem_strdup(m->birth.path);
		bytes_addf(&record, "gitdir: %s\n", there);
		put(m, tree, ".git", record.data, record.len, fail);
		bytes_clear(&record);
		bytes_addf(&record, "%s/.git\n", back);
		if (fail->kind == 0)
			put(m, m->admin, "gitdir", record.data, record.len, fail);
	}
	if (fail->kind == 0) {
		struct slot_record begins = m->plan->record;

		begins.phase = SLOT_BIRTH;
		bytes_clear(&record);
		slot_record_format(&begins, m->name, &record);
		put(m, m->admin, "locked", record.data, record.len, fail);
	}
	bytes_release(&record);
	free(admin);
	free(there);
	free(back);
	return fail->kind;
}

static int no_way_to_rename(const char *where, struct fail *fail)
{
	return fail_set(fail, FAIL_UNSUPPORTED,
			"the file system of '%s' cannot rename without replacing (%s), so no "
			"worktree can be born there safely",
			where, strerror(errno));
}

static bool cannot_rename(void)
{
	return errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
}

static int place_tree(struct maker *m, const char *early, struct fail *fail)
{
	if (renameat2(m->dir_fd, early, m->dir_fd, m->id, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EEXIST)
		return taken(m, "the place", fail);
	if (cannot_rename())
		return no_way_to_rename(m->dir, fail);
	return fail_errno(fail, "rename '%s/%s' to '%s'", m->dir, early, m->id);
}

static int give_place(struct maker *m, struct fail *fail)
{
	char *early = mem_printf("%s%s", BIRTH_TREE, m->birth.born);
	int tree = -1;

	/* Without an inode at first: it leads to the directory's early name. */
	if (put_record(m, fail) == 0 && put_made(m, fail) == 0 && open_pool_dir(m, fail) == 0 &&
	    make_tree_anyhow(m, early, &tree, fail) == 0 && put_record(m, fail) == 0 &&
	    link_both(m, tree, fail) == 0)
		place_tree(m, early, fail);
	if (tree >= 0)
		close(tree);
	free(early);
	return fail->kind;
}

/* ---- step 4: from here git sees it -------------------------------------------------------------
 */

/* 1: published; 0: git removed the empty directory under us. */
static int try_publish(struct maker *m, struct fail *fail)
{
	int dir, r;

	if (file_make_dirs(m->repo->common_fd, "worktrees", &m->repo->modes, fail) < 0)
		return fail->kind;
	dir = file_open_dir(m->repo->common_fd, "worktrees", fail);
	if (dir == FAIL_GONE) {
		fail_clear(fail);
		return 0;
	}
	if (dir < 0)
		return dir;
	r = renameat2(m->repo->state_fd, m->stage, dir, m->id, RENAME_NOREPLACE);
	if (r == 0)
		r = 1;
	else if (errno == ENOENT)
		r = 0;
	else if (errno == EEXIST)
		r = taken(m, "the id", fail);
	else if (cannot_rename())
		r = no_way_to_rename(m->repo->common_dir, fail);
	else
		r = fail_errno(fail, "rename 'interlock/%s' to 'worktrees/%s'", m->stage, m->id);
	close(dir);
	return r;
}

static int publish(struct maker *m, struct fail *fail)
{
	int r = 0;

	if (m->repo->conf.durable && syncfs(m->repo->common_fd) < 0)
		return fail_errno(fail, "sync '%s'", m->repo->common_dir);
	for (int tries = 0; r == 0 && tries < MAX_TRIES; tries++)
		r = try_publish(m, fail);
	if (r == 0)
		fail_set(fail, FAIL_BUSY, "'worktrees' is removed again and again");
	return fail->kind;
}

/* ---- steps 5 and 6: population
 * ------------------------------------------------------------------- */

static int read_tree(struct slot *slot, int tree, const struct oid *base, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	char hex[OID_HEX_MAX + 1];
	char *what = mem_printf("populate '%s'", slot->path);

	birth_git(slot, &cmd);
	cmd.cwd_fd = tree;
	/*
	 * --reset and not -m: what a killed population has left is written over, and
	 * where nothing is, nothing is looked for.
	 */
	argv_push_all(&cmd.argv, "read-tree", "--reset", "-u", "--no-recurse-submodules", NULL);
	if (slot->repo->git_progress) {
		argv_push(&cmd.argv, "-v");
		cmd.stderr_fd = STDERR_FILENO;
	}
	argv_push(&cmd.argv, oid_hex(base, hex));
	birth_run(&cmd, what, fail);
	spawn_release(&cmd);
	free(what);
	return fail->kind;
}

int birth_read_head(struct slot *slot, struct oid *oid, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes text = BYTES_INIT;

	if (!slot->repo->refs_by_git) {
		if (file_read(slot->admin, "HEAD", 4096, &text, fail) == FAIL_GONE) {
			fail_clear(fail);
			fail_set(fail, FAIL_CORRUPT, "slot '%s' has no HEAD", slot->name);
		}
	} else {
		birth_git(slot, &cmd);
		argv_push_all(&cmd.argv, "rev-parse", "HEAD", "--symbolic-full-name", "HEAD", NULL);
		spawn_capture(&cmd, &text, fail);
		spawn_release(&cmd);
		/* The second line names the branch that it is on, or itself. */
		if (text.len > DETACHED_LEN &&
		    !strcmp(text.data + text.len - DETACHED_LEN, DETACHED))
			bytes_truncate(&text, text.len - DETACHED_LEN);
	}
	bytes_chomp(&text);
	if (fail->kind == 0 && !oid_parse(slot->repo->algo, text.data, text.len, oid))
		fail_set(fail, FAIL_CORRUPT, "HEAD of slot '%s' is not detached at a commit",
			 slot->name);
	bytes_release(&text);
	return fail->kind;
}

/* Step 6: it is asked, not believed. */
static int confirm(struct slot *slot, int tree, const struct oid *base, struct fail *fail)
{
	char *path = mem_printf("%s/worktrees/%s/index", slot->repo->common_dir, slot->id);
	struct spawn cmd = SPAWN_INIT;
	struct index index;
	struct oid head;
	char hex[OID_HEX_MAX + 1];

	if (birth_read_head(slot, &head, fail) == 0 && !oid_equal(&head, base))
		fail_set(fail, FAIL_CORRUPT, "HEAD of slot '%s' is not where it was born",
			 slot->name);
	if (fail->kind == 0) {
		if (index_open(&index, path, slot->repo->algo, fail) == 0 && !index.exists)
			fail_set(fail, FAIL_CORRUPT, "slot '%s' has no index", slot->name);
		index_close(&index);
	}
	/* Forms of the index that only git reads. */
	if (fail->kind == FAIL_ENGINE) {
		fail_clear(fail);
		birth_git(slot, &cmd);
		cmd.cwd_fd = tree;
		argv_push_all(&cmd.argv, "diff-index", "--cached", "--quiet", oid_hex(base, hex),
			      NULL);
		birth_run(&cmd, "look at the index of the newborn", fail);
		spawn_release(&cmd);
	}
	free(path);
	return fail->kind;
}

static int open_own_tree(struct slot *slot, struct fail *fail)
{
	const char *name;
	int parent = birth_open_parent(&slot->birth, &name, fail);
	int tree = parent < 0 ? parent : birth_open_tree(&slot->birth, parent, name, fail);

	if (parent >= 0)
		close(parent);
	return tree;
}

/* What a killed git has left in the admin directory of a half-born slot, which is ours alone. */
static void clear_locks(const struct slot *slot)
{
	static const char *const locks[] = {"index.lock", "HEAD.lock", "reftable/tables.list.lock"};

	for (size_t i = 0; i < ARRAY_SIZE(locks); i++)
		unlinkat(slot->admin, locks[i], 0);
}

/* Killed in step 7, it was on its branch, or on its way there, and nobody was told. */
static int detach_head(struct slot *slot, const struct oid *base, struct fail *fail)
{
	struct oid head;
	const struct head_move move = {.from = &head, .to = base};

	if (birth_read_head(slot, &head, fail) == FAIL_CORRUPT) {
		fail_clear(fail);
		head = *base;
	} else if (fail->kind || oid_equal(&head, base)) {
		return fail->kind;
	}
	return birth_move_head(slot, &move, fail);
}

int birth_populate(struct slot *slot, const struct oid *base, struct fail *fail)
{
	struct stat st;
	int tree;

	if (!slot->locked || slot->admin < 0 || !slot->birth.born)
		return fail_set(fail, FAIL_FATAL, "slot '%s' is not locked, and not populated",
				slot->name);
	/* git would run there what its owner has configured. */
	if (fstat(slot->admin, &st) < 0)
		return fail_errno(fail, "stat slot '%s'", slot->name);
	if (st.st_uid != geteuid())
		return fail_set(fail, FAIL_UNSUPPORTED,
				"slot '%s' belongs to user %u, who alone can finish its birth",
				slot->name, (unsigned)st.st_uid);
	tree = open_own_tree(slot, fail);
	if (tree < 0)
		return tree;
	clear_locks(slot);
	detach_head(slot, base, fail);
	if (fail->kind == 0 && read_tree(slot, tree, base, fail) == 0)
		confirm(slot, tree, base, fail);
	close(tree);
	return fail->kind;
}

/* ---- the whole
 * ------------------------------------------------------------------------------------- */

static int check_plan(struct maker *m, struct fail *fail)
{
	char *as_ref;

	if (m->plan->number < 1 || m->plan->number > INT32_MAX)
		return fail_set(fail, FAIL_USAGE, "%" PRId64 " cannot be the number of a slot",
				m->plan->number);
	/* git reads refs as worktrees/<id>/HEAD. */
	as_ref = mem_printf("refs/worktrees/%s/HEAD", m->id);
	if (!refname_valid(as_ref))
		fail_set(fail, FAIL_USAGE,
			 "'%s' cannot be the name of a pool: git refuses it in a "
			 "ref",
			 m->plan->pool);
	free(as_ref);
	return fail->kind;
}

/* Steps 1 to 4; afterwards nothing is left of one that failed. */
static int bring_forth(struct maker *m, struct fail *fail)
{
	struct fail undo = FAIL_INIT;

	if (find_pool_dir(m, fail) < 0)
		return fail->kind;
	m->birth.path = mem_printf("%s/%s", strcmp(m->dir, "/") ? m->dir : "", m->id);
	if (refuse_taken(m, fail) == 0 && make_stage(m, fail) == 0 && fill_stage(m, fail) == 0 &&
	    give_place(m, fail) == 0)
		publish(m, fail);
	if (fail->kind && m->admin >= 0)
		birth_unmake(m->repo, m->admin, m->birth.born, &undo);
	return fail->kind;
}

static void maker_release(struct maker *m)
{
	free(m->name);
	free(m->id);
	free(m->dir);
	free(m->missing);
	free(m->stage);
	slot_birth_release(&m->birth);
	if (m->dir_fd >= 0)
		close(m->dir_fd);
	if (m->admin >= 0)
		close(m->admin);
}

/* What we hold becomes the slot; its records are what is on disk. */
static int hand_over(struct maker *m, struct slot *out, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	out->name = mem_strdup(m->name);
	out->id = mem_strdup(m->id);
	out->path = mem_strdup(m->birth.path);
	out->admin = m->admin;
	out->locked = true;
	m->admin = -1;
	if (birth_read_record(out->admin, &out->birth, fail) == 0 &&
	    file_read(out->admin, "locked", SLOT_TEXT_MAX, &text, fail) == 0)
		slot_record_parse(text.data, text.len, &out->record, fail);
	bytes_release(&text);
	out->facts.birth = SLOT_OURS;
	out->facts.phase = SLOT_BIRTH;
	out->facts.kind = out->record.kind;
	out->facts.lock = LOCK_HELD;
	out->facts.inside = INSIDE_NOT_ASKED;
	out->state = STATE_HELD;
	return fail->kind;
}

int birth_make(struct repo *repo, const struct birth_plan *plan, struct slot *out,
	       struct fail *fail)
{
	struct maker m = {
		.repo = repo,
		.plan = plan,
		.dir_fd = -1,
		.admin = -1,
		.name = slot_name_of(plan->pool, plan->number),
		.id = slot_id_of(plan->pool, plan->number),
	};
	struct fail undo = FAIL_INIT;

	*out = (struct slot){.repo = repo, .admin = -1, .work = -1};
	m.birth.pool = mem_strdup(plan->pool);
	m.birth.number = plan->number;
	if (check_plan(&m, fail) == 0 && bring_forth(&m, fail) == 0 && hand_over(&m, out, fail) < 0)
		birth_remove(out, &undo);
	maker_release(&m);
	return fail->kind;
}

/* ---- where pools are ------------------------------------------------------------------------ */

static int set_pool_dir(const char *why, struct fail *fail)
{
	return fail_set(fail, FAIL_UNSUPPORTED,
			"%s: set interlock.poolDir to the directory for its worktrees", why);
}

/* 1: what was found there is gone again. */
static int check_dir_once(struct repo *repo, const char *dir, struct fail *fail)
{
	const struct birth_plan plan = {.dir = dir};
	struct maker m = {.repo = repo, .plan = &plan, .dir_fd = -1, .admin = -1};
	bool gone = false;
	char *at, *slash;

	if (find_pool_dir(&m, fail) == 0) {
		/* What is there of it already, or is going to hold it. */
		at = mem_strdup(m.missing ? m.missing : m.dir);
		slash = m.missing ? strrchr(at, '/') : NULL;
		if (slash)
			slash[slash == at] = '\0';
		if (faccessat(AT_FDCWD, at, W_OK | X_OK, AT_EACCESS) < 0) {
			gone = errno == ENOENT;
			if (!gone)
				fail_errno(fail, "write to '%s'", at);
		}
		free(at);
	}
	maker_release(&m);
	return gone ? 1 : fail->kind;
}

int birth_check_dir(struct repo *repo, const char *dir, struct fail *fail)
{
	int r = 1;

	/* The last slot's removal takes the directory away, also between two looks at it. */
	for (int tries = 0; r > 0 && tries < MAX_TRIES; tries++)
		r = check_dir_once(repo, dir, fail);
	return r > 0 ? fail_set(fail, FAIL_BUSY, "'%s' comes and goes", dir) : r;
}

char *birth_default_path(const struct repo *repo)
{
	size_t n = strlen(repo->common_dir);

	return n < 6 || strcmp(repo->common_dir + n - 5, "/.git") != 0
		       ? NULL
		       : mem_printf("%.*s.worktrees", (int)n - 5, repo->common_dir);
}

int birth_default_dir(struct repo *repo, char **dir, struct fail *fail)
{
	size_t n = strlen(repo->common_dir);
	struct worktree_main settings = {0};
	char *main_tree, *parent;
	struct stat st;

	*dir = NULL;
	if (worktree_main_read(repo, &settings, fail) < 0)
		return fail->kind;
	free(settings.work_tree);
	if (settings.bare)
		return set_pool_dir("this is a bare repository", fail);
	if (settings.work_tree || n < 6 || strcmp(repo->common_dir + n - 5, "/.git") != 0)
		return set_pool_dir("the repository is not in its main worktree (a submodule?)",
				    fail);
	main_tree = mem_dup(repo->common_dir, n - 5);
	parent = mem_dup(main_tree, (size_t)(strrchr(main_tree, '/') - main_tree));
	*dir = mem_printf("%s.worktrees", main_tree);
	if (refuse_checkout(*dir, parent, fail) == 0 && faccessat(AT_FDCWD,
								  lstat(*dir, &st) == 0 ? *dir
								  : *parent		? parent
											: "/",
								  W_OK, AT_EACCESS) < 0)
		fail_set(fail, FAIL_UNSUPPORTED,
			 "'%s' cannot be written (%s): set interlock.poolDir to another directory",
			 *dir, strerror(errno));
	if (fail->kind) {
		free(*dir);
		*dir = NULL;
	}
	free(parent);
	free(main_tree);
	return fail->kind;
}
