/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* ref: whose is the reference-transaction hook that git would run? */
#include "ref.h"

#include "hookchain.h"
#include "repo.h"
#include "self.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOOK "reference-transaction"

static char *own_hooks(const void *arg)
{
	const struct repo *repo = arg;

	return mem_printf("%s/hooks", repo->common_dir);
}

/*
 * Where git is when it runs a hook. NULL where that hangs on more than the work tree:
 * GIT_DIR in the environment, a current directory inside of .git.
 */
static const char *hooks_start(const struct repo *repo)
{
	if (repo->work_tree && repo->prefix)
		return repo->work_tree;
	return repo->bare && !getenv("GIT_DIR") ? repo->git_dir : NULL;
}

/* Our program for that hook, the one that was installed or built together with this one. */
static char *find_program(void)
{
	static const char *const places[] = {"../libexec/interlock/" HOOK, "hooks/" HOOK};
	char *path = NULL;

	for (size_t i = 0; !path && i < ARRAY_SIZE(places); i++) {
		path = self_beside(places[i]);
		if (path && access(path, X_OK) < 0) {
			free(path);
			path = NULL;
		}
	}
	return path;
}

/* What git would run at `path`: is it our program, and nothing behind it? */
static bool is_ours_alone(const struct hookchain *chain, const char *path)
{
	bool ours = chain->self && hookchain_is_self(chain, path), doubt = false;
	char *next = ours ? hookchain_next(chain, path, HOOK, &doubt) : NULL;

	free(next);
	return ours && !next && !doubt;
}

/* ---- in the hooks directory ---------------------------------------------------------- */

/* The path where git looks; NULL: git expands it, and only git knows. */
static char *hook_path(const struct repo *repo)
{
	const char *hooks = repo->conf.hooks_path, *start = hooks_start(repo);

	if (!hooks)
		return mem_printf("%s/hooks/" HOOK, repo->common_dir);
	if (hooks[0] == '/')
		return mem_printf("%s/" HOOK, hooks);
	if (!hooks[0] || strchr("~%:", hooks[0]) || !start)
		return NULL;
	return mem_printf("%s/%s/" HOOK, start, hooks);
}

/* ---- in the settings ------------------------------------------------------------------ */

static const char *command_of(const struct gitconf *conf, const char *name)
{
	for (size_t i = conf->hook_commands.count; i >= 2; i -= 2)
		if (!strcmp(conf->hook_commands.items[i - 2], name))
			return conf->hook_commands.items[i - 1];
	return NULL;
}

/* A path between quotes, as an install writes it, and nothing that a shell would see in it. */
static bool command_is_ours(const struct hookchain *chain, const char *command)
{
	size_t n = command ? strlen(command) : 0;
	char *path = n > 2 && command[0] == '\'' && command[n - 1] == '\''
			     ? mem_dup(command + 1, n - 2)
			     : NULL;
	bool ours = path && path[0] == '/' && !strchr(path, '\'') && is_ours_alone(chain, path);

	free(path);
	return ours;
}

static bool settings_are_ours_alone(const struct gitconf *conf, const struct hookchain *chain)
{
	for (size_t i = 0; i < conf->transaction_hooks.count; i++)
		if (!command_is_ours(chain, command_of(conf, conf->transaction_hooks.items[i])))
			return false;
	return true;
}

bool ref_has_foreign_hook(struct repo *repo)
{
	struct hookchain chain = {.top = hooks_start(repo), .own_hooks = own_hooks, .arg = repo};
	char *path = hook_path(repo), *program = NULL;
	bool found = path && access(path, X_OK) == 0, foreign = !path;

	/* None at all is what most repositories have. */
	if (!foreign && (found || repo->conf.transaction_hooks.count)) {
		chain.self = program = find_program();
		foreign = (found && !is_ours_alone(&chain, path)) ||
			  !settings_are_ours_alone(&repo->conf, &chain);
	}
	free(program);
	free(path);
	return foreign;
}
