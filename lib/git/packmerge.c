/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packwrite.h"

#include "clock.h"
#include "file.h"
#include "lock.h"
#include "packdir.h"
#include "packkeep.h"
#include "packmidx.h"
#include "repo.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADER_SIZE 12
#define WINDOW ((size_t)1 << 20)

/* ---- one of our packs, being read ----------------------------------------------- */

struct source {
	int fd;
	char *name;
	uint64_t end; /* where the trailer begins */
	struct packidx idx;
	struct packidx_entry *entries; /* in the order of the pack */
	struct bytes window;	       /* what was read last, from `at` on */
	uint64_t at;
};

static int damaged(const struct source *source, struct fail *fail)
{
	return fail_set(fail, FAIL_CORRUPT, "pack '%s' is damaged; see git fsck", source->name);
}

static int fill_window(struct source *source, uint64_t at, size_t len, struct fail *fail)
{
	bytes_clear(&source->window);
	bytes_reserve(&source->window, len);
	source->at = at;
	while (source->window.len < len) {
		ssize_t n = pread(source->fd, source->window.data + source->window.len,
				  len - source->window.len, (off_t)(at + source->window.len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(fail, "read '%s'", source->name);
		if (n == 0)
			return damaged(source, fail);
		source->window.len += (size_t)n;
	}
	return 0;
}

/* Points at the bytes of the pack from `at` on; `len` says how many, at most `most`. */
static int look_at(struct source *source, uint64_t at, uint64_t most, const char **data,
		   size_t *len, struct fail *fail)
{
	uint64_t skip;

	if (at < source->at || at >= source->at + source->window.len) {
		uint64_t left = source->end - at;

		if (fill_window(source, at, left < WINDOW ? (size_t)left : WINDOW, fail) < 0)
			return fail->kind;
	}
	skip = at - source->at;
	*data = source->window.data + skip;
	*len = source->window.len - (size_t)skip;
	if (*len > most)
		*len = (size_t)most;
	return 0;
}

static int compare_offset(const void *a, const void *b)
{
	const struct packidx_entry *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Reads the list of entries; they must fill the pack from its header to its trailer. */
static int list_entries(struct source *source, struct fail *fail)
{
	size_t count = source->idx.count;

	source->entries = mem_array(count, sizeof(*source->entries));
	for (size_t i = 0; i < count; i++)
		packidx_get(&source->idx, i, &source->entries[i]);
	qsort(source->entries, count, sizeof(*source->entries), compare_offset);
	for (size_t i = 1; i < count; i++)
		if (source->entries[i].offset <= source->entries[i - 1].offset)
			return damaged(source, fail);
	if (count && (source->entries[0].offset != HEADER_SIZE ||
		      source->entries[count - 1].offset >= source->end))
		return damaged(source, fail);
	return 0;
}

/* Do header and trailer of the pack fit its index? */
static int check_ends(struct source *source, size_t width, struct fail *fail)
{
	const uint32_t header[3] = {htobe32(0x5041434b), htobe32(2),
				    htobe32((uint32_t)source->idx.count)};
	uint8_t start[HEADER_SIZE], trailer[OID_RAW_MAX];

	if (pread(source->fd, start, HEADER_SIZE, 0) != HEADER_SIZE ||
	    memcmp(start, header, HEADER_SIZE) != 0 ||
	    pread(source->fd, trailer, width, (off_t)source->end) != (ssize_t)width ||
	    memcmp(trailer, packidx_pack_trailer(&source->idx), width) != 0)
		return damaged(source, fail);
	return 0;
}

static void source_close(struct source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	packidx_release(&source->idx);
	bytes_release(&source->window);
	free(source->entries);
	free(source->name);
}

static int source_open(struct source *source, int dir, const char *base, enum hash_algo algo,
		       struct fail *fail)
{
	char *idx_name = mem_printf("%s.idx", base);
	size_t width = hash_size(algo);
	struct stat st;

	*source = (struct source){.fd = -1,
				  .idx = PACKIDX_INIT,
				  .window = BYTES_INIT,
				  .name = mem_printf("%s.pack", base)};
	if (packidx_read(&source->idx, dir, idx_name, algo, fail) < 0)
		goto done;
	source->fd = file_open(dir, source->name, O_RDONLY, NULL, fail);
	if (source->fd < 0)
		goto done;
	if (fstat(source->fd, &st) < 0) {
		fail_errno(fail, "stat '%s'", source->name);
		goto done;
	}
	if ((uint64_t)st.st_size < HEADER_SIZE + width) {
		damaged(source, fail);
		goto done;
	}
	source->end = (uint64_t)st.st_size - width;
	if (check_ends(source, width, fail) == 0)
		list_entries(source, fail);
done:
	free(idx_name);
	return fail->kind;
}

/* ---- copying ---------------------------------------------------------------------- */

/* Version 1 of our packs holds commits, trees, blobs and tags; no deltas. */
static bool whole_object(char first_byte)
{
	unsigned type = (uint8_t)first_byte >> 4 & 7;

	return type >= OBJECT_COMMIT && type <= OBJECT_TAG;
}

static int copy_entry(struct source *source, size_t i, struct pack *pack, struct fail *fail)
{
	const struct packidx_entry *entry = &source->entries[i];
	uint64_t at = entry->offset;
	uint64_t end = i + 1 < source->idx.count ? source->entries[i + 1].offset : source->end;
	uint32_t crc = 0;
	const char *data = NULL;
	size_t len = 0;

	pack_copy_entry(pack, &entry->oid, entry->crc);
	while (at < end) {
		if (look_at(source, at, end - at, &data, &len, fail) < 0)
			return fail->kind;
		if (at == entry->offset && !whole_object(*data))
			return damaged(source, fail);
		crc = (uint32_t)crc32_z(crc, (const Bytef *)data, len);
		if (pack_copy_bytes(pack, data, len, fail) < 0)
			return fail->kind;
		at += len;
	}
	return crc == entry->crc ? 0 : damaged(source, fail);
}

/* Copies what `keep` wants (NULL: all of it) and `pack` does not have yet. */
static int copy_pack(struct source *source, struct pack *pack, pack_keep *keep, void *arg,
		     struct fail *fail)
{
	for (size_t i = 0; i < source->idx.count; i++) {
		const struct oid *oid = &source->entries[i].oid;

		if (!pack_has(pack, oid) && (!keep || keep(arg, oid)) &&
		    copy_entry(source, i, pack, fail) < 0)
			return fail->kind;
	}
	return 0;
}

int pack_take_lock(struct repo *repo, struct lock *lock, const char *name, int64_t deadline,
		   struct fail *fail)
{
	int dir = repo_state_dir(repo, "locks", fail);
	int r;

	if (dir < 0)
		return dir;
	r = lock_take(lock, dir, name, LOCK_EXCLUSIVE, deadline, &repo->modes, fail);
	close(dir);
	return r;
}

/* ---- consolidation ------------------------------------------------------------------- */

struct group {
	const struct own_pack **packs;
	size_t count;
};

static bool in_group(void *arg, const char *base)
{
	const struct group *group = arg;

	for (size_t i = 0; i < group->count; i++)
		if (!strcmp(group->packs[i]->base, base))
			return true;
	return false;
}

/* The packs that could be merged into one of the next level. */
static void find_level(const struct packdir *packs, unsigned level, struct group *group)
{
	group->count = 0;
	for (size_t i = 0; i < packs->count; i++) {
		const struct own_pack *pack = &packs->packs[i];

		if (pack->level == level && pack->has_pack && pack->has_idx &&
		    pack->size <= PACK_MERGE_MAX)
			group->packs[group->count++] = pack;
	}
}

/* The lowest level that has enough packs; false when none has. */
static bool find_group(const struct packdir *packs, unsigned from, struct group *group)
{
	for (unsigned level = from; level < PACKDIR_MAX_LEVEL; level++) {
		find_level(packs, level, group);
		if (group->count >= PACK_FAN_IN)
			return true;
	}
	return false;
}

/*
 * Deletes the old packs. The new one can have the name of an old one, when that
 * had all the objects: it stays then.
 */
static int remove_group(int dir, struct group *group, const char *merged, struct fail *fail)
{
	uint64_t freed = 0;

	if (packmidx_drop_if(dir, in_group, group, fail) < 0)
		return fail->kind;
	for (size_t i = 0; i < group->count; i++)
		if (strcmp(group->packs[i]->base, merged) != 0 &&
		    packdir_remove(dir, group->packs[i]->base, &freed, fail) < 0)
			return fail->kind;
	/* Once more: git may have written one meanwhile. Later ones are pack_sweep()'s. */
	return packmidx_drop_if(dir, in_group, group, fail);
}

static void leave_out(struct group *group, size_t i)
{
	group->count--;
	memmove(&group->packs[i], &group->packs[i + 1],
		(group->count - i) * sizeof(group->packs[0]));
}

/*
 * Copies the whole group into `pack`. A pack that cannot be read is taken out of
 * the group, with `bad` telling why; what was copied of it makes `pack` useless,
 * so the caller starts again.
 */
static int copy_group(struct repo *repo, int dir, struct group *group, struct pack *pack,
		      struct fail *bad, struct fail *fail)
{
	for (size_t i = 0; i < group->count; i++) {
		struct source source;

		if (source_open(&source, dir, group->packs[i]->base, repo->algo, fail) == 0)
			copy_pack(&source, pack, NULL, NULL, fail);
		source_close(&source);
		if (fail->kind == FAIL_CORRUPT || fail->kind == FAIL_GONE) {
			if (!bad->kind && fail->kind == FAIL_CORRUPT)
				*bad = *fail;
			leave_out(group, i);
		}
		if (fail->kind)
			return fail->kind;
		if (group->packs[i]->used > pack->used)
			pack->used = group->packs[i]->used;
	}
	return 0;
}

static int merge(struct repo *repo, int dir, struct group *group, unsigned level, struct fail *bad,
		 struct fail *fail)
{
	struct pack *pack = NULL;
	int r;

	do {
		fail_clear(fail);
		pack_free(pack);
		if (group->count < PACK_FAN_IN)
			return 0;
		if (pack_begin(repo, &pack, fail) < 0)
			return fail->kind;
		pack->level = level + 1;
		r = copy_group(repo, dir, group, pack, bad, fail);
	} while (r == FAIL_CORRUPT || r == FAIL_GONE);
	if (r == 0 && pack_publish(pack, fail) == 0)
		remove_group(dir, group, pack->base, fail);
	pack_free(pack);
	return fail->kind;
}

/* Merges one level after the other, as far as the cascade goes. */
static int merge_levels(struct repo *repo, int dir, struct fail *fail)
{
	struct fail bad = FAIL_INIT;

	for (unsigned level = 0; !fail->kind && level < PACKDIR_MAX_LEVEL; level++) {
		struct packdir packs;
		struct group group = {0};

		if (packdir_list(&packs, dir, 2 * hash_size(repo->algo), PACK_FAN_IN, fail) == 0 &&
		    packdir_stat(&packs, dir, fail) == 0) {
			group.packs = mem_array(packs.count, sizeof(group.packs[0]));
			if (find_group(&packs, level, &group)) {
				level = group.packs[0]->level;
				merge(repo, dir, &group, level, &bad, fail);
			} else {
				level = PACKDIR_MAX_LEVEL;
			}
			free(group.packs);
		}
		packdir_release(&packs);
	}
	if (!fail->kind && bad.kind)
		*fail = bad;
	return fail->kind;
}

/* Looks without the lock whether there is anything to do. */
static int worth_it(struct repo *repo, int dir, bool *answer, struct fail *fail)
{
	struct packdir packs;
	struct group group = {0};

	if (packkeep_crowded(repo, dir, PACK_FAN_IN, answer, fail) < 0 || !*answer)
		return fail->kind;
	*answer = false;
	if (packdir_list(&packs, dir, 2 * hash_size(repo->algo), PACK_FAN_IN, fail) == 0) {
		group.packs = mem_array(packs.count, sizeof(group.packs[0]));
		*answer = find_group(&packs, 0, &group);
		free(group.packs);
	}
	packdir_release(&packs);
	return fail->kind;
}

int pack_consolidate(struct repo *repo, struct fail *fail)
{
	struct lock lock = LOCK_INIT;
	int dir = pack_open_dir(repo, fail);
	bool worth;

	if (dir < 0)
		return dir;
	if (worth_it(repo, dir, &worth, fail) < 0 || !worth)
		goto done;
	if (pack_take_lock(repo, &lock, "pack", 0, fail) == FAIL_BUSY)
		fail_clear(fail);
	else if (!fail->kind)
		merge_levels(repo, dir, fail);
done:
	lock_drop(&lock);
	close(dir);
	return fail->kind;
}

/* ---- expire -------------------------------------------------------------------------- */

struct filter {
	struct repo *repo;
	int dir;
	pack_keep *keep;
	void *arg;
	time_t used_since;
	uint64_t *freed;
};

static bool keeps_all(const struct filter *filter, const struct source *source)
{
	for (size_t i = 0; i < source->idx.count; i++)
		if (!filter->keep(filter->arg, &source->entries[i].oid))
			return false;
	return true;
}

static bool is_base(void *arg, const char *base)
{
	return !strcmp(arg, base);
}

/* Has git found an object in it (again) lately? Looked at as late as possible. */
static bool in_use(const struct filter *filter, const char *name)
{
	struct stat st;

	return fstatat(filter->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	       st.st_mtime >= filter->used_since;
}

static uint64_t disk_size(const struct pack *pack)
{
	uint64_t total = 0;
	struct stat st;

	for (int i = 0; i < PACK_FILES; i++)
		if (pack->files[i].fd >= 0 && fstat(pack->files[i].fd, &st) == 0)
			total += (uint64_t)st.st_size;
	return total;
}

static int rewrite(const struct filter *filter, const struct own_pack *old, struct source *source,
		   struct fail *fail)
{
	uint64_t freed = 0, added;
	struct pack *pack;

	if (pack_begin(filter->repo, &pack, fail) < 0)
		return fail->kind;
	pack->level = old->level;
	pack->used = old->used;
	if (copy_pack(source, pack, filter->keep, filter->arg, fail) < 0 ||
	    pack_publish(pack, fail) < 0)
		goto done;
	added = disk_size(pack);
	if (!in_use(filter, source->name) && strcmp(old->base, pack->base) != 0 &&
	    packmidx_drop_if(filter->dir, is_base, old->base, fail) == 0)
		packdir_remove(filter->dir, old->base, &freed, fail);
	*filter->freed += freed > added ? freed - added : 0;
done:
	pack_free(pack);
	return fail->kind;
}

static int filter_pack(const struct filter *filter, const struct own_pack *old, struct fail *fail)
{
	struct source source;

	if (!old->has_pack || !old->has_idx || old->used >= filter->used_since)
		return 0;
	if (source_open(&source, filter->dir, old->base, filter->repo->algo, fail) == 0 &&
	    !keeps_all(filter, &source))
		rewrite(filter, old, &source, fail);
	source_close(&source);
	return fail->kind;
}

int pack_filter(struct repo *repo, pack_keep *keep, void *arg, time_t used_since,
		uint64_t *bytes_freed, struct fail *fail)
{
	struct filter filter = {.repo = repo,
				.keep = keep,
				.arg = arg,
				.used_since = used_since,
				.freed = bytes_freed};
	struct lock lock = LOCK_INIT;
	struct packdir packs = PACKDIR_INIT;
	struct fail first = FAIL_INIT;

	*bytes_freed = 0;
	filter.dir = pack_open_dir(repo, fail);
	if (filter.dir < 0)
		return fail->kind;
	if (pack_take_lock(repo, &lock, "pack", clock_deadline(repo->conf.lock_timeout), fail) <
		    0 ||
	    packdir_list(&packs, filter.dir, 2 * hash_size(repo->algo), 1, fail) < 0 ||
	    packdir_stat(&packs, filter.dir, fail) < 0)
		goto done;
	for (size_t i = 0; i < packs.count; i++) {
		struct fail one = FAIL_INIT;

		if (filter_pack(&filter, &packs.packs[i], &one) < 0 && !first.kind)
			first = one;
	}
	if (first.kind)
		*fail = first;
done:
	packdir_release(&packs);
	lock_drop(&lock);
	close(filter.dir);
	return fail->kind;
}
