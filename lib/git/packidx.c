/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packidx.h"

#include "file.h"
#include "hash.h"

#include <endian.h>
#include <stdlib.h>

#define HEAD_SIZE 8
#define FANOUT_SIZE (256 * 4)
#define LARGE 0x80000000u

static const uint8_t magic[HEAD_SIZE] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};

/* A save adds one entry to what pack_prepare() has sorted: up to here it is inserted. */
#define FEW 8

static int compare_order(const void *a, const void *b, void *arg)
{
	const struct packidx_entry *entries = arg;

	return oid_compare(&entries[*(const uint32_t *)a].oid, &entries[*(const uint32_t *)b].oid);
}

static void insert(const struct packidx_entry *entries, uint32_t *order, size_t count, uint32_t n)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (oid_compare(&entries[order[middle]].oid, &entries[n].oid) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	memmove(order + low + 1, order + low, (count - low) * sizeof(*order));
	order[low] = n;
}

void packidx_sort(const struct packidx_entry *entries, uint32_t *order, size_t sorted, size_t count)
{
	if (count - sorted <= FEW) {
		for (size_t i = sorted; i < count; i++)
			insert(entries, order, i, (uint32_t)i);
		return;
	}
	for (size_t i = sorted; i < count; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, count, sizeof(*order), compare_order, (void *)entries);
}

static void add32(struct bytes *out, uint32_t value)
{
	uint32_t big = htobe32(value);

	bytes_add(out, &big, sizeof(big));
}

static void add64(struct bytes *out, uint64_t value)
{
	uint64_t big = htobe64(value);

	bytes_add(out, &big, sizeof(big));
}

static void add_fanout(const struct packidx_entry *entries, const uint32_t *order, size_t count,
		       struct bytes *out)
{
	size_t i = 0;

	for (unsigned first = 0; first < 256; first++) {
		while (i < count && entries[order[i]].oid.raw[0] == first)
			i++;
		add32(out, (uint32_t)i);
	}
}

static void add_offsets(const struct packidx_entry *entries, const uint32_t *order, size_t count,
			struct bytes *out)
{
	uint32_t large = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t offset = entries[order[i]].offset;

		add32(out, offset < LARGE ? (uint32_t)offset : LARGE | large++);
	}
	for (size_t i = 0; large && i < count; i++)
		if (entries[order[i]].offset >= LARGE)
			add64(out, entries[order[i]].offset);
}

void packidx_build(const struct packidx_entry *entries, const uint32_t *order, size_t count,
		   enum hash_algo algo, const uint8_t *pack_trailer, struct bytes *out)
{
	size_t start = out->len;
	size_t width = hash_size(algo);
	uint8_t own[OID_RAW_MAX];
	struct hasher h;

	bytes_reserve(out, HEAD_SIZE + FANOUT_SIZE + count * (width + 8) + 2 * width);
	bytes_add(out, magic, sizeof(magic));
	add_fanout(entries, order, count, out);
	for (size_t i = 0; i < count; i++)
		bytes_add(out, entries[order[i]].oid.raw, width);
	for (size_t i = 0; i < count; i++)
		add32(out, entries[order[i]].crc);
	add_offsets(entries, order, count, out);
	bytes_add(out, pack_trailer, width);
	hasher_init(&h, algo);
	hasher_add(&h, out->data + start, out->len - start);
	hasher_end(&h, own);
	bytes_add(out, own, width);
}

/* ---- reading -------------------------------------------------------------------- */

static uint32_t get32(const struct packidx *idx, size_t at)
{
	uint32_t big;

	memcpy(&big, idx->data.data + at, sizeof(big));
	return be32toh(big);
}

static size_t ids_at(UNUSED const struct packidx *idx)
{
	return HEAD_SIZE + FANOUT_SIZE;
}

static size_t crcs_at(const struct packidx *idx)
{
	return ids_at(idx) + idx->count * hash_size(idx->algo);
}

static size_t offsets_at(const struct packidx *idx)
{
	return crcs_at(idx) + idx->count * 4;
}

static size_t large_at(const struct packidx *idx)
{
	return offsets_at(idx) + idx->count * 4;
}

static size_t trailers_at(const struct packidx *idx)
{
	return idx->data.len - 2 * hash_size(idx->algo);
}

const uint8_t *packidx_pack_trailer(const struct packidx *idx)
{
	return (const uint8_t *)idx->data.data + trailers_at(idx);
}

void packidx_get(const struct packidx *idx, size_t i, struct packidx_entry *entry)
{
	size_t width = hash_size(idx->algo);
	uint32_t offset = get32(idx, offsets_at(idx) + i * 4);

	oid_from_raw(idx->algo, idx->data.data + ids_at(idx) + i * width, &entry->oid);
	entry->crc = get32(idx, crcs_at(idx) + i * 4);
	entry->offset = offset;
	if (offset & LARGE) {
		uint64_t big;

		memcpy(&big, idx->data.data + large_at(idx) + (size_t)(offset & ~LARGE) * 8,
		       sizeof(big));
		entry->offset = be64toh(big);
	}
}

/* Is the file as long as its number of entries says, and its hash right? */
static bool whole(struct packidx *idx)
{
	size_t width = hash_size(idx->algo);
	size_t least = HEAD_SIZE + FANOUT_SIZE + 2 * width;
	uint8_t own[OID_RAW_MAX];
	struct hasher h;

	if (idx->data.len < least || memcmp(idx->data.data, magic, sizeof(magic)) != 0)
		return false;
	idx->count = get32(idx, HEAD_SIZE + 255 * 4);
	if (idx->count > (idx->data.len - least) / (width + 8) ||
	    (trailers_at(idx) - large_at(idx)) % 8 != 0)
		return false;
	hasher_init(&h, idx->algo);
	hasher_add(&h, idx->data.data, idx->data.len - width);
	hasher_end(&h, own);
	return !memcmp(own, idx->data.data + idx->data.len - width, width);
}

/* Are the ids in order, do the counts fit them, and is every large offset there? */
static bool orderly(const struct packidx *idx)
{
	size_t width = hash_size(idx->algo);
	size_t larges = (trailers_at(idx) - large_at(idx)) / 8;
	const char *ids = idx->data.data + ids_at(idx);
	size_t i = 0;

	for (unsigned first = 0; first < 256; first++) {
		while (i < idx->count && (uint8_t)ids[i * width] == first)
			i++;
		if (get32(idx, HEAD_SIZE + first * 4) != i)
			return false;
	}
	for (i = 0; i < idx->count; i++) {
		uint32_t offset = get32(idx, offsets_at(idx) + i * 4);

		if (i && memcmp(ids + (i - 1) * width, ids + i * width, width) >= 0)
			return false;
		if (offset & LARGE && (offset & ~LARGE) >= larges)
			return false;
	}
	return true;
}

int packidx_read(struct packidx *idx, int dir, const char *name, enum hash_algo algo,
		 struct fail *fail)
{
	*idx = (struct packidx)PACKIDX_INIT;
	idx->algo = algo;
	if (file_read(dir, name, SIZE_MAX / 4, &idx->data, fail) < 0)
		return fail->kind;
	if (!whole(idx) || !orderly(idx))
		return fail_set(fail, FAIL_CORRUPT, "pack index '%s' is damaged", name);
	return 0;
}

void packidx_release(struct packidx *idx)
{
	bytes_release(&idx->data);
	idx->count = 0;
}
