/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit show and diff: checkpoints, rendered by git. */
#include "shadow.h"

#include "history.h"
#include "plumb.h"
#include "shadowgit.h"
#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct view {
	struct argv options; /* git's */
	struct argv names;   /* checkpoints */
	struct argv paths;   /* with the "--" in front */
	bool json;
};

static const char show_usage[] = "usage: git shadow-commit show [<checkpoint>] [--json] [<git-show "
				 "options>] [-- <path>...]\n";
static const char diff_usage[] =
	"usage: git shadow-commit diff [<checkpoint> [<checkpoint>]] [<git-diff options>]\n"
	"                              [-- <path>...]\n";

static int parse(int argc, char **argv, size_t most, struct view *view, struct fail *fail)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--json"))
			view->json = true;
		else
			argv_push(argv[i][0] == '-' ? &view->options : &view->names, argv[i]);
	}
	for (; i < argc; i++)
		argv_push(&view->paths, argv[i]);
	if (view->names.count > most)
		return fail_set(fail, FAIL_USAGE,
				"too many checkpoints at '%s' (paths go behind --)",
				view->names.items[most]);
	return 0;
}

static void release(struct view *view)
{
	argv_release(&view->options);
	argv_release(&view->names);
	argv_release(&view->paths);
}

static void push_list(struct argv *to, const struct argv *from)
{
	for (size_t i = 0; i < from->count; i++)
		argv_push(to, from->items[i]);
}

static int resolve(struct odb *odb, const struct view *view, size_t i, struct oid *id,
		   struct fail *fail)
{
	char *chain = NULL;
	int r = checkpoint_ref(odb->repo, &chain, fail);

	if (r == 0)
		r = checkpoint_resolve(odb, chain,
				       i < view->names.count ? view->names.items[i] : NULL, id,
				       NULL, fail);
	free(chain);
	return r;
}

/* ---- show ---------------------------------------------------------------------------------- */

static int show_json(struct odb *odb, const struct oid *id, struct fail *fail)
{
	struct checkpoint cp = CHECKPOINT_INIT;
	struct out out;

	if (checkpoint_read(odb, id, &cp, fail) < 0)
		return fail->kind;
	out_open(&out, OUT_JSON, STDOUT_FILENO);
	shadow_record(&out, &cp);
	checkpoint_release(&cp);
	return out_close(&out, fail);
}

static int show(struct odb *odb, const struct view *view, struct fail *fail)
{
	struct bytes grafts = BYTES_INIT;
	struct argv args = ARGV_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid id, stop;

	if (resolve(odb, view, 0, &id, fail) < 0)
		return fail->kind;
	if (view->json)
		return show_json(odb, &id, fail);
	argv_push_all(&args, "show", "--diff-merges=first-parent", NULL);
	push_list(&args, &view->options);
	argv_push(&args, oid_hex(&id, hex));
	push_list(&args, &view->paths);
	if (history_grafts(odb, &id, &grafts, &stop, fail) == 0)
		shadow_exec_git(&args, &grafts, fail);
	argv_release(&args);
	bytes_release(&grafts);
	return fail->kind;
}

/* ---- diff ----------------------------------------------------------------------------------- */

static void diff_args(const struct view *view, const struct oid *a, const struct oid *b,
		      struct argv *args)
{
	char hex[OID_HEX_MAX + 1];

	argv_push(args, "diff");
	push_list(args, &view->options);
	argv_push(args, oid_hex(a, hex));
	argv_push(args, oid_hex(b, hex));
	push_list(args, &view->paths);
}

/*
 * Against the work tree as it is now, untracked files included: git makes a tree
 * of it in a private index and object directory, which go away afterwards.
 */
static int diff_with_present(struct repo *repo, const struct view *view, const struct oid *id,
			     int *status, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct plumb plumb = PLUMB_INIT;
	struct argv failed = ARGV_INIT;
	struct oid tree;

	if (plumb_begin(repo, &plumb, fail) < 0 || plumb_add(&plumb, NULL, 0, &failed, fail) < 0 ||
	    plumb_write_tree(&plumb, &tree, fail) < 0)
		goto done;
	for (size_t i = 0; i < failed.count; i++)
		status_say("warning: '%s' could not be read", failed.items[i]);
	argv_push(&cmd.argv, "git");
	diff_args(view, id, &tree, &cmd.argv);
	for (size_t i = 0; i < plumb.env.count; i++)
		argv_push(&cmd.env, plumb.env.items[i]);
	cmd.inherit_stdin = true;
	if (spawn_wait(&cmd, fail) == 0)
		*status = cmd.status;
done:
	spawn_release(&cmd);
	argv_release(&failed);
	plumb_end(&plumb);
	return fail->kind;
}

static int diff(struct odb *odb, const struct view *view, int *status, struct fail *fail)
{
	const struct bytes no_grafts = BYTES_INIT;
	struct argv args = ARGV_INIT;
	struct oid a, b;

	if (resolve(odb, view, 0, &a, fail) < 0)
		return fail->kind;
	if (view->names.count < 2) {
		if (!odb->repo->work_tree)
			return fail_set(fail, FAIL_UNSUPPORTED,
					"there is no work tree here: name two checkpoints");
		return diff_with_present(odb->repo, view, &a, status, fail);
	}
	if (resolve(odb, view, 1, &b, fail) < 0)
		return fail->kind;
	diff_args(view, &a, &b, &args);
	shadow_exec_git(&args, &no_grafts, fail);
	argv_release(&args);
	return fail->kind;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int run(int argc, char **argv, bool is_diff)
{
	struct view view = {0};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	struct odb odb;
	int status = STATUS_OK;

	if (argc > 1 && !strcmp(argv[1], "-h")) {
		fputs(is_diff ? diff_usage : show_usage, stdout);
		return STATUS_OK;
	}
	if (parse(argc, argv, is_diff ? 2 : 1, &view, &fail) == 0) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0) {
			odb_init(&odb, &repo);
			if (is_diff)
				diff(&odb, &view, &status, &fail);
			else
				show(&odb, &view, &fail);
			odb_release(&odb);
		}
		repo_close(&repo);
	}
	release(&view);
	return fail.kind ? status_report(SHADOW_COMMAND, &fail) : status;
}

int shadow_show(int argc, char **argv)
{
	return run(argc, argv, false);
}

int shadow_diff(int argc, char **argv)
{
	return run(argc, argv, true);
}
