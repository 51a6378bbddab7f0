/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * packdir: which packs in <objects>/pack are ours, and how they go.
 *
 * Ours is a pack whose .keep says "interlock 1 <level>". Version 1 promises that
 * the pack holds whole objects only, no deltas. packkeep makes these files. Anything else, a .keep
 * of the user's or of a later version, is not touched.
 */
#ifndef PACKDIR_H
#define PACKDIR_H

#include "bytes.h"
#include "fail.h"

#include <time.h>

#define PACKDIR_MAX_LEVEL 30

struct own_pack {
	char *base; /* "pack-<hex>" */
	unsigned level;
	bool has_pack, has_idx;
	uint64_t size; /* of the .pack; by packdir_stat() */
	time_t used;   /* its mtime; by packdir_stat() */
};

struct packdir {
	struct own_pack *packs; /* by name */
	size_t count, cap;
	struct bytes names; /* everything in the directory */
};

#define PACKDIR_INIT \
	{ \
		.packs = NULL, .count = 0, .cap = 0, .names = BYTES_INIT \
	}

/*
 * Lists our packs. With fewer than `at_least` .keep files there, none is read
 * and the list is empty.
 */
int packdir_list(struct packdir *packs, int dir, size_t hex_len, size_t at_least,
		 struct fail *fail);

/* Is it "pack-<hex>.keep", with the hash's number of digits? */
bool packdir_is_keep(const char *name, size_t hex_len);

/* The level that a .keep file of ours names; false for any other file. */
bool packdir_read_level(int dir, const char *name, unsigned *level, struct fail *fail);

/* Fills in sizes and times. */
int packdir_stat(struct packdir *packs, int dir, struct fail *fail);
void packdir_release(struct packdir *packs);

/* Is there such a name? As of packdir_list(). */
bool packdir_has(const struct packdir *packs, const char *base, const char *extension);

/* The next of the names, or the first for NULL; NULL behind the last. */
const char *packdir_next_name(const struct packdir *packs, const char *name);

/*
 * Deletes a pack in the order .idx, .pack, .keep, adding what that freed to
 * `freed`. A multi-pack-index that names it has to go first: see packmidx.
 */
int packdir_remove(int dir, const char *base, uint64_t *freed, struct fail *fail);

#endif
