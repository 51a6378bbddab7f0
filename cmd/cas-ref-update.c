/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * git cas-ref --update: read, run the command, swap; on a lost race again.
 *
 * The first try holds no lock while the command runs: most of the time nobody
 * else is there, and a slow command stops nobody. Whoever loses keeps the per-ref
 * lock, which it has just taken for its swap, over its next tries: now it can
 * only lose to writers that are not ours. So of any number of our processes each
 * runs its command at most twice, in the order in which they queue, and those
 * who wait for a slow command are told who holds the lock.
 *
 * Time counts while we wait, not while the command runs.
 */
#include "cas-ref.h"

#include "clock.h"
#include "rev.h"
#include "spawn.h"
#include "status.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct loop {
	struct cas_ref *cas;
	char **command;
	struct target target;
	struct ref_lock lock; /* held from the first lost try on */
	struct backoff backoff;
	int64_t deadline;
	int command_status;
};

/* A fresh read; under the lock once a try was lost. */
static int read_target(struct loop *l, const char *name, struct fail *fail)
{
	target_release(&l->target);
	if (target_find(l->cas, name, &l->target, fail) < 0)
		return fail->kind;
	/* HEAD may have moved: then it is another ref that we race for. */
	if (l->lock.name && strcmp(l->lock.name, l->target.leaf) != 0)
		ref_lock_drop(&l->lock);
	return 0;
}

/* Its standard input and error are ours; SIGXFSZ acts as it does for everybody. */
static int run_command(struct loop *l, struct bytes *out, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	char hex[OID_HEX_MAX + 1];
	int64_t start = clock_ms();

	for (char **word = l->command; *word; word++)
		argv_push(&cmd.argv, *word);
	argv_pushf(&cmd.env, "CAS_REF_OLD=%s",
		   oid_is_zero(&l->target.at) ? "" : oid_hex(&l->target.at, hex));
	argv_pushf(&cmd.env, "CAS_REF_NAME=%s", l->target.name);
	cmd.inherit_stdin = true;
	cmd.stderr_fd = 2;
	signal(SIGXFSZ, SIG_DFL);
	spawn_capture_any(&cmd, out, fail);
	signal(SIGXFSZ, SIG_IGN);
	l->command_status = cmd.status;
	if (l->deadline != INT64_MAX)
		l->deadline += clock_ms() - start;
	spawn_release(&cmd);
	return fail->kind;
}

/* The id on the first line of what the command printed. */
static int take_value(struct loop *l, struct bytes *out, struct oid *value, struct fail *fail)
{
	bytes_truncate(out, strcspn(out->data, "\n"));
	if (!out->len)
		return fail_set(fail, FAIL_FATAL, "command '%s' printed no new value",
				l->command[0]);
	if (rev_resolve_or_none(&l->cas->repo, out->data, value, fail) < 0)
		return fail_context(fail, "command '%s'", l->command[0]);
	if (oid_is_zero(value))
		return fail_set(fail, FAIL_FATAL,
				"command '%s' printed a zero value; a ref is deleted with --delete",
				l->command[0]);
	return 0;
}

static int swap_value(struct loop *l, const struct oid *value, struct fail *fail)
{
	struct ref_swap swap = cas_ref_swap(l->cas, &l->target, &l->target.at, value);
	struct bytes chatter = BYTES_INIT;
	struct oid now;

	swap.chatter = &chatter;
	swap.deadline = l->deadline;
	if (!ref_git_reason(&l->cas->repo, &swap) &&
	    target_check_value(l->cas, l->target.leaf, value, fail) < 0)
		return fail->kind;
	if (l->lock.name ||
	    ref_lock_take(&l->cas->repo, l->target.leaf, l->deadline, &l->lock, fail) == 0)
		ref_swap(&l->cas->repo, &l->lock, &swap, &now, fail);
	cas_ref_chatter(&chatter);
	bytes_release(&chatter);
	return fail->kind;
}

/* One turn. FAIL_NO: the race was lost. Done with command_status != 0: the command failed. */
static int try_once(struct loop *l, const char *name, struct fail *fail)
{
	struct bytes out = BYTES_INIT;
	struct oid value;

	if (read_target(l, name, fail) == 0 && run_command(l, &out, fail) == 0 &&
	    l->command_status == 0 && take_value(l, &out, &value, fail) == 0)
		swap_value(l, &value, fail);
	bytes_release(&out);
	return fail->kind;
}

static int loop(struct loop *l, const char *name, struct fail *fail)
{
	for (int64_t n = 1; try_once(l, name, fail) == FAIL_NO; n++) {
		fail_clear(fail);
		if (n == l->cas->tries)
			return fail_set(
				fail, FAIL_BUSY,
				"ref '%s' was changed by somebody else during each of %" PRId64
				" tries",
				name, n);
		if (l->cas->verbose)
			status_say("try %" PRId64 " was lost; trying again", n);
		/* The first loss was to one of ours, most likely, and now we have the lock. */
		if (n > 1 && !backoff_wait(&l->backoff, l->deadline))
			return fail_set(
				fail, FAIL_BUSY,
				"ref '%s' was changed by somebody else during each of %" PRId64
				" tries, and time is up",
				name, n);
	}
	return fail->kind;
}

int cas_ref_update(struct cas_ref *cas, const char *name, char **command)
{
	struct fail fail = FAIL_INIT;
	struct loop l = {
		.cas = cas,
		.command = command,
		.lock = REF_LOCK_INIT,
		.backoff = BACKOFF_INIT,
		.deadline = clock_deadline(cas->timeout),
	};
	int status;

	loop(&l, name, &fail);
	if (fail.kind) {
		status = cas_ref_report(cas, &fail);
		if (cas->refusal)
			status = (int)cas->refusal;
	} else {
		status = l.command_status;
		if (status && !cas->quiet)
			status_say("command '%s' ended with status %d; '%s' is unchanged",
				   command[0], status, name);
	}
	ref_lock_drop(&l.lock);
	target_release(&l.target);
	return status;
}
