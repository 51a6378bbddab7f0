/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * hash: running checksums, and the id of an object's content.
 *
 * Object ids under SHA-1 go through libgit2's collision-detecting hash, as
 * git's own do; SHA-256 and the trailers of pack and idx files use libmd.
 */
#ifndef HASH_H
#define HASH_H

#include "bytes.h"
#include "oid.h"

#include <sha1.h>
#include <sha2.h>

struct hasher {
	enum hash_algo algo;
	union {
		SHA1_CTX sha1;
		SHA2_CTX sha256;
	} u;
};

void hasher_init(struct hasher *h, enum hash_algo algo);
void hasher_add(struct hasher *h, const void *data, size_t len);
void hasher_end(struct hasher *h, uint8_t raw[static OID_RAW_MAX]); /* hash_size() bytes */

/* The id of "<type> <len>\0<data>". Thread-safe. */
void object_id(enum hash_algo algo, enum object_type type, const void *data, size_t len,
	       struct oid *oid);

#endif
