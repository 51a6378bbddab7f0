/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit restore */
#include "shadow.h"

#include "name.h"
#include "out.h"
#include "progress.h"
#include "quote.h"
#include "restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT_SHOWN 50 /* lines on stderr; --json has all */

struct command {
	const char *checkpoint, *session;
	bool dry_run, staged, json, quiet;
	enum progress_when progress;
	int64_t lock_timeout;
	int verbose;
	struct opt_args args;
	char **paths;
	size_t path_count;
};

static const char *const synopsis[] = {
	"git shadow-commit restore [<checkpoint>] [<options>] [--] [<path>...]",
	"git shadow-commit restore --session <id> [<checkpoint>] [<options>] [--] [<path>...]",
	NULL,
};

/* The first argument is the checkpoint, unless it stands behind "--". */
static void take_arguments(struct command *o)
{
	bool named = o->args.count && !(o->args.dashes && o->args.dash_at == 0);

	if (named)
		o->checkpoint = o->args.items[0];
	o->paths = o->args.items + named;
	o->path_count = (size_t)o->args.count - named;
}

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	int progress = -1;
	const struct opt table[] = {
		OPT_FLAG('n', "dry-run", &o->dry_run, "only say what would be done"),
		OPT_STRING(0, "session", &o->session, "id",
			   "undo what this session named in its path saves, and nobody else's"),
		OPT_FLAG(0, "staged", &o->staged, "restore the index entries, too"),
		OPT_DURATION("lock-timeout", &o->lock_timeout, "how long to wait for locks"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_TRISTATE("progress", &progress, "show progress"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors and what was left alone"),
		OPT_COUNT('v', "verbose", &o->verbose, "list every path"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r != OPT_OK)
		return r;
	if (progress >= 0)
		o->progress = progress ? PROGRESS_ALWAYS : PROGRESS_NEVER;
	take_arguments(o);
	return o->session ? name_check(o->session, "option --session", fail) : 0;
}

/* ---- report ------------------------------------------------------------------------------ */

static const char *action_name(enum restore_action action)
{
	static const char *const names[] = {"write", "delete", "mode"};

	return names[action];
}

/* What is still planned after a real run was not come to. */
static const char *result_name(const struct command *o, const struct restore_item *item)
{
	if (item->result == RESTORE_KEPT)
		return "kept";
	if (item->result == RESTORE_DONE)
		return "done";
	return o->dry_run ? "planned" : "failed";
}

static int print(const struct command *o, const struct restore *restore, struct fail *fail)
{
	bool list = o->dry_run || o->verbose;
	char hex[OID_HEX_MAX + 1];
	struct out out;

	out_open(&out, o->json ? OUT_JSON : OUT_TEXT, STDOUT_FILENO);
	for (size_t i = 0; i < restore->count; i++) {
		const struct restore_item *item = &restore->items[i];

		out_begin(&out,
			  !list || item->result == RESTORE_KEPT ? NULL : "{action<6} {path}\n");
		out_path(&out, "path", item->path);
		out_text(&out, "action", action_name(item->action));
		out_text(&out, "result", result_name(o, item));
		out_text(&out, "reason", item->reason);
		out_end(&out);
	}
	out_begin(&out, NULL);
	out_id(&out, "undo",
	       oid_is_zero(&restore->saved.commit) ? NULL : oid_hex(&restore->saved.commit, hex));
	out_id(&out, "checkpoint",
	       restore->target.segment ? oid_hex(&restore->target.id, hex) : NULL);
	out_end(&out);
	return out_close(&out, fail);
}

static void tell_kept(const struct restore_item *item)
{
	struct bytes path = BYTES_INIT;

	quote_c(item->path, strlen(item->path), &path);
	status_say("    %s: %s", path.data, item->reason);
	bytes_release(&path);
}

static void tell(const struct command *o, const struct restore *restore)
{
	size_t kept = 0, shown = 0, done = 0;

	for (size_t i = 0; i < restore->notes.count; i++)
		status_say("warning: %s", restore->notes.items[i]);
	for (size_t i = 0; i < restore->count; i++) {
		kept += restore->items[i].result == RESTORE_KEPT;
		done += restore->items[i].result == RESTORE_DONE;
	}
	if (kept)
		status_say("%zu path(s) %s left alone:", kept, o->dry_run ? "would be" : "were");
	for (size_t i = 0; i < restore->count && shown < KEPT_SHOWN; i++)
		if (restore->items[i].result == RESTORE_KEPT) {
			tell_kept(&restore->items[i]);
			shown++;
		}
	if (kept > shown)
		status_say("    ... and %zu more", kept - shown);
	if (!o->dry_run && !o->quiet)
		status_say("%zu path(s) restored", done);
}

/* Before anything is touched, so that it is on the screen whatever happens. */
static void tell_undo(const struct command *o, const struct restore *restore)
{
	char hex[OID_HEX_MAX + 1];

	if (!o->quiet)
		status_say("undo: git shadow-commit restore %s",
			   oid_hex(&restore->saved.commit, hex));
}

/* ---- act ----------------------------------------------------------------------------------- */

static void show_progress(void *arg, uint64_t seen)
{
	progress_update(arg, seen);
}

static int run(struct command *o, struct repo *repo, struct fail *fail)
{
	struct restore restore;
	struct progress progress;
	struct fail printing = FAIL_INIT;
	const struct restore_options options = {
		.checkpoint = o->checkpoint,
		.undo_session = o->session,
		.paths = (const char *const *)o->paths,
		.path_count = o->path_count,
		.staged = o->staged,
		.dry_run = o->dry_run,
		.session = repo->conf.session,
		.progress = show_progress,
		.progress_arg = &progress,
	};
	int status = STATUS_OK;

	if (o->lock_timeout >= 0)
		repo->conf.lock_timeout = o->lock_timeout;
	if (progress_init(&progress, o->progress, o->quiet, fail) < 0)
		return status;
	if (!o->quiet)
		shadow_tell_waits(repo, &progress);
	progress_begin(&progress, "Scanning files", 0);
	restore_prepare(repo, &options, &restore, fail);
	progress_end(&progress);
	if (fail->kind == 0) {
		if (o->verbose)
			shadow_explain_engine(repo);
		if (!o->dry_run) {
			tell_undo(o, &restore);
			restore_act(&restore, fail);
		}
		tell(o, &restore);
		print(o, &restore, &printing);
	}
	if (restore.signal)
		status = STATUS_FATAL + restore.signal;
	restore_release(&restore);
	if (!fail->kind && printing.kind)
		*fail = printing;
	return status;
}

int shadow_restore(int argc, char **argv)
{
	struct command o = {.lock_timeout = -1};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int status = STATUS_OK;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK) {
		if (shadow_open(&repo, REPO_WORK_TREE, &fail) == 0)
			status = run(&o, &repo, &fail);
		repo_close(&repo);
	}
	if (fail.kind) {
		int reported = status_report(SHADOW_COMMAND, &fail);

		status = status > STATUS_FATAL ? status : reported;
	}
	return status;
}
