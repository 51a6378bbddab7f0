/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "walk.h"

#include "attributes.h"
#include "beneath.h"
#include "file.h"
#include "repo.h"
#include "statcache.h"
#include "walkdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DIRENTS_ROOM ((size_t)32 * 1024)
#define RULES_LIMIT ((size_t)64 * 1024 * 1024)

/* Starting a thread takes as long as looking at some hundred files. */
#define SMALL_INDEX 1000
#define SMALL_DIRS 32

/* A directory with more names than this that the index does not have is read each time. */
#define EXTRAS_LIMIT ((size_t)8 * 1024)

/* ---- the walk as a whole -------------------------------------------------------- */

static void run_job(UNUSED struct crew *crew, unsigned worker, void *job)
{
	struct walk_job *j = job;

	j->run(j->walk, worker, j);
}

/*
 * Network file systems, overlays and FAT have ideas of their own about the
 * times of a directory; on these it is the kernel that keeps them.
 */
static void judge_file_system(struct walk *walk)
{
	static const unsigned long trusted[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
						BTRFS_SUPER_MAGIC, TMPFS_MAGIC, F2FS_SUPER_MAGIC};
	struct statfs fs;
	struct stat st;

	if (!walk->options->cache || fstatfs(walk->root, &fs) < 0 || fstat(walk->root, &st) < 0)
		return;
	walk->device = st.st_dev;
	for (size_t i = 0; i < ARRAY_SIZE(trusted); i++)
		if ((unsigned long)fs.f_type == trusted[i])
			walk->trust_times = true;
}

int walk_open(struct walk *walk, struct repo *repo, const struct scan_options *options,
	      const struct index *index, struct fail *fail)
{
	*walk = (struct walk){
		.repo = repo, .options = options, .index = index, .root = -1, .fail = fail};
	pthread_mutex_init(&walk->mutex, NULL);
	pthread_mutex_init(&walk->ignore_mutex, NULL);
	pthread_mutex_init(&walk->handle_mutex, NULL);
	walk->crew = crew_new(0, run_job);
	if (index->count < SMALL_INDEX)
		crew_begin_alone(walk->crew, SMALL_DIRS);
	walk->part_count = crew_size(walk->crew);
	walk->parts = mem_array(walk->part_count, sizeof(*walk->parts));
	for (unsigned i = 0; i < walk->part_count; i++) {
		bytes_init(&walk->parts[i].path);
		bytes_init(&walk->parts[i].extras);
	}
	walk->root = open(repo->work_tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (walk->root < 0)
		return fail_errno(fail, "open '%s'", repo->work_tree);
	judge_file_system(walk);
	if (attributes_outside(repo, &walk->uses, fail) < 0 ||
	    attributes_judge(walk->uses, fail) < 0)
		return fail->kind;
	return ignore_open(repo, &walk->ignores, fail);
}

static void release_part(struct walk_part *part)
{
	for (size_t i = 0; i < part->change_count; i++) {
		free(part->changes[i].path);
		bytes_release(&part->changes[i].content);
	}
	for (size_t i = 0; i < part->skipped_count; i++)
		free(part->skipped[i].path);
	free(part->changes);
	free(part->skipped);
	free(part->candidates);
	free(part->dirents);
	free(part->names);
	free(part->children);
	bytes_release(&part->extras);
	arena_release(&part->arena);
	bytes_release(&part->path);
}

void walk_close(struct walk *walk)
{
	crew_free(walk->crew);
	for (unsigned i = 0; i < walk->part_count; i++)
		release_part(&walk->parts[i]);
	free(walk->parts);
	ignore_free(walk->ignores);
	argv_release(&walk->missing_attributes);
	argv_release(&walk->unmatched);
	if (walk->root >= 0)
		close(walk->root);
	pthread_mutex_destroy(&walk->mutex);
	pthread_mutex_destroy(&walk->ignore_mutex);
	pthread_mutex_destroy(&walk->handle_mutex);
}

bool walk_stopped(const struct walk *walk)
{
	return __atomic_load_n(&walk->stop, __ATOMIC_RELAXED);
}

void walk_fail(struct walk *walk, const struct fail *fail)
{
	pthread_mutex_lock(&walk->mutex);
	if (!walk->fail->kind)
		*walk->fail = *fail;
	pthread_mutex_unlock(&walk->mutex);
	__atomic_store_n(&walk->stop, 1, __ATOMIC_RELAXED);
}

void walk_engine(struct walk *walk, const char *row)
{
	struct fail fail = FAIL_INIT;

	fail_set(&fail, FAIL_ENGINE, "%s", row);
	walk_fail(walk, &fail);
}

/* Counts, and tells the caller from time to time: whoever comes while one tells goes on. */
static void tell_progress(struct walk *walk, uint64_t more)
{
	uint64_t seen = __atomic_add_fetch(&walk->seen, more, __ATOMIC_RELAXED);

	if (!walk->options->progress || pthread_mutex_trylock(&walk->mutex) != 0)
		return;
	if (seen >= walk->told + 256) {
		walk->told = seen;
		walk->options->progress(walk->options->progress_arg, seen);
	}
	pthread_mutex_unlock(&walk->mutex);
}

/* ---- directories ------------------------------------------------------------------ */

static void visit(struct walk *walk, unsigned worker, struct walk_job *job);

struct dir *dir_new(struct walk *walk, struct walk_part *part, struct dir *parent, const char *path,
		    size_t len, uint32_t low, uint32_t high)
{
	struct dir *dir = arena_alloc(&part->arena, sizeof(*dir) + len + 1);

	*dir = (struct dir){.job = {.run = visit, .walk = walk},
			    .parent = parent,
			    .low = low,
			    .high = high,
			    .path_len = (uint32_t)len};
	memcpy(dir->path, path, len);
	dir->path[len] = '\0';
	return dir;
}

void dir_add(struct walk *walk, struct dir *dir)
{
	crew_add(walk->crew, &dir->job);
}

/* The rules of a .gitignore; git follows no symlink there either. */
static const struct ignore_dir *read_rules(struct walk *walk, const struct dir *dir,
					   const struct ignore_dir *outer)
{
	struct bytes text = BYTES_INIT;
	struct fail failed = FAIL_INIT;
	char *path = mem_printf("%s%s.gitignore", dir->path, dir->path_len ? "/" : "");
	int fd = beneath_open(walk->root, path, O_RDONLY);

	if (fd >= 0) {
		if (file_read_fd(fd, path, RULES_LIMIT, &text, &failed) == 0)
			outer = ignore_enter(walk->ignores, outer, dir->path, text.data, text.len);
		close(fd);
	} else if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ELOOP) {
		/* As git: absent or unreadable is no rules. Anything else must not be guessed. */
		fail_errno(&failed, "open '%s'", path);
	}
	if (failed.kind)
		walk_engine(walk, "unreadable .gitignore");
	free(path);
	bytes_release(&text);
	return outer;
}

static int dir_state(const struct dir *dir)
{
	return __atomic_load_n(&dir->state, __ATOMIC_ACQUIRE);
}

/* Finds a directory's rules, its parents' first. Called with the ignore_mutex held. */
static void settle_rules(struct walk *walk, struct dir *dir)
{
	const struct ignore_dir *rules = ignore_root(walk->ignores);
	struct dir *parent = dir->parent;
	int state = DIR_OPEN;

	if (dir_state(dir) != DIR_UNASKED)
		return;
	if (parent) {
		settle_rules(walk, parent);
		rules = parent->rules;
		if (dir_state(parent) == DIR_IGNORED ||
		    (!dir->not_ignored && ignore_match(rules, dir->path, dir->path_len, true)))
			state = DIR_IGNORED;
	}
	if (state == DIR_OPEN) {
		dir->rules = dir->has_rules ? read_rules(walk, dir, rules) : rules;
		if (ignore_doubt(dir->rules))
			walk_engine(walk, ignore_doubt(dir->rules));
	}
	__atomic_store_n(&dir->state, state, __ATOMIC_RELEASE);
}

bool dir_ignores(struct walk *walk, struct dir *dir, const char *path, size_t len, bool is_dir)
{
	if (dir_state(dir) == DIR_UNASKED) {
		pthread_mutex_lock(&walk->ignore_mutex);
		settle_rules(walk, dir);
		pthread_mutex_unlock(&walk->ignore_mutex);
	}
	return dir_state(dir) == DIR_IGNORED || ignore_match(dir->rules, path, len, is_dir);
}

void dir_read_attributes(struct walk *walk, int fd, bool maybe)
{
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	unsigned uses = 0;
	int file = beneath_open(fd, ".gitattributes", O_RDONLY);

	if (file < 0 && errno == ELOOP)
		walk_engine(walk, "gitattributes symlink");
	else if (file < 0 && errno == ENOENT && maybe)
		return;
	else if (file < 0 || file_read_fd(file, ".gitattributes", RULES_LIMIT, &text, &fail) < 0)
		walk_engine(walk, "unusual gitattributes");
	else
		uses = attributes_in(text.data, text.len, &walk->repo->conf.filters);
	if (file >= 0)
		close(file);
	bytes_release(&text);
	__atomic_fetch_or(&walk->uses, uses, __ATOMIC_RELAXED);
	if (attributes_judge(uses, &fail) < 0)
		walk_fail(walk, &fail);
}

/* ---- listing a directory ------------------------------------------------------------- */

/* A name in a directory. It sorts as if a directory had a '/' behind its name, as in the index. */
struct listed {
	uint64_t key; /* the first eight bytes, so that most comparisons need no more */
	const char *name;
	uint32_t len;
	bool is_dir;
};

static uint64_t sort_key(const char *name, size_t len, bool is_dir)
{
	uint64_t key = 0;

	memcpy(&key, name, size_min(len, sizeof(key)));
	key = __builtin_bswap64(key);
	if (is_dir && len < sizeof(key))
		key |= (uint64_t)'/' << (8 * (7 - len));
	return key;
}

static int compare_listed(const struct listed *a, const struct listed *b)
{
	size_t n = size_min(a->len, b->len);
	int cmp;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	cmp = memcmp(a->name, b->name, n);
	if (cmp)
		return cmp;
	if (a->len == b->len)
		return (int)a->is_dir - (int)b->is_dir;
	if (a->len > n)
		return (unsigned char)a->name[n] - (b->is_dir ? '/' : 0);
	return (a->is_dir ? '/' : 0) - (unsigned char)b->name[n];
}

static int compare_void(const void *a, const void *b)
{
	return compare_listed(a, b);
}

static void sort_names(struct listed *names, size_t count)
{
	if (count > 32) {
		qsort(names, count, sizeof(*names), compare_void);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		struct listed one = names[i];
		size_t k = i;

		for (; k && compare_listed(&one, &names[k - 1]) < 0; k--)
			names[k] = names[k - 1];
		names[k] = one;
	}
}

static bool read_dirents(struct walk_part *part, int fd)
{
	part->dirents_len = 0;
	for (;;) {
		ssize_t n;

		if (part->dirents_cap - part->dirents_len < DIRENTS_ROOM)
			MEM_GROW(part->dirents, part->dirents_cap,
				 part->dirents_len + 2 * DIRENTS_ROOM);
		n = getdents64(fd, part->dirents + part->dirents_len,
			       part->dirents_cap - part->dirents_len);
		/* ENOENT: it was removed while it is open. */
		if (!n || (n < 0 && errno == ENOENT))
			return true;
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			part->dirents_len += (size_t)n;
	}
}

static bool is_directory(int fd, const struct dirent64 *ent)
{
	struct stat st;

	if (ent->d_type != DT_UNKNOWN)
		return ent->d_type == DT_DIR;
	return fstatat(fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void add_name(struct walk_part *part, const char *name, size_t len, bool is_dir)
{
	struct listed *listed;

	MEM_GROW(part->names, part->name_cap, part->name_count + 1);
	listed = &part->names[part->name_count++];
	listed->name = name;
	listed->len = (uint32_t)len;
	listed->is_dir = is_dir;
	listed->key = sort_key(name, len, is_dir);
}

/* Names that mean something to git. False for ".git", which is never one of ours. */
static bool heed_name(const struct place *place, const char *name, size_t len)
{
	if (name[0] != '.' || name[1] != 'g')
		return true;
	if (len == 4 && !memcmp(name, ".git", 4)) {
		if (place->dir->path_len)
			walk_engine(place->walk, "nested repository");
		return false;
	}
	if (len == 10 && !memcmp(name, ".gitignore", 10))
		place->dir->has_rules = true;
	else if (len == 14 && !memcmp(name, ".gitattributes", 14))
		dir_read_attributes(place->walk, place->fd, false);
	return true;
}

/* Turns what the kernel said into sorted names. */
static void take_names(const struct place *place)
{
	struct walk_part *part = place->part;

	part->name_count = 0;
	for (size_t at = 0; at < part->dirents_len;) {
		const struct dirent64 *ent = (const void *)(part->dirents + at);
		const char *name = ent->d_name;
		size_t len = strlen(name);

		at += ent->d_reclen;
		if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
			continue;
		if (heed_name(place, name, len))
			add_name(part, name, len, is_directory(place->fd, ent));
	}
	sort_names(part->names, part->name_count);
}

/* ---- merging it with the index --------------------------------------------------------- */

/* What the index has in a directory under one name: a path's entries, or a directory's. */
struct child {
	struct listed as;
	uint32_t low, high;
};

static void take_child(const struct index *index, const struct dir *dir, uint32_t at,
		       struct child *child)
{
	size_t skip = dir->path_len ? dir->path_len + 1 : 0;
	const struct index_entry *entry = &index->entries[at];
	const char *name = entry->name + skip;
	size_t len = entry->name_len - skip;
	const char *slash = memchr(name, '/', len);

	child->low = at;
	if (slash) {
		len = (size_t)(slash - name);
		child->high = index_prefix_end(index, at, dir->high, entry->name, skip + len + 1);
	} else {
		child->high = at + name_stages(index, at, dir->high);
	}
	child->as.name = name;
	child->as.len = (uint32_t)len;
	child->as.is_dir = slash;
	child->as.key = sort_key(name, len, slash);
}

static void take_children(const struct place *place)
{
	struct walk_part *part = place->part;

	part->child_count = 0;
	for (uint32_t at = place->dir->low; at < place->dir->high;) {
		struct child *child;

		MEM_GROW(part->children, part->child_cap, part->child_count + 1);
		child = &part->children[part->child_count++];
		take_child(place->walk->index, place->dir, at, child);
		at = child->high;
	}
}

static void add_tracked_dir(const struct place *place, const struct child *child)
{
	const struct index_entry *entry = &place->walk->index->entries[child->low];
	size_t len = (size_t)(child->as.name - entry->name) + child->as.len;

	dir_add(place->walk, dir_new(place->walk, place->part, place->dir, entry->name, len,
				     child->low, child->high));
}

static void matched(const struct place *place, const struct child *child)
{
	if (child->as.is_dir)
		add_tracked_dir(place, child);
	else
		name_tracked(place, child->low, child->high - child->low, true);
}

static void only_in_index(const struct place *place, const struct child *child)
{
	if (child->as.is_dir)
		name_missing_dir(place, child->as.name, child->as.len, child->low, child->high);
	else
		name_tracked(place, child->low, child->high - child->low, false);
}

static void add_extra(struct walk_part *part, const struct listed *name)
{
	if (part->extras.len > EXTRAS_LIMIT)
		return;
	bytes_addc(&part->extras, name->is_dir ? 'd' : 'f');
	bytes_add(&part->extras, name->name, name->len);
	bytes_addc(&part->extras, '\0');
}

/* Returns whether the directory has all names that the index has. */
static bool merge(const struct place *place)
{
	struct walk_part *part = place->part;
	size_t i = 0, k = 0;
	bool all = true;

	bytes_clear(&part->extras);
	while (!walk_stopped(place->walk) && (k < part->child_count || i < part->name_count)) {
		const struct child *child = &part->children[k];
		const struct listed *name = &part->names[i];
		int cmp = k == part->child_count  ? -1
			  : i == part->name_count ? 1
						  : compare_listed(name, &child->as);

		if (!cmp) {
			matched(place, child);
		} else if (cmp < 0) {
			add_extra(part, name);
			name_untracked(place, name->name, name->len, name->is_dir);
		} else {
			all = false;
			only_in_index(place, child);
		}
		i += cmp <= 0;
		k += cmp >= 0;
	}
	return all && !walk_stopped(place->walk);
}

/* ---- directories that need no reading ------------------------------------------------------- */

static uint64_t digest_children(const struct place *place)
{
	const struct walk_part *part = place->part;
	uint64_t digest = statcache_seed(place->walk->options->cache);

	for (size_t i = 0; i < part->child_count; i++) {
		const struct listed *as = &part->children[i].as;

		digest = statcache_digest(digest, as->name, as->len, as->is_dir);
	}
	return digest;
}

/* One of the names that it held besides the index's; returns the next one. */
static const char *next_extra(const char *extra, const char *end, struct listed *out)
{
	out->name = extra + 1;
	out->len = (uint32_t)strnlen(out->name, (size_t)(end - out->name));
	out->is_dir = *extra == 'd';
	return out->name + out->len + 1;
}

/* True when the cache knows what is in the directory, which is then done with. */
static bool visit_remembered(const struct place *place, const struct stat *st, uint64_t digest)
{
	struct walk *walk = place->walk;
	const struct walk_part *part = place->part;
	const struct dir *dir = place->dir;
	const char *extras, *end;
	struct listed name;
	size_t len;

	if (st->st_dev != walk->device ||
	    !statcache_find_dir(walk->options->cache, dir->path, dir->path_len, st, digest, &extras,
				&len))
		return false;
	end = extras + len;
	/* Rules first: they are asked as soon as a name is looked at. */
	for (size_t i = 0; i < part->child_count; i++)
		heed_name(place, part->children[i].as.name, part->children[i].as.len);
	for (const char *at = extras; at < end;) {
		at = next_extra(at, end, &name);
		heed_name(place, name.name, name.len);
	}
	for (size_t i = 0; i < part->child_count && !walk_stopped(walk); i++)
		matched(place, &part->children[i]);
	for (const char *at = extras; at < end && !walk_stopped(walk);) {
		at = next_extra(at, end, &name);
		name_untracked(place, name.name, name.len, name.is_dir);
	}
	return true;
}

static void remember(const struct place *place, const struct stat *st, uint64_t digest)
{
	const struct bytes *extras = &place->part->extras;

	if (st->st_dev == place->walk->device && extras->len <= EXTRAS_LIMIT)
		statcache_add_dir(place->walk->options->cache, place->dir->path,
				  place->dir->path_len, st, digest, extras->data, extras->len);
}

/* A directory that its parent showed, and that cannot be opened as one. */
static void not_opened(struct walk *walk, struct walk_part *part, const struct dir *dir)
{
	struct fail fail = FAIL_INIT;

	switch (errno) {
	case ENOENT:
		names_gone(walk, part, dir->low, dir->high, false);
		break;
	case ENOTDIR:
	case ELOOP:
		walk_add_skipped(part, dir->path, dir->path_len, "changing");
		break;
	case ENAMETOOLONG:
		walk_engine(walk, "unusual name");
		break;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		fail_errno(&fail, "open '%s'", dir->path);
		walk_fail(walk, &fail);
		break;
	default:
		walk_add_skipped(part, dir->path, dir->path_len, "unreadable");
	}
}

/* The directory's names, from the cache or from the kernel. */
static void visit_open(struct place *place, const struct stat *st, uint64_t digest, bool known)
{
	struct walk_part *part = place->part;
	int fd;

	if (known) {
		if (visit_remembered(place, st, digest))
			return;
		/* It was opened only to be looked at. */
		fd = openat(place->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0) {
			not_opened(place->walk, part, place->dir);
			return;
		}
		close(place->fd);
		place->fd = fd;
	}
	if (!read_dirents(part, place->fd)) {
		walk_add_skipped(part, place->dir->path, place->dir->path_len, "unreadable");
		return;
	}
	take_names(place);
	if (merge(place) && place->walk->trust_times)
		remember(place, st, digest);
}

static void visit(struct walk *walk, unsigned worker, struct walk_job *job)
{
	struct dir *dir = (struct dir *)job;
	struct walk_part *part = &walk->parts[worker];
	struct place place = {.walk = walk, .part = part, .dir = dir};
	uint64_t before = part->seen, digest = 0;
	struct stat st = {0};
	bool known;

	if (walk_stopped(walk))
		return;
	known = walk->trust_times &&
		statcache_knows(walk->options->cache, dir->path, dir->path_len);
	place.fd = beneath_open(walk->root, dir->path, (known ? O_PATH : O_RDONLY) | O_DIRECTORY);
	if (place.fd < 0) {
		not_opened(walk, part, dir);
		return;
	}
	take_children(&place);
	if (walk->trust_times && fstat(place.fd, &st) == 0)
		digest = digest_children(&place);
	visit_open(&place, &st, digest, known);
	close(place.fd);
	tell_progress(walk, part->seen - before);
}

int walk_run(struct walk *walk)
{
	if (walk->options->paths)
		walk_named_paths(walk);
	else
		dir_add(walk, dir_new(walk, &walk->parts[0], NULL, "", 0, 0, walk->index->count));
	crew_run(walk->crew);
	return walk->fail->kind;
}
