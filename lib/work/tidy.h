/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * tidy: bring a slot back to what a claim promises.
 *
 * HEAD detached at the base, `git status` empty, no operation in progress, no
 * skip-worktree, assume-unchanged, sparse or configuration setting that was not
 * there at birth; ignored files stay (interlock.clean = keep-ignored) or go (all).
 *
 * Under the slot's lock, and only after salvage_slot(). Every step can be done
 * again: killed anywhere, the slot's phase says "claiming" or "releasing", and the
 * next holder of its lock starts over with salvage.
 *
 * Crash story of tidy_settings() (A = the admin directory): what is put back is first
 * moved or copied to A/interlock-found, from where salvage takes it, and the new file
 * appears by rename. tidy_slot() removes A/interlock-found at its end.
 *
 * Cost of tidy_slot(): one `git checkout`; no process at all when salvage found the slot clean,
 * detached and at its base. One `git clean` more where only git could list what is untracked.
 */
#ifndef TIDY_H
#define TIDY_H

#include "salvage.h"
#include "slot.h"

/*
 * Before any git runs in the slot: puts back config.worktree and info/sparse-checkout as
 * they were at birth (what config.worktree is now is handed to `changed`; may be NULL), the
 * slot's .git file, its commondir, and a HEAD that cannot be read; removes lock files of git's in
 * A. Reads and writes plain files only. Of what git reads per worktree that is all: info/exclude,
 * info/attributes and hooks are the repository's.
 */
int tidy_settings(struct slot *slot, struct bytes *changed, struct fail *fail);

/*
 * Its part that removes git's locks in A. Whoever made them must be dead: the slot's lock is
 * the caller's, and nobody is inside.
 */
int tidy_locks(const struct slot *slot, struct fail *fail);

struct tidy_options {
	const struct oid *base; /* commit */
	bool all;		/* ignored files go too */
	struct salvage *found;	/* what salvage_slot() said just now; NULL: nothing is known. When
				   more had to be rescued it says so then */
};

/* `slot_repo`: as for salvage_slot(). */
int tidy_slot(struct slot *slot, struct repo *slot_repo, const struct tidy_options *options,
	      struct fail *fail);

/*
 * Copies what .worktreeinclude of the main worktree names (untracked regular files that are
 * ignored there and in the slot), by reflink where the file system can. Existing files stay.
 * A file appears whole, with its mode and time of change.
 */
int tidy_include(struct slot *slot, uint64_t *copied, struct fail *fail);

#endif
