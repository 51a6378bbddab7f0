/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Paths that the caller named. Of the rest of the tree only the directories
 * above them are opened, for what their .gitignore and .gitattributes say.
 */
#include "walkdir.h"

#include "beneath.h"
#include "pathcheck.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The directories above the present path, the top first. */
struct chain {
	struct dir **dirs;
	size_t count, cap;
};

static void refuse(struct walk *walk, const char *path, const char *why)
{
	struct fail fail = FAIL_INIT;

	fail_set(&fail, FAIL_UNSUPPORTED, "path '%s' %s", path, why);
	walk_fail(walk, &fail);
}

static bool dir_has(const struct dir *dir, const char *path)
{
	size_t n = dir->path_len;

	return !n || (!strncmp(path, dir->path, n) && path[n] == '/');
}

/* A name that stands in an open directory: is it there? */
static bool exists(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void heed_tracked_attributes(struct walk *walk, const struct dir *dir, int fd)
{
	char *path = mem_printf("%s%s.gitattributes", dir->path, dir->path_len ? "/" : "");
	const struct index_entry *entry = index_find(walk->index, path, strlen(path));

	/* Not on disk: what is said for a path that is gone is what counts here, too. */
	if (entry && !exists(fd, ".gitattributes"))
		walk_heed_attributes(walk, entry);
	free(path);
}

/* Reads what a directory above a named path has to say. False when there is a failure. */
static bool heed_dir(struct walk *walk, struct dir *dir, int fd)
{
	const struct index_entry *entry =
		dir->path_len ? index_find(walk->index, dir->path, dir->path_len) : NULL;

	if (entry && entry->mode == 0160000)
		walk_engine(walk, "submodule");
	else if (dir->path_len && exists(fd, ".git"))
		walk_engine(walk, "nested repository");
	dir->has_rules = true;
	dir_read_attributes(walk, fd, true);
	heed_tracked_attributes(walk, dir, fd);
	return !walk_stopped(walk);
}

enum reached {
	REACHED,
	NOT_THERE,
	REFUSED
};

static enum reached not_reached(struct walk *walk, const char *path)
{
	struct fail fail = FAIL_INIT;

	if (errno == ENOENT || errno == ENOTDIR)
		return NOT_THERE;
	if (errno == ELOOP) {
		refuse(walk, path, "is beyond a symbolic link");
	} else if (errno == ENAMETOOLONG) {
		walk_engine(walk, "unusual name");
	} else {
		fail_errno(&fail, "open the directory of '%s'", path);
		walk_fail(walk, &fail);
	}
	return REFUSED;
}

/* Opens the directories above `path` that are not in the chain yet. */
static enum reached extend(struct walk *walk, struct chain *chain, const char *path)
{
	size_t from = chain->count ? chain->dirs[chain->count - 1]->path_len : 0;

	for (;;) {
		const char *next = chain->count ? path + from + (from ? 1 : 0) : path;
		const char *slash = strchr(next, '/');
		struct dir *dir;
		bool ok;
		int fd;

		if (chain->count && !slash)
			return REACHED;
		from = chain->count ? (size_t)(slash - path) : 0;
		dir = dir_new(walk, &walk->parts[0],
			      chain->count ? chain->dirs[chain->count - 1] : NULL, path, from, 0,
			      0);
		fd = beneath_open(walk->root, dir->path, O_PATH | O_DIRECTORY);
		if (fd < 0)
			return not_reached(walk, path);
		ok = heed_dir(walk, dir, fd);
		close(fd);
		if (!ok)
			return REFUSED;
		MEM_GROW(chain->dirs, chain->cap, chain->count + 1);
		chain->dirs[chain->count++] = dir;
	}
}

/* A named path, and what the index has there. */
struct named {
	const char *path;
	size_t len;
	uint32_t first, count; /* entries of the path itself */
	uint32_t low, high;    /* entries below it */
};

static void look_up(const struct index *index, const char *path, struct named *named)
{
	char *below = mem_printf("%s/", path);

	*named = (struct named){.path = path, .len = strlen(path)};
	named->first = index_lower_bound(index, path, named->len);
	if (named->first < index->count && index->entries[named->first].name_len == named->len &&
	    !memcmp(index->entries[named->first].name, path, named->len))
		named->count = name_stages(index, named->first, index->count);
	named->low = index_lower_bound(index, below, named->len + 1);
	named->high = index_prefix_end(index, named->low, index->count, below, named->len + 1);
	free(below);
}

static void unmatched(struct walk *walk, const char *path)
{
	argv_push(&walk->unmatched, path);
}

/* Nothing stands at the path: what the index has there is gone. */
static void named_gone(struct walk *walk, const struct named *named)
{
	if (!named->count && named->low == named->high)
		unmatched(walk, named->path);
	names_gone(walk, &walk->parts[0], named->first, named->first + named->count, false);
	names_gone(walk, &walk->parts[0], named->low, named->high, false);
}

/* Files of the index that stand where a directory above the path is now. */
static void displace_parents(struct walk *walk, const struct chain *chain)
{
	const struct index *index = walk->index;

	for (size_t i = 1; i < chain->count; i++) {
		const struct dir *dir = chain->dirs[i];
		const struct index_entry *entry = index_find(index, dir->path, dir->path_len);

		if (entry) {
			uint32_t at = (uint32_t)(entry - index->entries);

			names_gone(walk, &walk->parts[0], at,
				   at + name_stages(index, at, index->count), true);
		}
	}
}

static void named_dir(const struct place *place, const struct named *named)
{
	struct walk *walk = place->walk;
	const struct index_entry *entry = &walk->index->entries[named->first];
	struct dir *dir;

	if (named->count && entry->mode == 0160000) {
		name_tracked(place, named->first, named->count, false);
		return;
	}
	names_gone(walk, place->part, named->first, named->first + named->count, true);
	if (named->low == named->high &&
	    dir_ignores(walk, place->dir, named->path, named->len, true)) {
		walk_add_skipped(place->part, named->path, named->len, "ignored");
		return;
	}
	dir = dir_new(walk, place->part, place->dir, named->path, named->len, named->low,
		      named->high);
	dir_add(walk, dir);
}

static void named_file(const struct place *place, const struct named *named, const char *name)
{
	struct walk *walk = place->walk;

	names_gone(walk, place->part, named->low, named->high, true);
	if (named->count)
		name_tracked(place, named->first, named->count, true);
	else if (dir_ignores(walk, place->dir, named->path, named->len, false))
		walk_add_skipped(place->part, named->path, named->len, "ignored");
	else
		name_untracked(place, name, strlen(name), false);
}

/* The path's own place is known to be a directory of the work tree. */
static void look_at(struct walk *walk, const struct chain *chain, const struct named *named)
{
	struct dir *dir = chain->dirs[chain->count - 1];
	struct place place = {.walk = walk, .part = &walk->parts[0], .dir = dir};
	const char *name = named->path + (dir->path_len ? dir->path_len + 1 : 0);
	struct stat st;

	place.fd = beneath_open(walk->root, dir->path, O_PATH | O_DIRECTORY);
	if (place.fd < 0) {
		if (not_reached(walk, named->path) == NOT_THERE)
			named_gone(walk, named);
		return;
	}
	if (fstatat(place.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		displace_parents(walk, chain);
		if (S_ISDIR(st.st_mode))
			named_dir(&place, named);
		else
			named_file(&place, named, name);
	} else if (errno == ENOENT) {
		named_gone(walk, named);
	} else if (errno == ENAMETOOLONG) {
		walk_engine(walk, "unusual name");
	} else {
		walk_add_skipped(place.part, named->path, named->len, "unreadable");
	}
	close(place.fd);
}

static void one_path(struct walk *walk, struct chain *chain, const char *path)
{
	struct named named;

	if (!path_stays_below(path, strlen(path))) {
		refuse(walk, path, "does not lead into the work tree");
		return;
	}
	if (path_is_unusual(path, strlen(path), false)) {
		walk_engine(walk, "unusual name");
		return;
	}
	while (chain->count && !dir_has(chain->dirs[chain->count - 1], path))
		chain->count--;
	look_up(walk->index, path, &named);
	switch (extend(walk, chain, path)) {
	case REACHED:
		look_at(walk, chain, &named);
		break;
	case NOT_THERE:
		named_gone(walk, &named);
		break;
	case REFUSED:
		break;
	}
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void walk_named_paths(struct walk *walk)
{
	const struct scan_options *options = walk->options;
	const char **paths = mem_array(options->path_count, sizeof(*paths));
	struct chain chain = {0};

	for (size_t i = 0; i < options->path_count; i++)
		paths[i] = options->paths[i];
	qsort(paths, options->path_count, sizeof(*paths), compare_paths);
	for (size_t i = 0; i < options->path_count && !walk_stopped(walk); i++)
		if (!i || strcmp(paths[i - 1], paths[i]) != 0)
			one_path(walk, &chain, paths[i]);
	free(paths);
	free(chain.dirs);
}
