/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * snapshot: save the work tree as a checkpoint, touching nothing else.
 *
 * The data's way: capture (scan or plumbing) -> tree id -> pack (objects that no
 * older checkpoint or base has) -> under the per-ref lock: tip, commit, publish
 * the pack, swap.
 *
 * Crash story. Nothing is acknowledged before the swap, and everything that the
 * new tip needs is in a kept pack before the swap (pack.h tells its steps):
 *   1. capture; unchanged: done, and no lock was taken
 *   2. "objects" lock shared, tip read; blobs and trees into the pack's temporary
 *					-> killed: a temporary file (pack_sweep)
 *   3. per-ref lock; a new segment: the old tip is pinned below refs/shadow-old/
 *					-> killed: a pin of what is still the tip;
 *					   the next save pins the same again
 *   4. the commit goes into the pack, the pack is published
 *					-> killed: an unreferenced kept pack
 *   5. the swap (ref.h tells its steps)	-> acknowledged
 *   6. interlock/tips/<chain> notes the new tip, in place (chain.h)
 *					-> killed before: the note is one behind;
 *					   what it holds of objects is checked by
 *					   their ids, and may still be of use
 *					-> killed half-way: its first line or an
 *					   object does not add up, and is not there
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "capture.h"
#include "checkpoint.h"

struct snapshot_options {
	const char *message;	     /* NULL: "checkpoint on <branch>" */
	const char *session;	     /* NULL: none */
	const char *chain;	     /* full ref name; NULL: this worktree's and branch's */
	const struct argv *trailers; /* "Key: value"; may be NULL */
	const char *const *paths;    /* pathspecs; NULL: everything */
	size_t path_count;
	bool allow_unchanged;
	void (*progress)(void *arg, uint64_t seen);
	void *progress_arg;
};

struct snapshot {
	struct oid commit, tree, parent, base; /* zero: none */
	char *chain;
	bool unchanged;
	bool mended;	   /* the chain's ref was corrupt: it goes on from the last good value */
	unsigned attempts; /* swaps tried */
	struct capture_skip *skipped; /* what could not be recorded */
	size_t skipped_count;
};

/* Release with snapshot_release(), also after a failure. */
int snapshot_save(struct repo *repo, const struct snapshot_options *options, struct snapshot *out,
		  struct fail *fail);
void snapshot_release(struct snapshot *snapshot);

#endif
