/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "guardlook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
#define FD_GUESS 256 /* without /proc: as many descriptors are tried */

/* ---- our own descriptors ----------------------------------------------------------------- */

/* Calls `is` for each descriptor that is no standard stream, until one answers true. */
static bool any_descriptor(bool (*is)(int fd, const struct stat *st, void *arg), void *arg)
{
	DIR *list = opendir("/proc/self/fd");
	struct dirent *entry;
	struct stat st;
	bool found = false;

	for (int fd = 3; !list && !found && fd < FD_GUESS; fd++)
		found = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is(fd, &st, arg);
	while (list && !found && (entry = readdir(list))) {
		int fd = atoi(entry->d_name); /* "." and ".." are 0 */

		found = fd > 2 && fd != dirfd(list) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
			is(fd, &st, arg);
	}
	if (list)
		closedir(list);
	return found;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int guard_look_locked(int dir, const char *name, int operation)
{
	int fd = openat(dir, name, OPEN_FLAGS), locked = -1;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	if (flock(fd, operation | LOCK_NB) == 0)
		locked = 0;
	else if (errno == EWOULDBLOCK)
		locked = 1;
	close(fd); /* and with it the lock, if that was given to us */
	return locked;
}

struct locked_file {
	int dir;
	const char *name;
	struct stat st;
};

/*
 * Somebody holds the file's lock; that our descriptor could take it means that it is the
 * holder's own.
 */
static bool is_holder(int fd, const struct stat *st, void *arg)
{
	const struct locked_file *file = arg;

	return same_file(st, &file->st) && guard_look_locked(file->dir, file->name, LOCK_SH) == 1 &&
	       flock(fd, LOCK_EX | LOCK_NB) == 0;
}

bool guard_look_writer(int common)
{
	int dir = openat(common, "interlock/git", OPEN_FLAGS | O_DIRECTORY);
	DIR *list = dir < 0 ? NULL : fdopendir(dir);
	struct dirent *entry;
	bool found = false;

	while (list && !found && (entry = readdir(list))) {
		struct locked_file file = {.dir = dir, .name = entry->d_name};

		found = entry->d_name[0] != '.' &&
			fstatat(dir, entry->d_name, &file.st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(file.st.st_mode) && any_descriptor(is_holder, &file);
	}
	if (list)
		closedir(list);
	else if (dir >= 0)
		close(dir);
	return found;
}

static bool is_file(UNUSED int fd, const struct stat *st, void *arg)
{
	return same_file(st, arg);
}

bool guard_look_inherited(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && any_descriptor(is_file, &st);
}

/* ---- refs --------------------------------------------------------------------------------- */

/* A name that could lead out of the directory is none that git would give to a hook. */
static bool is_plain(const char *name)
{
	return name[0] != '/' && !strstr(name, "..");
}

enum guard_present guard_look_present(int common, const char *name, const char *value, size_t len)
{
	char text[256];
	int fd = is_plain(name) ? openat(common, name, OPEN_FLAGS) : -1;
	ssize_t n;

	if (fd < 0)
		return PRESENT_UNKNOWN;
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n <= 0 || (size_t)n < len || memcmp(text, value, len) != 0 ||
	    ((size_t)n > len && text[len] != '\n'))
		return PRESENT_UNKNOWN;
	return PRESENT_SAME;
}

enum line_seen {
	LINE_NO_FILE,
	LINE_ABSENT,
	LINE_THERE,
	LINE_FAILED
};

/* Is there a line "<value> SP <name>"? */
static enum line_seen look_for_line(int dir, const char *file, const struct bytes *line)
{
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	enum line_seen seen = LINE_FAILED;
	const char *map, *at;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? LINE_NO_FILE : LINE_FAILED;
	if (fstat(fd, &st) == 0 && st.st_size == 0) {
		seen = LINE_ABSENT;
	} else if (fstat(fd, &st) == 0) {
		size_t size = (size_t)st.st_size;

		map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map != MAP_FAILED) {
			at = memmem(map, size, line->data, line->len);
			while (at && at > map && at[-1] != '\n')
				at = memmem(at + 1, size - (size_t)(at + 1 - map), line->data,
					    line->len);
			seen = at ? LINE_THERE : LINE_ABSENT;
			munmap((void *)map, size);
		}
	}
	close(fd);
	return seen;
}

#define LINKS_MAX 8

/* git writes beside what a symlink leads to. False: it leads nowhere that can be told. */
static bool resolve_packed(int common, struct bytes *path)
{
	char target[PATH_MAX];

	bytes_adds(path, "packed-refs");
	for (int i = 0; i < LINKS_MAX; i++) {
		ssize_t n = readlinkat(common, path->data, target, sizeof(target));
		const char *slash;

		if (n < 0)
			return errno == EINVAL || errno == ENOENT; /* a file, or nothing */
		if (n == sizeof(target))
			return false;
		slash = strrchr(path->data, '/');
		bytes_truncate(path,
			       target[0] == '/' || !slash ? 0 : (size_t)(slash + 1 - path->data));
		bytes_add(path, target, (size_t)n);
	}
	return false;
}

enum guard_copy guard_look_copy(int common, const char *name, const char *value, size_t len)
{
	struct bytes path = BYTES_INIT, line = BYTES_INIT;
	enum guard_copy copy = COPY_UNKNOWN;
	enum line_seen packed, next;

	bytes_add(&line, value, len);
	bytes_addf(&line, " %s\n", name);
	if (resolve_packed(common, &path)) {
		packed = look_for_line(common, path.data, &line);
		bytes_adds(&path, ".new");
		next = packed == LINE_THERE ? look_for_line(common, path.data, &line) : packed;
		if (packed == LINE_ABSENT || packed == LINE_NO_FILE || next == LINE_ABSENT)
			copy = COPY_NONE;
		else if (next == LINE_NO_FILE || next == LINE_THERE)
			copy = COPY_STAYS;
	}
	bytes_release(&path);
	bytes_release(&line);
	return copy;
}

/* ---- gc ---------------------------------------------------------------------------------------
 */

/* Birth stages are flocked by who makes them; a free one is a dead one's (birth.h). */
static void look_for_births(int common, struct guard_gc *gc)
{
	int dir = openat(common, "interlock", OPEN_FLAGS | O_DIRECTORY);
	DIR *list = dir < 0 ? NULL : fdopendir(dir);
	struct dirent *entry;

	while (list && !gc->birth && (entry = readdir(list)))
		if (!strncmp(entry->d_name, "birth-", 6))
			gc->birth = guard_look_locked(dir, entry->d_name, LOCK_SH) == 1;
	if (list)
		closedir(list);
	else if (dir >= 0)
		close(dir);
}

void guard_look_gc(int common, struct guard_gc *gc)
{
	/* Savers share that lock, so only asking for it alone tells of them; it is given back
	   at once, and whoever wants it meanwhile waits in the kernel. */
	int saving = guard_look_locked(common, "interlock/locks/objects", LOCK_EX);

	gc->saving = saving == 1;
	gc->unjudged = saving < 0;
	gc->birth = false;
	look_for_births(common, gc);
}
