/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * doctor: hooks that were installed, and do not do what they are there for. Which ones git runs
 * is install_look()'s answer.
 */
#include "doctorparts.h"

#include "installparts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Is the git-interlock there that a hook's program asks: beside it, as it is installed or built? */
static bool finds_interlock(const char *program)
{
	static const char *const places[] = {"../../bin", ".."};
	const char *slash = strrchr(program, '/'), *path = getenv("PATH");
	bool found = false;

	for (size_t i = 0; slash && !found && i < ARRAY_SIZE(places); i++) {
		char *file = mem_printf("%.*s/%s/git-interlock", (int)(slash - program), program,
					places[i]);

		found = access(file, X_OK) == 0;
		free(file);
	}
	while (!found && path && *path) {
		size_t n = strcspn(path, ":");
		char *file = mem_printf("%.*s/git-interlock", (int)n, path);

		found = n && access(file, X_OK) == 0;
		free(file);
		path += n + (path[n] == ':');
	}
	return found;
}

static bool is_of_build(const char *program, const char *programs)
{
	size_t n = strlen(programs);

	return !strncmp(program, programs, n) && program[n] == '/';
}

static void look_at_active(struct doctor_view *view, const struct install_guard *guard)
{
	const char *programs = view->options->programs;

	view->doctor->hooks++;
	if (!guard->program)
		return;
	if (!finds_interlock(guard->program))
		doctor_add(view->doctor, ILL_HOOK_PROGRAM, guard->hook, guard->program, NULL);
	else if (programs && !is_of_build(guard->program, programs))
		doctor_add(view->doctor, ILL_HOOK_OTHER_BUILD, guard->hook, guard->program, NULL);
}

/* The words of install_look() say what to do, and so do ours. */
static char *without_advice(const char *why)
{
	const char *at = strstr(why, "; run 'git interlock install' again");

	return at ? mem_dup(why, (size_t)(at - why)) : mem_strdup(why);
}

static void look_at_guard(struct doctor_view *view, const struct install_guard *guard)
{
	if (guard->active)
		look_at_active(view, guard);
	else if (guard->wanted)
		doctor_add(view->doctor, ILL_HOOK_INACTIVE, guard->hook, NULL,
			   without_advice(guard->why));
}

/* ---- the user's own, which ours run --------------------------------------------------------- */

static void look_at_former(struct doctor_view *view, const char *name)
{
	char *below = mem_printf("interlock/%s", name);
	char *folder = doctor_path(view->repo, below);
	char *former = install_read_former(folder), *whole;

	if (former && *former) {
		whole = *former == '/' ? mem_strdup(former)
				       : mem_printf("%s/%s",
						    view->repo->work_tree ? view->repo->work_tree
									  : view->repo->git_dir,
						    former);
		if (access(whole, F_OK) < 0)
			doctor_add(view->doctor, ILL_HOOK_CHAINED, below, whole,
				   mem_printf("the directory '%s' is not there", former));
		free(whole);
	}
	free(former);
	free(folder);
	free(below);
}

static void look_at_folders(struct doctor_view *view)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int dir = doctor_open(view->repo, "interlock");

	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	close(dir);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
		if (!strncmp(p, "hooks", 5) && (!p[5] || p[5] == '.'))
			look_at_former(view, p);
	bytes_release(&names);
}

/* Beside ours, in the hooks directory: git runs nothing that is not executable, nor do we. */
static void look_beside(struct doctor_view *view)
{
	char *hooks = doctor_path(view->repo, "hooks");

	for (size_t i = 0; i < INSTALL_HOOKS; i++) {
		char *path = mem_printf("%s/%s" INSTALL_ASIDE, hooks, install_hooks[i]);

		if (install_is_ours(hooks, install_hooks[i], install_hooks[i]) &&
		    access(path, F_OK) == 0 && access(path, X_OK) < 0)
			doctor_add(view->doctor, ILL_HOOK_CHAINED, install_hooks[i], path,
				   mem_printf("'%s' is not executable", path));
		free(path);
	}
	free(hooks);
}

int doctor_hooks(struct doctor_view *view, struct fail *fail)
{
	struct install_look look;
	char *record = doctor_path(view->repo, "interlock/" INSTALL_RECORD);

	if (install_look(view->repo, &look, fail) == 0) {
		view->doctor->hooks_wanted = look.installed;
		if (look.damage)
			doctor_add(view->doctor, ILL_HOOKS_RECORD, "installed", record,
				   mem_strdup(look.damage));
		if (look.unfinished)
			doctor_add(view->doctor, ILL_HOOKS_UNFINISHED, "installed", record, NULL);
		for (size_t i = 0; i < INSTALL_HOOKS; i++)
			look_at_guard(view, &look.guards[i]);
		for (size_t i = 0; i < look.elsewhere.count; i++)
			doctor_add(view->doctor, ILL_HOOK_ELSEWHERE, "core.hooksPath", NULL,
				   mem_strdup(look.elsewhere.items[i]));
		look_at_folders(view);
		look_beside(view);
	}
	install_look_release(&look);
	free(record);
	return fail->kind;
}
