/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "statcache.h"

#include "arena.h"
#include "beneath.h"
#include "bytes.h"
#include "file.h"
#include "name.h"
#include "repo.h"

#include <bsd/stdlib.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/*
 * The file: a header, `buckets` numbers (a line's position plus one, 0 for
 * none; open addressing), `count` lines, then their names. Numbers are in the
 * machine's own order: `order` tells when the file came from another machine.
 */
#define VERSION 2
#define ORDER_MARK 0x01020304u
#define MIN_AGE_NS ((int64_t)2 * 1000 * 1000 * 1000)

static const char magic[8] = "ILSTATC";

struct header {
	char magic[8];
	uint32_t version;
	uint32_t order;
	uint32_t algo;
	uint32_t count;
	uint64_t buckets; /* a power of two, more than count */
	uint64_t names_len;
	uint64_t seed; /* of the hashes, so that nobody can choose names that collide */
	uint64_t check;
};

struct line {
	uint64_t hash; /* of the path */
	uint64_t size, ino;
	int64_t mtime_sec, ctime_sec;
	uint32_t mtime_nsec, ctime_nsec;
	uint32_t mode;
	uint32_t plain;
	uint64_t name_at;
	uint32_t name_len;
	uint32_t extras_len; /* of a directory; they follow the name */
	union {
		uint8_t oid[OID_RAW_MAX];
		uint64_t digest; /* of a directory */
	} u;
	uint64_t check; /* of everything above, the name and the extras */
};

/* A line that this run adds. */
struct added {
	struct line line;
	const char *name; /* and the extras behind it */
};

enum mark {
	UNSEEN = 0,
	FOUND,
	REPLACED
};

struct statcache {
	char *name; /* of the file, in interlock/cache */
	enum hash_algo algo;
	int64_t opened_ns; /* CLOCK_REALTIME */
	bool forget;	   /* the lines that are UNSEEN */

	void *map;
	size_t map_len;
	struct header header; /* count 0 when there is no file */
	const uint32_t *table;
	const struct line *lines;
	const char *names;
	uint8_t *marks; /* enum mark of each line; atomic */

	pthread_mutex_t mutex; /* guards what follows */
	struct added *added;
	size_t added_count, added_cap;
	struct arena arena;
};

/* ---- checksums --------------------------------------------------------------------- */

static uint64_t mix_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

/* Fast, for tables and against torn writes; not against people. */
static uint64_t mix(uint64_t h, const void *data, size_t len)
{
	const char *p = data;
	uint64_t word;

	h = mix_word(h, len);
	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = mix_word(h, word);
	}
	word = 0;
	memcpy(&word, p, len);
	return mix_word(h, word);
}

static uint64_t header_check(const struct header *header)
{
	return mix(VERSION, header, offsetof(struct header, check));
}

static size_t text_len(const struct line *line)
{
	return (size_t)line->name_len + line->extras_len;
}

/* `text` is the name and the extras. */
static uint64_t line_check(const struct line *line, const char *text)
{
	return mix(mix(VERSION, line, offsetof(struct line, check)), text, text_len(line));
}

/* ---- reading ------------------------------------------------------------------------- */

static bool header_fits(const struct header *h, enum hash_algo algo, size_t len)
{
	size_t need;

	if (memcmp(h->magic, magic, sizeof(magic)) != 0 || h->version != VERSION ||
	    h->order != ORDER_MARK || h->check != header_check(h) || h->algo != algo)
		return false;
	if (!h->buckets || (h->buckets & (h->buckets - 1)) || h->buckets <= h->count ||
	    h->buckets > len / sizeof(uint32_t) || h->names_len > len)
		return false;
	need = sizeof(*h) + h->buckets * sizeof(uint32_t) + (size_t)h->count * sizeof(struct line);
	return need <= len && len - need == h->names_len;
}

static void take_map(struct statcache *cache, void *map, size_t len)
{
	struct header header;
	char *p = map;

	memcpy(&header, map, sizeof(header));
	if (!header_fits(&header, cache->algo, len)) {
		munmap(map, len);
		return;
	}
	cache->map = map;
	cache->map_len = len;
	cache->header = header;
	p += sizeof(header);
	cache->table = (const uint32_t *)p;
	p += header.buckets * sizeof(uint32_t);
	cache->lines = (const struct line *)p;
	cache->names = p + (size_t)header.count * sizeof(struct line);
	cache->marks = mem_array(header.count, 1);
}

static void read_file(struct statcache *cache, int common_fd)
{
	char *path = mem_printf("interlock/cache/%s", cache->name);
	int fd = beneath_open(common_fd, path, O_RDONLY);
	struct stat st;
	void *map;

	free(path);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size >= sizeof(struct header) && st.st_size <= UINT32_MAX) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map != MAP_FAILED)
			take_map(cache, map, (size_t)st.st_size);
	}
	close(fd);
}

struct statcache *statcache_open(struct repo *repo)
{
	struct statcache *cache = mem_zalloc(sizeof(*cache));
	char *key = repo->worktree_id ? mem_printf("wt/%s", repo->worktree_id) : mem_strdup("main");
	struct bytes name = BYTES_INIT;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	name_encode(key, &name);
	free(key);
	cache->name = bytes_take(&name);
	cache->algo = repo->algo;
	cache->opened_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	pthread_mutex_init(&cache->mutex, NULL);
	read_file(cache, repo->common_fd);
	/* It stays through all rewritings of the file: the digests depend on it. */
	if (!cache->map)
		arc4random_buf(&cache->header.seed, sizeof(cache->header.seed));
	return cache;
}

void statcache_free(struct statcache *cache)
{
	if (!cache)
		return;
	if (cache->map)
		munmap(cache->map, cache->map_len);
	pthread_mutex_destroy(&cache->mutex);
	arena_release(&cache->arena);
	free(cache->added);
	free(cache->marks);
	free(cache->name);
	free(cache);
}

void statcache_forget_unseen(struct statcache *cache)
{
	cache->forget = true;
}

/* The stat data and the path in a line's form; id, position and checksum are left zero. */
static void make_line(struct line *line, uint64_t hash, size_t len, const struct stat *st)
{
	memset(line, 0, sizeof(*line));
	line->hash = hash;
	line->size = (uint64_t)st->st_size;
	line->ino = st->st_ino;
	line->mtime_sec = st->st_mtim.tv_sec;
	line->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	line->ctime_sec = st->st_ctim.tv_sec;
	line->ctime_nsec = (uint32_t)st->st_ctim.tv_nsec;
	line->mode = st->st_mode;
	line->name_len = (uint32_t)len;
}

static bool same_stat(const struct line *a, const struct line *b)
{
	return a->size == b->size && a->ino == b->ino && a->mtime_sec == b->mtime_sec &&
	       a->mtime_nsec == b->mtime_nsec && a->ctime_sec == b->ctime_sec &&
	       a->ctime_nsec == b->ctime_nsec && a->mode == b->mode;
}

/* Where a line's name and extras are; NULL for one that is damaged. */
static const char *line_text(const struct statcache *cache, const struct line *line)
{
	const char *text;

	if (line->name_at > cache->header.names_len ||
	    text_len(line) > cache->header.names_len - line->name_at)
		return NULL;
	text = cache->names + line->name_at;
	return line->check == line_check(line, text) ? text : NULL;
}

/* The line of a path, or NULL; a damaged one is as good as none. */
static const struct line *lookup(const struct statcache *cache, uint64_t hash, const char *path,
				 size_t len)
{
	uint64_t mask = cache->header.buckets - 1;

	if (!cache->header.count)
		return NULL;
	for (uint64_t i = 0; i <= mask; i++) {
		uint32_t at = cache->table[(hash + i) & mask];
		const struct line *line;
		const char *text;

		if (!at || at > cache->header.count)
			return NULL;
		line = &cache->lines[at - 1];
		if (line->hash != hash || line->name_len != len)
			continue;
		text = line_text(cache, line);
		if (!text)
			return NULL;
		if (!memcmp(text, path, len))
			return line;
	}
	return NULL;
}

static void set_mark(struct statcache *cache, const struct line *line, enum mark mark)
{
	__atomic_store_n(&cache->marks[line - cache->lines], mark, __ATOMIC_RELAXED);
}

bool statcache_find(struct statcache *cache, const char *path, size_t len, const struct stat *st,
		    struct oid *oid, bool *plain)
{
	uint64_t hash = mix(cache->header.seed, path, len);
	const struct line *line = lookup(cache, hash, path, len);
	struct line want;

	make_line(&want, hash, len, st);
	if (!line || !same_stat(line, &want))
		return false;
	set_mark(cache, line, FOUND);
	oid_from_raw(cache->algo, line->u.oid, oid);
	*plain = line->plain;
	return true;
}

uint64_t statcache_seed(const struct statcache *cache)
{
	return cache->header.seed;
}

uint64_t statcache_digest(uint64_t digest, const char *name, size_t len, bool is_dir)
{
	return mix_word(mix(digest, name, len), is_dir);
}

bool statcache_knows(const struct statcache *cache, const char *path, size_t len)
{
	return lookup(cache, mix(cache->header.seed, path, len), path, len);
}

bool statcache_find_dir(struct statcache *cache, const char *path, size_t len,
			const struct stat *st, uint64_t digest, const char **extras,
			size_t *extras_len)
{
	uint64_t hash = mix(cache->header.seed, path, len);
	const struct line *line = lookup(cache, hash, path, len);
	struct line want;

	make_line(&want, hash, len, st);
	if (!line || !same_stat(line, &want) || line->u.digest != digest)
		return false;
	set_mark(cache, line, FOUND);
	*extras = cache->names + line->name_at + len;
	*extras_len = line->extras_len;
	return true;
}

/* ---- adding --------------------------------------------------------------------------- */

static bool old_enough(const struct statcache *cache, const struct timespec *ts)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)ts->tv_sec, 1000000000, &ns))
		return ts->tv_sec < 0;
	return ns + ts->tv_nsec <= cache->opened_ns - MIN_AGE_NS;
}

/* Is the stat data such that a later change of the path must show in it? */
static bool settled(const struct statcache *cache, const struct stat *st)
{
	return old_enough(cache, &st->st_mtim) && old_enough(cache, &st->st_ctim);
}

/* Takes a line over: its id or digest is filled, name and extras are copied. */
static void add_line(struct statcache *cache, const struct line *line, const char *path,
		     const char *extras)
{
	const struct line *old = lookup(cache, line->hash, path, line->name_len);
	struct added *added;
	char *text;

	if (old)
		set_mark(cache, old, REPLACED);
	pthread_mutex_lock(&cache->mutex);
	MEM_GROW(cache->added, cache->added_cap, cache->added_count + 1);
	added = &cache->added[cache->added_count++];
	text = arena_alloc(&cache->arena, text_len(line));
	memcpy(text, path, line->name_len);
	if (line->extras_len)
		memcpy(text + line->name_len, extras, line->extras_len);
	added->name = text;
	added->line = *line;
	pthread_mutex_unlock(&cache->mutex);
}

void statcache_add(struct statcache *cache, const char *path, size_t len, const struct stat *st,
		   const struct oid *oid, bool plain)
{
	struct line line;

	if (!settled(cache, st))
		return;
	make_line(&line, mix(cache->header.seed, path, len), len, st);
	line.plain = plain;
	memcpy(line.u.oid, oid->raw, OID_RAW_MAX);
	add_line(cache, &line, path, NULL);
}

void statcache_add_dir(struct statcache *cache, const char *path, size_t len, const struct stat *st,
		       uint64_t digest, const char *extras, size_t extras_len)
{
	struct line line;

	if (!settled(cache, st))
		return;
	make_line(&line, mix(cache->header.seed, path, len), len, st);
	line.u.digest = digest;
	line.extras_len = (uint32_t)extras_len;
	add_line(cache, &line, path, extras);
}

/* ---- writing ---------------------------------------------------------------------------- */

static bool stays(const struct statcache *cache, uint32_t i)
{
	return cache->marks[i] == FOUND || (cache->marks[i] == UNSEEN && !cache->forget);
}

static uint32_t count_staying(const struct statcache *cache)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < cache->header.count; i++)
		n += stays(cache, i);
	return n;
}

/* Would the next few scans save more by the new lines than writing the file takes? */
static bool worth_writing(const struct statcache *cache, uint32_t staying)
{
	/* Microseconds, roughly. */
	const uint64_t list_us = 10, open_us = 20, hash_kib_us = 3;
	const uint64_t write_us = 200, write_kib_us = 1;
	uint64_t gain = 0, cost;

	for (size_t i = 0; i < cache->added_count; i++) {
		const struct line *line = &cache->added[i].line;

		gain += S_ISDIR(line->mode) ? list_us : open_us + line->size / 1024 * hash_kib_us;
	}
	cost = write_us +
	       (staying + cache->added_count) * (sizeof(struct line) + 64) / 1024 * write_kib_us;
	if (cache->added_count)
		return gain * 8 >= cost;
	/* Nothing new: only to get rid of what is mostly dead. */
	return cache->header.count > 64 && staying < cache->header.count / 2;
}

struct writer {
	struct header header;
	uint32_t *table;
	struct line *lines;
	struct bytes names;
};

/* Puts a line into the new file; a path that is there already is replaced. */
static void put(struct writer *w, const struct line *line, const char *text)
{
	uint64_t mask = w->header.buckets - 1;
	uint64_t at = line->hash & mask;
	struct line *out = NULL;

	for (; w->table[at]; at = (at + 1) & mask) {
		struct line *other = &w->lines[w->table[at] - 1];

		if (other->hash == line->hash && other->name_len == line->name_len &&
		    !memcmp(w->names.data + other->name_at, text, line->name_len)) {
			out = other;
			break;
		}
	}
	if (!out) {
		out = &w->lines[w->header.count++];
		w->table[at] = w->header.count;
	}
	*out = *line;
	out->name_at = w->names.len;
	bytes_add(&w->names, text, text_len(line));
	out->check = line_check(out, text);
}

static void fill(struct statcache *cache, struct writer *w, size_t most)
{
	w->header.version = VERSION;
	w->header.order = ORDER_MARK;
	w->header.algo = cache->algo;
	w->header.seed = cache->header.seed;
	memcpy(w->header.magic, magic, sizeof(magic));
	for (w->header.buckets = 16; w->header.buckets < most * 2;)
		w->header.buckets *= 2;
	w->table = mem_array(w->header.buckets, sizeof(*w->table));
	w->lines = mem_array(most, sizeof(*w->lines));
	for (uint32_t i = 0; i < cache->header.count; i++) {
		const struct line *line = &cache->lines[i];
		const char *text = stays(cache, i) ? line_text(cache, line) : NULL;

		if (text && line->hash == mix(cache->header.seed, text, line->name_len))
			put(w, line, text);
	}
	for (size_t i = 0; i < cache->added_count; i++)
		put(w, &cache->added[i].line, cache->added[i].name);
	w->header.names_len = w->names.len;
	w->header.check = header_check(&w->header);
}

static void serialize(const struct writer *w, struct bytes *out)
{
	size_t table = w->header.buckets * sizeof(*w->table);
	size_t lines = w->header.count * sizeof(*w->lines);

	bytes_reserve(out, sizeof(w->header) + table + lines + w->names.len);
	bytes_add(out, &w->header, sizeof(w->header));
	bytes_add(out, w->table, table);
	bytes_add(out, w->lines, lines);
	bytes_add(out, w->names.data, w->names.len);
}

int statcache_save(struct statcache *cache, struct repo *repo, struct fail *fail)
{
	struct writer w = {.names = BYTES_INIT};
	struct bytes out = BYTES_INIT;
	uint32_t staying = count_staying(cache);
	int dir;

	if (!worth_writing(cache, staying))
		return 0;
	dir = repo_state_dir(repo, "cache", fail);
	if (dir < 0)
		return fail->kind;
	fill(cache, &w, staying + cache->added_count);
	serialize(&w, &out);
	file_replace(dir, cache->name, out.data, out.len, &repo->modes, false, fail);
	close(dir);
	free(w.table);
	free(w.lines);
	bytes_release(&w.names);
	bytes_release(&out);
	return fail->kind;
}
