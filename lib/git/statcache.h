/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * statcache: what we hashed last time, so that a dirty file is not read again.
 *
 * The user's index is never written, so a path that differs from it (modified
 * or untracked) would be hashed by every save. This file of our own remembers,
 * per worktree, "path with this stat data had this blob id".
 *
 * A line is trusted only when mtime and ctime were at least two seconds older
 * than the scan that recorded it (coarse clocks, same-second edits: D14), and
 * only while no content conversion is configured.
 *
 * Crash story: replaced in whole by rename; missing, unreadable, corrupt or of
 * another version means empty, which costs time and nothing else.
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

/* Fills oid and mode when the path is known with exactly this stat data. Thread-safe. */
bool statcache_find(const struct statcache *cache, const char *path, size_t len,
		    const struct stat *st, struct oid *oid);

/* Remembers a path for the next save; ignored when it is too young. Thread-safe. */
void statcache_add(struct statcache *cache, const char *path, size_t len, const struct stat *st,
		   const struct oid *oid);

/* Writes what was found or added since it was opened, if that differs from the file. */
int statcache_save(struct statcache *cache, struct repo *repo, struct fail *fail);

#endif
