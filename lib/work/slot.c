/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "slot.h"

#include "crew.h"
#include "lock.h"
#include "name.h"
#include "slotlook.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void slot_close(struct slot *slot)
{
	if (slot->admin >= 0)
		close(slot->admin);
	if (slot->work >= 0)
		close(slot->work);
	free(slot->name);
	free(slot->id);
	free(slot->path);
	free(slot->who);
	slot_birth_release(&slot->birth);
	slot_record_release(&slot->record);
	*slot = (struct slot){.admin = -1, .work = -1};
}

/* ---- the lock ------------------------------------------------------------------- */

/* Does the name still lead to the directory that we have open? */
static bool is_same_admin(const struct slot *slot)
{
	char *name = mem_printf("worktrees/%s", slot->id);
	struct stat open_dir, named;
	bool is = fstat(slot->admin, &open_dir) == 0 &&
		  fstatat(slot->repo->common_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		  open_dir.st_dev == named.st_dev && open_dir.st_ino == named.st_ino;

	free(name);
	return is;
}

int slot_lock(struct slot *slot, int64_t deadline, struct fail *fail)
{
	if (slot->admin < 0) {
		int admin = worktree_open_admin(slot->repo, slot->id, fail);

		if (admin < 0)
			return fail->kind;
		slot->admin = admin;
	}
	if (lock_take_open(slot->admin, slot->name, deadline, fail) < 0)
		return fail->kind;
	slot->locked = true;
	if (!is_same_admin(slot)) {
		slot_unlock(slot);
		return fail_set(fail, FAIL_GONE, "slot '%s' was removed meanwhile", slot->name);
	}
	slotlook_records(slot);
	if (slot_needs_inside(&slot->facts))
		slot_ask_inside(slot, false);
	return 0;
}

void slot_unlock(struct slot *slot)
{
	if (slot->admin >= 0 && slot->locked)
		flock(slot->admin, LOCK_UN);
	slot->locked = false;
}

int slot_open_tree(const struct slot *slot, struct fail *fail)
{
	int fd = file_open_dir(AT_FDCWD, slot->path, fail);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == 0 && slot_born_as(&slot->birth, &st))
		return fd;
	close(fd);
	return fail_set(fail, FAIL_CORRUPT,
			"'%s' is not the directory in which slot '%s' was born; it is left alone",
			slot->path, slot->name);
}

/* ---- many -------------------------------------------------------------------------- */

static int compare_slots(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;
	int by_pool;

	if (!x->birth.pool || !y->birth.pool) {
		if (!x->birth.pool != !y->birth.pool)
			return x->birth.pool ? -1 : 1;
		return strcmp(x->id, y->id);
	}
	by_pool = strcmp(x->birth.pool, y->birth.pool);
	if (by_pool)
		return by_pool;
	return x->birth.number < y->birth.number ? -1 : x->birth.number > y->birth.number;
}

/* "<encoded pool>-<digits>": the only thing that a slot without its birth record has. */
static bool has_id_in_pool(const char *id, const char *pool)
{
	struct bytes prefix = BYTES_INIT;
	bool has;

	name_encode(pool, &prefix);
	bytes_addc(&prefix, '-');
	has = !strncmp(id, prefix.data, prefix.len) && id[prefix.len] &&
	      strspn(id + prefix.len, "0123456789") == strlen(id + prefix.len);
	bytes_release(&prefix);
	return has;
}

bool slot_in_pool(const struct slot *slot, const char *pool)
{
	if (slot->facts.birth == SLOT_NOT_OURS)
		return false;
	return slot->birth.pool ? !strcmp(slot->birth.pool, pool) : has_id_in_pool(slot->id, pool);
}

static bool is_wanted(const struct slot *slot, const char *pool, bool foreign)
{
	if (slot->facts.birth == SLOT_NOT_OURS)
		return foreign;
	return !pool || slot_in_pool(slot, pool);
}

/* Descriptors that others need: the commands that we run, git's packs. */
#define DESCRIPTORS_LEFT 128

static int last_descriptor(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
		return INT_MAX;
	return (int)limit.rlim_cur - DESCRIPTORS_LEFT;
}

/* One pass over /proc for all of those whose state depends on it. */
static int ask_inside(struct slots *slots, struct fail *fail)
{
	struct inside_question *questions = mem_array(slots->count + 1, sizeof(*questions));
	struct inside *answers = mem_array(slots->count + 1, sizeof(*answers));
	struct slot **asked = mem_array(slots->count + 1, sizeof(struct slot *));
	size_t count = 0;

	for (size_t i = 0; i < slots->count; i++)
		if (slot_needs_inside(&slots->items[i].facts)) {
			asked[count] = &slots->items[i];
			slotlook_question(&slots->items[i], &questions[count++]);
		}
	if (count)
		inside_look(questions, count, answers, fail);
	for (size_t i = 0; i < count; i++) {
		if (fail->kind)
			asked[i]->facts.inside = INSIDE_UNKNOWN;
		else
			slotlook_inside(asked[i], &answers[i], false);
		asked[i]->state = slot_judge(&asked[i]->facts);
		inside_release(&answers[i]);
		slotlook_question_release(&questions[i]);
	}
	/* A /proc that cannot be read makes them unknown; it is no reason to stop. */
	fail_clear(fail);
	free(questions);
	free(answers);
	free(asked);
	return 0;
}

/* One of many, for whichever thread comes to it. */
struct look {
	const struct look_at *at;
	const char *id;
	struct slot slot;
	bool wanted;
};
struct look_at {
	struct repo *repo;
	int dir, last_descriptor;
	const char *pool;
	bool foreign;
};

#define FEW 32 /* slots that are looked at before another thread would have begun */

static void look_at_one(UNUSED struct crew *crew, UNUSED unsigned worker, void *job)
{
	struct look *look = job;
	const struct look_at *at = look->at;
	struct slot *slot = &look->slot;
	struct fail gone = FAIL_INIT; /* removed since the folder was read: the only failure */

	look->wanted = slotlook_open(at->repo, at->dir, look->id, slot, &gone) == 0 &&
		       is_wanted(slot, at->pool, at->foreign);
	if (!look->wanted) {
		slot_close(slot);
	} else if (slot->admin > at->last_descriptor) {
		close(slot->admin);
		slot->admin = -1;
	}
}

/*
 * Makes room for as many more descriptors while this is the only thread: with another one the
 * kernel waits, at each doubling, until no processor can still be reading the smaller table.
 */
static void reserve_descriptors(int dir, size_t count, int last)
{
	int want = count < (size_t)last ? (int)count + DESCRIPTORS_LEFT : last;
	int fd = fcntl(dir, F_DUPFD_CLOEXEC, want < last ? want : last);

	if (fd >= 0)
		close(fd);
}

/* All in the open folder "worktrees". */
static int look_at_each(const struct look_at *at, struct slots *out, struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	struct look *looks = NULL;
	size_t count = 0, cap = 0;
	struct crew *crew;

	if (file_each_name(at->dir, &names, fail) < 0 || !names.len)
		goto done;
	for (const char *id = names.data; id < names.data + names.len; id += strlen(id) + 1) {
		MEM_GROW(looks, cap, count + 1);
		looks[count++] = (struct look){.at = at, .id = id};
	}
	if (count > FEW)
		reserve_descriptors(at->dir, count, at->last_descriptor);
	crew = crew_new(count > FEW ? 0 : 1, look_at_one);
	for (size_t i = 0; i < count; i++)
		crew_add(crew, &looks[i]);
	crew_run(crew);
	crew_free(crew);
	out->items = mem_array(count, sizeof(*out->items));
	for (size_t i = 0; i < count; i++)
		if (looks[i].wanted)
			out->items[out->count++] = looks[i].slot;
done:
	free(looks);
	bytes_release(&names);
	return fail->kind;
}

int slots_look(struct repo *repo, const char *pool, bool foreign, struct slots *out,
	       struct fail *fail)
{
	int dir = file_open_dir(repo->common_fd, "worktrees", fail);
	struct look_at at = {.repo = repo,
			     .dir = dir,
			     .last_descriptor = last_descriptor(),
			     .pool = pool,
			     .foreign = foreign};

	*out = (struct slots){0};
	if (dir == FAIL_GONE) { /* git makes it with the first worktree */
		fail_clear(fail);
		return 0;
	}
	if (dir < 0)
		return dir;
	look_at_each(&at, out, fail);
	close(dir);
	if (fail->kind)
		return fail->kind;
	if (out->count)
		qsort(out->items, out->count, sizeof(*out->items), compare_slots);
	return ask_inside(out, fail);
}

void slots_release(struct slots *slots)
{
	for (size_t i = 0; i < slots->count; i++)
		slot_close(&slots->items[i]);
	free(slots->items);
	*slots = (struct slots){0};
}

/* ---- finding one ------------------------------------------------------------------------- */

/* "<pool>-<n>" -> the id of that slot; NULL when it is no such name. */
static char *id_of_name(const char *name)
{
	struct fail ignored = FAIL_INIT;
	const char *dash = strrchr(name, '-');
	struct bytes id = BYTES_INIT;
	char *pool;

	if (!dash || dash == name || !dash[1] || strspn(dash + 1, "0123456789") != strlen(dash + 1))
		return NULL;
	pool = mem_dup(name, (size_t)(dash - name));
	if (name_check(pool, "pool", &ignored) == 0) {
		name_encode(pool, &id);
		bytes_adds(&id, dash);
	}
	free(pool);
	return id.len ? bytes_take(&id) : NULL;
}

/* 0, or FAIL_GONE without a message. */
static int try_id(struct repo *repo, const char *id, struct slot *out)
{
	struct fail fail = FAIL_INIT;

	if (slot_look(repo, id, out, &fail) == 0)
		return 0;
	slot_close(out);
	return FAIL_GONE;
}

/* Is `inner` the directory `outer` or below it? */
static bool is_below(const char *inner, const char *outer)
{
	size_t len = strlen(outer);

	return !strncmp(inner, outer, len) && (inner[len] == '/' || !inner[len]);
}

/*
 * The longest path of a worktree that contains it. What the caller gives may lead
 * through symlinks, and what was recorded may as well by now: both are resolved.
 */
static int find_by_path(struct repo *repo, const char *given, struct slot *out, struct fail *fail)
{
	char *wanted = realpath(given, NULL);
	struct worktrees list = {0};
	char *best = NULL;
	size_t best_len = 0;

	if (!wanted) /* a vanished one is named by a path that is not there */
		wanted = mem_strdup(given);
	if (worktrees_list(repo, &list, fail) == 0)
		for (size_t i = 0; i < list.count; i++) {
			const struct worktree *item = &list.items[i];
			char *path = item->path ? realpath(item->path, NULL) : NULL;

			if (!path && item->path)
				path = mem_strdup(item->path);
			if (path && is_below(wanted, path) && strlen(path) >= best_len) {
				best_len = strlen(path);
				free(best);
				best = item->id ? mem_strdup(item->id) : NULL;
			}
			free(path);
		}
	worktrees_release(&list);
	free(wanted);
	if (fail->kind == 0 && (!best || try_id(repo, best, out) < 0))
		fail_set(fail, FAIL_GONE, "there is no slot at '%s'", given);
	free(best);
	return fail->kind;
}

int slot_find(struct repo *repo, const char *given, struct slot *out, struct fail *fail)
{
	char *id;
	int r;

	*out = (struct slot){.admin = -1, .work = -1};
	if (!given) {
		if (repo->worktree_id && try_id(repo, repo->worktree_id, out) == 0)
			return 0;
		return fail_set(fail, FAIL_GONE, "the current directory is not in a slot");
	}
	id = id_of_name(given);
	r = id ? try_id(repo, id, out) : FAIL_GONE;
	free(id);
	if (r < 0 && !strchr(given, '/'))
		r = try_id(repo, given, out);
	if (r == 0)
		return 0;
	if (find_by_path(repo, given, out, fail) == FAIL_GONE) {
		fail_clear(fail);
		fail_set(fail, FAIL_GONE, "there is no slot '%s'", given);
	}
	return fail->kind;
}

bool slot_is_callers(const struct slot *slot)
{
	const struct slot_record *record = &slot->record;
	const char *lease = getenv("GIT_INTERLOCK_LEASE");

	if (!record->lease)
		return false;
	if (lease && !strcmp(lease, record->lease))
		return true;
	if (record->kind == LEASE_TIME && record->phase == SLOT_LEASED)
		return record->uid == (int64_t)geteuid();
	return procid_is_ancestor(&record->owner);
}

/* ---- writing the record ------------------------------------------------------------------- */

static bool wants_work_lock(const struct slot *slot)
{
	const struct slot_record *record = &slot->record;

	return slot->work < 0 && record->lease && record->kind != LEASE_TIME &&
	       record->phase != SLOT_RELEASING && record->phase != SLOT_FREE;
}

/* Nobody else can have it: the id is new, and the slot's lock is ours. */
static int make_work_lock(struct slot *slot, int dir, struct fail *fail)
{
	struct lock lock = LOCK_INIT;
	char *name = mem_printf("%s.work", slot->record.lease);

	if (lock_take(&lock, dir, name, LOCK_EXCLUSIVE, 0, NULL, &slot->repo->modes, fail) == 0)
		slot->work = lock.fd;
	free(name);
	return fail->kind;
}

static int write_lease_file(struct slot *slot, const struct bytes *text, bool begins,
			    struct fail *fail)
{
	int dir;

	if (!slot->record.lease)
		return 0;
	dir = repo_state_dir(slot->repo, "leases", fail);
	if (dir < 0)
		return dir;
	if (!begins || !wants_work_lock(slot) || make_work_lock(slot, dir, fail) == 0)
		file_replace(dir, slot->record.lease, text->data, text->len, &slot->repo->modes,
			     slot->repo->conf.durable, fail);
	close(dir);
	return fail->kind;
}

static int write_records(struct slot *slot, bool begins, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	slot_record_format(&slot->record, slot->name, &text);
	if (write_lease_file(slot, &text, begins, fail) == 0 &&
	    file_replace(slot->admin, "locked", text.data, text.len, &slot->repo->modes,
			 slot->repo->conf.durable, fail) == 0)
		slot->facts.phase = slot->record.phase;
	bytes_release(&text);
	if (fail->kind)
		fail_context(fail, "record slot '%s'", slot->name);
	return fail->kind;
}

int slot_write(struct slot *slot, struct fail *fail)
{
	return write_records(slot, true, fail);
}

int slot_write_back(struct slot *slot, struct fail *fail)
{
	return write_records(slot, false, fail);
}

void slot_drop_lease_file(struct repo *repo, const char *lease)
{
	struct fail ignored = FAIL_INIT;
	char *work = mem_printf("%s.work", lease);
	int dir = slot_id_valid(lease) ? repo_state_dir(repo, "leases", &ignored) : -1;

	if (dir >= 0) {
		unlinkat(dir, work, 0);
		unlinkat(dir, lease, 0);
		close(dir);
	}
	free(work);
}
