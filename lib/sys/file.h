/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * file: opening, reading and replacing files, relative to a directory descriptor.
 *
 * Every open here is O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK and insists on a
 * regular file, so that a symlink, FIFO or device planted under one of our
 * names is refused (FAIL_CORRUPT) instead of followed, waited on or written to.
 * EINTR is retried. `dir` may be AT_FDCWD.
 */
#ifndef FILE_H
#define FILE_H

#include "bytes.h"
#include "fail.h"

#include <sys/stat.h>

/*
 * Modes of what we create. core.sharedRepository widens them; the umask always
 * applies to the rest. See file_modes_shared().
 */
struct file_modes {
	mode_t file;  /* 0666 before the umask */
	mode_t dir;   /* 0777 before the umask */
	mode_t extra; /* bits that are added afterwards with fchmod; 0 when not shared */
};

#define FILE_MODES_PRIVATE \
	{ \
		.file = 0666, .dir = 0777, .extra = 0 \
	}

/* Opens a regular file; returns the descriptor, FAIL_GONE on ENOENT, or another kind. */
int file_open(int dir, const char *name, int flags, const struct file_modes *modes,
	      struct fail *fail);

/* Opens a directory (not through a symlink in its last component). */
int file_open_dir(int dir, const char *name, struct fail *fail);

/* mkdir -p below `dir`; existing directories are fine, anything else is not. */
int file_make_dirs(int dir, const char *path, const struct file_modes *modes, struct fail *fail);

/* Appends the whole content; more than `limit` bytes is FAIL_CORRUPT. FAIL_GONE on ENOENT. */
int file_read(int dir, const char *name, size_t limit, struct bytes *out, struct fail *fail);

/* Reads everything from `fd` up to its end. */
int file_read_fd(int fd, const char *label, size_t limit, struct bytes *out, struct fail *fail);

/* The same, when it was looked at already. */
int file_read_stat(int fd, const struct stat *st, const char *label, size_t limit,
		   struct bytes *out, struct fail *fail);

/* Writes all of it. `label` names the file in a message. */
int file_write_fd(int fd, const char *label, const void *data, size_t len, struct fail *fail);

/* Copies everything from one open file to another. */
int file_copy_fd(int from, int to, const char *label, struct fail *fail);

/*
 * Replaces `name` in whole: writes a temporary sibling, fsyncs it when `sync`
 * is set, renames it, fsyncs the directory when `sync`. A reader sees the old
 * file or the new one. A kill leaves at most "<name>.tmp-<nonce>", which
 * means nothing and harms nobody.
 */
int file_replace(int dir, const char *name, const void *data, size_t len,
		 const struct file_modes *modes, bool sync, struct fail *fail);

/*
 * Writes into the file that is there, which costs no new inode: for what a reader can
 * tell whole from half. Bytes of a longer content before may stay behind it. A file
 * that has other names is not written to, but replaced.
 */
int file_overwrite(int dir, const char *name, const void *data, size_t len,
		   const struct file_modes *modes, bool sync, struct fail *fail);

/* Applies modes->extra to an open file or directory; 0 when there is nothing to add. */
int file_share(int fd, const struct file_modes *modes, bool is_dir, struct fail *fail);

/* Appends the names in an open directory, each with a NUL behind it; without "." and "..". */
int file_each_name(int dir, struct bytes *names, struct fail *fail);

int file_sync_dir(int dir, const char *name, struct fail *fail);

/* A name that no other process uses: "<prefix><16 hex digits>". */
void file_nonce_name(const char *prefix, struct bytes *out);

#endif
