/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * oid: the name of an object, for both of git's hashes.
 */
#ifndef OID_H
#define OID_H

#include "prelude.h"

#include <string.h>

enum hash_algo {
	HASH_SHA1 = 1,
	HASH_SHA256 = 2
};

#define OID_RAW_MAX 32
#define OID_HEX_MAX 64

struct oid {
	uint8_t raw[OID_RAW_MAX]; /* bytes behind the hash's width are zero */
	uint8_t algo;		  /* enum hash_algo; 0 in an unset one */
};

enum object_type {
	OBJECT_COMMIT = 1,
	OBJECT_TREE = 2,
	OBJECT_BLOB = 3,
	OBJECT_TAG = 4
};

static inline size_t hash_size(enum hash_algo algo)
{
	return algo == HASH_SHA256 ? 32 : 20;
}

static inline bool oid_equal(const struct oid *a, const struct oid *b)
{
	return !memcmp(a->raw, b->raw, OID_RAW_MAX);
}

static inline int oid_compare(const struct oid *a, const struct oid *b)
{
	return memcmp(a->raw, b->raw, OID_RAW_MAX);
}

bool oid_is_zero(const struct oid *oid);
void oid_zero(enum hash_algo algo, struct oid *oid); /* "must not exist" */
void oid_from_raw(enum hash_algo algo, const void *raw, struct oid *oid);

/* Exactly the hash's number of hex digits, and nothing behind them but `len`. */
bool oid_parse(enum hash_algo algo, const char *hex, size_t len, struct oid *oid);

/* Writes the hex form and a NUL; returns `out`. */
char *oid_hex(const struct oid *oid, char out[static OID_HEX_MAX + 1]);

/* The ids that every repository knows without storing them. */
const struct oid *oid_empty_tree(enum hash_algo algo);
const struct oid *oid_empty_blob(enum hash_algo algo);

const char *object_type_name(enum object_type type);
/* 0 when the name is none of the four. */
enum object_type object_type_parse(const char *name, size_t len);

#endif
