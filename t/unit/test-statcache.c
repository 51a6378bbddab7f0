/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "crew.h"
#include "file.h"
#include "hash.h"
#include "scan.h"
#include "statcache.h"

#include <fcntl.h>
#include <time.h>

static struct repo repo;

static int set_up(UNUSED void **state)
{
	sandbox_enter();
	sandbox_repo(&sandbox_variants[0], &repo);
	return 0;
}

static int tear_down(UNUSED void **state)
{
	repo_close(&repo);
	sandbox_leave();
	return 0;
}

/* Stat data and an id that depend on `n`; `age` seconds old. */
static void make(unsigned n, int age, struct stat *st, struct oid *oid)
{
	*st = (struct stat){.st_mode = S_IFREG | 0644, .st_ino = 1000 + n, .st_size = 100000 + n};
	clock_gettime(CLOCK_REALTIME, &st->st_mtim);
	st->st_mtim.tv_sec -= age;
	st->st_ctim = st->st_mtim;
	object_id(HASH_SHA1, OBJECT_BLOB, &n, sizeof(n), oid);
}

static void add(struct statcache *cache, const char *path, const struct stat *st,
		const struct oid *oid, bool plain)
{
	statcache_add(cache, path, strlen(path), st, oid, plain);
}

static bool finds(struct statcache *cache, const char *path, const struct stat *st,
		  const struct oid *want, bool want_plain)
{
	struct oid oid;
	bool plain;

	if (!statcache_find(cache, path, strlen(path), st, &oid, &plain))
		return false;
	assert_oid_equal(&oid, want);
	assert_int_equal(plain, want_plain);
	return true;
}

/* Saves, forgets, and reads again. */
static struct statcache *turn_over(struct statcache *cache)
{
	struct fail fail = FAIL_INIT;

	assert_ok(statcache_save(cache, &repo, &fail), fail);
	statcache_free(cache);
	return statcache_open(&repo);
}

static struct statcache *start_empty(void)
{
	unlink(".git/interlock/cache/main");
	return statcache_open(&repo);
}

static void test_what_was_added_is_found(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct stat a, b;
	struct oid oid_a, oid_b;

	make(1, 10, &a, &oid_a);
	make(2, 10, &b, &oid_b);
	assert_false(finds(cache, "dir/a", &a, &oid_a, true));
	add(cache, "dir/a", &a, &oid_a, true);
	add(cache, "b\n\xff", &b, &oid_b, false);
	cache = turn_over(cache);
	assert_true(finds(cache, "dir/a", &a, &oid_a, true));
	assert_true(finds(cache, "b\n\xff", &b, &oid_b, false));
	assert_false(finds(cache, "dir/b", &a, &oid_a, true));
	assert_false(finds(cache, "dir/", &a, &oid_a, true));
	assert_false(finds(cache, "", &a, &oid_a, true));
	statcache_free(cache);
}

static void test_other_stat_data_are_not_found(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct stat st, other;
	struct oid oid;

	make(1, 10, &st, &oid);
	add(cache, "a", &st, &oid, true);
	cache = turn_over(cache);
	other = st;
	other.st_size++;
	assert_false(finds(cache, "a", &other, &oid, true));
	other = st;
	other.st_mtim.tv_nsec ^= 1;
	assert_false(finds(cache, "a", &other, &oid, true));
	other = st;
	other.st_ctim.tv_sec--;
	assert_false(finds(cache, "a", &other, &oid, true));
	other = st;
	other.st_ctim.tv_nsec ^= 1;
	assert_false(finds(cache, "a", &other, &oid, true));
	other = st;
	other.st_ino++;
	assert_false(finds(cache, "a", &other, &oid, true));
	other = st;
	other.st_mode = S_IFLNK | 0777;
	assert_false(finds(cache, "a", &other, &oid, true));
	assert_true(finds(cache, "a", &st, &oid, true));
	statcache_free(cache);
}

static void test_young_files_are_not_remembered(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct stat st;
	struct oid oid;

	make(1, 1, &st, &oid);
	add(cache, "young", &st, &oid, true);
	make(2, 10, &st, &oid);
	st.st_ctim.tv_sec += 9; /* an old mtime proves nothing: anybody can set it */
	add(cache, "touched", &st, &oid, true);
	make(3, -100, &st, &oid);
	add(cache, "future", &st, &oid, true);
	make(4, 10, &st, &oid);
	add(cache, "old", &st, &oid, true);
	cache = turn_over(cache);
	assert_true(statcache_knows(cache, "old", 3));
	assert_false(statcache_knows(cache, "young", 5));
	assert_false(statcache_knows(cache, "touched", 7));
	assert_false(statcache_knows(cache, "future", 6));
	statcache_free(cache);
}

/* A line that was true once must not come back after the file was seen otherwise. */
static void test_a_newer_sight_replaces_the_line(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct stat old, new;
	struct oid oid_old, oid_new;

	make(1, 100, &old, &oid_old);
	make(2, 10, &new, &oid_new);
	add(cache, "a", &old, &oid_old, true);
	cache = turn_over(cache);
	add(cache, "a", &new, &oid_new, true);
	add(cache, "a", &new, &oid_new, true);
	cache = turn_over(cache);
	assert_false(finds(cache, "a", &old, &oid_old, true));
	assert_true(finds(cache, "a", &new, &oid_new, true));
	statcache_free(cache);
}

static void test_lines_nobody_asked_for(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct stat st[3];
	struct oid oid[3];

	for (unsigned i = 0; i < 3; i++)
		make(i, 10, &st[i], &oid[i]);
	add(cache, "a", &st[0], &oid[0], true);
	add(cache, "b", &st[1], &oid[1], true);
	cache = turn_over(cache);
	/* A scan of some paths keeps the others. */
	add(cache, "c", &st[2], &oid[2], true);
	cache = turn_over(cache);
	assert_true(statcache_knows(cache, "a", 1));
	assert_true(statcache_knows(cache, "b", 1));
	statcache_free(cache);
	/* A scan of the whole tree asked for what there is. */
	cache = statcache_open(&repo);
	assert_true(finds(cache, "a", &st[0], &oid[0], true));
	add(cache, "c", &st[2], &oid[2], true);
	statcache_forget_unseen(cache);
	cache = turn_over(cache);
	assert_true(statcache_knows(cache, "a", 1));
	assert_false(statcache_knows(cache, "b", 1));
	assert_true(statcache_knows(cache, "c", 1));
	statcache_free(cache);
}

static ino_t inode_of_file(void)
{
	struct stat st;

	return stat(".git/interlock/cache/main", &st) < 0 ? 0 : st.st_ino;
}

static void test_nothing_new_writes_nothing(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct stat st;
	struct oid oid;
	ino_t before;

	cache = turn_over(cache);
	assert_int_equal(inode_of_file(), 0);
	make(1, 10, &st, &oid);
	add(cache, "a", &st, &oid, true);
	cache = turn_over(cache);
	before = inode_of_file();
	assert_int_not_equal(before, 0);
	assert_true(finds(cache, "a", &st, &oid, true));
	statcache_forget_unseen(cache);
	cache = turn_over(cache);
	assert_int_equal(inode_of_file(), before);
	statcache_free(cache);
}

static void test_directories(UNUSED void **state)
{
	static const char extras[] = "fx.o\0dout";
	struct statcache *cache = start_empty();
	uint64_t seed = statcache_seed(cache), digest, other;
	const char *found;
	size_t len;
	struct stat st;
	struct oid oid;

	digest = statcache_digest(statcache_digest(seed, "a", 1, false), "b", 1, true);
	other = statcache_digest(statcache_digest(seed, "a", 1, false), "b", 1, false);
	assert_int_not_equal(digest, other);
	assert_int_not_equal(statcache_digest(seed, "ab", 2, false), digest);
	make(1, 10, &st, &oid);
	st.st_mode = S_IFDIR | 0755;
	/* Without a name and without extras, as the first of all: for the sanitizer. */
	statcache_add_dir(cache, "", 0, &st, digest, NULL, 0);
	statcache_add_dir(cache, "", 0, &st, digest, extras, sizeof(extras));
	statcache_add_dir(cache, "sub", 3, &st, digest, NULL, 0);
	/* Two directories alone would not be worth the writing. */
	for (int i = 0; i < 50; i++) {
		char path[16];

		snprintf(path, sizeof(path), "more/%d", i);
		statcache_add_dir(cache, path, strlen(path), &st, digest, NULL, 0);
	}
	cache = turn_over(cache);
	assert_true(statcache_seed(cache) == seed);
	assert_true(statcache_find_dir(cache, "", 0, &st, digest, &found, &len));
	assert_int_equal(len, sizeof(extras));
	assert_memory_equal(found, extras, len);
	assert_true(statcache_find_dir(cache, "sub", 3, &st, digest, &found, &len));
	assert_int_equal(len, 0);
	assert_false(statcache_find_dir(cache, "sub", 3, &st, other, &found, &len));
	st.st_ctim.tv_nsec ^= 1;
	assert_false(statcache_find_dir(cache, "sub", 3, &st, digest, &found, &len));
	st.st_ctim.tv_nsec ^= 1;
	/* Rewriting keeps lines and seed. */
	make(2, 10, &st, &oid);
	add(cache, "new", &st, &oid, true);
	cache = turn_over(cache);
	assert_true(statcache_seed(cache) == seed);
	assert_true(statcache_knows(cache, "", 0) && statcache_knows(cache, "sub", 3));
	statcache_free(cache);
}

static void read_file(struct bytes *data)
{
	struct fail fail = FAIL_INIT;

	assert_ok(file_read(repo.common_fd, "interlock/cache/main", 1 << 24, data, &fail), fail);
}

static void write_file(const struct bytes *data)
{
	struct fail fail = FAIL_INIT;

	assert_ok(file_replace(repo.common_fd, "interlock/cache/main", data->data, data->len,
			       &repo.modes, false, &fail),
		  fail);
}

/* Whatever byte is damaged, and wherever the file ends: no line, never a wrong one. */
static void test_damage_is_never_believed(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct bytes good = BYTES_INIT, bad = BYTES_INIT;
	struct stat st[4];
	struct oid oid[4];
	unsigned misses = 0;
	char name[8];

	for (unsigned i = 0; i < 4; i++) {
		make(i, 10, &st[i], &oid[i]);
		snprintf(name, sizeof(name), "f%u", i);
		add(cache, name, &st[i], &oid[i], i % 2);
	}
	cache = turn_over(cache);
	statcache_free(cache);
	read_file(&good);
	for (size_t at = 0; at < good.len * 2; at++) {
		struct fail fail = FAIL_INIT;

		bytes_clear(&bad);
		if (at < good.len) {
			bytes_add(&bad, good.data, good.len);
			bad.data[at] = (char)(bad.data[at] ^ (1 << at % 8));
		} else {
			bytes_add(&bad, good.data, at - good.len);
		}
		write_file(&bad);
		cache = statcache_open(&repo);
		for (unsigned i = 0; i < 4; i++) {
			snprintf(name, sizeof(name), "f%u", i);
			misses += !finds(cache, name, &st[i], &oid[i], i % 2);
		}
		add(cache, "one more", &st[0], &oid[0], true);
		assert_ok(statcache_save(cache, &repo, &fail), fail);
		statcache_free(cache);
	}
	assert_true(misses > good.len);
	bytes_release(&good);
	bytes_release(&bad);
}

static void test_a_planted_symlink_is_not_followed(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct stat st;
	struct oid oid;

	make(1, 10, &st, &oid);
	add(cache, "a", &st, &oid, true);
	cache = turn_over(cache);
	assert_int_equal(rename(".git/interlock/cache/main", "../planted"), 0);
	assert_int_equal(symlink("../../../../planted", ".git/interlock/cache/main"), 0);
	statcache_free(cache);
	cache = statcache_open(&repo);
	assert_false(statcache_knows(cache, "a", 1));
	statcache_free(cache);
}

/* ---- many, from many threads -------------------------------------------------- */

#define MANY 100000u

struct share {
	struct statcache *cache;
	unsigned first, last;
	bool adding;
	unsigned found;
};

static void work(UNUSED struct crew *crew, UNUSED unsigned worker, void *job)
{
	struct share *share = job;
	char path[64];
	struct stat st;
	struct oid oid;

	for (unsigned i = share->first; i < share->last; i++) {
		make(i, 0, &st, &oid);
		st.st_mtim = st.st_ctim = (struct timespec){1000 + i, i};
		snprintf(path, sizeof(path), "some/directory/file-%u", i);
		if (share->adding)
			statcache_add(share->cache, path, strlen(path), &st, &oid, true);
		else
			share->found += finds(share->cache, path, &st, &oid, true);
	}
}

static unsigned share_out(struct statcache *cache, bool adding)
{
	struct crew *crew = crew_new(4, work);
	struct share shares[16];
	unsigned found = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(shares); i++) {
		shares[i] = (struct share){.cache = cache,
					   .first = i * (MANY / 16),
					   .last = (i + 1) * (MANY / 16),
					   .adding = adding};
		crew_add(crew, &shares[i]);
	}
	crew_run(crew);
	for (unsigned i = 0; i < ARRAY_SIZE(shares); i++)
		found += shares[i].found;
	crew_free(crew);
	return found;
}

static void test_many_lines_and_threads(UNUSED void **state)
{
	struct statcache *cache = start_empty();

	share_out(cache, true);
	cache = turn_over(cache);
	assert_int_equal(share_out(cache, false), MANY);
	statcache_free(cache);
}

/* ---- with the scan --------------------------------------------------------------- */

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void scan_with(struct statcache *cache, struct scan *scan)
{
	struct scan_options options = {.cache = cache, .keep_bytes = 1 << 20};
	struct fail fail = FAIL_INIT;

	assert_ok(scan_run(&repo, &options, scan, &fail), fail);
}

static void test_a_second_scan_reads_nothing(UNUSED void **state)
{
	struct statcache *cache = start_empty();
	struct timespec wait = {2, 100000000};
	struct scan scan;

	assert_int_equal(mkdir("d", 0777), 0);
	put("d/tracked", "x");
	git("add d/tracked");
	put("d/tracked", "changed");
	put("d/new", "new");
	put("crlf", "a\r\n");
	nanosleep(&wait, NULL); /* what is younger than two seconds is never remembered */
	statcache_free(cache);
	cache = statcache_open(&repo);
	scan_with(cache, &scan);
	assert_int_equal(scan.change_count, 3);
	assert_int_equal(scan.files_hashed, 3);
	scan_release(&scan);
	cache = turn_over(cache);
	assert_true(statcache_knows(cache, "", 0) && statcache_knows(cache, "d", 1));
	scan_with(cache, &scan);
	assert_int_equal(scan.change_count, 3);
	assert_int_equal(scan.files_hashed, 0);
	scan_release(&scan);
	statcache_free(cache);
	/* A name that comes, one that goes, and rules that change, are seen all the same. */
	put("d/newer", "x");
	assert_int_equal(unlink("d/tracked"), 0);
	cache = statcache_open(&repo);
	scan_with(cache, &scan);
	assert_int_equal(scan.change_count, 4);
	assert_string_equal(scan.changes[3].path, "d/tracked");
	assert_int_equal(scan.changes[3].mode, 0);
	scan_release(&scan);
	statcache_free(cache);
	put(".git/info/exclude", "new*\n");
	cache = statcache_open(&repo);
	scan_with(cache, &scan);
	assert_int_equal(scan.change_count, 2);
	scan_release(&scan);
	/* Where line ends are converted, only a plain file's id is taken over. */
	repo.conf.autocrlf = true;
	scan_with(cache, &scan);
	assert_int_equal(scan.change_count, 2);
	assert_string_equal(scan.changes[0].path, "crlf");
	assert_int_equal(scan.changes[0].size, 2);
	scan_release(&scan);
	repo.conf.autocrlf = false;
	statcache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_added_is_found),
		cmocka_unit_test(test_other_stat_data_are_not_found),
		cmocka_unit_test(test_young_files_are_not_remembered),
		cmocka_unit_test(test_a_newer_sight_replaces_the_line),
		cmocka_unit_test(test_lines_nobody_asked_for),
		cmocka_unit_test(test_nothing_new_writes_nothing),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_damage_is_never_believed),
		cmocka_unit_test(test_a_planted_symlink_is_not_followed),
		cmocka_unit_test(test_many_lines_and_threads),
		cmocka_unit_test(test_a_second_scan_reads_nothing),
	};

	return cmocka_run_group_tests_name("statcache", tests, set_up, tear_down);
}
