/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* ref: the per-ref lock and the native swap. The crash story is in ref.h. */
#include "ref.h"

#include "intent.h"
#include "name.h"
#include "refgit.h"
#include "reflog.h"
#include "repo.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MKDIR_TRIES 16 /* git removes empty directories while we make them */

/* ---- who writes --------------------------------------------------------------------- */

const char *ref_git_reason(struct repo *repo, const struct ref_swap *swap)
{
	if (repo->refs_by_git)
		return repo->engine_reason;
	if (swap->mend)
		return NULL; /* git cannot even read what is to be mended */
	if (repo->conf.engine && !strcmp(repo->conf.engine, "git"))
		return "forced";
	if (repo->conf.fsync_set)
		return "core.fsync";
	if (getenv("GIT_QUARANTINE_PATH"))
		return "quarantine";
	if (refname_per_worktree(swap->name))
		return "per-worktree ref";
	if (swap->through && strcmp(swap->through, "HEAD") != 0)
		return "symbolic ref";
	if (oid_is_zero(&swap->new_oid))
		return "delete";
	if (ref_has_foreign_hook(repo))
		return "reference-transaction hook";
	return NULL;
}

/* ---- the per-ref lock --------------------------------------------------------------- */

/* The flock's file name; one ref of each worktree is another ref. */
static char *lock_key(const struct repo *repo, const char *name)
{
	struct bytes key = BYTES_INIT;
	char *full;

	bytes_adds(&key, "ref-");
	if (repo->worktree_id && refname_per_worktree(name)) {
		full = mem_printf("worktrees/%s/%s", repo->worktree_id, name);
		name_encode(full, &key);
		free(full);
	} else {
		name_encode(name, &key);
	}
	return bytes_take(&key);
}

int ref_lock_take(struct repo *repo, const char *name, int64_t deadline, struct ref_lock *lock,
		  struct fail *fail)
{
	*lock = (struct ref_lock)REF_LOCK_INIT;
	lock->dir = repo_state_dir(repo, "locks", fail);
	if (lock->dir < 0)
		return fail->kind;
	lock->key = lock_key(repo, name);
	lock->name = mem_strdup(name);
	if (lock_take(&lock->flock, lock->dir, lock->key, LOCK_EXCLUSIVE, deadline, &repo->waiting,
		      &repo->modes, fail) < 0) {
		ref_lock_drop(lock);
		if (fail->kind == FAIL_BUSY)
			fail_context(fail, "ref '%s' is busy", name);
	}
	return fail->kind;
}

int ref_lock_heal(struct repo *repo, const char *name, struct fail *fail)
{
	int dir = repo_state_dir(repo, "locks", fail);
	char *key, *intent;

	if (dir < 0)
		return fail->kind;
	key = lock_key(repo, name);
	intent = mem_printf("%s.intent", key);
	intent_heal(repo, dir, intent, name, fail);
	free(intent);
	free(key);
	close(dir);
	return fail->kind;
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

/* ---- git's locks, taken by link ------------------------------------------------------- */

struct native {
	struct repo *repo;
	const struct ref_lock *lock;
	const struct ref_swap *swap;
	struct oid *now;
	char *intent;	 /* file name in lock->dir */
	char *ref_path;	 /* git's lock on the ref */
	char *head_path; /* git's lock on HEAD; NULL when HEAD does not name the ref */
	const char *in_way;
	bool ref_locked, head_locked;
};

enum {
	IN_WAY = 1
};

static int odd(const struct native *n, const char *what, struct fail *fail)
{
	return fail_set(fail, FAIL_ENGINE, "ref '%s': %s", n->swap->name, what);
}

static int make_parent(const struct native *n, struct fail *fail)
{
	const char *name = n->swap->name;
	char *parent = mem_dup(name, (size_t)(strrchr(name, '/') - name));

	/* Also when another ref stands there: git says so best. */
	if (file_make_dirs(n->repo->common_fd, parent, &n->repo->modes, fail) == FAIL_CORRUPT) {
		fail_clear(fail);
		odd(n, "its directory is none", fail);
	}
	free(parent);
	return fail->kind;
}

/* link(intent, path). 0, IN_WAY, or a failure. */
static int link_lock(struct native *n, const char *path, struct fail *fail)
{
	for (int tries = 0; linkat(n->lock->dir, n->intent, AT_FDCWD, path, 0) < 0; tries++) {
		switch (errno) {
		case EEXIST:
			n->in_way = path;
			return IN_WAY;
		case ENOENT:
			if (tries < MKDIR_TRIES && make_parent(n, fail) == 0)
				continue;
			if (fail->kind)
				return fail->kind;
			errno = ENOENT;
			break;
		case ENOTDIR: /* a ref where a directory should be */
		case EXDEV:
		case EPERM:
		case EMLINK:
		case EOPNOTSUPP:
			return odd(n, "cannot be locked by a link", fail);
		}
		return fail_errno(fail, "create lock '%s'", path);
	}
	return 0;
}

/* Both locks or none, so that nobody waits for one while holding the other. */
static int take_locks(struct native *n, struct fail *fail)
{
	int r = link_lock(n, n->ref_path, fail);

	n->ref_locked = r == 0;
	if (r == 0 && n->head_path) {
		r = link_lock(n, n->head_path, fail);
		n->head_locked = r == 0;
	}
	return r;
}

/* Gives back what is held; false when a lock could not be removed. */
static bool drop_locks(struct native *n)
{
	bool gone = true;

	if (n->ref_locked && unlink(n->ref_path) < 0 && errno != ENOENT)
		gone = false;
	if (n->head_locked && unlink(n->head_path) < 0 && errno != ENOENT)
		gone = false;
	n->ref_locked = n->head_locked = false;
	return gone;
}

/* ---- the swap, under git's locks --------------------------------------------------------- */

static int read_now(const struct native *n, struct fail *fail)
{
	const struct ref_swap *swap = n->swap;
	char *target = NULL;
	int r = ref_read_raw(n->repo, swap->name, n->now, &target, fail);

	if (target)
		odd(n, "has become a symbolic ref", fail);
	free(target);
	if (r == FAIL_GONE) {
		fail_clear(fail);
		oid_zero(n->repo->algo, n->now);
	} else if (r == FAIL_CORRUPT && swap->mend) {
		fail_clear(fail);
		*n->now = swap->old_oid;
	}
	return fail->kind;
}

/* Nothing may stand where the ref's file goes, nor above it. */
static int check_room(const struct native *n, struct fail *fail)
{
	const char *name = n->swap->name;
	struct stat st;

	if (ref_check_room(n->repo, name, fail) < 0)
		return fail->kind;
	if (fstatat(n->repo->common_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode) && !reflog_clear_dirs(n->repo->common_fd, name))
		return fail_set(fail, FAIL_FATAL, "cannot create ref '%s': there are refs below it",
				name);
	return 0;
}

static int put_in_place(struct native *n, struct fail *fail)
{
	const char *name = n->swap->name;
	char *parent;
	int r = 0;

	if (renameat(AT_FDCWD, n->ref_path, n->repo->common_fd, name) < 0)
		return fail_errno(fail, "rename '%s'", n->ref_path);
	n->ref_locked = false;
	if (!n->repo->conf.durable)
		return 0;
	parent = mem_dup(name, (size_t)(strrchr(name, '/') - name));
	r = file_sync_dir(n->repo->common_fd, parent, fail);
	free(parent);
	if (r < 0) {
		fail->kind = FAIL_UNKNOWN;
		fail_context(fail, "ref '%s' was swapped, but may not survive a power loss", name);
	}
	return fail->kind;
}

/* The reflogs and the ref itself; what was appended is taken back when the ref stays. */
static int write_all(struct native *n, bool with_head, struct fail *fail)
{
	const struct ref_swap *swap = n->swap;
	struct reflog log = REFLOG_INIT, head = REFLOG_INIT;

	if (reflog_open(n->repo, swap->name, swap->create_reflog, &log, fail) == 0 &&
	    (!with_head || reflog_open(n->repo, "HEAD", swap->create_reflog, &head, fail) == 0) &&
	    reflog_append(n->repo, &log, n->now, &swap->new_oid, swap->reason, fail) == 0 &&
	    reflog_append(n->repo, &head, n->now, &swap->new_oid, swap->reason, fail) == 0)
		put_in_place(n, fail);
	reflog_close(&head, !n->ref_locked);
	reflog_close(&log, !n->ref_locked);
	return fail->kind;
}

static int swap_locked(struct native *n, struct fail *fail)
{
	const struct ref_swap *swap = n->swap;
	bool with_head = n->head_path && refgit_head_names(n->repo, swap->name);

	if (swap->through && !with_head)
		return odd(n, "HEAD has moved to another branch", fail);
	if (read_now(n, fail) < 0)
		return fail->kind;
	if (!oid_equal(n->now, &swap->old_oid))
		return fail_set(fail, FAIL_NO, "ref '%s' holds something else", swap->name);
	if (oid_equal(n->now, &swap->new_oid) && !swap->mend)
		return 0;
	if (oid_is_zero(n->now) && check_room(n, fail) < 0)
		return fail->kind;
	return write_all(n, with_head, fail);
}

/* A kill that can be put off is: locks are held for microseconds only. */
static void block_signals(sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, before);
}

/* 0 or a failure when it is decided, IN_WAY when a lock must be waited for. */
static int try_once(struct native *n, bool *clean, struct fail *fail)
{
	sigset_t before;
	int r;

	block_signals(&before);
	r = take_locks(n, fail);
	if (r == 0)
		r = swap_locked(n, fail);
	*clean = drop_locks(n) && *clean;
	if (r != IN_WAY && *clean)
		unlinkat(n->lock->dir, n->intent, 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int swap_natively(struct repo *repo, const struct ref_lock *lock,
			 const struct ref_swap *swap, struct oid *now, struct fail *fail)
{
	struct backoff backoff = BACKOFF_INIT;
	struct native n = {.repo = repo, .lock = lock, .swap = swap, .now = now};
	bool clean = true;

	n.intent = mem_printf("%s.intent", lock->key);
	n.ref_path = refgit_lock_path(repo, swap->name);
	if (refgit_head_names(repo, swap->name))
		n.head_path = mem_printf("%s/HEAD.lock", repo->git_dir);
	if (intent_write(repo, lock->dir, n.intent, swap->name, &swap->new_oid, fail) == 0)
		while (try_once(&n, &clean, fail) == IN_WAY &&
		       refgit_make_way(repo, n.in_way, lock->key, &backoff, swap->deadline, fail) ==
			       0)
			;
	if (fail->kind == FAIL_BUSY && clean)
		unlinkat(lock->dir, n.intent, 0);
	free(n.intent);
	free(n.ref_path);
	free(n.head_path);
	return fail->kind;
}

int ref_swap(struct repo *repo, const struct ref_lock *lock, const struct ref_swap *swap,
	     struct oid *now, struct fail *fail)
{
	oid_zero(repo->algo, now);
	if (!ref_git_reason(repo, swap)) {
		if (swap_natively(repo, lock, swap, now, fail) != FAIL_ENGINE)
			return fail->kind;
		fail_clear(fail);
	}
	return refgit_swap(repo, lock, swap, now, fail);
}
