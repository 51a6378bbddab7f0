/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "walkdir.h"

#include "attributes.h"
#include "beneath.h"
#include "content.h"
#include "file.h"
#include "pathcheck.h"
#include "repo.h"
#include "statcache.h"

#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *place_path(const struct place *place, const char *name, size_t len, size_t *path_len)
{
	struct bytes *path = &place->part->path;

	bytes_clear(path);
	if (place->dir->path_len) {
		bytes_add(path, place->dir->path, place->dir->path_len);
		bytes_addc(path, '/');
	}
	bytes_add(path, name, len);
	*path_len = path->len;
	return path->data;
}

/* ---- what is found --------------------------------------------------------------- */

struct change *walk_add_change(struct walk_part *part, const char *path, size_t len)
{
	struct change *change;

	MEM_GROW(part->changes, part->change_cap, part->change_count + 1);
	change = &part->changes[part->change_count++];
	*change = (struct change){.path = mem_dup(path, len), .content = BYTES_INIT};
	return change;
}

void walk_add_skipped(struct walk_part *part, const char *path, size_t len, const char *reason)
{
	struct skipped *skipped;

	MEM_GROW(part->skipped, part->skipped_cap, part->skipped_count + 1);
	skipped = &part->skipped[part->skipped_count++];
	skipped->path = mem_dup(path, len);
	skipped->reason = reason;
}

/*
 * git reads a .gitattributes that is missing from the index instead. What such
 * a one says about filters is heeded; where it is about text, the paths below
 * it are remembered.
 */
void walk_heed_attributes(struct walk *walk, const struct index_entry *entry)
{
	size_t dir_len = entry->name_len - strlen(".gitattributes");
	struct fail fail = FAIL_INIT;
	git_blob *blob = NULL;
	git_oid id;
	unsigned uses = ATTRIBUTE_ODD;

	pthread_mutex_lock(&walk->handle_mutex);
	git_oid_fromraw(&id, entry->oid);
	if (entry->mode != 0160000 && git_blob_lookup(&blob, walk->repo->handle, &id) == 0)
		uses = attributes_in(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob),
				     &walk->repo->conf.filters);
	git_blob_free(blob);
	pthread_mutex_unlock(&walk->handle_mutex);
	if (attributes_judge(uses, &fail) < 0)
		walk_fail(walk, &fail);
	if (!(uses & ATTRIBUTE_CONVERT))
		return;
	__atomic_fetch_or(&walk->uses, uses, __ATOMIC_RELAXED);
	pthread_mutex_lock(&walk->mutex);
	argv_take(&walk->missing_attributes, mem_dup(entry->name, dir_len));
	pthread_mutex_unlock(&walk->mutex);
}

static bool is_attributes(const struct index_entry *entry)
{
	static const char name[] = ".gitattributes";
	const size_t n = sizeof(name) - 1;

	return entry->name_len >= n && !memcmp(entry->name + entry->name_len - n, name, n) &&
	       (entry->name_len == n || entry->name[entry->name_len - n - 1] == '/');
}

void walk_add_gone(struct walk *walk, struct walk_part *part, const struct index_entry *entry)
{
	walk_add_change(part, entry->name, entry->name_len);
	if (is_attributes(entry))
		walk_heed_attributes(walk, entry);
}

/* An assume-unchanged entry stays although its file is gone. */
static void kept_unseen(struct walk *walk, const struct index_entry *entry)
{
	if (is_attributes(entry))
		walk_heed_attributes(walk, entry);
}

bool walk_same_as_index(const struct index_entry *entry, uint32_t mode, const struct oid *oid)
{
	return entry && !entry->stage && !entry->intent_to_add && entry->mode == mode &&
	       !memcmp(entry->oid, oid->raw, hash_size(oid->algo));
}

bool walk_has_content(const struct index_entry *entry, const struct oid *oid)
{
	return entry && S_ISREG(entry->mode) && walk_same_as_index(entry, entry->mode, oid);
}

bool walk_too_large(const struct walk *walk, uint64_t size)
{
	return walk->options->max_file_size && size > walk->options->max_file_size;
}

uint32_t walk_tree_mode(const struct walk *walk, mode_t mode, const struct index_entry *entry)
{
	if (S_ISLNK(mode))
		return 0120000;
	if (!walk->repo->conf.file_mode)
		return entry && S_ISREG(entry->mode) ? entry->mode : 0100644;
	return mode & 0100 ? 0100755 : 0100644;
}

/* A file or symlink that is new, or that lstat() says may have changed. */
static void add_candidate(const struct place *place, const struct candidate *found,
			  const struct stat *st)
{
	const struct scan_options *options = place->walk->options;
	struct walk_part *part = place->part;
	struct candidate *candidate;
	struct oid oid;
	bool plain = false, known, large;

	if (path_is_unusual(found->path, found->path_len, S_ISLNK(st->st_mode))) {
		walk_engine(place->walk, "unusual name");
		return;
	}
	/* One that the index has may be as it is there: that is no new content. */
	large = S_ISREG(st->st_mode) && walk_too_large(place->walk, (uint64_t)st->st_size);
	if (large && !found->entry) {
		walk_add_skipped(part, found->path, found->path_len, "too large");
		return;
	}
	known = options->cache &&
		statcache_find(options->cache, found->path, found->path_len, st, &oid, &plain);
	if (known && plain) {
		if (large && !walk_has_content(found->entry, &oid)) {
			walk_add_skipped(part, found->path, found->path_len, "too large");
		} else if (!walk_same_as_index(found->entry, found->mode, &oid)) {
			struct change *change = walk_add_change(part, found->path, found->path_len);

			change->mode = found->mode;
			change->oid = oid;
			change->size = (uint64_t)st->st_size;
		}
		return;
	}
	MEM_GROW(part->candidates, part->candidate_cap, part->candidate_count + 1);
	candidate = &part->candidates[part->candidate_count++];
	*candidate = *found;
	candidate->size = (uint64_t)st->st_size;
	candidate->known = known;
	if (known)
		candidate->raw = oid;
	/* An untracked one's path is in a buffer that the next name takes. */
	if (!found->entry) {
		char *copy = arena_alloc(&part->arena, found->path_len + 1);

		memcpy(copy, found->path, found->path_len + 1);
		candidate->path = copy;
	}
}

/* ---- names that the index has -------------------------------------------------------- */

uint32_t name_stages(const struct index *index, uint32_t first, uint32_t limit)
{
	const struct index_entry *entry = &index->entries[first];
	uint32_t n = 1;

	if (!entry->stage)
		return 1;
	while (n < limit - first && entry[n].name_len == entry->name_len &&
	       !memcmp(entry[n].name, entry->name, entry->name_len))
		n++;
	return n;
}

/* The entry whose mode git goes by: the merged one, or "ours", or the first. */
static const struct index_entry *preferred(const struct index_entry *first, uint32_t count)
{
	if (first->stage == 1 && count > 1 && first[1].stage == 2)
		return first + 1;
	return first;
}

void names_gone(struct walk *walk, struct walk_part *part, uint32_t low, uint32_t high,
		bool occupied)
{
	const struct index *index = walk->index;

	while (low < high) {
		const struct index_entry *entry = &index->entries[low];
		uint32_t count = name_stages(index, low, high);

		if (!entry->assume_valid || entry->stage)
			walk_add_gone(walk, part, preferred(entry, count));
		else if (occupied)
			walk_engine(walk, "assume-unchanged entries");
		else
			kept_unseen(walk, entry);
		low += count;
	}
}

/* lstat() failed on a name that the index has. */
static void tracked_unseen(const struct place *place, const struct index_entry *entry)
{
	if (errno == ENOENT)
		walk_add_gone(place->walk, place->part, entry);
	else if (errno == ENAMETOOLONG)
		walk_engine(place->walk, "unusual name");
	else
		walk_add_skipped(place->part, entry->name, entry->name_len, "unreadable");
}

/* A loose ref is an id and a line end; libgit2 would also take an id with something behind it. */
static bool loose_ref_is_sound(const char *dir, const char *name)
{
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	char *path = mem_printf("%s%s", dir, name);
	struct oid oid;
	bool sound;

	if (file_read(AT_FDCWD, path, 4096, &text, &fail) < 0) {
		sound = fail.kind == FAIL_GONE; /* packed */
	} else {
		bytes_chomp(&text);
		sound = oid_parse(HASH_SHA1, text.data, text.len, &oid);
	}
	bytes_release(&text);
	free(path);
	return sound;
}

static bool resolve_head(git_repository *sub, struct oid *oid)
{
	git_reference *head = NULL;
	const git_oid *id;
	bool ok = git_repository_head(&head, sub) == 0;

	if (ok) {
		const char *name = git_reference_name(head);

		id = git_reference_target(head);
		ok = id && loose_ref_is_sound(strcmp(name, "HEAD") ? git_repository_commondir(sub)
								   : git_repository_path(sub),
					      name);
		if (ok)
			oid_from_raw(HASH_SHA1, id->id, oid);
	}
	git_reference_free(head);
	return ok;
}

/* The commit that a populated submodule has checked out; false when only git can tell. */
static bool submodule_head(struct walk *walk, const char *path, struct oid *oid)
{
	char *full = mem_printf("%s/%s", walk->repo->work_tree, path);
	git_repository *sub = NULL;
	bool ok;

	pthread_mutex_lock(&walk->handle_mutex);
	ok = git_repository_open_ext(&sub, full, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) == 0 &&
	     !git_repository_is_bare(sub) && resolve_head(sub, oid);
	git_repository_free(sub);
	pthread_mutex_unlock(&walk->handle_mutex);
	free(full);
	return ok;
}

/* Without the file, git takes what the index has, or else HEAD. */
static bool gitmodules_elsewhere(struct walk *walk)
{
	static const char name[] = ".gitmodules";
	git_object *blob = NULL;

	if (index_find(walk->index, name, strlen(name)))
		return true;
	pthread_mutex_lock(&walk->handle_mutex);
	if (git_revparse_single(&blob, walk->repo->handle, "HEAD:.gitmodules") < 0)
		blob = NULL;
	git_object_free(blob);
	pthread_mutex_unlock(&walk->handle_mutex);
	return blob;
}

/*
 * Can .gitmodules have a word in whether a moved submodule counts? Since 2.54,
 * `git add` passes those with "ignore = all" over.
 */
static bool gitmodules_may_ignore(struct walk *walk)
{
	struct content content = CONTENT_INIT;
	enum content_kind kind = content_open(&content, walk->root, ".gitmodules");
	bool may = kind == CONTENT_GONE ? gitmodules_elsewhere(walk) : true;

	if (kind == CONTENT_FILE && content_fill(&content))
		may = strlen(content.data.data) < content.data.len ||
		      strcasestr(content.data.data, "ignore");
	content_release(&content);
	return may;
}

static void tracked_gitlink(const struct place *place, const struct index_entry *entry,
			    const char *name)
{
	struct walk *walk = place->walk;
	struct change *change;
	struct stat st;
	struct oid oid;
	char *inner;
	int fd;

	if (fstatat(place->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		tracked_unseen(place, entry);
		return;
	}
	inner = mem_printf("%s/.git", name);
	fd = S_ISDIR(st.st_mode) ? beneath_open(place->fd, inner, O_PATH) : -1;
	free(inner);
	if (fd >= 0)
		close(fd);
	else if (S_ISDIR(st.st_mode) && errno == ENOENT)
		return; /* not populated: it stays as it is in the index */
	if (fd < 0 || !submodule_head(walk, entry->name, &oid)) {
		walk_engine(walk, "submodule");
		return;
	}
	if (walk_same_as_index(entry, 0160000, &oid))
		return;
	if (gitmodules_may_ignore(walk)) {
		walk_engine(walk, "submodule");
		return;
	}
	change = walk_add_change(place->part, entry->name, entry->name_len);
	change->mode = 0160000;
	change->oid = oid;
}

static bool has_gitlink(const struct index_entry *entry, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (entry[i].mode == 0160000)
			return true;
	return false;
}

void name_tracked(const struct place *place, uint32_t first, uint32_t count, bool listed)
{
	struct walk *walk = place->walk;
	const struct index_entry *entry = preferred(&walk->index->entries[first], count);
	const struct gitconf *conf = &walk->repo->conf;
	const char *name = entry->name + (place->dir->path_len ? place->dir->path_len + 1 : 0);
	struct candidate found = {.path = entry->name, .path_len = entry->name_len, .entry = entry};
	struct stat st;

	place->part->seen++;
	if (entry->assume_valid && !entry->stage) {
		if (!listed)
			kept_unseen(walk, entry);
		return;
	}
	if (has_gitlink(&walk->index->entries[first], count)) {
		if (entry->stage)
			walk_engine(walk, "submodule");
		else
			tracked_gitlink(place, entry, name);
		return;
	}
	if (fstatat(place->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		tracked_unseen(place, entry);
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		if (listed)
			walk_add_skipped(place->part, entry->name, entry->name_len, "changing");
		else
			walk_add_gone(walk, place->part, entry);
		return;
	}
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
		walk_add_skipped(place->part, entry->name, entry->name_len,
				 content_odd_type(st.st_mode));
		return;
	}
	found.mode = walk_tree_mode(walk, st.st_mode, entry);
	if (!entry->stage && !entry->intent_to_add && entry->mode == found.mode &&
	    index_entry_fresh(walk->index, entry, &st, conf->trust_ctime, conf->check_stat_minimal))
		return;
	add_candidate(place, &found, &st);
}

void name_missing_dir(const struct place *place, const char *name, size_t len, uint32_t low,
		      uint32_t high)
{
	struct walk *walk = place->walk;
	size_t path_len;
	const char *path = place_path(place, name, len, &path_len);
	const char *base = path + (path_len - len);
	struct stat st;

	if (fstatat(place->fd, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode))
			dir_add(walk,
				dir_new(walk, place->part, place->dir, path, path_len, low, high));
		else
			names_gone(walk, place->part, low, high, true);
	} else if (errno == ENOENT) {
		names_gone(walk, place->part, low, high, false);
	} else if (errno == ENAMETOOLONG) {
		walk_engine(walk, "unusual name");
	} else {
		walk_add_skipped(place->part, path, path_len, "unreadable");
	}
}

/* ---- names that it does not have ---------------------------------------------------------- */

static void untracked_dir(const struct place *place, const char *path, size_t len)
{
	struct walk *walk = place->walk;
	const struct index_entry *entry = index_find(walk->index, path, len);
	struct dir *dir;

	/* A submodule is the index's business. A kept entry and new paths below it cannot both be.
	 */
	if (entry && entry->mode == 0160000)
		return;
	if (entry && entry->assume_valid && !entry->stage) {
		walk_engine(walk, "assume-unchanged entries");
		return;
	}
	if (dir_ignores(walk, place->dir, path, len, true))
		return;
	dir = dir_new(walk, place->part, place->dir, path, len, 0, 0);
	dir->not_ignored = true;
	dir_add(walk, dir);
}

void name_untracked(const struct place *place, const char *name, size_t len, bool is_dir)
{
	struct walk *walk = place->walk;
	struct candidate found = {0};
	size_t path_len;
	const char *path = place_path(place, name, len, &path_len);
	struct stat st;

	if (is_dir) {
		untracked_dir(place, path, path_len);
		return;
	}
	if (dir_ignores(walk, place->dir, path, path_len, false))
		return;
	place->part->seen++;
	if (fstatat(place->fd, path + (path_len - len), &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			walk_add_skipped(place->part, path, path_len, "unreadable");
		return;
	}
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
		const char *odd = content_odd_type(st.st_mode);

		walk_add_skipped(place->part, path, path_len, odd ? odd : "changing");
		return;
	}
	found.path = path;
	found.path_len = (uint32_t)path_len;
	found.mode = walk_tree_mode(walk, st.st_mode, NULL);
	add_candidate(place, &found, &st);
}
