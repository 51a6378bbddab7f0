/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* ref: the per-ref lock, healing, and the swap. The crash story is in ref.h. */
#include "ref.h"

#include "clock.h"
#include "commit.h"
#include "name.h"
#include "proc.h"
#include "repo.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- what git writes, git has to write ---------------------------------------------- */

bool ref_has_transaction_hook(struct repo *repo)
{
	const char *hooks = repo->conf.hooks_path;
	char *path;
	bool found;

	if (repo->conf.transaction_hook)
		return true;
	if (hooks && hooks[0] == '~')
		return true; /* git expands it; a wrong guess only costs time */
	if (hooks && hooks[0] == '/')
		path = mem_printf("%s/reference-transaction", hooks);
	else if (hooks)
		path = mem_printf("%s/%s/reference-transaction",
				  repo->work_tree ? repo->work_tree : repo->git_dir, hooks);
	else
		path = mem_printf("%s/hooks/reference-transaction", repo->common_dir);
	found = access(path, X_OK) == 0;
	free(path);
	return found;
}

/* Does HEAD of this worktree name the ref? Then its reflog is written too. */
static bool head_names(struct repo *repo, const char *name)
{
	struct fail ignored = FAIL_INIT;
	char *branch = NULL;
	bool same;

	if (strncmp(name, "refs/heads/", 11) != 0)
		return false;
	same = repo_head_branch(repo, &branch, &ignored) < 0 || (branch && !strcmp(branch, name));
	free(branch);
	return same;
}

static bool needs_git(struct repo *repo, const struct ref_swap *swap)
{
	struct fail ignored = FAIL_INIT;
	struct oid oid;
	char *target = NULL;
	bool symbolic;

	if (repo->refs_by_git || refname_per_worktree(swap->name) ||
	    !strcmp(repo->engine_reason, "core.fsync") || oid_is_zero(&swap->new_oid) ||
	    head_names(repo, swap->name) || ref_has_transaction_hook(repo))
		return true;
	ref_read_raw(repo, swap->name, &oid, &target, &ignored);
	symbolic = target != NULL;
	free(target);
	return symbolic;
}

/* ---- intents and their healing --------------------------------------------------------- */

/* "<key>.intent": linked as git's lock; "<key>.git": git was writing. */
static char *intent_name(const struct ref_lock *lock, const char *kind)
{
	return mem_printf("%s.%s", lock->key, kind);
}

static char *git_lock_path(const struct repo *repo, const char *name)
{
	if (repo->refs_by_git)
		return mem_printf("%s/reftable/tables.list.lock", repo->common_dir);
	if (refname_per_worktree(name))
		return mem_printf("%s/%s.lock", repo->git_dir, name);
	return mem_printf("%s/%s.lock", repo->common_dir, name);
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * A lock that our killed git left: younger than the intent under which git ran,
 * open in no process, and holding nothing or exactly the value that was meant.
 */
static bool left_by_our_git(const char *path, const struct stat *lock_st,
			    const struct stat *intent_st, const struct bytes *meant)
{
	struct fail ignored = FAIL_INIT;
	struct bytes content = BYTES_INIT;
	bool ours = false;

	if (S_ISREG(lock_st->st_mode) && lock_st->st_size <= OID_HEX_MAX + 1 &&
	    (lock_st->st_mtim.tv_sec > intent_st->st_mtim.tv_sec ||
	     (lock_st->st_mtim.tv_sec == intent_st->st_mtim.tv_sec &&
	      lock_st->st_mtim.tv_nsec >= intent_st->st_mtim.tv_nsec)) &&
	    file_read(AT_FDCWD, path, OID_HEX_MAX + 1, &content, &ignored) == 0)
		ours = (content.len == 0 || (content.len == meant->len &&
					     !memcmp(content.data, meant->data, meant->len))) &&
		       proc_find_opener(path) == 0;
	bytes_release(&content);
	return ours;
}

/*
 * Undoes what a killed holder of the per-ref lock left. We hold that lock, so
 * whoever wrote the intent is dead.
 */
static void heal(struct repo *repo, const struct ref_lock *lock, const char *kind)
{
	struct fail ignored = FAIL_INIT;
	struct bytes meant = BYTES_INIT;
	struct stat intent_st, lock_st;
	char *intent = intent_name(lock, kind);
	char *path;

	if (fstatat(lock->dir, intent, &intent_st, AT_SYMLINK_NOFOLLOW) < 0) {
		free(intent);
		return;
	}
	path = git_lock_path(repo, lock->name);
	if (S_ISREG(intent_st.st_mode) && lstat(path, &lock_st) == 0) {
		file_read(lock->dir, intent, OID_HEX_MAX + 1, &meant, &ignored);
		if (same_inode(&intent_st, &lock_st) ||
		    (!strcmp(kind, "git") && left_by_our_git(path, &lock_st, &intent_st, &meant)))
			unlink(path);
	}
	unlinkat(lock->dir, intent, 0);
	bytes_release(&meant);
	free(path);
	free(intent);
}

static int write_intent(struct repo *repo, const struct ref_lock *lock, const char *kind,
			const struct oid *value, struct fail *fail)
{
	char text[OID_HEX_MAX + 2];
	char *intent = intent_name(lock, kind);
	int fd = file_open(lock->dir, intent, O_WRONLY | O_CREAT | O_EXCL, &repo->modes, fail);

	if (fd >= 0) {
		oid_hex(value, text);
		strcat(text, "\n");
		file_write_fd(fd, intent, text, strlen(text), fail);
		if (repo->conf.durable && fail->kind == 0 && fsync(fd) < 0)
			fail_errno(fail, "fsync '%s'", intent);
		if (close(fd) < 0)
			fail_errno(fail, "close '%s'", intent);
		if (fail->kind)
			unlinkat(lock->dir, intent, 0);
	}
	free(intent);
	return fail->kind;
}

static void remove_intent(const struct ref_lock *lock, const char *kind)
{
	char *intent = intent_name(lock, kind);

	unlinkat(lock->dir, intent, 0);
	free(intent);
}

int ref_lock_take(struct repo *repo, const char *name, int64_t deadline, struct ref_lock *lock,
		  struct fail *fail)
{
	struct bytes key = BYTES_INIT;

	*lock = (struct ref_lock)REF_LOCK_INIT;
	lock->dir = repo_state_dir(repo, "locks", fail);
	if (lock->dir < 0)
		return fail->kind;
	bytes_adds(&key, "ref-");
	name_encode(name, &key);
	lock->key = bytes_take(&key);
	lock->name = mem_strdup(name);
	if (lock_take(&lock->flock, lock->dir, lock->key, LOCK_EXCLUSIVE, deadline, &repo->modes,
		      fail) < 0) {
		ref_lock_drop(lock);
		if (fail->kind == FAIL_BUSY)
			fail_context(fail, "ref '%s' is busy", name);
		return fail->kind;
	}
	heal(repo, lock, "intent");
	heal(repo, lock, "git");
	return 0;
}

void ref_lock_drop(struct ref_lock *lock)
{
	lock_drop(&lock->flock);
	if (lock->dir >= 0)
		close(lock->dir);
	free(lock->key);
	free(lock->name);
	*lock = (struct ref_lock)REF_LOCK_INIT;
}

/* ---- waiting for somebody else's lock ------------------------------------------------------ */

static int busy(const char *path, struct fail *fail)
{
	struct bytes who = BYTES_INIT;
	struct stat st;
	pid_t pid;

	if (lstat(path, &st) < 0) {
		fail_set(fail, FAIL_BUSY, "'%s' came and went until time ran out", path);
		return FAIL_BUSY;
	}
	pid = proc_find_opener(path);
	if (pid)
		proc_describe(pid, &who);
	else
		bytes_adds(&who, "no process that can be seen has it open");
	fail_set(fail, FAIL_BUSY,
		 "'%s' exists, %lld s old, held by: %s; if its owner is dead, remove the file",
		 path, (long long)(time(NULL) - st.st_mtime), who.data);
	bytes_release(&who);
	return FAIL_BUSY;
}

/* link(intent, <ref>.lock), waiting while git's lock is somebody else's. */
static int take_git_lock(struct repo *repo, const struct ref_lock *lock, const char *path,
			 int64_t deadline, struct fail *fail)
{
	struct backoff backoff = BACKOFF_INIT;
	char *intent = intent_name(lock, "intent");
	char *parent = mem_dup(lock->name, (size_t)(strrchr(lock->name, '/') - lock->name));

	while (fail->kind == 0 && linkat(lock->dir, intent, AT_FDCWD, path, 0) < 0) {
		if (errno == ENOENT)
			file_make_dirs(repo->common_fd, parent, &repo->modes, fail);
		else if (errno == ENOTDIR)
			fail_set(
				fail, FAIL_FATAL,
				"cannot create ref '%s': a ref stands where its directory would be",
				lock->name);
		else if (errno != EEXIST)
			fail_errno(fail, "create lock '%s'", path);
		else if (!backoff_wait(&backoff, deadline))
			busy(path, fail);
		if (fail->kind == FAIL_CORRUPT) {
			fail_clear(fail);
			fail_set(
				fail, FAIL_FATAL,
				"cannot create ref '%s': a ref stands where its directory would be",
				lock->name);
		}
	}
	free(parent);
	free(intent);
	return fail->kind;
}

/* ---- the reflog ------------------------------------------------------------------------------ */

static bool wants_reflog(const struct repo *repo, const struct ref_swap *swap)
{
	int setting = repo->conf.log_all_ref_updates;

	if (setting < 0)
		setting = !repo->bare;
	if (swap->create_reflog || setting == 2)
		return true;
	return setting == 1 && (!strncmp(swap->name, "refs/heads/", 11) ||
				!strncmp(swap->name, "refs/remotes/", 13) ||
				!strncmp(swap->name, "refs/notes/", 11));
}

static int open_reflog(struct repo *repo, const struct ref_swap *swap, struct fail *fail)
{
	char *path = mem_printf("logs/%s", swap->name);
	int flags = O_WRONLY | O_APPEND;
	int fd;

	if (wants_reflog(repo, swap)) {
		char *parent = mem_dup(path, (size_t)(strrchr(path, '/') - path));

		flags |= O_CREAT;
		file_make_dirs(repo->common_fd, parent, &repo->modes, fail);
		free(parent);
	}
	fd = fail->kind ? fail->kind : file_open(repo->common_fd, path, flags, &repo->modes, fail);
	if (fd == FAIL_GONE)
		fail_clear(fail);
	free(path);
	return fd;
}

/* One line in one write, as git has it: old new ident TAB message. */
static int append_reflog(struct repo *repo, const struct ref_swap *swap, struct fail *fail)
{
	char old_hex[OID_HEX_MAX + 1], new_hex[OID_HEX_MAX + 1];
	struct bytes line = BYTES_INIT;
	int fd = open_reflog(repo, swap, fail);

	if (fd < 0)
		return fail->kind;
	bytes_addf(&line, "%s %s ", oid_hex(&swap->old_oid, old_hex),
		   oid_hex(&swap->new_oid, new_hex));
	if (commit_committer(repo, &line, fail) == 0) {
		if (swap->reason && *swap->reason) {
			bytes_addc(&line, '\t');
			for (const char *p = swap->reason; *p; p++)
				bytes_addc(&line, *p == '\n' || *p == '\r' ? ' ' : *p);
		}
		bytes_addc(&line, '\n');
		file_write_fd(fd, "reflog", line.data, line.len, fail);
	}
	if (close(fd) < 0)
		fail_errno(fail, "close the reflog of '%s'", swap->name);
	bytes_release(&line);
	return fail->kind;
}

/* ---- the swap, natively ------------------------------------------------------------------------
 */

/* Under git's lock: what the ref holds; zero when it does not exist. */
static int read_now(struct repo *repo, const struct ref_swap *swap, struct oid *now,
		    struct fail *fail)
{
	int r = ref_read(repo, swap->name, now, fail);

	if (r == FAIL_GONE || (r == FAIL_CORRUPT && swap->mend)) {
		fail_clear(fail);
		if (r == FAIL_GONE)
			oid_zero(repo->algo, now);
		else
			*now = swap->old_oid;
	}
	return fail->kind;
}

/* Removes empty directories that stand where the ref's file goes, as git does. */
static bool clear_empty_dirs(int dir, const char *path)
{
	struct bytes sub = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int fd;

	if (unlinkat(dir, path, AT_REMOVEDIR) == 0)
		return true;
	fd = errno == ENOTEMPTY || errno == EEXIST ? file_open_dir(dir, path, &ignored) : -1;
	if (fd >= 0) {
		file_each_name(fd, &sub, &ignored);
		for (char *p = sub.data; p < sub.data + sub.len; p += strlen(p) + 1)
			clear_empty_dirs(fd, p);
		close(fd);
	}
	bytes_release(&sub);
	return unlinkat(dir, path, AT_REMOVEDIR) == 0;
}

static int put_in_place(struct repo *repo, const struct ref_swap *swap, const char *path,
			struct fail *fail)
{
	for (int tries = 0;; tries++) {
		if (renameat(AT_FDCWD, path, repo->common_fd, swap->name) == 0)
			break;
		if ((errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST) && tries < 3 &&
		    clear_empty_dirs(repo->common_fd, swap->name))
			continue;
		if (errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST)
			return fail_set(fail, FAIL_FATAL,
					"cannot create ref '%s': there are refs below it",
					swap->name);
		return fail_errno(fail, "rename '%s'", path);
	}
	if (repo->conf.durable) {
		char *parent = mem_dup(swap->name, (size_t)(strrchr(swap->name, '/') - swap->name));
		int r = file_sync_dir(repo->common_fd, parent, fail);

		free(parent);
		if (r < 0) {
			fail->kind = FAIL_UNKNOWN;
			return fail_context(fail,
					    "the swap of '%s' was made, but may not survive "
					    "a power loss",
					    swap->name);
		}
	}
	return 0;
}

static int swap_natively(struct repo *repo, const struct ref_lock *lock,
			 const struct ref_swap *swap, struct oid *now, struct fail *fail)
{
	char *path = git_lock_path(repo, swap->name);
	bool locked = false, in_place = false;

	if (write_intent(repo, lock, "intent", &swap->new_oid, fail) < 0)
		goto done;
	if (take_git_lock(repo, lock, path, swap->deadline, fail) < 0)
		goto done;
	locked = true;
	if (read_now(repo, swap, now, fail) < 0)
		goto done;
	if (!oid_equal(now, &swap->old_oid)) {
		fail_set(fail, FAIL_NO, "ref '%s' holds something else", swap->name);
		goto done;
	}
	if (oid_equal(now, &swap->new_oid) && !swap->mend)
		goto done;
	if (oid_is_zero(now) && ref_check_room(repo, swap->name, fail) < 0)
		goto done;
	if (append_reflog(repo, swap, fail) < 0)
		goto done;
	in_place = put_in_place(repo, swap, path, fail) == 0 || fail->kind == FAIL_UNKNOWN;
done:
	if (locked && !in_place)
		unlink(path);
	remove_intent(lock, "intent");
	free(path);
	return fail->kind;
}

/* ---- the swap, by git
 * ---------------------------------------------------------------------------- */

static void update_ref_args(const struct ref_swap *swap, struct spawn *cmd)
{
	char hex[OID_HEX_MAX + 1];

	argv_push(&cmd->argv, "update-ref");
	if (swap->create_reflog)
		argv_push(&cmd->argv, "--create-reflog");
	if (swap->no_deref)
		argv_push(&cmd->argv, "--no-deref");
	if (swap->reason) {
		argv_push(&cmd->argv, "-m");
		argv_push(&cmd->argv, swap->reason);
	}
	if (oid_is_zero(&swap->new_oid)) {
		argv_push_all(&cmd->argv, "-d", swap->name, NULL);
	} else {
		argv_push(&cmd->argv, swap->name);
		argv_push(&cmd->argv, oid_hex(&swap->new_oid, hex));
	}
	argv_push(&cmd->argv, oid_hex(&swap->old_oid, hex));
}

/*
 * git said no: a lost swap, a lock, or something else? Decided by looking, never
 * by its words. Returns 0 when another try makes sense.
 */
static int judge(struct repo *repo, const struct ref_swap *swap, const struct spawn *cmd,
		 const char *path, struct oid *now, struct fail *fail)
{
	const char *text = cmd->err.data;
	size_t n;

	if (read_now(repo, swap, now, fail) < 0)
		return fail->kind;
	if (!oid_equal(now, &swap->old_oid))
		return fail_set(fail, FAIL_NO, "ref '%s' holds something else", swap->name);
	if (access(path, F_OK) == 0)
		return 0;
	if (!strncmp(text, "fatal: ", 7) || !strncmp(text, "error: ", 7))
		text += 7;
	n = strcspn(text, "\n");
	return fail_set(fail, FAIL_FATAL, "%.*s", n ? (int)n : 31,
			n ? text : "git update-ref failed silently");
}

static int swap_by_git(struct repo *repo, const struct ref_lock *lock, const struct ref_swap *swap,
		       struct oid *now, struct fail *fail)
{
	struct backoff backoff = BACKOFF_INIT;
	char *path = git_lock_path(repo, swap->name);
	bool done = false;

	if (write_intent(repo, lock, "git", &swap->new_oid, fail) < 0)
		done = true;
	while (!done && read_now(repo, swap, now, fail) == 0) {
		struct spawn cmd = SPAWN_INIT;
		struct bytes out = BYTES_INIT;

		if (!oid_equal(now, &swap->old_oid)) {
			fail_set(fail, FAIL_NO, "ref '%s' holds something else", swap->name);
			break;
		}
		repo_git_with_hooks(repo, &cmd);
		update_ref_args(swap, &cmd);
		done = spawn_capture_any(&cmd, &out, fail) < 0 || cmd.status == 0 ||
		       judge(repo, swap, &cmd, path, now, fail) < 0;
		spawn_release(&cmd);
		bytes_release(&out);
		if (!done && !backoff_wait(&backoff, swap->deadline))
			done = busy(path, fail) < 0;
	}
	remove_intent(lock, "git");
	free(path);
	return fail->kind;
}

int ref_swap(struct repo *repo, const struct ref_lock *lock, const struct ref_swap *swap,
	     struct oid *now, struct fail *fail)
{
	oid_zero(repo->algo, now);
	if (needs_git(repo, swap))
		return swap_by_git(repo, lock, swap, now, fail);
	return swap_natively(repo, lock, swap, now, fail);
}
