/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "odb.h"
#include "treebag.h"

#include <fcntl.h>
#include <signal.h>

/* Runs a test in a fresh repository of each kind. */
static void over_variants(void (*test)(const struct variant *v, struct repo *repo, struct odb *odb))
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		struct repo repo;
		struct odb odb;

		sandbox_repo(&sandbox_variants[i], &repo);
		odb_init(&odb, &repo);
		test(&sandbox_variants[i], &repo, &odb);
		odb_release(&odb);
		repo_close(&repo);
	}
}

static struct oid put_blob(enum hash_algo algo, const void *data, size_t len)
{
	return git_oid_feed(algo, "hash-object -w --stdin", data, len);
}

static void assert_content(struct odb *odb, const struct oid *oid, enum object_type type,
			   const void *data, size_t len)
{
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	enum object_type found = 0;

	bytes_adds(&out, "left over");
	assert_ok(odb_read(odb, oid, &found, &out, &fail), fail);
	assert_int_equal(found, type);
	assert_int_equal(out.len, len);
	assert_memory_equal(out.data, data, len);
	found = 0;
	assert_ok(odb_type(odb, oid, &found, &fail), fail);
	assert_int_equal(found, type);
	bytes_release(&out);
}

static void assert_gone(struct odb *odb, const struct oid *oid)
{
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	enum object_type type;

	assert_int_equal(odb_read(odb, oid, &type, &out, &fail), FAIL_GONE);
	assert_int_equal(out.len, 0);
	fail_clear(&fail);
	assert_int_equal(odb_type(odb, oid, &type, &fail), FAIL_GONE);
	bytes_release(&out);
}

static void all_types(const struct variant *v, UNUSED struct repo *repo, struct odb *odb)
{
	struct oid blob = put_blob(v->algo, "a\0b\n", 4);
	struct oid empty = put_blob(v->algo, "", 0);
	struct oid none, ids[3];
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	static const char *const names[] = {"HEAD", "HEAD^{tree}", "refs/tags/t"};
	static const char *const kinds[] = {"commit", "tree", "tag"};

	git("-c user.name=u -c user.email=e commit -q --allow-empty -m first");
	git("-c user.name=u -c user.email=e tag -a -m text t");
	assert_content(odb, &blob, OBJECT_BLOB, "a\0b\n", 4);
	assert_content(odb, &empty, OBJECT_BLOB, "", 0);
	for (size_t i = 0; i < 3; i++) {
		struct bytes want = BYTES_INIT;
		char line[100];

		snprintf(line, sizeof(line), "rev-parse %s", names[i]);
		ids[i] = git_oid_of(v->algo, line);
		snprintf(line, sizeof(line), "cat-file %s %s", kinds[i], names[i]);
		git_feed(line, NULL, 0, &want);
		assert_content(odb, &ids[i], object_type_parse(kinds[i], strlen(kinds[i])),
			       want.data, want.len);
		bytes_release(&want);
	}
	assert_ok(odb_read_type(odb, &ids[0], OBJECT_COMMIT, &out, &fail), fail);
	assert_int_equal(odb_read_type(odb, &ids[0], OBJECT_TREE, &out, &fail), FAIL_CORRUPT);
	assert_int_equal(out.len, 0);
	none = blob;
	none.raw[3] ^= 1;
	assert_gone(odb, &none);
	/* Still in step after a miss. */
	assert_content(odb, &blob, OBJECT_BLOB, "a\0b\n", 4);
	bytes_release(&out);
}

static void test_all_types(UNUSED void **state)
{
	over_variants(all_types);
}

static enum object_type type_of(struct odb *odb, const struct oid *oid)
{
	struct fail fail = FAIL_INIT;
	enum object_type type = 0;

	assert_ok(odb_type(odb, oid, &type, &fail), fail);
	return type;
}

/* Objects that appear after the first read, loose and packed; big ones. */
static void later(const struct variant *v, UNUSED struct repo *repo, struct odb *odb)
{
	size_t len = 9 * 1024 * 1024 + 5;
	char *big = mem_alloc(len);
	struct oid none, blob, big_blob;

	for (size_t i = 0; i < len; i++)
		big[i] = (char)(i * 2654435761u >> 13);
	oid_zero(v->algo, &none);
	none.raw[0] = 1;
	assert_gone(odb, &none);
	big_blob = put_blob(v->algo, big, len);
	assert_content(odb, &big_blob, OBJECT_BLOB, big, len);
	blob = put_blob(v->algo, "later", 5);
	assert_content(odb, &blob, OBJECT_BLOB, "later", 5);
	git("-c user.name=u -c user.email=e commit -q --allow-empty -m first");
	none = git_oid_of(v->algo, "rev-parse HEAD");
	git("repack -adq");
	assert_int_equal(type_of(odb, &none), OBJECT_COMMIT);
	free(big);
}

static void test_later(UNUSED void **state)
{
	over_variants(later);
}

/* refs/replace must not change what an id means. */
static void replaced(const struct variant *v, UNUSED struct repo *repo, struct odb *odb)
{
	struct oid real = put_blob(v->algo, "real", 4);
	struct oid other = put_blob(v->algo, "other", 5);
	char a[OID_HEX_MAX + 1], b[OID_HEX_MAX + 1], line[200];

	snprintf(line, sizeof(line), "replace %s %s", oid_hex(&real, a), oid_hex(&other, b));
	git(line);
	assert_content(odb, &real, OBJECT_BLOB, "real", 4);
}

static void test_replaced(UNUSED void **state)
{
	over_variants(replaced);
}

static void bag_first(const struct variant *v, UNUSED struct repo *repo, struct odb *odb)
{
	struct treebag *bag = treebag_new(v->algo);
	struct oid ids[1000];
	char text[32];

	for (int i = 0; i < 1000; i++) {
		struct oid again;
		int n = snprintf(text, sizeof(text), "tree %d", i);

		treebag_put(bag, text, (size_t)n, &ids[i]);
		treebag_put(bag, text, (size_t)n, &again);
		assert_oid_equal(&ids[i], &again);
	}
	assert_gone(odb, &ids[7]);
	odb->bag = bag;
	for (int i = 0; i < 1000; i++) {
		int n = snprintf(text, sizeof(text), "tree %d", i);

		assert_content(odb, &ids[i], OBJECT_TREE, text, (size_t)n);
	}
	ids[0].raw[0] ^= 1;
	assert_gone(odb, &ids[0]);
	odb->bag = NULL;
	treebag_free(bag);
}

static void test_bag_first(UNUSED void **state)
{
	over_variants(bag_first);
}

/* A co-process that dies is a failure, not a missing object; the next read works again. */
static void test_dead_coprocess(UNUSED void **state)
{
	const struct variant *v = &sandbox_variants[1];
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	enum object_type type;
	struct repo repo;
	struct odb odb;
	struct oid blob;

	sandbox_repo(v, &repo);
	odb_init(&odb, &repo);
	blob = put_blob(v->algo, "text", 4);
	assert_content(&odb, &blob, OBJECT_BLOB, "text", 4);
	for (int i = 0; i < 2; i++) {
		struct coprocess *co = i ? &odb.cat_check : &odb.cat_file;
		char byte;

		assert_int_equal(kill(co->pid, SIGKILL), 0);
		/* End of file: the kernel has closed its ends, and writing meets EPIPE. */
		assert_int_equal(read(co->from, &byte, 1), 0);
		if (i)
			assert_int_equal(odb_type(&odb, &blob, &type, &fail), FAIL_FATAL);
		else
			assert_int_equal(odb_read(&odb, &blob, &type, &out, &fail), FAIL_FATAL);
		assert_non_null(strstr(fail.message, "137"));
		fail_clear(&fail);
		assert_int_equal(co->pid, 0);
		assert_content(&odb, &blob, OBJECT_BLOB, "text", 4);
	}
	odb_release(&odb);
	repo_close(&repo);
	bytes_release(&out);
}

/* A "git" that answers what real git never does. */
static void test_nonsense(UNUSED void **state)
{
	static const char *const answers[] = {
		"echo",
		"echo $id",
		"echo $id blob",
		"echo $id blob x",
		"echo $id blob -1",
		"echo $id blob 99999999999999999999",
		"echo $id thing 3; echo abc",
		"echo 0$id blob 3; echo abc",
		"echo $id blob 3; echo abcd",
		"echo $id blob 3; printf ab",
		"echo $id blob 4611686018427387900; echo abc",
		"printf '%s blob 3' $id",
		"head -c 10000 /dev/zero",
		"exit 3",
	};
	const struct variant *v = &sandbox_variants[1];
	char *path = mem_strdup(getenv("PATH"));
	struct bytes out = BYTES_INIT;
	struct repo repo;
	struct odb odb;
	struct oid blob;

	sandbox_repo(v, &repo);
	blob = put_blob(v->algo, "abc", 3);
	assert_int_equal(mkdir("bin", 0777), 0);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct fail fail = FAIL_INIT;
		enum object_type type;
		FILE *script = fopen("bin/git", "w");
		char *with = mem_printf("bin:%s", path);

		fprintf(script, "#!/bin/sh\nread id\n%s\n", answers[i]);
		fchmod(fileno(script), 0777);
		fclose(script);
		setenv("PATH", with, 1);
		free(with);
		odb_init(&odb, &repo);
		assert_int_equal(odb_read(&odb, &blob, &type, &out, &fail), FAIL_FATAL);
		assert_int_equal(out.len, 0);
		assert_int_equal(odb.cat_file.pid, 0);
		odb_release(&odb);
		setenv("PATH", path, 1);
	}
	free(path);
	repo_close(&repo);
	bytes_release(&out);
}

/* The owner's environment reaches the co-processes: objects of another directory are seen. */
static void test_environment(UNUSED void **state)
{
	const struct variant *v = &sandbox_variants[2];
	struct repo repo;
	struct odb odb;
	struct oid blob;

	sandbox_repo(v, &repo);
	assert_int_equal(mkdir("private", 0777), 0);
	setenv("GIT_OBJECT_DIRECTORY", "private", 1);
	blob = put_blob(v->algo, "hidden", 6);
	unsetenv("GIT_OBJECT_DIRECTORY");
	odb_init(&odb, &repo);
	assert_gone(&odb, &blob);
	odb_release(&odb);
	odb_init(&odb, &repo);
	argv_push(&odb.env, "GIT_OBJECT_DIRECTORY=private");
	assert_content(&odb, &blob, OBJECT_BLOB, "hidden", 6);
	odb_release(&odb);
	repo_close(&repo);
}

/* A damaged loose object: said to be damaged or missing, never read as something else. */
static void damaged(const struct variant *v, struct repo *repo, struct odb *odb)
{
	struct oid blob = put_blob(v->algo, "sound", 5);
	char hex[OID_HEX_MAX + 1];
	char *path = mem_printf("%s/%.2s/%s", repo->object_dir, oid_hex(&blob, hex), hex + 2);
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	enum object_type type;
	int fd;

	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "garbage", 7), 7);
	close(fd);
	assert_true(odb_read(odb, &blob, &type, &out, &fail) < 0);
	assert_int_equal(out.len, 0);
	free(path);
	bytes_release(&out);
}

static void test_damaged(UNUSED void **state)
{
	over_variants(damaged);
}

/* ---- a repack that comes between libgit2's look for packs and its opening one -------- */

static const char *const stations[] = {"one", "two", "three"};
static size_t station = ARRAY_SIZE(stations); /* where the pack is; beyond the last: it stays */

static void move_pack(const char *from, const char *to)
{
	for (size_t i = 0; i < 2; i++) {
		const char *end = i ? "idx" : "pack";
		char *old = mem_printf(".git/objects/pack/pack-%s.%s", from, end);
		char *new = mem_printf(".git/objects/pack/pack-%s.%s", to, end);

		assert_int_equal(rename(old, new), 0);
		free(old);
		free(new);
	}
}

/* Instead of libc's, also for libgit2: the pack is replaced right before it is opened. */
int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (station + 1 < ARRAY_SIZE(stations)) {
		char *idx = mem_printf("pack-%s.idx", stations[station]);

		if (strstr(path, idx)) {
			move_pack(stations[station], stations[station + 1]);
			station++;
		}
		free(idx);
	}
	return openat(AT_FDCWD, path, flags, mode);
}

static void test_repacked_twice(UNUSED void **state)
{
	for (int header = 0; header < 2; header++) {
		struct fail fail = FAIL_INIT;
		struct repo repo;
		struct odb odb;
		struct oid oid;
		enum object_type type = 0;
		char *name;

		sandbox_repo(&sandbox_variants[0], &repo);
		oid = put_blob(HASH_SHA1, "moving", 6);
		{
			struct bytes out = BYTES_INIT;
			char line[OID_HEX_MAX + 2];

			oid_hex(&oid, line);
			strcat(line, "\n");
			git_feed("pack-objects -q .git/objects/pack/pack", line, strlen(line),
				 &out);
			bytes_truncate(&out, strcspn(out.data, "\n"));
			move_pack(out.data, stations[0]);
			bytes_release(&out);
		}
		git("prune-packed -q");
		odb_init(&odb, &repo);
		station = 0;
		if (header)
			assert_ok(odb_type(&odb, &oid, &type, &fail), fail);
		else
			assert_content(&odb, &oid, OBJECT_BLOB, "moving", 6);
		assert_int_equal(station, 2);
		station = ARRAY_SIZE(stations);
		name = mem_printf("%040d", 7);
		assert_true(oid_parse(HASH_SHA1, name, 40, &oid));
		assert_gone(&odb, &oid);
		free(name);
		odb_release(&odb);
		repo_close(&repo);
	}
}

/* The same for git, which looks once more as well: what it says first is not the last word. */
static void test_missing_for_a_moment(UNUSED void **state)
{
	char *path = mem_strdup(getenv("PATH"));
	char *with = mem_printf("bin:%s", path);

	for (int header = 0; header < 2; header++) {
		struct fail fail = FAIL_INIT;
		enum object_type type = 0;
		struct repo repo;
		struct odb odb;
		struct oid oid;
		FILE *script;

		sandbox_repo(&sandbox_variants[1], &repo);
		oid = put_blob(repo.algo, "moving", 6);
		assert_int_equal(mkdir("bin", 0777), 0);
		script = fopen("bin/git", "w");
		assert_non_null(script);
		fprintf(script,
			"#!/bin/sh\nread -r id\necho $id missing\nPATH='%s' exec git \"$@\"\n",
			path);
		assert_int_equal(fclose(script), 0);
		assert_int_equal(chmod("bin/git", 0755), 0);
		setenv("PATH", with, 1);
		odb_init(&odb, &repo);
		if (header)
			assert_ok(odb_type(&odb, &oid, &type, &fail), fail);
		else
			assert_content(&odb, &oid, OBJECT_BLOB, "moving", 6);
		odb_release(&odb);
		repo_close(&repo);
		setenv("PATH", path, 1);
	}
	free(with);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_types),      cmocka_unit_test(test_later),
		cmocka_unit_test(test_replaced),       cmocka_unit_test(test_bag_first),
		cmocka_unit_test(test_dead_coprocess), cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_environment),    cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_repacked_twice), cmocka_unit_test(test_missing_for_a_moment),
	};
	int failed;

	sandbox_enter();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	sandbox_leave();
	return failed;
}
