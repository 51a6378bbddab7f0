/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packdraft.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

bool draft_unnamed_possible(void)
{
	return faccessat(AT_FDCWD, "/proc/self/fd", X_OK, 0) == 0;
}

static bool leads_to(int dir, const char *name, int fd)
{
	struct stat named, open_file;

	return fstat(fd, &open_file) == 0 && fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       named.st_dev == open_file.st_dev && named.st_ino == open_file.st_ino;
}

static char *nonce_name(void)
{
	struct bytes name = BYTES_INIT;

	file_nonce_name(DRAFT_PREFIX, &name);
	return bytes_take(&name);
}

static int open_unnamed(int dir)
{
	int fd;

	do
		fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0444);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/*
 * A sweep may lock the file between our open and our flock, and delete it: then
 * the lock is busy or the name is gone, and we take another one.
 */
static int open_named(struct draft *draft, int dir)
{
	for (;;) {
		char *name = nonce_name();
		int fd =
			openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0444);
		int err;

		if (fd < 0) {
			err = errno;
			free(name);
			if (err == EEXIST || err == EINTR)
				continue;
			errno = err;
			return -1;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 && leads_to(dir, name, fd)) {
			draft->name = name;
			return fd;
		}
		err = errno;
		unlinkat(dir, name, 0);
		free(name);
		close(fd);
		/* A file system without flock: nothing could tell a live draft from a dead one. */
		if (err != EWOULDBLOCK && err != EINTR && err != ENOENT) {
			errno = err;
			return -1;
		}
	}
}

int draft_open(struct draft *draft, int dir, bool unnamed, const struct file_modes *modes,
	       struct fail *fail)
{
	/* Read-only for everybody, as git's packs are: only the read bits are shared. */
	const struct file_modes shared = {.extra = modes->extra & 0444};

	*draft = (struct draft)DRAFT_INIT;
	if (unnamed)
		draft->fd = open_unnamed(dir);
	/* Kernels and file systems that do not know O_TMPFILE say one of these. */
	if (!unnamed || (draft->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR ||
					   errno == EINVAL || errno == ENOENT)))
		draft->fd = open_named(draft, dir);
	if (draft->fd < 0)
		return fail_errno(fail, "create a file in the pack directory");
	if (file_share(draft->fd, &shared, false, fail) < 0)
		draft_drop(draft, dir);
	return fail->kind;
}

/* Links an unnamed file in; `name` must be free. */
static int link_in(int fd, int dir, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW);
}

bool draft_link(struct draft *draft, int dir, const char *name)
{
	draft->visible = link_in(draft->fd, dir, name) == 0;
	return draft->visible;
}

/* The name is taken: give the file a name of its own and rename it over. */
static int place_over(struct draft *draft, int dir, const char *name)
{
	if (!draft->name) {
		char *own = nonce_name();

		/* Nobody else has this file open, so the lock is free. */
		if (flock(draft->fd, LOCK_EX | LOCK_NB) < 0 || link_in(draft->fd, dir, own) < 0) {
			free(own);
			return -1;
		}
		draft->name = own;
	}
	return renameat(dir, draft->name, dir, name);
}

/*
 * Some network file systems report a failed write only when a descriptor is
 * closed. Closing a second one asks for that and keeps the flock.
 */
static int flush_by_close(int fd)
{
	int second = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return second < 0 ? -1 : close(second);
}

static int place_named(struct draft *draft, int dir, const char *name)
{
	if (flush_by_close(draft->fd) < 0)
		return -1;
	if (renameat2(dir, draft->name, dir, name, RENAME_NOREPLACE) == 0) {
		draft->visible = true;
		return 0;
	}
	/* Where the flag is not known we cannot tell whether the name was free. */
	if (errno == EEXIST || errno == EINVAL || errno == ENOSYS)
		return renameat(dir, draft->name, dir, name);
	return -1;
}

static int place_unnamed(struct draft *draft, int dir, const char *name)
{
	if (link_in(draft->fd, dir, name) == 0) {
		draft->visible = true;
		return 0;
	}
	return errno == EEXIST ? place_over(draft, dir, name) : -1;
}

int draft_place(struct draft *draft, int dir, const char *name, bool sync, struct fail *fail)
{
	int r;

	if (sync && fsync(draft->fd) < 0)
		return fail_errno(fail, "fsync '%s'", name);
	if (draft->name)
		r = place_named(draft, dir, name);
	else
		r = place_unnamed(draft, dir, name);
	if (r < 0)
		return fail_errno(fail, "create '%s' in the pack directory", name);
	free(draft->name);
	draft->name = NULL;
	return 0;
}

void draft_take_back(struct draft *draft, int dir, const char *name)
{
	if (draft->visible && leads_to(dir, name, draft->fd))
		unlinkat(dir, name, 0);
	draft->visible = false;
}

void draft_drop(struct draft *draft, int dir)
{
	if (draft->name)
		unlinkat(dir, draft->name, 0);
	free(draft->name);
	if (draft->fd >= 0)
		close(draft->fd);
	*draft = (struct draft)DRAFT_INIT;
}

int draft_sweep(int dir, const char *name, struct fail *fail)
{
	int fd = file_open(dir, name, O_RDONLY, NULL, fail);

	if (fd < 0) {
		/* Gone meanwhile, another user's, or no file at all: not ours to delete. */
		if (fd == FAIL_GONE || fd == FAIL_CORRUPT || fail->err == EACCES) {
			fail_clear(fail);
			return 0;
		}
		return fd;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && leads_to(dir, name, fd) &&
	    unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		fail_errno(fail, "delete '%s'", name);
	close(fd);
	return fail->kind;
}
