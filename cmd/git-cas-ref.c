/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git cas-ref: parse, open, swap, report. */
#include "cas-ref.h"

#include "clock.h"
#include "odb.h"
#include "pool.h"
#include "rev.h"
#include "status.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND "git cas-ref"
#define DEFAULT_TRIES 16

static const char *const synopsis[] = {
	"git cas-ref [-m <reason>] [--create-reflog] [--no-deref] <ref> <new> <old>",
	"git cas-ref [-m <reason>] [--no-deref] --delete <ref> <old>",
	"git cas-ref [-m <reason>] [--tries <n>] [-E <status>] --update <ref> -- <command> "
	"[<arg>...]",
	"git cas-ref [-m <reason>] [--create-reflog] [-z] --stdin",
	NULL,
};

/* ---- names and values ------------------------------------------------------------------ */

int target_check_name(const char *name, struct fail *fail)
{
	char *branch;

	if (refname_valid(name) || refname_is_root(name))
		return 0;
	branch = mem_printf("refs/heads/%s", name);
	if (strncmp(name, "refs/", 5) != 0 && refname_valid(branch))
		fail_set(fail, FAIL_USAGE, "'%s' is not a full ref name; did you mean '%s'?", name,
			 branch);
	else
		fail_set(fail, FAIL_USAGE, "'%s' is not a valid ref name", name);
	free(branch);
	return fail->kind;
}

int target_find(struct cas_ref *cas, const char *name, struct target *target, struct fail *fail)
{
	*target = (struct target){.name = name};
	oid_zero(cas->repo.algo, &target->at);
	if (target_check_name(name, fail) < 0)
		return fail->kind;
	/* The value is the followed one also without following: git compares that. */
	if (ref_follow(&cas->repo, name, &target->at, &target->leaf, fail) == FAIL_GONE)
		fail_clear(fail);
	if (cas->no_deref && fail->kind == 0) {
		free(target->leaf);
		target->leaf = mem_strdup(name);
	}
	return fail->kind;
}

void target_release(struct target *target)
{
	free(target->leaf);
	target->leaf = NULL;
}

int target_check_value(struct cas_ref *cas, const char *name, const struct oid *oid,
		       struct fail *fail)
{
	bool branch = !strncmp(name, "refs/heads/", 11) || !strcmp(name, "HEAD");
	char hex[OID_HEX_MAX + 1];
	enum object_type type;
	struct odb odb;

	odb_init(&odb, &cas->repo);
	if (odb_type(&odb, oid, &type, fail) == FAIL_GONE) {
		fail_clear(fail);
		fail_set(fail, FAIL_FATAL, "cannot set '%s': object %s does not exist", name,
			 oid_hex(oid, hex));
	} else if (fail->kind == 0 && branch && type != OBJECT_COMMIT) {
		fail_set(fail, FAIL_FATAL, "cannot set branch '%s': object %s is a %s, no commit",
			 name, oid_hex(oid, hex), object_type_name(type));
	}
	odb_release(&odb);
	return fail->kind;
}

/* ---- telling ----------------------------------------------------------------------------- */

int cas_ref_report(const struct cas_ref *cas, struct fail *fail)
{
	/* 1 is for lost swaps only: what is missing here is the ground we stand on. */
	if (fail->kind == FAIL_GONE)
		fail->kind = FAIL_FATAL;
	/* A lost swap is an answer, and it is on stdout. */
	if (fail->kind != FAIL_NO || !cas->quiet)
		status_report(COMMAND, fail);
	return status_of(fail);
}

void cas_ref_chatter(struct bytes *chatter)
{
	fwrite(chatter->data, 1, chatter->len, stderr);
	bytes_clear(chatter);
}

static void say_engine(struct cas_ref *cas, const struct ref_swap *swap)
{
	const char *reason;

	if (!cas->verbose)
		return;
	if (cas->repo.engine_reason[0])
		status_say("engine: %s (%s)", engine_name(cas->repo.engine),
			   cas->repo.engine_reason);
	else
		status_say("engine: %s", engine_name(cas->repo.engine));
	reason = swap ? ref_git_reason(&cas->repo, swap) : "several refs at once";
	if (reason)
		status_say("refs are written by git: %s", reason);
	else
		status_say("refs are written natively");
}

/* ---- one swap ----------------------------------------------------------------------------- */

struct ref_swap cas_ref_swap(struct cas_ref *cas, const struct target *target,
			     const struct oid *old_oid, const struct oid *new_oid)
{
	return (struct ref_swap){
		.name = target->leaf,
		.through = strcmp(target->leaf, target->name) ? target->name : NULL,
		.old_oid = *old_oid,
		.new_oid = *new_oid,
		.reason = cas->reason,
		.create_reflog = cas->create_reflog,
		.no_deref = cas->no_deref,
		.deadline = clock_deadline(cas->timeout),
	};
}

static int parse_values(struct cas_ref *cas, const char *new_text, const char *old_text,
			struct oid *new_oid, struct oid *old_oid, struct fail *fail)
{
	oid_zero(cas->repo.algo, new_oid);
	if (new_text && rev_resolve_or_none(&cas->repo, new_text, new_oid, fail) == 0 &&
	    oid_is_zero(new_oid))
		return fail_set(fail, FAIL_USAGE,
				"a new value of zero is refused; use --delete to delete a ref");
	if (fail->kind == 0 && rev_resolve_or_none(&cas->repo, old_text, old_oid, fail) == 0 &&
	    !new_text && oid_is_zero(old_oid))
		return fail_set(fail, FAIL_USAGE,
				"a ref that must not exist cannot be deleted: <old> is zero");
	return fail->kind;
}

static int swap_target(struct cas_ref *cas, const struct target *target, const struct oid *new_oid,
		       const struct oid *old_oid, struct oid *now, struct fail *fail)
{
	struct ref_swap swap = cas_ref_swap(cas, target, old_oid, new_oid);
	struct ref_lock lock = REF_LOCK_INIT;
	struct bytes chatter = BYTES_INIT;

	swap.chatter = &chatter;
	say_engine(cas, &swap);
	/* git checks the value itself. */
	if (ref_git_reason(&cas->repo, &swap) ||
	    target_check_value(cas, target->leaf, new_oid, fail) == 0)
		if (ref_lock_take(&cas->repo, target->leaf, swap.deadline, &lock, fail) == 0)
			ref_swap(&cas->repo, &lock, &swap, now, fail);
	ref_lock_drop(&lock);
	cas_ref_chatter(&chatter);
	bytes_release(&chatter);
	return fail->kind;
}

/* The message names both values; stdout gets the one that counts. */
static void say_lost(const char *name, const struct oid *old_oid, const struct oid *now,
		     struct fail *fail)
{
	char old_hex[OID_HEX_MAX + 1], now_hex[OID_HEX_MAX + 1];

	puts(oid_hex(now, now_hex));
	oid_hex(old_oid, old_hex);
	fail_clear(fail);
	if (oid_is_zero(now))
		fail_set(fail, FAIL_NO, "ref '%s' does not exist; expected %s", name, old_hex);
	else if (oid_is_zero(old_oid))
		fail_set(fail, FAIL_NO, "ref '%s' exists: it holds %s", name, now_hex);
	else
		fail_set(fail, FAIL_NO, "ref '%s' holds %s; expected %s", name, now_hex, old_hex);
}

/* <new> is NULL for a delete. */
static int swap_one(struct cas_ref *cas, const char *name, const char *new_text,
		    const char *old_text)
{
	struct fail fail = FAIL_INIT;
	struct oid new_oid, old_oid, now;
	struct target target = {0};

	if (target_find(cas, name, &target, &fail) == 0 &&
	    parse_values(cas, new_text, old_text, &new_oid, &old_oid, &fail) == 0 &&
	    swap_target(cas, &target, &new_oid, &old_oid, &now, &fail) == FAIL_NO)
		say_lost(name, &old_oid, &now, &fail);
	target_release(&target);
	return fail.kind ? cas_ref_report(cas, &fail) : STATUS_OK;
}

/* ---- the command line ------------------------------------------------------------------------ */

static int want_arguments(const struct cas_ref *cas, const struct opt_args *args, struct fail *fail)
{
	if (cas->from_stdin)
		return args->count ? fail_set(fail, FAIL_USAGE, "--stdin takes no arguments") : 0;
	if (cas->update) {
		if (args->count && (!args->dashes || args->dash_at != 1))
			return fail_set(fail, FAIL_USAGE,
					"--update needs '<ref> -- <command>', with the '--'");
		return args->count < 2
			       ? fail_set(fail, FAIL_USAGE, "--update needs a ref and a command")
			       : 0;
	}
	if (cas->remove)
		return args->count != 2 ? fail_set(fail, FAIL_USAGE, "--delete needs <ref> <old>")
					: 0;
	if (args->count == 2)
		return fail_set(fail, FAIL_USAGE,
				"<old> is missing: there is no blind write ('' means that the ref "
				"must not exist)");
	return args->count != 3 ? fail_set(fail, FAIL_USAGE, "expected <ref> <new> <old>") : 0;
}

static int check_options(struct cas_ref *cas, const struct opt_args *args, struct fail *fail)
{
	if (cas->remove + cas->update + cas->from_stdin > 1)
		return fail_set(fail, FAIL_USAGE,
				"--delete, --update and --stdin exclude each other");
	if (cas->nul && !cas->from_stdin)
		return fail_set(fail, FAIL_USAGE, "-z needs --stdin");
	if (cas->no_deref && cas->from_stdin)
		return fail_set(fail, FAIL_USAGE,
				"--no-deref cannot be used with --stdin; use 'option no-deref'");
	if (!cas->update && (cas->tries >= 0 || cas->refusal))
		return fail_set(fail, FAIL_USAGE, "--tries and -E need --update");
	if (cas->tries == 0)
		return fail_set(fail, FAIL_USAGE, "option --tries: 0 tries would do nothing");
	if (cas->refusal > 255)
		return fail_set(fail, FAIL_USAGE, "option -E: '%lld' is not a status up to 255",
				(long long)cas->refusal);
	if (cas->reason && !*cas->reason)
		return fail_set(fail, FAIL_USAGE, "option -m: the reason is empty");
	if (cas->tries < 0)
		cas->tries = DEFAULT_TRIES;
	return want_arguments(cas, args, fail);
}

static int run(struct cas_ref *cas, const struct opt_args *args)
{
	char **items = args->items;

	if (cas->update)
		return cas_ref_update(cas, items[0], items + 1);
	if (cas->from_stdin) {
		say_engine(cas, NULL);
		return cas_ref_stdin(cas);
	}
	if (cas->remove)
		return swap_one(cas, items[0], NULL, items[1]);
	return swap_one(cas, items[0], items[1], items[2]);
}

static void tell_wait(UNUSED void *arg, const char *what)
{
	status_say("waiting for %s", what);
}

int main(int argc, char **argv)
{
	struct cas_ref cas = {.timeout = -1, .tries = -1};
	struct fail fail = FAIL_INIT;
	struct opt_args args;
	const struct opt options[] = {
		OPT_STRING('m', NULL, &cas.reason, "reason", "what the reflog is to say"),
		OPT_FLAG(0, "create-reflog", &cas.create_reflog, "start a reflog if there is none"),
		OPT_FLAG(0, "no-deref", &cas.no_deref, "change a symbolic ref itself"),
		OPT_FLAG('d', "delete", &cas.remove, "delete the ref if it holds <old>"),
		OPT_FLAG(0, "update", &cas.update, "run a command that makes the new value"),
		OPT_NUMBER("tries", &cas.tries, "how often --update tries (default 16)"),
		{OPT_KIND_NUMBER, 'E', NULL, &cas.refusal, "status",
		 "exit status of --update's own refusals"},
		OPT_FLAG(0, "stdin", &cas.from_stdin, "read commands, as git update-ref does"),
		OPT_FLAG('z', NULL, &cas.nul, "with --stdin: fields end with NUL"),
		OPT_DURATION("timeout", &cas.timeout, "how long to wait for locks (default 10s)"),
		OPT_FLAG('q', "quiet", &cas.quiet, "say nothing of lost swaps and of waits"),
		OPT_COUNT('v', "verbose", &cas.verbose, "say who writes the ref, and why"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = options};
	int status = STATUS_OK;
	int r;

	status_open_streams();
	r = opt_parse(&spec, argc, argv, &args, &fail);
	if (r == OPT_HELP)
		return status_close_stdout(STATUS_OK);
	/* A file size limit is to be an error that we can report. */
	signal(SIGXFSZ, SIG_IGN);
	if (r < 0 || check_options(&cas, &args, &fail) < 0) {
		status = status_report(COMMAND, &fail);
		return cas.update && cas.refusal && cas.refusal < 256 ? (int)cas.refusal : status;
	}
	if (repo_open(&cas.repo, REPO_ANY, &fail) < 0) {
		status = cas_ref_report(&cas, &fail);
	} else {
		pool_touch(&cas.repo);
		if (cas.timeout < 0)
			cas.timeout = cas.repo.conf.lock_timeout;
		if (!cas.quiet)
			cas.repo.waiting.tell = tell_wait;
		status = run(&cas, &args);
	}
	repo_close(&cas.repo);
	return status_close_stdout(status);
}
