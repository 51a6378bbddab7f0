/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "erase.h"

#include "bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Directories below each other that we hold open; what is deeper is moved up first. */
#define MAX_DEPTH 100

struct eraser {
	int top;	/* where deep directories are moved to */
	unsigned moved; /* how many were */
	struct fail *fail;
};

/* The types are kept, so that no directory is tried as a file first. */
static int list(int dir, struct bytes *entries, struct fail *fail)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!stream) {
		fail_errno(fail, "list a directory");
		if (fd >= 0)
			close(fd);
		return fail->kind;
	}
	while (errno = 0, (entry = readdir(stream))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		bytes_addc(entries, entry->d_type == DT_DIR ? 'd' : '-');
		bytes_add(entries, entry->d_name, strlen(entry->d_name) + 1);
	}
	if (errno)
		fail_errno(fail, "list a directory");
	closedir(stream);
	return fail->kind;
}

static bool same_device(int dir, int fd)
{
	struct stat a, b;

	return fstat(dir, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev;
}

/* Not through a symlink, and not into something that is mounted there. */
static int open_inner(int dir, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));

	if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
		return fd;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && !same_device(dir, fd)) {
		close(fd);
		errno = EXDEV;
		return -1;
	}
	return fd;
}

/* Gives its owner what is needed to empty it; true when that may have helped. */
static bool make_writable(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IRWXU) != S_IRWXU &&
	       fchmod(fd, (st.st_mode & 07777) | S_IRWXU) == 0;
}

/* The same for one that cannot even be opened: by its descriptor, never by its name. */
static int open_by_force(int dir, const char *name)
{
	int fd = open_inner(dir, name), pinned;
	struct stat st;
	char path[64];
	bool helped;

	if (fd >= 0 || errno != EACCES)
		return fd;
	pinned = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (pinned < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", pinned);
	helped = fstat(pinned, &st) == 0 && chmod(path, (st.st_mode & 07777) | S_IRWXU) == 0;
	close(pinned);
	if (helped)
		return open_inner(dir, name);
	errno = EACCES;
	return -1;
}

static void failed(struct eraser *e, const char *name)
{
	if (errno != ENOENT)
		fail_errno(e->fail, "remove '%s'", name);
}

static bool unlink_in(int dir, const char *name, int flags)
{
	if (unlinkat(dir, name, flags) == 0)
		return true;
	return errno == EACCES && make_writable(dir) && unlinkat(dir, name, flags) == 0;
}

static void erase_dir(struct eraser *e, int dir, const char *name, int depth);

static void erase_entries(struct eraser *e, int dir, const char *keep, int depth)
{
	struct bytes entries = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	const char *p;

	if (list(dir, &entries, &fail) < 0)
		fail_set(e->fail, fail.kind, "%s", fail.message);
	for (p = entries.data; p < entries.data + entries.len; p += strlen(p) + 1) {
		const char *name = p + 1;

		if (keep && !strcmp(name, keep))
			continue;
		if (*p == 'd')
			erase_dir(e, dir, name, depth);
		else if (unlink_in(dir, name, 0))
			continue;
		else if (errno == EISDIR || errno == EPERM)
			erase_dir(e, dir, name, depth);
		else
			failed(e, name);
	}
	bytes_release(&entries);
}

/* Too deep to go down: it waits at the top for its turn. */
static void move_up(struct eraser *e, int dir, const char *name)
{
	char to[64];

	do
		snprintf(to, sizeof(to), "interlock-erase-%u", e->moved++);
	while (renameat2(dir, name, e->top, to, RENAME_NOREPLACE) < 0 && errno == EEXIST);
}

static void erase_dir(struct eraser *e, int dir, const char *name, int depth)
{
	int fd;

	if (depth == MAX_DEPTH)
		move_up(e, dir, name);
	fd = open_by_force(dir, name);
	if (fd < 0) {
		failed(e, name);
		return;
	}
	make_writable(fd);
	erase_entries(e, fd, NULL, depth + 1);
	close(fd);
	if (!unlink_in(dir, name, AT_REMOVEDIR))
		failed(e, name);
}

int erase_inside(int dir, const char *keep, struct fail *fail)
{
	struct eraser e = {.top = dir, .fail = fail};
	unsigned before;

	do {
		before = e.moved;
		erase_entries(&e, dir, keep, 0);
	} while (e.moved != before);
	return fail->kind;
}

int erase_tree(int dir, const char *name, struct fail *fail)
{
	int fd = open_by_force(dir, name);

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP)) {
		if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
			return 0;
		return fail_errno(fail, "remove '%s'", name);
	}
	if (fd < 0)
		return errno == ENOENT ? 0 : fail_errno(fail, "remove '%s'", name);
	make_writable(fd);
	erase_inside(fd, NULL, fail);
	close(fd);
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		fail_errno(fail, "remove '%s'", name);
	return fail->kind;
}
