/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * doctor: what killed processes of ours have left. None of it means anything by itself or
 * stands in anybody's way, and whoever comes next removes most of it; here it is told, and
 * removed at once.
 */
#include "doctorparts.h"

#include "birthparts.h"
#include "hash.h"
#include "intent.h"
#include "lock.h"
#include "mutex.h"
#include "pack.h"
#include "packdir.h"
#include "plumb.h"
#include "reap.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef void each_name(struct doctor_view *view, int dir, const char *folder, const char *name);

static void each_in(struct doctor_view *view, const char *folder, each_name *visit)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int dir = doctor_open(view->repo, folder);

	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
		visit(view, dir, folder, p);
	bytes_release(&names);
	close(dir);
}

static void add(struct doctor_view *view, enum doctor_ill ill, const char *folder, const char *name,
		char *detail)
{
	char *subject = mem_printf("%s/%s", folder, name);
	char *path = doctor_path(view->repo, subject);

	doctor_add(view->doctor, ill, subject, path, detail);
	free(subject);
	free(path);
}

static int64_t age_of(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? doctor_age(&st) : 0;
}

/* Is there such a folder, and its lock free? */
static bool is_free_dir(int dir, const char *name)
{
	struct fail fail = FAIL_INIT;
	int fd = file_open_dir(dir, name, &fail);
	bool is = fd >= 0 && lock_probe_open(fd, &fail) == 0;

	if (fd >= 0)
		close(fd);
	return is;
}

/* ---- births, removals, leases ------------------------------------------------------------ */

static bool begins_with_id(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	return !strncmp(name, prefix, n) && slot_id_valid(name + n);
}

static void look_at_debris(struct doctor_view *view, int dir, const char *folder, const char *name)
{
	enum doctor_ill ill;

	if (begins_with_id(name, BIRTH_STAGE))
		ill = ILL_BIRTH_LEFT;
	else if (begins_with_id(name, BIRTH_TRASH))
		ill = ILL_TRASH_LEFT;
	else
		return;
	/* A stage is made a moment before it is locked. */
	if (age_of(dir, name) >= DOCTOR_YOUNG && is_free_dir(dir, name))
		add(view, ill, folder, name, NULL);
}

static bool is_named(const struct doctor_view *view, const char *lease)
{
	for (size_t i = 0; i < view->slots.count; i++) {
		const struct slot *slot = &view->slots.items[i];

		if (slot->record.lease && !strcmp(slot->record.lease, lease))
			return true;
		/* Then these files are all that says whose it is. */
		if (slot->facts.birth != SLOT_NOT_OURS && slot->facts.reason != REASON_OURS)
			return true;
	}
	return false;
}

static void look_at_lease(struct doctor_view *view, int dir, const char *folder, const char *name)
{
	char *lease = mem_dup(name, strcspn(name, "."));

	/* A lease's files are there before its slot says so. */
	if (slot_id_valid(lease) && !strstr(name, ".tmp-") && !is_named(view, lease) &&
	    age_of(dir, name) >= DOCTOR_YOUNG && lock_look(dir, name) == LOCK_FREE)
		add(view, ILL_LEASE_LEFT, folder, name, NULL);
	free(lease);
}

/* ---- writers ----------------------------------------------------------------------------------
 */

static void add_intent(void *arg, const char *file)
{
	struct doctor_view *view = arg;
	char *name = mem_printf("interlock/%s", file);
	struct stat st;
	/* An empty one may be about to be locked. */
	bool young = fstatat(view->repo->common_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		     (!st.st_size && doctor_age(&st) < DOCTOR_YOUNG);

	free(name);
	if (young)
		return;
	add(view, ILL_INTENT_LEFT, "interlock", file, NULL);
}

static void add_run(void *arg, const char *file)
{
	add(arg, ILL_RUN_LEFT, "interlock/runs", file, NULL);
}

/* "<nonce>" and "<nonce>.lock": the lock is made first and goes last. */
static void look_at_tmp(struct doctor_view *view, int dir, const char *folder, const char *name)
{
	size_t n = strlen(name), tail = strlen(".lock");
	bool is_lock = n > tail && !strcmp(name + n - tail, ".lock");
	char *nonce = mem_dup(name, is_lock ? n - tail : n);
	char *lock = mem_printf("%s.lock", nonce);
	struct stat st;
	bool locked = fstatat(dir, lock, &st, AT_SYMLINK_NOFOLLOW) == 0;

	/* A folder with its lock is told once. */
	if (!(is_lock && fstatat(dir, nonce, &st, AT_SYMLINK_NOFOLLOW) == 0) &&
	    age_of(dir, name) >= DOCTOR_YOUNG && (!locked || lock_look(dir, lock) == LOCK_FREE))
		add(view, ILL_TMP_LEFT, folder, name, NULL);
	free(nonce);
	free(lock);
}

/* "<name>.tmp-<nonce>" */
static bool is_draft(const char *name)
{
	const char *at = strstr(name, ".tmp-");

	return at && at != name && strlen(at) == strlen(".tmp-") + 16 &&
	       strspn(at + strlen(".tmp-"), "0123456789abcdef") == 16;
}

static void look_at_draft(struct doctor_view *view, int dir, const char *folder, const char *name)
{
	int64_t age = age_of(dir, name);

	if (is_draft(name) && age >= DOCTOR_DRAFT)
		add(view, ILL_DRAFT_LEFT, folder, name, doctor_span(age));
}

static void look_at_drafts(struct doctor_view *view)
{
	static const char *const folders[] = {"interlock",	  "interlock/tips",
					      "interlock/keep",	  "interlock/cache",
					      "interlock/leases", "interlock/runs"};

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		each_in(view, folders[i], look_at_draft);
	for (size_t i = 0; i < view->slots.count; i++) {
		const struct slot *slot = &view->slots.items[i];
		char *folder = mem_printf("worktrees/%s", slot->id);

		if (slot->facts.birth != SLOT_NOT_OURS)
			each_in(view, folder, look_at_draft);
		free(folder);
	}
}

/* ---- packs ---------------------------------------------------------------------------- */

static bool nobody_writes_packs(const struct repo *repo)
{
	static const char *const names[] = {"objects", "pack"};
	int dir = doctor_open(repo, "interlock/locks");
	bool nobody = true;

	for (size_t i = 0; dir >= 0 && i < ARRAY_SIZE(names); i++) {
		struct fail fail = FAIL_INIT;
		int fd = file_open(dir, names[i], O_RDONLY, NULL, &fail);

		/* "objects" is shared by those who save: it must be got alone. */
		if (fd >= 0) {
			nobody = nobody && lock_take_open(fd, names[i], 0, &fail) == 0;
			close(fd);
		} else if (fail.kind != FAIL_GONE) {
			nobody = false;
		}
	}
	if (dir >= 0)
		close(dir);
	return nobody;
}

static bool is_draft_pack(const char *name)
{
	static const char prefix[] = ".tmp-interlock-";

	return !strncmp(name, prefix, strlen(prefix));
}

static void add_pack(struct doctor_view *view, const char *base, const char *extension,
		     const char *what)
{
	char *name = mem_printf("%s%s", base, extension);
	char *path = mem_printf("%s/pack/%s", view->repo->object_dir, name);

	doctor_add(view->doctor, ILL_PACK_LEFT, name, path, mem_strdup(what));
	free(name);
	free(path);
}

/* Does a pack with only some of its files stand there? In all of them, or as `base`. */
static bool is_half_way(const struct packdir *packs, const char *base)
{
	for (size_t i = 0; i < packs->count; i++)
		if ((!base || !strcmp(packs->packs[i].base, base)) &&
		    (!packs->packs[i].has_pack || !packs->packs[i].has_idx))
			return true;
	return false;
}

/*
 * Who is at it may be through, and somebody else have begun, between a look at the directory and
 * one at the locks. A pack that is half-way before nobody was writing, and after, is left.
 */
static void look_at_halves(struct doctor_view *view, int dir, const struct packdir *before)
{
	struct packdir after = PACKDIR_INIT;
	struct fail fail = FAIL_INIT;

	if (!is_half_way(before, NULL) || !nobody_writes_packs(view->repo))
		return;
	packdir_list(&after, dir, 2 * hash_size(view->repo->algo), 1, &fail);
	for (size_t i = 0; !fail.kind && i < after.count; i++) {
		const struct own_pack *pack = &after.packs[i];

		if (!is_half_way(before, pack->base))
			continue;
		if (!pack->has_pack)
			add_pack(view, pack->base, ".keep", "there is no pack to it");
		else if (!pack->has_idx)
			add_pack(view, pack->base, ".pack", "it has no index");
	}
	packdir_release(&after);
}

static void look_at_packs(struct doctor_view *view)
{
	char *path = mem_printf("%s/pack", view->repo->object_dir);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct packdir packs = PACKDIR_INIT;
	struct fail fail = FAIL_INIT;
	const char *name = NULL;

	free(path);
	if (dir < 0)
		return;
	if (packdir_list(&packs, dir, 2 * hash_size(view->repo->algo), 1, &fail) == 0) {
		while ((name = packdir_next_name(&packs, name)))
			if (is_draft_pack(name) && age_of(dir, name) >= DOCTOR_YOUNG &&
			    lock_look(dir, name) == LOCK_FREE)
				add_pack(view, name, "", "a pack that was being written");
		look_at_halves(view, dir, &packs);
	}
	packdir_release(&packs);
	close(dir);
}

/* ---- all ------------------------------------------------------------------------------ */

int doctor_left(struct doctor_view *view, struct fail *fail)
{
	struct intents intents;

	each_in(view, "interlock", look_at_debris);
	each_in(view, "interlock/leases", look_at_lease);
	each_in(view, "interlock/tmp", look_at_tmp);
	look_at_drafts(view);
	look_at_packs(view);
	if (intents_look(view->repo, &intents, fail) == 0)
		intents_each_dead(&intents, add_intent, view);
	intents_release(&intents);
	return fail->kind ? fail->kind : mutex_sweep(view->repo, true, add_run, view, fail);
}

/* ---- curing --------------------------------------------------------------------------- */

static void ignore_run(UNUSED void *arg, UNUSED const char *file)
{
}

static int remove_draft(struct doctor_view *view, const struct doctor_finding *finding,
			struct fail *fail)
{
	const char *slash = strrchr(finding->subject, '/');
	char *folder = mem_dup(finding->subject, (size_t)(slash - finding->subject));
	int dir = doctor_open(view->repo, folder);

	if (dir >= 0 && is_draft(slash + 1) && age_of(dir, slash + 1) >= DOCTOR_DRAFT &&
	    unlinkat(dir, slash + 1, 0) < 0)
		fail_errno(fail, "remove '%s'", finding->subject);
	if (dir >= 0)
		close(dir);
	free(folder);
	return fail->kind;
}

int doctor_cure_left(struct doctor_view *view, const struct doctor_finding *finding,
		     struct fail *fail)
{
	size_t swept;

	switch (finding->ill) {
	case ILL_RUN_LEFT:
		return mutex_sweep(view->repo, false, ignore_run, NULL, fail);
	case ILL_TMP_LEFT:
		plumb_sweep(view->repo);
		return 0;
	case ILL_DRAFT_LEFT:
		return remove_draft(view, finding, fail);
	case ILL_PACK_LEFT:
		return pack_sweep(view->repo, false, fail);
	default:
		if (!view->swept)
			reap_sweep(view->repo, &swept);
		view->swept = true;
		return 0;
	}
}
