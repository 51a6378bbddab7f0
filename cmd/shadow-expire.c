/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit expire */
#include "shadow.h"

#include "expire.h"
#include "intent.h"
#include "number.h"
#include "out.h"
#include "pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct expire_command {
	int64_t keep;
	const char *older_than, *ref;
	bool dry_run, json, quiet;
	int verbose;
	struct opt_args args;
};

static const char *const synopsis[] = {
	"git shadow-commit expire [--keep <n>] [--older-than <t>] [--ref <ref>] [--dry-run] "
	"[--json]",
	NULL,
};

static int parse(int argc, char **argv, struct expire_command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_NUMBER("keep", &o->keep, "keep at least so many checkpoints of each chain"),
		OPT_STRING(0, "older-than", &o->older_than, "time",
			   "drop only what ended before (30d, or a date as git has them)"),
		OPT_STRING(0, "ref", &o->ref, "ref", "only this chain"),
		OPT_FLAG('n', "dry-run", &o->dry_run, "only say what would be dropped"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_COUNT('v', "verbose", &o->verbose, "explain what is decided"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r == OPT_OK && o->args.count)
		return fail_set(fail, FAIL_USAGE, "'%s' is too much here", o->args.items[0]);
	if (r == OPT_OK && o->keep < 0 && !o->older_than)
		return fail_set(fail, FAIL_USAGE, "say what may go: --keep <n>, --older-than <t>");
	return r;
}

/* A duration of ours, or whatever git takes for a date. */
static int read_cutoff(struct repo *repo, const char *text, int64_t *cutoff, struct fail *fail)
{
	struct fail not_ours = FAIL_INIT;
	int64_t ms;

	*cutoff = -1;
	if (!text)
		return 0;
	if (duration_parse(text, "--older-than", &ms, &not_ours) < 0)
		return checkpoint_date(repo, text, cutoff, fail);
	if (ms != DURATION_NEVER)
		*cutoff = (int64_t)time(NULL) - ms / 1000;
	else
		*cutoff = 0; /* nothing is that old */
	return 0;
}

static void print_item(struct out *out, const struct expire_item *item)
{
	char hex[OID_HEX_MAX + 1];

	out_begin(out, "{result} {ref}: {checkpoints} checkpoints until {time}\n");
	out_text(out, "ref", item->pin);
	out_id(out, "commit", oid_hex(&item->tip, hex));
	out_number(out, "checkpoints", item->checkpoints);
	out_time(out, "time", item->time);
	out_text(out, "action", "drop");
	out_text(out, "result", item->done ? "done" : "planned");
	out_end(out);
}

static void print_plan(const struct expire_command *o, const struct expire_plan *plan,
		       const uint64_t *freed, struct fail *fail)
{
	struct fail printing = FAIL_INIT;
	struct out out;

	out_open(&out, o->json ? OUT_JSON : OUT_TEXT, STDOUT_FILENO);
	for (size_t i = 0; i < plan->count; i++)
		if (plan->items[i].drop)
			print_item(&out, &plan->items[i]);
	if (freed) {
		out_begin(&out, o->quiet ? NULL : "freed {freed} bytes\n");
		out_number(&out, "freed", (int64_t)*freed);
		out_end(&out);
	}
	if (out_close(&out, &printing) < 0 && fail->kind == 0)
		*fail = printing;
}

static int act(const struct expire_command *o, struct repo *repo, struct expire_plan *plan,
	       struct fail *fail)
{
	uint64_t freed = 0;
	bool left = false;

	if (!o->dry_run)
		intents_heal(repo, true);
	if (!o->dry_run && expire_drop(repo, plan, fail) == 0) {
		if (expire_is_pending(repo))
			expire_objects(repo, &freed, &left, fail);
		else
			pack_sweep(repo, false, fail); /* what killed writers left */
	}
	print_plan(o, plan, !o->dry_run && fail->kind == 0 ? &freed : NULL, fail);
	if (repo->conf.precious_objects && !o->dry_run && !o->quiet)
		status_say("extensions.preciousObjects is set: the objects stay");
	if (left && !o->quiet)
		status_say("packs that were used within the last hour are left for the next "
			   "expire");
	return fail->kind;
}

static int run(const struct expire_command *o, struct repo *repo, struct fail *fail)
{
	struct expire_options options = {.keep = o->keep};
	struct expire_plan plan = {0};
	struct odb odb;
	char *chain = NULL;

	odb_init(&odb, repo);
	if (!o->quiet)
		shadow_tell_waits(repo, NULL);
	if (read_cutoff(repo, o->older_than, &options.older_than, fail) == 0 &&
	    (!o->ref || checkpoint_ref_named(o->ref, &chain, fail) == 0)) {
		options.chain = chain;
		if (expire_plan(&odb, &options, &plan, fail) == 0)
			act(o, repo, &plan, fail);
	}
	expire_plan_release(&plan);
	odb_release(&odb);
	free(chain);
	return fail->kind;
}

int shadow_expire(int argc, char **argv)
{
	struct expire_command o = {.keep = -1};
	struct fail fail = FAIL_INIT;
	struct repo repo;

	if (parse(argc, argv, &o, &fail) == OPT_OK) {
		if (shadow_open(&repo, REPO_ANY, &fail) == 0)
			run(&o, &repo, &fail);
		repo_close(&repo);
	}
	return fail.kind ? status_report(SHADOW_COMMAND, &fail) : STATUS_OK;
}
