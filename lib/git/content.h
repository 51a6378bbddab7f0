/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * content: read one path of a work tree that others are writing to.
 *
 *	struct content content = CONTENT_INIT;
 *
 *	switch (content_open(&content, root, path)) {
 *	case CONTENT_FILE:
 *		if (!content_fill(&content))	it changed meanwhile: once more
 *	...
 *	content_release(&content);
 *
 * Nothing outside the work tree is opened, whatever is swapped for a symlink,
 * and no FIFO or device is waited for. What was read is what stood in the file
 * at one time as far as its size and times can tell.
 */
#ifndef CONTENT_H
#define CONTENT_H

#include "bytes.h"
#include "oid.h"

#include <sys/stat.h>

enum content_kind {
	CONTENT_FILE, /* open; `st` is filled */
	CONTENT_LINK, /* the target is in `data` */
	CONTENT_GONE,
	CONTENT_SKIP, /* `reason` says why */
	CONTENT_FAIL, /* the system is out of something: errno */
};

struct content {
	int fd;
	struct stat st;
	struct bytes data;
	const char *reason; /* static */
};

#define CONTENT_INIT \
	{ \
		.fd = -1, .data = BYTES_INIT \
	}

/* Closes what was open before. */
enum content_kind content_open(struct content *content, int root, const char *path);

/* Reads all of a CONTENT_FILE into `data`; false when it changed meanwhile or cannot be read. */
bool content_fill(struct content *content);

/*
 * The id of a CONTENT_FILE as a blob, without having it in memory at once.
 * Under SHA-1 it is libgit2 that reads the file, for its collision detection;
 * where /proc is missing libmd's SHA-1 takes its place. False as content_fill().
 */
bool content_hash(struct content *content, enum hash_algo algo, struct oid *oid);

void content_release(struct content *content);

/* "socket", "fifo", "device"; NULL for what git records, and for directories. */
const char *content_odd_type(mode_t mode);

#endif
