/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "content.h"

#include "beneath.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdio.h>
#include <unistd.h>

#define CHUNK ((size_t)256 * 1024)

const char *content_odd_type(mode_t mode)
{
	if (S_ISFIFO(mode))
		return "fifo";
	if (S_ISSOCK(mode))
		return "socket";
	if (S_ISCHR(mode) || S_ISBLK(mode))
		return "device";
	return NULL;
}

static void close_fd(struct content *content)
{
	if (content->fd >= 0)
		close(content->fd);
	content->fd = -1;
}

void content_release(struct content *content)
{
	close_fd(content);
	bytes_release(&content->data);
}

static enum content_kind skip(struct content *content, const char *reason)
{
	close_fd(content);
	content->reason = reason;
	return CONTENT_SKIP;
}

/* An open that failed for a reason that lies in the path, or in this process. */
static enum content_kind not_opened(struct content *content)
{
	switch (errno) {
	case ENOENT:
	case ENOTDIR:
		return CONTENT_GONE;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return CONTENT_FAIL;
	case ELOOP:
		/* A directory above it is a symlink now. */
		return skip(content, "changing");
	default:
		return skip(content, "unreadable");
	}
}

static enum content_kind read_link(struct content *content)
{
	size_t room = (size_t)content->st.st_size + 1;

	for (;; room *= 2) {
		ssize_t n;

		bytes_clear(&content->data);
		bytes_reserve(&content->data, room);
		n = readlinkat(content->fd, "", content->data.data, room);
		if (n < 0)
			return skip(content, "unreadable");
		if ((size_t)n < room) {
			bytes_truncate(&content->data, (size_t)n);
			close_fd(content);
			return CONTENT_LINK;
		}
	}
}

/* What cannot be opened for reading is looked at without being opened. */
static enum content_kind look(struct content *content, int root, const char *path)
{
	const char *odd;

	content->fd = beneath_open(root, path, O_PATH);
	if (content->fd < 0)
		return not_opened(content);
	if (fstat(content->fd, &content->st) < 0)
		return skip(content, "unreadable");
	if (S_ISLNK(content->st.st_mode))
		return read_link(content);
	odd = content_odd_type(content->st.st_mode);
	return skip(content, odd ? odd : "changing");
}

enum content_kind content_open(struct content *content, int root, const char *path)
{
	const char *odd;

	close_fd(content);
	content->fd = beneath_open(root, path, O_RDONLY);
	if (content->fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == ENODEV
			       ? look(content, root, path)
			       : not_opened(content);
	if (fstat(content->fd, &content->st) < 0)
		return skip(content, "unreadable");
	if (S_ISREG(content->st.st_mode))
		return CONTENT_FILE;
	odd = content_odd_type(content->st.st_mode);
	return skip(content, odd ? odd : "changing");
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Has nobody touched the file since content_open()? */
static bool unchanged(struct content *content)
{
	const struct stat *was = &content->st;
	struct stat now;

	if (fstat(content->fd, &now) < 0 || now.st_size != was->st_size ||
	    !same_time(&now.st_mtim, &was->st_mtim) || !same_time(&now.st_ctim, &was->st_ctim)) {
		content->reason = "changing";
		return false;
	}
	return true;
}

static ssize_t read_retry(int fd, void *buffer, size_t len)
{
	ssize_t n;

	do
		n = read(fd, buffer, len);
	while (n < 0 && errno == EINTR);
	return n;
}

bool content_fill(struct content *content)
{
	size_t size = (size_t)content->st.st_size;
	struct bytes *data = &content->data;

	bytes_clear(data);
	bytes_reserve(data, size + 1);
	/* Asks for one byte more than there should be: so that growth is seen. */
	for (;;) {
		ssize_t n = read_retry(content->fd, data->data + data->len, size + 1 - data->len);

		if (n < 0) {
			content->reason = "unreadable";
			return false;
		}
		if (!n)
			break;
		bytes_truncate(data, data->len + (size_t)n);
		if (data->len > size)
			break;
	}
	content->reason = "changing";
	return data->len == size && unchanged(content);
}

static bool hash_chunks(struct content *content, enum hash_algo algo, struct oid *oid)
{
	uint64_t left = (uint64_t)content->st.st_size;
	struct bytes *data = &content->data;
	struct hasher hasher;

	bytes_clear(data);
	bytes_addf(data, "blob %llu", (unsigned long long)left);
	hasher_init(&hasher, algo);
	hasher_add(&hasher, data->data, data->len + 1);
	bytes_clear(data);
	bytes_reserve(data, CHUNK);
	while (left) {
		ssize_t n = read_retry(content->fd, data->data, size_min(CHUNK, left));

		if (n <= 0) {
			content->reason = n ? "unreadable" : "changing";
			return false;
		}
		hasher_add(&hasher, data->data, (size_t)n);
		left -= (uint64_t)n;
	}
	oid_zero(algo, oid);
	hasher_end(&hasher, oid->raw);
	return true;
}

bool content_hash(struct content *content, enum hash_algo algo, struct oid *oid)
{
	char path[64];
	git_oid id;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", content->fd);
	if (algo == HASH_SHA1 && git_odb_hashfile(&id, path, GIT_OBJECT_BLOB) == 0)
		oid_from_raw(algo, id.id, oid);
	else if (!hash_chunks(content, algo, oid))
		return false;
	return unchanged(content);
}
