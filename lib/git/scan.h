/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * scan: what the working tree holds that the index does not say.
 *
 * One parallel pass: read each directory once, match its names against the
 * index's entries (already sorted), compare lstat() with the cached stat data,
 * ask for ignore rules only where a name is not in the index, hash only what
 * differs. The result is the list of paths whose tree entry differs from the
 * index's stage-0 entry, exactly as `git add -A` would leave them.
 *
 * The scan reads and never writes: not the index, not the object database. A
 * file that is read is opened below the work tree without following any
 * symlink, and read between two fstat()s that must agree.
 *
 * When it meets something that only git gets right it stops with FAIL_ENGINE
 * and the row's name as message; the caller moves the repository to the git
 * engine. The rows: split index, sparse index, unknown index extension 'xxxx',
 * index version N, skip-worktree entries, assume-unchanged entries (only where
 * another path has taken their place), submodule, nested repository, filter
 * attribute, working-tree-encoding attribute, gitattributes symlink, missing
 * gitattributes, unusual gitattributes, unusual name, and what ignore_doubt() says.
 *
 * The rooms: walk (directories), walkname (one name), walkpath (named paths),
 * content (reading), convert (line ends, $Id$), attributes, pathcheck.
 */
#ifndef SCAN_H
#define SCAN_H

#include "argv.h"
#include "bytes.h"
#include "fail.h"
#include "index.h"
#include "oid.h"

struct repo;
struct statcache;

/* A path whose entry is not what the index has at stage 0. */
struct change {
	char *path;	/* bytes, relative to the work tree, '/' between components */
	uint32_t mode;	/* 0100644, 0100755, 0120000, 0160000; 0 when it is gone */
	struct oid oid; /* blob id after conversion to the repository's form; unset when gone */
	uint64_t size;	/* bytes of the converted content */
	struct bytes
		content; /* the converted content when it was small enough to keep, else empty */
	bool has_content;
};

/* A path (or directory) that could not be recorded, and why (CONTRACT: Completeness). */
struct skipped {
	char *path;
	const char *reason; /* static: "unreadable", "changing", "too large", "socket", "fifo",
			       "device"; "ignored" for a named path only */
};

struct scan {
	struct index index;
	struct change *changes; /* sorted by path, bytewise; each path once */
	size_t change_count, change_cap;
	struct skipped *skipped; /* sorted by path */
	size_t skipped_count, skipped_cap;
	struct argv unmatched; /* named paths that are neither on disk nor in the index */
	uint64_t files_seen;
	uint64_t files_hashed;
};

struct scan_options {
	/*
	 * Literal paths of files or directories below the work tree, without a slash
	 * behind them; NULL: everything. A path through a symlink, or one that leads
	 * out, is FAIL_UNSUPPORTED.
	 */
	const char *const *paths;
	size_t path_count;
	uint64_t max_file_size;	 /* larger new content is skipped as "too large"; 0: no limit */
	uint64_t keep_bytes;	 /* total of contents that may stay in memory */
	struct statcache *cache; /* may be NULL */
	void (*progress)(void *arg,
			 uint64_t seen); /* may be NULL; called from one thread at a time */
	void *progress_arg;
};

/* Runs the scan. Release with scan_release(), also after a failure. */
int scan_run(struct repo *repo, const struct scan_options *options, struct scan *out,
	     struct fail *fail);
void scan_release(struct scan *scan);

/*
 * Reads a changed path once more, converted, into `out`, and checks that it
 * still has change->oid. FAIL_NO when it changed or vanished meanwhile (the
 * caller scans that path again); other kinds when it cannot be read.
 */
int scan_reread(struct repo *repo, const struct change *change, struct bytes *out,
		struct fail *fail);

#endif
