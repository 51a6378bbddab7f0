/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * packwrite: what pack.h does not show of a pack that is being written; for
 * merging (packmerge) and for tests.
 */
#ifndef PACKWRITE_H
#define PACKWRITE_H

#include "bytes.h"
#include "hash.h"
#include "lock.h"
#include "oidset.h"
#include "pack.h"
#include "packdraft.h"
#include "packidx.h"

#include <zlib.h>

enum pack_file {
	PACK_KEEP,
	PACK_PACK,
	PACK_IDX,
	PACK_FILES
};

struct pack {
	struct repo *repo;
	int dir;      /* <objects>/pack */
	bool unnamed; /* O_TMPFILE may be tried */
	bool broken;  /* a failure half-way: only good to be freed */
	bool published;
	bool keep_linked; /* files[PACK_KEEP] is packkeep's */
	unsigned level;	  /* merges behind it */
	time_t used;	  /* what the .pack's mtime becomes; 0 leaves it */
	char base[80];	  /* "pack-<hex>" once published */

	struct packidx_entry *entries; /* in the order of the pack */
	size_t count, cap;
	struct oidset members;
	uint32_t *order; /* entry numbers by id; the first `sorted` are valid */
	size_t order_cap, sorted;

	uint64_t size;	  /* bytes of the pack so far */
	uint64_t on_file; /* of these, at the front, in files[PACK_PACK]; the others: */
	struct bytes tail;
	uint64_t content; /* bytes of uncompressed content */

	struct hasher hasher;
	uint64_t hashed;   /* bytes that have gone into it */
	size_t hashed_for; /* the number of objects that its header said */

	z_stream deflate;
	int deflate_bits; /* of its window; 0: not begun */
	struct draft files[PACK_FILES];
};

/* Starts an entry that is copied as it is; pack_copy_bytes() adds its bytes. */
void pack_copy_entry(struct pack *pack, const struct oid *oid, uint32_t crc);
int pack_copy_bytes(struct pack *pack, const void *data, size_t len, struct fail *fail);

/* Opens <objects>/pack, making it when it is missing. */
int pack_open_dir(const struct repo *repo, struct fail *fail);

/* Takes interlock/locks/<name> exclusively: "pack" or "objects". */
int pack_take_lock(struct repo *repo, struct lock *lock, const char *name, int64_t deadline,
		   struct fail *fail);

#endif
