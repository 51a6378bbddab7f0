/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git worktree-claim: the claim itself, and what holds it. */
#include "claim.h"

#include "clock.h"
#include "hold.h"
#include "ledger.h"
#include "lifetime.h"
#include "name.h"
#include "number.h"
#include "poolrequest.h"
#include "poolwatch.h"
#include "progress.h"
#include "rev.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	const char *base, *new_branch, *branch, *key, *pool;
	int64_t max, count, timeout, owner_pid, ttl, deadline, refusal;
	bool no_wait, hold, resume, json, quiet;
	int verbose;
	enum progress_when progress;
	struct opt_args args;
	char **run; /* the command to wrap; NULL: none */
	int run_count;
};

static const char *const synopsis[] = {
	"git worktree-claim [--base <commit-ish>] [-b|-B <branch>] [--key <task>] [--pool <name>] "
	"[<options>]",
	"git worktree-claim [<options>] [--deadline <duration>] -- <command> [<arg>...]",
	"git worktree-claim list    [--json|-z]",
	"git worktree-claim release [<slot>|<path>] [--lease <id>] [--delete-branch] [--json]",
	"git worktree-claim renew   [<slot>|<path>] [--lease <id>] [--ttl <duration>]",
	NULL,
};

/* ---- the command line ------------------------------------------------------------------- */

static int check_names(const struct command *o, struct fail *fail)
{
	if (name_check(o->pool, "option --pool", fail) < 0)
		return fail->kind;
	return o->key ? name_check(o->key, "option --key", fail) : 0;
}

static int check_holder(const struct command *o, struct fail *fail)
{
	int holders = (o->run != NULL) + o->hold + (o->owner_pid >= 0) + (o->ttl >= 0);

	if (holders > 1)
		return fail_set(fail, FAIL_USAGE,
				"a command, --hold, --owner-pid and --ttl exclude each other: each "
				"says how long the lease lasts");
	if (o->count > 1 && (o->run || o->hold || o->key || o->branch || o->new_branch))
		return fail_set(
			fail, FAIL_USAGE,
			"--count is for plain claims: not with a command, --hold, --key, -b "
			"or -B");
	if (o->count == 0)
		return fail_set(fail, FAIL_USAGE, "option --count: 0 would claim nothing");
	if (o->deadline >= 0 && !o->run)
		return fail_set(fail, FAIL_USAGE, "--deadline needs a command");
	if (o->refusal >= 0 && (!o->run || o->refusal > 255))
		return fail_set(fail, FAIL_USAGE, "-E is a status up to 255, and needs a command");
	if (o->resume && (!o->key || o->run || o->hold || o->owner_pid >= 0))
		return fail_set(fail, FAIL_USAGE,
				"--resume takes over a time lease: it needs --key, and goes with "
				"no command, --hold or --owner-pid");
	if (o->owner_pid == 0 || o->owner_pid > INT32_MAX)
		return fail_set(fail, FAIL_USAGE, "option --owner-pid: %" PRId64 " is no process",
				o->owner_pid);
	return 0;
}

static int check(struct command *o, struct fail *fail)
{
	if (o->args.dashes && o->args.dash_at == 0 && o->args.count) {
		o->run = o->args.items;
		o->run_count = o->args.count;
	} else if (o->args.count) {
		return fail_set(fail, FAIL_USAGE,
				"unexpected argument '%s'; a command stands behind '--'",
				o->args.items[0]);
	} else if (o->args.dashes) {
		return fail_set(fail, FAIL_USAGE, "there is no command behind '--'");
	}
	if (o->branch && o->new_branch)
		return fail_set(fail, FAIL_USAGE, "-b and -B exclude each other");
	if (o->no_wait && o->timeout >= 0)
		return fail_set(fail, FAIL_USAGE, "--no-wait and --timeout exclude each other");
	return check_names(o, fail) < 0 ? fail->kind : check_holder(o, fail);
}

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	int progress = -1;
	const struct opt table[] = {
		OPT_STRING(0, "base", &o->base, "commit-ish", "where it is to be (default HEAD)"),
		OPT_STRING('b', NULL, &o->new_branch, "branch", "on this new branch"),
		OPT_STRING('B', NULL, &o->branch, "branch", "on this branch, new or not"),
		OPT_STRING(0, "key", &o->key, "task", "never lease one task twice"),
		OPT_FLAG(0, "resume", &o->resume, "take over one's own time lease of the key"),
		OPT_STRING(0, "pool", &o->pool, "name", "which pool (default 'default')"),
		OPT_NUMBER("max", &o->max, "slots that the pool may have; 0: no limit"),
		OPT_NUMBER("count", &o->count, "claim so many"),
		OPT_DURATION("timeout", &o->timeout, "how long to wait (default 120s)"),
		OPT_FLAG(0, "no-wait", &o->no_wait, "do not wait"),
		OPT_NUMBER("owner-pid", &o->owner_pid, "hold it while this process lives"),
		OPT_FLAG(0, "hold", &o->hold, "hold it until standard input ends"),
		OPT_DURATION("ttl", &o->ttl, "a lease of this time (default 24h)"),
		OPT_DURATION("deadline", &o->deadline,
			     "how long the command may run (default: for ever)"),
		{OPT_KIND_NUMBER, 'E', NULL, &o->refusal, "status",
		 "exit status of our own refusals"},
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_TRISTATE("progress", &progress, "show progress"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_COUNT('v', "verbose", &o->verbose, "explain what is decided"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (progress >= 0)
		o->progress = progress ? PROGRESS_ALWAYS : PROGRESS_NEVER;
	return r == OPT_OK ? check(o, fail) : r;
}

/* ---- how long to wait ------------------------------------------------------------------------ */

static int find_patience(const struct command *o, const struct gitconf *conf, int64_t *ms,
			 struct fail *fail)
{
	if (o->no_wait) {
		*ms = 0;
		return 0;
	}
	return pool_patience(conf, o->timeout, "option --timeout", ms, fail);
}

/* ---- claiming ------------------------------------------------------------------------------- */

static void say_waiting(void *arg, const char *whom)
{
	const struct command *o = arg;

	if (!o->quiet)
		status_say("waiting: %s", whom);
}

static void say_warning(void *arg, const char *line)
{
	const struct command *o = arg;

	if (!o->quiet)
		status_say("warning: %s", line);
}

static enum lease_kind kind_of(const struct command *o)
{
	if (o->run)
		return LEASE_COMMAND;
	if (o->hold)
		return LEASE_HOLD;
	return o->owner_pid >= 0 ? LEASE_OWNER : LEASE_TIME;
}

static char *command_for_people(const struct command *o)
{
	struct bytes text = BYTES_INIT;

	if (o->hold)
		bytes_adds(&text, CLAIM_COMMAND " --hold");
	for (int i = 0; i < o->run_count && text.len < 200; i++)
		bytes_addf(&text, "%s%s", i ? " " : "", o->run[i]);
	return text.len ? bytes_take(&text) : NULL;
}

static int prepare(const struct command *o, struct repo *repo, struct pool_claim *wish,
		   struct fail *fail)
{
	struct progress progress;
	int64_t patience;

	if (progress_init(&progress, o->progress, o->quiet, fail) < 0)
		return fail->kind;
	repo->git_progress = progress.wanted;
	*wish = (struct pool_claim){
		.pool = o->pool,
		.branch = o->branch ? o->branch : o->new_branch,
		.create = o->new_branch != NULL,
		.key = o->key,
		.max = o->max >= 0 ? o->max : repo->conf.pool_max,
		.kind = kind_of(o),
		.owner = o->owner_pid > 0 ? (pid_t)o->owner_pid : 0,
		.resume = o->resume,
		.clean_all = repo->conf.clean_all,
		.command = command_for_people(o),
		.waiting = say_waiting,
		.warn = say_warning,
		.arg = (void *)o,
	};
	if (find_patience(o, &repo->conf, &patience, fail) < 0 ||
	    claim_ttl(o->ttl >= 0 ? o->ttl : repo->conf.ttl,
		      o->ttl >= 0 ? "option --ttl" : "interlock.ttl", &wish->ttl, fail) < 0)
		return fail->kind;
	wish->deadline = patience ? clock_deadline(patience) : 0;
	return pool_base(repo, o->base, wish->create ? NULL : wish->branch, &wish->base, fail);
}

static void tell(const struct command *o, const struct pool_claimed *claimed)
{
	if (o->quiet)
		return;
	claim_tell_rescue(&claimed->rescued);
	if (o->verbose)
		status_say("slot %s, lease %s%s", claimed->slot.name, claimed->slot.record.lease,
			   claimed->again ? " (yours already)" : "");
}

static int print(const struct command *o, struct out *out, const struct pool_claimed *claimed)
{
	struct slot shown = claimed->slot;

	/* Its state for those who ask from now on. */
	shown.state = shown.record.kind == LEASE_TIME ? STATE_LEASED : STATE_HELD;
	claim_print_slot(out, "{path}\n", &shown, claimed->rescued.ref);
	out_flush(out);
	return o->json ? 0 : out->fail.kind;
}

/* ---- holding ------------------------------------------------------------------------------------
 */

static int release(const struct command *o, struct slot *slot, struct fail *fail)
{
	const struct pool_release how = {.lease = slot->record.lease,
					 .clean_all = slot->repo->conf.clean_all,
					 .supervised = true};
	struct pool_released released;
	int r = pool_release(slot, &how, &released, fail);

	if (r == 0 && !o->quiet) {
		claim_tell_rescue(&released.rescue);
		if (released.branch)
			status_say("branch: %s, %" PRIu64 " commit(s) on it that the base does not "
				   "have",
				   released.branch + 11, released.ahead);
	}
	pool_released_release(&released);
	return r;
}

static void say_line(void *arg, const char *line)
{
	const struct command *o = arg;

	if (!o->quiet)
		status_say("%s", line);
}

static void log_event(const struct slot *slot, const char *event, const char *reason)
{
	struct fail ignored = FAIL_INIT;
	struct ledger_event line = {
		.event = event, .slot = slot->name, .lease = slot->record.lease, .reason = reason};

	ledger_append(slot->repo, &line, LEDGER_WAIT, &ignored);
}

static void log_end(const struct slot *slot, const struct lifetime_end *end)
{
	char *reason;

	if (end->deadline)
		reason = mem_printf("its time was over; status %d", end->status);
	else if (end->signal)
		reason = mem_printf("ended by signal %d to its supervisor; status %d", end->signal,
				    end->status);
	else
		reason = mem_printf("status %d", end->status);
	log_event(slot, "finish", reason);
	free(reason);
}

/*
 * Runs the command in the slot, then gives the slot back; the status is the command's. A
 * lease that was the caller's `again` is not ours to end, nor its start ours to log.
 */
static int run(const struct command *o, struct slot *slot, bool again, struct fail *fail)
{
	struct lifetime life = LIFETIME_INIT;
	struct lifetime_end end = {0};
	struct fail giving = FAIL_INIT;

	life.cwd = slot->path;
	life.inherit = slot->work;
	life.time = o->deadline >= 0 ? o->deadline : slot->repo->conf.deadline;
	life.grace = slot->repo->conf.grace;
	life.tell = say_line;
	life.tell_arg = (void *)o;
	for (int i = 0; i < o->run_count; i++)
		argv_push(&life.argv, o->run[i]);
	argv_pushf(&life.env, "GIT_INTERLOCK_LEASE=%s", slot->record.lease);
	argv_pushf(&life.env, "GIT_INTERLOCK_SLOT=%s", slot->name);
	if (!again)
		log_event(slot, "start", slot->record.command);
	if (lifetime_run(&life, &end, fail) == 0) {
		if (!again)
			log_end(slot, &end);
	} else {
		if (!again)
			log_event(slot, "finish", fail->message);
		/* No answer to a question: the command that was to run is missing. */
		if (fail->kind == FAIL_GONE)
			fail->kind = FAIL_FATAL;
	}
	/* The command's status stands, whatever becomes of the slot. */
	if (!again && release(o, slot, &giving) < 0)
		status_say("warning: slot '%s' was not given back: %s", slot->name, giving.message);
	/* Until here no signal ended us: what follows a command is done once. */
	lifetime_release(&life);
	return end.status;
}

static int hold(const struct command *o, struct slot *slot, struct fail *fail)
{
	struct shield shield = SHIELD_INIT;
	int requests = pool_request_watch(slot->repo, fail);
	bool woken = true, asked = false;
	int sig = 0;

	while (fail->kind == 0 && woken && !asked) {
		if (hold_until_closed(STDIN_FILENO, requests, &shield, &sig, &woken, fail) == 0 &&
		    woken)
			asked = pool_request_came(slot->repo, requests, slot->record.lease);
	}
	if (requests >= 0)
		close(requests);
	/* Whoever asked does the release: it waits for the lock that ends with us. */
	if (fail->kind == 0 && !asked)
		release(o, slot, fail);
	shield_lower(&shield);
	return sig ? STATUS_FATAL + sig : STATUS_OK;
}

/* ---- the watcher of --owner-pid -------------------------------------------------------------- */

static int start_watcher(const struct command *o, struct slot *slot, struct fail *fail)
{
	pid_t pid;

	if (pool_watch(slot, &pid, fail) == 0 && o->verbose)
		status_say("watcher: pid %d", (int)pid);
	return fail->kind;
}

/* ---- act ------------------------------------------------------------------------------------- */

/* One claim, printed; what holds it is started. Its exit status, or a failure. */
static int claim_one(const struct command *o, struct repo *repo, const struct pool_claim *wish,
		     struct out *out, struct fail *fail)
{
	struct pool_claimed claimed;
	int status = STATUS_OK;

	if (pool_claim(repo, wish, &claimed, fail) == 0) {
		tell(o, &claimed);
		if (!o->run)
			print(o, out, &claimed);
		if (o->run)
			status = run(o, &claimed.slot, claimed.again, fail);
		else if (o->hold && !claimed.again)
			status = hold(o, &claimed.slot, fail);
		else if (wish->kind == LEASE_OWNER && !claimed.again)
			start_watcher(o, &claimed.slot, fail);
	}
	pool_claimed_release(&claimed);
	return status;
}

static int claim(struct command *o, struct repo *repo, struct fail *fail)
{
	struct pool_claim wish;
	struct bytes chatter = BYTES_INIT;
	struct fail printing = FAIL_INIT;
	struct out out;
	int status = STATUS_OK;

	out_open(&out, o->json ? OUT_JSON : OUT_TEXT, STDOUT_FILENO);
	if (prepare(o, repo, &wish, fail) == 0) {
		wish.chatter = &chatter;
		for (int64_t i = 0; i < o->count && fail->kind == 0; i++) {
			status = claim_one(o, repo, &wish, &out, fail);
			fwrite(chatter.data, 1, chatter.len, stderr);
			bytes_clear(&chatter);
		}
	}
	free((char *)wish.command);
	bytes_release(&chatter);
	/* A command's own output went past us: there is nothing of ours to close. */
	if (!o->run && out_close(&out, &printing) < 0 && fail->kind == 0)
		*fail = printing;
	return status;
}

int claim_take(int argc, char **argv)
{
	struct command o = {.pool = "default",
			    .max = -1,
			    .count = 1,
			    .timeout = -1,
			    .owner_pid = -1,
			    .ttl = -1,
			    .deadline = -1,
			    .refusal = -1};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int status = STATUS_OK;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0)
			status = claim(&o, &repo, &fail);
		repo_close(&repo);
	}
	if (fail.kind) {
		status = status_report(CLAIM_COMMAND, &fail);
		if (o.run && o.refusal >= 0 && o.refusal <= 255)
			status = (int)o.refusal;
	}
	return status;
}
