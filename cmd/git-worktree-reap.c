/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git worktree-reap: find slots whose owner is gone, rescue their work, give them back. */
#include "reap-rescued.h"

#include "name.h"
#include "number.h"
#include "opt.h"
#include "out.h"
#include "reap.h"
#include "status.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	const char *pool;
	bool dry_run, remove, prune, json, nul, quiet;
	int verbose;
	struct opt_args args;
};

static const char *const synopsis[] = {
	"git worktree-reap [--dry-run|-n] [--pool <name>] [--remove] [--prune] [--json|-z] "
	"[<slot>|<path>...]",
	"git worktree-reap rescued [--json|-z] [--drop <ref>]... [--older-than <duration>]",
	NULL,
};

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_FLAG('n', "dry-run", &o->dry_run, "only say what would be done"),
		OPT_STRING(0, "pool", &o->pool, "name", "only this pool"),
		OPT_FLAG(0, "remove", &o->remove, "remove free and reaped slots from the disk"),
		OPT_FLAG(0, "prune", &o->prune, "unregister slots whose directory is gone"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_FLAG('z', NULL, &o->nul, "fields end with NUL"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_COUNT('v', "verbose", &o->verbose,
			  "tell of every slot, also of those left alone"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r != OPT_OK)
		return r;
	if (o->json && o->nul)
		return fail_set(fail, FAIL_USAGE, "--json and -z exclude each other");
	if (o->pool && o->args.count)
		return fail_set(fail, FAIL_USAGE, "--pool and named slots exclude each other");
	return o->pool ? name_check(o->pool, "option --pool", fail) : 0;
}

/* ---- report ----------------------------------------------------------------------------- */

/* For people: what was done, and what somebody named; the rest with -v. */
static const char *template_for(const struct command *o, const struct reap_entry *entry)
{
	if (o->quiet || (entry->action == REAP_NONE && !o->verbose && !o->args.count &&
			 entry->slot.state != STATE_VANISHED && entry->slot.state != STATE_UNKNOWN))
		return NULL;
	return "{result<8} {slot} ({state}): {action}[, {reason}][, rescued {rescue}]\n";
}

static void print_entry(const struct command *o, struct out *out, const struct reap_entry *entry)
{
	out_begin(out, template_for(o, entry));
	out_text(out, "slot", entry->slot.name);
	out_path(out, "path", entry->slot.path);
	out_text(out, "state", slot_state_name(entry->slot.state));
	out_text(out, "action", reap_action_name(entry->action));
	out_text(out, "result", reap_result_name(entry->result));
	out_text(out, "rescue", entry->rescue);
	out_text(out, "reason", entry->reason);
	out_end(out);
}

static int print(const struct command *o, const struct reap *reap, struct fail *fail)
{
	struct out out;

	out_open(&out, o->json ? OUT_JSON : o->nul ? OUT_NUL : OUT_TEXT, STDOUT_FILENO);
	for (size_t i = 0; i < reap->count; i++)
		print_entry(o, &out, &reap->entries[i]);
	return out_close(&out, fail);
}

static void tell(const struct command *o, const struct reap *reap)
{
	for (size_t i = 0; i < reap->count; i++)
		if (reap->entries[i].result == REAP_FAILED)
			status_say("error: slot '%s' was left as it is: %s",
				   reap->entries[i].slot.name, reap->entries[i].reason);
	if (!o->quiet && reap->swept)
		status_say("%s %zu leftover(s) of interrupted work",
			   o->dry_run ? "would sweep" : "swept", reap->swept);
	for (size_t i = 0; i < reap->count && !o->quiet; i++)
		if (reap->entries[i].rescue)
			status_say("bring it back with: git shadow-commit restore %s",
				   reap->entries[i].rescue);
}

/* ---- act ------------------------------------------------------------------------------------ */

static int run(const struct command *o, struct repo *repo, struct fail *fail)
{
	const struct reap_options options = {.pool = o->pool,
					     .only = (const char *const *)o->args.items,
					     .only_count = (size_t)o->args.count,
					     .dry_run = o->dry_run,
					     .remove = o->remove,
					     .prune = o->prune,
					     .deadline = INT64_MAX};
	struct reap reap = {0};
	int status = STATUS_OK;

	if (reap_run(repo, &options, &reap, fail) == 0) {
		tell(o, &reap);
		print(o, &reap, fail);
		if (reap.failed)
			status = STATUS_FATAL;
	} else if (fail->kind == FAIL_GONE) {
		fail->kind = FAIL_NO;
	}
	reap_release(&reap);
	return status;
}

int main(int argc, char **argv)
{
	struct command o = {0};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int status = STATUS_OK;
	int r;

	status_open_streams();
	signal(SIGXFSZ, SIG_IGN);
	if (argc > 1 && !strcmp(argv[1], "rescued"))
		return status_close_stdout(reap_rescued(argc - 1, argv + 1));
	r = parse(argc, argv, &o, &fail);
	if (r == OPT_OK) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0)
			status = run(&o, &repo, &fail);
		repo_close(&repo);
	}
	if (fail.kind)
		status = status_report(REAP_COMMAND, &fail);
	return status_close_stdout(status);
}
