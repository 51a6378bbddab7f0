/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * walk: the pass of a scan over the directories, without reading contents.
 *
 * Each directory is one job of a crew: it is opened below the work tree by its
 * path, read once, sorted, and merged with its part of the index (the entries
 * below a directory stand in one run). What comes out are, per thread: changes
 * that are certain, paths that cannot be recorded, and candidates: paths whose
 * content decides. scan.c reads those and builds the result.
 *
 * Rules from .gitignore are read only when a name turns up that the index does
 * not have, there or below; a clean tree reads none. A directory whose names the
 * stat cache remembers (its times are the same) is not read. No descriptor is kept open
 * for a directory that waits for its turn.
 */
#ifndef WALK_H
#define WALK_H

#include "arena.h"
#include "argv.h"
#include "crew.h"
#include "ignore.h"
#include "scan.h"

#include <pthread.h>

struct walk;

/* What a crew's job begins with. */
struct walk_job {
	void (*run)(struct walk *walk, unsigned worker, struct walk_job *job);
	struct walk *walk;
};

/* A path whose content has to be looked at. */
struct candidate {
	const char *path; /* the index's, or in the arena; NUL-terminated */
	uint32_t path_len;
	uint32_t mode;			 /* what a tree would say, as of lstat() */
	const struct index_entry *entry; /* the path's (preferred) entry; NULL when untracked */
	uint64_t size;
	struct oid raw; /* the id of the bytes as they are, when `known` */
	bool known;
};

/* What one thread found, and its scratch. */
struct walk_part {
	struct change *changes;
	size_t change_count, change_cap;
	struct skipped *skipped;
	size_t skipped_count, skipped_cap;
	struct candidate *candidates;
	size_t candidate_count, candidate_cap;
	uint64_t seen;
	uint64_t hashed;
	struct arena arena; /* directories, and paths of candidates */
	char *dirents;
	size_t dirents_len, dirents_cap;
	struct listed *names; /* of the present directory */
	size_t name_count, name_cap;
	struct child *children; /* what the index has in it */
	size_t child_count, child_cap;
	struct bytes extras; /* what only the directory has, for the stat cache */
	struct bytes path;
};

struct walk {
	struct repo *repo;
	const struct scan_options *options;
	const struct index *index;
	int root;	  /* the work tree's descriptor */
	dev_t device;	  /* of the work tree */
	bool trust_times; /* a directory's times tell whether its names have changed */
	struct crew *crew;
	struct walk_part *parts;
	unsigned part_count;
	struct ignore_set *ignores;
	pthread_mutex_t ignore_mutex;
	pthread_mutex_t handle_mutex; /* libgit2 */
	unsigned uses;		      /* enum attribute_use; atomic */
	uint64_t seen;		      /* atomic; for progress */
	int stop;		      /* atomic: a failure was recorded */
	pthread_mutex_t mutex;	      /* guards what follows */
	struct fail *fail;
	uint64_t told;			/* to progress */
	struct argv missing_attributes; /* directories whose tracked .gitattributes is gone */
	struct argv unmatched;		/* named paths that are nowhere */
};

/* Opens the work tree and reads the rules from outside it. walk_close() also after a failure. */
int walk_open(struct walk *walk, struct repo *repo, const struct scan_options *options,
	      const struct index *index, struct fail *fail);

/* Walks everything, or only options->paths. */
int walk_run(struct walk *walk);
void walk_close(struct walk *walk);

/* Records the first failure and stops all threads soon. Thread-safe. */
void walk_fail(struct walk *walk, const struct fail *fail);
bool walk_stopped(const struct walk *walk);

/* Adds to what a thread found; both copy the path. */
struct change *walk_add_change(struct walk_part *part, const char *path, size_t len);
void walk_add_skipped(struct walk_part *part, const char *path, size_t len, const char *reason);

/* The path is not there (any more): a change when the index has it. */
void walk_add_gone(struct walk *walk, struct walk_part *part, const struct index_entry *entry);

/* Is the path's entry a merged one with exactly this? `entry` may be NULL. */
bool walk_same_as_index(const struct index_entry *entry, uint32_t mode, const struct oid *oid);

/* Does the path's merged entry say that the index has a file with this content? */
bool walk_has_content(const struct index_entry *entry, const struct oid *oid);

/* Is this more than new content may have? */
bool walk_too_large(const struct walk *walk, uint64_t size);

/* The mode that a tree gets for a file or symlink; `entry` may be NULL. */
uint32_t walk_tree_mode(const struct walk *walk, mode_t mode, const struct index_entry *entry);

/* options->paths, one after the other; in walkpath.c. */
void walk_named_paths(struct walk *walk);

#endif
