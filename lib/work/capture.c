/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "capture.h"

#include "clock.h"
#include "quote.h"
#include "recall.h"
#include "submodule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEEP_BYTES ((uint64_t)32 << 20) /* contents that stay in memory between hash and pack */

static const char reason_large[] = "too large";
static const char reason_failed[] = "unreadable";
static const char reason_nested[] = "nested repository";
static const char reason_dirty[] = "dirty submodule";
static const char reason_ignored[] = "ignored";

static void add_skip(struct capture *c, const char *path, const char *reason)
{
	MEM_GROW(c->skipped, c->skipped_cap, c->skipped_count + 1);
	c->skipped[c->skipped_count].path = mem_strdup(path);
	c->skipped[c->skipped_count].reason = reason;
	c->skipped_count++;
}

static int compare_skips(const void *a, const void *b)
{
	const struct capture_skip *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* ---- an index that reads empty ------------------------------------------------------------ */

#define EMPTY_TRIES 5
#define EMPTY_WAIT_MS 100

/*
 * On a slow shared file system a reader can meet the moment in which an index is
 * replaced, and see none. Recording that would be a checkpoint of nothing.
 */
static int refuse_empty_index(const struct capture *c, struct fail *fail)
{
	return fail_set(
		fail, FAIL_UNSUPPORTED,
		"the index '%s' is empty but HEAD has files; nothing was saved ('git reset' "
		"rebuilds it)",
		c->repo->index_path);
}

static bool head_has_files(const struct capture *c, const struct capture_options *options)
{
	return !oid_is_zero(&options->head_tree) &&
	       !oid_equal(&options->head_tree, oid_empty_tree(c->repo->algo));
}

/* ---- natively -------------------------------------------------------------------------------- */

int capture_literal_path(struct repo *repo, const char *given, char **out, struct fail *fail)
{
	struct bytes path = BYTES_INIT;
	const char *p = given;

	if (given[0] == ':' || strpbrk(given, "*?[\\") || getenv("GIT_GLOB_PATHSPECS") ||
	    getenv("GIT_ICASE_PATHSPECS"))
		return fail_set(fail, FAIL_ENGINE, "pathspec magic");
	if (given[0] == '/') {
		size_t n = strlen(repo->work_tree);

		if (strncmp(given, repo->work_tree, n) != 0 || given[n] != '/')
			return fail_set(fail, FAIL_ENGINE, "pathspec outside the work tree");
		p += n + 1;
	} else {
		bytes_adds(&path, repo->prefix);
	}
	while (*p) {
		size_t n = strcspn(p, "/");

		if (n == 2 && !strncmp(p, "..", 2)) {
			/* Up one component; above the top is git's to refuse. */
			if (!path.len) {
				bytes_release(&path);
				return fail_set(fail, FAIL_ENGINE,
						"pathspec outside the work tree");
			}
			bytes_truncate(&path, path.len - 1);
			while (path.len && path.data[path.len - 1] != '/')
				bytes_truncate(&path, path.len - 1);
		} else if (n && !(n == 1 && *p == '.')) {
			bytes_add(&path, p, n);
			bytes_addc(&path, '/');
		}
		p += n + strspn(p + n, "/");
	}
	if (path.len)
		bytes_truncate(&path, path.len - 1);
	*out = bytes_take(&path);
	return 0;
}

static int literal_paths(struct repo *repo, const struct capture_options *options,
			 struct argv *paths, struct fail *fail)
{
	for (size_t i = 0; i < options->path_count; i++) {
		char *path;

		if (capture_literal_path(repo, options->paths[i], &path, fail) < 0)
			return fail->kind;
		argv_take(paths, path);
		/* The top itself is everything: there is nothing partial about it. */
		if (!*path)
			return fail_set(fail, FAIL_ENGINE, "pathspec of the top");
	}
	return 0;
}

static int scan_index_again(struct capture *c, const struct capture_options *options,
			    const struct scan_options *scan, struct fail *fail)
{
	for (int i = 0; i < EMPTY_TRIES; i++) {
		if (c->scan.index.count || !head_has_files(c, options))
			return 0;
		clock_sleep(EMPTY_WAIT_MS);
		scan_release(&c->scan);
		if (scan_run(c->repo, scan, &c->scan, fail) < 0)
			return fail->kind;
	}
	return refuse_empty_index(c, fail);
}

static int compare_changes(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* Is there anything at `path`, in the tree that holds the last checkpoint's files? */
static int must_match(struct capture *c, const struct oid *on_tree, const char *path,
		      const char *given, struct fail *fail)
{
	struct tree_entry entry;
	struct fail lookup = FAIL_INIT;
	int r = tree_lookup(&c->odb, on_tree, path, &entry, &lookup);

	if (r == FAIL_GONE)
		return fail_set(fail, FAIL_FATAL, "pathspec '%s' did not match any files", given);
	if (r < 0)
		*fail = lookup;
	return r;
}

/*
 * Was this path, or a directory that it is in, not recorded, and said so? (Of a
 * repository inside the commit is recorded.) A path save then leaves it as the last
 * checkpoint has it: the index has something older.
 */
static bool left_out(const struct capture *c, const char *path, uint32_t mode)
{
	for (size_t i = 0; mode != 0160000 && i < c->skipped_count; i++) {
		const char *skipped = c->skipped[i].path;
		size_t len = strlen(skipped);

		len -= len && skipped[len - 1] == '/'; /* as git writes of a repository */
		if (!strncmp(skipped, path, len) && (!path[len] || path[len] == '/'))
			return true;
	}
	return false;
}

/* Neither on disk nor in the index. */
static bool is_unmatched(const struct capture *c, const char *path)
{
	for (size_t i = 0; i < c->scan.unmatched.count; i++)
		if (!strcmp(c->scan.unmatched.items[i], path))
			return true;
	return false;
}

/* Sorted, and each path once: overlapping arguments name some twice. */
static void drop_doubles(struct capture *c)
{
	size_t kept = 0;

	if (c->graft_count > 1)
		qsort(c->grafts, c->graft_count, sizeof(*c->grafts), compare_changes);
	for (size_t i = 0; i < c->graft_count; i++) {
		if (kept && !strcmp(c->grafts[kept - 1].path, c->grafts[i].path))
			free(c->grafts[i].path);
		else
			c->grafts[kept++] = c->grafts[i];
	}
	c->graft_count = kept;
}

static void add_graft(struct capture *c, const char *path, uint32_t mode, const struct oid *oid)
{
	struct change *graft;

	MEM_GROW(c->grafts, c->graft_cap, c->graft_count + 1);
	graft = &c->grafts[c->graft_count++];
	*graft = (struct change){.path = mem_strdup(path), .mode = mode};
	if (mode)
		graft->oid = *oid;
}

/* A directory's files, as they differ between the last checkpoint and now. */
struct graft_dir {
	struct capture *c;
	const char *path;
};

static int graft_below(void *arg, const char *path, UNUSED uint32_t old_mode,
		       UNUSED const struct oid *old_oid, uint32_t new_mode,
		       const struct oid *new_oid, UNUSED struct fail *fail)
{
	struct graft_dir *dir = arg;
	char *full = mem_printf("%s/%s", dir->path, path);

	if (!left_out(dir->c, full, new_mode))
		add_graft(dir->c, full, new_mode, new_oid);
	free(full);
	return 0;
}

static bool is_tree(const struct tree_entry *entry)
{
	return (entry->mode & 0170000) == 0040000;
}

/* An entry that may not exist: mode 0. */
static int lookup(struct capture *c, const struct oid *tree, const char *path,
		  struct tree_entry *entry, struct fail *fail)
{
	struct fail miss = FAIL_INIT;
	int r = tree_lookup(&c->odb, tree, path, entry, &miss);

	if (r == FAIL_GONE) {
		entry->mode = 0;
		oid_zero(c->repo->algo, &entry->oid);
		return 0;
	}
	if (r < 0)
		*fail = miss;
	return r;
}

/*
 * What makes `path` in the last checkpoint what it is now. A file is always set;
 * of a directory only what differs, so that what a peer saves there meanwhile stays.
 */
static int graft_path(struct capture *c, const struct oid *on_tree, const char *path,
		      const struct tree_entry *now, struct fail *fail)
{
	struct graft_dir dir = {.c = c, .path = path};
	struct tree_entry then;
	struct oid none;

	oid_zero(c->repo->algo, &none);
	if (lookup(c, on_tree, path, &then, fail) < 0)
		return fail->kind;
	if ((is_tree(now) || is_tree(&then)) &&
	    tree_diff(&c->odb, is_tree(&then) ? &then.oid : &none, is_tree(now) ? &now->oid : &none,
		      graft_below, &dir, fail) < 0)
		return fail->kind;
	if (!is_tree(now) && (now->mode || !is_tree(&then)))
		add_graft(c, path, now->mode, &now->oid);
	else if (is_tree(now) && then.mode && !is_tree(&then))
		add_graft(c, path, 0, &none);
	return 0;
}

/*
 * Does a file or a symlink stand where a directory of this path should be? Then the
 * path is gone, also when git does not look (assume-unchanged, skip-worktree) and its
 * entry is displaced only once that file is added. Neighbours share the answer.
 */
struct displaced {
	char *dir; /* of the path that was asked about last, with its slash */
	size_t dir_len;
	bool answer;
};

static bool is_displaced(const struct capture *c, struct displaced *last, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;

	if (last->dir && last->dir_len == len && !memcmp(last->dir, path, len))
		return last->answer;
	free(last->dir);
	last->dir = mem_dup(path, len);
	last->dir_len = len;
	last->answer = false;
	for (size_t i = 0; i < len && !last->answer; i++) {
		struct stat st;
		char *full;

		if (path[i] != '/')
			continue;
		full = mem_printf("%s/%.*s", c->repo->work_tree, (int)i, path);
		last->answer =
			lstat(full, &st) == 0 && (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode));
		free(full);
	}
	return last->answer;
}

/* What stands at each named path in `tree` (the index with the work tree's changes). */
static int take_grafts(struct capture *c, const struct capture_options *options,
		       const struct argv *paths, const struct oid *tree, struct fail *fail)
{
	struct displaced last = {0};

	for (size_t i = 0; i < paths->count && fail->kind == 0; i++) {
		struct tree_entry now;

		if (lookup(c, tree, paths->items[i], &now, fail) < 0)
			break;
		if (is_displaced(c, &last, paths->items[i]))
			now.mode = 0;
		if (left_out(c, paths->items[i], now.mode))
			continue;
		if (is_unmatched(c, paths->items[i]) &&
		    must_match(c, &options->on_tree, paths->items[i], options->paths[i], fail) < 0)
			break;
		graft_path(c, &options->on_tree, paths->items[i], &now, fail);
	}
	free(last.dir);
	drop_doubles(c);
	return fail->kind;
}

/* Full scans check named paths too: a path that is nowhere is a mistake worth telling. */
static int check_paths(struct capture *c, const struct capture_options *options,
		       const struct argv *paths, struct fail *fail)
{
	for (size_t i = 0; i < paths->count; i++) {
		if (is_unmatched(c, paths->items[i]) &&
		    must_match(c, &options->head_tree, paths->items[i], options->paths[i], fail) <
			    0)
			return fail->kind;
	}
	return 0;
}

static int run_native(struct capture *c, const struct capture_options *options, struct fail *fail)
{
	struct argv paths = ARGV_INIT;
	struct oid tree;
	struct scan_options scan = {
		.max_file_size = (uint64_t)c->repo->conf.max_file_size,
		.keep_bytes = KEEP_BYTES,
		.progress = options->progress,
		.progress_arg = options->progress_arg,
	};

	if (literal_paths(c->repo, options, &paths, fail) < 0)
		goto done;
	if (options->partial) {
		scan.paths = (const char *const *)paths.items;
		scan.path_count = paths.count;
	} else {
		c->cache = statcache_open(c->repo);
		scan.cache = c->cache;
	}
	if (scan_run(c->repo, &scan, &c->scan, fail) < 0 ||
	    scan_index_again(c, options, &scan, fail) < 0)
		goto done;
	for (size_t i = 0; i < c->scan.skipped_count; i++)
		add_skip(c, c->scan.skipped[i].path, c->scan.skipped[i].reason);
	if (tree_from_index(&c->scan.index, c->scan.changes, c->scan.change_count, c->bag, &tree,
			    fail) < 0)
		goto done;
	if (!options->partial) {
		c->tree = tree;
		check_paths(c, options, &paths, fail);
	} else if (take_grafts(c, options, &paths, &tree, fail) == 0) {
		capture_rebase(c, &options->on_tree, fail);
	}
done:
	argv_release(&paths);
	return fail->kind;
}

/* The staged tree, when the index can be written as one. */
static int native_index_tree(struct capture *c, struct oid *tree, struct fail *fail)
{
	oid_zero(c->repo->algo, tree);
	for (uint32_t i = 0; i < c->scan.index.count; i++)
		if (c->scan.index.entries[i].stage)
			return 0;
	return tree_from_index(&c->scan.index, NULL, 0, c->bag, tree, fail);
}

/* ---- through git
 * --------------------------------------------------------------------------------- */

/* Large blobs are taken out again; new gitlinks are reported. */
struct judge_new {
	struct capture *c;
	const struct oid *index_tree; /* zero: not known */
	struct change *undo;
	size_t undo_count, undo_cap;
};

/* Has the user's index this very content there? Then it is nothing new. */
static bool index_has(const struct judge_new *j, const char *path, const struct oid *oid)
{
	struct tree_entry entry;
	struct fail miss = FAIL_INIT;

	return !oid_is_zero(j->index_tree) &&
	       tree_lookup(&j->c->odb, j->index_tree, path, &entry, &miss) == 0 &&
	       oid_equal(&entry.oid, oid);
}

static int judge_path(void *arg, const char *path, uint32_t old_mode, const struct oid *old_oid,
		      uint32_t new_mode, const struct oid *new_oid, struct fail *fail)
{
	struct judge_new *j = arg;
	uint64_t limit = (uint64_t)j->c->repo->conf.max_file_size, size = 0;
	struct change *undo;

	if ((new_mode & 0170000) == 0160000 && (old_mode & 0170000) != 0160000)
		add_skip(j->c, path, reason_nested);
	if (!new_mode || (new_mode & 0170000) == 0160000 || !limit)
		return 0;
	/* A change of the mode alone is no new content either. */
	if (oid_equal(old_oid, new_oid) || odb_size(&j->c->odb, new_oid, &size, fail) < 0 ||
	    size <= limit || index_has(j, path, new_oid))
		return fail->kind;
	MEM_GROW(j->undo, j->undo_cap, j->undo_count + 1);
	undo = &j->undo[j->undo_count++];
	*undo = (struct change){.path = mem_strdup(path), .mode = old_mode, .oid = *old_oid};
	add_skip(j->c, path, reason_large);
	return 0;
}

/* The tree without what must not be recorded, against the state that git started from. */
static int apply_limits(struct capture *c, const struct oid *before, const struct oid *index_tree,
			struct fail *fail)
{
	struct judge_new judge = {.c = c, .index_tree = index_tree};
	struct oid limited;

	if (tree_diff(&c->odb, before, &c->tree, judge_path, &judge, fail) == 0 &&
	    judge.undo_count &&
	    tree_edit(&c->odb, &c->tree, judge.undo, judge.undo_count, c->bag, &limited, fail) == 0)
		c->tree = limited;
	for (size_t i = 0; i < judge.undo_count; i++)
		free(judge.undo[i].path);
	free(judge.undo);
	return fail->kind;
}

static int wait_for_index(struct capture *c, const struct capture_options *options,
			  struct fail *fail)
{
	for (int i = 0; i < EMPTY_TRIES; i++) {
		bool empty;

		if (plumb_index_is_empty(&c->plumb, &empty, fail) < 0)
			return fail->kind;
		if (!empty || !head_has_files(c, options))
			return 0;
		clock_sleep(EMPTY_WAIT_MS);
		plumb_end(&c->plumb);
		if (plumb_begin(c->repo, &c->plumb, fail) < 0)
			return fail->kind;
	}
	return refuse_empty_index(c, fail);
}

static int list_entry(void *arg, const char *path, UNUSED uint32_t old_mode,
		      UNUSED const struct oid *old_oid, uint32_t mode, const struct oid *oid,
		      UNUSED struct fail *fail)
{
	struct bytes *lines = arg;
	char hex[OID_HEX_MAX + 1];

	/* The names are what matters, and of some names git refuses symlinks. */
	bytes_addf(lines, "%o %s\t", mode == 0120000 ? 0100644 : mode, oid_hex(oid, hex));
	bytes_add(lines, path, strlen(path) + 1);
	return 0;
}

/* The files of the last checkpoint, for pathspecs that only git can match with them. */
static int fill_last(struct capture *c, const struct oid *on_tree, struct fail *fail)
{
	struct bytes lines = BYTES_INIT;
	struct oid none;

	oid_zero(c->repo->algo, &none);
	if (tree_diff(&c->odb, &none, on_tree, list_entry, &lines, fail) == 0)
		plumb_fill_last(&c->plumb, &lines, fail);
	bytes_release(&lines);
	return fail->kind;
}

static bool stands_in(struct capture *c, const struct oid *tree, const char *path)
{
	struct tree_entry entry;
	struct fail miss = FAIL_INIT;

	return !oid_is_zero(tree) && tree_lookup(&c->odb, tree, path, &entry, &miss) == 0;
}

/* In the last checkpoint: `literal` is the path that a plain pathspec means, else NULL. */
static int matches_last(struct capture *c, const struct capture_options *options, const char *given,
			const char *literal, bool *matches, struct fail *fail)
{
	struct argv names = ARGV_INIT;

	if (literal)
		*matches = stands_in(c, &options->on_tree, literal) ||
			   stands_in(c, &options->head_tree, literal);
	else if (options->partial && plumb_last_names(&c->plumb, &given, 1, &names, fail) == 0)
		*matches = names.count > 0;
	argv_release(&names);
	return fail->kind;
}

/*
 * A pathspec has to match something: on disk, in the user's index, or in the last
 * checkpoint. Only what matches on disk or in the index can be added: the others
 * are gone.
 */
static int match_pathspec(struct capture *c, const struct capture_options *options,
			  const char *given, struct argv *specs, struct fail *fail)
{
	struct fail lookup = FAIL_INIT;
	bool matches, known;
	char *path = NULL;

	if (plumb_matches(&c->plumb, given, &matches, fail) < 0)
		return fail->kind;
	known = matches;
	if (!known) {
		capture_literal_path(c->repo, given, &path, &lookup);
		matches_last(c, options, given, path, &known, fail);
		free(path);
	}
	if (fail->kind == 0 && !known)
		fail_set(fail, FAIL_FATAL, "pathspec '%s' did not match any files", given);
	if (matches)
		argv_push(specs, given);
	return fail->kind;
}

/* The native scan's words for the same. */
static const char *special_reason(const struct repo *repo, const char *path)
{
	char *full = mem_printf("%s/%s", repo->work_tree, path);
	struct stat st;
	int r = lstat(full, &st);

	free(full);
	if (r == 0 && S_ISFIFO(st.st_mode))
		return "fifo";
	if (r == 0 && S_ISSOCK(st.st_mode))
		return "socket";
	return "device";
}

/* git add -A, and what it left out; `specs`: NULL is everything. */
static int add_all(struct capture *c, const struct argv *specs, struct fail *fail)
{
	struct argv failed = ARGV_INIT, special = ARGV_INIT;

	if (specs && !specs->count)
		return 0;
	plumb_add(&c->plumb, specs ? (const char *const *)specs->items : NULL,
		  specs ? specs->count : 0, &failed, fail);
	if (fail->kind == 0 && !specs)
		plumb_special_files(&c->plumb, &special, fail);
	for (size_t i = 0; i < failed.count; i++)
		if (!i || strcmp(failed.items[i - 1], failed.items[i]) != 0)
			add_skip(c, failed.items[i], reason_failed);
	for (size_t i = 0; i < special.count; i++)
		add_skip(c, special.items[i], special_reason(c->repo, special.items[i]));
	argv_release(&failed);
	argv_release(&special);
	return fail->kind;
}

static int add_everything(struct capture *c, const struct oid *before, const struct oid *index_tree,
			  struct fail *fail)
{
	if (plumb_doubt(&c->plumb, NULL, fail) < 0 || add_all(c, NULL, fail) < 0 ||
	    plumb_write_tree(&c->plumb, &c->tree, fail) < 0)
		return fail->kind;
	return apply_limits(c, before, index_tree, fail);
}

/* ":!x", ":/^x", ":(top,exclude)x" */
static bool is_exclusion(const char *spec)
{
	const char *p = spec + 1;

	if (spec[0] != ':' || getenv("GIT_LITERAL_PATHSPECS"))
		return false;
	if (*p != '(') {
		p += strspn(p, "/");
		return *p == '!' || *p == '^';
	}
	while (*p && *p != ')') {
		size_t n = strcspn(++p, ",)");

		if (n == strlen("exclude") && !strncmp(p, "exclude", n))
			return true;
		p += n;
	}
	return false;
}

static bool is_repository(const struct capture *c, const char *path)
{
	char *inner = mem_printf("%s/%s/.git", c->repo->work_tree, path);
	struct stat st;
	bool found = lstat(inner, &st) == 0;

	free(inner);
	return found;
}

/*
 * A repository that the index does not have is "name/" to git's wildcards, and one that
 * ends in a name ("neste[d]") passes over it. In the last checkpoint it is a file's
 * equal, and was named there: it is taken by its name. Names from `known` on are those
 * that only the last checkpoint has.
 */
static int add_passed_over(struct capture *c, const struct oid *on_tree, const struct argv *names,
			   size_t known, struct fail *fail)
{
	struct argv over = ARGV_INIT;

	for (size_t i = known; i < names->count && fail->kind == 0; i++) {
		struct tree_entry then;

		if (is_repository(c, names->items[i]) &&
		    lookup(c, on_tree, names->items[i], &then, fail) == 0 && then.mode == 0160000)
			argv_push(&over, names->items[i]);
	}
	if (fail->kind == 0)
		plumb_add_exact(&c->plumb, &over, fail);
	argv_release(&over);
	return fail->kind;
}

/*
 * The files, now and in the last checkpoint, that pathspecs mean which only git
 * understands. What is only excluded is excluded from all; git's commands do not
 * agree on whether that is all below the current directory.
 */
static int name_by_git(struct capture *c, const struct capture_options *options, struct argv *specs,
		       struct argv *names, struct fail *fail)
{
	struct argv given = ARGV_INIT;
	size_t known = 0;
	bool all = true;

	for (size_t i = 0; i < options->path_count; i++) {
		argv_push(&given, options->paths[i]);
		all &= is_exclusion(options->paths[i]);
	}
	if (all) {
		argv_push(&given, ":/");
		argv_push(specs, ":/");
	}
	if (add_all(c, specs, fail) == 0 && plumb_names(&c->plumb, (const char *const *)given.items,
							given.count, names, fail) == 0) {
		known = names->count;
		plumb_last_names(&c->plumb, (const char *const *)given.items, given.count, names,
				 fail);
	}
	if (fail->kind == 0)
		add_passed_over(c, &options->on_tree, names, known, fail);
	argv_release(&given);
	return fail->kind;
}

/* A path that is there, was named, and is not recorded all the same. */
static int tell_ignored(struct capture *c, const struct argv *paths, const struct oid *tree,
			struct fail *fail)
{
	struct argv there = ARGV_INIT, ignored = ARGV_INIT;

	for (size_t i = 0; i < paths->count && fail->kind == 0; i++) {
		char *full = mem_printf("%s/%s", c->repo->work_tree, paths->items[i]);
		struct tree_entry now;
		struct stat st;

		if (lookup(c, tree, paths->items[i], &now, fail) == 0 && !now.mode &&
		    lstat(full, &st) == 0 && !left_out(c, paths->items[i], 0))
			argv_push(&there, paths->items[i]);
		free(full);
	}
	if (fail->kind == 0 && there.count)
		plumb_ignored(&c->plumb, &there, &ignored, fail);
	for (size_t i = 0; i < ignored.count; i++)
		add_skip(c, ignored.items[i], reason_ignored);
	argv_release(&there);
	argv_release(&ignored);
	return fail->kind;
}

/* Files by name: each is set, or gone. What is the same is a peer's to change. */
static int take_files(struct capture *c, const struct oid *on_tree, const struct argv *names,
		      const struct oid *tree, struct fail *fail)
{
	struct displaced last = {0};

	for (size_t i = 0; i < names->count && fail->kind == 0; i++) {
		struct tree_entry now, then;

		if (lookup(c, tree, names->items[i], &now, fail) < 0 ||
		    lookup(c, on_tree, names->items[i], &then, fail) < 0)
			break;
		/* A repository that git cannot add stays as it was recorded, and is told of. */
		if (!now.mode && then.mode == 0160000 && is_repository(c, names->items[i])) {
			if (!left_out(c, names->items[i], 0))
				add_skip(c, names->items[i], reason_nested);
			continue;
		}
		if (is_tree(&now) || is_displaced(c, &last, names->items[i]))
			now.mode = 0;
		if (!now.mode)
			oid_zero(c->repo->algo, &now.oid);
		if ((now.mode == then.mode && oid_equal(&now.oid, &then.oid)) ||
		    (!now.mode && is_tree(&then)) || left_out(c, names->items[i], now.mode))
			continue;
		if (is_tree(&then))
			graft_path(c, on_tree, names->items[i], &now, fail);
		else
			add_graft(c, names->items[i], now.mode, &now.oid);
	}
	free(last.dir);
	drop_doubles(c);
	return fail->kind;
}

/*
 * The named paths are added to a copy of the user's index (its flags and its stat
 * data say what to look at), and taken over from there.
 */
static int add_paths(struct capture *c, const struct capture_options *options, struct argv *specs,
		     const struct argv *literal, const struct oid *index_tree, struct fail *fail)
{
	struct argv names = ARGV_INIT;
	struct oid tree;

	if (plumb_doubt(&c->plumb, literal, fail) < 0 ||
	    plumb_add_attributes(&c->plumb, fail) < 0 ||
	    (literal ? add_all(c, specs, fail) : name_by_git(c, options, specs, &names, fail)) < 0)
		goto done;
	if ((oid_is_zero(index_tree) && plumb_drop_unmerged(&c->plumb, fail) < 0) ||
	    plumb_write_tree(&c->plumb, &c->tree, fail) < 0 ||
	    apply_limits(c, oid_is_zero(index_tree) ? &options->head_tree : index_tree, index_tree,
			 fail) < 0)
		goto done;
	tree = c->tree;
	if (literal && tell_ignored(c, literal, &tree, fail) < 0)
		goto done;
	if ((literal ? take_grafts(c, options, literal, &tree, fail)
		     : take_files(c, &options->on_tree, &names, &tree, fail)) == 0)
		capture_rebase(c, &options->on_tree, fail);
done:
	argv_release(&names);
	return fail->kind;
}

static int open_plumb(struct capture *c, const struct capture_options *options,
		      struct oid *index_tree, struct fail *fail)
{
	if (plumb_begin(c->repo, &c->plumb, fail) < 0 || wait_for_index(c, options, fail) < 0)
		return fail->kind;
	if (plumb_write_index_tree(&c->plumb, index_tree, fail) == FAIL_NO) {
		fail_clear(fail);
		oid_zero(c->repo->algo, index_tree);
	}
	for (size_t i = 0; i < c->plumb.env.count; i++)
		argv_push(&c->odb.env, c->plumb.env.items[i]);
	return fail->kind;
}

static int run_plumb(struct capture *c, const struct capture_options *options,
		     struct oid *index_tree, struct fail *fail)
{
	struct argv specs = ARGV_INIT, paths = ARGV_INIT;
	struct fail magic = FAIL_INIT;
	bool literal;

	if (open_plumb(c, options, index_tree, fail) < 0)
		return fail->kind;
	literal = literal_paths(c->repo, options, &paths, &magic) == 0;
	if (options->partial && !literal)
		fill_last(c, &options->on_tree, fail);
	for (size_t i = 0; i < options->path_count && fail->kind == 0; i++)
		match_pathspec(c, options, options->paths[i], &specs, fail);
	if (fail->kind == 0 && options->partial)
		add_paths(c, options, &specs, literal ? &paths : NULL, index_tree, fail);
	else if (fail->kind == 0)
		add_everything(c, oid_is_zero(index_tree) ? &options->head_tree : index_tree,
			       index_tree, fail);
	argv_release(&specs);
	argv_release(&paths);
	return fail->kind;
}

/* ---- staged content
 * ---------------------------------------------------------------------------------- */

struct staged {
	struct capture *c;
	bool differs;
};

static int judge_staged(void *arg, const char *path, UNUSED uint32_t old_mode,
			UNUSED const struct oid *old_oid, uint32_t new_mode,
			const struct oid *new_oid, struct fail *fail)
{
	struct staged *s = arg;
	struct fail lookup = FAIL_INIT;
	struct tree_entry entry = {0};
	int r;

	if (s->differs)
		return 0;
	r = tree_lookup(&s->c->odb, &s->c->tree, path, &entry, &lookup);
	if (r < 0 && r != FAIL_GONE) {
		*fail = lookup;
		return r;
	}
	s->differs = r == FAIL_GONE ? new_mode != 0
				    : entry.mode != new_mode || !oid_equal(&entry.oid, new_oid);
	return 0;
}

/* Keeps the index's tree when some path in it is neither HEAD's nor the work tree's. */
static int keep_staged(struct capture *c, const struct oid *head_tree, const struct oid *index_tree,
		       struct fail *fail)
{
	struct staged staged = {.c = c};

	oid_zero(c->repo->algo, &c->index_tree);
	if (oid_is_zero(index_tree) || oid_equal(index_tree, head_tree) ||
	    oid_equal(index_tree, &c->tree))
		return 0;
	if (tree_diff(&c->odb, head_tree, index_tree, judge_staged, &staged, fail) < 0)
		return fail->kind;
	if (staged.differs)
		c->index_tree = *index_tree;
	return 0;
}

/* ---- submodules ----------------------------------------------------------------------- */

/* The submodules that are looked at in this capture. */
static int find_submodules(struct capture *c, const struct capture_options *options,
			   struct argv *paths, struct fail *fail)
{
	struct argv literal = ARGV_INIT;
	const struct argv *under = options->partial ? &literal : NULL;
	struct fail miss = FAIL_INIT;
	struct index index;

	/* Where this index or these pathspecs are too much for us, git is asked. */
	if (options->partial && literal_paths(c->repo, options, &literal, &miss) < 0) {
		submodules_by_git(c->repo, options->paths, options->path_count, paths, fail);
	} else if (c->repo->engine == ENGINE_NATIVE) {
		submodules_in_index(&c->scan.index, under, paths);
	} else {
		if (index_open(&index, c->repo->index_path, c->repo->algo, &miss) == 0)
			submodules_in_index(&index, under, paths);
		else
			submodules_by_git(c->repo, options->paths, options->path_count, paths,
					  fail);
		index_close(&index);
	}
	argv_release(&literal);
	return fail->kind;
}

/* What is changed inside a submodule is not in the tree. */
static int judge_submodules(struct capture *c, const struct capture_options *options,
			    struct fail *fail)
{
	struct argv paths = ARGV_INIT, dirty = ARGV_INIT, unreadable = ARGV_INIT;

	if (find_submodules(c, options, &paths, fail) == 0)
		submodules_dirty(c->repo, &paths, &dirty, &unreadable, fail);
	for (size_t i = 0; i < dirty.count; i++)
		if (!left_out(c, dirty.items[i], 0))
			add_skip(c, dirty.items[i], reason_dirty);
	for (size_t i = 0; i < unreadable.count; i++)
		if (!left_out(c, unreadable.items[i], 0))
			add_skip(c, unreadable.items[i], reason_failed);
	argv_release(&paths);
	argv_release(&dirty);
	argv_release(&unreadable);
	return fail->kind;
}

/* ---- the room's front
 * ------------------------------------------------------------------------------------ */

static void begin(struct capture *c, struct repo *repo, struct recall *recall)
{
	*c = (struct capture){.repo = repo, .plumb = PLUMB_INIT};
	c->bag = treebag_new(repo->algo);
	odb_init(&c->odb, repo);
	c->odb.bag = c->bag;
	c->odb.recall = recall;
}

int capture_run(struct repo *repo, const struct capture_options *options, struct capture *out,
		struct fail *fail)
{
	struct oid index_tree;

	begin(out, repo, options->recall);
	oid_zero(repo->algo, &index_tree);
	if (options->native_only && repo->engine != ENGINE_NATIVE)
		return fail_set(fail, FAIL_ENGINE, "%s", repo->engine_reason);
	if (repo->engine == ENGINE_NATIVE && run_native(out, options, fail) == FAIL_ENGINE &&
	    !options->native_only) {
		char reason[sizeof(repo->engine_reason)];

		snprintf(reason, sizeof(reason), "%.*s", (int)sizeof(reason) - 1, fail->message);
		fail_clear(fail);
		if (repo->conf.engine && !strcmp(repo->conf.engine, "native"))
			return fail_set(fail, FAIL_UNSUPPORTED,
					"the native engine cannot be forced here: only git reads "
					"this right (%s)",
					reason);
		capture_release(out);
		repo_use_git(repo, reason);
		begin(out, repo, options->recall);
	}
	if (fail->kind)
		return fail->kind;
	if (repo->engine == ENGINE_GIT)
		run_plumb(out, options, &index_tree, fail);
	else
		native_index_tree(out, &index_tree, fail);
	if (fail->kind == 0)
		judge_submodules(out, options, fail);
	if (fail->kind == 0)
		keep_staged(out, &options->head_tree, &index_tree, fail);
	if (out->skipped_count > 1)
		qsort(out->skipped, out->skipped_count, sizeof(*out->skipped), compare_skips);
	return fail->kind;
}

int capture_rebase(struct capture *capture, const struct oid *on_tree, struct fail *fail)
{
	return tree_edit(&capture->odb, on_tree, capture->grafts, capture->graft_count,
			 capture->bag, &capture->tree, fail);
}

struct packing {
	struct capture *c;
	struct pack *pack;
};

static const struct change *find_change(const struct scan *scan, const char *path,
					const struct oid *oid)
{
	struct change key = {.path = (char *)path};
	const struct change *change = scan->change_count
					      ? bsearch(&key, scan->changes, scan->change_count,
							sizeof(key), compare_changes)
					      : NULL;

	return change && oid_equal(&change->oid, oid) ? change : NULL;
}

static int put(struct packing *p, const struct oid *oid, enum object_type type,
	       const struct bytes *content, struct fail *fail)
{
	uint64_t limit = (uint64_t)p->c->repo->conf.max_snapshot_bytes;

	if (pack_bytes(p->pack) + content->len > limit)
		return fail_set(
			fail, FAIL_UNSUPPORTED,
			"there is more new content than interlock.maxSnapshotBytes (%" PRIu64
			" bytes) allows; nothing was saved",
			limit);
	return pack_add(p->pack, oid, type, content->data, content->len, fail);
}

static int pack_one(void *arg, const struct oid *oid, enum object_type type, const char *path,
		    UNUSED uint32_t mode, struct fail *fail)
{
	struct packing *p = arg;
	const struct change *change;
	struct bytes content = BYTES_INIT;
	int r;

	if (pack_has(p->pack, oid))
		return 0;
	change = type == OBJECT_BLOB ? find_change(&p->c->scan, path, oid) : NULL;
	if (change && change->has_content)
		return put(p, oid, type, &change->content, fail);
	r = change ? scan_reread(p->c->repo, change, &content, fail)
		   : odb_read_type(&p->c->odb, oid, type, &content, fail);
	if (r == 0)
		r = put(p, oid, type, &content, fail);
	if (r == 0 && type == OBJECT_TREE && p->c->odb.recall)
		recall_put(p->c->odb.recall, oid, type, content.data, content.len);
	bytes_release(&content);
	return r;
}

int capture_pack(struct capture *capture, const struct oid *tree, const struct oid *have,
		 size_t have_count, struct pack *pack, struct fail *fail)
{
	struct packing packing = {.c = capture, .pack = pack};

	return tree_missing(&capture->odb, tree, have, have_count, pack_one, &packing, fail);
}

void capture_release(struct capture *capture)
{
	for (size_t i = 0; i < capture->graft_count; i++)
		free(capture->grafts[i].path);
	free(capture->grafts);
	for (size_t i = 0; i < capture->skipped_count; i++)
		free(capture->skipped[i].path);
	free(capture->skipped);
	odb_release(&capture->odb);
	treebag_free(capture->bag);
	scan_release(&capture->scan);
	statcache_free(capture->cache);
	plumb_end(&capture->plumb);
	*capture = (struct capture){.plumb = PLUMB_INIT};
}
