/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit show and diff: checkpoints, rendered by git. */
#include "shadow.h"

#include "history.h"
#include "present.h"
#include "shadowgit.h"
#include "spawn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_TRIES 3

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

static int parse(int argc, char **argv, size_t most, bool json, struct view *view,
		 struct fail *fail)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--json") && json) {
			view->json = true;
			continue;
		}
		argv_push(argv[i][0] == '-' ? &view->options : &view->names, argv[i]);
		if (shadow_option_has_value(argv[i]) && i + 1 < argc)
			argv_push(&view->options, argv[++i]);
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
	struct history history;
	struct oid id, stop;

	if (resolve(odb, view, 0, &id, fail) < 0)
		return fail->kind;
	if (view->json)
		return show_json(odb, &id, fail);
	history_init(&history, odb);
	argv_push_all(&args, "show", "--diff-merges=first-parent", NULL);
	push_list(&args, &view->options);
	argv_push(&args, oid_hex(&id, hex));
	push_list(&args, &view->paths);
	if (history_grafts(&history, &id, false, &grafts, &stop, fail) == 0 &&
	    shadow_set_grafts(&grafts, fail) == 0)
		shadow_exec_git(&args, fail);
	history_release(&history);
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
 * The work tree as it is now: what a save would record, untracked files included. A
 * file that changes under our eyes is looked at again.
 */
static int look(struct odb *odb, const struct oid *checkpoint, struct present *present,
		struct fail *fail)
{
	struct checkpoint cp = CHECKPOINT_INIT;
	int r = checkpoint_read(odb, checkpoint, &cp, fail);

	for (int tries = 0; r == 0 && tries < LOOK_TRIES; tries++) {
		if (tries)
			present_release(present);
		fail_clear(fail);
		r = present_look(odb->repo, NULL, NULL, present, fail);
		if (r == 0 && present_share(present, &cp.tree, 1, fail) != FAIL_NO)
			break;
	}
	checkpoint_release(&cp);
	return fail->kind;
}

/*
 * On our own streams; the pager ends by itself. Signals of the terminal are git's:
 * they wait here until everything is tidied up.
 */
static int run_git_diff(const struct view *view, const struct oid *id,
			const struct present *present, int *status, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;

	argv_push(&cmd.argv, "git");
	diff_args(view, id, &present->capture.tree, &cmd.argv);
	for (size_t i = 0; i < present->env->count; i++)
		argv_push(&cmd.env, present->env->items[i]);
	cmd.inherit_stdin = true;
	if (spawn_wait(&cmd, fail) == 0)
		*status = cmd.status;
	spawn_release(&cmd);
	return fail->kind;
}

static int diff_with_present(struct odb *odb, const struct view *view, const struct oid *id,
			     int *status, struct fail *fail)
{
	struct present present = PRESENT_INIT;
	sigset_t terminal, before;

	if (!odb->repo->work_tree)
		return fail_set(fail, FAIL_UNSUPPORTED,
				"there is no work tree here: name two checkpoints");
	sigemptyset(&terminal);
	sigaddset(&terminal, SIGINT);
	sigaddset(&terminal, SIGQUIT);
	sigprocmask(SIG_BLOCK, NULL, &before);
	if (look(odb, id, &present, fail) == 0) {
		for (size_t i = 0; i < present.capture.skipped_count; i++)
			status_say("warning: '%s' is left out: %s", present.capture.skipped[i].path,
				   present.capture.skipped[i].reason);
		sigprocmask(SIG_BLOCK, &terminal, NULL);
		run_git_diff(view, id, &present, status, fail);
	}
	present_release(&present);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return fail->kind;
}

static int diff(struct odb *odb, const struct view *view, int *status, struct fail *fail)
{
	struct argv args = ARGV_INIT;
	struct oid a, b;

	if (resolve(odb, view, 0, &a, fail) < 0)
		return fail->kind;
	if (view->names.count < 2)
		return diff_with_present(odb, view, &a, status, fail);
	if (resolve(odb, view, 1, &b, fail) < 0)
		return fail->kind;
	diff_args(view, &a, &b, &args);
	shadow_exec_git(&args, fail);
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
	if (parse(argc, argv, is_diff ? 2 : 1, !is_diff, &view, &fail) == 0) {
		if (shadow_open(&repo, REPO_ANY, &fail) == 0) {
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
