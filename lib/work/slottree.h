/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * slottree: rescue and clean what is in a slot, and give it back: the steps that claim, release
 * and reap have in common, in the only order in which they are safe.
 *
 * The slot's own settings are put back first, so that no hook, filter or monitor that a
 * lease left runs with our rights; then the worktree is opened, by its device and inode,
 * and git and our own engine work in it. Both calls need the slot's lock.
 */
#ifndef SLOTTREE_H
#define SLOTTREE_H

#include "salvage.h"
#include "tidy.h"

/*
 * Settings, then salvage. `lease` is whose work it is (NULL: nobody's; the rescue
 * is named after a new id). `doomed` as in salvage_slot().
 */
int slot_rescue(struct slot *slot, const char *lease, const char *doomed, struct salvage *out,
		struct fail *fail);

int slot_tidy(struct slot *slot, const struct tidy_options *options, struct fail *fail);

struct pool_release {
	const char *lease; /* --lease; NULL: only what is the caller's */
	bool delete_branch;
	bool clean_all;
	bool supervised; /* the caller is the lease's supervisor and holds its lock */
};

struct pool_released {
	char *branch;	/* that it was on, or NULL */
	char *base;	/* hex */
	uint64_t ahead; /* commits on it that the base does not have */
	struct salvage rescue;
};

/*
 * The whole way back to the pool, of a release as of a reap: rescue, clean to the base of
 * the lease, delete the branch if asked, record, and the lease's file goes. The caller holds the
 * slot's lock and knows that nobody is inside. `out` is filled as far as it got. After a
 * failure the record says what it said before.
 */
int slot_give_back(struct slot *slot, const struct pool_release *release, struct pool_released *out,
		   struct fail *fail);
void pool_released_release(struct pool_released *released);

#endif
