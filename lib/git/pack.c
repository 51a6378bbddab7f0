/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packwrite.h"

#include "packkeep.h"
#include "repo.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADER_SIZE 12
#define DEFLATE_LEVEL 1
#define DEFLATE_STEP ((size_t)64 << 10)

static const char *const extensions[PACK_FILES] = {".keep", ".pack", ".idx"};

int pack_open_dir(const struct repo *repo, struct fail *fail)
{
	/* The "." follows a pack directory that is a symbolic link, as git does. */
	char *path = mem_printf("%s/pack/.", repo->object_dir);
	int fd = file_open_dir(AT_FDCWD, path, fail);

	if (fd == FAIL_GONE) {
		fail_clear(fail);
		path[strlen(path) - 2] = '\0';
		fd = file_make_dirs(AT_FDCWD, path, &repo->modes, fail);
		if (fd == 0)
			fd = file_open_dir(AT_FDCWD, path, fail);
	}
	free(path);
	return fd;
}

static void make_header(uint8_t header[HEADER_SIZE], size_t count)
{
	uint32_t words[3] = {htobe32(0x5041434b), htobe32(2), htobe32((uint32_t)count)};

	memcpy(header, words, HEADER_SIZE);
}

int pack_begin(struct repo *repo, struct pack **out, struct fail *fail)
{
	static const uint8_t room_for_header[HEADER_SIZE];
	int dir = pack_open_dir(repo, fail);
	struct pack *pack;

	*out = NULL;
	if (dir < 0)
		return dir;
	pack = mem_zalloc(sizeof(*pack));
	pack->repo = repo;
	pack->dir = dir;
	pack->unnamed = draft_unnamed_possible();
	bytes_init(&pack->tail);
	bytes_add(&pack->tail, room_for_header, HEADER_SIZE);
	pack->size = HEADER_SIZE;
	for (int i = 0; i < PACK_FILES; i++)
		pack->files[i] = (struct draft)DRAFT_INIT;
	*out = pack;
	return 0;
}

void pack_free(struct pack *pack)
{
	if (!pack)
		return;
	for (int i = 0; i < PACK_FILES; i++)
		draft_drop(&pack->files[i], pack->dir);
	if (pack->deflate_bits)
		deflateEnd(&pack->deflate);
	bytes_release(&pack->tail);
	free(pack->entries);
	oidset_release(&pack->members);
	free(pack->order);
	close(pack->dir);
	free(pack);
}

/* ---- which objects are in it ------------------------------------------------------- */

static struct packidx_entry *add_entry(struct pack *pack, const struct oid *oid)
{
	struct packidx_entry *entry;

	if (pack->count >= UINT32_MAX - 1)
		abort();
	oidset_add(&pack->members, oid);
	MEM_GROW(pack->entries, pack->cap, pack->count + 1);
	entry = &pack->entries[pack->count++];
	*entry = (struct packidx_entry){.oid = *oid, .offset = pack->size};
	return entry;
}

bool pack_has(const struct pack *pack, const struct oid *oid)
{
	return oidset_has(&pack->members, oid);
}

size_t pack_count(const struct pack *pack)
{
	return pack->count;
}

uint64_t pack_bytes(const struct pack *pack)
{
	return pack->content;
}

const char *pack_base(const struct pack *pack)
{
	return pack->base;
}

/* ---- its bytes ------------------------------------------------------------------------ */

static int broken(struct pack *pack, struct fail *fail)
{
	pack->broken = true;
	return fail->kind;
}

/* For messages: the file has no name yet. */
static char *label(const struct pack *pack)
{
	return mem_printf("a new pack in %s/pack", pack->repo->object_dir);
}

static int open_file(struct pack *pack, enum pack_file which, struct fail *fail)
{
	if (pack->files[which].fd >= 0)
		return 0;
	return draft_open(&pack->files[which], pack->dir, pack->unnamed, &pack->repo->modes, fail);
}

/* Moves what is in memory to the file. */
static int spill(struct pack *pack, struct fail *fail)
{
	char *name = label(pack);

	if (open_file(pack, PACK_PACK, fail) == 0 &&
	    file_write_fd(pack->files[PACK_PACK].fd, name, pack->tail.data, pack->tail.len, fail) ==
		    0) {
		pack->on_file += pack->tail.len;
		bytes_clear(&pack->tail);
	}
	free(name);
	return fail->kind;
}

/* The bytes that came behind `before` in the tail are now part of the pack. */
static int tail_grew(struct pack *pack, size_t before, uint32_t *crc, struct fail *fail)
{
	size_t more = pack->tail.len - before;

	if (crc)
		*crc = (uint32_t)crc32_z(*crc, (const Bytef *)pack->tail.data + before, more);
	pack->size += more;
	return pack->tail.len >= PACK_SPILL ? spill(pack, fail) : 0;
}

/* Type and size: 4 bits of size in the first byte, then 7 in each. */
static size_t encode_entry_header(enum object_type type, uint64_t len, uint8_t out[16])
{
	size_t n = 0;
	uint8_t byte = (uint8_t)(type << 4 | (len & 15));

	for (len >>= 4; len; len >>= 7) {
		out[n++] = byte | 0x80;
		byte = len & 0x7f;
	}
	out[n++] = byte;
	return n;
}

/* A window of 4 KiB is enough for most of what a small save adds, and an eighth of the memory. */
static void start_deflate(struct pack *pack, size_t len)
{
	const int small = 12, large = 15;
	int bits = len <= (size_t)1 << small ? small : large;
	int r;

	if (pack->deflate_bits < bits) {
		if (pack->deflate_bits)
			deflateEnd(&pack->deflate);
		r = deflateInit2(&pack->deflate, DEFLATE_LEVEL, Z_DEFLATED, bits, bits - 7,
				 Z_DEFAULT_STRATEGY);
		pack->deflate_bits = bits;
	} else {
		r = deflateReset(&pack->deflate);
	}
	/* Only memory can run out here. */
	if (r != Z_OK)
		abort();
}

static int deflate_all(struct pack *pack, const void *data, size_t len, uint32_t *crc,
		       struct fail *fail)
{
	z_stream *z = &pack->deflate;
	const uint8_t *next = data;
	int r = Z_OK;

	start_deflate(pack, len);
	z->avail_in = 0;
	while (r != Z_STREAM_END) {
		size_t before = pack->tail.len;

		if (!z->avail_in && len) {
			z->next_in = (z_const Bytef *)next;
			z->avail_in = (uInt)size_min(len, (size_t)1 << 30);
			next += z->avail_in;
			len -= z->avail_in;
		}
		bytes_reserve(&pack->tail,
			      size_min(DEFLATE_STEP, deflateBound(z, z->avail_in) + 16));
		z->next_out = (Bytef *)pack->tail.data + before;
		z->avail_out = (uInt)size_min(pack->tail.cap - before - 1, (size_t)1 << 30);
		r = deflate(z, len ? Z_NO_FLUSH : Z_FINISH);
		if (r == Z_STREAM_ERROR)
			abort();
		pack->tail.len = (size_t)((char *)z->next_out - pack->tail.data);
		pack->tail.data[pack->tail.len] = '\0';
		if (tail_grew(pack, before, crc, fail) < 0)
			return fail->kind;
	}
	return 0;
}

static int usable(const struct pack *pack, struct fail *fail)
{
	if (pack->broken || pack->published)
		return fail_set(fail, FAIL_FATAL, "the new pack was %s already",
				pack->published ? "published" : "given up");
	return 0;
}

int pack_add(struct pack *pack, const struct oid *oid, enum object_type type, const void *data,
	     size_t len, struct fail *fail)
{
	struct packidx_entry *entry;
	uint8_t header[16];
	size_t before = pack->tail.len;
	uint32_t crc = 0;

	if (usable(pack, fail) < 0)
		return fail->kind;
	if (pack_has(pack, oid))
		return 0;
	entry = add_entry(pack, oid);
	bytes_add(&pack->tail, header, encode_entry_header(type, len, header));
	if (tail_grew(pack, before, &crc, fail) < 0 || deflate_all(pack, data, len, &crc, fail) < 0)
		return broken(pack, fail);
	entry->crc = crc;
	pack->content += len;
	return 0;
}

void pack_copy_entry(struct pack *pack, const struct oid *oid, uint32_t crc)
{
	add_entry(pack, oid)->crc = crc;
}

int pack_copy_bytes(struct pack *pack, const void *data, size_t len, struct fail *fail)
{
	size_t before = pack->tail.len;

	bytes_add(&pack->tail, data, len);
	return tail_grew(pack, before, NULL, fail) < 0 ? broken(pack, fail) : 0;
}

/* ---- the trailer ------------------------------------------------------------------------ */

/* Hashes what is on file from `hashed` on. */
static int hash_file(struct pack *pack, struct fail *fail)
{
	char *buffer = mem_alloc(PACK_SPILL);

	while (pack->hashed < pack->on_file) {
		size_t want = size_min(PACK_SPILL, (size_t)(pack->on_file - pack->hashed));
		ssize_t n = pread(pack->files[PACK_PACK].fd, buffer, want, (off_t)pack->hashed);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n < 0 ? errno : EIO;
			fail_errno(fail, "read back a new pack in '%s/pack'",
				   pack->repo->object_dir);
			break;
		}
		hasher_add(&pack->hasher, buffer, (size_t)n);
		pack->hashed += (uint64_t)n;
	}
	free(buffer);
	return fail->kind;
}

/*
 * Brings the running hash up to the end. The number of objects is in the first
 * bytes that are hashed, so it has to be known before anything can be.
 */
static int hash_up(struct pack *pack, size_t count, struct fail *fail)
{
	uint8_t header[HEADER_SIZE];
	size_t done;

	if (!pack->hashed || pack->hashed_for != count) {
		make_header(header, count);
		hasher_init(&pack->hasher, pack->repo->algo);
		hasher_add(&pack->hasher, header, HEADER_SIZE);
		pack->hashed = HEADER_SIZE;
		pack->hashed_for = count;
	}
	if (pack->hashed < pack->on_file && hash_file(pack, fail) < 0)
		return fail->kind;
	done = (size_t)(pack->hashed - pack->on_file);
	hasher_add(&pack->hasher, pack->tail.data + done, pack->tail.len - done);
	pack->hashed = pack->size;
	return 0;
}

static void sort(struct pack *pack)
{
	MEM_GROW(pack->order, pack->order_cap, pack->count + 1);
	packidx_sort(pack->entries, pack->order, pack->sorted, pack->count);
	pack->sorted = pack->count;
}

static int write_own_keep(struct pack *pack, struct fail *fail)
{
	char text[PACKKEEP_TEXT_MAX];
	size_t n = packkeep_text(pack->level, text);

	if (open_file(pack, PACK_KEEP, fail) < 0)
		return fail->kind;
	if (file_write_fd(pack->files[PACK_KEEP].fd, "a new .keep file", text, n, fail) < 0)
		return fail->kind;
	if (pack->repo->conf.durable && fsync(pack->files[PACK_KEEP].fd) < 0)
		return fail_errno(fail, "fsync a new .keep file");
	return 0;
}

/* Durable ones are files of their own: who knows whether the other is on disk. */
static int prepare_keep(struct pack *pack, struct fail *fail)
{
	if (pack->files[PACK_KEEP].fd >= 0)
		return 0;
	if (pack->unnamed && !pack->repo->conf.durable)
		pack->files[PACK_KEEP].fd = packkeep_open(pack->repo, pack->level);
	pack->keep_linked = pack->files[PACK_KEEP].fd >= 0;
	return pack->keep_linked ? 0 : write_own_keep(pack, fail);
}

int pack_prepare(struct pack *pack, size_t more, struct fail *fail)
{
	if (usable(pack, fail) < 0)
		return fail->kind;
	if (pack->count + more == 0)
		return 0;
	if (prepare_keep(pack, fail) < 0 || open_file(pack, PACK_PACK, fail) < 0 ||
	    open_file(pack, PACK_IDX, fail) < 0)
		return broken(pack, fail);
	if (pack->on_file && pack->tail.len && spill(pack, fail) < 0)
		return broken(pack, fail);
	if (hash_up(pack, pack->count + more, fail) < 0)
		return broken(pack, fail);
	sort(pack);
	/* The one in draft_place() then finds little left to do. */
	if (more && pack->on_file && pack->repo->conf.durable &&
	    fdatasync(pack->files[PACK_PACK].fd) < 0) {
		fail_errno(fail, "fsync a new pack in '%s/pack'", pack->repo->object_dir);
		return broken(pack, fail);
	}
	return 0;
}

/* ---- publishing ------------------------------------------------------------------------------ */

/* Puts the number of objects into the first bytes, wherever they are. */
static int write_header(struct pack *pack, struct fail *fail)
{
	uint8_t header[HEADER_SIZE];

	make_header(header, pack->count);
	if (!pack->on_file) {
		memcpy(pack->tail.data, header, HEADER_SIZE);
		return 0;
	}
	if (pwrite(pack->files[PACK_PACK].fd, header, HEADER_SIZE, 0) != HEADER_SIZE)
		return fail_errno(fail, "write a new pack in '%s/pack'", pack->repo->object_dir);
	return 0;
}

static int finish_pack(struct pack *pack, uint8_t trailer[static OID_RAW_MAX], struct fail *fail)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = pack->used}};

	if (pack_prepare(pack, 0, fail) < 0 || write_header(pack, fail) < 0)
		return fail->kind;
	hasher_end(&pack->hasher, trailer);
	bytes_add(&pack->tail, trailer, hash_size(pack->repo->algo));
	if (spill(pack, fail) < 0)
		return fail->kind;
	if (pack->used && futimens(pack->files[PACK_PACK].fd, times) < 0)
		return fail_errno(fail, "set the time of a new pack");
	return 0;
}

static int write_idx(struct pack *pack, const uint8_t *trailer, struct fail *fail)
{
	struct bytes idx = BYTES_INIT;

	packidx_build(pack->entries, pack->order, pack->count, pack->repo->algo, trailer, &idx);
	file_write_fd(pack->files[PACK_IDX].fd, "a new pack index", idx.data, idx.len, fail);
	bytes_release(&idx);
	return fail->kind;
}

static int place_one(struct pack *pack, int i, const char *name, struct fail *fail)
{
	struct draft *draft = &pack->files[i];

	if (i == PACK_KEEP && pack->keep_linked) {
		if (draft_link(draft, pack->dir, name))
			return 0;
		draft_drop(draft, pack->dir);
		pack->keep_linked = false;
		if (write_own_keep(pack, fail) < 0)
			return fail->kind;
	}
	return draft_place(draft, pack->dir, name, pack->repo->conf.durable && i != PACK_KEEP,
			   fail);
}

/* Gives the three files their names, in the order of the crash story. */
static int place(struct pack *pack, const uint8_t *trailer, struct fail *fail)
{
	bool durable = pack->repo->conf.durable;
	char hex[OID_HEX_MAX + 1];
	char name[PACK_FILES][ARRAY_SIZE(pack->base) + 8];
	struct oid id;
	int i;

	oid_from_raw(pack->repo->algo, trailer, &id);
	snprintf(pack->base, sizeof(pack->base), "pack-%s", oid_hex(&id, hex));
	for (i = 0; i < PACK_FILES; i++)
		snprintf(name[i], sizeof(name[i]), "%s%s", pack->base, extensions[i]);
	for (i = 0; i < PACK_FILES; i++)
		if (place_one(pack, i, name[i], fail) < 0)
			break;
	if (fail->kind) {
		while (--i >= 0)
			draft_take_back(&pack->files[i], pack->dir, name[i]);
		return fail->kind;
	}
	if (durable && fsync(pack->dir) < 0)
		return fail_errno(fail, "fsync '%s/pack'", pack->repo->object_dir);
	return 0;
}

int pack_publish(struct pack *pack, struct fail *fail)
{
	uint8_t trailer[OID_RAW_MAX];

	if (usable(pack, fail) < 0)
		return fail->kind;
	if (!pack->count)
		return 0;
	if (finish_pack(pack, trailer, fail) < 0 || write_idx(pack, trailer, fail) < 0 ||
	    place(pack, trailer, fail) < 0)
		return broken(pack, fail);
	pack->published = true;
	return 0;
}
