/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "index.h"

#include "indextree.h"
#include "pathcheck.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* gitformat-index(5) */
#define HEADER_SIZE 12
#define STAT_SIZE 40
#define STAT_MODE 24 /* where the mode stands among the stat data */
#define FLAG_ASSUME_VALID 0x8000
#define FLAG_EXTENDED 0x4000
#define FLAG_NAME_MASK 0x0fff
#define FLAG2_SKIP_WORKTREE 0x4000
#define FLAG2_INTENT_TO_ADD 0x2000

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

struct reader {
	struct index *index;
	const uint8_t *at, *end; /* `end` is where the trailer starts */
	size_t hash;		 /* bytes of an id */
	/* version 4 */
	char *arena_at;
	size_t arena_left;
	const char *last;
	size_t last_len;
};

/* ---- entries ------------------------------------------------------------------ */

static bool known_mode(uint32_t mode)
{
	return mode == 0100644 || mode == 0100755 || mode == 0120000 || mode == 0160000;
}

/* The fixed part of an entry; returns where its name starts, or NULL. */
static const uint8_t *read_fixed(struct reader *r, struct index_entry *entry, uint16_t *flags)
{
	const uint8_t *p = r->at;
	uint16_t more;

	if ((size_t)(r->end - p) < STAT_SIZE + r->hash + 2)
		return NULL;
	entry->stat = p;
	entry->mode = be32(p + STAT_MODE);
	entry->oid = p + STAT_SIZE;
	p += STAT_SIZE + r->hash;
	*flags = be16(p);
	p += 2;
	entry->stage = (*flags >> 12) & 3;
	entry->assume_valid = *flags & FLAG_ASSUME_VALID;
	if (*flags & FLAG_EXTENDED) {
		if (r->index->version < 3 || r->end - p < 2)
			return NULL;
		more = be16(p);
		p += 2;
		if (more & ~(FLAG2_SKIP_WORKTREE | FLAG2_INTENT_TO_ADD))
			return NULL;
		entry->skip_worktree = more & FLAG2_SKIP_WORKTREE;
		entry->intent_to_add = more & FLAG2_INTENT_TO_ADD;
		r->index->skip_worktree_count += entry->skip_worktree;
	}
	return p;
}

/* Versions 2 and 3: the name, then 1 to 8 NULs up to a multiple of eight. */
static bool read_name_plain(struct reader *r, struct index_entry *entry, uint16_t flags,
			    const uint8_t *p)
{
	size_t room = (size_t)(r->end - p);
	size_t len = flags & FLAG_NAME_MASK;
	size_t size;

	if (len == FLAG_NAME_MASK)
		len = strnlen((const char *)p, room);
	if (len >= room || p[len] || memchr(p, '\0', len))
		return false;
	size = ((size_t)(p - r->at) + len + 8) & ~(size_t)7;
	if (size > (size_t)(r->end - r->at))
		return false;
	entry->name = (const char *)p;
	entry->name_len = (uint32_t)len;
	r->at += size;
	return true;
}

/* git's variable-length number: seven bits a byte, with no two spellings of one value. */
static bool read_varint(struct reader *r, const uint8_t **p, size_t *value)
{
	size_t v = 0;

	for (bool first = true;; first = false) {
		if (*p == r->end || v > SIZE_MAX >> 8)
			return false;
		v = ((first ? 0 : v + 1) << 7) | (**p & 0x7f);
		if (!(*(*p)++ & 0x80))
			break;
	}
	*value = v;
	return true;
}

static char *arena_take(struct reader *r, size_t size)
{
	char *p = r->arena_at;

	if (r->arena_left < size)
		return NULL;
	r->arena_at += size;
	r->arena_left -= size;
	return p;
}

/* Version 4: how much of the name before to cut off, then what to put there instead. */
static bool read_name_packed(struct reader *r, struct index_entry *entry, const uint8_t *p)
{
	size_t cut, keep, add;
	char *name;

	if (!read_varint(r, &p, &cut) || cut > r->last_len)
		return false;
	keep = r->last_len - cut;
	add = strnlen((const char *)p, (size_t)(r->end - p));
	if (add == (size_t)(r->end - p))
		return false;
	name = arena_take(r, keep + add + 1);
	if (!name)
		return false;
	if (keep)
		memcpy(name, r->last, keep);
	memcpy(name + keep, p, add + 1);
	entry->name = r->last = name;
	r->last_len = keep + add;
	entry->name_len = (uint32_t)r->last_len;
	r->at = p + add + 1;
	return true;
}

/*
 * Version 4 tells a name's length only through the one before it, so that a
 * first pass adds them up. A name cannot grow by more bytes than the file
 * spends on it, and none is longer than PATH_MAX, which bounds the sum.
 */
static bool measure_packed(struct reader *r, size_t *total)
{
	struct reader copy = *r;
	uint32_t ignored = r->index->skip_worktree_count;
	size_t len = 0;

	*total = 0;
	for (uint32_t i = 0; i < r->index->count; i++) {
		struct index_entry entry = {0};
		uint16_t flags;
		const uint8_t *p = read_fixed(&copy, &entry, &flags);
		size_t cut, add;

		if (!p || !read_varint(&copy, &p, &cut) || cut > len)
			return false;
		add = strnlen((const char *)p, (size_t)(copy.end - p));
		if (add == (size_t)(copy.end - p))
			return false;
		len += add - cut;
		if (len >= PATH_MAX)
			return false;
		*total += len + 1;
		copy.at = p + add + 1;
	}
	r->index->skip_worktree_count = ignored;
	return true;
}

/* How many bytes two names have in common at their start, up to `limit`. */
static size_t common_length(const char *a, const char *b, size_t limit)
{
	size_t n = 0;

	for (; n + sizeof(uint64_t) <= limit; n += sizeof(uint64_t)) {
		uint64_t x, y;

		memcpy(&x, a + n, sizeof(x));
		memcpy(&y, b + n, sizeof(y));
		if (x != y)
			return n + (size_t)__builtin_ctzll(x ^ y) /
					   8; /* the first byte is the lowest */
	}
	while (n < limit && a[n] == b[n])
		n++;
	return n;
}

/*
 * Would git put `entry` behind the one before it, and does its name stay below
 * the work tree? What it has in common with that name was looked at already.
 */
static bool in_place(const struct index_entry *before, const struct index_entry *entry)
{
	size_t same = 0;

	if (before) {
		same = common_length(before->name, entry->name,
				     size_min(before->name_len, entry->name_len));
		if (same == entry->name_len)
			/* Several stages of one path, but never beside a merged one. */
			return same == before->name_len && before->stage &&
			       before->stage < entry->stage;
		if (same < before->name_len &&
		    (unsigned char)before->name[same] > (unsigned char)entry->name[same])
			return false;
	}
	while (same && entry->name[same - 1] != '/')
		same--;
	return path_stays_below(entry->name + same, entry->name_len - same);
}

static int read_entries(struct reader *r, const char *path, struct fail *fail)
{
	struct index *index = r->index;
	struct index_entry *entry = NULL;

	for (uint32_t i = 0; i < index->count; i++) {
		const uint8_t *p;
		uint16_t flags;

		entry = &index->entries[i];
		p = read_fixed(r, entry, &flags);
		if (!p || !(index->version == 4 ? read_name_packed(r, entry, p)
						: read_name_plain(r, entry, flags, p)))
			return fail_set(fail, FAIL_CORRUPT, "index '%s': entry %u of %u is damaged",
					path, i + 1, index->count);
		/* An entry that replaces one of the shared index has no name of its own. */
		if (!entry->name_len)
			return fail_set(fail, FAIL_ENGINE, "split index");
		if (entry->name_len >= PATH_MAX)
			return fail_set(fail, FAIL_ENGINE, "unusual name");
		if (!known_mode(entry->mode))
			return fail_set(fail, entry->mode == 040000 ? FAIL_ENGINE : FAIL_CORRUPT,
					entry->mode == 040000
						? "sparse index"
						: "index '%s': entry %u has an impossible mode",
					path, i + 1);
		if (!in_place(i ? entry - 1 : NULL, entry))
			return fail_set(fail, FAIL_CORRUPT,
					"index '%s': entry %u of %u is out of place", path, i + 1,
					index->count);
	}
	return 0;
}

/* ---- the file -------------------------------------------------------------------- */

static int read_extensions(struct reader *r, const char *path, struct fail *fail)
{
	while (r->end - r->at >= 8) {
		const uint8_t *sig = r->at;
		uint32_t size = be32(sig + 4);

		r->at += 8;
		if (size > (size_t)(r->end - r->at))
			break;
		if (!memcmp(sig, "TREE", 4))
			r->index->tree = indextree_read(r->at, size, r->hash, r->index->count);
		else if (!memcmp(sig, "link", 4))
			return fail_set(fail, FAIL_ENGINE, "split index");
		else if (!memcmp(sig, "sdir", 4))
			return fail_set(fail, FAIL_ENGINE, "sparse index");
		else if (sig[0] < 'A' || sig[0] > 'Z')
			return fail_set(fail, FAIL_ENGINE, "unknown index extension '%.4s'",
					(const char *)sig);
		r->at += size;
	}
	if (r->at != r->end)
		return fail_set(fail, FAIL_CORRUPT, "index '%s': damaged behind its entries", path);
	return 0;
}

static int read_header(struct reader *r, const char *path, struct fail *fail)
{
	struct index *index = r->index;
	size_t least;

	if (index->map_len < HEADER_SIZE + r->hash || memcmp(index->map, "DIRC", 4) != 0)
		return fail_set(fail, FAIL_CORRUPT, "'%s' is no index file", path);
	index->version = be32(r->at + 4);
	index->count = be32(r->at + 8);
	r->at += HEADER_SIZE;
	if (index->version < 2 || index->version > 4)
		return fail_set(fail, FAIL_ENGINE, "index version %u", index->version);
	/* Also keeps a damaged count from asking for more memory than the file could fill. */
	least = STAT_SIZE + r->hash + 2 + 2;
	if (index->count > (size_t)(r->end - r->at) / least)
		return fail_set(fail, FAIL_CORRUPT, "index '%s': too short for its %u entries",
				path, index->count);
	return 0;
}

static int parse(struct index *index, const char *path, struct fail *fail)
{
	struct reader r = {.index = index, .hash = hash_size(index->algo)};

	r.at = index->map;
	r.end = r.at + index->map_len - size_min(index->map_len, r.hash);
	if (read_header(&r, path, fail) < 0)
		return fail->kind;
	memcpy(index->checksum, r.end, r.hash);
	if (index->version == 4) {
		if (!measure_packed(&r, &r.arena_left))
			return fail_set(fail, FAIL_CORRUPT, "index '%s': an entry is damaged",
					path);
		index->arena = r.arena_at = mem_alloc(r.arena_left);
	}
	index->entries = mem_array(index->count, sizeof(*index->entries));
	if (read_entries(&r, path, fail) < 0)
		return fail->kind;
	return read_extensions(&r, path, fail);
}

static int map_file(struct index *index, int fd, const char *path, struct fail *fail)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_errno(fail, "stat '%s'", path);
	if (!S_ISREG(st.st_mode))
		return fail_set(fail, FAIL_CORRUPT, "'%s' is not a regular file", path);
	index->exists = true;
	index->mtime = st.st_mtim;
	if (!st.st_size)
		return fail_set(fail, FAIL_CORRUPT, "'%s' is no index file: it is empty", path);
	index->map_len = (size_t)st.st_size;
	index->map = mmap(NULL, index->map_len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (index->map == MAP_FAILED) {
		index->map = NULL;
		return fail_errno(fail, "map '%s'", path);
	}
	return 0;
}

int index_open(struct index *index, const char *path, enum hash_algo algo, struct fail *fail)
{
	int fd;

	*index = (struct index){.algo = algo};
	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return errno == ENOENT ? 0 : fail_errno(fail, "open '%s'", path);
	map_file(index, fd, path, fail);
	close(fd);
	if (fail->kind)
		return fail->kind;
	return parse(index, path, fail);
}

void index_close(struct index *index)
{
	if (index->map)
		munmap(index->map, index->map_len);
	free(index->arena);
	free(index->entries);
	free(index->tree);
	*index = (struct index){.algo = index->algo};
}

/* ---- looking things up ------------------------------------------------------------- */

static int compare_name(const struct index_entry *entry, const char *name, size_t len)
{
	int cmp = memcmp(entry->name, name, size_min(entry->name_len, len));

	if (cmp || entry->name_len == len)
		return cmp;
	return entry->name_len < len ? -1 : 1;
}

uint32_t index_lower_bound(const struct index *index, const char *name, size_t len)
{
	uint32_t low = 0, high = index->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (compare_name(&index->entries[mid], name, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct index_entry *index_find(const struct index *index, const char *name, size_t len)
{
	uint32_t at = index_lower_bound(index, name, len);

	if (at < index->count && !compare_name(&index->entries[at], name, len))
		return &index->entries[at];
	return NULL;
}

static bool has_prefix(const struct index_entry *entry, const char *prefix, size_t len)
{
	return entry->name_len > len && !memcmp(entry->name, prefix, len);
}

uint32_t index_prefix_end(const struct index *index, uint32_t start, uint32_t limit,
			  const char *prefix, size_t len)
{
	uint32_t low = start, high, width = 1;

	/* Most directories are small: widen from the start rather than halve from afar. */
	while (width < limit - low && has_prefix(&index->entries[low + width - 1], prefix, len)) {
		low += width;
		width *= 2;
	}
	high = width < limit - low ? low + width - 1 : limit;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (has_prefix(&index->entries[mid], prefix, len))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- stat data ------------------------------------------------------------------------ */

/* Where each number stands among an entry's stat data. */
enum {
	CTIME = 0,
	MTIME = 8,
	INO = 20,
	UID = 28,
	GID = 32,
	SIZE = 36
};

/* Writers that keep whole seconds store 0 nanoseconds. */
static bool same_time(const uint8_t *disk, const struct timespec *ts)
{
	uint32_t ns = be32(disk + 4);

	return be32(disk) == (uint32_t)ts->tv_sec && (!ns || ns == (uint32_t)ts->tv_nsec);
}

/*
 * Could the file have changed after it was read, without its mtime telling?
 * git says so when both times are in one second, and then converts the file
 * anew, which matters when its attributes changed meanwhile. On top of that
 * come a tick of the kernel's clock across the second's end, and file systems
 * that keep whole or even seconds.
 */
static bool racy(const struct index *index, const uint8_t *disk)
{
	const int64_t tick = 20 * 1000 * 1000;
	int64_t sec = be32(disk), ns = be32(disk + 4);
	int64_t gap = (int64_t)(uint32_t)index->mtime.tv_sec - sec;

	if (!ns)
		return gap <= 2;
	return gap <= 0 || (gap == 1 && 1000000000 + index->mtime.tv_nsec - ns < tick);
}

bool index_entry_racy(const struct index *index, const struct index_entry *entry)
{
	return (int64_t)(uint32_t)index->mtime.tv_sec <= (int64_t)be32(entry->stat + MTIME);
}

bool index_entry_as_old(const struct index_entry *entry, const struct stat *st)
{
	return be32(entry->stat + SIZE) == (uint32_t)st->st_size &&
	       be32(entry->stat + MTIME) == (uint32_t)st->st_mtim.tv_sec;
}

bool index_entry_fresh(const struct index *index, const struct index_entry *entry,
		       const struct stat *st, bool trust_ctime, bool check_stat_minimal)
{
	const uint8_t *disk = entry->stat;
	uint32_t size = be32(disk + SIZE);

	if (size != (uint32_t)st->st_size || !same_time(disk + MTIME, &st->st_mtim))
		return false;
	if (!check_stat_minimal &&
	    (be32(disk + INO) != (uint32_t)st->st_ino || be32(disk + UID) != st->st_uid ||
	     be32(disk + GID) != st->st_gid ||
	     (trust_ctime && !same_time(disk + CTIME, &st->st_ctim))))
		return false;
	/* git stores size 0 for an entry that it found racy: believe it only of an empty blob. */
	if (!size && memcmp(entry->oid, oid_empty_blob(index->algo)->raw, hash_size(index->algo)))
		return false;
	return !racy(index, disk + MTIME);
}
