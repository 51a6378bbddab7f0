/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: which guards are active, asked of git's settings and of what is on disk. */
#include "installparts.h"

#include "worktree.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct view {
	struct repo *repo;
	struct install_settings settings;
	int version;
	char text[32];
	char *dir;		/* where this git looks for hooks */
	const char *dir_origin; /* the file that says so; NULL: the default place */
};

static const char *last_value(const struct install_settings *settings, const char *key)
{
	for (size_t i = settings->count; i-- > 0;)
		if (!strcasecmp(settings->items[i].key, key))
			return settings->items[i].value;
	return NULL;
}

/* The program that a command of ours leads to, without the quotes. The caller frees. */
static char *program_of(const char *command)
{
	size_t n = strlen(command);

	if (n > 2 && command[0] == '\'' && command[n - 1] == '\'')
		return mem_dup(command + 1, n - 2);
	return mem_strdup(command);
}

static bool is_false(const char *value)
{
	return value && (!strcasecmp(value, "false") || !strcasecmp(value, "no") ||
			 !strcasecmp(value, "off") || !strcmp(value, "0") || !*value);
}

/* As a setting: 1 active, 0 no such setting, -1 there, and of no use. */
static int look_at_settings(const struct view *view, struct install_guard *guard)
{
	char *event = mem_printf("hook.interlock-%s.event", guard->hook);
	char *command = mem_printf("hook.interlock-%s.command", guard->hook);
	char *enabled = mem_printf("hook.interlock-%s.enabled", guard->hook);
	const char *value = last_value(&view->settings, command);
	char *program = value ? program_of(value) : NULL;
	int r = 0;

	if (program && last_value(&view->settings, event)) {
		r = -1;
		if (view->version < 2054)
			guard->why =
				mem_printf("it is installed as a setting, and git %s runs no hooks "
					   "from settings; run 'git interlock install' again",
					   view->text);
		else if (is_false(last_value(&view->settings, enabled)))
			guard->why = mem_printf("%s is false", enabled);
		else if (access(program, X_OK) < 0 && !strchr(program, '\''))
			guard->why = mem_printf("its program is gone: '%s'; run 'git interlock "
						"install' again",
						program);
		else
			r = 1;
	}
	if (r > 0) {
		guard->via = mem_printf("hook.interlock-%s", guard->hook);
		guard->program = realpath(program, NULL);
	}
	free(event);
	free(command);
	free(enabled);
	free(program);
	return r;
}

static bool runs(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s", dir, name);
	bool found = access(path, X_OK) == 0;

	free(path);
	return found;
}

static bool exists(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s", dir, name);
	struct stat st;
	bool found = lstat(path, &st) == 0;

	free(path);
	return found;
}

/* Also where a link leads. */
static bool is_there(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s", dir, name);
	bool found = access(path, F_OK) == 0;

	free(path);
	return found;
}

/* As a file in the directory where git looks. */
static void look_at_files(const struct view *view, struct install_guard *guard)
{
	char *legacy = mem_printf("%s.legacy", guard->hook);
	const char *dir = view->dir;

	if (install_is_ours(dir, guard->hook, guard->hook)) {
		if (runs(dir, guard->hook))
			guard->via = mem_printf("%s/%s", dir, guard->hook);
		else if (!guard->why)
			guard->why =
				mem_printf("'%s/%s' leads to a program that is %s; run 'git "
					   "interlock install' again",
					   dir, guard->hook,
					   is_there(dir, guard->hook) ? "not executable" : "gone");
	} else if (runs(dir, guard->hook) && install_is_ours(dir, legacy, guard->hook) &&
		   runs(dir, legacy)) {
		guard->via = mem_printf("%s/%s", dir, legacy);
	} else if (!guard->why && guard->wanted && view->dir_origin) {
		guard->why = mem_printf("core.hooksPath in '%s' leads to '%s'; run 'git interlock "
					"install' again",
					view->dir_origin, dir);
	} else if (!guard->why && guard->wanted) {
		guard->why = mem_printf("'%s/%s' is %s; run 'git interlock install' again", dir,
					guard->hook,
					exists(dir, guard->hook) ? "another's" : "not there");
	}
	free(legacy);
	guard->active = guard->via != NULL;
	if (guard->active)
		guard->program = realpath(guard->via, NULL);
}

static void find_dir(struct view *view, struct fail *fail)
{
	for (size_t i = view->settings.count; i-- > 0 && !view->dir;) {
		const struct install_setting *set = &view->settings.items[i];
		char *path;

		if (strcasecmp(set->key, "core.hooksPath") != 0)
			continue;
		path = install_expand(set->origin, set->key, set->value, fail);
		if (!path)
			return;
		view->dir_origin = set->origin;
		view->dir = path[0] != '/'
				    ? mem_printf("%s/%s",
						 view->repo->work_tree ? view->repo->work_tree
								       : view->repo->git_dir,
						 path)
				    : mem_strdup(path);
		free(path);
	}
	if (!view->dir)
		view->dir = mem_printf("%s/hooks", view->repo->common_dir);
}

/* Linked worktrees whose own settings lead git past ours. */
static void look_elsewhere(const struct view *view, struct install_look *look)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int dir = view->repo->conf.worktree_config && view->version < 2054
			  ? openat(view->repo->common_fd, "worktrees",
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC)
			  : -1;

	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	close(dir);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		char *admin = mem_printf("%s/worktrees/%s", view->repo->common_dir, p);
		char *file = mem_printf("%s/config.worktree", admin);
		struct install_settings settings = {.text = BYTES_INIT};
		struct fail failed = FAIL_INIT;
		const char *value = NULL;
		bool ours = false;

		if (access(file, F_OK) == 0 &&
		    install_settings_read(admin, &settings, &failed) == 0)
			for (size_t i = 0; i < settings.count; i++)
				if (!strcmp(settings.items[i].scope, "worktree") &&
				    !strcasecmp(settings.items[i].key, "core.hooksPath"))
					value = settings.items[i].value;
		for (size_t h = 0; value && h < INSTALL_HOOKS; h++)
			ours = ours || install_is_ours(value, install_hooks[h], install_hooks[h]);
		if (value && !ours)
			argv_pushf(&look->elsewhere, "in the worktree '%s' core.hooksPath is '%s'",
				   p, value);
		install_settings_release(&settings);
		free(admin);
		free(file);
	}
	bytes_release(&names);
}

/* What was wanted, by the record of this repository or of this user. */
static void read_wanted(const char *state, struct install_look *look)
{
	struct install_record record = {0};
	struct fail fail = FAIL_INIT, gone = FAIL_INIT;
	int dir = file_open_dir(AT_FDCWD, state, &gone);

	if (dir < 0)
		return;
	if (install_record_read(dir, &record, &fail) < 0) {
		free(look->damage);
		look->damage = mem_strdup(fail.message);
	} else if (record.found) {
		look->installed = true;
		look->unfinished = look->unfinished || record.changing;
		for (size_t i = 0; i < INSTALL_HOOKS; i++)
			look->guards[i].wanted = look->guards[i].wanted || record.want[i];
	}
	install_record_release(&record);
	close(dir);
}

int install_look(struct repo *repo, struct install_look *look, struct fail *fail)
{
	struct view view = {.repo = repo, .settings = {.text = BYTES_INIT}};
	struct fail ignored = FAIL_INIT;
	char *state = mem_printf("%s/interlock", repo->common_dir);
	char *global = install_global_state(&ignored);

	*look = (struct install_look){0};
	view.version = install_git_version(view.text, sizeof(view.text), fail);
	read_wanted(state, look);
	if (global)
		read_wanted(global, look);
	if (fail->kind == 0 && install_settings_read(repo->git_dir, &view.settings, fail) == 0)
		find_dir(&view, fail);
	for (size_t i = 0; i < INSTALL_HOOKS; i++) {
		struct install_guard *guard = &look->guards[i];

		guard->hook = install_hooks[i];
		if (fail->kind)
			continue;
		guard->active = look_at_settings(&view, guard) > 0;
		if (!guard->active)
			look_at_files(&view, guard);
		if (guard->active) {
			free(guard->why);
			guard->why = NULL;
		} else if (!guard->why) {
			guard->why =
				mem_strdup(look->installed ? "it was left out when the hooks were "
							     "installed"
							   : "not installed");
		}
	}
	if (fail->kind == 0 && look->installed)
		look_elsewhere(&view, look);
	install_settings_release(&view.settings);
	free(view.dir);
	free(state);
	free(global);
	return fail->kind;
}

void install_look_release(struct install_look *look)
{
	for (size_t i = 0; i < INSTALL_HOOKS; i++) {
		free(look->guards[i].via);
		free(look->guards[i].program);
		free(look->guards[i].why);
	}
	free(look->damage);
	argv_release(&look->elsewhere);
	*look = (struct install_look){0};
}
