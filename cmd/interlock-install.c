/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock install, uninstall: our hooks in, and out again. */
#include "interlock.h"

#include "install.h"
#include "quote.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	bool local, global, dry_run, quiet;
	const char *only, *except;
	struct opt_args args;
	struct install_wish wish;
	char *programs;
};

static const char *const install_synopsis[] = {
	"git interlock install [--local|--global] [--only <hook>,...|--except <hook>,...] "
	"[--dry-run] [-q]",
	NULL,
};
static const char *const uninstall_synopsis[] = {
	"git interlock uninstall [--local|--global] [--dry-run] [-q]",
	NULL,
};

/* ---- the command line ---------------------------------------------------------------------- */

static int mark_hook(struct install_wish *wish, const char *name, size_t len, bool want,
		     struct fail *fail)
{
	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		if (strlen(install_hooks[i]) == len && !strncmp(install_hooks[i], name, len)) {
			wish->want[i] = want;
			return 0;
		}
	return fail_set(fail, FAIL_USAGE, "there is no hook '%.*s' of ours", (int)len, name);
}

/* "pre-commit,post-commit"; "all" for each of them. */
static int mark_hooks(struct install_wish *wish, const char *list, bool want, struct fail *fail)
{
	wish->chosen = true;
	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		wish->want[i] = !want || !strcmp(list, "all");
	if (want && !strcmp(list, "all"))
		return 0;
	for (const char *p = list; fail->kind == 0; p++) {
		size_t n = strcspn(p, ",");

		mark_hook(wish, p, n, want, fail);
		p += n;
		if (!*p)
			break;
	}
	return fail->kind;
}

static int check(struct command *o, struct fail *fail)
{
	if (o->args.count)
		return fail_set(fail, FAIL_USAGE, "unexpected argument '%s'", o->args.items[0]);
	if (o->local && o->global)
		return fail_set(fail, FAIL_USAGE, "--local and --global exclude each other");
	if (o->only && o->except)
		return fail_set(fail, FAIL_USAGE, "--only and --except exclude each other");
	if (o->only)
		mark_hooks(&o->wish, o->only, true, fail);
	else if (o->except)
		mark_hooks(&o->wish, o->except, false, fail);
	o->wish.global = o->global;
	return fail->kind;
}

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt install_table[] = {
		OPT_FLAG(0, "local", &o->local, "into this repository (the default)"),
		OPT_FLAG(0, "global", &o->global, "into all repositories of this user"),
		OPT_STRING(0, "only", &o->only, "hook,...",
			   "these hooks, and no others ('all': all)"),
		OPT_STRING(0, "except", &o->except, "hook,...", "all hooks but these"),
		OPT_FLAG('n', "dry-run", &o->dry_run, "print what would be done, and do nothing"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_END,
	};
	const struct opt uninstall_table[] = {
		OPT_FLAG(0, "local", &o->local, "out of this repository (the default)"),
		OPT_FLAG(0, "global", &o->global,
			 "out of the settings for all repositories of this user"),
		OPT_FLAG('n', "dry-run", &o->dry_run, "print what would be done, and do nothing"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_END,
	};
	const struct opt_spec spec = {
		.synopsis = o->wish.remove ? uninstall_synopsis : install_synopsis,
		.options = o->wish.remove ? uninstall_table : install_table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	return r == OPT_OK ? check(o, fail) : r;
}

/* The hooks that were installed or built together with this program. */
static int find_programs(struct command *o, struct fail *fail)
{
	static const char *const places[] = {"../libexec/interlock", "hooks"};
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *slash;

	exe[len > 0 ? len : 0] = '\0';
	slash = strrchr(exe, '/');
	for (size_t i = 0; slash && !o->programs && i < ARRAY_SIZE(places); i++) {
		char *dir = mem_printf("%.*s%s", (int)(slash + 1 - exe), exe, places[i]);
		char *program = mem_printf("%s/%s", dir, install_hooks[0]);

		if (access(program, X_OK) == 0)
			o->programs = realpath(dir, NULL);
		free(dir);
		free(program);
	}
	o->wish.programs = o->programs;
	if (!o->programs)
		return fail_set(fail, FAIL_FATAL,
				"the hooks' programs are not beside '%s'; install the suite anew", exe);
	return 0;
}

/* ---- act and report ---------------------------------------------------------------------------- */

static void print_steps(const struct command *o, const struct install_plan *plan)
{
	struct bytes line = BYTES_INIT;

	for (size_t i = 0; i < plan->steps.count && (o->dry_run || !o->quiet); i++) {
		bytes_clear(&line);
		quote_line(plan->steps.items[i], strlen(plan->steps.items[i]), &line);
		printf("%s\n", line.data);
	}
	for (size_t i = 0; i < plan->notes.count && !o->quiet; i++)
		status_say("%s", plan->notes.items[i]);
	if (!plan->steps.count && !o->quiet)
		status_say("nothing to do");
	bytes_release(&line);
}

static int act(const struct command *o, struct repo *repo, struct fail *fail)
{
	struct install_plan plan;

	if (install_plan(repo, &o->wish, !o->dry_run, &plan, fail) == 0 &&
	    (o->dry_run || install_apply(&plan, fail) == 0))
		print_steps(o, &plan);
	install_release(&plan);
	return fail->kind;
}

static int run(int argc, char **argv, bool remove)
{
	struct command o = {.wish = {.remove = remove}};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK && find_programs(&o, &fail) == 0) {
		if (o.global) {
			act(&o, NULL, &fail);
		} else {
			if (repo_open(&repo, REPO_ANY, &fail) == 0)
				act(&o, &repo, &fail);
			repo_close(&repo);
		}
	}
	free(o.programs);
	return fail.kind ? status_report(remove ? INTERLOCK_COMMAND " uninstall"
						: INTERLOCK_COMMAND " install",
					 &fail)
			 : STATUS_OK;
}

int interlock_install(int argc, char **argv)
{
	return run(argc, argv, false);
}

int interlock_uninstall(int argc, char **argv)
{
	return run(argc, argv, true);
}
