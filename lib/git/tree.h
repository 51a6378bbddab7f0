/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * tree: from a change list to a tree id, and from a tree id to the objects
 * that a checkpoint must bring along.
 *
 * Trees that are new live in a treebag (in memory, by id) until a pack takes
 * them. Only directories on changed paths are rebuilt; the others keep the id
 * that the index's cache-tree, or the tree that is edited, already has.
 */
#ifndef TREE_H
#define TREE_H

#include "fail.h"
#include "odb.h"
#include "oid.h"
#include "scan.h"

/* Tree objects in memory, by id. */
struct treebag;
struct treebag *treebag_new(enum hash_algo algo);
void treebag_free(struct treebag *bag);
/* Stores a tree's content and returns its id in `oid`; the same content is kept once. */
void treebag_put(struct treebag *bag, const void *data, size_t len, struct oid *oid);
/* The content of a tree in the bag; NULL when it is not there. Owned by the bag. */
const struct bytes *treebag_get(const struct treebag *bag, const struct oid *oid);

/*
 * The tree of the index's stage-0 entries (intent-to-add left out), with the
 * changes laid over it; `count` 0 gives the index's own tree. Unmerged entries
 * without a change are left out. FAIL_CORRUPT when the entries make no tree.
 */
int tree_from_index(const struct index *index, const struct change *changes, size_t count,
		    struct treebag *bag, struct oid *tree, struct fail *fail);

/* Applies changes (sorted by path) to an existing tree, read through odb. */
int tree_edit(struct odb *odb, const struct oid *base, const struct change *changes, size_t count,
	      struct treebag *bag, struct oid *tree, struct fail *fail);

/* One entry of a tree object. `name` points into the tree's content. */
struct tree_entry {
	uint32_t mode;
	const char *name;
	size_t name_len;
	struct oid oid;
};

struct tree_walk {
	const char *at, *end;
	enum hash_algo algo;
};

void tree_walk_init(struct tree_walk *walk, enum hash_algo algo, const struct bytes *content);
/* 1: an entry; 0: the end; FAIL_CORRUPT. */
int tree_walk_next(struct tree_walk *walk, struct tree_entry *entry, struct fail *fail);

/* The entry at a path; FAIL_GONE when there is none. */
int tree_lookup(struct odb *odb, const struct oid *tree, const char *path, struct tree_entry *out,
		struct fail *fail);

/*
 * Calls `need` for every object that is reachable from `tree` and stands at the
 * same place in none of `have` (trees; zero ids are skipped): exactly what has
 * to be packed so that the checkpoint hangs on nothing that a prune could take.
 * Each id is given once; gitlinks are not followed. A negative return of `need`
 * stops the walk and is returned.
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
