/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "tidy.h"

#include "aside.h"
#include "beneath.h"
#include "commit.h"
#include "erase.h"
#include "file.h"
#include "operation.h"
#include "spawn.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One slot on its way to its base. */
struct tidying {
	struct slot *slot;
	struct repo *repo;
	const struct tidy_options *options;
	struct oid head;
	const char *lease; /* whose rescue it is, should more turn up */
	bool detached;
	bool shown; /* what git runs now shows how far it is */
	bool rules_differ; /* what was ignored may be untracked now */
};

static int run(struct tidying *t, struct fail *fail, ...) __attribute__((sentinel));

static int run(struct tidying *t, struct fail *fail, ...)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	const char *arg;
	va_list ap;

	repo_git(t->repo, &cmd);
	/* A slot whose index was split goes back to one that we can read. */
	argv_push_all(&cmd.argv, "-c", "core.splitIndex=false", NULL);
	if (t->shown)
		cmd.stderr_fd = STDERR_FILENO;
	va_start(ap, fail);
	while ((arg = va_arg(ap, const char *)))
		argv_push(&cmd.argv, arg);
	va_end(ap);
	spawn_capture(&cmd, &out, fail);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* ---- to the base ------------------------------------------------------------------ */

static int look_at_head(struct tidying *t, struct fail *fail)
{
	char *branch = NULL;

	if (repo_head_branch(t->repo, &branch, fail) < 0 ||
	    repo_head_commit(t->repo, &t->head, fail) < 0)
		return fail->kind;
	t->detached = !branch;
	free(branch);
	return 0;
}

static int note_rules(void *arg, const char *path, UNUSED uint32_t old_mode,
		      UNUSED const struct oid *old_oid, UNUSED uint32_t new_mode,
		      UNUSED const struct oid *new_oid, UNUSED struct fail *fail)
{
	struct tidying *t = arg;
	const char *slash = strrchr(path, '/');

	if (!strcmp(slash ? slash + 1 : path, ".gitignore"))
		t->rules_differ = true;
	return 0;
}

/* Do HEAD and the base name the same things to be ignored? */
static int compare_rules(struct tidying *t, struct fail *fail)
{
	struct commit head = {0}, base = {0};
	struct odb odb;

	t->rules_differ =
		!t->options->found || t->options->found->rules_differ || oid_is_zero(&t->head);
	if (t->rules_differ || oid_equal(&t->head, t->options->base))
		return 0;
	odb_init(&odb, t->repo);
	if (commit_read(&odb, &t->head, &head, fail) == 0 &&
	    commit_read(&odb, t->options->base, &base, fail) == 0)
		tree_diff(&odb, &head.tree, &base.tree, note_rules, t, fail);
	commit_release(&head);
	commit_release(&base);
	odb_release(&odb);
	return fail->kind;
}

static int detach(struct tidying *t, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];

	if (t->detached && oid_equal(&t->head, t->options->base))
		return 0;
	return run(t, fail, "update-ref", "--no-deref", "-m", "interlock: to the base", "HEAD",
		   oid_hex(t->options->base, hex), NULL);
}

/* Whatever the slot's files and its index hold. */
static int check_out(struct tidying *t, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];

	t->shown = t->slot->repo->git_progress;
	run(t, fail, "checkout", "--quiet", t->shown ? "--progress" : "--no-progress", "--detach",
	    "--no-recurse-submodules", "--force", oid_hex(t->options->base, hex), "--", NULL);
	t->shown = false;
	if (fail->kind)
		return fail->kind;
	t->detached = true;
	t->head = *t->options->base;
	return 0;
}

/*
 * Nothing differs from HEAD. `git read-tree` does not look at every file once more, as `git
 * checkout` does, but at those that it changes; from one tree it leaves an index that has the
 * ids of its directories, which a status in the slot profits from. HEAD follows in detach().
 * Should git find that something is in its way, the long way is left.
 */
static bool switch_clean(struct tidying *t)
{
	struct fail failed = FAIL_INIT;
	char hex[OID_HEX_MAX + 1];

	if (!t->options->found || !t->options->found->clean || oid_is_zero(&t->head))
		return false;
	return oid_equal(&t->head, t->options->base) ||
	       run(t, &failed, "read-tree", "-m", "-u", "--no-recurse-submodules",
		   oid_hex(t->options->base, hex), NULL) == 0;
}

/* ---- what is untracked ---------------------------------------------------------------- */

/* The directories that a removed path leaves empty go as well. */
static void remove_empty_parents(int top, char *path)
{
	char *slash;

	while ((slash = strrchr(path, '/'))) {
		char *name;
		int dir, r;

		*slash = '\0';
		name = strrchr(path, '/');
		dir = name ? (*name = '\0', beneath_open(top, path, O_PATH | O_DIRECTORY)) : top;
		if (name)
			*name = '/';
		r = dir < 0 ? -1 : unlinkat(dir, name ? name + 1 : path, AT_REMOVEDIR);
		if (dir >= 0 && dir != top)
			close(dir);
		if (r < 0)
			return;
	}
}

static int remove_path(int top, char *path, struct fail *fail)
{
	char *slash = strrchr(path, '/');
	int dir = top;

	if (slash) {
		*slash = '\0';
		dir = beneath_open(top, path, O_PATH | O_DIRECTORY);
		*slash = '/';
	}
	/* A symlink or a file on the way: then nothing is there under this name. */
	if (dir < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (dir < 0 || (unlinkat(dir, slash ? slash + 1 : path, 0) < 0 && errno != ENOENT))
		fail_errno(fail, "remove '%s'", path);
	if (dir >= 0 && dir != top)
		close(dir);
	if (fail->kind == 0)
		remove_empty_parents(top, path);
	return fail->kind;
}

static int remove_extras(struct tidying *t, const struct argv *extras, struct fail *fail)
{
	int top = slot_open_tree(t->slot, fail);

	for (size_t i = 0; i < extras->count && fail->kind == 0; i++) {
		char *path = mem_strdup(extras->items[i]);

		remove_path(top, path, fail);
		free(path);
	}
	if (top >= 0)
		close(top);
	return fail->kind;
}

/* Ignore rules are others now: what they do not name any more is rescued like the rest. */
static int look_again(struct tidying *t, struct fail *fail)
{
	struct salvage more, *found = t->options->found;

	if (salvage_slot(t->slot, t->repo, t->lease, NULL, &more, fail) == 0 &&
	    remove_extras(t, &more.extras, fail) == 0 && !more.listed && !more.clean)
		run(t, fail, "clean", "-ffdq", NULL);
	if (fail->kind == 0 && more.needed && found) {
		free(found->ref);
		found->ref = more.ref;
		more.ref = NULL;
		found->commit = more.commit;
		found->changed += more.changed;
		found->needed = true;
	}
	salvage_release(&more);
	return fail->kind;
}

/* ---- the room's front ------------------------------------------------------------------- */

static int clean(struct tidying *t, struct fail *fail)
{
	const struct salvage *found = t->options->found;

	if (t->options->all)
		return run(t, fail, "clean", "-ffdxq", NULL);
	if (t->rules_differ)
		return look_again(t, fail);
	return found && found->listed ? 0 : run(t, fail, "clean", "-ffdq", NULL);
}

int tidy_slot(struct slot *slot, struct repo *slot_repo, const struct tidy_options *options,
	      struct fail *fail)
{
	struct tidying t = {.slot = slot, .repo = slot_repo, .options = options};
	const struct argv none = ARGV_INIT;

	t.lease = options->found && options->found->lease ? options->found->lease
		  : slot->record.lease			  ? slot->record.lease
							  : "unleased";
	if (look_at_head(&t, fail) < 0 || compare_rules(&t, fail) < 0 ||
	    operation_clear(slot, slot_repo, fail) < 0)
		goto done;
	if (remove_extras(&t, options->found ? &options->found->extras : &none, fail) < 0)
		goto done;
	if (!switch_clean(&t) && check_out(&t, fail) < 0)
		goto done;
	if (detach(&t, fail) == 0 && clean(&t, fail) == 0 &&
	    aside_submodules(slot, slot_repo, t.lease, fail) == 0)
		erase_tree(slot->admin, OPERATION_FOUND, fail);
done:
	if (fail->kind)
		fail_context(fail, "clean slot '%s'", slot->name);
	return fail->kind;
}
