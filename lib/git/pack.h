/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pack: what a save writes, in one small pack that no prune or gc may take.
 *
 * A loose object that nothing refers to yet can be deleted by a prune whose walk
 * began before the swap. A pack with a .keep beside it is touched by no prune,
 * repack or gc. So a save puts everything it needs into one pack of its own.
 *
 * Crash story (P = "pack-<trailer hash>" in <objects>/pack):
 *   1. tmp_interlock_<nonce> grows          -> killed: a temporary file, which
 *                                              git's own gc deletes after its
 *                                              grace, and pack_sweep() at once
 *                                              when its writer's lock is free
 *   2. P.keep is created                    -> killed: a .keep without a pack,
 *                                              swept by pack_sweep()
 *   3. P.pack, then P.idx are renamed in    -> killed before the ref moves: a
 *                                              kept pack that nothing refers to;
 *                                              merged by consolidation, dropped
 *                                              by expire
 *   4. the caller swaps the ref             -> acknowledged
 *
 * Writers hold the "objects" lock shared from before they read the previous
 * checkpoint until after the swap; only expire, which drops objects, takes it
 * exclusively. Consolidation drops no object and needs only the "pack" lock.
 */
#ifndef PACK_H
#define PACK_H

#include "fail.h"
#include "oid.h"

struct repo;
struct pack;

/* Starts a pack in memory and, once it has grown, in a temporary file. */
int pack_begin(struct repo *repo, struct pack **pack, struct fail *fail);

/* Adds an object; one that is already in this pack is left out. */
int pack_add(struct pack *pack, const struct oid *oid, enum object_type type, const void *data,
	     size_t len, struct fail *fail);
bool pack_has(const struct pack *pack, const struct oid *oid);
size_t pack_count(const struct pack *pack);
uint64_t pack_bytes(const struct pack *pack); /* of uncompressed content */

/* Steps 2 and 3. With no object in it nothing is written. */
int pack_publish(struct pack *pack, struct fail *fail);

/* Frees; removes the temporary file when the pack was not published. */
void pack_free(struct pack *pack);

/*
 * Merges our packs geometrically when there are many, under the "pack" lock; a
 * lock that is busy means that somebody else does it. Never drops an object.
 */
int pack_consolidate(struct repo *repo, struct fail *fail);

/*
 * Rewrites our packs with only the objects for which `keep` is true. The caller
 * holds the "objects" lock exclusively.
 */
typedef bool pack_keep(void *arg, const struct oid *oid);
int pack_filter(struct repo *repo, pack_keep *keep, void *arg, uint64_t *bytes_freed,
		struct fail *fail);

/* Removes what killed writers left (steps 1 and 2). */
int pack_sweep(struct repo *repo, struct fail *fail);

#endif
