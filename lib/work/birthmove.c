/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* birth: a worktree that was moved is found, and linked anew. */
#include "birthparts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- is it that? ------------------------------------------------------------------- */

enum leads {
	LEADS_ELSEWHERE, /* to nothing of that id, or it is no .git file of a worktree */
	LEADS_NOWHERE,	 /* to an admin directory that is not there; or there is no .git file */
	LEADS_HERE,	 /* to the slot's */
	LEADS_TO_OTHERS, /* to one of that id in another repository */
};

/* What "gitdir: <path>" in an open worktree leads to. `target` gets the path. */
static enum leads follow(const struct slot *slot, int tree, char **target)
{
	struct bytes text = BYTES_INIT;
	struct fail read = FAIL_INIT;
	enum leads leads = LEADS_ELSEWHERE;
	struct stat there, admin;
	char *tail = mem_printf("/worktrees/%s", slot->id);
	size_t n;

	*target = NULL;
	if (file_read(tree, ".git", PATH_MAX, &text, &read) == FAIL_GONE)
		leads = LEADS_NOWHERE;
	bytes_chomp(&text);
	n = text.len;
	if (read.kind == 0 && !strncmp(text.data, "gitdir: ", 8) && n > 8 + strlen(tail) &&
	    !strcmp(text.data + n - strlen(tail), tail)) {
		*target = mem_strdup(text.data + 8);
		if (fstatat(tree, *target, &there, 0) < 0)
			leads = errno == ENOENT || errno == ENOTDIR ? LEADS_NOWHERE
								    : LEADS_ELSEWHERE;
		else if (fstat(slot->admin, &admin) == 0)
			leads = there.st_dev == admin.st_dev && there.st_ino == admin.st_ino
					? LEADS_HERE
					: LEADS_TO_OTHERS;
	}
	bytes_release(&text);
	free(tail);
	return leads;
}

struct search {
	const struct slot *slot;
	char **path, **theirs;
};

/* Is that directory the one that the slot was born with? */
static bool is_it(struct search *s, int parent, const char *name, const char *path)
{
	struct fail ignored = FAIL_INIT;
	int tree = file_open_dir(parent, name, &ignored);
	char *target = NULL;
	struct stat st;

	if (tree < 0)
		return false;
	if (fstat(tree, &st) == 0 && slot_born_as(&s->slot->birth, &st)) {
		enum leads leads = follow(s->slot, tree, &target);

		/* In another boot the inode alone says little: then it must name the slot. */
		if (leads == LEADS_HERE ||
		    (leads == LEADS_NOWHERE && (target || st.st_dev == s->slot->birth.dev)))
			*s->path = realpath(path, NULL);
		else if (leads == LEADS_TO_OTHERS && !*s->theirs)
			*s->theirs = mem_strdup(target);
	}
	close(tree);
	free(target);
	return *s->path != NULL;
}

/* Is it below that directory? Only what has its inode is opened. */
static bool is_below(struct search *s, const char *path)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool found = false;

	if (dir < 0)
		return false;
	file_each_name(dir, &names, &ignored);
	for (char *p = names.data; !found && p < names.data + names.len; p += strlen(p) + 1) {
		struct stat st;
		char *whole;

		if (fstatat(dir, p, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !slot_born_as(&s->slot->birth, &st))
			continue;
		whole = mem_printf("%s/%s", path, p);
		found = is_it(s, dir, p, whole);
		free(whole);
	}
	bytes_release(&names);
	close(dir);
	return found;
}

/* ---- where it can be ------------------------------------------------------------------- */

/* Where git thinks that it is: after `git worktree move`, or a repair by hand. */
static bool is_where_git_says(struct search *s)
{
	struct fail ignored = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	char *path = NULL;
	bool found = false;

	if (file_read(s->slot->admin, "gitdir", PATH_MAX, &text, &ignored) == 0) {
		bytes_chomp(&text);
		if (text.len > 5 && !strcmp(text.data + text.len - 5, "/.git")) {
			bytes_truncate(&text, text.len - 5);
			path = text.data[0] == '/'
				       ? mem_strdup(text.data)
				       : mem_printf("%s/worktrees/%s/%s", s->slot->repo->common_dir,
						    s->slot->id, text.data);
		}
	}
	found = path && is_it(s, AT_FDCWD, path, path);
	bytes_release(&text);
	free(path);
	return found;
}

static bool is_below_or_at(struct search *s, const char *path)
{
	return is_it(s, AT_FDCWD, path, path) || is_below(s, path);
}

bool birth_find_moved(const struct slot *slot, const struct argv *places, char **path,
		      char **theirs)
{
	struct search s = {.slot = slot, .path = path, .theirs = theirs};
	const char *born = slot->birth.path, *set = slot->repo->conf.pool_dir;
	char *parent, *usual;
	bool found;

	*path = *theirs = NULL;
	if (slot->admin < 0 || !born || !slot->birth.ino)
		return false;
	parent = mem_dup(born, (size_t)(strrchr(born, '/') - born));
	usual = birth_default_path(slot->repo);
	found = is_it(&s, AT_FDCWD, born, born) || is_where_git_says(&s) ||
		(*parent && is_below(&s, parent)) || (set && is_below(&s, set)) ||
		(usual && is_below(&s, usual));
	for (size_t i = 0; !found && places && i < places->count; i++)
		found = is_below_or_at(&s, places->items[i]);
	free(parent);
	free(usual);
	return found;
}

/* ---- linked anew -------------------------------------------------------------------------- */

static int put(const struct slot *slot, int dir, const char *name, const struct bytes *text,
	       struct fail *fail)
{
	return file_replace(dir, name, text->data, text->len, &slot->repo->modes,
			    slot->repo->conf.durable, fail);
}

/* Were its links relative ones? */
static bool is_relative(const struct slot *slot)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	bool relative = file_read(slot->admin, "gitdir", PATH_MAX, &text, &ignored) == 0 &&
			text.len && text.data[0] != '/';

	bytes_release(&text);
	return relative;
}

static int link_anew(struct slot *slot, int tree, const char *path, struct fail *fail)
{
	char *admin = mem_printf("%s/worktrees/%s", slot->repo->common_dir, slot->id);
	bool relative = is_relative(slot);
	char *there = relative ? birth_way(path, admin) : mem_strdup(admin);
	char *back = relative ? birth_way(admin, path) : mem_strdup(path);
	struct bytes text = BYTES_INIT;

	bytes_addf(&text, "gitdir: %s\n", there);
	put(slot, tree, ".git", &text, fail);
	bytes_clear(&text);
	bytes_addf(&text, "%s/.git\n", back);
	if (fail->kind == 0)
		put(slot, slot->admin, "gitdir", &text, fail);
	bytes_release(&text);
	free(admin);
	free(there);
	free(back);
	return fail->kind;
}

static int record_place(struct slot *slot, const char *path, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	if (!strcmp(slot->birth.path, path))
		return 0;
	free(slot->birth.path);
	slot->birth.path = mem_strdup(path);
	slot_birth_format(&slot->birth, &text);
	put(slot, slot->admin, BIRTH_RECORD, &text, fail);
	bytes_release(&text);
	return fail->kind;
}

int birth_settle(struct slot *slot, const char *path, struct fail *fail)
{
	const char *slash = strrchr(path, '/');
	char *target = NULL;
	struct stat st;
	enum leads leads;
	int tree;

	if (!slot->locked || !slot->birth.born)
		return fail_set(fail, FAIL_FATAL, "slot '%s' is not locked, and not moved",
				slot->name);
	if (!slash || strcmp(slash + 1, slot->id) != 0)
		return fail_set(fail, FAIL_NO, "'%s' has not the name of slot '%s'", path,
				slot->name);
	tree = file_open_dir(AT_FDCWD, path, fail);
	if (tree < 0)
		return fail->kind;
	/* Under the lock once more: it is that directory, and nobody else's. */
	leads = follow(slot, tree, &target);
	if (fstat(tree, &st) < 0 || !slot_born_as(&slot->birth, &st) ||
	    (leads != LEADS_NOWHERE && leads != LEADS_HERE))
		fail_set(fail, FAIL_CORRUPT, "'%s' is not the worktree of slot '%s'", path,
			 slot->name);
	else if (link_anew(slot, tree, path, fail) == 0)
		record_place(slot, path, fail);
	free(target);
	close(tree);
	return fail->kind;
}
