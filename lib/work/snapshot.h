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

/*
 * One more parent for the checkpoint: a commit of the caller's, and the objects that
 * have to be packed for it. Named by the trailer Shadow-Operation (salvage.h).
 */
struct snapshot_extra {
	struct oid commit, tree;
	struct snapshot_object {
		struct oid oid;
		enum object_type type;
		struct bytes content;
	} * objects;
	size_t count, cap;
};

struct snapshot;

/* Who wants to know how far a save has come; both may be NULL. */
struct snapshot_stages {
	/* All is read and packed; what follows waits no longer than `patience` ms for others. */
	void (*appending)(void *arg, int64_t patience);
	/* The answer is known and final; only tidying is left. */
	void (*saved)(void *arg, const struct snapshot *saved);
	void *arg;
};

struct snapshot_options {
	const char *message;	     /* NULL: "checkpoint on <branch>" */
	const char *session;	     /* NULL: none */
	const char *chain;	     /* full ref name; NULL: this worktree's and branch's */
	const struct argv *trailers; /* "Key: value"; may be NULL */
	const char *const *paths;    /* pathspecs; NULL: everything */
	size_t path_count;
	bool allow_unchanged;
	bool native_only; /* what only git reads right is FAIL_ENGINE, not looked at again */
	const struct snapshot_extra *extra; /* may be NULL */
	/*
	 * Asked when the work tree has been looked at and before anything is written: 1: go
	 * on, 0: nothing needs saving, negative: a failure. NULL: go on.
	 */
	int (*wanted)(void *arg, struct capture *capture, const struct oid *base_tree,
		      struct fail *fail);
	void *wanted_arg;
	void (*progress)(void *arg, uint64_t seen);
	void *progress_arg;
	struct snapshot_stages stages;
};

struct snapshot {
	struct oid commit, tree, parent, base; /* zero: none */
	char *chain;
	bool unchanged;
	bool unwanted;	   /* options->wanted() said so: there is no commit */
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
