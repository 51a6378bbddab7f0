/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * aside: what a checkpoint of a slot cannot hold, moved out of the slot whole.
 *
 * A repository inside the slot (a clone, a submodule with work of its own), a file
 * that cannot be read or is too large to be packed: by one rename it goes to
 *
 *	<common-dir>/interlock/aside/<lease>/<path, encoded by name_encode()>
 *
 * or, when the slot is on another file system, to ".interlock-aside/<lease>/" in the
 * directory that the slot is in. A submodule takes its git directory along.
 *
 * Crash story: a rename is done or not. What lies there means nothing to git, and
 * nobody deletes it but who drops the rescue of that lease.
 */
#ifndef ASIDE_H
#define ASIDE_H

#include "argv.h"
#include "commit.h"
#include "slot.h"

/* `lease` is whose rescue it belongs to, everywhere: one file name. */

/*
 * Finds every repository below the slot's top that the ignore rules do not name, and sets
 * it aside, except submodules that hold nothing of their own (nothing uncommitted,
 * no commit that no remote-tracking branch has). No git runs in a repository before its own
 * settings have been found harmless. For each the place, as a path from the common directory
 * or absolute, is pushed to `places` (may be NULL).
 */
int aside_nested(struct slot *slot, struct repo *slot_repo, const char *lease, struct argv *places,
		 struct fail *fail);

/* Sets one path aside. */
int aside_path(struct slot *slot, const char *lease, const char *path, struct argv *places,
	       struct fail *fail);

/* All that lies aside for a lease, also of a run that was killed. */
int aside_list(struct slot *slot, const char *lease, struct argv *places, struct fail *fail);

/*
 * Deletes what lies aside for a lease whose rescue is dropped: in the common directory, and
 * beside slots where `rescue` (NULL when it cannot be read) says that it is.
 */
int aside_drop(struct repo *repo, const struct commit *rescue, const char *lease,
	       struct fail *fail);

/*
 * After the slot was brought to another commit: submodules that stayed in it are checked out
 * at what the index names now, or set aside when that commit is not there.
 */
int aside_submodules(struct slot *slot, struct repo *slot_repo, const char *lease,
		     struct fail *fail);

#endif
