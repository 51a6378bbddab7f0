/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "expire.h"

#include "checkpoint.h"
#include "clock.h"
#include "oidset.h"
#include "pack.h"
#include "ref.h"
#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * A git that has just found an object in one of our packs, and has not made it
 * reachable yet, gets this long; packs used later are left for the next expire.
 */
#define GRACE_SECONDS 3600

/* ---- the plan ------------------------------------------------------------------------------ */

static int add_pin(void *arg, const char *name, const struct oid *oid, UNUSED struct fail *fail)
{
	struct expire_plan *plan = arg;

	MEM_GROW(plan->items, plan->cap, plan->count + 1);
	plan->items[plan->count++] = (struct expire_item){.pin = mem_strdup(name), .tip = *oid};
	return 0;
}

static size_t chain_part(const char *pin)
{
	return (size_t)(strrchr(pin, '/') - pin);
}

static bool same_chain(const char *a, const char *b)
{
	return chain_part(a) == chain_part(b) && !strncmp(a, b, chain_part(a));
}

/* How many checkpoints the chain's present segment has; 0 when the chain is gone. */
static int present_count(struct odb *odb, const char *pin, int64_t *count, struct fail *fail)
{
	struct checkpoint cp = CHECKPOINT_INIT;
	struct fail miss = FAIL_INIT;
	char *chain = checkpoint_chain_of_pin(pin);
	struct oid tip;
	int r = ref_read(odb->repo, chain, &tip, &miss);

	*count = 0;
	free(chain);
	if (r == FAIL_GONE)
		return 0;
	if (r < 0) {
		*fail = miss;
		return r;
	}
	if (checkpoint_read(odb, &tip, &cp, fail) == 0)
		*count = cp.number;
	checkpoint_release(&cp);
	return fail->kind;
}

static int judge_item(struct odb *odb, const struct expire_options *options,
		      struct expire_item *item, int64_t *kept, struct fail *fail)
{
	struct checkpoint cp = CHECKPOINT_INIT;

	if (checkpoint_read(odb, &item->tip, &cp, fail) < 0)
		return fail->kind;
	item->checkpoints = cp.number;
	item->time = cp.time;
	item->drop = (options->keep < 0 || *kept >= options->keep) &&
		     (options->older_than < 0 || cp.time < options->older_than);
	if (!item->drop)
		*kept += cp.number;
	checkpoint_release(&cp);
	return 0;
}

/* From the newest segment to the oldest; behind the first that goes, all go. */
static int judge_chain(struct odb *odb, const struct expire_options *options,
		       struct expire_item *items, size_t count, struct fail *fail)
{
	int64_t kept;
	bool dropping = false;

	if (present_count(odb, items[0].pin, &kept, fail) < 0)
		return fail->kind;
	for (size_t i = count; i-- > 0;) {
		if (judge_item(odb, options, &items[i], &kept, fail) < 0)
			return fail->kind;
		dropping = dropping || items[i].drop;
		items[i].drop = dropping;
	}
	return 0;
}

int expire_plan(struct odb *odb, const struct expire_options *options, struct expire_plan *plan,
		struct fail *fail)
{
	char *prefix = options->chain ? checkpoint_pin_name(options->chain, 0)
				      : mem_strdup("refs/shadow-old/");
	size_t from = 0;

	*plan = (struct expire_plan){0};
	*(strrchr(prefix, '/') + 1) = '\0';
	ref_each(odb->repo, prefix, add_pin, plan, fail);
	free(prefix);
	while (fail->kind == 0 && from < plan->count) {
		size_t to = from;

		while (to < plan->count && same_chain(plan->items[from].pin, plan->items[to].pin))
			to++;
		judge_chain(odb, options, plan->items + from, to - from, fail);
		from = to;
	}
	return fail->kind;
}

void expire_plan_release(struct expire_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		free(plan->items[i].pin);
	free(plan->items);
	*plan = (struct expire_plan){0};
}

/* ---- its execution --------------------------------------------------------------------------- */

static int delete_pin(struct repo *repo, const struct expire_item *item, struct fail *fail)
{
	int64_t deadline = clock_deadline(repo->conf.lock_timeout);
	struct ref_lock lock = REF_LOCK_INIT;
	struct oid now;
	struct ref_swap swap = {.name = item->pin,
				.old_oid = item->tip,
				.deadline = deadline,
				.reason = "shadow-commit: expire"};

	oid_zero(repo->algo, &swap.new_oid);
	if (ref_lock_take(repo, item->pin, deadline, &lock, fail) == 0)
		ref_swap(repo, &lock, &swap, &now, fail);
	ref_lock_drop(&lock);
	/* Somebody else expired it at the same time: that is what was asked for. */
	if (fail->kind == FAIL_NO && oid_is_zero(&now))
		fail_clear(fail);
	return fail->kind;
}

int expire_drop(struct repo *repo, struct expire_plan *plan, struct fail *fail)
{
	for (size_t i = 0; i < plan->count && fail->kind == 0; i++) {
		if (!plan->items[i].drop)
			continue;
		delete_pin(repo, &plan->items[i], fail);
		plan->items[i].done = fail->kind == 0;
	}
	return fail->kind;
}

static bool is_reached(void *arg, const struct oid *oid)
{
	return oidset_has(arg, oid);
}

static int read_ids(struct repo *repo, int fd, struct oidset *reached, struct fail *fail)
{
	size_t hex = hash_size(repo->algo) * 2;
	FILE *in = fdopen(fd, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!in)
		return fail_errno(fail, "read git rev-list");
	while (fail->kind == 0 && (n = getline(&line, &cap, in)) > 0) {
		struct oid oid;

		if ((size_t)n < hex || !oid_parse(repo->algo, line, hex, &oid))
			fail_set(fail, FAIL_FATAL, "git rev-list: unexpected answer");
		else
			oidset_add(reached, &oid);
	}
	if (ferror(in))
		fail_errno(fail, "read git rev-list");
	free(line);
	fclose(in);
	return fail->kind;
}

/* Every object that any ref, reflog, index or HEAD of any worktree reaches, as git says. */
static int list_reached(struct repo *repo, struct oidset *reached, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct coprocess rev_list = COPROCESS_INIT;
	int status;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "rev-list", "--objects", "--no-object-names", "--all", "--reflog",
		      "--indexed-objects", NULL);
	if (coprocess_start(&rev_list, &cmd, fail) == 0) {
		read_ids(repo, rev_list.from, reached, fail);
		rev_list.from = -1; /* closed with its stream */
		status = coprocess_end(&rev_list);
		if (status != 0)
			fail_set(fail, FAIL_FATAL,
				 "git rev-list failed (exit status %d); no object was dropped",
				 status);
	}
	spawn_release(&cmd);
	return fail->kind;
}

int expire_objects(struct repo *repo, uint64_t *bytes_freed, struct fail *fail)
{
	struct oidset reached = OIDSET_INIT;
	struct lock lock = LOCK_INIT;
	int dir = repo_state_dir(repo, "locks", fail);

	*bytes_freed = 0;
	if (dir < 0)
		return dir;
	if (lock_take(&lock, dir, "objects", LOCK_EXCLUSIVE,
		      clock_deadline(repo->conf.lock_timeout), &repo->modes, fail) < 0)
		fail_context(fail, "saves are under way; their objects stay for now");
	else if (list_reached(repo, &reached, fail) == 0)
		pack_filter(repo, is_reached, &reached, time(NULL) - GRACE_SECONDS, bytes_freed,
			    fail);
	lock_drop(&lock);
	close(dir);
	oidset_release(&reached);
	return fail->kind ? fail->kind : pack_sweep(repo, false, fail);
}
