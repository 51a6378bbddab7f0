/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "operation.h"

#include "commit.h"
#include "erase.h"
#include "file.h"
#include "hash.h"
#include "index.h"
#include "oidset.h"
#include "spawn.h"
#include "tree.h"
#include "treebag.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What an operation leaves, and what git removes when it ends. */
static const char *const state_files[] = {
	"MERGE_HEAD",
	"MERGE_MODE",
	"MERGE_MSG",
	"MERGE_RR",
	"MERGE_AUTOSTASH",
	"AUTO_MERGE",
	"SQUASH_MSG",
	"CHERRY_PICK_HEAD",
	"REVERT_HEAD",
	"REBASE_HEAD",
	"BISECT_LOG",
	"BISECT_START",
	"BISECT_NAMES",
	"BISECT_TERMS",
	"BISECT_RUN",
	"BISECT_EXPECTED_REV",
	"BISECT_HEAD",
	"BISECT_ANCESTORS_OK",
	"BISECT_REV",
	"BISECT_FIRST_PARENT",
	"NOTES_MERGE_REF",
	"NOTES_MERGE_PARTIAL",
	"NOTES_MERGE_WORKTREE",
	"rebase-merge",
	"rebase-apply",
	"sequencer",
};

/* Some of them stay behind for no reason: alone they are nothing to rescue. */
static const char *const leftovers[] = {"MERGE_MSG",  "MERGE_MODE", "MERGE_RR",
					"SQUASH_MSG", "AUTO_MERGE", "REBASE_HEAD"};

/* Kept with an operation, but no part of one. */
static const char *const companions[] = {"HEAD", "ORIG_HEAD", "config.worktree",
					 "info/sparse-checkout"};

static const char *const private_refs[] = {"refs/bisect", "refs/worktree", "refs/rewritten"};

/* Contents over this are not searched for names of commits. */
#define SEARCH_MAX ((size_t)1 << 20)
#define PARENTS_KEPT_AS_THEY_ARE 8

static bool listed(const char *const *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

/* ---- looking -------------------------------------------------------------------- */

static bool has(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The first command of a sequencer's list: its HEAD file is gone between two steps. */
static const char *sequencer_name(int git_dir)
{
	struct fail ignored = FAIL_INIT;
	struct bytes todo = BYTES_INIT;
	const char *name = "cherry-pick";

	if (file_read(git_dir, "sequencer/todo", SEARCH_MAX, &todo, &ignored) == 0 &&
	    !strncmp(todo.data, "revert", 6))
		name = "revert";
	bytes_release(&todo);
	return name;
}

/* As git status has it: the outer one first. */
static const char *name_by_files(int git_dir)
{
	static const struct {
		const char *file, *name;
	} rows[] = {
		{"rebase-merge", "rebase"},	     {"rebase-apply/applying", "am"},
		{"rebase-apply", "rebase"},	     {"MERGE_HEAD", "merge"},
		{"CHERRY_PICK_HEAD", "cherry-pick"}, {"REVERT_HEAD", "revert"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (has(git_dir, rows[i].file))
			return rows[i].name;
	if (has(git_dir, "sequencer"))
		return sequencer_name(git_dir);
	if (has(git_dir, "BISECT_LOG") || has(git_dir, "BISECT_START"))
		return "bisect";
	return has(git_dir, "NOTES_MERGE_REF") ? "notes merge" : NULL;
}

/* Any regular file below an open directory's folder? */
static bool holds_files(int dir, const char *name)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	struct stat st;
	bool found = false;
	int fd;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		return true;
	fd = file_open_dir(dir, name, &ignored);
	if (fd < 0)
		return false;
	file_each_name(fd, &names, &ignored);
	for (char *p = names.data; !found && p < names.data + names.len; p += strlen(p) + 1)
		found = holds_files(fd, p);
	bytes_release(&names);
	close(fd);
	return found;
}

const char *operation_name(int git_dir, struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	const char *name = NULL;

	if (file_each_name(git_dir, &names, fail) == 0)
		for (char *p = names.data; !name && p < names.data + names.len; p += strlen(p) + 1)
			if (listed(state_files, ARRAY_SIZE(state_files), p) &&
			    !listed(leftovers, ARRAY_SIZE(leftovers), p))
				name = name_by_files(git_dir);
	bytes_release(&names);
	return name;
}

/* "<old> <new> <who> ..." */
bool operation_last_head(int git_dir, enum hash_algo algo, struct oid *oid)
{
	size_t hex = hash_size(algo) * 2;
	struct fail ignored = FAIL_INIT;
	struct bytes log = BYTES_INIT;
	const char *line;
	bool known = false;

	if (file_read(git_dir, "logs/HEAD", SIZE_MAX / 2, &log, &ignored) == 0) {
		bytes_chomp(&log);
		line = strrchr(log.data, '\n');
		line = line ? line + 1 : log.data;
		known = strlen(line) > 2 * hex && line[hex] == ' ' &&
			oid_parse(algo, line + hex + 1, hex, oid) && !oid_is_zero(oid);
	}
	bytes_release(&log);
	return known;
}

/* ---- refs of this worktree alone, where git keeps them in another form than files ------ */

struct own_ref {
	char *name;
	struct oid oid;
};

struct own_refs {
	struct own_ref *items;
	size_t count, cap;
};

static void own_refs_release(struct own_refs *refs)
{
	for (size_t i = 0; i < refs->count; i++)
		free(refs->items[i].name);
	free(refs->items);
	*refs = (struct own_refs){0};
}

static bool is_own_ref(const char *name)
{
	if (listed(state_files, ARRAY_SIZE(state_files), name))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(private_refs); i++)
		if (!strncmp(name, private_refs[i], strlen(private_refs[i])))
			return true;
	return false;
}

static void take_own_refs(enum hash_algo algo, char *text, struct own_refs *refs)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(line, ' ');
		struct oid oid;

		if (!name || !oid_parse(algo, line, (size_t)(name - line), &oid) ||
		    !is_own_ref(name + 1))
			continue;
		MEM_GROW(refs->items, refs->cap, refs->count + 1);
		refs->items[refs->count++] = (struct own_ref){mem_strdup(name + 1), oid};
	}
}

/* The gits that have another form than files also list what stands beside refs/. */
static int list_own_refs(struct repo *slot_repo, struct own_refs *refs, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	if (!slot_repo->refs_by_git)
		return 0;
	repo_git(slot_repo, &cmd);
	argv_push_all(&cmd.argv, "for-each-ref", "--include-root-refs",
		      "--format=%(objectname) %(refname)", NULL);
	if (spawn_capture(&cmd, &out, fail) == 0)
		take_own_refs(slot_repo->algo, out.data, refs);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

int operation_look(struct slot *slot, struct repo *slot_repo, struct operation *out,
		   struct fail *fail)
{
	struct own_refs refs = {0};

	*out = (struct operation){0};
	out->name = operation_name(slot->admin, fail);
	out->any = out->name || has(slot->admin, OPERATION_FOUND) ||
		   (!slot_repo->refs_by_git && holds_files(slot->admin, "refs"));
	if (fail->kind == 0 && list_own_refs(slot_repo, &refs, fail) == 0) {
		for (size_t i = 0; i < refs.count; i++)
			if (!listed(leftovers, ARRAY_SIZE(leftovers), refs.items[i].name))
				out->any = true;
		for (size_t i = 0; i < refs.count && !out->name; i++)
			if (!strcmp(refs.items[i].name, "CHERRY_PICK_HEAD"))
				out->name = "cherry-pick";
			else if (!strcmp(refs.items[i].name, "REVERT_HEAD"))
				out->name = "revert";
	}
	own_refs_release(&refs);
	return fail->kind;
}

/* ---- keeping: the files ------------------------------------------------------------------ */

/* The commit on its way. */
struct keeping {
	struct slot *slot;
	struct repo *repo;
	struct odb odb;
	struct snapshot_extra *extra;
	struct change *changes;
	size_t change_count, change_cap;
	struct argv
		words; /* what could be the name of a commit, each as often as it stands there */
	struct oidset seen;
	struct oid *parents;
	size_t parent_count, parent_cap;
};

static void add_object(struct snapshot_extra *extra, const struct oid *oid, enum object_type type,
		       const void *data, size_t len)
{
	struct snapshot_object *object;

	MEM_GROW(extra->objects, extra->cap, extra->count + 1);
	object = &extra->objects[extra->count++];
	*object = (struct snapshot_object){.oid = *oid, .type = type, .content = BYTES_INIT};
	bytes_add(&object->content, data, len);
}

static void add_entry(struct keeping *k, const char *path, uint32_t mode, const struct oid *oid)
{
	MEM_GROW(k->changes, k->change_cap, k->change_count + 1);
	k->changes[k->change_count++] =
		(struct change){.path = mem_strdup(path), .mode = mode, .oid = *oid};
}

static void add_blob(struct keeping *k, const char *path, const void *data, size_t len)
{
	struct oid oid;

	object_id(k->repo->algo, OBJECT_BLOB, data, len, &oid);
	if (oidset_add(&k->seen, &oid))
		add_object(k->extra, &oid, OBJECT_BLOB, data, len);
	add_entry(k, path, 0100644, &oid);
}

/* Full ids, and the short ones of lists of what is to be done. */
static void search_words(struct keeping *k, const struct bytes *text)
{
	size_t full = hash_size(k->repo->algo) * 2;
	const char *p = text->data, *end = p + text->len;

	while (p < end) {
		size_t n = strspn(p, "0123456789abcdef");

		if (n >= 7 && n <= full)
			argv_take(&k->words, mem_dup(p, n));
		p += n;
		/* The rest of a word that is none, and what stands between two words. */
		while (p < end && *p && !strchr(" \t\n\r", *p))
			p++;
		while (p < end && (!*p || strchr(" \t\n\r", *p)))
			p++;
	}
}

/* The mails of an am: numbers of lines look like short ids. */
static bool is_mail(const char *path)
{
	return !strncmp(path, "rebase-apply/", 13) &&
	       strspn(path + 13, "0123456789") == strlen(path + 13);
}

static bool is_index(const char *path)
{
	return !strcmp(path, "index") || !strncmp(path, "sharedindex.", 12) ||
	       !strcmp(path, "found/index");
}

static int add_file(struct keeping *k, int dir, const char *name, const char *path,
		    struct fail *fail)
{
	struct bytes content = BYTES_INIT;

	if (file_read(dir, name, SIZE_MAX / 2, &content, fail) == 0) {
		add_blob(k, path, content.data, content.len);
		if (content.len <= SEARCH_MAX && !is_mail(path) && !is_index(path))
			search_words(k, &content);
	}
	bytes_release(&content);
	return fail->kind;
}

/* A file, or a folder with all its files; anything else is nothing of git's. */
static int add_tree(struct keeping *k, int dir, const char *name, const char *path,
		    struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	struct stat st;
	int fd;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISREG(st.st_mode))
		return add_file(k, dir, name, path, fail);
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = file_open_dir(dir, name, fail);
	if (fd < 0)
		return fd;
	file_each_name(fd, &names, fail);
	for (char *p = names.data; fail->kind == 0 && p < names.data + names.len;
	     p += strlen(p) + 1) {
		char *below = mem_printf("%s/%s", path, p);

		if (tree_name_valid(p, strlen(p)))
			add_tree(k, fd, p, below, fail);
		free(below);
	}
	close(fd);
	bytes_release(&names);
	return fail->kind;
}

static int add_own_refs(struct keeping *k, struct fail *fail)
{
	struct own_refs refs = {0};
	char hex[OID_HEX_MAX + 1];

	if (list_own_refs(k->repo, &refs, fail) == 0)
		for (size_t i = 0; i < refs.count; i++) {
			struct bytes text = BYTES_INIT;

			bytes_addf(&text, "%s\n", oid_hex(&refs.items[i].oid, hex));
			add_blob(k, refs.items[i].name, text.data, text.len);
			search_words(k, &text);
			bytes_release(&text);
		}
	own_refs_release(&refs);
	return fail->kind;
}

/* The index itself, in one part or two. */
static int add_index(struct keeping *k, struct fail *fail)
{
	struct bytes names = BYTES_INIT;

	file_each_name(k->slot->admin, &names, fail);
	for (char *p = names.data; fail->kind == 0 && p < names.data + names.len;
	     p += strlen(p) + 1)
		if (!strcmp(p, "index") || !strncmp(p, "sharedindex.", 12))
			add_tree(k, k->slot->admin, p, p, fail);
	bytes_release(&names);
	return fail->kind;
}

static int add_admin_files(struct keeping *k, struct fail *fail)
{
	int dir = k->slot->admin;

	for (size_t i = 0; i < ARRAY_SIZE(companions); i++)
		add_tree(k, dir, companions[i], companions[i], fail);
	for (size_t i = 0; i < ARRAY_SIZE(state_files); i++)
		add_tree(k, dir, state_files[i], state_files[i], fail);
	/* With reftable a file stands where the folder would be. */
	if (fail->kind == 0 && k->repo->refs_by_git)
		add_own_refs(k, fail);
	else
		add_tree(k, dir, "refs", "refs", fail);
	return add_tree(k, dir, OPERATION_FOUND, "found", fail);
}

/* ---- keeping: unmerged entries ------------------------------------------------------------ */

/* An entry whose content is not here has its id in the raw index all the same. */
static int add_stage(struct keeping *k, unsigned stage, const char *path, uint32_t mode,
		     const struct oid *oid, struct fail *fail)
{
	char *name = mem_printf("stages/%u/%s", stage, path);
	struct bytes content = BYTES_INIT;
	int r = 0;

	if (tree_mode_is_gitlink(mode)) {
		add_entry(k, name, mode, oid);
	} else if ((r = odb_read_type(&k->odb, oid, OBJECT_BLOB, &content, fail)) == 0) {
		add_blob(k, name, content.data, content.len);
		k->changes[k->change_count - 1].mode = mode;
	} else if (r == FAIL_GONE) {
		fail_clear(fail);
	}
	bytes_release(&content);
	free(name);
	return fail->kind;
}

/* "<mode> <id> <stage>\t<path>" */
static int add_listed_stage(struct keeping *k, const char *line, struct fail *fail)
{
	const char *path = strchr(line, '\t');
	const char *hex = strchr(line, ' ');
	struct oid oid;

	if (!path || !hex || path - hex < 3 ||
	    !oid_parse(k->repo->algo, hex + 1, (size_t)(path - hex - 3), &oid))
		return fail_set(fail, FAIL_FATAL, "git ls-files: unexpected answer");
	return add_stage(k, (unsigned)(path[-1] - '0'), path + 1, (uint32_t)strtoul(line, NULL, 8),
			 &oid, fail);
}

static int add_stages(struct keeping *k, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	repo_git(k->repo, &cmd);
	argv_push_all(&cmd.argv, "ls-files", "-z", "--unmerged", NULL);
	if (spawn_capture(&cmd, &out, fail) == 0)
		for (char *p = out.data; fail->kind == 0 && p < out.data + out.len;
		     p += strlen(p) + 1)
			add_listed_stage(k, p, fail);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* ---- keeping: the tree and the commit ----------------------------------------------------- */

static int compare_changes(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

static int take_tree(void *arg, const struct oid *oid, enum object_type type,
		     UNUSED const char *path, UNUSED uint32_t mode, UNUSED struct fail *fail)
{
	struct keeping *k = arg;
	const struct bytes *content = type == OBJECT_TREE ? treebag_get(k->odb.bag, oid) : NULL;

	if (content)
		add_object(k->extra, oid, OBJECT_TREE, content->data, content->len);
	return 0;
}

static int make_tree(struct keeping *k, struct fail *fail)
{
	struct oid none;

	oid_zero(k->repo->algo, &none);
	if (k->change_count)
		qsort(k->changes, k->change_count, sizeof(*k->changes), compare_changes);
	if (tree_edit(&k->odb, &none, k->changes, k->change_count, k->odb.bag, &k->extra->tree,
		      fail) < 0)
		return fail->kind;
	return tree_missing(&k->odb, &k->extra->tree, NULL, 0, take_tree, k, fail);
}

static void add_parent(struct keeping *k, const struct oid *oid)
{
	for (size_t i = 0; i < k->parent_count; i++)
		if (oid_equal(&k->parents[i], oid))
			return;
	MEM_GROW(k->parents, k->parent_cap, k->parent_count + 1);
	k->parents[k->parent_count++] = *oid;
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* git says which of the words are commits. */
static int find_parents(struct keeping *k, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes input = BYTES_INIT, out = BYTES_INIT;
	char *save = NULL;

	if (k->words.count > 1)
		qsort(k->words.items, k->words.count, sizeof(char *), compare_words);
	for (size_t i = 0; i < k->words.count; i++)
		if (!i || strcmp(k->words.items[i - 1], k->words.items[i]) != 0)
			bytes_addf(&input, "%s\n", k->words.items[i]);
	if (!input.len)
		return 0;
	repo_git(k->repo, &cmd);
	argv_push_all(&cmd.argv, "cat-file", "--batch-check=%(objectname) %(objecttype)", NULL);
	/* What is not here needs no keeping. */
	argv_push(&cmd.env, "GIT_NO_LAZY_FETCH=1");
	cmd.input = input.data;
	cmd.input_len = input.len;
	if (spawn_capture(&cmd, &out, fail) == 0)
		for (char *line = strtok_r(out.data, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save)) {
			char *type = strchr(line, ' ');
			struct oid oid;

			if (type && !strcmp(type, " commit") &&
			    oid_parse(k->repo->algo, line, (size_t)(type - line), &oid))
				add_parent(k, &oid);
		}
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}

/* Of many commits, those that no other one of them has as its ancestor. */
static int reduce_parents(struct keeping *k, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	char hex[OID_HEX_MAX + 1], *save = NULL;

	if (k->parent_count <= PARENTS_KEPT_AS_THEY_ARE)
		return 0;
	repo_git(k->repo, &cmd);
	argv_push_all(&cmd.argv, "merge-base", "--independent", NULL);
	for (size_t i = 0; i < k->parent_count; i++)
		argv_push(&cmd.argv, oid_hex(&k->parents[i], hex));
	if (spawn_capture(&cmd, &out, fail) == 0) {
		k->parent_count = 0;
		for (char *line = strtok_r(out.data, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save)) {
			struct oid oid;

			if (oid_parse(k->repo->algo, line, strlen(line), &oid))
				add_parent(k, &oid);
		}
	}
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

static int make_commit(struct keeping *k, const char *name, struct fail *fail)
{
	char *message =
		name ? mem_printf("unfinished %s\n", name) : mem_strdup("state of a worktree\n");
	struct bytes content = BYTES_INIT;

	if (commit_format(k->repo, &k->extra->tree, k->parents, k->parent_count, message, &content,
			  fail) == 0) {
		object_id(k->repo->algo, OBJECT_COMMIT, content.data, content.len,
			  &k->extra->commit);
		add_object(k->extra, &k->extra->commit, OBJECT_COMMIT, content.data, content.len);
	}
	bytes_release(&content);
	free(message);
	return fail->kind;
}

int operation_keep(struct slot *slot, struct repo *slot_repo, const struct oid *also,
		   struct operation *out, struct fail *fail)
{
	struct keeping k = {.slot = slot, .repo = slot_repo, .extra = &out->extra};

	odb_init(&k.odb, slot_repo);
	k.odb.bag = treebag_new(slot_repo->algo);
	if (also)
		add_parent(&k, also);
	if (add_admin_files(&k, fail) == 0 &&
	    ((!out->name && !out->unmerged) || add_index(&k, fail) == 0) &&
	    (!out->unmerged || add_stages(&k, fail) == 0) && make_tree(&k, fail) == 0 &&
	    find_parents(&k, fail) == 0 && reduce_parents(&k, fail) == 0)
		make_commit(&k, out->name, fail);
	for (size_t i = 0; i < k.change_count; i++)
		free(k.changes[i].path);
	free(k.changes);
	free(k.parents);
	argv_release(&k.words);
	oidset_release(&k.seen);
	treebag_free(k.odb.bag);
	odb_release(&k.odb);
	return fail->kind;
}

void operation_release(struct operation *operation)
{
	for (size_t i = 0; i < operation->extra.count; i++)
		bytes_release(&operation->extra.objects[i].content);
	free(operation->extra.objects);
	*operation = (struct operation){0};
}

/* ---- clearing ---------------------------------------------------------------------------------
 */

static int delete_own_refs(struct repo *slot_repo, struct fail *fail)
{
	struct own_refs refs = {0};
	struct spawn cmd = SPAWN_INIT;
	struct bytes input = BYTES_INIT, out = BYTES_INIT;

	if (list_own_refs(slot_repo, &refs, fail) == 0 && refs.count) {
		for (size_t i = 0; i < refs.count; i++)
			bytes_addf(&input, "delete %s\n", refs.items[i].name);
		repo_git(slot_repo, &cmd);
		argv_push_all(&cmd.argv, "update-ref", "--no-deref", "--stdin", NULL);
		cmd.input = input.data;
		cmd.input_len = input.len;
		spawn_capture(&cmd, &out, fail);
	}
	own_refs_release(&refs);
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}

int operation_clear(struct slot *slot, struct repo *slot_repo, struct fail *fail)
{
	struct bytes names = BYTES_INIT;

	file_each_name(slot->admin, &names, fail);
	for (char *p = names.data; fail->kind == 0 && p < names.data + names.len;
	     p += strlen(p) + 1)
		if (listed(state_files, ARRAY_SIZE(state_files), p) ||
		    (!strcmp(p, "refs") && !slot_repo->refs_by_git))
			erase_tree(slot->admin, p, fail);
	bytes_release(&names);
	if (fail->kind)
		return fail_context(fail, "end what is unfinished in '%s'", slot->name);
	return delete_own_refs(slot_repo, fail);
}
