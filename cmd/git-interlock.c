/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock: what belongs to the suite as a whole; each verb has a file of its own. */
#include "interlock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help; /* for -h */
};

static const struct verb verbs[] = {
	{"install", interlock_install, "put the hooks into a repository"},
	{"uninstall", interlock_uninstall, "take them out again"},
	{"run", interlock_run, "run a command that no peer is running"},
	{"status", interlock_status, "who holds what"},
	{"doctor", interlock_doctor, "what is broken, why, and what helps"},
	{"events", interlock_events, "what happened: the ledger"},
	{"hook", interlock_hook, "what the installed hooks ask"},
	{"agent-hook", interlock_agent, "what an agent's hooks call"},
	{NULL, NULL, NULL},
};

/* Names what there is, for a message. */
static void list_verbs(struct bytes *out)
{
	for (const struct verb *verb = verbs; verb->name; verb++)
		bytes_addf(out, "%s%s", out->len ? ", " : "", verb->name);
}

static int usage_error(const char *given)
{
	struct fail fail = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int status;

	list_verbs(&names);
	if (given)
		fail_set(&fail, FAIL_USAGE, "unknown verb '%s' (%s)", given, names.data);
	else
		fail_set(&fail, FAIL_USAGE, "a verb is needed (%s)", names.data);
	status = status_report(INTERLOCK_COMMAND, &fail);
	bytes_release(&names);
	return status;
}

static int help(void)
{
	printf("usage: git interlock <verb> [<options>]\n\n");
	for (const struct verb *verb = verbs; verb->name; verb++)
		printf("    %-21s %s\n", verb->name, verb->help);
	printf("\n'git interlock <verb> -h' tells a verb's options.\n");
	return STATUS_OK;
}

int main(int argc, char **argv)
{
	status_open_streams();
	signal(SIGXFSZ, SIG_IGN);
	if (argc < 2)
		return usage_error(NULL);
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))
		return status_close_stdout(help());
	for (const struct verb *verb = verbs; verb->name; verb++)
		if (!strcmp(argv[1], verb->name))
			return status_close_stdout(verb->run(argc - 1, argv + 1));
	return usage_error(argv[1]);
}
