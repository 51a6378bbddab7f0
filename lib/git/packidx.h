/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * packidx: the index beside a pack, version 2 (git's Documentation/gitformat-pack).
 *
 * Magic and version; 256 cumulative counts by first byte; then sorted by id: the
 * ids, the CRC-32 of each packed entry, and its offset in 4 bytes, or, with the
 * top bit set, a place in a table of 8-byte offsets; the pack's trailer; the
 * hash of all that. Numbers are big-endian.
 */
#ifndef PACKIDX_H
#define PACKIDX_H

#include "bytes.h"
#include "fail.h"
#include "oid.h"

struct packidx_entry {
	struct oid oid;
	uint32_t crc;
	uint64_t offset;
};

/* Puts the numbers 0..count-1 into `order` by id; the first `sorted` are in order already. */
void packidx_sort(const struct packidx_entry *entries, uint32_t *order, size_t sorted,
		  size_t count);

/* Appends the whole file. */
void packidx_build(const struct packidx_entry *entries, const uint32_t *order, size_t count,
		   enum hash_algo algo, const uint8_t *pack_trailer, struct bytes *out);

/* An .idx that was read and checked in whole. */
struct packidx {
	struct bytes data;
	enum hash_algo algo;
	size_t count;
};

#define PACKIDX_INIT \
	{ \
		.data = BYTES_INIT \
	}

/*
 * Reads `name` in `dir`. FAIL_CORRUPT when its hash, its order or an offset is
 * wrong. Release with packidx_release(), also after a failure.
 */
int packidx_read(struct packidx *idx, int dir, const char *name, enum hash_algo algo,
		 struct fail *fail);
void packidx_release(struct packidx *idx);

void packidx_get(const struct packidx *idx, size_t i, struct packidx_entry *entry);
const uint8_t *packidx_pack_trailer(const struct packidx *idx);

#endif
