/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock run: a command that no peer is running. */
#include "interlock.h"

#include "ledger.h"
#include "lifetime.h"
#include "mutex.h"
#include "name.h"
#include "number.h"

#include <stdlib.h>
#include <string.h>

struct command {
	const char *mutex;
	int64_t timeout, deadline, refusal;
	bool no_wait, quiet;
	int verbose;
	struct opt_args args;
};

static const char *const synopsis[] = {
	"git interlock run [--mutex <name>] [--no-wait|--timeout <duration>] "
	"[--deadline <duration>] [-E <status>] -- <command> [<arg>...]",
	NULL,
};

/* ---- the command line ------------------------------------------------------------------- */

static int check(const struct command *o, struct fail *fail)
{
	if (!o->args.dashes || o->args.dash_at > 0)
		return o->args.count
			       ? fail_set(fail, FAIL_USAGE,
					  "unexpected argument '%s'; the command stands "
					  "behind '--'",
					  o->args.items[0])
			       : fail_set(fail, FAIL_USAGE, "a command is needed, behind '--'");
	if (!o->args.count)
		return fail_set(fail, FAIL_USAGE, "there is no command behind '--'");
	if (o->no_wait && o->timeout >= 0)
		return fail_set(fail, FAIL_USAGE, "--no-wait and --timeout exclude each other");
	if (o->refusal > 255)
		return fail_set(fail, FAIL_USAGE, "-E is a status up to 255");
	return name_check(o->mutex, "option --mutex", fail);
}

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_STRING(0, "mutex", &o->mutex, "name", "which mutex (default 'default')"),
		OPT_FLAG(0, "no-wait", &o->no_wait, "do not wait for a peer (the default)"),
		OPT_DURATION("timeout", &o->timeout, "how long to wait for a peer"),
		OPT_DURATION("deadline", &o->deadline,
			     "how long the command may run (default 60m)"),
		{OPT_KIND_NUMBER, 'E', NULL, &o->refusal, "status",
		 "exit status of our own refusals"},
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_COUNT('v', "verbose", &o->verbose, "explain what is decided"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	return r == OPT_OK ? check(o, fail) : r;
}

/* ---- talk and ledger ----------------------------------------------------------------------- */

static void say_waiting(void *arg, const char *whom)
{
	const struct command *o = arg;

	if (!o->quiet)
		status_say("waiting for %s", whom);
}

static void say_line(void *arg, const char *line)
{
	const struct command *o = arg;

	if (!o->quiet)
		status_say("%s", line);
}

static char *command_for_people(const struct command *o)
{
	struct bytes text = BYTES_INIT;

	for (int i = 0; i < o->args.count && text.len < 200; i++)
		bytes_addf(&text, "%s%s", i ? " " : "", o->args.items[i]);
	return bytes_take(&text);
}

static void log_event(struct repo *repo, const struct command *o, const struct mutex *mutex,
		      const char *event, const char *reason)
{
	struct fail ignored = FAIL_INIT;
	struct ledger_event line = {
		.event = event, .mutex = o->mutex, .lease = mutex->id, .reason = reason};

	ledger_append(repo, &line, LEDGER_WAIT, &ignored);
}

static char *how_it_ended(const struct lifetime_end *end)
{
	if (end->deadline)
		return mem_printf("its time was over; status %d", end->status);
	if (end->signal)
		return mem_printf("ended by signal %d to its supervisor; status %d", end->signal,
				  end->status);
	return mem_printf("status %d", end->status);
}

/* ---- act ------------------------------------------------------------------------------------- */

static void prepare(const struct command *o, const struct repo *repo, const struct mutex *mutex,
		    struct lifetime *life)
{
	life->inherit = mutex->work;
	life->time = o->deadline >= 0 ? o->deadline : repo->conf.run_deadline;
	life->grace = repo->conf.grace;
	life->tell = say_line;
	life->tell_arg = (void *)o;
	for (int i = 0; i < o->args.count; i++)
		argv_push(&life->argv, o->args.items[i]);
}

/* Runs it under the mutex, or within the run that we belong to; its exit status. */
static int supervise(const struct command *o, struct repo *repo, const char *command,
		     struct mutex *mutex, struct fail *fail)
{
	struct lifetime life = LIFETIME_INIT;
	struct lifetime_end end = {0};

	prepare(o, repo, mutex, &life);
	/* What has a start in the ledger gets its end. */
	shield_raise(&life.shield, fail);
	if (!mutex->nested)
		log_event(repo, o, mutex, "start", command);
	if (fail->kind == 0)
		lifetime_run(&life, &end, fail);
	if (!mutex->nested) {
		char *reason = fail->kind ? mem_strdup(fail->message) : how_it_ended(&end);

		log_event(repo, o, mutex, "finish", reason);
		free(reason);
	}
	/* No answer to a question: the command that was to run is missing. */
	if (fail->kind == FAIL_GONE)
		fail->kind = FAIL_FATAL;
	/* Until here no signal ended us: what follows a command is done once. */
	mutex_drop(mutex);
	lifetime_release(&life);
	return end.status;
}

static int run(struct command *o, struct repo *repo, struct fail *fail)
{
	char *command = command_for_people(o);
	const struct mutex_wish wish = {.name = o->mutex,
					.command = command,
					.deadline = o->timeout > 0 ? clock_deadline(o->timeout) : 0,
					.waiting = say_waiting,
					.arg = o};
	struct mutex mutex = MUTEX_INIT;
	int status = STATUS_OK;

	if (mutex_take(repo, &wish, &mutex, fail) == 0) {
		if (o->verbose && mutex.nested)
			status_say("mutex '%s' is held by the run that this belongs to", o->mutex);
		status = supervise(o, repo, command, &mutex, fail);
	} else if (fail->kind == FAIL_BUSY) {
		log_event(repo, o, &mutex, "run-deferred", fail->message);
	}
	mutex_drop(&mutex);
	free(command);
	return status;
}

int interlock_run(int argc, char **argv)
{
	struct command o = {.mutex = MUTEX_DEFAULT, .timeout = -1, .deadline = -1, .refusal = -1};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int status = STATUS_OK;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0)
			status = run(&o, &repo, &fail);
		repo_close(&repo);
	}
	if (fail.kind) {
		status = status_report(INTERLOCK_COMMAND " run", &fail);
		if (o.refusal >= 0 && o.refusal <= 255)
			status = (int)o.refusal;
	}
	return status;
}
