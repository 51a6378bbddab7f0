/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * reflog: one line more in the history of a ref, as git writes it.
 *
 * The caller holds git's lock on the ref, which is what keeps every writer of the
 * log out. A log that was opened and does not get its swap is cut back to where
 * it ended. Killed between the append and the swap: the log has a line for a swap
 * that did not happen, as git's own has.
 */
#ifndef REFLOG_H
#define REFLOG_H

#include "fail.h"
#include "oid.h"

struct repo;

struct reflog {
	int fd;	 /* -1: no log is kept */
	int dir; /* not owned */
	int64_t end;
	bool created;
	char *path;
};

#define REFLOG_INIT \
	{ \
		.fd = -1 \
	}

/*
 * Opens the log of a ref ("HEAD": of this worktree), creating it where
 * core.logAllRefUpdates or `force` asks for one.
 */
int reflog_open(struct repo *repo, const char *name, bool force, struct reflog *log,
		struct fail *fail);

/* Appends "old new committer [TAB reason]" in one write. */
int reflog_append(struct repo *repo, struct reflog *log, const struct oid *old_oid,
		  const struct oid *new_oid, const char *reason, struct fail *fail);

/* `keep` false: takes back what was appended. */
void reflog_close(struct reflog *log, bool keep);

/*
 * Removes the empty directories at `path` and below; false when something else is
 * there. git leaves them behind, and they stand where a new ref's file goes.
 */
bool reflog_clear_dirs(int dir, const char *path);

#endif
