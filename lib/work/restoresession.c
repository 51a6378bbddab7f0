/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "restoreplan.h"

#include "history.h"
#include "pathspec.h"
#include "ref.h"

#include <stdlib.h>
#include <string.h>

/*
 * Undoing one session. Only its path saves say what it did: a save of the whole
 * tree attributes nothing to anybody. For each path that they name:
 *
 *	first save of the session that names it	  -> what was there before is the goal
 *	last save of the session that names it	  -> what is there now must be this
 *
 * A path that is not as the last one left it has been changed by another session or
 * an unrecorded hand; one that another session's path save has changed in between
 * belongs to both. Either is listed and left alone.
 */

static const char reason_since[] = "changed since by another session or hand";
static const char reason_between[] = "another session has changed it too";

/* One path save of any session. */
struct path_save {
	struct oid tree, before; /* after it, and of the checkpoint before it */
	struct oid base;
	struct argv specs;
	bool ours; /* of the session that is undone */
};

struct saves {
	struct restore *r;
	struct path_save *list; /* newest first */
	size_t count, cap;
	bool open; /* the last one's `before` is still to come */
	/* while items are made */
	size_t at;
};

static bool names(const struct path_save *save, const char *path)
{
	for (size_t i = 0; i < save->specs.count; i++)
		if (pathspec_covers(save->specs.items[i], path))
			return true;
	return false;
}

static void take_specs(struct saves *saves, const struct checkpoint *cp, struct argv *specs)
{
	for (size_t i = 0; i < cp->paths.count; i++) {
		struct fail magic = FAIL_INIT;
		char *spec;

		if (pathspec_recorded(cp->paths.items[i], &spec, &magic) == 0)
			argv_take(specs, spec);
		else
			argv_push(&saves->r->notes, magic.message);
	}
}

static int take_save(void *arg, const struct checkpoint *cp, UNUSED struct fail *fail)
{
	struct saves *saves = arg;
	struct path_save *save;

	if (saves->open)
		saves->list[saves->count - 1].before = cp->tree;
	saves->open = cp->paths.count > 0;
	if (!saves->open)
		return 0;
	MEM_GROW(saves->list, saves->cap, saves->count + 1);
	save = &saves->list[saves->count++];
	*save = (struct path_save){.tree = cp->tree,
				   .base = cp->base,
				   .ours = cp->session &&
					   !strcmp(cp->session, saves->r->options->undo_session)};
	take_specs(saves, cp, &save->specs);
	return 0;
}

/* Before the first checkpoint there was the commit that it was based on. */
static int close_last(struct saves *saves, struct fail *fail)
{
	struct path_save *last;
	struct commit commit = {0};

	if (!saves->open)
		return 0;
	last = &saves->list[saves->count - 1];
	oid_zero(saves->r->repo->algo, &last->before);
	if (!oid_is_zero(&last->base) &&
	    commit_read(saves->r->odb, &last->base, &commit, fail) == 0)
		last->before = commit.tree;
	commit_release(&commit);
	return fail->kind;
}

/* Our oldest and newest save that name the path; false when none does. */
static bool find_span(const struct saves *saves, const char *path, size_t *oldest, size_t *newest)
{
	bool found = false;

	for (size_t i = 0; i < saves->count; i++) {
		if (!saves->list[i].ours || !names(&saves->list[i], path))
			continue;
		if (!found)
			*newest = i;
		*oldest = i;
		found = true;
	}
	return found;
}

static bool same_entry(const struct tree_entry *a, const struct tree_entry *b)
{
	return a->mode == b->mode && (!a->mode || oid_equal(&a->oid, &b->oid));
}

/* Has a path save of another session, between our first and our last, changed the path? */
static int changed_between(const struct saves *saves, const char *path, size_t oldest,
			   size_t newest, bool *changed, struct fail *fail)
{
	*changed = false;
	for (size_t i = newest + 1; i < oldest && !*changed; i++) {
		const struct path_save *save = &saves->list[i];
		struct tree_entry before, after;

		if (save->ours || !names(save, path))
			continue;
		if (restore_entry(saves->r->odb, &save->before, path, &before, fail) < 0 ||
		    restore_entry(saves->r->odb, &save->tree, path, &after, fail) < 0)
			return fail->kind;
		*changed = !same_entry(&before, &after);
	}
	return 0;
}

static int find_reason(const struct saves *saves, const char *path, const struct tree_entry *now,
		       size_t oldest, size_t newest, const char **reason, struct fail *fail)
{
	struct tree_entry left;
	bool between;

	*reason = NULL;
	if (restore_entry(saves->r->odb, &saves->list[newest].tree, path, &left, fail) < 0)
		return fail->kind;
	if (!same_entry(now, &left))
		*reason = reason_since;
	else if (changed_between(saves, path, oldest, newest, &between, fail) == 0 && between)
		*reason = reason_between;
	return fail->kind;
}

/* One difference between the present and the goal of the save at `saves->at`. */
static int judge_difference(void *arg, const char *path, uint32_t old_mode,
			    const struct oid *old_oid, uint32_t new_mode, const struct oid *new_oid,
			    struct fail *fail)
{
	struct saves *saves = arg;
	struct tree_entry now = {.mode = old_mode, .oid = *old_oid};
	size_t oldest = 0, newest = 0;
	const char *reason;

	if (!restore_in_scope(saves->r, path) || !find_span(saves, path, &oldest, &newest))
		return 0;
	/* With a checkpoint there is one goal for all; else that of the first save. */
	if (!saves->r->target.segment && oldest != saves->at)
		return 0;
	if (find_reason(saves, path, &now, oldest, newest, &reason, fail) == 0)
		restore_add(saves->r, path, old_mode, old_oid, new_mode, new_oid, reason);
	return fail->kind;
}

static int add_items(struct saves *saves, struct fail *fail)
{
	struct restore *r = saves->r;

	if (r->target.segment)
		return tree_diff(r->odb, &r->present, &r->target.tree, judge_difference, saves,
				 fail);
	for (saves->at = 0; saves->at < saves->count && fail->kind == 0; saves->at++)
		if (saves->list[saves->at].ours)
			tree_diff(r->odb, &r->present, &saves->list[saves->at].before,
				  judge_difference, saves, fail);
	return fail->kind;
}

static int no_saves(const struct restore *r, struct fail *fail)
{
	return fail_set(fail, FAIL_GONE,
			"session '%s' has named no path in a save on '%s': there is nothing that "
			"is known to be its own",
			r->options->undo_session, r->chain);
}

int restore_plan_session(struct restore *r, struct fail *fail)
{
	struct saves saves = {.r = r};
	struct oid tip = r->saved.commit;
	struct history history;
	bool any = false;

	history_init(&history, r->odb);
	if (r->options->dry_run)
		ref_read(r->repo, r->chain, &tip, fail);
	if (fail->kind == FAIL_GONE) {
		fail_clear(fail);
		no_saves(r, fail);
	}
	if (fail->kind || history_each(&history, &tip, take_save, &saves, fail) < 0 ||
	    close_last(&saves, fail) < 0)
		goto done;
	for (size_t i = 0; i < saves.count; i++)
		any = any || saves.list[i].ours;
	if (any)
		add_items(&saves, fail);
	else
		no_saves(r, fail);
done:
	history_release(&history);
	for (size_t i = 0; i < saves.count; i++)
		argv_release(&saves.list[i].specs);
	free(saves.list);
	return fail->kind;
}
