/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git worktree-claim release and renew. */
#include "claim.h"

#include "number.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	const char *lease;
	bool delete_branch, json, quiet;
	int64_t ttl;
	struct opt_args args;
};

/* What is missing here is what was asked for: a definite no. */
static int report(const struct fail *fail)
{
	return fail->kind ? status_report(CLAIM_COMMAND, fail) : STATUS_OK;
}

static int one_slot(const struct command *o, struct fail *fail)
{
	if (o->args.count > 1)
		return fail_set(fail, FAIL_USAGE, "one slot or path, or none for the present one");
	return 0;
}

static int find(struct repo *repo, const struct command *o, struct slot *slot, struct fail *fail)
{
	if (slot_find(repo, o->args.count ? o->args.items[0] : NULL, slot, fail) == FAIL_GONE)
		fail->kind = FAIL_NO;
	return fail->kind;
}

/* ---- release ---------------------------------------------------------------------------- */

static int print_released(const struct command *o, const struct slot *slot,
			  const struct pool_released *released, struct fail *fail)
{
	const char *branch = released->branch ? released->branch + 11 : NULL;
	struct out out;

	out_open(&out, o->json ? OUT_JSON : OUT_TEXT, STDOUT_FILENO);
	out_begin(&out, "{slot}[ branch {branch}][ ahead {ahead}][ rescued {rescued}]\n");
	out_text(&out, "slot", slot->name);
	out_path(&out, "path", slot->path);
	out_text(&out, "state", slot_state_name(STATE_FREE));
	out_text(&out, "branch", branch);
	out_id(&out, "base", released->base);
	out_number(&out, "ahead", (int64_t)released->ahead);
	out_text(&out, "rescued", released->rescue.ref);
	out_bool(&out, "branch_deleted", o->delete_branch && branch);
	out_end(&out);
	return out_close(&out, fail);
}

static int release(const struct command *o, struct slot *slot, struct fail *fail)
{
	const struct pool_release how = {.lease = o->lease,
					 .delete_branch = o->delete_branch,
					 .clean_all = slot->repo->conf.clean_all};
	struct pool_released released;

	if (pool_release(slot, &how, &released, fail) == 0) {
		if (!o->quiet)
			claim_tell_rescue(&released.rescue);
		print_released(o, slot, &released, fail);
	}
	pool_released_release(&released);
	return fail->kind;
}

int claim_release(int argc, char **argv)
{
	static const char *const synopsis[] = {
		"git worktree-claim release [<slot>|<path>] [--lease <id>] [--delete-branch] "
		"[--json]",
		NULL,
	};
	struct command o = {0};
	struct fail fail = FAIL_INIT;
	struct slot slot = {.admin = -1, .work = -1};
	struct repo repo;
	const struct opt table[] = {
		OPT_STRING(0, "lease", &o.lease, "id", "only if this is still its lease"),
		OPT_FLAG(0, "delete-branch", &o.delete_branch, "delete the branch that it is on"),
		OPT_FLAG(0, "json", &o.json, "print one JSON object"),
		OPT_FLAG('q', "quiet", &o.quiet, "print only errors"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};

	if (opt_parse(&spec, argc, argv, &o.args, &fail) == OPT_OK && one_slot(&o, &fail) == 0) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0 && find(&repo, &o, &slot, &fail) == 0)
			release(&o, &slot, &fail);
		slot_close(&slot);
		repo_close(&repo);
	}
	return report(&fail);
}

/* ---- renew ------------------------------------------------------------------------------- */

int claim_renew(int argc, char **argv)
{
	static const char *const synopsis[] = {
		"git worktree-claim renew [<slot>|<path>] [--lease <id>] [--ttl <duration>]",
		NULL,
	};
	struct command o = {.ttl = -1};
	struct fail fail = FAIL_INIT;
	struct slot slot = {.admin = -1, .work = -1};
	struct repo repo;
	int64_t seconds = 0;
	const struct opt table[] = {
		OPT_STRING(0, "lease", &o.lease, "id", "only if this is still its lease"),
		OPT_DURATION("ttl", &o.ttl, "from now on for this time"),
		OPT_FLAG('q', "quiet", &o.quiet, "print only errors"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};

	if (opt_parse(&spec, argc, argv, &o.args, &fail) == OPT_OK && one_slot(&o, &fail) == 0 &&
	    (o.ttl < 0 || claim_ttl(o.ttl, "option --ttl", &seconds, &fail) == 0)) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0 && find(&repo, &o, &slot, &fail) == 0)
			pool_renew(&slot, o.lease, seconds, &fail);
		slot_close(&slot);
		repo_close(&repo);
	}
	return report(&fail);
}
