/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * index: git's index file, mapped and read only.
 *
 * Versions 2, 3 and 4, either hash. Names point into the mapping, or (version 4)
 * into an arena that the struct owns. Entries are sorted as git sorts them: by
 * name bytes, then stage. An extension that changes the meaning of the entries
 * and that we do not know ("link", "sdir", any other lower-case one) is FAIL_ENGINE.
 * A missing file is an empty index. We never write an index.
 */
#ifndef INDEX_H
#define INDEX_H

#include "fail.h"
#include "oid.h"

#include <sys/stat.h>

struct repo;

struct index_entry {
	const char *name; /* NUL behind name[name_len] */
	uint32_t name_len;
	uint32_t mode;
	const uint8_t *stat; /* the 40 bytes ctime .. size as on disk, big-endian */
	const uint8_t *oid;  /* hash_size() bytes */
	uint8_t stage;
	bool assume_valid : 1;
	bool skip_worktree : 1;
	bool intent_to_add : 1;
};

/* A node of the cache-tree extension ("TREE"): the id of a directory's tree, when still valid. */
struct index_tree {
	const char *name; /* component; "" for the root */
	uint32_t name_len;
	int32_t entry_count; /* -1: invalidated */
	const uint8_t *oid;  /* NULL when invalidated */
	uint32_t subtree_count;
	struct index_tree *subtrees; /* in the extension's order */
};

struct index {
	enum hash_algo algo;
	void *map;
	size_t map_len;
	char *arena;
	struct index_entry *entries;
	uint32_t count;
	uint32_t version;
	struct index_tree *tree;       /* NULL when there is no cache-tree */
	struct timespec mtime;	       /* of the index file: entries not older than it are racy */
	uint8_t checksum[OID_RAW_MAX]; /* its trailer; zeros with index.skipHash */
	bool exists;
};

int index_open(struct index *index, const char *path, enum hash_algo algo, struct fail *fail);
void index_close(struct index *index);

/* The first entry with this name (any stage), or NULL. */
const struct index_entry *index_find(const struct index *index, const char *name, size_t len);

/* The position of the first entry whose name is >= `name`. */
uint32_t index_lower_bound(const struct index *index, const char *name, size_t len);

/*
 * Does the cached stat data say that the file is what the entry says? Never
 * true for a racy entry (mtime not older than the index's).
 */
bool index_entry_fresh(const struct index *index, const struct index_entry *entry,
		       const struct stat *st, bool trust_ctime, bool check_stat_minimal);

#endif
