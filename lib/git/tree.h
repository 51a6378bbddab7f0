/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * tree: from a change list to a tree id, and from a tree id to the objects
 * that a checkpoint must bring along.
 *
 * Trees that are new live in a treebag (in memory, by id) until a pack takes
 * them. Only directories on changed paths are rebuilt; the others keep the id
 * that the index's cache-tree, or the tree that is edited, already has.
 *
 * Building is in treebuild.c, reading in tree.c. Whatever comes from disk is
 * checked: a name that git would not check out, entries out of order or twice,
 * an unknown mode, or more than TREE_MAX_DEPTH levels are FAIL_CORRUPT.
 */
#ifndef TREE_H
#define TREE_H

#include "fail.h"
#include "odb.h"
#include "oid.h"
#include "scan.h"
#include "treebag.h"

#define TREE_MAX_DEPTH 2048 /* git's own default (core.maxTreeDepth) */

/*
 * The tree of the index's stage-0 entries (intent-to-add left out), with the
 * changes laid over it; `count` 0 gives the index's own tree. Unmerged entries
 * without a change are left out. FAIL_CORRUPT when the entries make no tree.
 *
 * The changes are sorted by path, bytewise, and name each path once. One that
 * deletes `a` means the file or gitlink `a`, never what is below `a/`. One that
 * adds `a` replaces everything below `a/`, and one that adds `a/b` replaces the
 * file `a`, as `git update-index --replace` does.
 *
 * A directory that the cache-tree has an id for, with no change below it, is
 * taken over unread, as git's write-tree does. Whether those trees exist is not
 * looked at: when reading one later is FAIL_GONE, set index->tree to NULL and
 * build again, which gives every tree of the index anew.
 */
int tree_from_index(const struct index *index, const struct change *changes, size_t count,
		    struct treebag *bag, struct oid *tree, struct fail *fail);

/* Applies changes to an existing tree (zero: the empty one), read through odb. */
int tree_edit(struct odb *odb, const struct oid *base, const struct change *changes, size_t count,
	      struct treebag *bag, struct oid *tree, struct fail *fail);

/* Can this be the name of an entry? Not "", ".", "..", ".git", and no '/' or NUL in it. */
bool tree_name_valid(const char *name, size_t len);

/* The order of entries in a tree: a directory sorts as if it ended in '/'. */
int tree_name_compare(const char *a, size_t a_len, bool a_is_dir, const char *b, size_t b_len,
		      bool b_is_dir);

/*
 * 0100644, 0100755, 0120000, 040000 or 0160000 for any mode that git has ever
 * written (old trees have 0100664); 0 for anything else.
 */
uint32_t tree_mode_canonical(uint32_t mode);

static inline bool tree_mode_is_dir(uint32_t mode)
{
	return mode == 040000;
}

static inline bool tree_mode_is_gitlink(uint32_t mode)
{
	return mode == 0160000;
}

/* One entry of a tree object. `name` points into the tree's content. */
struct tree_entry {
	uint32_t mode; /* canonical */
	const char *name;
	size_t name_len;
	struct oid oid;
};

struct tree_walk {
	const char *at, *end;
	enum hash_algo algo;
	const char *last; /* the entry before, to check the order; NULL at the start */
	size_t last_len;
	bool last_is_dir;
};

/* The content must stay while the walk and its entries are in use. */
void tree_walk_init(struct tree_walk *walk, enum hash_algo algo, const struct bytes *content);
/* 1: an entry; 0: the end; FAIL_CORRUPT. */
int tree_walk_next(struct tree_walk *walk, struct tree_entry *entry, struct fail *fail);

/*
 * The entry at a path ("" is the tree itself); FAIL_GONE when there is none.
 * out->name points into `path`.
 */
int tree_lookup(struct odb *odb, const struct oid *tree, const char *path, struct tree_entry *out,
		struct fail *fail);

/*
 * Calls `need` for every object that is reachable from `tree` and stands at the
 * same place in none of `have` (trees; zero ids are skipped): exactly what has
 * to be packed so that the checkpoint hangs on nothing that a prune could take.
 * Each id is given once; a tree before what is in it; gitlinks are not followed.
 * A negative return of `need` stops the walk and is returned.
 *
 * After some hundreds of objects, everything reachable from `have` is left out,
 * whatever its place: a renamed directory is not packed a second time.
 * A `have` that is missing or corrupt counts as empty, so that more is packed.
 */
typedef int tree_need(void *arg, const struct oid *oid, enum object_type type, const char *path,
		      uint32_t mode, struct fail *fail);
int tree_missing(struct odb *odb, const struct oid *tree, const struct oid *have, size_t have_count,
		 tree_need *need, void *arg, struct fail *fail);

/*
 * Calls `visit` for every path (blob, symlink or gitlink) whose entry differs
 * between two trees, in path order; an absent side has mode 0. Either id may be
 * zero (an empty tree).
 */
typedef int tree_visit(void *arg, const char *path, uint32_t old_mode, const struct oid *old_oid,
		       uint32_t new_mode, const struct oid *new_oid, struct fail *fail);
int tree_diff(struct odb *odb, const struct oid *a, const struct oid *b, tree_visit *visit,
	      void *arg, struct fail *fail);

#endif
