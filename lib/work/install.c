/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: from what is there to what is wanted; the story is in install.h. */
#include "installparts.h"

#include "guardlook.h"
#include "lock.h"
#include "name.h"
#include "worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOOKS_PATH "core.hooksPath"
#define CHAIN "chain"
#define FORMER "former"
#define WAS "installed-was-"

/*
 * Every name that git calls. push-to-checkout and proc-receive are not among them: that they
 * are there changes what git does. They are linked when the other directory has them.
 */
static const char *const hook_names[] = {
	"applypatch-msg",   "pre-applypatch",	"post-applypatch",    "pre-commit",
	"pre-merge-commit", "prepare-commit-msg", "commit-msg",	      "post-commit",
	"pre-rebase",	    "post-checkout",	"post-merge",	      "pre-push",
	"pre-receive",	    "update",		"post-receive",	      "post-update",
	"pre-auto-gc",	    "post-rewrite",	"sendemail-validate", "reference-transaction",
	"post-index-change"};
static const char *const hook_names_if_there[] = {"push-to-checkout", "proc-receive",
						  "fsmonitor-watchman", "p4-changelist",
						  "p4-prepare-changelist", "p4-post-changelist",
						  "p4-pre-submit"};

enum act_kind {
	ACT_MAKE,   /* the directory `dir` */
	ACT_ASIDE,  /* `name` gets a second name, `value` */
	ACT_MOVE,   /* `name` is renamed to `value`, which takes the place of what is there */
	ACT_LINK,   /* `name` becomes a symbolic link to `value` */
	ACT_WRITE,  /* `name` holds `value` */
	ACT_REMOVE, /* `name` goes */
	ACT_RMDIR,  /* the directory `dir` goes when it is empty */
};

struct act {
	enum act_kind kind;
	char *dir, *name, *value;
};

struct acts {
	struct act *items;
	size_t count, cap;
};

struct install_parts {
	struct repo *repo;
	const struct install_wish *wish;
	struct file_modes modes;
	char *state_path;
	int state;
	struct lock lock;
	struct install_record old, made;
	struct install_settings settings;
	char *global_folder;
	struct install_conf *confs;
	size_t conf_count, conf_cap;
	struct acts before, after; /* around the change of the settings */
	struct argv folders;	   /* that are wanted */
};

static void add_act(struct acts *acts, enum act_kind kind, const char *dir, const char *name,
		    const char *value)
{
	MEM_GROW(acts->items, acts->cap, acts->count + 1);
	acts->items[acts->count++] =
		(struct act){kind, mem_strdup(dir), name ? mem_strdup(name) : NULL,
			     value ? mem_strdup(value) : NULL};
}

static void release_acts(struct acts *acts)
{
	for (size_t i = 0; i < acts->count; i++) {
		free(acts->items[i].dir);
		free(acts->items[i].name);
		free(acts->items[i].value);
	}
	free(acts->items);
}

/* ---- places ---------------------------------------------------------------------------------- */

static char *join(const char *dir, const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

/* Where a link leads, NULL when it is none. */
static char *read_link(const char *dir, const char *name)
{
	char *path = join(dir, name), target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));

	free(path);
	return n < 0 || n == sizeof(target) ? NULL : mem_dup(target, (size_t)n);
}

/* The last two parts of what the link says: programs of ours are <...>/interlock/<hook>. */
static bool leads_to(const char *target, const char *hook, const char *programs)
{
	const char *slash = strrchr(target, '/');
	size_t n = slash ? (size_t)(slash - target) : 0;

	if (!slash || strcmp(slash + 1, hook) != 0)
		return false;
	if (programs && strlen(programs) == n && !strncmp(target, programs, n))
		return true;
	if (n >= 10 && !strncmp(target + n - 10, "/interlock", 10))
		return true;
	/* A build folder: only beside the program that is asked. */
	{
		char *beside = mem_printf("%.*s/../git-interlock", (int)n, target);
		bool found = access(beside, X_OK) == 0;

		free(beside);
		return found;
	}
}

bool install_is_ours(const char *dir, const char *name, const char *hook)
{
	char *target = read_link(dir, name);
	bool ours = target && leads_to(target, hook, NULL);

	free(target);
	return ours;
}

static bool is_there(const char *dir, const char *name, struct stat *st)
{
	char *path = join(dir, name);
	bool there = lstat(path, st) == 0;

	free(path);
	return there;
}

char *install_command(const char *programs, const char *hook)
{
	struct bytes out = BYTES_INIT;
	char *path = join(programs, hook);

	bytes_addc(&out, '\'');
	for (const char *p = path; *p; p++) {
		if (*p == '\'')
			bytes_adds(&out, "'\\''");
		else
			bytes_addc(&out, *p);
	}
	bytes_addc(&out, '\'');
	free(path);
	return bytes_take(&out);
}

static char *home_dir(struct fail *fail)
{
	const char *home = getenv("HOME");

	if (home && home[0] == '/')
		return mem_strdup(home);
	fail_set(fail, FAIL_UNSUPPORTED, "HOME is not set, so there is nothing for --global");
	return NULL;
}

char *install_global_state(struct fail *fail)
{
	const char *data = getenv("XDG_DATA_HOME");
	char *home, *path = NULL;

	if (data && data[0] == '/')
		return join(data, "interlock");
	home = home_dir(fail);
	if (home)
		path = join(home, ".local/share/interlock");
	free(home);
	return path;
}

char *install_global_config(struct fail *fail)
{
	const char *given = getenv("GIT_CONFIG_GLOBAL"), *config = getenv("XDG_CONFIG_HOME");
	char *home, *path, *other;

	if (given)
		return mem_strdup(given);
	home = home_dir(fail);
	if (!home)
		return NULL;
	path = join(home, ".gitconfig");
	other = config && *config ? join(config, "git/config") : join(home, ".config/git/config");
	free(home);
	if (access(path, F_OK) < 0 && access(other, F_OK) == 0) {
		free(path);
		return other;
	}
	free(other);
	return path;
}

/* Values of core.hooksPath that lead to a folder of ours, also where the repository has moved. */
static bool is_folder(const void *arg, const char *value)
{
	static const char word[] = "/interlock/hooks";
	const struct install_parts *parts = arg;
	const char *at = strstr(value, word), *next;

	/* The user's own, from a repository's view, is somebody else's. */
	if (!parts->wish->global && parts->global_folder && !strcmp(value, parts->global_folder))
		return false;
	while (at && (next = strstr(at + 1, word)))
		at = next;
	return at && (at[sizeof(word) - 1] == '\0' ||
		      (at[sizeof(word) - 1] == '.' && !strchr(at + sizeof(word) - 1, '/')));
}

/* ---- what is wanted in settings --------------------------------------------------------------- */

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
		if (!said || (record && install_entry_find(&record->entries, "transfer.hideRefs",
							   refs[i])))
			want_setting(conf, "transfer.hideRefs", refs[i]);
	}
}

/* ---- hooks beside those that are there ----------------------------------------------------------- */

/* A name that is free, for what another tool has already put out of use. */
static char *free_name(const char *dir, const char *name)
{
	struct stat st;

	for (unsigned i = 1;; i++) {
		char *other = mem_printf("%s" INSTALL_ASIDE "-%u", name, i);

		if (!is_there(dir, other, &st))
			return other;
		free(other);
	}
}

/* What another tool has put out of use is kept, and not run. */
static void retire(struct install_plan *plan, struct acts *acts, const char *dir, const char *hook,
		   const char *aside)
{
	char *other = free_name(dir, hook);

	add_act(acts, ACT_MOVE, dir, aside, other);
	argv_pushf(&plan->notes,
		   "%s: another tool has replaced it since; what it replaced is kept as '%s/%s' and "
		   "is not run",
		   hook, dir, other);
	free(other);
}

static bool is_same_maker(const char *dir, const char *name, const char *other)
{
	char *a = join(dir, name), *b = join(dir, other);
	bool same = guard_look_same_maker(a, b);

	free(a);
	free(b);
	return same;
}

/*
 * Links of ours under another name, where a tool has put them that took the place ("<hook>.old"):
 * in the way of that tool when it does so again. `but`: one that is called by it.
 */
static void plan_strays(struct install_parts *parts, struct acts *acts, const char *dir,
			const char *hook, const char *but)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	size_t len = strlen(hook);
	int fd = file_open_dir(AT_FDCWD, dir, &ignored);

	if (fd < 0)
		return;
	file_each_name(fd, &names, &ignored);
	close(fd);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		char *target = !strncmp(p, hook, len) && p[len] == '.' && (!but || strcmp(p, but) != 0)
				       ? read_link(dir, p)
				       : NULL;

		if (target && leads_to(target, hook, parts->wish->programs))
			add_act(acts, ACT_REMOVE, dir, p, NULL);
		free(target);
	}
	bytes_release(&names);
}

static void plan_into(struct install_plan *plan, const char *dir, const char *hook)
{
	struct install_parts *parts = plan->parts;
	char *aside = mem_printf("%s" INSTALL_ASIDE, hook), *legacy = mem_printf("%s.legacy", hook);
	char *target = join(parts->wish->programs, hook), *present = read_link(dir, hook);
	struct stat st, st_aside;
	bool there = is_there(dir, hook, &st), has_aside = is_there(dir, aside, &st_aside);

	if (present && leads_to(present, hook, parts->wish->programs)) {
		if (strcmp(present, target) != 0)
			add_act(&parts->before, ACT_LINK, dir, hook, target);
	} else if (there && install_is_ours(dir, legacy, hook)) {
		argv_pushf(&plan->notes, "%s: ours is called by '%s/%s', as %s.legacy", hook, dir,
			   hook, hook);
		plan_strays(parts, &parts->before, dir, hook, legacy);
	} else {
		bool same = there && has_aside && st.st_ino == st_aside.st_ino &&
			    st.st_dev == st_aside.st_dev;

		if (there && has_aside && !same)
			retire(plan, &parts->before, dir, hook, aside);
		if (there && !same)
			add_act(&parts->before, ACT_ASIDE, dir, hook, aside);
		add_act(&parts->before, ACT_LINK, dir, hook, target);
		plan_strays(parts, &parts->before, dir, hook, NULL);
	}
	free(aside);
	free(legacy);
	free(target);
	free(present);
}

static void plan_out_of(struct install_plan *plan, const char *dir, const char *hook)
{
	struct install_parts *parts = plan->parts;
	char *aside = mem_printf("%s" INSTALL_ASIDE, hook), *legacy = mem_printf("%s.legacy", hook);
	char *present = read_link(dir, hook);
	struct stat st, st_aside;
	bool there = is_there(dir, hook, &st), has_aside = is_there(dir, aside, &st_aside);
	bool ours = present && leads_to(present, hook, parts->wish->programs);
	const char *place = there && !ours && install_is_ours(dir, legacy, hook) ? legacy
			    : ours || !there					 ? hook
										 : NULL;
	const char *gone = NULL; /* a link of ours that something else replaces */

	if (has_aside && there && st.st_ino == st_aside.st_ino && st.st_dev == st_aside.st_dev)
		add_act(&parts->after, ACT_REMOVE, dir, aside, NULL);
	else if (has_aside && place == legacy && is_same_maker(dir, hook, aside))
		retire(plan, &parts->after, dir, hook, aside);
	else if (has_aside && (gone = place))
		add_act(&parts->after, ACT_MOVE, dir, aside, place);
	else if (ours)
		add_act(&parts->after, ACT_REMOVE, dir, hook, NULL);
	plan_strays(parts, &parts->after, dir, hook, gone);
	if (has_aside && there && !place && st.st_ino != st_aside.st_ino)
		argv_pushf(&plan->notes,
			   "%s: '%s/%s' is another's now; what was there before us stays "
			   "as '%s'",
			   hook, dir, hook, aside);
	free(aside);
	free(legacy);
	free(present);
}

static bool is_made(const struct install_record *record, const char *dir)
{
	for (size_t i = 0; i < record->made.count; i++)
		if (!strcmp(record->made.items[i], dir))
			return true;
	return false;
}

/* `wanted`: this is where our hooks belong. */
static void plan_beside(struct install_plan *plan, const char *dir, bool wanted)
{
	struct install_parts *parts = plan->parts;
	bool any = false, missing;
	struct stat st;

	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		any = any || (wanted && plan->want[i]);
	missing = lstat(dir, &st) < 0;
	if (!missing && !S_ISDIR(st.st_mode))
		return;
	if (missing && !any)
		return;
	if (missing)
		add_act(&parts->before, ACT_MAKE, dir, NULL, NULL);
	if (any && (missing || is_made(&parts->old, dir)))
		argv_push(&parts->made.made, dir);
	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		if (wanted && plan->want[i])
			plan_into(plan, dir, install_hooks[i]);
		else
			plan_out_of(plan, dir, install_hooks[i]);
	if (!any && is_made(&parts->old, dir))
		add_act(&parts->after, ACT_RMDIR, dir, NULL, NULL);
}

/* ---- a folder of our own ---------------------------------------------------------------------- */

static void plan_name(struct install_plan *plan, const char *folder, const char *name)
{
	const struct install_wish *wish = plan->parts->wish;
	const char *program = CHAIN;
	char *target, *present = read_link(folder, name);

	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		if (plan->want[i] && !strcmp(name, install_hooks[i]))
			program = name;
	target = join(wish->programs, program);
	if (!present || strcmp(present, target) != 0)
		add_act(&plan->parts->before, ACT_LINK, folder, name, target);
	free(target);
	free(present);
}

/* The path in "former", NULL when there is none. */
static char *read_former(const char *folder)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char *path = join(folder, FORMER);

	if (file_read(AT_FDCWD, path, PATH_MAX, &text, &ignored) < 0) {
		bytes_release(&text);
		free(path);
		return NULL;
	}
	bytes_chomp(&text);
	free(path);
	return bytes_take(&text);
}

/* `former`: where core.hooksPath led; "": to the hooks directory of each repository. */
static void plan_folder(struct install_plan *plan, const char *folder, const char *former)
{
	struct install_parts *parts = plan->parts;
	char *top = parts->repo && parts->repo->work_tree && former[0] != '/'
			    ? join(parts->repo->work_tree, former)
			    : mem_strdup(former);
	char *present = read_former(folder);
	struct stat st;

	argv_push(&parts->folders, folder);
	if (lstat(folder, &st) < 0)
		add_act(&parts->before, ACT_MAKE, folder, NULL, NULL);
	if (!present || strcmp(present, former) != 0)
		add_act(&parts->before, ACT_WRITE, folder, FORMER, former);
	for (size_t i = 0; i < ARRAY_SIZE(hook_names); i++)
		plan_name(plan, folder, hook_names[i]);
	for (size_t i = 0; i < ARRAY_SIZE(hook_names_if_there); i++)
		if (*top && is_there(top, hook_names_if_there[i], &st))
			plan_name(plan, folder, hook_names_if_there[i]);
	free(top);
	free(present);
}

static void plan_no_folder(struct install_parts *parts, const char *folder)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int dir;

	for (size_t i = 0; i < parts->folders.count; i++)
		if (!strcmp(parts->folders.items[i], folder))
			return;
	dir = file_open_dir(AT_FDCWD, folder, &ignored);
	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	close(dir);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		char *target = read_link(folder, p);

		if (!strcmp(p, FORMER) || (target && (leads_to(target, p, parts->wish->programs) ||
						      leads_to(target, CHAIN, parts->wish->programs))))
			add_act(&parts->after, ACT_REMOVE, folder, p, NULL);
		free(target);
	}
	add_act(&parts->after, ACT_RMDIR, folder, NULL, NULL);
	bytes_release(&names);
}

/* ---- a repository --------------------------------------------------------------------------------- */

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

	return !strcmp(a, b) || (stat(a, &sa) == 0 && stat(b, &sb) == 0 &&
				 sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino);
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

	if (set && !is_folder(parts, set->value))
		return install_expand(set->origin, HOOKS_PATH, set->value, fail);
	if (entry && entry->former && entry->former[0] != '~' && entry->former[0] != '%')
		return mem_strdup(entry->former);
	if (!entry || !entry->former) {
		lower = hooks_path(&parts->settings, NULL, parts->wish->global ? "global" : "local");
		if (lower && !is_folder(parts, lower->value))
			return install_expand(lower->origin, HOOKS_PATH, lower->value, fail);
	}
	former = read_former(folder);
	if (former)
		return former;
	return parts->wish->global ? mem_strdup("") : join(parts->repo->common_dir, "hooks");
}

static void want_folder(struct install_plan *plan, const char *conf_path, const char *folder,
			const struct install_setting *set, struct fail *fail)
{
	char *former = find_former(plan->parts, conf_path, folder, set, fail);
	struct install_conf *conf = former ? open_conf(plan->parts, conf_path, fail) : NULL;

	if (conf) {
		plan_folder(plan, folder, former);
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
	char *path = join(admin, "config.worktree"), *slot = join(admin, "interlock");
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
	char *dir = join(parts->repo->common_dir, "hooks");
	char *folder = join(parts->state_path, "hooks");
	const struct install_setting *set = hooks_path(&parts->settings, NULL, NULL);
	char *value = set ? install_expand(set->origin, HOOKS_PATH, set->value, fail) : NULL;
	char *place = value && value[0] != '/' && parts->repo->work_tree
			      ? join(parts->repo->work_tree, value)
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
		plan_beside(plan, dir, beside);
	if (fail->kind == 0)
		plan_worktrees(plan, fail);
	plan_no_folder(parts, folder);
	for (size_t i = 0; i < parts->old.folders.count; i++)
		if (strcmp(parts->old.folders.items[i], folder) != 0)
			plan_no_folder(parts, parts->old.folders.items[i]);
	free(dir);
	free(folder);
	free(value);
	free(place);
	return fail->kind;
}

static int plan_repository(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	char *path = join(parts->repo->common_dir, "config");
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
	char *path = install_global_config(fail), *folder = join(parts->state_path, "hooks");
	struct install_conf *conf = path ? open_conf(parts, path, fail) : NULL;

	if (conf && !parts->wish->remove) {
		want_hidden_refs(parts, conf);
		if (plan->config)
			want_config_hooks(plan, conf);
		else
			want_folder(plan, path, folder,
				    hooks_path(&parts->settings, NULL, NULL), fail);
	}
	plan_no_folder(parts, folder);
	free(path);
	free(folder);
	return fail->kind;
}

/* ---- the plan ------------------------------------------------------------------------------------- */

static void choose_hooks(struct install_plan *plan)
{
	const struct install_parts *parts = plan->parts;

	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		plan->want[i] = !parts->wish->remove &&
				(parts->wish->chosen ? parts->wish->want[i]
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
			     (!strcasecmp(e->key, HOOKS_PATH) && is_folder(plan->parts, e->value));

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

static void tell_acts(struct install_plan *plan, const struct acts *acts)
{
	for (size_t i = 0; i < acts->count; i++) {
		const struct act *a = &acts->items[i];

		/* A folder of ours is told as a whole. */
		if (is_folder(plan->parts, a->dir) &&
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
		char *path = join(parts->state_path, "locks");

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
					 : join(parts->repo->common_dir, "config");
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
		argv_pushf(&plan->notes,
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
				  install_record_conf(&parts->old, parts->confs[i].path), is_folder,
				  parts, fail);
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
	parts->modes = repo && !wish->global ? repo->modes
					     : (struct file_modes)FILE_MODES_PRIVATE;
	parts->state = -1;
	parts->lock = (struct lock)LOCK_INIT;
	parts->settings.text = (struct bytes)BYTES_INIT;
	if (global)
		parts->global_folder = join(global, "hooks");
	parts->state_path = wish->global ? global : join(repo->common_dir, "interlock");
	if (!wish->global)
		free(global);
	return fail->kind ? fail->kind : plan_all(plan, hold, fail);
}

/* ---- doing it ------------------------------------------------------------------------------------ */

static int place_link(int dir, const struct act *a, struct fail *fail)
{
	struct bytes draft = BYTES_INIT;

	bytes_addf(&draft, "%s.", a->name);
	file_nonce_name("interlock-", &draft);
	if (symlinkat(a->value, dir, draft.data) < 0)
		fail_errno(fail, "make the link '%s/%s'", a->dir, draft.data);
	else if (renameat(dir, draft.data, dir, a->name) < 0) {
		fail_errno(fail, "put the link '%s/%s' in place", a->dir, a->name);
		unlinkat(dir, draft.data, 0);
	}
	bytes_release(&draft);
	return fail->kind;
}

/* A second name first, so that there is no moment in which the user's hook is missing. */
static int put_aside(int dir, const struct act *a, struct fail *fail)
{
	if (linkat(dir, a->name, dir, a->value, 0) == 0)
		return 0;
	if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK)
		return fail_errno(fail, "keep '%s/%s' as '%s'", a->dir, a->name, a->value);
	if (renameat2(dir, a->name, dir, a->value, RENAME_NOREPLACE) < 0)
		return fail_errno(fail, "rename '%s/%s'", a->dir, a->name);
	return 0;
}

static int do_act(const struct install_parts *parts, const struct act *a, struct fail *fail)
{
	int dir = a->kind == ACT_MAKE || a->kind == ACT_RMDIR
			  ? AT_FDCWD
			  : file_open_dir(AT_FDCWD, a->dir, fail);
	struct bytes line = BYTES_INIT;

	if (fail->kind)
		return fail->kind;
	switch (a->kind) {
	case ACT_MAKE:
		file_make_dirs(AT_FDCWD, a->dir, &parts->modes, fail);
		break;
	case ACT_ASIDE:
		put_aside(dir, a, fail);
		break;
	case ACT_MOVE:
		if (renameat(dir, a->name, dir, a->value) < 0)
			fail_errno(fail, "rename '%s/%s'", a->dir, a->name);
		break;
	case ACT_LINK:
		place_link(dir, a, fail);
		break;
	case ACT_WRITE:
		bytes_addf(&line, "%s\n", a->value);
		file_replace(dir, a->name, line.data, line.len, &parts->modes, true, fail);
		break;
	case ACT_REMOVE:
		if (unlinkat(dir, a->name, 0) < 0 && errno != ENOENT)
			fail_errno(fail, "remove '%s/%s'", a->dir, a->name);
		break;
	case ACT_RMDIR:
		if (rmdir(a->dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
			fail_errno(fail, "remove the directory '%s'", a->dir);
		break;
	}
	if (dir >= 0)
		close(dir);
	bytes_release(&line);
	return fail->kind;
}

static int do_acts(const struct install_parts *parts, const struct acts *acts, struct fail *fail)
{
	for (size_t i = 0; i < acts->count && fail->kind == 0; i++)
		do_act(parts, &acts->items[i], fail);
	return fail->kind;
}

static char *free_was(const struct install_parts *parts)
{
	struct stat st;

	for (unsigned i = 1;; i++) {
		char *name = mem_printf(WAS "%u", i);

		if (fstatat(parts->state, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return name;
		free(name);
	}
}

/* Its content may be secret: as readable as the file itself. */
static int keep_was(struct install_parts *parts, const struct install_conf *conf,
		    struct install_conf_record *record, struct fail *fail)
{
	struct file_modes modes = {.file = conf->mode & 0666, .dir = 0777};

	record->was = free_was(parts);
	return file_replace(parts->state, record->was, conf->was.data, conf->was.len, &modes, true,
			    fail);
}

static void add_entries(struct install_conf_record *to, const struct install_entries *from)
{
	for (size_t i = 0; i < from->count; i++)
		if (!install_entry_find(&to->entries, from->items[i].key, from->items[i].value))
			install_entry_add(&to->entries, from->items[i].key, from->items[i].value,
					  from->items[i].former);
}

static int record_conf(struct install_parts *parts, const struct install_conf *conf,
		       struct fail *fail)
{
	const struct install_conf_record *old = install_record_conf(&parts->old, conf->path);
	struct install_conf_record *made;

	if (!conf->want.count && !old && !conf->changes)
		return 0;
	made = install_record_add(&parts->made, conf->path);
	add_entries(made, &conf->want);
	made->was_there = conf->was_there;
	if (!conf->changes) {
		made->was = old && old->was ? mem_strdup(old->was) : NULL;
		if (old) {
			memcpy(made->was_sum, old->was_sum, sizeof(made->was_sum));
			memcpy(made->from_sum, old->from_sum, sizeof(made->from_sum));
			memcpy(made->made_sum, old->made_sum, sizeof(made->made_sum));
		}
		return 0;
	}
	install_sum(conf->was.data, conf->was.len, made->was_sum);
	install_sum(conf->now.data, conf->now.len, made->from_sum);
	install_sum(conf->next.data, conf->next.len, made->made_sum);
	return keep_was(parts, conf, made, fail);
}

static int write_record(struct install_parts *parts, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	install_record_format(&parts->made, &text);
	file_replace(parts->state, INSTALL_RECORD, text.data, text.len, &parts->modes, true, fail);
	bytes_release(&text);
	return fail->kind;
}

/* What may be ours from now on: what is wanted, and what was until now. */
static int record_intent(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	struct install_record *made = &parts->made;

	memcpy(made->want, plan->want, sizeof(made->want));
	made->changing = true;
	made->programs = mem_strdup(parts->wish->programs);
	for (size_t i = 0; i < parts->conf_count && fail->kind == 0; i++)
		record_conf(parts, &parts->confs[i], fail);
	for (size_t i = 0; i < made->count; i++) {
		const struct install_conf_record *old =
			install_record_conf(&parts->old, made->confs[i].path);

		if (old)
			add_entries(&made->confs[i], &old->entries);
	}
	for (size_t i = 0; i < parts->folders.count; i++)
		argv_push(&made->folders, parts->folders.items[i]);
	for (size_t i = 0; i < parts->old.folders.count; i++)
		argv_push(&made->folders, parts->old.folders.items[i]);
	for (size_t i = 0; i < parts->old.made.count; i++)
		if (!is_made(made, parts->old.made.items[i]))
			argv_push(&made->made, parts->old.made.items[i]);
	return fail->kind ? fail->kind : write_record(parts, fail);
}

/* The record without what is gone. */
static int record_end(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	struct install_record *made = &parts->made;
	size_t kept = 0;

	made->changing = false;
	for (size_t i = 0; i < made->count; i++) {
		struct install_conf_record *record = &made->confs[i];
		const struct install_conf *conf = NULL;

		for (size_t c = 0; c < parts->conf_count; c++)
			if (!strcmp(parts->confs[c].path, record->path))
				conf = &parts->confs[c];
		install_entries_release(&record->entries);
		if (conf)
			add_entries(record, &conf->want);
		if (record->entries.count) {
			struct install_conf_record whole = *record;

			*record = made->confs[kept];
			made->confs[kept++] = whole;
		}
	}
	for (size_t i = kept; i < made->count; i++) {
		free(made->confs[i].path);
		free(made->confs[i].was);
	}
	made->count = kept;
	argv_release(&made->folders);
	for (size_t i = 0; i < parts->folders.count; i++)
		argv_push(&made->folders, parts->folders.items[i]);
	if (!parts->wish->remove)
		return write_record(parts, fail);
	if (unlinkat(parts->state, INSTALL_RECORD, 0) < 0 && errno != ENOENT)
		fail_errno(fail, "remove '%s/" INSTALL_RECORD "'", parts->state_path);
	return fail->kind;
}

static void sweep_was(struct install_parts *parts)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;

	file_each_name(parts->state, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		bool used = strncmp(p, WAS, sizeof(WAS) - 1) != 0;

		for (size_t i = 0; i < parts->made.count && !parts->wish->remove && !used; i++)
			used = parts->made.confs[i].was && !strcmp(parts->made.confs[i].was, p);
		if (!used)
			unlinkat(parts->state, p, 0);
	}
	bytes_release(&names);
}

static bool is_recorded(const struct install_plan *plan)
{
	const struct install_parts *parts = plan->parts;

	if (parts->wish->remove)
		return !parts->old.found;
	return parts->old.found && !parts->old.changing && parts->old.programs &&
	       !strcmp(parts->old.programs, parts->wish->programs) &&
	       !memcmp(parts->old.want, plan->want, sizeof(plan->want));
}

int install_apply(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	int64_t timeout = parts->repo ? parts->repo->conf.lock_timeout : 10000;

	if (!plan->steps.count && is_recorded(plan))
		return 0;
	if (record_intent(plan, fail) < 0 || do_acts(parts, &parts->before, fail) < 0)
		return fail->kind;
	for (size_t i = 0; i < parts->conf_count && fail->kind == 0; i++)
		if (parts->confs[i].changes)
			install_conf_write(&parts->confs[i], timeout, fail);
	if (fail->kind == 0 && do_acts(parts, &parts->after, fail) == 0 &&
	    record_end(plan, fail) == 0)
		sweep_was(parts);
	return fail->kind;
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
	release_acts(&parts->before);
	release_acts(&parts->after);
	argv_release(&parts->folders);
	lock_drop(&parts->lock);
	if (parts->state >= 0)
		close(parts->state);
	free(parts->state_path);
	free(parts->global_folder);
	free(parts);
	plan->parts = NULL;
}
