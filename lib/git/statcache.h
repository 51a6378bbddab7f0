/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * statcache: what we hashed last time, so that a dirty file is not read again.
 *
 * The user's index is never written, so a path that differs from it (modified
 * or untracked, or every path of a copied repository) would be hashed by every
 * save. This file of our own remembers, per worktree, "path with this stat data
 * had this blob id". It also remembers of directories which names they held: a
 * directory whose times are the same needs no reading, which is a third of the
 * work of a scan that finds nothing.
 *
 *	struct statcache *cache = statcache_open(repo);
 *
 *	scan_run(...);				finds and adds
 *	statcache_save(cache, repo, fail);
 *	statcache_free(cache);
 *
 * A line is recorded only when mtime and ctime were at least two seconds older
 * than statcache_open() (coarse clocks, same-second edits: D14). The id is that
 * of the bytes as they are. `plain` says that no text conversion would change
 * these bytes, whatever the attributes are: where conversion is configured only
 * plain lines can be used. Of a directory it is recorded that it held all names
 * that the index has in it (their digest) and which others (the extras). Adding,
 * removing or replacing a name changes a directory's mtime and ctime on the
 * file systems that the scan trusts with this.
 *
 * Crash story: the file is <common-dir>/interlock/cache/<worktree>, replaced in
 * whole by rename. Missing, unreadable, corrupt or of another version means
 * empty, which costs time and nothing else. Each line has a checksum of its own,
 * so that a lookup needs to read no other line.
 */
#ifndef STATCACHE_H
#define STATCACHE_H

#include "fail.h"
#include "oid.h"

#include <sys/stat.h>

struct repo;
struct statcache;

/* Never fails: what cannot be read is empty. */
struct statcache *statcache_open(struct repo *repo);
void statcache_free(struct statcache *cache);

/* Fills oid and plain when the path is known with exactly this stat data. Thread-safe. */
bool statcache_find(struct statcache *cache, const char *path, size_t len, const struct stat *st,
		    struct oid *oid, bool *plain);

/* Remembers a path for the next save; ignored when it is too young. Thread-safe. */
void statcache_add(struct statcache *cache, const char *path, size_t len, const struct stat *st,
		   const struct oid *oid, bool plain);

/* A digest of the names that the index has in a directory; start with statcache_seed(). */
uint64_t statcache_seed(const struct statcache *cache);
uint64_t statcache_digest(uint64_t digest, const char *name, size_t len, bool is_dir);

/* Is there a line for this directory, of whatever stat data? Thread-safe. */
bool statcache_knows(const struct statcache *cache, const char *path, size_t len);

/*
 * True when the directory with exactly this stat data held all names of the
 * digest. `extras` are the others: for each one byte, 'd' for a directory and
 * 'f' for all else, then the name and a NUL; they stay the cache's. Thread-safe.
 */
bool statcache_find_dir(struct statcache *cache, const char *path, size_t len,
			const struct stat *st, uint64_t digest, const char **extras,
			size_t *extras_len);

/* Remembers a directory; `st` from before it was read. Thread-safe. */
void statcache_add_dir(struct statcache *cache, const char *path, size_t len, const struct stat *st,
		       uint64_t digest, const char *extras, size_t extras_len);

/* The whole tree was seen: lines that nobody asked for are of no use any more. */
void statcache_forget_unseen(struct statcache *cache);

/*
 * Writes what was found or added since it was opened, when that would save the
 * next scan more work than the writing is.
 */
int statcache_save(struct statcache *cache, struct repo *repo, struct fail *fail);

#endif
