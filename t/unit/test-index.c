/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "file.h"
#include "index.h"

#include <fcntl.h>

static int set_up(UNUSED void **state)
{
	sandbox_enter();
	return 0;
}

static int tear_down(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

static void put_file(const char *path, const char *text)
{
	FILE *f;

	for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
		char *dir = mem_dup(path, (size_t)(slash - path));

		mkdir(dir, 0777);
		free(dir);
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void put_some_files(void)
{
	static const char *const paths[] = {"a",     "a-b",   "a.c", "b/a",	     "b/c/d",
					    "b/c/e", "b-c/x", "b0",  "long/er/name", "z"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		put_file(paths[i], paths[i]);
}

/* The entries, said as `git ls-files -s -z` says them. */
static void describe(const struct index *index, struct bytes *out)
{
	for (uint32_t i = 0; i < index->count; i++) {
		const struct index_entry *e = &index->entries[i];
		char hex[OID_HEX_MAX + 1];
		struct oid oid;

		assert_int_equal(strlen(e->name), e->name_len);
		oid_from_raw(index->algo, e->oid, &oid);
		bytes_addf(out, "%06o %s %d\t%s", e->mode, oid_hex(&oid, hex), e->stage, e->name);
		bytes_addc(out, '\0');
	}
}

static void open_index(struct index *index, enum hash_algo algo)
{
	struct fail fail = FAIL_INIT;

	assert_ok(index_open(index, ".git/index", algo, &fail), fail);
	assert_true(index->exists);
}

static void agrees_with_git(enum hash_algo algo, uint32_t version)
{
	struct bytes ours = BYTES_INIT, git_s = BYTES_INIT;
	struct index index;

	open_index(&index, algo);
	assert_int_equal(index.version, version);
	describe(&index, &ours);
	git_feed("ls-files -s -z", NULL, 0, &git_s);
	assert_int_equal(ours.len, git_s.len);
	assert_memory_equal(ours.data, git_s.data, ours.len);
	index_close(&index);
	bytes_release(&ours);
	bytes_release(&git_s);
}

static void test_every_version_and_hash(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		struct repo repo;
		enum hash_algo algo = sandbox_variants[i].algo;

		sandbox_repo(&sandbox_variants[i], &repo);
		put_some_files();
		git("add .");
		agrees_with_git(algo, 2);
		put_file("new", "x");
		git("add -N new");
		agrees_with_git(algo, 3);
		git("update-index --index-version 4");
		agrees_with_git(algo, 4);
		repo_close(&repo);
	}
}

static void test_long_names_and_stages(UNUSED void **state)
{
	struct bytes input = BYTES_INIT;
	char *name = mem_printf("%03000d", 0);
	struct repo repo;

	for (size_t i = 0; i < strlen(name); i += 200)
		name[i + 100] = '/';
	sandbox_repo(&sandbox_variants[0], &repo);
	for (int stage = 1; stage <= 3; stage++) {
		bytes_addf(&input, "100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 %d\t", stage);
		bytes_adds(&input, "conflict");
		bytes_addc(&input, '\0');
		bytes_addf(&input, "100755 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 %d\t", stage);
		bytes_adds(&input, name);
		bytes_addc(&input, '\0');
	}
	git_feed("update-index -z --index-info", input.data, input.len, NULL);
	agrees_with_git(HASH_SHA1, 2);
	git("update-index --index-version 4");
	agrees_with_git(HASH_SHA1, 4);
	repo_close(&repo);
	bytes_release(&input);
	free(name);
}

static void test_flags(UNUSED void **state)
{
	const struct index_entry *entry;
	struct repo repo;
	struct index index;

	sandbox_repo(&sandbox_variants[0], &repo);
	put_some_files();
	git("add .");
	git("update-index --assume-unchanged a");
	put_file("ita", "x");
	git("add -N ita");
	open_index(&index, HASH_SHA1);
	assert_int_equal(index.skip_worktree_count, 0);
	entry = index_find(&index, "a", 1);
	assert_true(entry->assume_valid && !entry->intent_to_add);
	entry = index_find(&index, "ita", 3);
	assert_true(entry->intent_to_add && !entry->assume_valid);
	index_close(&index);
	git("update-index --skip-worktree b/a");
	git("update-index --index-version 4");
	open_index(&index, HASH_SHA1);
	assert_int_equal(index.skip_worktree_count, 1);
	assert_true(index_find(&index, "b/a", 3)->skip_worktree);
	index_close(&index);
	repo_close(&repo);
}

static void refused(const char *row, const char *option)
{
	struct fail fail = FAIL_INIT;
	struct index index;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	put_some_files();
	git("add .");
	git("-c user.name=a -c user.email=a@b commit -q -m x");
	git(option);
	assert_int_equal(index_open(&index, ".git/index", HASH_SHA1, &fail), FAIL_ENGINE);
	assert_string_equal(fail.message, row);
	index_close(&index);
	repo_close(&repo);
}

static void test_split_and_sparse_are_git_s(UNUSED void **state)
{
	refused("split index", "update-index --split-index");
	refused("sparse index", "sparse-checkout set --cone --sparse-index b");
}

static void test_missing_is_empty(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	struct index index;

	assert_ok(index_open(&index, "no-such-index", HASH_SHA1, &fail), fail);
	assert_false(index.exists);
	assert_int_equal(index.count, 0);
	assert_null(index_find(&index, "a", 1));
	assert_int_equal(index_lower_bound(&index, "a", 1), 0);
	index_close(&index);
}

static int try_bytes(const struct bytes *data, struct fail *fail, struct index *index)
{
	struct fail ignored = FAIL_INIT;
	struct file_modes modes = FILE_MODES_PRIVATE;

	assert_ok(file_replace(AT_FDCWD, "damaged", data->data, data->len, &modes, false, &ignored),
		  ignored);
	fail_clear(fail);
	return index_open(index, "damaged", HASH_SHA1, fail);
}

static void read_index_file(struct bytes *data)
{
	struct fail fail = FAIL_INIT;

	assert_ok(file_read(AT_FDCWD, ".git/index", 1 << 20, data, &fail), fail);
}

static void test_unknown_extensions(UNUSED void **state)
{
	struct bytes data = BYTES_INIT, trailer = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct index index;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	put_some_files();
	git("add .");
	read_index_file(&data);
	bytes_add(&trailer, data.data + data.len - 20, 20);
	bytes_truncate(&data, data.len - 20);
	bytes_add(&data, "ZZZZ\0\0\0\3abc", 11);
	bytes_add(&data, trailer.data, 20);
	assert_int_equal(try_bytes(&data, &fail, &index), 0);
	assert_memory_equal(index.checksum, trailer.data, 20);
	index_close(&index);
	bytes_truncate(&data, data.len - 20);
	bytes_add(&data, "zzzz\0\0\0\0", 8);
	bytes_add(&data, trailer.data, 20);
	assert_int_equal(try_bytes(&data, &fail, &index), FAIL_ENGINE);
	assert_string_equal(fail.message, "unknown index extension 'zzzz'");
	index_close(&index);
	repo_close(&repo);
	bytes_release(&data);
	bytes_release(&trailer);
}

/* Reads all that an index claims to have, so that a sanitizer sees what is out of bounds. */
static uint64_t touch_tree(const struct index_tree *tree)
{
	uint64_t sum = tree->oid ? tree->oid[19] : 0;

	sum += (uint8_t)tree->name[tree->name_len];
	for (uint32_t i = 0; i < tree->subtree_count; i++)
		sum += touch_tree(&tree->subtrees[i]);
	return sum;
}

static uint64_t touch(const struct index *index)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < index->count; i++) {
		const struct index_entry *e = &index->entries[i];

		assert_int_equal(strlen(e->name), e->name_len);
		assert_ptr_not_equal(e->name[0], '/');
		sum += e->stat[39] + e->oid[19];
	}
	return sum + (index->tree ? touch_tree(index->tree) : 0);
}

static void test_damage_is_refused_not_followed(UNUSED void **state)
{
	for (int version = 2; version <= 4; version += 2) {
		struct bytes data = BYTES_INIT, copy = BYTES_INIT;
		struct fail fail = FAIL_INIT;
		struct index index;
		struct repo repo;
		unsigned refusals = 0;

		sandbox_repo(&sandbox_variants[0], &repo);
		put_some_files();
		git("add .");
		git("write-tree");
		git(version == 4 ? "update-index --index-version 4" : "status");
		git("write-tree");
		read_index_file(&data);
		for (size_t len = 0; len < data.len; len++) {
			bytes_clear(&copy);
			bytes_add(&copy, data.data, len);
			if (try_bytes(&copy, &fail, &index) == 0)
				touch(&index);
			else
				assert_true(fail.kind == FAIL_CORRUPT || fail.kind == FAIL_ENGINE);
			index_close(&index);
		}
		for (size_t at = 0; at < data.len; at++) {
			for (int bit = 0; bit < 8; bit += 3) {
				bytes_clear(&copy);
				bytes_add(&copy, data.data, data.len);
				copy.data[at] = (char)(copy.data[at] ^ 1 << bit);
				if (try_bytes(&copy, &fail, &index) == 0)
					touch(&index);
				refusals += fail.kind != 0;
				index_close(&index);
			}
		}
		assert_true(refusals > 100);
		repo_close(&repo);
		bytes_release(&data);
		bytes_release(&copy);
	}
}

static void test_names_stay_in_the_work_tree(UNUSED void **state)
{
	static const char *const bad[] = {"..", "./", "/x", "x/"};
	struct bytes data = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct index index;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	put_file("ab", "x");
	git("add .");
	read_index_file(&data);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(data.data + 12 + 62, bad[i], 2);
		assert_int_equal(try_bytes(&data, &fail, &index), FAIL_CORRUPT);
		index_close(&index);
	}
	memcpy(data.data + 12 + 62, "ok", 2);
	assert_int_equal(try_bytes(&data, &fail, &index), 0);
	assert_string_equal(index.entries[0].name, "ok");
	index_close(&index);
	repo_close(&repo);
	bytes_release(&data);
}

static void test_cache_tree(UNUSED void **state)
{
	const struct index_tree *b = NULL;
	struct index index;
	struct repo repo;
	struct oid tree, want;

	sandbox_repo(&sandbox_variants[0], &repo);
	put_some_files();
	git("add .");
	want = git_oid_of(HASH_SHA1, "write-tree");
	open_index(&index, HASH_SHA1);
	assert_non_null(index.tree);
	assert_int_equal(index.tree->entry_count, 10);
	assert_int_equal(index.tree->subtree_count, 3);
	oid_from_raw(HASH_SHA1, index.tree->oid, &tree);
	assert_oid_equal(&tree, &want);
	for (uint32_t i = 0; i < index.tree->subtree_count; i++)
		if (!strcmp(index.tree->subtrees[i].name, "b"))
			b = &index.tree->subtrees[i];
	assert_non_null(b);
	assert_int_equal(b->entry_count, 3);
	assert_int_equal(b->subtree_count, 1);
	assert_string_equal(b->subtrees[0].name, "c");
	index_close(&index);
	put_file("b/c/new", "x");
	git("add b/c/new");
	open_index(&index, HASH_SHA1);
	assert_int_equal(index.tree->entry_count, -1);
	assert_null(index.tree->oid);
	index_close(&index);
	repo_close(&repo);
}

static bool is_below(const struct index_entry *e, const char *prefix)
{
	return !strncmp(e->name, prefix, strlen(prefix));
}

static void test_runs_of_a_directory(UNUSED void **state)
{
	static const char *const prefixes[] = {"b/", "b/c/", "long/", "a/", "zz/", "b-c/"};
	struct index index;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	put_some_files();
	for (int i = 0; i < 70; i++) {
		char path[32];

		snprintf(path, sizeof(path), "b/many/f%d", i);
		put_file(path, "x");
	}
	git("add .");
	open_index(&index, HASH_SHA1);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t len = strlen(prefixes[i]);
		uint32_t low = index_lower_bound(&index, prefixes[i], len);
		uint32_t high = low;

		while (high < index.count && is_below(&index.entries[high], prefixes[i]))
			high++;
		assert_true(!low || strcmp(index.entries[low - 1].name, prefixes[i]) < 0);
		for (uint32_t limit = high; limit <= index.count; limit++)
			assert_int_equal(index_prefix_end(&index, low, limit, prefixes[i], len),
					 high);
	}
	index_close(&index);
	repo_close(&repo);
}

/* ---- stat data --------------------------------------------------------------- */

static void put32(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

struct stat_case {
	struct index index;
	struct index_entry entry;
	uint8_t disk[40];
	uint8_t oid[20];
	struct stat st;
};

static void fill_stat(struct stat_case *c)
{
	*c = (struct stat_case){.index = {.algo = HASH_SHA1}};
	c->entry.stat = c->disk;
	c->entry.oid = c->oid;
	c->index.mtime = (struct timespec){2000, 0};
	c->st.st_ctim = c->st.st_mtim = (struct timespec){1000, 500};
	c->st.st_ino = 0x500000007;
	c->st.st_uid = 3;
	c->st.st_gid = 4;
	c->st.st_size = 5;
	put32(c->disk, 1000);
	put32(c->disk + 4, 500);
	put32(c->disk + 8, 1000);
	put32(c->disk + 12, 500);
	put32(c->disk + 20, 7);
	put32(c->disk + 28, 3);
	put32(c->disk + 32, 4);
	put32(c->disk + 36, 5);
}

static bool fresh(const struct stat_case *c)
{
	return index_entry_fresh(&c->index, &c->entry, &c->st, true, false);
}

static void test_stat_data_that_differ(UNUSED void **state)
{
	struct stat_case c;

	fill_stat(&c);
	assert_true(fresh(&c));
	c.st.st_size++;
	assert_false(fresh(&c));
	fill_stat(&c);
	c.st.st_mtim.tv_nsec++; /* the same second, the same size */
	assert_false(fresh(&c));
	fill_stat(&c);
	c.st.st_ino++;
	assert_false(fresh(&c));
	assert_true(index_entry_fresh(&c.index, &c.entry, &c.st, true, true));
	fill_stat(&c);
	c.st.st_uid++;
	assert_false(fresh(&c));
	fill_stat(&c);
	c.st.st_ctim.tv_sec++;
	assert_false(fresh(&c));
	assert_true(index_entry_fresh(&c.index, &c.entry, &c.st, false, false));
}

static void test_racy_entries_are_never_fresh(UNUSED void **state)
{
	struct stat_case c;

	fill_stat(&c);
	c.index.mtime = (struct timespec){1000, 900000000}; /* git: the same second */
	assert_false(fresh(&c));
	c.index.mtime = (struct timespec){999, 0};
	assert_false(fresh(&c));
	c.index.mtime = (struct timespec){1001, 0};
	assert_true(fresh(&c));
	c.st.st_mtim.tv_nsec = 995000000; /* a tick of the clock before the second's end */
	put32(c.disk + 12, 995000000);
	assert_false(fresh(&c));
	c.index.mtime.tv_nsec = 50000000;
	assert_true(fresh(&c));
}

static void test_whole_seconds(UNUSED void **state)
{
	struct stat_case c;

	fill_stat(&c);
	put32(c.disk + 12, 0);
	assert_true(fresh(&c));
	c.index.mtime.tv_sec = 1002;
	assert_false(fresh(&c));
	c.index.mtime.tv_sec = 1003;
	assert_true(fresh(&c));
}

static void test_a_smudged_entry_is_believed_only_of_the_empty_blob(UNUSED void **state)
{
	struct stat_case c;

	fill_stat(&c);
	c.st.st_size = 0;
	put32(c.disk + 36, 0);
	assert_false(fresh(&c));
	memcpy(c.oid, oid_empty_blob(HASH_SHA1)->raw, 20);
	assert_true(fresh(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_version_and_hash),
		cmocka_unit_test(test_long_names_and_stages),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_split_and_sparse_are_git_s),
		cmocka_unit_test(test_missing_is_empty),
		cmocka_unit_test(test_unknown_extensions),
		cmocka_unit_test(test_damage_is_refused_not_followed),
		cmocka_unit_test(test_names_stay_in_the_work_tree),
		cmocka_unit_test(test_cache_tree),
		cmocka_unit_test(test_runs_of_a_directory),
		cmocka_unit_test(test_stat_data_that_differ),
		cmocka_unit_test(test_racy_entries_are_never_fresh),
		cmocka_unit_test(test_whole_seconds),
		cmocka_unit_test(test_a_smudged_entry_is_believed_only_of_the_empty_blob),
	};

	return cmocka_run_group_tests_name("index", tests, set_up, tear_down);
}
