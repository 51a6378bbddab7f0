/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * indextree: the index's cache-tree extension, read into nodes.
 */
#ifndef INDEXTREE_H
#define INDEXTREE_H

#include "index.h"

/*
 * The root node, or NULL when the extension makes no sense (git then goes
 * without it, too). One free() releases it and all nodes below it; names and
 * ids point into `data`. No node claims more than `limit` entries.
 */
struct index_tree *indextree_read(const uint8_t *data, size_t len, size_t hash, uint32_t limit);

#endif
