/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * packdraft: a file of the pack directory before it has its name.
 *
 * It is an unnamed file (O_TMPFILE) that is linked in when it is whole: a killed
 * writer leaves nothing. Where the file system or a hidden /proc does not allow
 * that, it is a file ".tmp-interlock-<nonce>" under an flock. That name does not
 * begin with "tmp_" on purpose: `git prune --expire=now` deletes every "tmp_*"
 * there at once, also one that is being written.
 */
#ifndef PACKDRAFT_H
#define PACKDRAFT_H

#include "file.h"

#define DRAFT_PREFIX ".tmp-interlock-"

struct draft {
	int fd;	      /* read and write; -1: not open */
	char *name;   /* NULL while unnamed */
	bool visible; /* its final name is new: nobody had a file of that name before */
};

#define DRAFT_INIT \
	{ \
		.fd = -1, .name = NULL, .visible = false \
	}

/* Can unnamed files be given a name here? Without /proc they cannot. */
bool draft_unnamed_possible(void);

/* Opens a read-only (0444) file for writing. `unnamed` false skips O_TMPFILE. */
int draft_open(struct draft *draft, int dir, bool unnamed, const struct file_modes *modes,
	       struct fail *fail);

/*
 * Gives the whole file its name, in place of one that may be there. `sync`: its
 * content is on disk before.
 */
int draft_place(struct draft *draft, int dir, const char *name, bool sync, struct fail *fail);

/* Links in a file that has a name elsewhere, open as O_PATH; false when that cannot be. */
bool draft_link(struct draft *draft, int dir, const char *name);

/* Unlinks `name` when it is still this file and was new; for a failure half-way. */
void draft_take_back(struct draft *draft, int dir, const char *name);

/* Closes, and deletes what was not placed. */
void draft_drop(struct draft *draft, int dir);

/* Deletes the file `name` when its writer is dead: its flock is free. */
int draft_sweep(int dir, const char *name, struct fail *fail);

#endif
