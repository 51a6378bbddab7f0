/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "oid.h"

static const struct oid empty_tree[] = {
	{{0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e, 0xb9, 0xa0, 0x60,
	  0xe5, 0x4b, 0xf8, 0xd6, 0x92, 0x88, 0xfb, 0xee, 0x49, 0x04},
	 HASH_SHA1},
	{{0x6e, 0xf1, 0x9b, 0x41, 0x22, 0x5c, 0x53, 0x69, 0xf1, 0xc1, 0x04,
	  0xd4, 0x5d, 0x8d, 0x85, 0xef, 0xa9, 0xb0, 0x57, 0xb5, 0x3b, 0x14,
	  0xb4, 0xb9, 0xb9, 0x39, 0xdd, 0x74, 0xde, 0xcc, 0x53, 0x21},
	 HASH_SHA256},
};

static const struct oid empty_blob[] = {
	{{0xe6, 0x9d, 0xe2, 0x9b, 0xb2, 0xd1, 0xd6, 0x43, 0x4b, 0x8b,
	  0x29, 0xae, 0x77, 0x5a, 0xd8, 0xc2, 0xe4, 0x8c, 0x53, 0x91},
	 HASH_SHA1},
	{{0x47, 0x3a, 0x0f, 0x4c, 0x3b, 0xe8, 0xa9, 0x36, 0x81, 0xa2, 0x67,
	  0xe3, 0xb1, 0xe9, 0xa7, 0xdc, 0xda, 0x11, 0x85, 0x43, 0x6f, 0xe1,
	  0x41, 0xf7, 0x74, 0x91, 0x20, 0xa3, 0x03, 0x72, 0x18, 0x13},
	 HASH_SHA256},
};

static const char *const type_names[] = {
	[OBJECT_COMMIT] = "commit",
	[OBJECT_TREE] = "tree",
	[OBJECT_BLOB] = "blob",
	[OBJECT_TAG] = "tag",
};

bool oid_is_zero(const struct oid *oid)
{
	static const uint8_t zero[OID_RAW_MAX];

	return !memcmp(oid->raw, zero, OID_RAW_MAX);
}

void oid_zero(enum hash_algo algo, struct oid *oid)
{
	memset(oid, 0, sizeof(*oid));
	oid->algo = (uint8_t)algo;
}

void oid_from_raw(enum hash_algo algo, const void *raw, struct oid *oid)
{
	oid_zero(algo, oid);
	memcpy(oid->raw, raw, hash_size(algo));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool oid_parse(enum hash_algo algo, const char *hex, size_t len, struct oid *oid)
{
	oid_zero(algo, oid);
	if (len != hash_size(algo) * 2)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_digit(hex[i]);
		int low = hex_digit(hex[i + 1]);

		if (high < 0 || low < 0)
			return false;
		oid->raw[i / 2] = (uint8_t)(high << 4 | low);
	}
	return true;
}

char *oid_hex(const struct oid *oid, char out[static OID_HEX_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = hash_size(oid->algo);

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[oid->raw[i] >> 4];
		out[2 * i + 1] = digits[oid->raw[i] & 15];
	}
	out[2 * n] = '\0';
	return out;
}

const struct oid *oid_empty_tree(enum hash_algo algo)
{
	return &empty_tree[algo == HASH_SHA256];
}

const struct oid *oid_empty_blob(enum hash_algo algo)
{
	return &empty_blob[algo == HASH_SHA256];
}

const char *object_type_name(enum object_type type)
{
	return type_names[type];
}

enum object_type object_type_parse(const char *name, size_t len)
{
	for (int type = OBJECT_COMMIT; type <= OBJECT_TAG; type++)
		if (strlen(type_names[type]) == len && !memcmp(type_names[type], name, len))
			return (enum object_type)type;
	return 0;
}
