/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* birth: step 7, the branch. */
#include "birthparts.h"

#include "clock.h"
#include "ref.h"
#include "reflog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- moving HEAD --------------------------------------------------------------------- */

static const char *short_name(const char *branch)
{
	return branch + strlen("refs/heads/");
}

/* git's own words: `git checkout -` looks for them. */
static char *move_message(const struct head_move *move)
{
	char from[OID_HEX_MAX + 1], to[OID_HEX_MAX + 1];

	return mem_printf("checkout: moving from %s to %s",
			  move->left ? short_name(move->left) : oid_hex(move->from, from),
			  move->branch ? short_name(move->branch) : oid_hex(move->to, to));
}

static int move_by_git(struct slot *slot, const struct head_move *move, const char *message,
		       struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	char hex[OID_HEX_MAX + 1];

	birth_git(slot, &cmd);
	if (move->branch)
		argv_push_all(&cmd.argv, "symbolic-ref", "-m", message, "HEAD", move->branch, NULL);
	else
		argv_push_all(&cmd.argv, "update-ref", "--no-deref", "-m", message, "HEAD",
			      oid_hex(move->to, hex), NULL);
	birth_run(&cmd, "move HEAD", fail);
	spawn_release(&cmd);
	return fail->kind;
}

/* The log is written under git's lock on HEAD, which we hold. */
static int open_log(struct slot *slot, struct reflog *log, struct fail *fail)
{
	int flags = O_WRONLY | O_APPEND;

	*log = (struct reflog)REFLOG_INIT;
	log->dir = slot->admin;
	log->path = mem_strdup("logs/HEAD");
	if (slot->repo->conf.log_all_ref_updates != 0) {
		flags |= O_CREAT;
		if (file_make_dirs(slot->admin, "logs", &slot->repo->modes, fail) < 0)
			return fail->kind;
	}
	log->fd = file_open(slot->admin, log->path, flags, &slot->repo->modes, fail);
	if (log->fd == FAIL_GONE)
		fail_clear(fail);
	if (log->fd < 0)
		log->fd = -1;
	else
		log->end = lseek(log->fd, 0, SEEK_END);
	return fail->kind;
}

static void append_log(struct slot *slot, struct reflog *log, const struct head_move *move,
		       const char *message)
{
	struct fail ignored = FAIL_INIT;

	/* Who has no name gets no line. */
	reflog_append(slot->repo, log, move->from, move->to, message, &ignored);
}

static int write_lock(struct slot *slot, const struct head_move *move, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	struct bytes text = BYTES_INIT;
	int fd = openat(slot->admin, "HEAD.lock", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			slot->repo->modes.file);

	if (fd < 0)
		return errno == EEXIST
			       ? fail_set(fail, FAIL_BUSY,
					  "lock 'worktrees/%s/HEAD.lock' is held by somebody",
					  slot->id)
			       : fail_errno(fail, "create 'worktrees/%s/HEAD.lock'", slot->id);
	if (move->branch)
		bytes_addf(&text, "ref: %s\n", move->branch);
	else
		bytes_addf(&text, "%s\n", oid_hex(move->to, hex));
	if (file_share(fd, &slot->repo->modes, false, fail) == 0)
		file_write_fd(fd, "HEAD.lock", text.data, text.len, fail);
	if (close(fd) < 0)
		fail_errno(fail, "close 'HEAD.lock'");
	if (fail->kind)
		unlinkat(slot->admin, "HEAD.lock", 0);
	bytes_release(&text);
	return fail->kind;
}

static int move_natively(struct slot *slot, const struct head_move *move, const char *message,
			 struct fail *fail)
{
	struct reflog log;

	if (write_lock(slot, move, fail) < 0)
		return fail->kind;
	if (open_log(slot, &log, fail) == 0) {
		append_log(slot, &log, move, message);
		if (renameat(slot->admin, "HEAD.lock", slot->admin, "HEAD") < 0)
			fail_errno(fail, "rename 'worktrees/%s/HEAD.lock'", slot->id);
	}
	reflog_close(&log, fail->kind == 0);
	if (fail->kind)
		unlinkat(slot->admin, "HEAD.lock", 0);
	return fail->kind;
}

int birth_move_head(struct slot *slot, const struct head_move *move, struct fail *fail)
{
	char *message = move_message(move);

	if (slot->repo->refs_by_git)
		move_by_git(slot, move, message, fail);
	else
		move_natively(slot, move, message, fail);
	free(message);
	return fail->kind;
}

/* ---- the branch ------------------------------------------------------------------------- */

struct attach {
	struct slot *slot;
	const char *branch;
	char *leaf; /* what it leads to, when it is a symbolic ref */
	struct oid base;
	struct ref_lock lock;
	bool made;
};

static int check_branch_name(const char *branch, struct fail *fail)
{
	if (refname_check(branch, fail) < 0)
		return fail->kind;
	if (strncmp(branch, "refs/heads/", 11) != 0 || short_name(branch)[0] == '-' ||
	    !strcmp(short_name(branch), "HEAD"))
		return fail_set(fail, FAIL_USAGE, "'%s' cannot be a branch", branch);
	return 0;
}

/* FAIL_BUSY, naming who has it. */
static int refuse_shared(struct attach *a, struct fail *fail)
{
	struct worktrees list;
	const struct worktree *other = NULL;

	if (worktrees_list(a->slot->repo, &list, fail) == 0) {
		other = worktrees_on_branch(&list, a->branch, a->slot->id);
		if (!other && a->leaf)
			other = worktrees_on_branch(&list, a->leaf, a->slot->id);
	}
	if (other)
		fail_set(fail, FAIL_BUSY, "branch '%s' is %s '%s'", short_name(a->branch),
			 other->branch ? "checked out in" : "being rebased or bisected in",
			 other->path ? other->path
			 : other->id ? other->id
				     : a->slot->repo->common_dir);
	worktrees_release(&list);
	return fail->kind;
}

/* What the branch is at; FAIL_NO when there is none. */
static int read_branch(struct attach *a, struct oid *at, struct fail *fail)
{
	free(a->leaf);
	a->leaf = NULL;
	if (ref_follow(a->slot->repo, a->branch, at, &a->leaf, fail) == FAIL_GONE) {
		fail_clear(fail);
		fail_set(fail, FAIL_NO, "branch '%s' does not exist", short_name(a->branch));
	}
	return fail->kind;
}

/* HEAD would lead to a commit that is not in the tree. */
static int refuse_moved(struct attach *a, struct fail *fail)
{
	struct oid at;

	if (read_branch(a, &at, fail) == 0 && !oid_equal(&at, &a->base))
		fail_set(fail, FAIL_BUSY, "branch '%s' was moved meanwhile", short_name(a->branch));
	return fail->kind;
}

static int swap_branch(struct attach *a, bool make, struct fail *fail)
{
	struct repo *repo = a->slot->repo;
	char hex[OID_HEX_MAX + 1];
	char *reason = mem_printf("branch: Created from %s", oid_hex(&a->base, hex));
	struct ref_swap swap = {
		.name = a->branch,
		.reason = reason,
		.deadline = clock_deadline(repo->conf.lock_timeout),
	};
	struct oid now;

	oid_zero(repo->algo, make ? &swap.old_oid : &swap.new_oid);
	*(make ? &swap.new_oid : &swap.old_oid) = a->base;
	if (ref_swap(repo, &a->lock, &swap, &now, fail) == FAIL_NO && make) {
		fail_clear(fail);
		fail_set(fail, FAIL_NO, "branch '%s' exists already", short_name(a->branch));
	}
	free(reason);
	return fail->kind;
}

static int take_lock(struct attach *a, bool create, struct fail *fail)
{
	struct repo *repo = a->slot->repo;
	struct oid at;

	/* All writers of one ref take one lock, whatever name they came by. */
	if (!create && read_branch(a, &at, fail) < 0)
		return fail->kind;
	return ref_lock_take(repo, a->leaf ? a->leaf : a->branch,
			     clock_deadline(repo->conf.lock_timeout), &a->lock, fail);
}

/* A branch that we made goes again, unless somebody can have taken it meanwhile. */
static void undo(struct attach *a, bool moved)
{
	const struct head_move back = {.from = &a->base, .to = &a->base, .left = a->branch};
	struct fail ignored = FAIL_INIT;

	if (moved)
		birth_move_head(a->slot, &back, &ignored);
	else if (a->made)
		swap_branch(a, false, &ignored);
}

/*
 * Our own processes take turns by the lock of the ref: of two that want one branch,
 * the second sees the first one's HEAD. A plain git is seen by looking again.
 */
static int attach_locked(struct attach *a, bool create, struct fail *fail)
{
	const struct head_move move = {.from = &a->base, .to = &a->base, .branch = a->branch};
	bool moved = false;

	if (refuse_shared(a, fail) < 0)
		return fail->kind;
	if (create)
		a->made = swap_branch(a, true, fail) == 0;
	else
		refuse_moved(a, fail);
	if (fail->kind == 0)
		moved = birth_move_head(a->slot, &move, fail) == 0;
	if (moved && refuse_shared(a, fail) == 0)
		refuse_moved(a, fail);
	if (fail->kind)
		undo(a, moved);
	return fail->kind;
}

int birth_attach(struct slot *slot, const char *branch, bool create, struct fail *fail)
{
	struct attach a = {.slot = slot, .branch = branch, .lock = REF_LOCK_INIT};

	if (check_branch_name(branch, fail) < 0)
		return fail->kind;
	if (!slot->locked || slot->admin < 0)
		return fail_set(fail, FAIL_FATAL, "slot '%s' is not locked, and gets no branch",
				slot->name);
	if (birth_read_head(slot, &a.base, fail) == 0 && take_lock(&a, create, fail) == 0)
		attach_locked(&a, create, fail);
	ref_lock_drop(&a.lock);
	free(a.leaf);
	return fail->kind;
}
