/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * packmidx: git's index over many packs, as far as we must know it.
 *
 * We never write one. It is a cache, and git's own repack drops it before it
 * deletes a pack that it names; so do we. Otherwise fsck would complain.
 *
 * "multi-pack-index": the magic "MIDX", version, hash, number of chunks, number
 * of base files, number of packs (4 bytes); a table of chunk ids (4 bytes) and
 * offsets (8 bytes). The chunk "PNAM" holds the names "pack-<hex>.idx", each with
 * a NUL behind it. Newer gits may keep several in "multi-pack-index.d", listed
 * in a "multi-pack-index-chain".
 */
#ifndef PACKMIDX_H
#define PACKMIDX_H

#include "fail.h"

/* Called with the "pack-<hex>" of each pack that a multi-pack-index names; true stops. */
typedef bool packmidx_test(void *arg, const char *base);

/* Drops every multi-pack-index if `test` is true for a name in one of them. */
int packmidx_drop_if(int dir, packmidx_test *test, void *arg, struct fail *fail);

#endif
