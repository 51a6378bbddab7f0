/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "plumbrun.h"

#include "file.h"
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
	plumb_at_top(plumb, &cmd);
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
