/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * treebag: tree objects that exist only in memory so far, by id.
 */
#ifndef TREEBAG_H
#define TREEBAG_H

#include "bytes.h"
#include "oid.h"

struct treebag;

struct treebag *treebag_new(enum hash_algo algo);
void treebag_free(struct treebag *bag);
enum hash_algo treebag_algo(const struct treebag *bag);

/* Stores a tree's content and returns its id in `oid`; the same content is kept once. */
void treebag_put(struct treebag *bag, const void *data, size_t len, struct oid *oid);

/*
 * The content of a tree in the bag; NULL when it is not there. Owned by the
 * bag, and stays where it is until treebag_free().
 */
const struct bytes *treebag_get(const struct treebag *bag, const struct oid *oid);

#endif
