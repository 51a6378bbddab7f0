/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "hash.h"

#include <git2.h>
#include <stdio.h>
#include <stdlib.h>

void hasher_init(struct hasher *h, enum hash_algo algo)
{
	h->algo = algo;
	if (algo == HASH_SHA256)
		SHA256Init(&h->u.sha256);
	else
		SHA1Init(&h->u.sha1);
}

void hasher_add(struct hasher *h, const void *data, size_t len)
{
	if (h->algo == HASH_SHA256)
		SHA256Update(&h->u.sha256, data, len);
	else
		SHA1Update(&h->u.sha1, data, len);
}

void hasher_end(struct hasher *h, uint8_t raw[static OID_RAW_MAX])
{
	memset(raw, 0, OID_RAW_MAX);
	if (h->algo == HASH_SHA256)
		SHA256Final(raw, &h->u.sha256);
	else
		SHA1Final(raw, &h->u.sha1);
}

void object_id(enum hash_algo algo, enum object_type type, const void *data, size_t len,
	       struct oid *oid)
{
	oid_zero(algo, oid);
	if (algo == HASH_SHA1) {
		git_oid id;

		/* Its own types have git's numbers; it fails only when memory does. */
		if (git_odb_hash(&id, data, len, (git_object_t)type) < 0)
			abort();
		memcpy(oid->raw, id.id, GIT_OID_RAWSZ);
	} else {
		struct hasher h;
		char header[64];
		int n = snprintf(header, sizeof(header), "%s %zu", object_type_name(type), len);

		hasher_init(&h, algo);
		hasher_add(&h, header, (size_t)n + 1);
		hasher_add(&h, data, len);
		hasher_end(&h, oid->raw);
	}
}
