/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock install, uninstall: our hooks in, and out again. */
#include "interlock.h"

#include "install.h"
#include "purge.h"
#include "quote.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	bool local, global, dry_run, quiet, purge;
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
	"git interlock uninstall [--local|--global] [--purge] [--dry-run] [-q]",
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
	if (o->purge && o->global)
		return fail_set(fail, FAIL_USAGE, "--purge is for one repository");
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
		OPT_FLAG(0, "purge", &o->purge, "delete all checkpoints and rescues as well"),
		OPT_FLAG('n', "dry-run", &o->dry_run, "print what would be done, and do nothing"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = o->wish.remove ? uninstall_synopsis
								 : install_synopsis,
				      .options = o->wish.remove ? uninstall_table : install_table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	return r == OPT_OK ? check(o, fail) : r;
}

char *interlock_programs(void)
{
	static const char *const places[] = {"../libexec/interlock", "hooks"};
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *slash;
	char *found = NULL;

	exe[len > 0 ? len : 0] = '\0';
	slash = strrchr(exe, '/');
	for (size_t i = 0; slash && !found && i < ARRAY_SIZE(places); i++) {
		char *dir = mem_printf("%.*s%s", (int)(slash + 1 - exe), exe, places[i]);
		char *program = mem_printf("%s/%s", dir, install_hooks[0]);

		if (access(program, X_OK) == 0)
			found = realpath(dir, NULL);
		free(dir);
		free(program);
	}
	return found;
}

static int find_programs(struct command *o, struct fail *fail)
{
	o->wish.programs = o->programs = interlock_programs();
	if (!o->programs)
		return fail_set(fail, FAIL_FATAL,
				"the hooks' programs are not beside this program; install the "
				"suite anew");
	return 0;
}

/* ---- act and report ----------------------------------------------------------------------------
 */

static void print_steps(const struct command *o, const struct argv *steps)
{
	struct bytes line = BYTES_INIT;

	for (size_t i = 0; i < steps->count && (o->dry_run || !o->quiet); i++) {
		bytes_clear(&line);
		quote_line(steps->items[i], strlen(steps->items[i]), &line);
		printf("%s\n", line.data);
	}
	bytes_release(&line);
}

/* Looks first: where there is nothing of ours an uninstall makes no folder for a lock. */
static bool is_idle(const struct command *o, struct repo *repo, struct fail *fail)
{
	struct install_plan plan;
	bool idle;

	install_plan(repo, &o->wish, false, &plan, fail);
	idle = plan.idle;
	install_release(&plan);
	return idle;
}

static int act(const struct command *o, struct repo *repo, struct fail *fail)
{
	struct install_plan plan;
	struct argv purged = ARGV_INIT;
	bool changed, hold;

	if (o->purge && purge_check(repo, fail) < 0)
		return fail->kind;
	hold = !o->dry_run && !(o->wish.remove && is_idle(o, repo, fail));
	if (fail->kind)
		return fail->kind;
	if (install_plan(repo, &o->wish, hold, &plan, fail) == 0 &&
	    (!hold || install_apply(&plan, fail) == 0)) {
		print_steps(o, &plan.steps);
		for (size_t i = 0; i < plan.notes.count && !o->quiet; i++)
			status_say("%s", plan.notes.items[i]);
	}
	changed = plan.steps.count > 0;
	install_release(&plan);
	if (fail->kind == 0 && o->purge) {
		purge_repository(repo, !o->dry_run, &purged, fail);
		if (fail->kind == 0)
			print_steps(o, &purged);
	}
	if (fail->kind == 0 && !o->quiet && !changed && !purged.count)
		status_say("nothing to do");
	argv_release(&purged);
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
