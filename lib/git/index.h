/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * index: git's index file, mapped and read only.
 *
 *	struct index index;
 *
 *	if (index_open(&index, repo->index_path, repo->algo, fail) < 0)
 *		...
 *	index_close(&index);
 *
 * Versions 2, 3 and 4, either hash. Names point into the mapping, or (version 4)
 * into an arena that the struct owns. Entries are sorted as git sorts them: by
 * name bytes, then stage; a file that is not, or whose names could lead out of
 * the work tree ("..", an empty component), is refused. A missing file is an
 * empty index. We never write an index. The checksum is kept, not verified (git
 * does not either); nothing is read past the end of the file whatever it says.
 *
 * FAIL_CORRUPT: no index that git could have written. FAIL_ENGINE: an extension
 * that changes the meaning of the entries and that we do not know: "split
 * index", "sparse index", "unknown index extension 'xxxx'"; a path that is
 * longer than the kernel takes: "unusual name".
 */
#ifndef INDEX_H
#define INDEX_H

#include "fail.h"
#include "oid.h"

#include <sys/stat.h>

struct index_entry {
	const char *name; /* NUL behind name[name_len] */
	uint32_t name_len;
	uint32_t mode;	     /* 0100644, 0100755, 0120000 or 0160000 */
	const uint8_t *stat; /* the 40 bytes ctime .. size as on disk, big-endian */
	const uint8_t *oid;  /* hash_size() bytes */
	uint8_t stage;
	bool assume_valid : 1;
	bool skip_worktree : 1;
	bool intent_to_add : 1;
};

/* A node of the cache-tree extension ("TREE"): the id of a directory's tree, when still valid. */
struct index_tree {
	const char *name; /* component, NUL-terminated; "" for the root */
	uint32_t name_len;
	int32_t entry_count; /* -1: invalidated; else at most index.count */
	const uint8_t *oid;  /* NULL when invalidated */
	uint32_t subtree_count;
	struct index_tree *subtrees; /* in the extension's order: by length, then bytes */
};

struct index {
	enum hash_algo algo;
	void *map;
	size_t map_len;
	char *arena;
	struct index_entry *entries;
	uint32_t count;
	uint32_t version;
	uint32_t skip_worktree_count;
	struct index_tree *tree;       /* NULL when there is no (readable) cache-tree */
	struct timespec mtime;	       /* of the index file: entries not older than it are racy */
	uint8_t checksum[OID_RAW_MAX]; /* its trailer; zeros with index.skipHash */
	bool exists;
};

/* Release with index_close(), also after a failure. */
int index_open(struct index *index, const char *path, enum hash_algo algo, struct fail *fail);
void index_close(struct index *index);

/* The first entry with this name (any stage), or NULL. */
const struct index_entry *index_find(const struct index *index, const char *name, size_t len);

/* The position of the first entry whose name is >= `name`; index->count when there is none. */
uint32_t index_lower_bound(const struct index *index, const char *name, size_t len);

/*
 * The end of the run of entries from `start` on (below `limit`) whose names
 * begin with `prefix` ("a/b/"), given that `start` is its first or is none.
 */
uint32_t index_prefix_end(const struct index *index, uint32_t start, uint32_t limit,
			  const char *prefix, size_t len);

/*
 * Does the cached stat data say that the file is what the entry says? The mode
 * is not compared. Never true for a racy entry: one whose mtime is not clearly
 * older than the index's (not of the same second, as git has it, nor within a
 * tick of the kernel's clock; two seconds where nanoseconds are not kept).
 */
bool index_entry_fresh(const struct index *index, const struct index_entry *entry,
		       const struct stat *st, bool trust_ctime, bool check_stat_minimal);

/*
 * How git judges: an entry is racy when its mtime and the index's are in one second
 * (or in the wrong order), and a file with the entry's size and the second of its
 * mtime is taken for unchanged, save for a look at its owner, inode and ctime.
 */
bool index_entry_racy(const struct index *index, const struct index_entry *entry);
bool index_entry_as_old(const struct index_entry *entry, const struct stat *st);

#endif
