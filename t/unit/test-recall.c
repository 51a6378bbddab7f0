/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "hash.h"
#include "recall.h"

#include <git2.h>

static struct oid id_of(enum hash_algo algo, enum object_type type, const char *text)
{
	struct oid oid;

	object_id(algo, type, text, strlen(text), &oid);
	return oid;
}

static struct oid put(struct recall *recall, enum hash_algo algo, const char *text)
{
	struct oid oid = id_of(algo, OBJECT_TREE, text);

	recall_put(recall, &oid, OBJECT_TREE, text, strlen(text));
	return oid;
}

static struct oid saw(struct recall *recall, enum hash_algo algo, enum object_type type,
		      const char *text)
{
	struct oid oid = id_of(algo, type, text);
	struct bytes content = BYTES_INIT;

	bytes_adds(&content, text);
	recall_saw(recall, &oid, type, &content);
	bytes_release(&content);
	return oid;
}

static bool has(struct recall *recall, const struct oid *oid, const char *text)
{
	struct bytes out = BYTES_INIT;
	enum object_type type;
	bool there = recall_get(recall, oid, &type, &out);

	if (there)
		assert_string_equal(out.data, text);
	bytes_release(&out);
	return there;
}

/* What one save hands to the next. */
static struct recall *next(struct recall *recall, enum hash_algo algo)
{
	struct recall *after = recall_new(algo);
	struct bytes text = BYTES_INIT;

	recall_write(recall, &text);
	recall_load(after, text.data, text.len);
	bytes_release(&text);
	recall_free(recall);
	return after;
}

static void test_handed_on(UNUSED void **state)
{
	for (enum hash_algo algo = HASH_SHA1; algo <= HASH_SHA256; algo++) {
		struct recall *recall = recall_new(algo);
		struct oid tree = put(recall, algo, "a tree\nof two lines");
		struct oid commit = saw(recall, algo, OBJECT_COMMIT, "a commit");
		struct oid blob = saw(recall, algo, OBJECT_BLOB, "a blob");
		struct oid none = id_of(algo, OBJECT_TREE, "another");
		struct bytes out = BYTES_INIT;
		enum object_type type;

		assert_false(has(recall, &none, ""));
		recall = next(recall, algo);
		assert_true(has(recall, &tree, "a tree\nof two lines"));
		assert_true(recall_get(recall, &commit, &type, &out));
		assert_int_equal(type, OBJECT_COMMIT);
		assert_false(has(recall, &blob, ""));
		assert_false(has(recall, &none, ""));
		bytes_release(&out);
		recall_free(recall);
	}
}

/* No byte can be changed, and no end cut off, so that a wrong content is given out. */
static void test_never_lies(UNUSED void **state)
{
	struct recall *recall = recall_new(HASH_SHA1);
	struct oid one = put(recall, HASH_SHA1, "the first tree");
	struct oid two = put(recall, HASH_SHA1, "the second tree");
	struct bytes text = BYTES_INIT, bad = BYTES_INIT;

	recall_write(recall, &text);
	recall_free(recall);
	for (size_t i = 0; i < text.len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes_clear(&bad);
			bytes_add(&bad, text.data, text.len);
			bad.data[i] = (char)(bad.data[i] ^ 1 << bit);
			recall = recall_new(HASH_SHA1);
			recall_load(recall, bad.data, bad.len);
			has(recall, &one, "the first tree");
			has(recall, &two, "the second tree");
			recall_free(recall);
		}
	for (size_t len = 0; len < text.len; len++) {
		recall = recall_new(HASH_SHA1);
		recall_load(recall, text.data, len);
		has(recall, &one, "the first tree");
		assert_false(has(recall, &one, "the first tree") &&
			     has(recall, &two, "the second tree") && len + 1 < text.len);
		recall_free(recall);
	}
	bytes_release(&text);
	bytes_release(&bad);
}

static void test_replaced(UNUSED void **state)
{
	struct recall *recall = recall_new(HASH_SHA1);
	struct oid old = put(recall, HASH_SHA1, "old"), new, base;

	base = saw(recall, HASH_SHA1, OBJECT_TREE, "base");
	recall = next(recall, HASH_SHA1);
	assert_true(has(recall, &old, "old"));
	assert_true(has(recall, &base, "base"));
	new = put(recall, HASH_SHA1, "new");
	recall = next(recall, HASH_SHA1);
	/* "old" was the tip's and was asked for: "new" stands in its place now. */
	assert_false(has(recall, &old, "old"));
	assert_true(has(recall, &base, "base"));
	assert_true(has(recall, &new, "new"));
	/* And back again. */
	old = put(recall, HASH_SHA1, "old");
	new = put(recall, HASH_SHA1, "new");
	recall = next(recall, HASH_SHA1);
	assert_true(has(recall, &old, "old"));
	assert_true(has(recall, &new, "new"));
	recall_free(recall);
}

static void test_forgotten(UNUSED void **state)
{
	struct recall *recall = recall_new(HASH_SHA1);
	struct oid idle = put(recall, HASH_SHA1, "idle");
	struct oid used = saw(recall, HASH_SHA1, OBJECT_TREE, "used");
	unsigned saves = 0;

	for (bool there = true; there && saves < 100; saves++) {
		struct recall *look;
		struct bytes text = BYTES_INIT;

		recall = next(recall, HASH_SHA1);
		recall_write(recall, &text);
		look = recall_new(HASH_SHA1);
		recall_load(look, text.data, text.len);
		there = has(look, &idle, "idle");
		recall_free(look);
		bytes_release(&text);
		assert_true(has(recall, &used, "used"));
	}
	assert_in_range(saves, 4, 20);
	recall_free(recall);
}

static void test_limit(UNUSED void **state)
{
	struct recall *recall = recall_new(HASH_SHA1);
	struct bytes text = BYTES_INIT;

	char content[10001];

	memset(content, 'x', sizeof(content));
	content[sizeof(content) - 1] = '\0';
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 100; i++) {
			snprintf(content, 10, "%u %u", round, i);
			content[strlen(content)] = 'x';
			put(recall, HASH_SHA1, content);
		}
		bytes_clear(&text);
		recall_write(recall, &text);
		assert_in_range(text.len, RECALL_MAX / 2, RECALL_MAX);
		recall = next(recall, HASH_SHA1);
	}

	bytes_release(&text);
	recall_free(recall);
}

/* Another text takes the place of the one before; what this run put in stays. */
static void test_loaded_again(UNUSED void **state)
{
	struct recall *recall = recall_new(HASH_SHA1), *other = recall_new(HASH_SHA1);
	struct oid first = put(recall, HASH_SHA1, "first"), mine, theirs;
	struct bytes text = BYTES_INIT;

	theirs = put(other, HASH_SHA1, "theirs");
	recall_write(other, &text);
	recall = next(recall, HASH_SHA1);
	mine = put(recall, HASH_SHA1, "mine");
	recall_load(recall, text.data, text.len);
	assert_false(has(recall, &first, "first"));
	assert_true(has(recall, &mine, "mine"));
	assert_true(has(recall, &theirs, "theirs"));
	bytes_release(&text);
	recall_free(recall);
	recall_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handed_on), cmocka_unit_test(test_never_lies),
		cmocka_unit_test(test_replaced),  cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_limit),	  cmocka_unit_test(test_loaded_again),
	};

	git_libgit2_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
