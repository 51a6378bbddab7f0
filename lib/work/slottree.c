/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "slottree.h"

#include "birth.h"
#include "clock.h"
#include "file.h"
#include "ref.h"
#include "spawn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int enter(struct slot *slot, struct repo *repo, struct fail *fail)
{
	int dir = slot_open_tree(slot, fail);

	if (dir < 0)
		return dir;
	worktree_enter(dir, repo, fail);
	close(dir);
	return fail->kind;
}

int slot_rescue(struct slot *slot, const char *lease, const char *doomed, struct salvage *out,
		struct fail *fail)
{
	struct repo repo;
	char *name = lease ? mem_strdup(lease) : slot_new_id();

	*out = (struct salvage){0};
	if (tidy_settings(slot, NULL, fail) == 0 && enter(slot, &repo, fail) == 0) {
		salvage_slot(slot, &repo, name, doomed, out, fail);
		repo_close(&repo);
	}
	free(name);
	return fail->kind;
}

int slot_tidy(struct slot *slot, const struct tidy_options *options, struct fail *fail)
{
	struct repo repo;

	if (enter(slot, &repo, fail) == 0) {
		tidy_slot(slot, &repo, options, fail);
		repo_close(&repo);
	}
	return fail->kind;
}

/* ---- what it hands back ------------------------------------------------------------------ */

/* Commits that HEAD has and the base does not. */
static uint64_t count_ahead(const struct slot *slot)
{
	struct fail ignored = FAIL_INIT;
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;
	uint64_t ahead = 0;

	if (!slot->record.base)
		return 0;
	argv_push_all(&cmd.argv, "git", "-c", "core.fsmonitor=false", "rev-list", "--count", NULL);
	argv_pushf(&cmd.argv, "%s..HEAD", slot->record.base);
	argv_push(&cmd.argv, "--");
	cmd.cwd = slot->path;
	if (spawn_capture(&cmd, &answer, &ignored) == 0)
		ahead = strtoull(answer.data, NULL, 10);
	spawn_release(&cmd);
	bytes_release(&answer);
	return ahead;
}

/* What it is on now, and not what it was claimed with: people switch branches. */
static char *present_branch(const struct slot *slot, struct fail *fail)
{
	struct worktrees list = {0};
	char *branch = NULL;

	if (worktrees_list(slot->repo, &list, fail) == 0)
		for (size_t i = 0; i < list.count; i++)
			if (list.items[i].id && list.items[i].branch &&
			    !strcmp(list.items[i].id, slot->id))
				branch = mem_strdup(list.items[i].branch);
	worktrees_release(&list);
	return branch;
}

/* Deletes it, from the value that was just rescued. */
static int delete_branch(struct slot *slot, const char *branch, const struct oid *at,
			 struct fail *fail)
{
	struct ref_lock lock = REF_LOCK_INIT;
	int64_t deadline = clock_deadline(slot->repo->conf.lock_timeout);
	struct ref_swap swap = {.name = branch,
				.old_oid = *at,
				.deadline = deadline,
				.reason = "worktree-claim: release --delete-branch"};
	struct oid now;

	oid_zero(slot->repo->algo, &swap.new_oid);
	if (ref_lock_take(slot->repo, branch, deadline, &lock, fail) == 0 &&
	    ref_swap(slot->repo, &lock, &swap, &now, fail) == FAIL_NO) {
		fail_clear(fail);
		fail_set(fail, FAIL_NO, "branch '%s' moved meanwhile; it was not deleted",
			 branch + 11);
	}
	ref_lock_drop(&lock);
	return fail->kind;
}

/* ---- the release --------------------------------------------------------------------------- */

static bool record_base(const struct slot *slot, struct oid *base)
{
	const char *hex = slot->record.base;

	return hex && oid_parse(slot->repo->algo, hex, strlen(hex), base);
}

static void set_free(struct slot *slot, const struct oid *base)
{
	char hex[OID_HEX_MAX + 1];

	slot_record_release(&slot->record);
	slot->record = (struct slot_record){.phase = SLOT_FREE,
					    .base = mem_strdup(oid_hex(base, hex)),
					    .since = (int64_t)time(NULL)};
}

/* Before anything is changed, the record included. */
static int check_tree(const struct slot *slot, struct fail *fail)
{
	int tree = slot_open_tree(slot, fail);

	if (tree >= 0)
		close(tree);
	return fail->kind;
}

static int begin_releasing(struct slot *slot, struct fail *fail)
{
	slot->record.phase = SLOT_RELEASING;
	if (procid_of(getpid(), &slot->record.owner, fail) < 0)
		return fail->kind;
	return slot_write(slot, fail);
}

/* Nobody has ever had it: there is nothing to rescue. */
static int finish_birth(struct slot *slot, struct fail *fail)
{
	char *lease = slot->record.lease;
	struct oid base;

	if (!record_base(slot, &base))
		return fail_set(fail, FAIL_CORRUPT, "the record of slot '%s' names no base",
				slot->name);
	if (birth_populate(slot, &base, fail) < 0)
		return fail->kind;
	slot->record.lease = NULL;
	set_free(slot, &base);
	if (slot_write(slot, fail) == 0 && lease)
		slot_drop_lease_file(slot->repo, lease);
	free(lease);
	return fail->kind;
}

/* It could not be saved or cleaned: whose it was it still is, for who tries the next time. */
static void undo_releasing(struct slot *slot, const struct slot_record *before)
{
	struct fail ignored = FAIL_INIT;

	if (slot->record.phase != SLOT_RELEASING)
		return;
	slot->record.phase = before->phase;
	slot->record.owner = before->owner;
	slot_write_back(slot, &ignored);
}

int slot_give_back(struct slot *slot, const struct pool_release *release, struct pool_released *out,
		   struct fail *fail)
{
	struct tidy_options tidy = {.all = release->clean_all};
	char *lease = mem_strdup(slot->record.lease ? slot->record.lease : "");
	const struct slot_record before =
		slot->record; /* its phase and owner; its texts are lent */
	/* Unlocked by hand while nobody had it: there is no record, and none to be half-way. */
	bool lost = slot->facts.reason != REASON_OURS && !slot->record.lease;
	const char *doomed = NULL;
	struct oid base, tip;

	out->branch = present_branch(slot, fail);
	out->base = slot->record.base ? mem_strdup(slot->record.base) : NULL;
	if (release->delete_branch && out->branch)
		doomed = out->branch;
	if (!lost && slot->record.phase == SLOT_BIRTH) {
		finish_birth(slot, fail);
		goto done;
	}
	if (fail->kind || check_tree(slot, fail) < 0 ||
	    (!lost && begin_releasing(slot, fail) < 0) ||
	    (doomed && ref_read(slot->repo, doomed, &tip, fail) < 0) ||
	    slot_rescue(slot, slot_work_of(&slot->record), doomed, &out->rescue, fail) < 0)
		goto done;
	/* Not before: until then the slot has settings of its lease's, and git would heed them. */
	out->ahead = count_ahead(slot);
	/* Nobody knows its base any more (the record was lost): it stays where its HEAD is. */
	if (!record_base(slot, &base))
		base = out->rescue.head;
	tidy.base = &base;
	tidy.found = &out->rescue;
	if (slot_tidy(slot, &tidy, fail) < 0 ||
	    (doomed && delete_branch(slot, doomed, &tip, fail) < 0))
		goto done;
	set_free(slot, &base);
	if (slot_write(slot, fail) == 0 && *lease)
		slot_drop_lease_file(slot->repo, lease);
done:
	if (fail->kind)
		undo_releasing(slot, &before);
	free(lease);
	return fail->kind;
}

void pool_released_release(struct pool_released *released)
{
	free(released->branch);
	free(released->base);
	salvage_release(&released->rescue);
	*released = (struct pool_released){0};
}
