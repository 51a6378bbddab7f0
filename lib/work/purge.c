/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "purge.h"

#include "erase.h"
#include "hash.h"
#include "lock.h"
#include "mutex.h"
#include "packdir.h"
#include "ref.h"
#include "slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct purge {
	struct repo *repo;
	bool act;
	struct argv *steps;
	struct ref_item {
		char *name;
		struct oid oid;
	} * refs;
	size_t count, cap;
};

/* A slot's worktree would lose what says whose it is. */
int purge_check(struct repo *repo, struct fail *fail)
{
	struct mutex_runs runs = {0};
	struct slots slots = {0};

	if (slots_look(repo, NULL, false, &slots, fail) == 0 && slots.count)
		fail_set(fail, FAIL_NO,
			 "there are slots (%zu, '%s' is one); give them back, and 'git "
			 "worktree-reap "
			 "--remove' removes them first",
			 slots.count, slots.items[0].name);
	if (fail->kind == 0 && mutex_look(repo, &runs, fail) == 0 && runs.count)
		fail_set(fail, FAIL_BUSY, "'%s' is under way (mutex '%s', pid %d)",
			 runs.items[0].command, runs.items[0].mutex, (int)runs.items[0].pid);
	slots_release(&slots);
	mutex_runs_release(&runs);
	return fail->kind;
}

static int add_ref(void *arg, const char *name, const struct oid *oid, UNUSED struct fail *fail)
{
	struct purge *purge = arg;
	char hex[OID_HEX_MAX + 1];

	MEM_GROW(purge->refs, purge->cap, purge->count + 1);
	purge->refs[purge->count++] = (struct ref_item){mem_strdup(name), *oid};
	argv_pushf(purge->steps, "delete %s, which holds %s", name, oid_hex(oid, hex));
	return 0;
}

static int delete_ref(struct repo *repo, const struct ref_item *item, struct fail *fail)
{
	int64_t deadline = clock_deadline(repo->conf.lock_timeout);
	struct ref_lock lock = REF_LOCK_INIT;
	struct oid now;
	struct ref_swap swap = {.name = item->name,
				.old_oid = item->oid,
				.no_deref = true,
				.deadline = deadline,
				.reason = "interlock: purge"};

	oid_zero(repo->algo, &swap.new_oid);
	if (ref_lock_take(repo, item->name, deadline, &lock, fail) == 0)
		ref_swap(repo, &lock, &swap, &now, fail);
	ref_lock_drop(&lock);
	return fail->kind ? fail_context(fail, "delete '%s'", item->name) : 0;
}

/* Ours by what it says, as everywhere (packdir.h). */
static int let_go_of_packs(struct purge *purge, struct fail *fail)
{
	char *path = mem_printf("%s/pack", purge->repo->object_dir);
	struct bytes names = BYTES_INIT;
	int dir = file_open_dir(AT_FDCWD, path, fail);
	size_t count = 0;

	if (dir < 0) {
		if (fail->kind == FAIL_GONE)
			fail_clear(fail);
		goto done;
	}
	file_each_name(dir, &names, fail);
	for (char *p = names.data; fail->kind == 0 && p < names.data + names.len;
	     p += strlen(p) + 1) {
		struct fail ignored = FAIL_INIT;
		unsigned level;

		if (!packdir_is_keep(p, 2 * hash_size(purge->repo->algo)) ||
		    !packdir_read_level(dir, p, &level, &ignored))
			continue;
		count++;
		if (purge->act && unlinkat(dir, p, 0) < 0 && errno != ENOENT)
			fail_errno(fail, "remove '%s/%s'", path, p);
	}
	close(dir);
	if (count)
		argv_pushf(purge->steps,
			   "leave %zu pack(s) to git, whose gc takes what nothing reaches", count);
done:
	bytes_release(&names);
	free(path);
	return fail->kind;
}

static int erase_folder(struct purge *purge, struct fail *fail)
{
	struct repo *repo = purge->repo;

	if (faccessat(repo->common_fd, "interlock", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	argv_pushf(purge->steps, "remove '%s/interlock'", repo->common_dir);
	return purge->act ? erase_tree(repo->common_fd, "interlock", fail) : 0;
}

int purge_repository(struct repo *repo, bool act, struct argv *steps, struct fail *fail)
{
	static const char *const prefixes[] = {"refs/shadow/", "refs/shadow-old/", "refs/rescue/"};
	struct purge purge = {.repo = repo, .act = act, .steps = steps};
	struct lock lock = LOCK_INIT;
	int locks = -1;

	if (purge_check(repo, fail) < 0)
		return fail->kind;
	/* Without our folder there is no save, and nothing to lock it by. */
	if (act && faccessat(repo->common_fd, "interlock", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (locks = repo_state_dir(repo, "locks", fail)) >= 0)
		lock_take(&lock, locks, "objects", LOCK_EXCLUSIVE,
			  clock_deadline(repo->conf.lock_timeout), NULL, &repo->modes, fail);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes) && fail->kind == 0; i++)
		ref_each(repo, prefixes[i], add_ref, &purge, fail);
	for (size_t i = 0; act && i < purge.count && fail->kind == 0; i++)
		delete_ref(repo, &purge.refs[i], fail);
	if (fail->kind == 0 && let_go_of_packs(&purge, fail) == 0)
		erase_folder(&purge, fail);
	for (size_t i = 0; i < purge.count; i++)
		free(purge.refs[i].name);
	free(purge.refs);
	lock_drop(&lock);
	if (locks >= 0)
		close(locks);
	return fail->kind;
}
