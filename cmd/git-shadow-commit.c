/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit: snapshot the working tree to a shadow ref, and get it back. */
#include "shadow.h"

#include "pool.h"

#include "progress.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
};

static const struct verb verbs[] = {
	{"save", shadow_save}, {"log", shadow_log},	    {"show", shadow_show},
	{"diff", shadow_diff}, {"restore", shadow_restore}, {"expire", shadow_expire},
};

int shadow_open(struct repo *repo, enum repo_need need, struct fail *fail)
{
	if (repo_open(repo, need, fail) < 0)
		return fail->kind;
	pool_touch(repo);
	return 0;
}

int shadow_chain(struct repo *repo, const char *given, char **chain, struct fail *fail)
{
	if (given)
		return checkpoint_ref_named(given, chain, fail);
	return checkpoint_ref(repo, chain, fail);
}

static bool key_ok(const char *key, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)key[i]) && key[i] != '-')
			return false;
	return len && isalpha((unsigned char)key[0]);
}

int shadow_trailer(const char *given, struct argv *trailers, struct fail *fail)
{
	size_t len = strcspn(given, "=:");
	const char *value = given[len] ? given + len + 1 : NULL;

	if (!value || !key_ok(given, len))
		return fail_set(fail, FAIL_USAGE, "--trailer '%s' is not <key>=<value>", given);
	if (!strncasecmp(given, "Shadow-", 7))
		return fail_set(fail, FAIL_USAGE, "--trailer '%s': Shadow-... is the suite's own",
				given);
	if (strpbrk(value, "\r\n"))
		return fail_set(fail, FAIL_USAGE, "--trailer '%.*s': a value cannot hold a newline",
				(int)len, given);
	value += strspn(value, " \t");
	argv_pushf(trailers, "%.*s: %s", (int)len, given, value);
	return 0;
}

static void tell_wait(void *arg, const char *what)
{
	if (arg)
		progress_clear(arg);
	status_say("waiting for %s", what);
}

void shadow_tell_waits(struct repo *repo, struct progress *progress)
{
	repo->waiting = (struct waiting){.tell = tell_wait, .arg = progress};
}

void shadow_explain_engine(const struct repo *repo)
{
	if (repo->engine == ENGINE_GIT)
		status_say("engine: git (%s)", repo->engine_reason);
	else
		status_say("engine: native");
}

static int unknown_verb(const char *name)
{
	struct fail fail = FAIL_INIT;

	fail_set(&fail, FAIL_USAGE, "unknown verb '%s' (save, log, show, diff, restore, expire)",
		 name);
	return status_report(SHADOW_COMMAND, &fail);
}

int main(int argc, char **argv)
{
	static char save[] = "save";

	status_open_streams();
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return status_close_stdout(verbs[i].run(argc - 1, argv + 1));
	if (argc > 1 && argv[1][0] != '-')
		return unknown_verb(argv[1]);
	/* save is the default verb. */
	argv[0] = save;
	return status_close_stdout(shadow_save(argc, argv));
}
