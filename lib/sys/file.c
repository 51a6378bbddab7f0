/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "file.h"

#include <bsd/stdlib.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_retry(int dir, const char *name, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* What stands at `name`, for a message about something that is not a regular file. */
static int refuse_type(const char *name, struct fail *fail)
{
	return fail_set(fail, FAIL_CORRUPT,
			"'%s' is not a regular file; remove what stands there and try again", name);
}

static int open_regular(int dir, const char *name, int flags, const struct file_modes *modes,
			struct stat *st, struct fail *fail)
{
	int fd = open_retry(dir, name, flags, modes ? modes->file : 0666);

	if (fd < 0) {
		if (errno == ENOENT)
			return fail_set(fail, FAIL_GONE, "open '%s': %s", name, strerror(errno));
		/* A symlink says ELOOP, a directory EISDIR, a FIFO or socket without peer ENXIO. */
		if (errno == ELOOP || errno == EISDIR || errno == ENXIO)
			return refuse_type(name, fail);
		return fail_errno(fail, "open '%s'", name);
	}
	if (fstat(fd, st) < 0) {
		fail_errno(fail, "stat '%s'", name);
		close(fd);
		return fail->kind;
	}
	if (!S_ISREG(st->st_mode)) {
		close(fd);
		return refuse_type(name, fail);
	}
	if ((flags & O_CREAT) && modes && st->st_size == 0 &&
	    file_share(fd, modes, false, fail) < 0) {
		close(fd);
		return fail->kind;
	}
	return fd;
}

int file_open(int dir, const char *name, int flags, const struct file_modes *modes,
	      struct fail *fail)
{
	struct stat st;

	return open_regular(dir, name, flags, modes, &st, fail);
}

int file_open_dir(int dir, const char *name, struct fail *fail)
{
	int fd = open_retry(dir, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return fail_set(fail, FAIL_GONE, "open directory '%s': %s", name, strerror(errno));
	if (errno == ELOOP || errno == ENOTDIR)
		return fail_set(fail, FAIL_CORRUPT, "'%s' is not a directory", name);
	return fail_errno(fail, "open directory '%s'", name);
}

/* One mkdir; a directory that is there already is fine. */
static int make_dir(int dir, const char *path, const struct file_modes *modes, struct fail *fail)
{
	struct stat st;
	int fd, r;

	if (mkdirat(dir, path, modes->dir) == 0) {
		if (!modes->extra)
			return 0;
		fd = file_open_dir(dir, path, fail);
		if (fd < 0)
			return fd;
		r = file_share(fd, modes, true, fail);
		close(fd);
		return r;
	}
	if (errno != EEXIST)
		return fail_errno(fail, "create directory '%s'", path);
	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(fail, "stat '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return fail_set(fail, FAIL_CORRUPT, "'%s' is not a directory", path);
	return 0;
}

/* One directory after the other. */
static int make_each(int dir, const char *path, const struct file_modes *modes, struct fail *fail)
{
	struct bytes part = BYTES_INIT;
	const char *p = path;
	int r = 0;

	while (r == 0 && *p) {
		p += strspn(p, "/");
		p += strcspn(p, "/");
		bytes_clear(&part);
		bytes_add(&part, path, (size_t)(p - path));
		r = make_dir(dir, part.data, modes, fail);
	}
	bytes_release(&part);
	return r;
}

#define REMOVED_UNDER_US 10 /* git pack-refs prunes the empty directories of refs */

int file_make_dirs(int dir, const char *path, const struct file_modes *modes, struct fail *fail)
{
	/* The common case is one call: it is there, or only the last part is missing. */
	int r = make_dir(dir, path, modes, fail);

	for (int tries = 0; r < 0 && fail->err == ENOENT && tries < REMOVED_UNDER_US; tries++) {
		fail_clear(fail);
		r = make_each(dir, path, modes, fail);
	}
	return r;
}

int file_share(int fd, const struct file_modes *modes, bool is_dir, struct fail *fail)
{
	struct stat st;
	mode_t want;

	if (!modes->extra)
		return 0;
	if (fstat(fd, &st) < 0)
		return fail_errno(fail, "stat a new file");
	want = (st.st_mode & 07777) | modes->extra;
	/* A bit is shared only with who could use it at all: git's own rule. */
	if (!(st.st_mode & S_IWUSR))
		want &= ~(mode_t)0222;
	if (is_dir)
		want |= (want & 0444) >> 2 | S_ISGID;
	if (want != (st.st_mode & 07777) && fchmod(fd, want) < 0)
		return fail_errno(fail, "share a new file with the group");
	return 0;
}

int file_read_stat(int fd, const struct stat *st, const char *label, size_t limit,
		   struct bytes *out, struct fail *fail)
{
	size_t size = S_ISREG(st->st_mode) ? (size_t)st->st_size : 0;
	size_t start = out->len;
	size_t step = size ? size_min(size + 1, limit + 1) : 4096;

	for (;;) {
		size_t room;
		ssize_t n;

		bytes_reserve(out, step);
		room = out->cap - out->len - 1;
		n = read(fd, out->data + out->len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(fail, "read '%s'", label);
		if (n == 0)
			break;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len - start > limit)
			return fail_set(fail, FAIL_CORRUPT, "'%s' is larger than %zu bytes", label,
					limit);
		/* There was room for more than its size, and no more came: that is its end. */
		if ((size_t)n < room && out->len - start == size)
			break;
		step = size_max(4096, step / 2);
	}
	return 0;
}

int file_read_fd(int fd, const char *label, size_t limit, struct bytes *out, struct fail *fail)
{
	struct stat st = {0};

	if (fstat(fd, &st) < 0)
		return fail_errno(fail, "stat '%s'", label);
	return file_read_stat(fd, &st, label, limit, out, fail);
}

int file_read(int dir, const char *name, size_t limit, struct bytes *out, struct fail *fail)
{
	struct stat st;
	int fd = open_regular(dir, name, O_RDONLY, NULL, &st, fail);
	int r;

	if (fd < 0)
		return fd;
	r = file_read_stat(fd, &st, name, limit, out, fail);
	close(fd);
	return r;
}

int file_write_fd(int fd, const char *label, const void *data, size_t len, struct fail *fail)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(fail, "write '%s'", label);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_copy_fd(int from, int to, const char *label, struct fail *fail)
{
	char buffer[65536];
	ssize_t n;

	while ((n = read(from, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(fail, "read '%s'", label);
		if (file_write_fd(to, label, buffer, (size_t)n, fail) < 0)
			return fail->kind;
	}
	return 0;
}

void file_nonce_name(const char *prefix, struct bytes *out)
{
	uint32_t high = arc4random();

	bytes_addf(out, "%s%08x%08x", prefix, high, arc4random());
}

static int write_temporary(int dir, const char *name, const void *data, size_t len,
			   const struct file_modes *modes, bool sync, struct fail *fail)
{
	int fd = file_open(dir, name, O_WRONLY | O_CREAT | O_EXCL, modes, fail);
	int r;

	if (fd < 0)
		return fd;
	r = file_write_fd(fd, name, data, len, fail);
	if (r == 0 && sync && fsync(fd) < 0)
		r = fail_errno(fail, "fsync '%s'", name);
	if (close(fd) < 0 && r == 0)
		r = fail_errno(fail, "close '%s'", name);
	return r;
}

int file_replace(int dir, const char *name, const void *data, size_t len,
		 const struct file_modes *modes, bool sync, struct fail *fail)
{
	struct bytes temporary = BYTES_INIT;
	int r;

	bytes_adds(&temporary, name);
	file_nonce_name(".tmp-", &temporary);
	r = write_temporary(dir, temporary.data, data, len, modes, sync, fail);
	if (r == 0 && renameat(dir, temporary.data, dir, name) < 0)
		r = fail_errno(fail, "rename '%s' to '%s'", temporary.data, name);
	if (r < 0)
		unlinkat(dir, temporary.data, 0);
	else if (sync && fsync(dir) < 0)
		r = fail_errno(fail, "fsync the directory of '%s'", name);
	bytes_release(&temporary);
	return r;
}

#define OVERWRITE_SLACK ((off_t)64 << 10) /* bytes that may stay behind the content */

static int overwrite(int fd, const char *name, const void *data, size_t len, off_t size, bool sync,
		     struct fail *fail)
{
	if (file_write_fd(fd, name, data, len, fail) < 0)
		return fail->kind;
	if (size - (off_t)len > OVERWRITE_SLACK && ftruncate(fd, (off_t)len) < 0)
		return fail_errno(fail, "truncate '%s'", name);
	if (sync && fdatasync(fd) < 0)
		return fail_errno(fail, "fsync '%s'", name);
	return 0;
}

int file_overwrite(int dir, const char *name, const void *data, size_t len,
		   const struct file_modes *modes, bool sync, struct fail *fail)
{
	struct stat st = {0};
	int fd = open_regular(dir, name, O_WRONLY, NULL, &st, fail);

	if (fd < 0 && fd != FAIL_GONE)
		return fd;
	if (st.st_nlink != 1) {
		if (fd >= 0)
			close(fd);
		fail_clear(fail);
		return file_replace(dir, name, data, len, modes, sync, fail);
	}
	overwrite(fd, name, data, len, st.st_size, sync, fail);
	if (close(fd) < 0 && fail->kind == 0)
		fail_errno(fail, "close '%s'", name);
	return fail->kind;
}

int file_each_name(int dir, struct bytes *names, struct fail *fail)
{
	int fd = open_retry(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!stream) {
		fail_errno(fail, "list a directory");
		if (fd >= 0)
			close(fd);
		return fail->kind;
	}
	while (errno = 0, (entry = readdir(stream)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			bytes_add(names, entry->d_name, strlen(entry->d_name) + 1);
	if (errno)
		fail_errno(fail, "list a directory");
	closedir(stream);
	return fail->kind;
}

int file_sync_dir(int dir, const char *name, struct fail *fail)
{
	int fd = file_open_dir(dir, name, fail);
	int r = 0;

	if (fd < 0)
		return fd;
	if (fsync(fd) < 0)
		r = fail_errno(fail, "fsync directory '%s'", name);
	close(fd);
	return r;
}
