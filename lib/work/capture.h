/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * capture: what the work tree is right now, as a tree id and a way to its content.
 *
 * Hides which engine looked: the native scan on the index's cached stat data, or
 * git's plumbing on a private index. When the native scan meets something that
 * only git reads right, the repository is moved to the git engine and looked at
 * again. Nothing is written to the repository's object database here; new trees
 * are in `bag`, new blobs in the work tree (or in plumb's private directory).
 *
 *	capture_run() -> capture.tree, .index_tree, .skipped
 *	capture_pack() puts what a checkpoint needs into a pack
 *	capture_release()
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include "odb.h"
#include "pack.h"
#include "plumb.h"
#include "repo.h"
#include "scan.h"
#include "statcache.h"
#include "tree.h"

struct capture_skip {
	char *path;
	const char *reason; /* static */
};

struct capture_options {
	const char *const *paths; /* pathspecs as given; NULL: everything */
	size_t path_count;
	struct oid head_tree;  /* tree of the base commit; the empty tree when HEAD is unborn */
	struct oid on_tree;    /* path saves: the tree of the last checkpoint, which they change */
	struct recall *recall; /* may be NULL; not owned */
	bool partial;	       /* only the named paths are looked at; the rest is on_tree's */
	bool native_only;     /* what the native engine must not decide is FAIL_ENGINE */
	void (*progress)(void *arg, uint64_t seen);
	void *progress_arg;
};

struct capture {
	struct repo *repo;
	struct odb odb;
	struct treebag *bag;
	struct statcache *cache;
	struct scan scan;
	struct plumb plumb;
	struct oid tree;
	struct oid index_tree; /* staged content that is neither HEAD's nor the work tree's; else
				  zero */
	struct change *grafts; /* partial: what stands at the named paths now (mode 0: nothing) */
	size_t graft_count, graft_cap;
	struct capture_skip *skipped; /* sorted by path */
	size_t skipped_count, skipped_cap;
};

int capture_run(struct repo *repo, const struct capture_options *options, struct capture *out,
		struct fail *fail);

/*
 * The path from the top of the work tree for what was typed in the current
 * directory. FAIL_ENGINE for anything that is more than a plain path below the
 * work tree: git knows pathspecs. The caller frees `out`.
 */
int capture_literal_path(struct repo *repo, const char *given, char **out, struct fail *fail);

/* Partial captures: the same paths laid over another tree (a peer has saved meanwhile). */
int capture_rebase(struct capture *capture, const struct oid *on_tree, struct fail *fail);

/*
 * Adds to `pack` every object of `tree` that stands in none of `have`. FAIL_NO
 * when a file has changed since it was looked at: capture again.
 */
int capture_pack(struct capture *capture, const struct oid *tree, const struct oid *have,
		 size_t have_count, struct pack *pack, struct fail *fail);

void capture_release(struct capture *capture);

#endif
