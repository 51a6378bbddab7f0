/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: from what is there to what is wanted; the story is in install.h. */
#include "installparts.h"

#include "name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOOKS_PATH "core.hooksPath"

/* ---- what is wanted in settings ---------------------------------------------------- */

static struct install_conf *open_conf(struct install_parts *parts, const char *path,
				      struct fail *fail)
{
	struct install_conf conf;

	if (install_conf_open(&conf, path, fail) < 0) {
		install_conf_release(&conf);
		return NULL;
	}
	for (size_t i = 0; i < parts->conf_count; i++)
		if (!strcmp(parts->confs[i].path, conf.path)) {
			install_conf_release(&conf);
			return &parts->confs[i];
		}
	MEM_GROW(parts->confs, parts->conf_cap, parts->conf_count + 1);
	parts->confs[parts->conf_count] = conf;
	return &parts->confs[parts->conf_count++];
}

static void want_setting(struct install_conf *conf, const char *key, const char *value)
{
	install_entry_add(&conf->want, key, value, NULL);
}

static void want_config_hooks(const struct install_plan *plan, struct install_conf *conf)
{
	for (size_t i = 0; i < INSTALL_HOOKS; i++) {
		const char *hook = install_hooks[i];
		char *event = mem_printf("hook.interlock-%s.event", hook);
		char *command = mem_printf("hook.interlock-%s.command", hook);
		char *value = install_command(plan->parts->wish->programs, hook);

		if (plan->want[i]) {
			want_setting(conf, event, hook);
			want_setting(conf, command, value);
		}
		free(event);
		free(command);
		free(value);
	}
}

/* Not where the user has said so already, or has said the opposite. */
static void want_hidden_refs(struct install_parts *parts, struct install_conf *conf)
{
	static const char *const refs[] = {"refs/shadow", "refs/shadow-old", "refs/rescue"};
	const struct install_conf_record *record = install_record_conf(&parts->old, conf->path);

	for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
		bool said = false;

		for (size_t s = 0; s < parts->settings.count && !said; s++) {
			const struct install_setting *set = &parts->settings.items[s];
			const char *value = set->value + (set->value[0] == '!');

			said = !strcasecmp(set->key, "transfer.hiderefs") &&
			       !strcmp(value, refs[i]);
		}
		if (!said ||
		    (record && install_entry_find(&record->entries, "transfer.hideRefs", refs[i])))
			want_setting(conf, "transfer.hideRefs", refs[i]);
	}
}

/* ---- a repository ------------------------------------------------------------------ */

/* The last core.hooksPath, of one scope or (NULL) of all but the worktree's. */
static const struct install_setting *hooks_path(const struct install_settings *settings,
						const char *scope, const char *but)
{
	for (size_t i = settings->count; i-- > 0;) {
		const struct install_setting *set = &settings->items[i];

		if (!strcasecmp(set->key, HOOKS_PATH) &&
		    (scope ? !strcmp(set->scope, scope)
			   : strcmp(set->scope, "worktree") != 0 &&
				     (!but || strcmp(set->scope, but) != 0)))
			return set;
	}
	return NULL;
}

static bool same_place(const char *a, const char *b)
{
	struct stat sa, sb;

	return !strcmp(a, b) || (stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
				 sa.st_ino == sb.st_ino);
}

/* What our folder stands in for: what the setting was before us. The caller frees. */
static char *find_former(struct install_parts *parts, const char *conf_path, const char *folder,
			 const struct install_setting *set, struct fail *fail)
{
	const struct install_conf_record *record = install_record_conf(&parts->old, conf_path);
	const struct install_entry *entry =
		record ? install_entry_find(&record->entries, HOOKS_PATH, NULL) : NULL;
	const struct install_setting *lower;
	char *former;

	if (set && !install_is_folder(parts, set->value))
		return install_expand(set->origin, HOOKS_PATH, set->value, fail);
	if (entry && entry->former && entry->former[0] != '~' && entry->former[0] != '%')
		return mem_strdup(entry->former);
	if (!entry || !entry->former) {
		lower = hooks_path(&parts->settings, NULL,
				   parts->wish->global ? "global" : "local");
		if (lower && !install_is_folder(parts, lower->value))
			return install_expand(lower->origin, HOOKS_PATH, lower->value, fail);
	}
	former = install_read_former(folder);
	if (former)
		return former;
	return parts->wish->global ? mem_strdup("")
				   : install_join(parts->repo->common_dir, "hooks");
}

static void want_folder(struct install_plan *plan, const char *conf_path, const char *folder,
			const struct install_setting *set, struct fail *fail)
{
	char *former = find_former(plan->parts, conf_path, folder, set, fail);
	struct install_conf *conf = former ? open_conf(plan->parts, conf_path, fail) : NULL;

	if (conf) {
		install_plan_folder(plan, folder, former);
		want_setting(conf, HOOKS_PATH, folder);
	}
	free(former);
}

/* A worktree's own settings can have a core.hooksPath of their own, which wins there. */
static int plan_worktree(struct install_plan *plan, const char *id, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	const char *common = parts->repo->common_dir;
	char *admin = id ? mem_printf("%s/worktrees/%s", common, id) : mem_strdup(common);
	char *path = install_join(admin, "config.worktree"),
	     *slot = install_join(admin, "interlock");
	struct install_settings settings = {.text = BYTES_INIT};
	const struct install_setting *set;
	struct bytes name = BYTES_INIT;
	struct stat st;

	/* What a slot was born with is put back anyway. */
	if (access(path, F_OK) == 0 && !(id && lstat(slot, &st) == 0 && S_ISREG(st.st_mode)) &&
	    open_conf(parts, path, fail) && install_settings_read(admin, &settings, fail) == 0) {
		set = hooks_path(&settings, "worktree", NULL);
		if (set && !plan->config && !parts->wish->remove &&
		    !(parts->global_folder && !strcmp(set->value, parts->global_folder))) {
			char *encoded = id ? mem_printf("wt/%s", id) : mem_strdup("main"), *folder;

			name_encode(encoded, &name);
			folder = mem_printf("%s/hooks.%s", parts->state_path, name.data);
			want_folder(plan, path, folder, set, fail);
			free(folder);
			free(encoded);
		}
	}
	install_settings_release(&settings);
	bytes_release(&name);
	free(admin);
	free(path);
	free(slot);
	return fail->kind;
}

static int plan_worktrees(struct install_plan *plan, struct fail *fail)
{
	struct repo *repo = plan->parts->repo;
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int dir;

	if (!repo->conf.worktree_config)
		return 0;
	plan_worktree(plan, NULL, fail);
	dir = openat(repo->common_fd, "worktrees", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail->kind;
	file_each_name(dir, &names, &ignored);
	close(dir);
	for (char *p = names.data; fail->kind == 0 && p < names.data + names.len;
	     p += strlen(p) + 1)
		plan_worktree(plan, p, fail);
	bytes_release(&names);
	return fail->kind;
}

/* Where the hooks of an older git go, and out of where they go. */
static int plan_files(struct install_plan *plan, const char *config, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	char *dir = install_join(parts->repo->common_dir, "hooks");
	char *folder = install_join(parts->state_path, "hooks");
	const struct install_setting *set = hooks_path(&parts->settings, NULL, NULL);
	char *value = set ? install_expand(set->origin, HOOKS_PATH, set->value, fail) : NULL;
	char *place = value && value[0] != '/' && parts->repo->work_tree
			      ? install_join(parts->repo->work_tree, value)
			      : mem_strdup(value ? value : dir);
	bool wanted = !plan->config && !parts->wish->remove && fail->kind == 0, beside = false;
	struct stat st;
	bool link = lstat(dir, &st) == 0 && S_ISLNK(st.st_mode);

	if (wanted && value && parts->global_folder && !strcmp(value, parts->global_folder))
		argv_push(&plan->notes, "the hooks are installed for all repositories of this "
					"user already (--global)");
	else if (wanted && (link || !same_place(place, dir)))
		want_folder(plan, config, folder, set, fail);
	else
		beside = wanted;
	if (!link)
		install_plan_beside(plan, dir, beside);
	if (fail->kind == 0)
		plan_worktrees(plan, fail);
	install_plan_no_folder(parts, folder);
	for (size_t i = 0; i < parts->old.folders.count; i++)
		if (strcmp(parts->old.folders.items[i], folder) != 0)
			install_plan_no_folder(parts, parts->old.folders.items[i]);
	free(dir);
	free(folder);
	free(value);
	free(place);
	return fail->kind;
}

static int plan_repository(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	char *path = install_join(parts->repo->common_dir, "config");
	struct install_conf *conf = open_conf(parts, path, fail);

	if (conf && !parts->wish->remove) {
		want_hidden_refs(parts, conf);
		if (plan->config)
			want_config_hooks(plan, conf);
	}
	if (conf)
		plan_files(plan, path, fail);
	free(path);
	return fail->kind;
}

static int plan_user(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	char *path = install_global_config(fail),
	     *folder = install_join(parts->state_path, "hooks");
	struct install_conf *conf = path ? open_conf(parts, path, fail) : NULL;

	if (conf && !parts->wish->remove) {
		want_hidden_refs(parts, conf);
		if (plan->config)
			want_config_hooks(plan, conf);
		else
			want_folder(plan, path, folder, hooks_path(&parts->settings, NULL, NULL),
				    fail);
	}
	install_plan_no_folder(parts, folder);
	free(path);
	free(folder);
	return fail->kind;
}

/* ---- the plan ---------------------------------------------------------------------- */

static void choose_hooks(struct install_plan *plan)
{
	const struct install_parts *parts = plan->parts;

	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		plan->want[i] = !parts->wish->remove && (parts->wish->chosen ? parts->wish->want[i]
							 : parts->old.found  ? parts->old.want[i]
									     : true);
}

static void tell_conf(struct install_plan *plan, const struct install_conf *conf)
{
	const struct install_conf_record *record =
		install_record_conf(&plan->parts->old, conf->path);

	if (!conf->changes)
		return;
	for (size_t i = 0; i < conf->listed.count; i++) {
		const struct install_entry *e = &conf->listed.items[i];
		bool known = (record && install_entry_find(&record->entries, e->key, e->value)) ||
			     !strncasecmp(e->key, "hook.interlock-", 15) ||
			     (!strcasecmp(e->key, HOOKS_PATH) &&
			      install_is_folder(plan->parts, e->value));

		const struct install_entry *entry =
			record ? install_entry_find(&record->entries, e->key, e->value) : NULL;

		if (!known || install_entry_find(&conf->want, e->key, e->value))
			continue;
		if (entry && entry->former)
			argv_pushf(&plan->steps, "set %s back to %s in '%s'", entry->key,
				   entry->former, conf->path);
		else
			argv_pushf(&plan->steps, "unset %s = %s in '%s'",
				   entry ? entry->key : e->key, e->value, conf->path);
	}
	for (size_t i = 0; i < conf->want.count; i++) {
		const struct install_entry *e = &conf->want.items[i];

		if (!install_entry_find(&conf->listed, e->key, e->value))
			argv_pushf(&plan->steps, "set %s = %s in '%s'%s%s%s", e->key, e->value,
				   conf->path, e->former ? " (it was " : "",
				   e->former ? e->former : "", e->former ? ")" : "");
	}
}

static void tell_acts(struct install_plan *plan, const struct install_acts *acts)
{
	for (size_t i = 0; i < acts->count; i++) {
		const struct install_act *a = &acts->items[i];

		/* A folder of ours is told as a whole. */
		if (install_is_folder(plan->parts, a->dir) &&
		    (a->kind == ACT_LINK || a->kind == ACT_REMOVE))
			continue;
		switch (a->kind) {
		case ACT_MAKE:
			argv_pushf(&plan->steps, "make '%s'", a->dir);
			break;
		case ACT_ASIDE:
			argv_pushf(&plan->steps, "keep '%s/%s' as '%s', which runs after ours",
				   a->dir, a->name, a->value);
			break;
		case ACT_MOVE:
			argv_pushf(&plan->steps, "rename '%s/%s' to '%s'", a->dir, a->name,
				   a->value);
			break;
		case ACT_LINK:
			argv_pushf(&plan->steps, "link '%s/%s' to '%s'", a->dir, a->name, a->value);
			break;
		case ACT_WRITE:
			argv_pushf(&plan->steps, "write '%s/%s': the hooks in '%s' run after ours",
				   a->dir, a->name, *a->value ? a->value : "<each repository>");
			break;
		case ACT_REMOVE:
			argv_pushf(&plan->steps, "remove '%s/%s'", a->dir, a->name);
			break;
		case ACT_RMDIR:
			argv_pushf(&plan->steps, "remove the directory '%s'", a->dir);
			break;
		}
	}
}

static int open_state(struct install_parts *parts, bool hold, struct fail *fail)
{
	struct fail gone = FAIL_INIT;
	int64_t timeout = parts->repo ? parts->repo->conf.lock_timeout : 10000;
	int locks;

	if (hold && parts->wish->global)
		file_make_dirs(AT_FDCWD, parts->state_path, &parts->modes, fail);
	if (hold && fail->kind == 0) {
		char *path = install_join(parts->state_path, "locks");

		locks = parts->wish->global
				? (file_make_dirs(AT_FDCWD, path, &parts->modes, fail) < 0
					   ? -1
					   : file_open_dir(AT_FDCWD, path, fail))
				: repo_state_dir(parts->repo, "locks", fail);
		free(path);
		if (locks >= 0) {
			lock_take(&parts->lock, locks, "install", LOCK_EXCLUSIVE,
				  clock_deadline(timeout), NULL, &parts->modes, fail);
			close(locks);
		}
		if (fail->kind == FAIL_BUSY)
			fail_context(fail, "an install is under way");
	}
	if (fail->kind == 0)
		parts->state = file_open_dir(AT_FDCWD, parts->state_path, &gone);
	if (parts->state < 0 && gone.kind && (hold || gone.kind != FAIL_GONE))
		*fail = gone;
	return fail->kind;
}

static int heal(struct install_parts *parts, struct fail *fail)
{
	char *path = parts->wish->global ? install_global_config(fail)
					 : install_join(parts->repo->common_dir, "config");
	char *real = path ? realpath(path, NULL) : NULL;

	if (path)
		install_conf_heal(real ? real : path, fail);
	for (size_t i = 0; i < parts->old.count && fail->kind == 0; i++)
		install_conf_heal(parts->old.confs[i].path, fail);
	free(path);
	free(real);
	return fail->kind;
}

static void note_rest(struct install_plan *plan)
{
	const struct install_parts *parts = plan->parts;

	if (parts->wish->remove || !plan->steps.count)
		return;
	if (plan->want[0] && plan->each_ref)
		argv_pushf(
			&plan->notes,
			"reference-transaction: git %s starts this hook twice for each ref that a "
			"fetch brings, about 2 ms a ref: 20 s for 10,000 of them; 'git interlock "
			"install --except reference-transaction' leaves it out (git 2.51 and newer "
			"start it once for all)",
			plan->version);
	if (parts->repo && !parts->repo->conf.auto_save)
		argv_push(&plan->notes, "interlock.autoSave is off: the hooks guard, and save no "
					"checkpoints");
}

static int plan_all(struct install_plan *plan, bool hold, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	int version = install_git_version(plan->version, sizeof(plan->version), fail);

	if (version < 0)
		return fail->kind;
	plan->config = version >= 2054;
	plan->each_ref = version < 2051;
	if (open_state(parts, hold, fail) < 0 ||
	    install_record_read(parts->state, &parts->old, fail) < 0 ||
	    (hold && heal(parts, fail) < 0) ||
	    install_settings_read(parts->wish->global ? NULL : parts->repo->common_dir,
				  &parts->settings, fail) < 0)
		return fail->kind;
	choose_hooks(plan);
	if ((parts->wish->global ? plan_user(plan, fail) : plan_repository(plan, fail)) < 0)
		return fail->kind;
	/* Files that are not concerned any more are emptied of what is ours. */
	for (size_t i = 0; i < parts->old.count && fail->kind == 0; i++)
		if (access(parts->old.confs[i].path, F_OK) == 0)
			open_conf(parts, parts->old.confs[i].path, fail);
	for (size_t i = 0; i < parts->conf_count && fail->kind == 0; i++)
		install_conf_plan(&parts->confs[i], parts->state,
				  install_record_conf(&parts->old, parts->confs[i].path),
				  install_is_folder, parts, fail);
	if (fail->kind)
		return fail->kind;
	tell_acts(plan, &parts->before);
	for (size_t i = 0; i < parts->conf_count; i++)
		tell_conf(plan, &parts->confs[i]);
	tell_acts(plan, &parts->after);
	note_rest(plan);
	plan->idle = parts->state < 0 && !plan->steps.count;
	return 0;
}

int install_plan(struct repo *repo, const struct install_wish *wish, bool hold,
		 struct install_plan *plan, struct fail *fail)
{
	struct fail ignored = FAIL_INIT;
	struct install_parts *parts = mem_zalloc(sizeof(*parts));
	char *global = install_global_state(wish->global ? fail : &ignored);

	*plan = (struct install_plan){.parts = parts};
	parts->repo = repo;
	parts->wish = wish;
	parts->modes = repo && !wish->global ? repo->modes : (struct file_modes)FILE_MODES_PRIVATE;
	parts->state = -1;
	parts->lock = (struct lock)LOCK_INIT;
	parts->settings.text = (struct bytes)BYTES_INIT;
	if (global)
		parts->global_folder = install_join(global, "hooks");
	parts->state_path = wish->global ? global : install_join(repo->common_dir, "interlock");
	if (!wish->global)
		free(global);
	return fail->kind ? fail->kind : plan_all(plan, hold, fail);
}

void install_release(struct install_plan *plan)
{
	struct install_parts *parts = plan->parts;

	argv_release(&plan->steps);
	argv_release(&plan->notes);
	if (!parts)
		return;
	for (size_t i = 0; i < parts->conf_count; i++)
		install_conf_release(&parts->confs[i]);
	free(parts->confs);
	install_record_release(&parts->old);
	install_record_release(&parts->made);
	install_settings_release(&parts->settings);
	install_acts_release(&parts->before);
	install_acts_release(&parts->after);
	argv_release(&parts->folders);
	lock_drop(&parts->lock);
	if (parts->state >= 0)
		close(parts->state);
	free(parts->state_path);
	free(parts->global_folder);
	free(parts);
	plan->parts = NULL;
}
