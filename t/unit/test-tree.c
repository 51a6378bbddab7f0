/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "hash.h"
#include "index.h"
#include "oidset.h"
#include "tree.h"

/* ---- random sets of paths ------------------------------------------------------- */

struct file {
	char path[80];
	uint32_t mode;
	struct oid oid;
};

struct files {
	struct file *at;
	size_t count, cap;
};

static uint64_t seed = 20261121;

static unsigned dice(unsigned sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % sides;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static void sort_files(struct files *files)
{
	if (files->count)
		qsort(files->at, files->count, sizeof(*files->at), compare_files);
}

static bool is_under(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && path[n] == '/';
}

/* Puts a file there; what is in its way goes. */
static void files_put(struct files *files, const struct file *file)
{
	size_t kept = 0;

	for (size_t i = 0; i < files->count; i++) {
		const struct file *old = &files->at[i];

		if (strcmp(old->path, file->path) != 0 && !is_under(old->path, file->path) &&
		    !is_under(file->path, old->path))
			files->at[kept++] = *old;
	}
	files->count = kept;
	MEM_GROW(files->at, files->cap, kept + 1);
	files->at[files->count++] = *file;
	sort_files(files);
}

static const struct file *files_find(const struct files *files, const char *path)
{
	for (size_t i = 0; i < files->count; i++)
		if (!strcmp(files->at[i].path, path))
			return &files->at[i];
	return NULL;
}

static void files_copy(struct files *to, const struct files *from)
{
	*to = (struct files){0};
	for (size_t i = 0; i < from->count; i++) {
		MEM_GROW(to->at, to->cap, to->count + 1);
		to->at[to->count++] = from->at[i];
	}
}

/* Names that sort around '/', so that every order of files and directories turns up. */
static struct file random_file(enum hash_algo algo, unsigned names)
{
	static const char *const name[] = {"a",	  "a.b", "a-",	"a0",	  "ab", "b",
					   "b.c", "c",	 "c\n", "\xff\"", "d",	"a.b.c"};
	static const uint32_t modes[] = {0100644, 0100644, 0100644, 0100755, 0120000, 0160000};
	struct file file = {.mode = modes[dice(ARRAY_SIZE(modes))]};
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", dice(40));

	object_id(algo, tree_mode_is_gitlink(file.mode) ? OBJECT_COMMIT : OBJECT_BLOB, text,
		  (size_t)n, &file.oid);
	for (unsigned depth = dice(4) + 1; depth; depth--) {
		strcat(file.path, name[dice(names)]);
		if (depth > 1)
			strcat(file.path, "/");
	}
	return file;
}

static void random_files(struct files *files, enum hash_algo algo, unsigned count, unsigned names)
{
	*files = (struct files){0};
	while (count--) {
		struct file file = random_file(algo, names);

		files_put(files, &file);
	}
}

static void mutate(struct files *files, enum hash_algo algo, unsigned names)
{
	for (unsigned n = dice(6) + 1; n; n--) {
		if (dice(3) && files->count) {
			files->at[dice((unsigned)files->count)] = files->at[files->count - 1];
			files->count--;
			sort_files(files);
		}
		if (dice(2)) {
			struct file file = random_file(algo, names);

			files_put(files, &file);
		}
		if (dice(2) && files->count) {
			struct file *file = &files->at[dice((unsigned)files->count)];

			file->mode = file->mode == 0100644 ? 0100755 : 0100644;
		}
	}
	if (!dice(15))
		files->count = 0;
}

/* What git makes of them. */
static struct oid git_tree(enum hash_algo algo, const struct files *files)
{
	struct bytes input = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid tree;

	unlink("private-index");
	setenv("GIT_INDEX_FILE", "private-index", 1);
	for (size_t i = 0; i < files->count; i++) {
		bytes_addf(&input, "%o %s\t%s", files->at[i].mode, oid_hex(&files->at[i].oid, hex),
			   files->at[i].path);
		bytes_addc(&input, '\0');
	}
	git_feed("update-index -z --index-info", input.data, input.len, NULL);
	tree = git_oid_of(algo, "write-tree --missing-ok");
	unsetenv("GIT_INDEX_FILE");
	bytes_release(&input);
	return tree;
}

/* ---- an index made of them ----------------------------------------------------------- */

struct made_index {
	struct index index;
	size_t cap;
};

static void made_add(struct made_index *made, const char *path, uint32_t mode, unsigned stage,
		     bool intent, const uint8_t *oid)
{
	struct index_entry *entry;

	MEM_GROW(made->index.entries, made->cap, made->index.count + 1);
	entry = &made->index.entries[made->index.count++];
	*entry = (struct index_entry){.name = path,
				      .name_len = (uint32_t)strlen(path),
				      .mode = mode,
				      .oid = oid,
				      .stage = (uint8_t)(stage & 3),
				      .intent_to_add = intent};
}

/*
 * Some files stay out of the tree: they become intent-to-add or unmerged
 * entries. `left_out` gets those.
 */
static void make_index(struct made_index *made, enum hash_algo algo, const struct files *files,
		       struct files *kept, bool with_omitted)
{
	*made = (struct made_index){.index = {.algo = algo, .version = 2, .exists = true}};
	*kept = (struct files){0};
	for (size_t i = 0; i < files->count; i++) {
		const struct file *file = &files->at[i];
		unsigned kind = with_omitted ? dice(8) : 7;

		if (kind == 0) {
			made_add(made, file->path, file->mode, 0, true, file->oid.raw);
		} else if (kind == 1) {
			made_add(made, file->path, file->mode, 1, false, file->oid.raw);
			made_add(made, file->path, file->mode, 3, false, file->oid.raw);
		} else {
			made_add(made, file->path, file->mode, 0, false, file->oid.raw);
			MEM_GROW(kept->at, kept->cap, kept->count + 1);
			kept->at[kept->count++] = *file;
		}
	}
}

/* The entries of a made index from `at` on that are below the prefix. */
static uint32_t span_of(const struct index *index, uint32_t at, const char *prefix, size_t len)
{
	uint32_t n = 0;

	while (at + n < index->count && index->entries[at + n].name_len > len &&
	       !memcmp(index->entries[at + n].name, prefix, len))
		n++;
	return n;
}

static bool span_is_whole(const struct index *index, uint32_t at, uint32_t n)
{
	for (uint32_t i = at; i < at + n; i++)
		if (index->entries[i].stage || index->entries[i].intent_to_add)
			return false;
	return true;
}

/*
 * A cache-tree over the made index, as git would have it: a node over omitted
 * entries is invalid, and so are its parents. `percent` of the others are
 * invalidated too. Ids come from the tree that git wrote. Returns validity.
 */
static bool make_nodes(struct odb *odb, const struct index *index, uint32_t at, uint32_t count,
		       const char *prefix, size_t len, const struct oid *tree,
		       struct index_tree *node, unsigned percent, bool shuffled)
{
	bool valid = span_is_whole(index, at, count) && dice(100) >= percent;
	uint32_t cap = 0;

	for (uint32_t i = at; i < at + count;) {
		const char *name = index->entries[i].name + len;
		const char *slash = strchr(name, '/');
		struct tree_entry entry;
		struct fail fail = FAIL_INIT;
		char *one;
		uint32_t n;
		struct index_tree *sub;

		if (!slash) {
			i++;
			continue;
		}
		n = span_of(index, i, index->entries[i].name,
			    (size_t)(slash - index->entries[i].name) + 1);
		one = mem_dup(name, (size_t)(slash - name));
		if (!tree || tree_lookup(odb, tree, one, &entry, &fail) < 0) {
			/* nothing but omitted entries: git has no node for it */
			valid = false;
		} else {
			MEM_GROW(node->subtrees, cap, node->subtree_count + 1);
			sub = &node->subtrees[node->subtree_count++];
			*sub = (struct index_tree){.name = name,
						   .name_len = (uint32_t)(slash - name)};
			valid &= make_nodes(odb, index, i, n, prefix,
					    len + (size_t)(slash - name) + 1, &entry.oid, sub,
					    percent, shuffled);
		}
		free(one);
		i += n;
	}
	/* git's order is by length first; name order is what other writers have. */
	for (uint32_t i = 0; !shuffled && i < node->subtree_count; i++)
		for (uint32_t j = i; j > 0; j--) {
			struct index_tree *a = &node->subtrees[j - 1], *b = &node->subtrees[j];
			struct index_tree swap = *a;

			if (a->name_len < b->name_len ||
			    (a->name_len == b->name_len &&
			     memcmp(a->name, b->name, a->name_len) < 0))
				break;
			*a = *b;
			*b = swap;
		}
	node->entry_count = valid ? (int32_t)count : -1;
	node->oid = valid ? mem_dup(tree->raw, OID_RAW_MAX) : NULL;
	return valid;
}

static void free_nodes(struct index_tree *node)
{
	for (uint32_t i = 0; i < node->subtree_count; i++)
		free_nodes(&node->subtrees[i]);
	free(node->subtrees);
	free((void *)(uintptr_t)node->oid);
}

/* ---- changes ------------------------------------------------------------------------------ */

struct changes {
	struct change *at;
	size_t count, cap;
};

static void add_change(struct changes *changes, const char *path, uint32_t mode,
		       const struct oid *oid)
{
	struct change *change;

	MEM_GROW(changes->at, changes->cap, changes->count + 1);
	change = &changes->at[changes->count++];
	*change = (struct change){.path = mem_strdup(path), .mode = mode, .content = BYTES_INIT};
	if (oid)
		change->oid = *oid;
}

static int compare_changes(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

/* A deletion that the new files imply, because something else stands there now. */
static bool implied(const struct files *now, const char *path)
{
	for (size_t i = 0; i < now->count; i++)
		if (is_under(now->at[i].path, path) || is_under(path, now->at[i].path))
			return true;
	return false;
}

static void make_changes(struct changes *changes, const struct files *before,
			 const struct files *now)
{
	*changes = (struct changes){0};
	for (size_t i = 0; i < before->count; i++) {
		const char *path = before->at[i].path;

		if (!files_find(now, path) && (!implied(now, path) || dice(2)))
			add_change(changes, path, 0, NULL);
	}
	for (size_t i = 0; i < now->count; i++) {
		const struct file *file = &now->at[i];
		const struct file *old = files_find(before, file->path);

		/* Now and then one that changes nothing. */
		if (!old || old->mode != file->mode || !oid_equal(&old->oid, &file->oid) ||
		    !dice(20))
			add_change(changes, file->path, file->mode, &file->oid);
	}
	if (!dice(4)) {
		const char *nowhere = dice(2) ? "0/nowhere" : "zz";

		if (!files_find(before, nowhere) && !files_find(now, nowhere))
			add_change(changes, nowhere, 0, NULL);
	}
	if (changes->count)
		qsort(changes->at, changes->count, sizeof(*changes->at), compare_changes);
}

static void free_changes(struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++)
		free(changes->at[i].path);
	free(changes->at);
}

/* ---- comparing with git ---------------------------------------------------------------------- */

static int print_difference(void *arg, const char *path, uint32_t old_mode,
			    const struct oid *old_oid, uint32_t new_mode, const struct oid *new_oid,
			    UNUSED struct fail *fail)
{
	char a[OID_HEX_MAX + 1], b[OID_HEX_MAX + 1];
	struct bytes *out = arg;
	char kind = !old_mode ? 'A' : !new_mode ? 'D' : 'M';

	if (kind == 'M' && (old_mode & 0170000) != (new_mode & 0170000))
		kind = 'T';
	bytes_addf(out, ":%06o %06o %s %s %c", old_mode, new_mode, oid_hex(old_oid, a),
		   oid_hex(new_oid, b), kind);
	bytes_addc(out, '\0');
	bytes_adds(out, path);
	bytes_addc(out, '\0');
	return 0;
}

static void check_diff(struct odb *odb, const struct oid *a, const struct oid *b)
{
	struct bytes ours = BYTES_INIT, theirs = BYTES_INIT;
	char hex_a[OID_HEX_MAX + 1], hex_b[OID_HEX_MAX + 1], line[256];
	struct fail fail = FAIL_INIT;

	snprintf(line, sizeof(line), "diff-tree -r -z --full-index %s %s", oid_hex(a, hex_a),
		 oid_hex(b, hex_b));
	git_feed(line, NULL, 0, &theirs);
	assert_ok(tree_diff(odb, a, b, print_difference, &ours, &fail), fail);
	assert_int_equal(ours.len, theirs.len);
	assert_memory_equal(ours.data, theirs.data, ours.len);
	bytes_release(&ours);
	bytes_release(&theirs);
}

/* Everything that hangs on a tree, read with the walk alone. */
static void reach(struct odb *odb, const struct oid *tree, struct oidset *set)
{
	struct bytes content = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct tree_walk walk;
	struct tree_entry entry;
	int r;

	if (!oidset_add(set, tree))
		return;
	assert_ok(odb_read_type(odb, tree, OBJECT_TREE, &content, &fail), fail);
	tree_walk_init(&walk, (enum hash_algo)tree->algo, &content);
	while ((r = tree_walk_next(&walk, &entry, &fail)) == 1) {
		if (tree_mode_is_dir(entry.mode))
			reach(odb, &entry.oid, set);
		else if (!tree_mode_is_gitlink(entry.mode))
			oidset_add(set, &entry.oid);
	}
	assert_int_equal(r, 0);
	bytes_release(&content);
}

struct given {
	struct odb *odb;
	struct oidset set;
	const struct oid *tree;
	const struct oid *have;
	size_t have_count;
	size_t calls;
	int answer;
};

static int take_need(void *arg, const struct oid *oid, enum object_type type, const char *path,
		     uint32_t mode, struct fail *fail)
{
	struct given *given = arg;
	struct tree_entry entry;
	struct fail gone = FAIL_INIT;

	given->calls++;
	if (given->answer)
		return fail_set(fail, given->answer, "no more");
	assert_true(oidset_add(&given->set, oid));
	assert_int_equal(type, tree_mode_is_dir(mode) ? OBJECT_TREE : OBJECT_BLOB);
	/* It is at this place in the tree, and there in no `have`. */
	assert_ok(tree_lookup(given->odb, given->tree, path, &entry, fail), *fail);
	assert_oid_equal(&entry.oid, oid);
	assert_int_equal(entry.mode, mode);
	for (size_t i = 0; i < given->have_count; i++) {
		if (oid_is_zero(&given->have[i]))
			continue;
		fail_clear(&gone);
		if (tree_lookup(given->odb, &given->have[i], path, &entry, &gone) == 0)
			assert_false(oid_equal(&entry.oid, oid) &&
				     !tree_mode_is_gitlink(entry.mode));
	}
	return 0;
}

static void check_missing(struct odb *odb, const struct oid *tree, const struct oid *have,
			  size_t have_count)
{
	struct given given = {.odb = odb, .tree = tree, .have = have, .have_count = have_count};
	struct oidset all = OIDSET_INIT, known = OIDSET_INIT;
	struct fail fail = FAIL_INIT;

	assert_ok(tree_missing(odb, tree, have, have_count, take_need, &given, &fail), fail);
	assert_int_equal(given.calls, given.set.count);
	reach(odb, tree, &all);
	for (size_t i = 0; i < have_count; i++)
		if (!oid_is_zero(&have[i]))
			reach(odb, &have[i], &known);
	for (size_t i = 0; i < all.slot_count; i++)
		if (all.slots[i].algo)
			assert_true(oidset_has(&given.set, &all.slots[i]) ||
				    oidset_has(&known, &all.slots[i]));
	oidset_release(&all);
	oidset_release(&known);
	oidset_release(&given.set);
}

/* ---- the tests ---------------------------------------------------------------------------------
 */

static void one_round(enum hash_algo algo, struct odb *odb, unsigned round)
{
	unsigned names = 3 + round % 10;
	struct files files, before, now;
	struct made_index made;
	struct index_tree root = {.name = ""};
	struct changes changes;
	struct fail fail = FAIL_INIT;
	struct oid base, want, got, have[3];

	random_files(&files, algo, dice(40), names);
	make_index(&made, algo, &files, &before, round % 3 == 0);
	files_copy(&now, &before);
	mutate(&now, algo, names);
	base = git_tree(algo, &before);
	want = git_tree(algo, &now);
	if (round % 4)
		make_nodes(odb, &made.index, 0, made.index.count, "", 0, &base, &root,
			   (round % 4 - 1) * 20, round % 5 == 0);
	made.index.tree = round % 4 ? &root : NULL;
	make_changes(&changes, &before, &now);

	odb->bag = treebag_new(algo);
	assert_ok(tree_from_index(&made.index, NULL, 0, odb->bag, &got, &fail), fail);
	assert_oid_equal(&got, &base);
	assert_ok(tree_from_index(&made.index, changes.at, changes.count, odb->bag, &got, &fail),
		  fail);
	assert_oid_equal(&got, &want);
	oid_zero(algo, &have[0]);
	have[1] = base;
	have[2] = git_tree(algo, &files);
	/* The new trees are only in the bag here, for our eyes. */
	check_missing(odb, &want, have, 1 + round % 3);
	treebag_free(odb->bag);

	odb->bag = treebag_new(algo);
	assert_ok(tree_edit(odb, &base, changes.at, changes.count, odb->bag, &got, &fail), fail);
	assert_oid_equal(&got, &want);
	check_diff(odb, &base, &got);
	treebag_free(odb->bag);
	odb->bag = NULL;

	free_nodes(&root);
	free_changes(&changes);
	free(made.index.entries);
	free(files.at);
	free(before.at);
	free(now.at);
}

static void test_random_trees(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		const struct variant *v = &sandbox_variants[i];
		struct repo repo;
		struct odb odb;

		sandbox_repo(v, &repo);
		odb_init(&odb, &repo);
		for (unsigned round = 0; round < 36; round++)
			one_round(v->algo, &odb, round);
		odb_release(&odb);
		repo_close(&repo);
	}
}

static void feed_files(const struct files *files, const char *stage)
{
	struct bytes input = BYTES_INIT;
	struct oid zero;
	char hex[OID_HEX_MAX + 1];

	for (size_t i = 0; i < files->count; i++) {
		/* No path has stage 0 and another one. */
		if (*stage == '1') {
			oid_zero((enum hash_algo)files->at[i].oid.algo, &zero);
			bytes_addf(&input, "0 %s\t%s", oid_hex(&zero, hex), files->at[i].path);
			bytes_addc(&input, '\0');
		}
		bytes_addf(&input, "%o %s %s\t%s", files->at[i].mode,
			   oid_hex(&files->at[i].oid, hex), stage, files->at[i].path);
		bytes_addc(&input, '\0');
	}
	git_feed("update-index -z --index-info", input.data, input.len, NULL);
	bytes_release(&input);
}

/* What git's write-tree says of a copy of the index without the unmerged paths. */
static struct oid index_tree_by_git(enum hash_algo algo)
{
	struct bytes list = BYTES_INIT, paths = BYTES_INIT;
	struct oid tree;

	assert_int_equal(system("cp .git/index private-index"), 0);
	setenv("GIT_INDEX_FILE", "private-index", 1);
	git_feed("ls-files -u -z", NULL, 0, &list);
	for (size_t at = 0; at < list.len; at += strlen(list.data + at) + 1) {
		const char *path = strchr(list.data + at, '\t') + 1;

		bytes_add(&paths, path, strlen(path) + 1);
	}
	git_feed("update-index -z --force-remove --stdin", paths.data, paths.len, NULL);
	tree = git_oid_of(algo, "write-tree --missing-ok");
	unsetenv("GIT_INDEX_FILE");
	bytes_release(&list);
	bytes_release(&paths);
	return tree;
}

static void real_index_round(enum hash_algo algo, unsigned round)
{
	struct treebag *bag = treebag_new(algo);
	struct files files, more, unmerged;
	struct fail fail = FAIL_INIT;
	struct index index;
	struct oid want, got;

	unlink(".git/index");
	random_files(&files, algo, 30, 8);
	random_files(&more, algo, dice(3), 8);
	random_files(&unmerged, algo, dice(3), 8);
	feed_files(&files, "0");
	if (round & 1)
		git("add -N e/new/x e/y");
	git("write-tree --missing-ok"); /* leaves its cache-tree in the index */
	feed_files(&more, "0");
	if (round & 2)
		git("add -N e/y z");
	if (round & 4) {
		feed_files(&unmerged, "1");
		feed_files(&unmerged, "3");
	}
	want = index_tree_by_git(algo);
	assert_ok(index_open(&index, ".git/index", algo, &fail), fail);
	assert_ok(tree_from_index(&index, NULL, 0, bag, &got, &fail), fail);
	assert_oid_equal(&got, &want);
	index_close(&index);
	treebag_free(bag);
	free(files.at);
	free(more.at);
	free(unmerged.at);
}

/* Indexes that git wrote, with its own cache-tree in every state. */
static void test_real_index(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		struct repo repo;

		sandbox_repo(&sandbox_variants[i], &repo);
		git(i ? "config index.version 4" : "config index.version 2");
		assert_int_equal(system("mkdir -p e/new && touch e/new/x e/y z"), 0);
		for (unsigned round = 0; round < 16; round++)
			real_index_round(repo.algo, round);
		repo_close(&repo);
	}
}

/* A case in words: entries, changes ("-a" deletes a), and the tree's paths afterwards. */
struct table_case {
	const char *entries, *changes, *result; /* result NULL: FAIL_CORRUPT */
};

static int list_path(void *arg, const char *path, UNUSED uint32_t old_mode,
		     UNUSED const struct oid *old_oid, UNUSED uint32_t new_mode,
		     UNUSED const struct oid *new_oid, UNUSED struct fail *fail)
{
	struct bytes *out = arg;

	bytes_addf(out, "%s%s", out->len ? " " : "", path);
	return 0;
}

static void run_case(struct odb *odb, const struct table_case *c)
{
	struct made_index made = {.index = {.algo = HASH_SHA1}};
	struct changes changes = {0};
	struct bytes paths = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	char *entries = mem_strdup(c->entries), *words = mem_strdup(c->changes), *save = NULL;
	const struct oid *blob = oid_empty_blob(HASH_SHA1);
	struct oid zero, tree;
	int r;

	for (char *w = strtok_r(entries, " ", &save); w; w = strtok_r(NULL, " ", &save))
		made_add(&made, w, 0100644, 0, false, blob->raw);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		add_change(&changes, w + (*w == '-'), *w == '-' ? 0 : 0100644, blob);
	odb->bag = treebag_new(HASH_SHA1);
	r = tree_from_index(&made.index, changes.at, changes.count, odb->bag, &tree, &fail);
	if (c->result) {
		assert_ok(r, fail);
		oid_zero(HASH_SHA1, &zero);
		assert_ok(tree_diff(odb, &zero, &tree, list_path, &paths, &fail), fail);
		assert_string_equal(paths.data, c->result);
	} else if (r != FAIL_CORRUPT) {
		fail_msg("[%s] + [%s]: %d", c->entries, c->changes, r);
	}
	treebag_free(odb->bag);
	odb->bag = NULL;
	free_changes(&changes);
	free(made.index.entries);
	free(entries);
	free(words);
	bytes_release(&paths);
}

static void test_table(UNUSED void **state)
{
	static const struct table_case cases[] = {
		{"", "", ""},
		{"a b/c", "", "a b/c"},
		/* a file becomes a directory and back, said in full and in short */
		{"a b", "-a a/x", "a/x b"},
		{"a b", "a/x", "a/x b"},
		{"a a.b a/x", "", NULL},
		{"a.b a/x/y a/z b", "a -a/x/y -a/z", "a a.b b"},
		{"a.b a/x/y a/z b", "a", "a a.b b"},
		{"a a.b a0", "a/x", "a.b a/x a0"},
		{"a a- a.b a.b.c", "a.b/x", "a a- a.b.c a.b/x"},
		{"a", "a a/x", NULL},
		{"", "a a/x", NULL},
		/* a delete of a file leaves the directory of that name alone */
		{"a/x", "-a", "a/x"},
		{"a/x", "-a -a/x", ""},
		{"a/b/c/d e", "-a/b/c/d", "e"},
		{"a/b/c/d a/b/e", "-a/b/c/d", "a/b/e"},
		/* what makes no tree */
		{"b a", "", NULL},
		{"a/x b a/y", "", NULL},
		{"a a", "", NULL},
		{"a//b", "", NULL},
		{"/a", "", NULL},
		{"a/", "", NULL},
		{"a/../b", "", NULL},
		{"./a", "", NULL},
		{"a/.git/b", "", NULL},
		{"a/.GIT", "", NULL},
		{"", "a//b", NULL},
		{"", "a/", NULL},
		{"", "..", NULL},
		{".gitignore ...", "", NULL},
		{"... .gitignore", "", "... .gitignore"},
	};
	struct repo repo;
	struct odb odb;

	sandbox_repo(&sandbox_variants[0], &repo);
	odb_init(&odb, &repo);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(&odb, &cases[i]);
	odb_release(&odb);
	repo_close(&repo);
}

static void test_bad_changes(UNUSED void **state)
{
	struct treebag *bag = treebag_new(HASH_SHA1);
	struct index index = {.algo = HASH_SHA1};
	struct changes changes = {0};
	struct fail fail = FAIL_INIT;
	struct oid tree;

	add_change(&changes, "b", 0100644, oid_empty_blob(HASH_SHA1));
	add_change(&changes, "a", 0100644, oid_empty_blob(HASH_SHA1));
	assert_int_equal(tree_from_index(&index, changes.at, 2, bag, &tree, &fail), FAIL_FATAL);
	fail_clear(&fail);
	changes.at[0].mode = 040000;
	assert_int_equal(tree_from_index(&index, changes.at, 1, bag, &tree, &fail), FAIL_CORRUPT);
	fail_clear(&fail);
	changes.at[0].mode = 010644;
	assert_int_equal(tree_from_index(&index, changes.at, 1, bag, &tree, &fail), FAIL_CORRUPT);
	free_changes(&changes);
	treebag_free(bag);
}

/* A node that does not fit its entries is not believed, even when it says that it is valid. */
static void test_lying_cache_tree(UNUSED void **state)
{
	static const int32_t counts[] = {0, 1, 3, 4, INT32_MAX};
	static const uint8_t wrong[OID_RAW_MAX] = {1, 2, 3};
	struct made_index made = {.index = {.algo = HASH_SHA1}};
	struct index_tree sub = {.name = "d", .name_len = 1, .oid = wrong};
	struct index_tree root = {
		.name = "", .entry_count = -1, .subtree_count = 1, .subtrees = &sub};
	const uint8_t *blob = oid_empty_blob(HASH_SHA1)->raw;
	struct treebag *bag = treebag_new(HASH_SHA1);
	struct fail fail = FAIL_INIT;
	struct oid want, got;

	made_add(&made, "d/a", 0100644, 0, false, blob);
	made_add(&made, "d/b", 0100644, 0, false, blob);
	made_add(&made, "e", 0100644, 0, false, blob);
	assert_ok(tree_from_index(&made.index, NULL, 0, bag, &want, &fail), fail);
	made.index.tree = &root;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		sub.entry_count = counts[i];
		assert_ok(tree_from_index(&made.index, NULL, 0, bag, &got, &fail), fail);
		assert_oid_equal(&got, &want);
	}
	/* And one that fits is. */
	sub.entry_count = 2;
	assert_ok(tree_from_index(&made.index, NULL, 0, bag, &got, &fail), fail);
	assert_false(oid_equal(&got, &want));
	root.entry_count = 2;
	root.oid = wrong;
	assert_ok(tree_from_index(&made.index, NULL, 0, bag, &got, &fail), fail);
	assert_memory_not_equal(got.raw, wrong, 20);
	free(made.index.entries);
	treebag_free(bag);
}

static void test_deep(UNUSED void **state)
{
	struct made_index made = {.index = {.algo = HASH_SHA1}};
	struct treebag *bag = treebag_new(HASH_SHA1);
	struct fail fail = FAIL_INIT;
	struct bytes path = BYTES_INIT;
	struct oid tree;

	for (int i = 0; i < TREE_MAX_DEPTH - 1; i++)
		bytes_adds(&path, "d/");
	bytes_adds(&path, "f");
	made_add(&made, path.data, 0100644, 0, false, oid_empty_blob(HASH_SHA1)->raw);
	assert_ok(tree_from_index(&made.index, NULL, 0, bag, &tree, &fail), fail);
	for (int i = 0; i < 100000; i++)
		bytes_adds(&path, "/d");
	made.index.count = 0;
	made_add(&made, path.data, 0100644, 0, false, oid_empty_blob(HASH_SHA1)->raw);
	assert_int_equal(tree_from_index(&made.index, NULL, 0, bag, &tree, &fail), FAIL_CORRUPT);
	free(made.index.entries);
	bytes_release(&path);
	treebag_free(bag);
}

/* Old trees have 0100664; what is next to a change comes out as git writes it today. */
static void test_old_modes(UNUSED void **state)
{
	struct repo repo;
	struct odb odb;
	struct fail fail = FAIL_INIT;
	struct bytes content = BYTES_INIT, paths = BYTES_INIT;
	struct files files = {0};
	struct changes changes = {0};
	struct tree_entry entry;
	struct oid old, got, want;
	struct file a = {"a", 0100644, *oid_empty_blob(HASH_SHA1)};
	struct file b = {"b", 0100755, *oid_empty_blob(HASH_SHA1)};

	sandbox_repo(&sandbox_variants[0], &repo);
	odb_init(&odb, &repo);
	odb.bag = treebag_new(HASH_SHA1);
	bytes_add(&content, "100664 a", 9);
	bytes_add(&content, a.oid.raw, 20);
	treebag_put(odb.bag, content.data, content.len, &old);
	assert_ok(tree_lookup(&odb, &old, "a", &entry, &fail), fail);
	assert_int_equal(entry.mode, 0100644);
	files_put(&files, &a);
	files_put(&files, &b);
	want = git_tree(HASH_SHA1, &files);
	add_change(&changes, "b", 0100755, &b.oid);
	assert_ok(tree_edit(&odb, &old, changes.at, 1, odb.bag, &got, &fail), fail);
	assert_oid_equal(&got, &want);
	assert_ok(tree_edit(&odb, &old, NULL, 0, odb.bag, &got, &fail), fail);
	assert_oid_equal(&got, &old);
	oid_zero(HASH_SHA1, &old);
	assert_ok(tree_edit(&odb, &old, NULL, 0, odb.bag, &got, &fail), fail);
	assert_oid_equal(&got, oid_empty_tree(HASH_SHA1));
	treebag_free(odb.bag);
	odb_release(&odb);
	repo_close(&repo);
	free_changes(&changes);
	free(files.at);
	bytes_release(&content);
	bytes_release(&paths);
}

static void test_lookup(UNUSED void **state)
{
	static const char *const gone[] = {"x",	   "a/x",  "a/b/c/d", "a/",   "/a",
					   "a//b", "a/b/", "..",      "a/..", "f/x"};
	struct repo repo;
	struct odb odb;
	struct files files = {0};
	struct file deep = {"a/b/c", 0100755, *oid_empty_blob(HASH_SHA1)};
	struct file flat = {"f", 0120000, *oid_empty_blob(HASH_SHA1)};
	struct tree_entry entry;
	struct fail fail = FAIL_INIT;
	struct oid tree;

	sandbox_repo(&sandbox_variants[0], &repo);
	odb_init(&odb, &repo);
	files_put(&files, &deep);
	files_put(&files, &flat);
	tree = git_tree(HASH_SHA1, &files);
	assert_ok(tree_lookup(&odb, &tree, "", &entry, &fail), fail);
	assert_oid_equal(&entry.oid, &tree);
	assert_ok(tree_lookup(&odb, &tree, "a/b/c", &entry, &fail), fail);
	assert_int_equal(entry.mode, 0100755);
	assert_string_equal(entry.name, "c");
	assert_ok(tree_lookup(&odb, &tree, "a/b", &entry, &fail), fail);
	assert_int_equal(entry.mode, 040000);
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
		assert_int_equal(tree_lookup(&odb, &tree, gone[i], &entry, &fail), FAIL_GONE);
		fail_clear(&fail);
	}
	free(files.at);
	odb_release(&odb);
	repo_close(&repo);
}

static int count_need(void *arg, UNUSED const struct oid *oid, enum object_type type,
		      UNUSED const char *path, UNUSED uint32_t mode, UNUSED struct fail *fail)
{
	size_t *blobs = arg;

	*blobs += type == OBJECT_BLOB;
	return 0;
}

static struct file numbered(const char *dir, unsigned i)
{
	struct file file = {.mode = 0100644};
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", i);

	snprintf(file.path, sizeof(file.path), "%s/%u/%u", dir, i / 50, i);
	object_id(HASH_SHA1, OBJECT_BLOB, text, (size_t)n, &file.oid);
	return file;
}

/* A renamed directory: after some hundreds of blobs nothing that `have` holds is given. */
static void test_mass_rename(UNUSED void **state)
{
	struct repo repo;
	struct odb odb;
	struct files before = {0}, after = {0};
	struct fail fail = FAIL_INIT;
	struct oid a, b, nowhere;
	size_t blobs = 0;

	sandbox_repo(&sandbox_variants[0], &repo);
	odb_init(&odb, &repo);
	for (unsigned i = 0; i < 1500; i++) {
		struct file old = numbered("old", i), new = numbered("new", i);

		MEM_GROW(before.at, before.cap, before.count + 1);
		before.at[before.count++] = old;
		/* One more file in each, so that no directory keeps its id. */
		strcat(new.path, ".x");
		MEM_GROW(after.at, after.cap, after.count + 1);
		after.at[after.count++] = new;
	}
	sort_files(&before);
	sort_files(&after);
	a = git_tree(HASH_SHA1, &before);
	b = git_tree(HASH_SHA1, &after);
	assert_ok(tree_missing(&odb, &b, &a, 1, count_need, &blobs, &fail), fail);
	assert_in_range(blobs, 1, 600);
	/* A `have` that is not there does not help, and does not fail either. */
	blobs = 0;
	oid_zero(HASH_SHA1, &nowhere);
	nowhere.raw[0] = 9;
	assert_ok(tree_missing(&odb, &b, &nowhere, 1, count_need, &blobs, &fail), fail);
	assert_int_equal(blobs, 1500);
	/* What is needed itself must be there. */
	assert_int_equal(tree_missing(&odb, &nowhere, &a, 1, count_need, &blobs, &fail), FAIL_GONE);
	free(before.at);
	free(after.at);
	odb_release(&odb);
	repo_close(&repo);
}

static void test_need_stops(UNUSED void **state)
{
	struct repo repo;
	struct odb odb;
	struct files files = {0};
	struct file deep = {"a/b/c", 0100755, *oid_empty_blob(HASH_SHA1)};
	struct fail fail = FAIL_INIT;
	struct oid tree;
	struct given given = {.odb = &odb, .tree = &tree, .answer = FAIL_NO};

	sandbox_repo(&sandbox_variants[0], &repo);
	odb_init(&odb, &repo);
	files_put(&files, &deep);
	tree = git_tree(HASH_SHA1, &files);
	assert_int_equal(tree_missing(&odb, &tree, NULL, 0, take_need, &given, &fail), FAIL_NO);
	assert_int_equal(given.calls, 1);
	free(files.at);
	odb_release(&odb);
	repo_close(&repo);
}

/* ---- malformed trees ------------------------------------------------------------------- */

static int walk_all(const void *data, size_t len, size_t *entries)
{
	/* Exactly as long as it is, so that a sanitizer sees one byte too far. */
	char *copy = len ? memcpy(mem_alloc(len), data, len) : NULL;
	struct bytes content = {.data = len ? copy : bytes_empty, .len = len};
	struct fail fail = FAIL_INIT;
	struct tree_walk walk;
	struct tree_entry entry;
	int r;

	*entries = 0;
	tree_walk_init(&walk, HASH_SHA1, &content);
	while ((r = tree_walk_next(&walk, &entry, &fail)) == 1) {
		assert_true(tree_name_valid(entry.name, entry.name_len));
		++*entries;
	}
	free(copy);
	return r;
}

#define ID "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24"

static void test_malformed(UNUSED void **state)
{
#define TEXT(s) \
	{ \
		s, sizeof(s) - 1 \
	}
	static const struct {
		const char *data;
		size_t len;
	} bad[] = {
		TEXT("1"),
		TEXT("100644"),
		TEXT("100644 "),
		TEXT("100644 a"),
		TEXT("100644 a\0"),
		TEXT("100644 a\0shortid"),
		TEXT(" a\0" ID),
		TEXT("100644\0a" ID),
		TEXT("100648 a\0" ID),
		TEXT("1000000000100644 a\0" ID),
		TEXT("10644 a\0" ID),
		TEXT("0 a\0" ID),
		TEXT("100644 \0" ID),
		TEXT("100644 a/b\0" ID),
		TEXT("100644 .\0" ID),
		TEXT("40000 ..\0" ID),
		TEXT("40000 .git\0" ID),
		TEXT("40000 .gIt\0" ID),
		TEXT("100644 b\0" ID "100644 a\0" ID),
		TEXT("100644 a\0" ID "100644 a\0" ID),
		TEXT("40000 a\0" ID "100644 a.b\0" ID),
		TEXT("100644 a\0" ID "x"),
	};
	static const char good[] = "100644 .gitignore\0" ID "100664 a\0" ID "100644 a.b\0" ID
				   "040000 a\0" ID "160000 b\0" ID "120000 c\0" ID;
	char text[sizeof(good)];
	size_t entries;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (walk_all(bad[i].data, bad[i].len, &entries) != FAIL_CORRUPT)
			fail_msg("tree %zu was taken", i);
	assert_int_equal(walk_all("", 0, &entries), 0);
	assert_int_equal(walk_all(good, sizeof(good) - 1, &entries), 0);
	assert_int_equal(entries, 6);
	for (int i = 0; i < 200000; i++) {
		memcpy(text, good, sizeof(good));
		for (unsigned n = dice(4); n; n--)
			text[dice(sizeof(good) - 1)] = (char)dice(256);
		walk_all(text, dice(sizeof(good)), &entries);
		assert_in_range(entries, 0, 6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_trees),
		cmocka_unit_test(test_real_index),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_bad_changes),
		cmocka_unit_test(test_lying_cache_tree),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_old_modes),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_mass_rename),
		cmocka_unit_test(test_need_stops),
		cmocka_unit_test(test_malformed),
	};
	int failed;

	sandbox_enter();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	sandbox_leave();
	return failed;
}
