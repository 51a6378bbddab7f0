/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALWAYS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

/* O_PATH tolerates only a few other flags; openat2(2) is strict about it. */
static int with_always(int flags)
{
	if (flags & O_PATH)
		return flags | O_CLOEXEC | O_NOFOLLOW;
	return flags | ALWAYS;
}

static int open_retry(int dir, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir, name, flags);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* O_DIRECTORY says ENOTDIR for a symlink too: say which it is. */
static int open_step(int dir, const char *name, int flags)
{
	int fd = open_retry(dir, name, flags);
	int err = errno;
	char target[1];

	if (fd < 0 && err == ENOTDIR && readlinkat(dir, name, target, sizeof(target)) >= 0)
		err = ELOOP;
	errno = err;
	return fd;
}

/* Copies the next component to `name`; returns what follows it, or NULL with errno. */
static const char *next_name(const char *path, char name[static NAME_MAX + 1])
{
	size_t n = strcspn(path, "/");

	errno = 0;
	if (!n)
		errno = EINVAL;
	else if (n == 2 && path[0] == '.' && path[1] == '.')
		errno = EXDEV;
	else if (n > NAME_MAX)
		errno = ENAMETOOLONG;
	if (errno)
		return NULL;
	memcpy(name, path, n);
	name[n] = '\0';
	return path + n;
}

int beneath_open_steps(int root, const char *path, int flags)
{
	char name[NAME_MAX + 1];
	int at = root;

	if (!*path)
		return open_retry(root, ".", with_always(flags));
	while ((path = next_name(path, name))) {
		bool last = !*path;
		int fd = open_step(at, name,
				   last ? with_always(flags)
					: O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int err = errno;

		if (at != root)
			close(at);
		errno = err;
		if (last || fd < 0)
			return fd;
		at = fd;
		path++;
	}
	if (at != root) {
		int err = errno;

		close(at);
		errno = err;
	}
	return -1;
}

static int open_at_once(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)with_always(flags),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return (int)fd;
}

/* Does a symlink stand at the path itself? */
static bool is_symlink(int root, const char *path)
{
	int fd = open_at_once(root, path, O_PATH);
	struct stat st;
	bool yes;

	if (fd < 0)
		return false;
	yes = fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
	close(fd);
	return yes;
}

int beneath_open(int root, const char *path, int flags)
{
	int fd = open_at_once(root, path, flags);

	/* EPERM: what some sandboxes say to calls that they do not know. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return beneath_open_steps(root, path, flags);
	if (fd < 0 && errno == ENOTDIR && (flags & O_DIRECTORY))
		errno = is_symlink(root, path) ? ELOOP : ENOTDIR;
	return fd;
}
