/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * walkdir: what the files of the walk share among themselves: directories, and
 * what is decided about one name in one.
 */
#ifndef WALKDIR_H
#define WALKDIR_H

#include "walk.h"

enum dir_state {
	DIR_UNASKED, /* its ignore rules were not needed yet */
	DIR_OPEN,    /* not ignored; `rules` hold in it */
	DIR_IGNORED  /* and so is everything untracked below it */
};

/* A directory of the work tree. Lives in an arena until the walk is over. */
struct dir {
	struct walk_job job;
	struct dir *parent;		/* NULL at the top */
	const struct ignore_dir *rules; /* when DIR_OPEN */
	int state;			/* enum dir_state; atomic */
	bool not_ignored;		/* its own name was asked about already */
	bool has_rules;			/* a .gitignore stands in it */
	uint32_t low, high;		/* its run of the index's entries */
	uint32_t path_len;
	char path[]; /* "" at the top, "a/b" below */
};

struct dir *dir_new(struct walk *walk, struct walk_part *part, struct dir *parent, const char *path,
		    size_t len, uint32_t low, uint32_t high);
void dir_add(struct walk *walk, struct dir *dir); /* to the crew's jobs */

/* Is everything untracked in it ignored, or this path (which is in it)? */
bool dir_ignores(struct walk *walk, struct dir *dir, const char *path, size_t len, bool is_dir);

/* Looks for uses in the .gitattributes of an open directory, which is there unless `maybe`. */
void dir_read_attributes(struct walk *walk, int fd, bool maybe);

/* Where a name is looked at: an open directory. */
struct place {
	struct walk *walk;
	struct walk_part *part;
	struct dir *dir;
	int fd;
};

/* The full path of a name in the directory; in the part's buffer until the next call. */
const char *place_path(const struct place *place, const char *name, size_t len, size_t *path_len);

/*
 * The entries [first, first + count) are one path's. `listed`: the directory
 * showed it as something that is no directory.
 */
void name_tracked(const struct place *place, uint32_t first, uint32_t count, bool listed);

/* A name that the index does not have, or has otherwise (a file for a directory). */
void name_untracked(const struct place *place, const char *name, size_t len, bool is_dir);

/* The entries [low, high) stand below a name that was not listed as a directory. */
void name_missing_dir(const struct place *place, const char *name, size_t len, uint32_t low,
		      uint32_t high);

/* All paths of [low, high) are gone. `occupied`: something else stands above them. */
void names_gone(struct walk *walk, struct walk_part *part, uint32_t low, uint32_t high,
		bool occupied);

/* A tracked .gitattributes is not on disk: git takes what the index has of it. */
void walk_heed_attributes(struct walk *walk, const struct index_entry *entry);

/* How many entries have the name of the one at `first`, up to `limit`. */
uint32_t name_stages(const struct index *index, uint32_t first, uint32_t limit);

void walk_engine(struct walk *walk, const char *row); /* walk_fail() with FAIL_ENGINE */

#endif
