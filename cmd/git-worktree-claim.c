/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git worktree-claim: lease a clean worktree from a pool, or run a command in one. */
#include "claim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
};

static const struct verb verbs[] = {
	{"list", claim_list},
	{"release", claim_release},
	{"renew", claim_renew},
};

static void print_id(struct out *out, const char *key, const char *hex)
{
	out_id(out, key, hex);
}

/* "heads/x" of a branch, as people know it. */
static const char *branch_name(const char *ref)
{
	return ref && !strncmp(ref, "refs/heads/", 11) ? ref + 11 : ref;
}

static void print_expiry(struct out *out, const struct slot_record *record)
{
	if (record->kind == LEASE_TIME && record->expires != INT64_MAX)
		out_time(out, "expires", record->expires);
	else
		out_null(out, "expires");
}

void claim_print_slot(struct out *out, const char *template, const struct slot *slot,
		      const char *rescued)
{
	const struct slot_record *record = &slot->record;

	out_begin(out, template);
	out_text(out, "slot", slot->name);
	out_path(out, "path", slot->path);
	out_text(out, "state", slot_state_name(slot->state));
	out_text(out, "lease", record->lease);
	out_text(out, "branch", branch_name(record->branch));
	print_id(out, "base", record->base);
	out_text(out, "owner", slot->who);
	print_expiry(out, record);
	out_text(out, "key", record->key);
	out_text(out, "born", slot->birth.born);
	out_text(out, "rescued", rescued);
	if (record->since)
		out_time(out, "since", record->since);
	else
		out_null(out, "since");
	out_end(out);
}

void claim_tell_rescue(const struct salvage *rescue)
{
	if (!rescue->ref)
		return;
	status_say("rescued: %s (%" PRIu64 " path(s), %" PRIu64 " commit(s)%s%s)", rescue->ref,
		   rescue->changed, rescue->commits, rescue->operation ? ", an unfinished " : "",
		   rescue->operation ? rescue->operation : "");
	status_say("bring it back with: git shadow-commit restore %s", rescue->ref);
}

int claim_ttl(int64_t ms, const char *what, int64_t *seconds, struct fail *fail)
{
	if (ms != INT64_MAX && ms < 1000)
		return fail_set(fail, FAIL_USAGE, "%s: a lease of less than a second is none",
				what);
	*seconds = ms == INT64_MAX ? INT64_MAX : ms / 1000;
	return 0;
}

int main(int argc, char **argv)
{
	static char claim[] = "claim";

	status_open_streams();
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return status_close_stdout(verbs[i].run(argc - 1, argv + 1));
	argv[0] = claim;
	return claim_take(argc, argv);
}
