/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "restoreplan.h"

#include "beneath.h"
#include "pathspec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char reason_submodule[] = "submodule";
static const char reason_nested[] = "nested repository";
static const char reason_file[] = "an unrecorded file is in the way";
static const char reason_dir[] = "a directory with unrecorded files is in the way";

/* ---- items --------------------------------------------------------------------------- */

static int compare_items(const void *a, const void *b)
{
	const struct restore_item *x = a, *y = b;

	return strcmp(x->path, y->path);
}

struct restore_item *restore_find(const struct restore *restore, const char *path)
{
	struct restore_item key = {.path = (char *)path};

	if (!restore->count)
		return NULL;
	return bsearch(&key, restore->items, restore->count, sizeof(key), compare_items);
}

void restore_keep(struct restore_item *item, const char *reason)
{
	item->result = RESTORE_KEPT;
	item->reason = reason;
}

static enum restore_action choose_action(const struct restore_item *item)
{
	if (!item->new_mode)
		return RESTORE_DELETE;
	if (item->old_mode != item->new_mode && oid_equal(&item->old_oid, &item->new_oid) &&
	    S_ISREG(item->old_mode) && S_ISREG(item->new_mode))
		return RESTORE_MODE;
	return RESTORE_WRITE;
}

void restore_add(struct restore *restore, const char *path, uint32_t old_mode,
		 const struct oid *old_oid, uint32_t new_mode, const struct oid *new_oid,
		 const char *reason)
{
	struct restore_item *item;

	MEM_GROW(restore->items, restore->cap, restore->count + 1);
	item = &restore->items[restore->count++];
	*item = (struct restore_item){.path = mem_strdup(path),
				      .old_mode = old_mode,
				      .new_mode = new_mode,
				      .old_oid = *old_oid,
				      .new_oid = *new_oid};
	item->action = choose_action(item);
	if (reason)
		restore_keep(item, reason);
}

bool restore_in_scope(const struct restore *restore, const char *path)
{
	for (size_t i = 0; i < restore->specs.count; i++)
		if (pathspec_covers(restore->specs.items[i], path))
			return true;
	return !restore->specs.count;
}

int restore_entry(struct odb *odb, const struct oid *tree, const char *path,
		  struct tree_entry *entry, struct fail *fail)
{
	struct fail miss = FAIL_INIT;
	int r = oid_is_zero(tree) ? FAIL_GONE : tree_lookup(odb, tree, path, entry, &miss);

	if (r == FAIL_GONE) {
		*entry = (struct tree_entry){0};
		oid_zero(odb->repo->algo, &entry->oid);
		return 0;
	}
	if (r < 0)
		*fail = miss;
	return r;
}

static int add_difference(void *arg, const char *path, uint32_t old_mode, const struct oid *old_oid,
			  uint32_t new_mode, const struct oid *new_oid, UNUSED struct fail *fail)
{
	struct restore *r = arg;

	if (restore_in_scope(r, path))
		restore_add(r, path, old_mode, old_oid, new_mode, new_oid, NULL);
	return 0;
}

/* A path that was typed and is nowhere is a mistake worth telling. */
static int check_specs(struct restore *r, struct fail *fail)
{
	for (size_t i = 0; i < r->specs.count; i++) {
		const char *spec = r->specs.items[i];
		struct tree_entry then = {0}, now = {0};
		bool found = !*spec || !pathspec_is_literal(spec);

		for (size_t k = 0; k < r->count && !found; k++)
			found = pathspec_covers(spec, r->items[k].path);
		if (!found && r->target.segment &&
		    restore_entry(r->odb, &r->target.tree, spec, &then, fail) < 0)
			return fail->kind;
		if (!found && restore_entry(r->odb, &r->present, spec, &now, fail) < 0)
			return fail->kind;
		if (!found && !then.mode && !now.mode)
			return fail_set(fail, FAIL_NO,
					"'%s' is neither in the checkpoint nor in what was saved",
					r->options->paths[i]);
	}
	return 0;
}

/* ---- what stands in the way -------------------------------------------------------------- */

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && path[n] == '/';
}

/* Why the save does not hold what is at this path; NULL: it does. */
static const char *skip_reason(const struct restore *r, const char *path)
{
	for (size_t i = 0; i < r->skipped_count; i++) {
		const char *skipped = r->skipped[i].path;

		if (!strcmp(path, skipped) || is_below(path, skipped) || is_below(skipped, path))
			return r->skipped[i].reason;
	}
	return NULL;
}

static bool exists(int top, const char *path)
{
	int fd = beneath_open(top, path, O_PATH);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Answers for the directories of the last path: consecutive paths share most of them. */
struct nested_memo {
	struct bytes dir;
	bool nested;
};

/* Is the path inside another repository's work tree? */
static bool is_nested(const struct restore *r, const char *path, struct nested_memo *memo)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	struct bytes probe = BYTES_INIT;

	if (n == memo->dir.len && !memcmp(memo->dir.data, path, n))
		return memo->nested;
	bytes_clear(&memo->dir);
	bytes_add(&memo->dir, path, n);
	memo->nested = false;
	for (size_t i = 1; i <= n && !memo->nested; i++) {
		if (path[i] != '/')
			continue;
		bytes_clear(&probe);
		bytes_add(&probe, path, i);
		bytes_adds(&probe, "/.git");
		memo->nested = exists(r->top, probe.data);
	}
	bytes_release(&probe);
	return memo->nested;
}

static void judge_always(const struct restore *r, struct restore_item *item,
			 struct nested_memo *memo)
{
	const char *reason;

	if (!restore_goes(item))
		return;
	if (tree_mode_is_gitlink(item->old_mode) || tree_mode_is_gitlink(item->new_mode))
		restore_keep(item, reason_submodule);
	else if ((reason = skip_reason(r, item->path)))
		restore_keep(item, reason);
	else if (is_nested(r, item->path, memo))
		restore_keep(item, reason_nested);
}

static bool will_go(const struct restore *r, const char *path)
{
	const struct restore_item *item = restore_find(r, path);

	return item && item->action == RESTORE_DELETE && restore_goes(item);
}

/* Will everything in the directory be deleted? `path` is changed and put back. */
static bool will_be_empty(const struct restore *r, struct bytes *path)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	size_t len = path->len;
	int fd = beneath_open(r->top, path->data, O_RDONLY | O_DIRECTORY);
	bool empty = fd >= 0 && file_each_name(fd, &names, &ignored) == 0;

	for (const char *p = names.data; empty && p < names.data + names.len; p += strlen(p) + 1) {
		struct stat st;

		bytes_addf(path, "/%s", p);
		if (fstatat(fd, p, &st, AT_SYMLINK_NOFOLLOW) == 0)
			empty = S_ISDIR(st.st_mode) ? will_be_empty(r, path)
						    : will_go(r, path->data);
		bytes_truncate(path, len);
	}
	if (fd >= 0)
		close(fd);
	bytes_release(&names);
	return empty;
}

/* A file where a directory must be: fine when it goes. */
static bool parents_go(const struct restore *r, const char *path)
{
	struct bytes part = BYTES_INIT;
	bool fine = true;

	for (const char *p = strchr(path, '/'); p && fine; p = strchr(p + 1, '/')) {
		int fd;

		bytes_clear(&part);
		bytes_add(&part, path, (size_t)(p - path));
		fd = beneath_open(r->top, part.data, O_PATH | O_DIRECTORY);
		if (fd >= 0) {
			close(fd);
			continue;
		}
		fine = errno == ENOENT || will_go(r, part.data);
		break;
	}
	bytes_release(&part);
	return fine;
}

/* Something that the present tree does not have, where a new file should come. */
static const char *find_obstacle(const struct restore *r, const char *path)
{
	struct bytes dir = BYTES_INIT;
	const char *reason = NULL;
	struct stat st;
	int fd = beneath_open(r->top, path, O_PATH);

	if (fd < 0)
		return errno == ENOENT || parents_go(r, path) ? NULL : reason_file;
	if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode)) {
		reason = reason_file;
	} else {
		bytes_adds(&dir, path);
		if (!will_be_empty(r, &dir))
			reason = reason_dir;
	}
	close(fd);
	bytes_release(&dir);
	return reason;
}

static void judge_obstacles(struct restore *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct restore_item *item = &r->items[i];
		const char *reason;

		if (!restore_goes(item) || item->action != RESTORE_WRITE || item->old_mode)
			continue;
		reason = find_obstacle(r, item->path);
		if (reason)
			restore_keep(item, reason);
	}
}

int restore_plan(struct restore *r, struct fail *fail)
{
	struct nested_memo memo = {.dir = BYTES_INIT};

	if (r->options->undo_session)
		restore_plan_session(r, fail);
	else
		tree_diff(r->odb, &r->present, &r->target.tree, add_difference, r, fail);
	if (r->count > 1)
		qsort(r->items, r->count, sizeof(*r->items), compare_items);
	if (fail->kind || check_specs(r, fail) < 0)
		return fail->kind;
	for (size_t i = 0; i < r->count; i++)
		judge_always(r, &r->items[i], &memo);
	bytes_release(&memo.dir);
	if (restore_judge_rules(r, fail) < 0)
		return fail->kind;
	judge_obstacles(r);
	return 0;
}
