/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packwrite.h"

#include "clock.h"
#include "packdir.h"
#include "packmidx.h"
#include "repo.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int sweep_drafts(const struct packdir *packs, int dir, struct fail *fail)
{
	const char *name = NULL;

	while (!fail->kind && (name = packdir_next_name(packs, name)))
		if (!strncmp(name, DRAFT_PREFIX, strlen(DRAFT_PREFIX)))
			draft_sweep(dir, name, fail);
	return fail->kind;
}

/*
 * Gives a pack its .idx again. It may never have had one (killed in step 3), or
 * git's gc may have taken it: only the second has objects that somebody needs,
 * and the two look the same. git reads the whole pack for it, so a torn one is
 * noticed.
 */
static int complete(const struct repo *repo, int dir, const char *base, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes draft = BYTES_INIT, out = BYTES_INIT;
	char *name = mem_printf("%s.idx", base);

	file_nonce_name(DRAFT_PREFIX, &draft);
	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "index-pack", "--no-rev-index", "-o", NULL);
	argv_pushf(&cmd.argv, "%s/pack/%s", repo->object_dir, draft.data);
	argv_pushf(&cmd.argv, "%s/pack/%s.pack", repo->object_dir, base);
	if (spawn_capture(&cmd, &out, fail) < 0)
		fail_context(fail, "index '%s.pack'", base);
	else if (renameat(dir, draft.data, dir, name) < 0)
		fail_errno(fail, "create '%s' in the pack directory", name);
	else if (repo->conf.durable && fsync(dir) < 0)
		fail_errno(fail, "fsync '%s/pack'", repo->object_dir);
	if (fail->kind)
		unlinkat(dir, draft.data, 0);
	spawn_release(&cmd);
	bytes_release(&draft);
	bytes_release(&out);
	free(name);
	return fail->kind;
}

static bool half_way(const struct own_pack *pack)
{
	return !pack->has_pack || !pack->has_idx;
}

static int finish_half_way(const struct repo *repo, int dir, const struct packdir *packs,
			   struct fail *fail)
{
	struct fail first = FAIL_INIT;
	uint64_t freed = 0;

	for (size_t i = 0; i < packs->count; i++) {
		const struct own_pack *pack = &packs->packs[i];
		struct fail one = FAIL_INIT;

		if (!pack->has_pack)
			packdir_remove(dir, pack->base, &freed, &one);
		else if (!pack->has_idx)
			complete(repo, dir, pack->base, &one);
		if (one.kind && !first.kind)
			first = one;
	}
	if (first.kind)
		*fail = first;
	return fail->kind;
}

static bool any_half_way(const struct packdir *packs)
{
	for (size_t i = 0; i < packs->count; i++)
		if (half_way(&packs->packs[i]))
			return true;
	return false;
}

/* A live writer can be between two steps, so nobody may be writing while this judges. */
static int sweep_packs(struct repo *repo, int dir, bool exclusive, struct fail *fail)
{
	struct lock objects = LOCK_INIT;
	struct packdir packs = PACKDIR_INIT;

	if (!exclusive && pack_take_lock(repo, &objects, "objects", 0, fail) < 0) {
		if (fail->kind == FAIL_BUSY)
			fail_clear(fail);
		return fail->kind;
	}
	if (packdir_list(&packs, dir, 2 * hash_size(repo->algo), 1, fail) == 0)
		finish_half_way(repo, dir, &packs, fail);
	packdir_release(&packs);
	lock_drop(&objects);
	return fail->kind;
}

static bool pack_gone(void *arg, const char *base)
{
	const int *dir = arg;
	char *name = mem_printf("%s.pack", base);
	bool gone = faccessat(*dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;

	free(name);
	return gone;
}

int pack_sweep(struct repo *repo, bool exclusive, struct fail *fail)
{
	struct lock lock = LOCK_INIT;
	struct packdir packs = PACKDIR_INIT;
	int dir = pack_open_dir(repo, fail);

	if (dir < 0)
		return dir;
	/* A merge publishes too, and does not hold "objects". */
	if (pack_take_lock(repo, &lock, "pack", clock_deadline(repo->conf.lock_timeout), fail) < 0)
		goto done;
	if (packdir_list(&packs, dir, 2 * hash_size(repo->algo), 1, fail) < 0 ||
	    sweep_drafts(&packs, dir, fail) < 0)
		goto done;
	if (any_half_way(&packs) && sweep_packs(repo, dir, exclusive, fail) < 0)
		goto done;
	packmidx_drop_if(dir, pack_gone, &dir, fail);
done:
	packdir_release(&packs);
	lock_drop(&lock);
	close(dir);
	return fail->kind;
}
