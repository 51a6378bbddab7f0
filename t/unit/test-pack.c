/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * test-pack: our packs, read back by git and by libgit2.
 *
 *	test-pack saves <from> <count>
 *
 * makes saves in the repository of the current directory, prints each commit
 * when it is published, and merges: what t/pack.bats kills.
 */
#include "prelude.h"

#include "sandbox.h"

#include "clock.h"
#include "hash.h"
#include "lock.h"
#include "odb.h"
#include "packdir.h"
#include "packwrite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void over_variants(void (*test)(const struct variant *v, struct repo *repo))
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		struct repo repo;

		sandbox_repo(&sandbox_variants[i], &repo);
		test(&sandbox_variants[i], &repo);
		repo_close(&repo);
	}
}

/* ---- making objects --------------------------------------------------------------- */

/* Bytes that do not compress, the same for the same seed. */
static void fill(char *data, size_t len, uint32_t seed)
{
	uint64_t x = seed * 2654435761u + 88172645463325252u;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (char)x;
	}
}

static struct oid add(struct pack *pack, enum object_type type, const void *data, size_t len)
{
	struct fail fail = FAIL_INIT;
	struct oid oid;

	object_id(pack->repo->algo, type, data, len, &oid);
	assert_ok(pack_add(pack, &oid, type, data, len, &fail), fail);
	return oid;
}

static struct oid add_noise(struct pack *pack, size_t len, uint32_t seed)
{
	char *data = mem_alloc(len);
	struct oid oid;

	fill(data, len, seed);
	oid = add(pack, OBJECT_BLOB, data, len);
	free(data);
	return oid;
}

static struct oid add_tree(struct pack *pack, const struct oid *blobs, size_t count)
{
	struct bytes tree = BYTES_INIT;
	struct oid oid;

	for (size_t i = 0; i < count; i++) {
		bytes_addf(&tree, "100644 f%03zu", i);
		bytes_addc(&tree, 0);
		bytes_add(&tree, blobs[i].raw, hash_size(pack->repo->algo));
	}
	oid = add(pack, OBJECT_TREE, tree.data, tree.len);
	bytes_release(&tree);
	return oid;
}

static struct oid add_commit(struct pack *pack, const struct oid *tree, const struct oid *parent,
			     unsigned number)
{
	struct bytes text = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid oid;

	bytes_addf(&text, "tree %s\n", oid_hex(tree, hex));
	if (parent && parent->algo)
		bytes_addf(&text, "parent %s\n", oid_hex(parent, hex));
	bytes_addf(&text, "author A <a@b> %u +0000\ncommitter A <a@b> %u +0000\n\nsave %u\n",
		   1600000000 + number, 1600000000 + number, number);
	oid = add(pack, OBJECT_COMMIT, text.data, text.len);
	bytes_release(&text);
	return oid;
}

static struct pack *begin(struct repo *repo)
{
	struct fail fail = FAIL_INIT;
	struct pack *pack;

	assert_ok(pack_begin(repo, &pack, &fail), fail);
	return pack;
}

static void publish(struct pack *pack)
{
	struct fail fail = FAIL_INIT;

	assert_ok(pack_publish(pack, &fail), fail);
}

/* What a save does: a few files, one of them as before; `tip` moves on. */
static void save(struct repo *repo, struct oid *tip, unsigned number, size_t noise)
{
	struct pack *pack = begin(repo);
	struct fail fail = FAIL_INIT;
	struct oid blobs[3], tree;
	char text[64];

	snprintf(text, sizeof(text), "file of save %u\n", number);
	blobs[0] = add(pack, OBJECT_BLOB, text, strlen(text));
	blobs[1] = add(pack, OBJECT_BLOB, "the same in all\n", 16);
	blobs[2] = add_noise(pack, noise, number);
	tree = add_tree(pack, blobs, 3);
	assert_ok(pack_prepare(pack, 1, &fail), fail);
	*tip = add_commit(pack, &tree, tip, number);
	publish(pack);
	pack_free(pack);
}

static void consolidate(struct repo *repo)
{
	struct fail fail = FAIL_INIT;

	assert_ok(pack_consolidate(repo, &fail), fail);
}

static void sweep(struct repo *repo)
{
	struct fail fail = FAIL_INIT;

	assert_ok(pack_sweep(repo, false, &fail), fail);
}

/* ---- looking ------------------------------------------------------------------------ */

/* The number of names in objects/pack that contain `part`. */
static size_t count_files(const char *part)
{
	DIR *dir = opendir(".git/objects/pack");
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			count += strstr(entry->d_name, part) != NULL;
	closedir(dir);
	return count;
}

static void set_ref(const char *name, const struct oid *oid)
{
	char hex[OID_HEX_MAX + 1];
	char *line = mem_printf("update-ref %s %s", name, oid_hex(oid, hex));

	git(line);
	free(line);
}

static char *in_pack_dir(const char *base, const char *extension)
{
	return mem_printf(".git/objects/pack/%s%s", base, extension);
}

static void verify(const char *base)
{
	char *line = mem_printf("verify-pack -v .git/objects/pack/%s.idx", base);

	git(line);
	free(line);
}

/* git's and our reader both give this content. */
static void assert_blob(struct repo *repo, const struct oid *oid, const void *data, size_t len)
{
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	enum object_type type;
	char hex[OID_HEX_MAX + 1];
	char *line = mem_printf("cat-file blob %s", oid_hex(oid, hex));
	struct odb odb;

	git_feed(line, NULL, 0, &out);
	assert_int_equal(out.len, len);
	assert_memory_equal(out.data, data, len);
	odb_init(&odb, repo);
	assert_ok(odb_read(&odb, oid, &type, &out, &fail), fail);
	assert_int_equal(type, OBJECT_BLOB);
	assert_int_equal(out.len, len);
	assert_memory_equal(out.data, data, len);
	odb_release(&odb);
	bytes_release(&out);
	free(line);
}

static bool is_there(const struct oid *oid)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	char hex[OID_HEX_MAX + 1];
	bool there;

	argv_push_all(&cmd.argv, "git", "cat-file", "-e", oid_hex(oid, hex), NULL);
	assert_ok(spawn_capture_any(&cmd, &out, &fail), fail);
	there = cmd.status == 0;
	spawn_release(&cmd);
	bytes_release(&out);
	return there;
}

static unsigned highest_level(struct repo *repo, size_t *count)
{
	int dir = open(".git/objects/pack", O_RDONLY | O_DIRECTORY);
	struct fail fail = FAIL_INIT;
	struct packdir packs;
	unsigned level = 0;

	assert_ok(packdir_list(&packs, dir, 2 * hash_size(repo->algo), 1, &fail), fail);
	for (size_t i = 0; i < packs.count; i++)
		if (packs.packs[i].level > level)
			level = packs.packs[i].level;
	*count = packs.count;
	packdir_release(&packs);
	close(dir);
	return level;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* ---- writing ------------------------------------------------------------------------- */

static const size_t lengths[] = {0, 1, 15, 16, 2047, 2048, 70000, 3u << 20};

/* Every type, sizes at the header's borders, in memory and in a file. */
static void all_kinds(UNUSED const struct variant *v, struct repo *repo)
{
	struct pack *pack = begin(repo);
	struct oid blobs[ARRAY_SIZE(lengths)], tree, commit;
	struct stat st;
	struct bytes tag = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	char *path;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		blobs[i] = add_noise(pack, lengths[i], (uint32_t)i);
	tree = add_tree(pack, blobs, ARRAY_SIZE(blobs));
	commit = add_commit(pack, &tree, NULL, 1);
	bytes_addf(&tag, "object %s\ntype commit\ntag t\ntagger A <a@b> 1 +0000\n\nx\n",
		   oid_hex(&commit, hex));
	commit = add(pack, OBJECT_TAG, tag.data, tag.len);
	assert_int_equal(pack_count(pack), ARRAY_SIZE(lengths) + 3);
	publish(pack);
	set_ref("refs/tags/t", &commit);
	git("fsck --strict --full");
	verify(pack->base);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		char *data = mem_alloc(lengths[i]);

		fill(data, lengths[i], (uint32_t)i);
		assert_blob(repo, &blobs[i], data, lengths[i]);
		free(data);
	}
	for (int i = 0; i < PACK_FILES; i++) {
		static const char *const extensions[] = {".keep", ".pack", ".idx"};

		path = in_pack_dir(pack->base, extensions[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0444);
		free(path);
	}
	assert_int_equal(count_files(""), 3);
	bytes_release(&tag);
	pack_free(pack);
}

static void test_all_kinds(UNUSED void **state)
{
	over_variants(all_kinds);
}

static void nothing_or_once(UNUSED const struct variant *v, struct repo *repo)
{
	struct pack *pack = begin(repo);
	struct fail fail = FAIL_INIT;
	struct oid a;

	publish(pack);
	pack_free(pack);
	assert_int_equal(count_files(""), 0);

	pack = begin(repo);
	a = add(pack, OBJECT_BLOB, "a", 1);
	assert_true(pack_has(pack, &a));
	add(pack, OBJECT_BLOB, "a", 1);
	assert_int_equal(pack_count(pack), 1);
	assert_int_equal(pack_bytes(pack), 1);
	assert_ok(pack_prepare(pack, 1, &fail), fail);
	pack_free(pack);
	assert_int_equal(count_files(""), 0);
	assert_false(is_there(&a));

	/* The same content again, also over what a killed writer left, has the same name. */
	for (int i = 0; i < 2; i++) {
		pack = begin(repo);
		pack->unnamed = i == 0;
		add(pack, OBJECT_BLOB, "a", 1);
		publish(pack);
		assert_int_equal(pack_publish(pack, &fail), FAIL_FATAL);
		fail_clear(&fail);
		pack_free(pack);
		assert_int_equal(count_files(""), 3);
	}
	assert_true(is_there(&a));
	git("fsck --strict --full");
}

static void test_nothing_or_once(UNUSED void **state)
{
	over_variants(nothing_or_once);
}

/* pack_prepare() with a right, a wrong and a repeated guess, small and large. */
static void prepared(UNUSED const struct variant *v, struct repo *repo)
{
	static const size_t sizes[] = {100, 2u << 20};

	for (size_t size = 0; size < ARRAY_SIZE(sizes); size++)
		for (uint32_t more = 0; more < 24; more++) {
			struct pack *pack = begin(repo);
			struct fail fail = FAIL_INIT;

			pack->unnamed = more % 2;
			repo->conf.durable = more % 3 == 0;
			for (uint32_t i = 0; i < 30; i++)
				add_noise(pack, i ? 100 : sizes[size], 1000 * more + i);
			assert_ok(pack_prepare(pack, 1, &fail), fail);
			if (more > 3)
				add_noise(pack, sizes[size], 7000 + more);
			if (more > 6)
				assert_ok(pack_prepare(pack, more % 5, &fail), fail);
			for (uint32_t i = 0; i < more; i++)
				add_noise(pack, 10, 9000 + 100 * more + i);
			publish(pack);
			verify(pack->base);
			pack_free(pack);
		}
	assert_int_equal(count_files(""), 2 * 24 * 3);
	git("fsck --strict --full");
}

static void test_prepared(UNUSED void **state)
{
	over_variants(prepared);
}

/* An 8-byte offset for what lies behind 2 GiB; git reads it as we do. */
static void test_large_offsets(UNUSED void **state)
{
	static const uint64_t offsets[] = {12, 0x7fffffff, 0x80000000, 0x123456789a, 500};
	struct packidx_entry entries[ARRAY_SIZE(offsets)];
	uint32_t order[ARRAY_SIZE(offsets)];
	struct bytes file = BYTES_INIT, out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct packidx idx;
	uint8_t trailer[OID_RAW_MAX] = {1, 2, 3};

	assert_int_equal(chdir(sandbox_dir), 0);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		object_id(HASH_SHA1, OBJECT_BLOB, &offsets[i], 8, &entries[i].oid);
		entries[i].offset = offsets[i];
		entries[i].crc = (uint32_t)(0xcafe0000 + i);
	}
	packidx_sort(entries, order, 0, ARRAY_SIZE(offsets));
	packidx_build(entries, order, ARRAY_SIZE(offsets), HASH_SHA1, trailer, &file);
	git_feed("show-index --object-format=sha1", file.data, file.len, &out);
	write_file("x.idx", "");
	assert_int_equal(truncate("x.idx", 0), 0);
	assert_ok(file_replace(AT_FDCWD, "x.idx", file.data, file.len,
			       &(struct file_modes)FILE_MODES_PRIVATE, false, &fail),
		  fail);
	assert_ok(packidx_read(&idx, AT_FDCWD, "x.idx", HASH_SHA1, &fail), fail);
	assert_int_equal(idx.count, ARRAY_SIZE(offsets));
	for (size_t i = 0; i < idx.count; i++) {
		struct packidx_entry entry;
		char hex[OID_HEX_MAX + 1];
		char *line;

		packidx_get(&idx, i, &entry);
		line = mem_printf("%ju %s (%08x)\n", (uintmax_t)entry.offset,
				  oid_hex(&entry.oid, hex), entry.crc);
		assert_non_null(strstr(out.data, line));
		assert_int_equal(entries[order[i]].offset, entry.offset);
		assert_oid_equal(&entries[order[i]].oid, &entry.oid);
		free(line);
	}
	packidx_release(&idx);
	/* Any flipped byte and any lost one is noticed. */
	for (size_t i = 0; i < file.len; i++) {
		file.data[i] ^= 0x40;
		assert_ok(file_replace(AT_FDCWD, "x.idx", file.data, file.len - i % 2,
				       &(struct file_modes)FILE_MODES_PRIVATE, false, &fail),
			  fail);
		file.data[i] ^= 0x40;
		assert_int_equal(packidx_read(&idx, AT_FDCWD, "x.idx", HASH_SHA1, &fail),
				 FAIL_CORRUPT);
		fail_clear(&fail);
		packidx_release(&idx);
	}
	bytes_release(&file);
	bytes_release(&out);
}

/* Inserting a few and sorting many gives the same order. */
static void test_sorting(UNUSED void **state)
{
	enum {
		COUNT = 300
	};
	struct packidx_entry entries[COUNT];
	uint32_t order[COUNT];

	for (uint32_t i = 0; i < COUNT; i++)
		object_id(HASH_SHA256, OBJECT_BLOB, &i, sizeof(i), &entries[i].oid);
	for (size_t step = 1; step < 20; step++)
		for (size_t sorted = 0; sorted < COUNT; sorted += step) {
			packidx_sort(entries, order, sorted, size_min(COUNT, sorted + step));
			for (size_t i = 1; i < size_min(COUNT, sorted + step); i++)
				assert_true(oid_compare(&entries[order[i - 1]].oid,
							&entries[order[i]].oid) < 0);
		}
}

/* ---- failures ---------------------------------------------------------------------------- */

/* No room: the message says so, and nothing stays. */
static void no_room(UNUSED const struct variant *v, struct repo *repo)
{
	struct rlimit old, small;
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	for (int named = 0; named < 2; named++)
		for (small.rlim_cur = 0; small.rlim_cur < 6000; small.rlim_cur += 500) {
			struct pack *pack = begin(repo);
			struct fail fail = FAIL_INIT;

			pack->unnamed = !named;
			/* The idx is larger than the limits, the pack is not always. */
			for (uint32_t i = 0; i < 200; i++)
				add_noise(pack, 3, i);
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
			assert_int_equal(pack_publish(pack, &fail), FAIL_SYSTEM);
			assert_int_equal(fail.err, EFBIG);
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
			/* It stays unusable. */
			fail_clear(&fail);
			assert_int_equal(pack_publish(pack, &fail), FAIL_FATAL);
			pack_free(pack);
			assert_int_equal(count_files(""), 0);
		}
	signal(SIGXFSZ, handler);
}

static void test_no_room(UNUSED void **state)
{
	over_variants(no_room);
}

/* A failure between two names takes back the first, and only what is ours. */
static void half_published(UNUSED const struct variant *v, struct repo *repo)
{
	for (int round = 0; round < 4; round++) {
		bool unnamed = round % 2, had_keep = round / 2;
		struct pack *pack = begin(repo);
		struct fail fail = FAIL_INIT;
		char *in_the_way, *keep;

		add_noise(pack, 30, (uint32_t)round);
		publish(pack);
		in_the_way = in_pack_dir(pack->base, ".pack");
		keep = in_pack_dir(pack->base, ".keep");
		assert_int_equal(unlink(in_the_way), 0);
		assert_int_equal(mkdir(in_the_way, 0777), 0);
		if (!had_keep)
			assert_int_equal(unlink(keep), 0);
		pack_free(pack);

		pack = begin(repo);
		pack->unnamed = unnamed;
		add_noise(pack, 30, (uint32_t)round);
		assert_int_equal(pack_publish(pack, &fail), FAIL_SYSTEM);
		pack_free(pack);
		assert_int_equal(access(keep, F_OK), had_keep ? 0 : -1);
		assert_int_equal(count_files(DRAFT_PREFIX), 0);
		assert_int_equal(rmdir(in_the_way), 0);
		free(in_the_way);
		free(keep);
	}
}

static void test_half_published(UNUSED void **state)
{
	over_variants(half_published);
}

/* ---- beside git's own cleaning -------------------------------------------------------------- */

/* Objects that nothing refers to stay, whatever git does. */
static void untouched(UNUSED const struct variant *v, struct repo *repo)
{
	static const char *const cleaners[] = {"prune --expire=now",
					       "repack -a -d -q",
					       "repack -A -d -q",
					       "gc -q --prune=now",
					       "gc -q --prune=now --aggressive",
					       "multi-pack-index write",
					       "multi-pack-index repack",
					       "multi-pack-index expire",
					       "prune-packed -q",
					       "repack -a -d -q -b --pack-kept-objects",
					       "maintenance run --task=incremental-repack",
					       "gc -q --prune=now"};
	struct oid tips[3] = {0};

	git("-c user.name=u -c user.email=e commit -q --allow-empty -m theirs");
	for (unsigned i = 0; i < ARRAY_SIZE(tips); i++)
		save(repo, &tips[i], i, 50000);
	for (size_t i = 0; i < ARRAY_SIZE(cleaners); i++) {
		git(cleaners[i]);
		assert_int_equal(count_files(".keep"), 3);
		for (size_t j = 0; j < ARRAY_SIZE(tips); j++)
			assert_true(is_there(&tips[j]));
		git("fsck --strict --full");
	}
	for (size_t j = 0; j < ARRAY_SIZE(tips); j++)
		set_ref(j == 0 ? "refs/x/0" : j == 1 ? "refs/x/1" : "refs/x/2", &tips[j]);
	git("fsck --strict --full --connectivity-only");
}

static void test_untouched(UNUSED void **state)
{
	over_variants(untouched);
}

/* A save with named drafts goes through while prune deletes every tmp_ file. */
static void named_drafts(UNUSED const struct variant *v, struct repo *repo)
{
	struct pack *pack = begin(repo);
	struct fail fail = FAIL_INIT;
	struct oid a;
	pid_t pid;
	int status;

	pack->unnamed = false;
	a = add_noise(pack, 2u << 20, 1);
	assert_ok(pack_prepare(pack, 0, &fail), fail);
	assert_int_equal(count_files(DRAFT_PREFIX), 3);
	git("prune --expire=now");
	sweep(repo);
	assert_int_equal(count_files(DRAFT_PREFIX), 3);

	/* A writer that dies leaves its drafts until the next sweep. */
	pid = fork();
	if (pid == 0) {
		struct pack *child = begin(repo);

		child->unnamed = false;
		add_noise(child, 2u << 20, 2);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(count_files(DRAFT_PREFIX), 4);
	sweep(repo);
	assert_int_equal(count_files(DRAFT_PREFIX), 3);

	publish(pack);
	pack_free(pack);
	assert_int_equal(count_files(DRAFT_PREFIX), 0);
	assert_true(is_there(&a));
	git("fsck --strict --full");
}

static void test_named_drafts(UNUSED void **state)
{
	over_variants(named_drafts);
}

/* ---- sweeping ----------------------------------------------------------------------------- */

static int objects_lock(struct repo *repo)
{
	struct fail fail = FAIL_INIT;
	int dir = repo_state_dir(repo, "locks", &fail);
	struct lock lock = LOCK_INIT;

	assert_ok(lock_take(&lock, dir, "objects", LOCK_SHARED, 0, NULL, &repo->modes, &fail),
		  fail);
	close(dir);
	return lock.fd;
}

static void swept(UNUSED const struct variant *v, struct repo *repo)
{
	struct oid tip = {0};
	struct pack *pack;
	char *idx, *file;
	int lock;

	save(repo, &tip, 1, 100);
	pack = begin(repo);
	add_noise(pack, 100, 5);
	publish(pack);
	idx = in_pack_dir(pack->base, ".idx");
	file = in_pack_dir(pack->base, ".pack");
	pack_free(pack);

	/* A pack without an index is completed, but not under a live writer. */
	assert_int_equal(unlink(idx), 0);
	lock = objects_lock(repo);
	sweep(repo);
	assert_int_equal(count_files(".idx"), 1);
	close(lock);
	sweep(repo);
	assert_int_equal(count_files(".idx"), 2);
	assert_int_equal(count_files(""), 6);
	git("fsck --strict --full");

	/* A torn one is reported and stays. */
	assert_int_equal(unlink(idx), 0);
	assert_int_equal(chmod(file, 0600), 0); /* not everybody is root */
	assert_int_equal(truncate(file, 60), 0);
	{
		struct fail fail = FAIL_INIT;

		assert_int_equal(pack_sweep(repo, false, &fail), FAIL_FATAL);
		assert_non_null(strstr(fail.message, "index 'pack-"));
		assert_int_equal(count_files(""), 5);
	}

	/* A .keep without a pack goes; the user's and a later version's do not. */
	assert_int_equal(unlink(file), 0);
	write_file(".git/objects/pack/pack-1234.keep", "");
	{
		char *other = mem_printf(".git/objects/pack/pack-%0*d.keep",
					 (int)hash_size(repo->algo) * 2, 7);
		char *later = mem_printf(".git/objects/pack/pack-%0*d.keep",
					 (int)hash_size(repo->algo) * 2, 8);

		write_file(other, "mine\n");
		write_file(later, "interlock 2 0\n");
		lock = objects_lock(repo);
		sweep(repo);
		assert_int_equal(count_files(".keep"), 5);
		close(lock);
		sweep(repo);
		assert_int_equal(count_files(".keep"), 4);
		free(other);
		free(later);
	}
	assert_true(is_there(&tip));
	free(idx);
	free(file);
}

static void test_swept(UNUSED void **state)
{
	over_variants(swept);
}

/* ---- merging --------------------------------------------------------------------------------- */

static void thousand(const struct variant *v, struct repo *repo)
{
	struct oid tip = {0};
	size_t packs, most = 0;
	unsigned saves = v->engine == ENGINE_NATIVE ? 1000 : 200;

	for (unsigned i = 0; i < saves; i++) {
		save(repo, &tip, i, 300);
		consolidate(repo);
		packs = count_files("");
		most = packs > most ? packs : most;
	}
	/* 7 of each level and the one more that tips it over. */
	assert_true(most <= 3 * (7 * 4 + 1));
	assert_int_equal(highest_level(repo, &packs), saves == 1000 ? 3 : 2);
	assert_int_equal(count_files(".keep"), packs);
	assert_int_equal(count_files(""), 3 * packs);
	set_ref("refs/shadow/x", &tip);
	git("fsck --strict --full");
	git("gc -q --prune=now");
	git("fsck --strict --full");
}

static void test_thousand(UNUSED void **state)
{
	over_variants(thousand);
}

/* The merged pack can have the name of one of the old ones: then that one stays. */
static void same_name(UNUSED const struct variant *v, struct repo *repo)
{
	struct oid first = {0};
	size_t count;
	char *keep;
	struct pack *pack;
	bool seen = false;

	/* The pack with everything must come first in the order of the merge: try until it does. */
	for (uint32_t try = 0; try < 200 && !seen; try++) {
		char base[80];

		git("init -q");
		for (uint32_t i = 0; i < 8; i++) {
			pack = begin(repo);
			first = add_noise(pack, 20, 100 * try + i);
			if (i == 0)
				for (uint32_t j = 1; j < 8; j++)
					add_noise(pack, 20, 100 * try + j);
			publish(pack);
			if (i == 0)
				strcpy(base, pack->base);
			pack_free(pack);
		}
		consolidate(repo);
		assert_int_equal(highest_level(repo, &count), 1);
		assert_int_equal(count, 1);
		assert_true(is_there(&first));
		keep = in_pack_dir(base, ".keep");
		seen = access(keep, F_OK) == 0;
		free(keep);
		git("fsck --strict --full");
		/* Make room for another try. */
		assert_int_equal(system("rm -f .git/objects/pack/*"), 0);
	}
	assert_true(seen);
}

static void test_same_name(UNUSED void **state)
{
	over_variants(same_name);
}

/* A damaged pack is left alone and reported; the others are merged. */
static void damaged(UNUSED const struct variant *v, struct repo *repo)
{
	for (int kind = 0; kind < 4; kind++) {
		struct fail fail = FAIL_INIT;
		struct oid tip = {0}, other;
		struct pack *pack;
		char *file;
		size_t count;
		struct stat st;
		int fd;

		pack = begin(repo);
		add_noise(pack, 5000, 1);
		other = add_noise(pack, 5000, 2);
		publish(pack);
		for (unsigned i = 0; i < 8; i++)
			save(repo, &tip, i, 300);
		file = in_pack_dir(pack->base, kind == 3 ? ".idx" : ".pack");
		assert_int_equal(chmod(file, 0644), 0);
		assert_int_equal(stat(file, &st), 0);
		fd = open(file, O_RDWR);
		if (kind == 0) /* a bit in the first object */
			assert_int_equal(pwrite(fd, "x", 1, 1000), 1);
		else if (kind == 1) /* a header that says delta */
			assert_int_equal(pwrite(fd, "\xe0", 1, 12), 1);
		else if (kind == 2) /* torn */
			assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
		else
			assert_int_equal(pwrite(fd, "x", 1, 1100), 1);
		close(fd);
		assert_int_equal(pack_consolidate(repo, &fail), FAIL_CORRUPT);
		assert_non_null(strstr(fail.message, pack->base));
		assert_int_equal(highest_level(repo, &count), 1);
		assert_int_equal(count, 2);
		assert_true(is_there(&tip));
		assert_int_equal(access(file, F_OK), 0);
		if (kind < 2)
			assert_true(is_there(&other));
		free(file);
		pack_free(pack);
		assert_int_equal(system("rm -f .git/objects/pack/*"), 0);
	}
}

/* A pack with deltas is not of version 1, whatever its .keep says. */
static void deltas(UNUSED const struct variant *v, struct repo *repo)
{
	struct fail fail = FAIL_INIT;
	struct oid tip = {0};
	char data[9000];
	size_t count;

	fill(data, sizeof(data), 7);
	for (int i = 0; i < 3; i++) {
		data[i] = 'x';
		git_feed("hash-object -w --stdin", data, sizeof(data), NULL);
	}
	assert_int_equal(system("git cat-file --batch-all-objects --batch-check='%(objectname)' | "
				"git pack-objects -q --delta-base-offset "
				".git/objects/pack/pack >name && git prune-packed && "
				"echo interlock 1 0 >.git/objects/pack/pack-$(cat name).keep && "
				"git verify-pack -v .git/objects/pack/*.idx | grep -q 'chain '"),
			 0);
	for (unsigned i = 0; i < PACK_FAN_IN; i++)
		save(repo, &tip, i, 300);
	assert_int_equal(pack_consolidate(repo, &fail), FAIL_CORRUPT);
	assert_int_equal(highest_level(repo, &count), 1);
	assert_int_equal(count, 2);
	git("fsck --strict --full");
}

static void test_deltas(UNUSED void **state)
{
	over_variants(deltas);
}

static void test_damaged(UNUSED void **state)
{
	over_variants(damaged);
}

/* Somebody else merges: nothing is done, and that is no failure. */
static void busy(UNUSED const struct variant *v, struct repo *repo)
{
	struct lock lock = LOCK_INIT;
	struct fail fail = FAIL_INIT;
	struct oid tip = {0};

	for (unsigned i = 0; i < PACK_FAN_IN; i++)
		save(repo, &tip, i, 10);
	assert_ok(pack_take_lock(repo, &lock, "pack", 0, &fail), fail);
	consolidate(repo);
	assert_int_equal(count_files(""), 3 * PACK_FAN_IN);
	lock_drop(&lock);
	consolidate(repo);
	assert_int_equal(count_files(""), 3);
}

static void test_busy(UNUSED void **state)
{
	over_variants(busy);
}

/* Large entries go through the window in parts; the merged pack spills. */
static void large(UNUSED const struct variant *v, struct repo *repo)
{
	struct oid blobs[PACK_FAN_IN];
	size_t len = (5u << 20) + 17;
	char *data = mem_alloc(len);

	for (uint32_t i = 0; i < PACK_FAN_IN; i++) {
		struct pack *pack = begin(repo);

		add_noise(pack, 10, 500 + i);
		blobs[i] = add_noise(pack, len - i, i);
		publish(pack);
		pack_free(pack);
	}
	consolidate(repo);
	assert_int_equal(count_files(""), 3);
	git("fsck --strict --full");
	fill(data, len, 3);
	assert_blob(repo, &blobs[3], data, len - 3);
	free(data);
}

static void test_large(UNUSED void **state)
{
	over_variants(large);
}

/* A reader that has the old packs open still finds everything after a merge. */
static void read_on(struct repo *repo, bool with_midx)
{
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct odb odb;
	struct oid tips[PACK_FAN_IN] = {0};

	assert_int_equal(system("rm -rf .git/objects/pack/*"), 0);
	for (unsigned i = 0; i < PACK_FAN_IN; i++)
		save(repo, &tips[i], 100 * with_midx + i, 100);
	if (with_midx)
		git("multi-pack-index write");
	odb_init(&odb, repo);
	assert_ok(odb_read_type(&odb, &tips[0], OBJECT_COMMIT, &out, &fail), fail);
	consolidate(repo);
	assert_int_equal(count_files(""), 3);
	for (unsigned i = 0; i < PACK_FAN_IN; i++)
		assert_ok(odb_read_type(&odb, &tips[i], OBJECT_COMMIT, &out, &fail), fail);
	odb_release(&odb);
	bytes_release(&out);
}

static void readers(UNUSED const struct variant *v, struct repo *repo)
{
	read_on(repo, false);
	read_on(repo, true);
}

static void test_readers(UNUSED void **state)
{
	over_variants(readers);
}

static bool git_knows(const char *line)
{
	char *command = mem_printf("git %s >/dev/null 2>&1", line);
	bool known = system(command) == 0;

	free(command);
	return known;
}

/* A multi-pack-index that names a merged pack goes with it; another one stays. */
static void midx(UNUSED const struct variant *v, struct repo *repo)
{
	static const char *const writers[] = {"multi-pack-index write",
					      "multi-pack-index write --incremental"};

	for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
		struct oid tip = {0};
		const char *file = i ? ".git/objects/pack/multi-pack-index.d/multi-pack-index-chain"
				     : ".git/objects/pack/multi-pack-index";

		assert_int_equal(system("cd .git && rm -rf objects/pack/* objects/info/* "
					"refs/heads/* refs/shadow logs "
					"packed-refs"),
				 0);
		git("-c user.name=u -c user.email=e commit -q --allow-empty -m theirs");
		git("repack -a -d -q");
		for (unsigned j = 0; j < 4; j++)
			save(repo, &tip, j, 100);
		if (!git_knows(writers[i]) || access(file, F_OK) < 0)
			continue;
		git("fsck --strict --full");
		for (unsigned j = 4; j < PACK_FAN_IN; j++)
			save(repo, &tip, j, 100);
		assert_int_equal(access(file, F_OK), 0);
		consolidate(repo);
		assert_int_equal(access(file, F_OK), -1);
		set_ref("refs/shadow/x", &tip);
		git("fsck --strict --full");

		/* Now one that names the merged pack, while only others are merged. */
		git(writers[i]);
		for (unsigned j = 0; j < PACK_FAN_IN; j++)
			save(repo, &tip, 100 + j, 100);
		consolidate(repo);
		assert_int_equal(access(file, F_OK), 0);
		set_ref("refs/shadow/x", &tip);
		git("fsck --strict --full");
		git("gc -q --prune=now");
		git("fsck --strict --full");
		git("update-ref -d refs/shadow/x");
	}
}

static void test_midx(UNUSED void **state)
{
	over_variants(midx);
}

/* One that was written while packs went is dropped by a sweep, and hides nothing before. */
static void stale_midx(UNUSED const struct variant *v, struct repo *repo)
{
	struct oid tip = {0};

	for (unsigned j = 0; j < PACK_FAN_IN; j++)
		save(repo, &tip, j, 100);
	set_ref("refs/shadow/x", &tip);
	git("multi-pack-index write");
	assert_int_equal(rename(".git/objects/pack/multi-pack-index", "aside"), 0);
	consolidate(repo);
	assert_int_equal(rename("aside", ".git/objects/pack/multi-pack-index"), 0);
	git("rev-list --objects --all");
	sweep(repo);
	assert_int_equal(access(".git/objects/pack/multi-pack-index", F_OK), -1);
	git("fsck --strict --full");
	git("multi-pack-index write");
	sweep(repo);
	assert_int_equal(access(".git/objects/pack/multi-pack-index", F_OK), 0);
}

static void test_stale_midx(UNUSED void **state)
{
	over_variants(stale_midx);
}

/* ---- expire ------------------------------------------------------------------------------------
 */

struct wanted {
	const struct oid *ids;
	size_t count;
};

static bool wants(void *arg, const struct oid *oid)
{
	const struct wanted *wanted = arg;

	for (size_t i = 0; i < wanted->count; i++)
		if (oid_equal(&wanted->ids[i], oid))
			return true;
	return false;
}

static void filtered(UNUSED const struct variant *v, struct repo *repo)
{
	struct oid ids[6];
	struct wanted wanted = {ids, 3};
	struct timespec old[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
	struct fail fail = FAIL_INIT;
	struct pack *pack;
	uint64_t freed;
	char *file;

	/* One pack that stays whole, one that loses something, one that goes. */
	for (uint32_t i = 0; i < 3; i++) {
		static const int which[3][2] = {{0, 1}, {2, 3}, {4, 5}};

		pack = begin(repo);
		ids[which[i][0]] = add_noise(pack, 10000, 2 * i);
		ids[which[i][1]] = add_noise(pack, 10000, 2 * i + 1);
		publish(pack);
		file = in_pack_dir(pack->base, ".pack");
		assert_int_equal(utimensat(AT_FDCWD, file, old, 0), 0);
		free(file);
		pack_free(pack);
	}
	/* Nothing that was used since then is touched. */
	assert_ok(pack_filter(repo, wants, &wanted, 1000000, &freed, &fail), fail);
	assert_int_equal(freed, 0);
	assert_int_equal(count_files(""), 9);

	assert_ok(pack_filter(repo, wants, &wanted, 1000001, &freed, &fail), fail);
	assert_int_equal(count_files(""), 6);
	assert_in_range(freed, 30000, 35000);
	for (int i = 0; i < 6; i++)
		assert_int_equal(is_there(&ids[i]), i < 3);
	git("fsck --strict --full");
	/* The rewritten pack is as old as it was; so is a merged one. */
	for (uint32_t i = 0; i < PACK_FAN_IN; i++) {
		pack = begin(repo);
		add_noise(pack, 10, 100 + i);
		publish(pack);
		file = in_pack_dir(pack->base, ".pack");
		old[1].tv_sec = 900000 + i;
		assert_int_equal(utimensat(AT_FDCWD, file, old, 0), 0);
		free(file);
		pack_free(pack);
	}
	consolidate(repo);
	assert_int_equal(count_files(""), 3);
	file = mem_printf("stat -c %%Y .git/objects/pack/*.pack | grep -qx 1000000");
	assert_int_equal(system(file), 0);
	free(file);
	wanted.count = 0;
	assert_ok(pack_filter(repo, wants, &wanted, time(NULL) + 1, &freed, &fail), fail);
	assert_int_equal(count_files(""), 0);
	assert_true(freed > 30000);
}

/* git finds an object in a pack just while that is rewritten: the old one stays. */
static bool touches(void *arg, UNUSED const struct oid *oid)
{
	assert_int_equal(utimensat(AT_FDCWD, arg, NULL, 0), 0);
	return false;
}

static void used_meanwhile(UNUSED const struct variant *v, struct repo *repo)
{
	struct timespec old[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
	struct fail fail = FAIL_INIT;
	struct pack *pack = begin(repo);
	struct oid oid = add_noise(pack, 100, 1);
	uint64_t freed;
	char *file;

	publish(pack);
	file = in_pack_dir(pack->base, ".pack");
	assert_int_equal(utimensat(AT_FDCWD, file, old, 0), 0);
	assert_ok(pack_filter(repo, touches, file, 1000001, &freed, &fail), fail);
	assert_int_equal(freed, 0);
	assert_true(is_there(&oid));
	free(file);
	pack_free(pack);
}

static void test_used_meanwhile(UNUSED void **state)
{
	over_variants(used_meanwhile);
}

static void test_filtered(UNUSED void **state)
{
	over_variants(filtered);
}

/* ---- all at once
 * --------------------------------------------------------------------------------- */

/* A process that saves, with a ref of its own, and merges. */
static void saver(unsigned id, unsigned saves)
{
	struct fail fail = FAIL_INIT;
	struct repo repo;
	struct oid tip = {0};
	char ref[64];

	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	snprintf(ref, sizeof(ref), "refs/shadow/s%u", id);
	for (unsigned i = 0; i < saves; i++) {
		int lock = objects_lock(&repo);

		save(&repo, &tip, 1000 * id + i, 3000);
		set_ref(ref, &tip);
		close(lock);
		if (pack_consolidate(&repo, &fail) < 0)
			fail_msg("%s", fail.message);
	}
	repo_close(&repo);
	_exit(0);
}

/* A process that runs git commands until the pipe ends. */
static void looper(int until, const char *command)
{
	char c;

	fcntl(until, F_SETFL, O_NONBLOCK);
	while (read(until, &c, 1) < 0)
		if (system(command) == -1)
			_exit(1);
	_exit(0);
}

static void sweeper(int until)
{
	struct fail fail = FAIL_INIT;
	struct repo repo;
	char c;

	fcntl(until, F_SETFL, O_NONBLOCK);
	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	while (read(until, &c, 1) < 0) {
		if (pack_sweep(&repo, false, &fail) < 0)
			fail_msg("%s", fail.message);
		clock_sleep(1);
	}
	_exit(0);
}

static void together(UNUSED const struct variant *v, struct repo *repo)
{
	enum {
		SAVERS = 4,
		SAVES = 30
	};
	pid_t savers[SAVERS], others[3];
	int until[2], status;
	struct bytes out = BYTES_INIT;

	git("-c user.name=u -c user.email=e commit -q --allow-empty -m theirs");
	assert_int_equal(pipe(until), 0);
	fflush(NULL);
	for (int i = 0; i < 3; i++)
		if ((others[i] = fork()) == 0) {
			close(until[1]);
			if (i == 0)
				looper(until[0], "git gc -q --prune=now 2>/dev/null");
			else if (i == 1)
				looper(until[0], "git prune --expire=now 2>/dev/null; git repack "
						 "-adq 2>/dev/null");
			else
				sweeper(until[0]);
		}
	for (unsigned i = 0; i < SAVERS; i++)
		if ((savers[i] = fork()) == 0) {
			close(until[1]);
			saver(i, SAVES);
		}
	for (unsigned i = 0; i < SAVERS; i++) {
		assert_int_equal(waitpid(savers[i], &status, 0), savers[i]);
		assert_int_equal(status, 0);
	}
	close(until[1]);
	close(until[0]);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(waitpid(others[i], &status, 0), others[i]);
		assert_int_equal(status, 0);
	}
	git("fsck --strict --full");
	git_feed("rev-list --count --glob=refs/shadow/*", NULL, 0, &out);
	assert_int_equal(atoi(out.data), SAVERS * SAVES);
	bytes_clear(&out);
	git_feed("rev-list --objects --missing=print --glob=refs/shadow/*", NULL, 0, &out);
	assert_null(strchr(out.data, '?'));
	sweep(repo);
	consolidate(repo);
	assert_true(count_files("") <= 100);
	assert_int_equal(count_files(DRAFT_PREFIX), 0);
	bytes_release(&out);
}

static void test_together(UNUSED void **state)
{
	over_variants(together);
}

/* Killed at a random moment, again and again: what was published stays. */
static void killed(UNUSED const struct variant *v, struct repo *repo)
{
	struct oid tip = {0};
	struct bytes out = BYTES_INIT;
	unsigned number = 0;

	for (int round = 0; round < 60; round++) {
		int report[2], status;
		struct oid next;
		pid_t pid;

		assert_int_equal(pipe2(report, O_CLOEXEC), 0);
		fflush(NULL);
		pid = fork();
		if (pid == 0) {
			for (unsigned i = 0;; i++) {
				save(repo, &tip, number + i, 2000);
				if (write(report[1], &tip, sizeof(tip)) != sizeof(tip))
					_exit(1);
				consolidate(repo);
			}
		}
		close(report[1]);
		clock_sleep(1 + round % 20);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		while (read(report[0], &next, sizeof(next)) == sizeof(next)) {
			tip = next;
			number++;
		}
		close(report[0]);
		sweep(repo);
		assert_int_equal(count_files(".pack"), count_files(".idx"));
		assert_int_equal(count_files(".pack"), count_files(".keep"));
		assert_int_equal(count_files(DRAFT_PREFIX), 0);
	}
	assert_true(number > 60);
	set_ref("refs/shadow/x", &tip);
	git("fsck --strict --full");
	git_feed("rev-list --count refs/shadow/x", NULL, 0, &out);
	assert_int_equal(atoi(out.data), number);
	bytes_release(&out);
}

static void test_killed(UNUSED void **state)
{
	over_variants(killed);
}

/* core.sharedRepository: the group may read all three, and write none. */
static void test_shared(UNUSED void **state)
{
	struct oid tip = {0};
	struct repo repo;
	mode_t old = umask(077);

	sandbox_repo(&sandbox_variants[0], &repo);
	repo.modes.extra = 0660;
	save(&repo, &tip, 1, 10);
	assert_int_equal(system("test $(stat -c %a .git/objects/pack/* | sort -u) = 440"), 0);
	umask(old);
	repo_close(&repo);
}

static int setup(UNUSED void **state)
{
	sandbox_enter();
	return 0;
}

static int teardown(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

/* ---- a program to be killed
 * ------------------------------------------------------------------------ */

static int give(struct pack *pack, enum object_type type, const struct bytes *content,
		struct oid *oid, struct fail *fail)
{
	object_id(pack->repo->algo, type, content->data, content->len, oid);
	return pack_add(pack, oid, type, content->data, content->len, fail);
}

/* A save that returns its failures. Number 9 is too large for memory. */
static int one_save(struct repo *repo, unsigned number, struct oid *commit, struct fail *fail)
{
	struct bytes blob = BYTES_INIT, tree = BYTES_INIT, text = BYTES_INIT;
	size_t len = number == 9 ? PACK_SPILL + 500 : 500;
	char hex[OID_HEX_MAX + 1];
	struct pack *pack;
	struct oid oid;

	if (pack_begin(repo, &pack, fail) < 0)
		return fail->kind;
	pack->unnamed = pack->unnamed && !getenv("TEST_PACK_NAMED");
	bytes_reserve(&blob, len);
	fill(blob.data, len, number);
	blob.len = len;
	if (give(pack, OBJECT_BLOB, &blob, &oid, fail) < 0)
		goto done;
	bytes_add(&tree, "100644 f", 9);
	bytes_add(&tree, oid.raw, hash_size(repo->algo));
	if (give(pack, OBJECT_TREE, &tree, &oid, fail) < 0 || pack_prepare(pack, 1, fail) < 0)
		goto done;
	bytes_addf(&text, "tree %s\nauthor A <a@b> %u +0000\ncommitter A <a@b> 1 +0000\n\nx\n",
		   oid_hex(&oid, hex), number);
	if (give(pack, OBJECT_COMMIT, &text, commit, fail) == 0)
		pack_publish(pack, fail);
done:
	pack_free(pack);
	bytes_release(&blob);
	bytes_release(&tree);
	bytes_release(&text);
	return fail->kind;
}

static int make_saves(unsigned from, unsigned count)
{
	struct fail fail = FAIL_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid commit;
	struct repo repo;

	if (repo_open(&repo, REPO_ANY, &fail) == 0)
		pack_sweep(&repo, false, &fail);
	for (unsigned i = 0; i < count && !fail.kind; i++)
		if (one_save(&repo, from + i, &commit, &fail) == 0) {
			dprintf(1, "%s\n", oid_hex(&commit, hex));
			pack_consolidate(&repo, &fail);
		}
	if (fail.kind)
		fprintf(stderr, "test-pack: %s\n", fail.message);
	repo_close(&repo);
	return fail.kind ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds),      cmocka_unit_test(test_nothing_or_once),
		cmocka_unit_test(test_prepared),       cmocka_unit_test(test_large_offsets),
		cmocka_unit_test(test_sorting),	       cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_half_published), cmocka_unit_test(test_untouched),
		cmocka_unit_test(test_named_drafts),   cmocka_unit_test(test_swept),
		cmocka_unit_test(test_thousand),       cmocka_unit_test(test_same_name),
		cmocka_unit_test(test_damaged),	       cmocka_unit_test(test_deltas),
		cmocka_unit_test(test_used_meanwhile), cmocka_unit_test(test_busy),
		cmocka_unit_test(test_large),	       cmocka_unit_test(test_readers),
		cmocka_unit_test(test_midx),	       cmocka_unit_test(test_stale_midx),
		cmocka_unit_test(test_filtered),       cmocka_unit_test(test_together),
		cmocka_unit_test(test_killed),	       cmocka_unit_test(test_shared),
	};

	if (argc == 4 && !strcmp(argv[1], "saves"))
		return make_saves((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
	return cmocka_run_group_tests(tests, setup, teardown);
}
