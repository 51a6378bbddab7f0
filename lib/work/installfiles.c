/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: hooks as files, beside those that are there or in a folder of our own. */
#include "installparts.h"

#include "hookchain.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAIN "chain"
#define FORMER HOOKCHAIN_FORMER

/*
 * Every name that git calls. That a push-to-checkout is there changes what git does, which
 * hooks/chain.c makes good. What else can be run in the other directory is linked, too:
 * `git hook run` takes any name.
 */
static const char *const hook_names[] = {"applypatch-msg",
					 "pre-applypatch",
					 "post-applypatch",
					 "pre-commit",
					 "pre-merge-commit",
					 "prepare-commit-msg",
					 "commit-msg",
					 "post-commit",
					 "pre-rebase",
					 "post-checkout",
					 "post-merge",
					 "pre-push",
					 "pre-receive",
					 "update",
					 "post-receive",
					 "post-update",
					 "pre-auto-gc",
					 "post-rewrite",
					 "sendemail-validate",
					 "reference-transaction",
					 "post-index-change",
					 "proc-receive",
					 "push-to-checkout",
					 "p4-changelist",
					 "p4-prepare-changelist",
					 "p4-post-changelist",
					 "p4-pre-submit"};

void install_act_add(struct install_acts *acts, enum act_kind kind, const char *dir,
		     const char *name, const char *value)
{
	MEM_GROW(acts->items, acts->cap, acts->count + 1);
	acts->items[acts->count++] =
		(struct install_act){kind, mem_strdup(dir), name ? mem_strdup(name) : NULL,
				     value ? mem_strdup(value) : NULL};
}

void install_acts_release(struct install_acts *acts)
{
	for (size_t i = 0; i < acts->count; i++) {
		free(acts->items[i].dir);
		free(acts->items[i].name);
		free(acts->items[i].value);
	}
	free(acts->items);
}

/* ---- hooks beside those that are there --------------------------------------------- */

/* A name that is free, for what another tool has already put out of use. */
static char *free_name(const char *dir, const char *name)
{
	struct stat st;

	for (unsigned i = 1;; i++) {
		char *other = mem_printf("%s" INSTALL_ASIDE "-%u", name, i);

		if (!install_is_there(dir, other, &st))
			return other;
		free(other);
	}
}

/* What another tool has put out of use is kept, and not run. */
static void retire(struct install_plan *plan, struct install_acts *acts, const char *dir,
		   const char *hook, const char *aside)
{
	char *other = free_name(dir, hook);

	install_act_add(acts, ACT_MOVE, dir, aside, other);
	argv_pushf(
		&plan->notes,
		"%s: another tool has replaced it since; what it replaced is kept as '%s/%s' and "
		"is not run",
		hook, dir, other);
	free(other);
}

static bool is_same_maker(const char *dir, const char *name, const char *other)
{
	char *a = install_join(dir, name), *b = install_join(dir, other);
	bool same = hookchain_same_maker(a, b);

	free(a);
	free(b);
	return same;
}

/*
 * Links of ours under another name, where a tool has put them that took the place ("<hook>.old"):
 * in the way of that tool when it does so again. `but`: one that is called by it.
 */
static void plan_strays(struct install_parts *parts, struct install_acts *acts, const char *dir,
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
		char *target =
			!strncmp(p, hook, len) && p[len] == '.' && (!but || strcmp(p, but) != 0)
				? install_read_link(dir, p)
				: NULL;

		if (target && install_leads_to(target, hook, parts->wish->programs))
			install_act_add(acts, ACT_REMOVE, dir, p, NULL);
		free(target);
	}
	bytes_release(&names);
}

static void plan_into(struct install_plan *plan, const char *dir, const char *hook)
{
	struct install_parts *parts = plan->parts;
	char *aside = mem_printf("%s" INSTALL_ASIDE, hook), *legacy = mem_printf("%s.legacy", hook);
	char *target = install_join(parts->wish->programs, hook),
	     *present = install_read_link(dir, hook);
	struct stat st, st_aside;
	bool there = install_is_there(dir, hook, &st),
	     has_aside = install_is_there(dir, aside, &st_aside);

	if (present && install_leads_to(present, hook, parts->wish->programs)) {
		if (strcmp(present, target) != 0)
			install_act_add(&parts->before, ACT_LINK, dir, hook, target);
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
			install_act_add(&parts->before, ACT_ASIDE, dir, hook, aside);
		install_act_add(&parts->before, ACT_LINK, dir, hook, target);
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
	char *present = install_read_link(dir, hook);
	struct stat st, st_aside;
	bool there = install_is_there(dir, hook, &st),
	     has_aside = install_is_there(dir, aside, &st_aside);
	bool ours = present && install_leads_to(present, hook, parts->wish->programs);
	const char *place = there && !ours && install_is_ours(dir, legacy, hook) ? legacy
			    : ours || !there					 ? hook
										 : NULL;
	const char *gone = NULL; /* a link of ours that something else replaces */

	if (has_aside && there && st.st_ino == st_aside.st_ino && st.st_dev == st_aside.st_dev)
		install_act_add(&parts->after, ACT_REMOVE, dir, aside, NULL);
	else if (has_aside && place == legacy && is_same_maker(dir, hook, aside))
		retire(plan, &parts->after, dir, hook, aside);
	else if (has_aside && (gone = place))
		install_act_add(&parts->after, ACT_MOVE, dir, aside, place);
	else if (ours)
		install_act_add(&parts->after, ACT_REMOVE, dir, hook, NULL);
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

/* `wanted`: this is where our hooks belong. */
void install_plan_beside(struct install_plan *plan, const char *dir, bool wanted)
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
		install_act_add(&parts->before, ACT_MAKE, dir, NULL, NULL);
	if (any && (missing || install_is_made(&parts->old, dir)))
		argv_push(&parts->made.made, dir);
	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		if (wanted && plan->want[i])
			plan_into(plan, dir, install_hooks[i]);
		else
			plan_out_of(plan, dir, install_hooks[i]);
	if (!any && install_is_made(&parts->old, dir))
		install_act_add(&parts->after, ACT_RMDIR, dir, NULL, NULL);
}

/* ---- a folder of our own ----------------------------------------------------------- */

static void plan_name(struct install_plan *plan, const char *folder, const char *name)
{
	const struct install_wish *wish = plan->parts->wish;
	const char *program = CHAIN;
	char *target, *present = install_read_link(folder, name);

	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		if (plan->want[i] && !strcmp(name, install_hooks[i]))
			program = name;
	target = install_join(wish->programs, program);
	if (!present || strcmp(present, target) != 0)
		install_act_add(&plan->parts->before, ACT_LINK, folder, name, target);
	free(target);
	free(present);
}

/* The path in "former", NULL when there is none. */
char *install_read_former(const char *folder)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char *path = install_join(folder, FORMER);

	if (file_read(AT_FDCWD, path, PATH_MAX, &text, &ignored) < 0) {
		bytes_release(&text);
		free(path);
		return NULL;
	}
	bytes_chomp(&text);
	free(path);
	return bytes_take(&text);
}

static bool is_hook_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(hook_names); i++)
		if (!strcmp(name, hook_names[i]))
			return true;
	return false;
}

/* What else can be run in the other directory; not samples, nor what a tool keeps beside. */
static void plan_names_there(struct install_plan *plan, const char *folder, const char *top)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int dir = *top ? file_open_dir(AT_FDCWD, top, &ignored) : -1;
	struct stat st;

	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
		if (!strchr(p, '.') && strcmp(p, FORMER) != 0 && !is_hook_name(p) &&
		    fstatat(dir, p, &st, 0) == 0 && S_ISREG(st.st_mode) &&
		    faccessat(dir, p, X_OK, 0) == 0)
			plan_name(plan, folder, p);
	close(dir);
	bytes_release(&names);
}

/* `former`: where core.hooksPath led; "": to the hooks directory of each repository. */
void install_plan_folder(struct install_plan *plan, const char *folder, const char *former)
{
	struct install_parts *parts = plan->parts;
	char *top = parts->repo && parts->repo->work_tree && former[0] != '/'
			    ? install_join(parts->repo->work_tree, former)
			    : mem_strdup(former);
	char *present = install_read_former(folder);
	struct stat st;

	argv_push(&parts->folders, folder);
	if (lstat(folder, &st) < 0)
		install_act_add(&parts->before, ACT_MAKE, folder, NULL, NULL);
	if (!present || strcmp(present, former) != 0)
		install_act_add(&parts->before, ACT_WRITE, folder, FORMER, former);
	for (size_t i = 0; i < ARRAY_SIZE(hook_names); i++)
		plan_name(plan, folder, hook_names[i]);
	plan_names_there(plan, folder, top);
	free(top);
	free(present);
}

void install_plan_no_folder(struct install_parts *parts, const char *folder)
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
		char *target = install_read_link(folder, p);

		if (!strcmp(p, FORMER) ||
		    (target && (install_leads_to(target, p, parts->wish->programs) ||
				install_leads_to(target, CHAIN, parts->wish->programs))))
			install_act_add(&parts->after, ACT_REMOVE, folder, p, NULL);
		free(target);
	}
	install_act_add(&parts->after, ACT_RMDIR, folder, NULL, NULL);
	bytes_release(&names);
}

/* ---- doing it ---------------------------------------------------------------------- */

static int place_link(int dir, const struct install_act *a, struct fail *fail)
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
static int put_aside(int dir, const struct install_act *a, struct fail *fail)
{
	if (linkat(dir, a->name, dir, a->value, 0) == 0)
		return 0;
	if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK)
		return fail_errno(fail, "keep '%s/%s' as '%s'", a->dir, a->name, a->value);
	if (renameat2(dir, a->name, dir, a->value, RENAME_NOREPLACE) < 0)
		return fail_errno(fail, "rename '%s/%s'", a->dir, a->name);
	return 0;
}

static int do_act(const struct install_parts *parts, const struct install_act *a, struct fail *fail)
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

int install_acts_do(const struct install_parts *parts, const struct install_acts *acts,
		    struct fail *fail)
{
	for (size_t i = 0; i < acts->count && fail->kind == 0; i++)
		do_act(parts, &acts->items[i], fail);
	return fail->kind;
}
