/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit save */
#include "shadow.h"
#include "shadowguard.h"

#include "ledger.h"
#include "name.h"
#include "out.h"
#include "progress.h"
#include "quote.h"
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIPPED_SHOWN 20 /* lines on a terminal; --json and the commit have the rest */

struct save_options {
	const char *message, *session, *ref;
	struct argv trailer_args, trailers;
	bool strict, allow_unchanged, best_effort, json, quiet;
	int64_t lock_timeout;
	enum progress_when progress;
	int verbose;
	struct opt_args args;
};

static const char *const synopsis[] = {
	"git shadow-commit [save] [<options>] [--] [<pathspec>...]",
	"git shadow-commit log     [--session <id>] [--ref <ref> | --all] [--json|-z] [<git-log "
	"options>]",
	"git shadow-commit show    [<checkpoint>] [--json] [<git-show options>]",
	"git shadow-commit diff    [<checkpoint> [<checkpoint>]] [<git-diff options>] [-- "
	"<path>...]",
	"git shadow-commit restore [<checkpoint>] [--dry-run] [--session <id>] [--staged] [-- "
	"<path>...]",
	"git shadow-commit expire  [--keep <n>] [--older-than <t>] [--dry-run] [--json]",
	NULL,
};

static int parse(int argc, char **argv, struct save_options *o, struct fail *fail)
{
	int progress = -1;
	const struct opt table[] = {
		OPT_STRING('m', "message", &o->message, "message", "what this checkpoint is about"),
		OPT_STRING(0, "session", &o->session, "id", "whose checkpoint it is"),
		OPT_STRING(0, "ref", &o->ref, "ref", "save to this chain"),
		OPT_LIST(0, "trailer", &o->trailer_args, "key=value", "add a trailer"),
		OPT_FLAG(0, "strict", &o->strict, "exit 3 when something could not be recorded"),
		OPT_FLAG(0, "allow-unchanged", &o->allow_unchanged,
			 "record a checkpoint even when nothing changed"),
		OPT_DURATION("lock-timeout", &o->lock_timeout,
			     "how long to wait for the chain's lock"),
		OPT_FLAG(0, "best-effort", &o->best_effort, "exit 0 whatever happens (for hooks)"),
		OPT_FLAG(0, "json", &o->json, "print one JSON object"),
		OPT_TRISTATE("progress", &progress, "show progress"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_COUNT('v', "verbose", &o->verbose, "explain what is decided"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (progress >= 0)
		o->progress = progress ? PROGRESS_ALWAYS : PROGRESS_NEVER;
	for (size_t i = 0; r == OPT_OK && i < o->trailer_args.count; i++)
		r = shadow_trailer(o->trailer_args.items[i], &o->trailers, fail);
	return r;
}

/* ---- report ------------------------------------------------------------------------ */

static void tell_skipped(const struct snapshot *saved)
{
	if (!saved->skipped_count)
		return;
	status_say("warning: %zu path(s) could not be recorded:", saved->skipped_count);
	for (size_t i = 0; i < saved->skipped_count && i < SKIPPED_SHOWN; i++) {
		struct bytes path = BYTES_INIT;

		quote_c(saved->skipped[i].path, strlen(saved->skipped[i].path), &path);
		status_say("    %s: %s", path.data, saved->skipped[i].reason);
		bytes_release(&path);
	}
	if (saved->skipped_count > SKIPPED_SHOWN)
		status_say("    ... and %zu more", saved->skipped_count - SKIPPED_SHOWN);
}

/* An id, or nothing where there is none. */
static void add_id(struct out *out, const char *key, const struct oid *oid)
{
	char hex[OID_HEX_MAX + 1];

	out_id(out, key, oid_is_zero(oid) ? NULL : oid_hex(oid, hex));
}

static int print(const struct save_options *o, const struct repo *repo,
		 const struct snapshot *saved, const char *session, struct fail *fail)
{
	struct out out;

	out_open(&out, o->json ? OUT_JSON : OUT_TEXT, STDOUT_FILENO);
	out_begin(&out, "{commit}\n");
	add_id(&out, "commit", &saved->commit);
	add_id(&out, "tree", &saved->tree);
	out_text(&out, "ref", saved->chain);
	add_id(&out, "parent", &saved->parent);
	add_id(&out, "base", &saved->base);
	out_text(&out, "session", session);
	out_bool(&out, "unchanged", saved->unchanged);
	out_text(&out, "engine", engine_name(repo->engine));
	out_text(&out, "engine_reason", *repo->engine_reason ? repo->engine_reason : NULL);
	out_number(&out, "attempts", saved->attempts);
	out_list(&out, "skipped");
	for (size_t i = 0; i < saved->skipped_count; i++) {
		out_item(&out);
		out_path(&out, "path", saved->skipped[i].path);
		out_text(&out, "reason", saved->skipped[i].reason);
		out_up(&out);
	}
	out_up(&out);
	out_end(&out);
	return out_close(&out, fail);
}

static int report(const struct save_options *o, const struct repo *repo,
		  const struct snapshot *saved, const char *session, struct fail *fail)
{
	if (saved->mended && !o->quiet)
		status_say("warning: '%s' was corrupt; the chain goes on from its last good value",
			   saved->chain);
	if (!o->quiet)
		tell_skipped(saved);
	if (o->verbose) {
		shadow_explain_engine(repo);
		status_say("chain: %s", saved->chain);
		if (saved->unchanged)
			status_say("nothing has changed since the last checkpoint");
	}
	if (print(o, repo, saved, session, fail) < 0)
		return fail_context(fail, "the checkpoint is saved, but");
	return o->strict && saved->skipped_count ? STATUS_INCOMPLETE : STATUS_OK;
}

/* ---- act ----------------------------------------------------------------------------- */

#define LEDGER_WAIT_MS 1000

/*
 * --best-effort: of the time that the save may wait, what is kept back for giving up
 * and for the ledger; and what the work itself gets however short the timeout is.
 */
#define RESERVE_MAX_MS 500
#define WORK_MIN_MS 750
#define LEDGER_MIN_MS 100

/* A save under way. */
struct saving {
	const struct save_options *o;
	struct repo *repo;
	const char *session;
	struct progress progress;
	const struct guard *guard;
	int64_t reserve;
	int status;
	struct fail *fail;
};

static void show_progress(void *arg, uint64_t seen)
{
	struct saving *s = arg;

	progress_update(&s->progress, seen);
}

static void tell_appending(void *arg, int64_t patience)
{
	const struct saving *s = arg;

	if (patience != INT64_MAX) {
		patience += s->reserve / 2;
		patience = patience < WORK_MIN_MS ? WORK_MIN_MS : patience;
	}
	guard_tell(s->guard, GUARD_APPENDING, patience);
}

static void tell_saved(void *arg, const struct snapshot *saved)
{
	struct saving *s = arg;

	progress_end(&s->progress);
	s->status = report(s->o, s->repo, saved, s->session, s->fail);
	guard_tell(s->guard, GUARD_SAVED, 0);
}

static int64_t reserve_of(const struct save_options *o, int64_t timeout)
{
	if (!o->best_effort || timeout == INT64_MAX)
		return 0;
	return timeout / 4 < RESERVE_MAX_MS ? timeout / 4 : RESERVE_MAX_MS;
}

/* Where nobody reads stderr the ledger still tells. It cannot fail a save more than it has. */
static void log_failure(struct repo *repo, const char *chain, const char *session, int64_t wait_ms,
			const struct fail *fail)
{
	struct fail ignored = FAIL_INIT;
	struct ledger_event event = {
		.event = "save-failed", .ref = chain, .session = session, .reason = fail->message};

	ledger_append(repo, &event, wait_ms, &ignored);
}

/* The same from where no repository is open: a usage error, or the guard. */
static void log_outside(const struct save_options *o, const struct fail *fail)
{
	struct fail ignored = FAIL_INIT;
	struct repo repo;
	char *chain = NULL;

	if (repo_open(&repo, REPO_ANY, &ignored) == 0) {
		shadow_chain(&repo, o->ref, &chain, &ignored);
		log_failure(&repo, chain, o->session ? o->session : repo.conf.session,
			    LEDGER_MIN_MS, fail);
	}
	free(chain);
	repo_close(&repo);
}

static int save(const struct save_options *o, struct repo *repo, const struct guard *guard,
		struct fail *fail)
{
	int64_t timeout = o->lock_timeout >= 0 ? o->lock_timeout : repo->conf.lock_timeout;
	struct saving s = {.o = o,
			   .repo = repo,
			   .session = o->session ? o->session : repo->conf.session,
			   .guard = guard,
			   .reserve = reserve_of(o, timeout),
			   .status = STATUS_FATAL,
			   .fail = fail};
	struct snapshot saved = {0};
	char *chain = NULL;
	struct snapshot_options options = {
		.message = o->message,
		.session = s.session,
		.trailers = o->trailers.count ? &o->trailers : NULL,
		.paths = o->args.count ? (const char *const *)o->args.items : NULL,
		.path_count = (size_t)o->args.count,
		.allow_unchanged = o->allow_unchanged,
		.progress = show_progress,
		.progress_arg = &s,
		.stages = {tell_appending, tell_saved, &s},
	};

	repo->conf.lock_timeout = timeout - s.reserve;
	if ((o->session && name_check(o->session, "option --session", fail) < 0) ||
	    (o->ref && shadow_chain(repo, o->ref, &chain, fail) < 0) ||
	    progress_init(&s.progress, o->progress, o->quiet, fail) < 0)
		goto done;
	options.chain = chain;
	if (!o->quiet)
		shadow_tell_waits(repo, &s.progress);
	progress_begin(&s.progress, "Scanning files", 0);
	if (snapshot_save(repo, &options, &saved, fail) < 0)
		progress_abort(&s.progress);
done:
	if (fail->kind && o->best_effort)
		log_failure(repo, saved.chain, s.session,
			    s.reserve / 2 < LEDGER_MIN_MS ? LEDGER_MIN_MS : s.reserve / 2, fail);
	else if (fail->kind == FAIL_BUSY)
		log_failure(repo, saved.chain, s.session, LEDGER_WAIT_MS, fail);
	snapshot_release(&saved);
	free(chain);
	return s.status;
}

static int run(const struct save_options *o, const struct guard *guard)
{
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int status = STATUS_OK;

	if (shadow_open(&repo, REPO_WORK_TREE, &fail) == 0)
		status = save(o, &repo, guard, &fail);
	repo_close(&repo);
	return fail.kind ? status_report(SHADOW_COMMAND, &fail) : status;
}

/* Exit status 0, whatever happens. */
static int run_guarded(const struct save_options *o)
{
	struct guard guard = GUARD_INIT;
	struct fail fail = FAIL_INIT;

	if (guard_begin(&guard, &fail) < 0)
		fail_clear(&fail);
	if (!guard.child) {
		run(o, &guard);
	} else if (guard_wait(&guard, &fail) < 0) {
		status_report(SHADOW_COMMAND, &fail);
		log_outside(o, &fail);
	}
	return STATUS_OK;
}

/* Options are read up to the first wrong one; this one counts wherever it stands. */
static bool asks_for_best_effort(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], "--best-effort"))
			return true;
	return false;
}

int shadow_save(int argc, char **argv)
{
	struct save_options o = {
		.lock_timeout = -1,
	};
	struct fail fail = FAIL_INIT;
	bool best_effort = asks_for_best_effort(argc, argv);
	int status = STATUS_OK;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK)
		status = o.best_effort ? run_guarded(&o) : run(&o, &(struct guard)GUARD_INIT);
	else if (fail.kind)
		status = status_report(SHADOW_COMMAND, &fail);
	if (fail.kind && best_effort) {
		log_outside(&o, &fail);
		status = STATUS_OK;
	}
	argv_release(&o.trailer_args);
	argv_release(&o.trailers);
	return status;
}
