/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "plumbrun.h"

#include "file.h"
#include "index.h"
#include "repo.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- copies --------------------------------------------------------------------------- */

/* From one open descriptor: a rename cannot tear it. */
int plumb_copy_index(struct plumb *plumb, const char *source, const char *name, struct fail *fail)
{
	char *target = mem_printf("%s/%s", plumb->dir, name);
	int from = file_open(AT_FDCWD, source, O_RDONLY, NULL, fail);
	int to = -1;
	struct stat st;

	if (from == FAIL_GONE) {
		fail_clear(fail);
	} else if (from >= 0) {
		to = file_open(AT_FDCWD, target, O_WRONLY | O_CREAT | O_EXCL, &plumb->repo->modes,
			       fail);
		if (to >= 0 && file_copy_fd(from, to, source, fail) == 0) {
			struct timespec times[2];

			if (fstat(from, &st) < 0)
				fail_errno(fail, "stat '%s'", source);
			times[0] = st.st_atim;
			times[1] = st.st_mtim;
			if (fail->kind == 0 && futimens(to, times) < 0)
				fail_errno(fail, "set the time of '%s'", target);
		}
	}
	if (from >= 0)
		close(from);
	if (to >= 0 && close(to) < 0)
		fail_errno(fail, "close '%s'", target);
	free(target);
	return fail->kind;
}

int plumb_index_is_empty(struct plumb *plumb, bool *empty, struct fail *fail)
{
	char header[16];
	char *path = mem_printf("%s/index", plumb->dir);
	int fd = file_open(AT_FDCWD, path, O_RDONLY, NULL, fail);

	*empty = true;
	if (fd == FAIL_GONE)
		fail_clear(fail);
	if (fd >= 0) {
		/* "DIRC", version, number of entries. A split index has them in its base. */
		ssize_t n = read(fd, header, sizeof(header));

		if (n >= 12 && !memcmp(header, "DIRC", 4))
			*empty = !memcmp(header + 8, "\0\0\0\0", 4) &&
				 (n < 16 || memcmp(header + 12, "link", 4) != 0);
		close(fd);
	}
	free(path);
	return fail->kind;
}

/* ---- changing it --------------------------------------------------------------------- */

/*
 * git writes an index with the time of the writing, and so loses sight of entries
 * that are as old as the user's index: what was decided about them is decided
 * once, by the attributes of that moment. With its old time they stay racy.
 */
static int keep_time(struct plumb *plumb, const struct stat *st, struct fail *fail)
{
	char *path = mem_printf("%s/index", plumb->dir);
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (utimensat(AT_FDCWD, path, times, 0) < 0)
		fail_errno(fail, "set the time of '%s'", path);
	free(path);
	return fail->kind;
}

/* False when there is none. */
static bool stat_index(struct plumb *plumb, struct stat *st)
{
	char *path = mem_printf("%s/index", plumb->dir);
	bool exists = stat(path, st) == 0;

	free(path);
	return exists;
}

/* `git update-index --index-info` on lines with a NUL behind each. */
static int update(struct plumb *plumb, const struct bytes *lines, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	plumb_prepare(plumb, &cmd);
	repo_git_at_top(plumb->repo, &cmd);
	argv_push_all(&cmd.argv, "update-index", "-z", "--index-info", NULL);
	cmd.input = lines->data;
	cmd.input_len = lines->len;
	spawn_capture(&cmd, &out, fail);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

int plumb_fill_last(struct plumb *plumb, const struct bytes *lines, struct fail *fail)
{
	plumb_use_index(plumb, "last");
	update(plumb, lines, fail);
	plumb_use_index(plumb, "index");
	return fail->kind;
}

int plumb_drop_unmerged(struct plumb *plumb, struct fail *fail)
{
	struct bytes out = BYTES_INIT, lines = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid zero;

	oid_zero(plumb->repo->algo, &zero);
	oid_hex(&zero, hex);
	plumb_run(plumb, &out, fail, "ls-files", "--unmerged", "-z", "--full-name", "--", ":/",
		  NULL);
	/* Mode, id and stage, a tab, the path. */
	for (char *p = out.data; p < out.data + out.len; p += strlen(p) + 1) {
		const char *tab = strchr(p, '\t');

		if (tab) {
			bytes_addf(&lines, "0 %s", hex);
			bytes_add(&lines, tab, strlen(tab) + 1);
		}
	}
	if (fail->kind == 0 && lines.len)
		update(plumb, &lines, fail);
	bytes_release(&out);
	bytes_release(&lines);
	return fail->kind;
}

/* ---- attributes ----------------------------------------------------------------------- */

static const char attribute_files[] = ":(top,glob)**/.gitattributes";

/* Is what the index has as .gitattributes a file that git reads in the work tree? */
static bool all_there(struct plumb *plumb, const struct argv *names)
{
	bool all = true;

	for (size_t i = 0; i < names->count && all; i++) {
		char *path = mem_printf("%s/%s", plumb->repo->work_tree, names->items[i]);
		struct stat st;

		all = lstat(path, &st) == 0 && S_ISREG(st.st_mode);
		free(path);
	}
	return all;
}

int plumb_add_attributes(struct plumb *plumb, struct fail *fail)
{
	const char *const specs[] = {attribute_files};
	struct argv names = ARGV_INIT;
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	struct stat st;

	if (!stat_index(plumb, &st) || plumb_names(plumb, specs, 1, &names, fail) < 0 ||
	    all_there(plumb, &names))
		goto done;
	plumb_prepare(plumb, &cmd);
	argv_push_all(&cmd.argv, "add", "-u", "--ignore-errors", NULL);
	if (plumb->repo->sparse)
		argv_push(&cmd.argv, "--sparse");
	argv_push_all(&cmd.argv, "--", attribute_files, NULL);
	/* What cannot be added here is met again, and told, when it is itself asked for. */
	if (spawn_capture_any(&cmd, &out, fail) == 0)
		keep_time(plumb, &st, fail);
done:
	argv_release(&names);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* ---- what stat data do not tell ---------------------------------------------------------- */

/*
 * The private index as we can read it: git writes a split or sparse one out in
 * full. FAIL_ENGINE when it is beyond us even so.
 */
static int open_index(struct plumb *plumb, struct index *index, struct fail *fail)
{
	char *own = mem_printf("%s/index", plumb->dir);
	char *plain = mem_printf("%s/plain", plumb->dir);
	struct bytes out = BYTES_INIT;

	if (index_open(index, own, plumb->repo->algo, fail) == FAIL_ENGINE) {
		struct timespec mtime = index->mtime;

		fail_clear(fail);
		index_close(index);
		if (plumb_copy_index(plumb, own, "plain", fail) == 0) {
			plumb_use_index(plumb, "plain");
			plumb_run(plumb, &out, fail, "-c", "index.sparse=false", "update-index",
				  "--force-write-index", NULL);
			plumb_use_index(plumb, "index");
		}
		if (fail->kind == 0 && index_open(index, plain, plumb->repo->algo, fail) == 0)
			index->mtime = mtime;
	}
	bytes_release(&out);
	free(own);
	free(plain);
	return fail->kind;
}

/* Entries that git would believe, and we not. */
struct doubt {
	struct plumb *plumb;
	struct index index;
	int top;
	struct bytes lines; /* for update() */
};

static void doubt_entry(struct doubt *d, const struct index_entry *entry)
{
	const struct gitconf *conf = &d->plumb->repo->conf;
	char hex[OID_HEX_MAX + 1];
	struct stat st;
	struct oid oid;

	/*
	 * Those that git does not compare, and those that it compares by content. (In a
	 * sparse checkout it compares what is there although it should not be.)
	 */
	if (entry->stage || entry->assume_valid ||
	    (entry->skip_worktree && !d->plumb->repo->sparse) || entry->intent_to_add ||
	    entry->mode == 0160000 || index_entry_racy(&d->index, entry))
		return;
	if (fstatat(d->top, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !index_entry_as_old(entry, &st) ||
	    index_entry_fresh(&d->index, entry, &st, conf->trust_ctime, conf->check_stat_minimal))
		return;
	oid_from_raw(d->index.algo, entry->oid, &oid);
	bytes_addf(&d->lines, "%o %s\t", entry->mode, oid_hex(&oid, hex));
	bytes_add(&d->lines, entry->name, entry->name_len + 1);
}

static void doubt_below(struct doubt *d, const char *path)
{
	const struct index *index = &d->index;
	size_t len = strlen(path);
	uint32_t i = index_lower_bound(index, path, len), end;
	char *prefix = mem_printf("%s/", path);

	for (; i < index->count && index->entries[i].name_len == len &&
	       !memcmp(index->entries[i].name, path, len);
	     i++)
		doubt_entry(d, &index->entries[i]);
	i = index_lower_bound(index, prefix, len + 1);
	end = index_prefix_end(index, i, index->count, prefix, len + 1);
	for (; i < end; i++)
		doubt_entry(d, &index->entries[i]);
	free(prefix);
}

int plumb_doubt(struct plumb *plumb, const struct argv *paths, struct fail *fail)
{
	struct doubt d = {.plumb = plumb, .top = -1, .lines = BYTES_INIT};
	struct stat st;

	if (!stat_index(plumb, &st))
		return 0;
	if (open_index(plumb, &d.index, fail) == 0) {
		d.top = file_open_dir(AT_FDCWD, plumb->repo->work_tree, fail);
		for (size_t i = 0; d.top >= 0 && paths && i < paths->count; i++)
			doubt_below(&d, paths->items[i]);
		for (uint32_t i = 0; d.top >= 0 && !paths && i < d.index.count; i++)
			doubt_entry(&d, &d.index.entries[i]);
	} else if (fail->kind == FAIL_ENGINE) {
		/* All entries are racy to git when the index is older than they: slow, never stale.
		 */
		fail_clear(fail);
		st.st_mtim = (struct timespec){.tv_sec = 1};
		keep_time(plumb, &st, fail);
	} else if (fail->kind == FAIL_CORRUPT) {
		fail_clear(fail); /* git says it in its own words */
	}
	/* An entry without stat data is read. */
	if (fail->kind == 0 && d.lines.len && update(plumb, &d.lines, fail) == 0)
		keep_time(plumb, &st, fail);
	if (d.top >= 0)
		close(d.top);
	index_close(&d.index);
	bytes_release(&d.lines);
	return fail->kind;
}
