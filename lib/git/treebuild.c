/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Both builders are one merge of two sorted streams, directory by directory:
 * what is there (index entries below a prefix, or the entries of a tree object)
 * and the changes below that prefix. Index entries and changes are sorted by
 * their full path, which is the order of trees at every level: an entry in the
 * directory `a` has "a/" at the place where the file `a` has its end.
 */
#include "tree.h"

#include <stdlib.h>
#include <string.h>

/* One name of a directory. */
struct item {
	const char *name;
	size_t len;
	bool is_dir;
	uint32_t mode;	 /* of a file; canonical */
	struct oid oid;	 /* of a file, or of a subtree when it is known */
	bool is_changed; /* from a change */
};

enum source_kind {
	SOURCE_NONE,
	SOURCE_INDEX,
	SOURCE_TREE
};

/* What a directory holds already. */
struct source {
	enum source_kind kind;
	bool live; /* `item` is the next one */
	struct item item;

	/* an index: the position is build.at, shared by all levels */
	const struct index_tree *node;	    /* this directory's; may be NULL */
	const struct index_tree **by_order; /* its subtrees when they were not in git's order */
	bool order_known;

	/* a tree object */
	struct bytes content;
	struct tree_walk walk;
};

/* A file that was emitted and whose name may turn up again as a directory. */
struct candidate {
	struct item item;
	size_t from, to; /* its bytes in `out` */
};

/* The tree object that is being written. */
struct level {
	struct bytes out;
	struct item last; /* name NULL: nothing yet */
	struct candidate *stack;
	size_t depth, cap;
};

struct build {
	const struct index *index;
	uint32_t at; /* the next index entry */
	struct odb *odb;
	struct treebag *bag;
	enum hash_algo algo;
	const struct change *changes;
	unsigned depth;
	struct fail *fail;
};

/* The directory that is being built: changes [from, to) are below `prefix`, which ends in '/'. */
struct place {
	const char *prefix; /* any path that starts with it */
	size_t len;
	size_t from, to;
};

/* ---- writing one tree object --------------------------------------------------------- */

static const char *mode_text(uint32_t mode)
{
	switch (mode) {
	case 0100644:
		return "100644 ";
	case 0100755:
		return "100755 ";
	case 0120000:
		return "120000 ";
	case 040000:
		return "40000 ";
	}
	return "160000 ";
}

static int bad_place(const struct build *b, const struct place *place, const struct item *item,
		     const char *why)
{
	return fail_set(b->fail, FAIL_CORRUPT, "'%.*s%.*s' %s", (int)size_min(place->len, 300),
			place->len ? place->prefix : "", (int)size_min(item->len, 300), item->name,
			why);
}

/*
 * The emitted file of the same name as the directory `name`, or NULL. Names that
 * are no beginning of `name` cannot meet a later one and are dropped.
 */
static struct candidate *same_name(struct level *level, const char *name, size_t len)
{
	while (level->depth) {
		struct candidate *top = &level->stack[level->depth - 1];

		if (top->item.len <= len && !memcmp(top->item.name, name, top->item.len))
			return top->item.len == len ? top : NULL;
		level->depth--;
	}
	return NULL;
}

static void level_withdraw(struct level *level, const struct candidate *file)
{
	size_t removed = file->to - file->from;

	memmove(level->out.data + file->from, level->out.data + file->to,
		level->out.len - file->to);
	bytes_truncate(&level->out, level->out.len - removed);
	/* `file` is on top of the stack: no candidate has bytes behind it. */
	level->depth--;
}

static int level_add(struct build *b, const struct place *place, struct level *level,
		     const struct item *item)
{
	const struct item *last = &level->last;
	size_t from = level->out.len;

	if (!tree_name_valid(item->name, item->len))
		return bad_place(b, place, item, "cannot be in a tree");
	if (last->name && tree_name_compare(last->name, last->len, last->is_dir, item->name,
					    item->len, item->is_dir) >= 0)
		return bad_place(b, place, item, "is out of order");
	bytes_adds(&level->out, mode_text(item->is_dir ? 040000 : item->mode));
	bytes_add(&level->out, item->name, item->len);
	bytes_addc(&level->out, '\0');
	bytes_add(&level->out, item->oid.raw, hash_size(b->algo));
	level->last = *item;
	if (!item->is_dir) {
		(void)same_name(level, item->name, item->len);
		MEM_GROW(level->stack, level->cap, level->depth + 1);
		level->stack[level->depth++] = (struct candidate){*item, from, level->out.len};
	}
	return 0;
}

/* A directory that turned out to hold something; `is_changed`: a change adds to it. */
static int level_add_dir(struct build *b, const struct place *place, struct level *level,
			 const struct item *dir)
{
	struct candidate *file = same_name(level, dir->name, dir->len);

	if (file && file->item.is_changed == dir->is_changed)
		return bad_place(b, place, dir, "is both a file and a directory");
	if (file && file->item.is_changed)
		return 0;
	if (file)
		level_withdraw(level, file);
	return level_add(b, place, level, dir);
}

static void level_release(struct level *level)
{
	bytes_release(&level->out);
	free(level->stack);
}

/* ---- the cache-tree --------------------------------------------------------------------- */

/* git's order of a node's subtrees: shorter names first. */
static int node_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	return memcmp(a, b, a_len);
}

static int compare_nodes(const void *a, const void *b)
{
	const struct index_tree *const *x = a, *const *y = b;

	return node_compare((*x)->name, (*x)->name_len, (*y)->name, (*y)->name_len);
}

/* Other writers than git may have another order: then look through a sorted copy. */
static void find_order(struct source *src)
{
	const struct index_tree *sub = src->node->subtrees;
	size_t count = src->node->subtree_count;
	bool sorted = true;

	for (size_t i = 1; i < count && sorted; i++)
		sorted = node_compare(sub[i - 1].name, sub[i - 1].name_len, sub[i].name,
				      sub[i].name_len) < 0;
	src->order_known = true;
	if (sorted)
		return;
	src->by_order = mem_array(count, sizeof(struct index_tree *));
	for (size_t i = 0; i < count; i++)
		src->by_order[i] = &sub[i];
	qsort(src->by_order, count, sizeof(struct index_tree *), compare_nodes);
}

static const struct index_tree *find_node(struct source *src, const char *name, size_t len)
{
	size_t low = 0, high = src->node ? src->node->subtree_count : 0;

	if (!high)
		return NULL;
	if (!src->order_known)
		find_order(src);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct index_tree *node =
			src->by_order ? src->by_order[middle] : &src->node->subtrees[middle];
		int order = node_compare(name, len, node->name, node->name_len);

		if (!order)
			return node;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* A name that ends where the prefix does is bad, and is found to be so inside the directory. */
static bool below(const struct index_entry *entry, const char *prefix, size_t len)
{
	return entry->name_len >= len && !memcmp(entry->name, prefix, len);
}

/*
 * May the node's id stand for the entries from b->at on that start with the
 * prefix? git keeps no valid node over intent-to-add or unmerged entries; that
 * its count ends where the directory ends is checked here.
 */
static bool node_usable(const struct build *b, const struct index_tree *node, const char *prefix,
			size_t len)
{
	const struct index_entry *entries = b->index->entries;
	uint32_t count;

	if (!node || node->entry_count < 0 || !node->oid)
		return false;
	count = (uint32_t)node->entry_count;
	if (count > b->index->count - b->at)
		return false;
	if (count && !below(&entries[b->at + count - 1], prefix, len))
		return false;
	return b->at + count == b->index->count || !below(&entries[b->at + count], prefix, len);
}

/* ---- what is there already ---------------------------------------------------------------- */

static int load_index_item(struct build *b, const struct place *place, struct source *src)
{
	const struct index_entry *entry = NULL;
	const char *slash;
	struct item *item = &src->item;

	for (src->live = false; b->at < b->index->count; b->at++) {
		entry = &b->index->entries[b->at];
		if (!below(entry, place->prefix, place->len))
			return 0;
		if (entry->stage == 0 && !entry->intent_to_add)
			break;
	}
	if (b->at == b->index->count)
		return 0;
	*item = (struct item){.name = entry->name + place->len,
			      .len = entry->name_len - place->len};
	slash = memchr(item->name, '/', item->len);
	if (slash) {
		item->len = (size_t)(slash - item->name);
		item->is_dir = true;
	} else {
		item->mode = tree_mode_canonical(entry->mode);
		oid_from_raw(b->algo, entry->oid, &item->oid);
		if (!item->mode || tree_mode_is_dir(item->mode))
			return bad_place(b, place, item, "has an impossible mode in the index");
	}
	src->live = true;
	return 0;
}

static int load_tree_item(struct build *b, struct source *src)
{
	struct tree_entry entry;
	int r = tree_walk_next(&src->walk, &entry, b->fail);

	src->live = r == 1;
	if (src->live)
		src->item = (struct item){
			.name = entry.name,
			.len = entry.name_len,
			.is_dir = tree_mode_is_dir(entry.mode),
			.mode = entry.mode,
			.oid = entry.oid,
		};
	return r < 0 ? r : 0;
}

/* Makes src->item the next item that nothing has consumed yet. */
static int load(struct build *b, const struct place *place, struct source *src)
{
	switch (src->kind) {
	case SOURCE_INDEX:
		return load_index_item(b, place, src);
	case SOURCE_TREE:
		return load_tree_item(b, src);
	case SOURCE_NONE:
		break;
	}
	src->live = false;
	return 0;
}

/* Moves over the present item; a directory of the index was moved over by its own level. */
static int skip(struct build *b, const struct place *place, struct source *src)
{
	if (src->kind == SOURCE_INDEX && !src->item.is_dir)
		b->at++;
	return load(b, place, src);
}

static void source_release(struct source *src)
{
	bytes_release(&src->content);
	free(src->by_order);
}

static int open_tree(struct build *b, const struct oid *oid, struct source *src)
{
	src->kind = SOURCE_TREE;
	if (odb_read_type(b->odb, oid, OBJECT_TREE, &src->content, b->fail) < 0)
		return b->fail->kind;
	tree_walk_init(&src->walk, b->algo, &src->content);
	return 0;
}

/* ---- the merge ------------------------------------------------------------------------------- */

static int build_dir(struct build *b, const struct place *place, struct source *src,
		     struct oid *oid, bool *empty);

static struct item change_item(const struct build *b, const struct place *place)
{
	const struct change *change = &b->changes[place->from];
	struct item item = {.name = change->path + place->len,
			    .mode = tree_mode_canonical(change->mode),
			    .oid = change->oid,
			    .is_changed = true};

	item.len = strcspn(item.name, "/");
	item.is_dir = item.name[item.len] == '/';
	return item;
}

/* The changes below a directory of `place`, which come first in it; says whether one adds. */
static struct place enter_changes(const struct build *b, const struct place *place,
				  const struct item *dir, bool *adds)
{
	struct place sub = {.prefix = b->changes[place->from].path,
			    .len = place->len + dir->len + 1,
			    .from = place->from,
			    .to = place->from};

	for (; sub.to < place->to; sub.to++) {
		const struct change *change = &b->changes[sub.to];

		if (strncmp(change->path, sub.prefix, sub.len) != 0)
			break;
		*adds |= change->mode != 0;
	}
	return sub;
}

/* A directory of the index, or of neither: `sub` says which changes are in it. */
static int build_sub_index(struct build *b, const struct place *sub, struct source *parent,
			   struct item *dir, bool *empty)
{
	struct source src = {.kind = SOURCE_INDEX, .content = BYTES_INIT};
	int r;

	src.node = find_node(parent, dir->name, dir->len);
	if (sub->from == sub->to && node_usable(b, src.node, sub->prefix, sub->len)) {
		oid_from_raw(b->algo, src.node->oid, &dir->oid);
		b->at += (uint32_t)src.node->entry_count;
		return 0;
	}
	r = build_dir(b, sub, &src, &dir->oid, empty);
	source_release(&src);
	return r;
}

static int build_sub_tree(struct build *b, const struct place *sub, bool there, struct item *dir,
			  bool *empty)
{
	struct source src = {.kind = SOURCE_NONE, .content = BYTES_INIT};
	int r = 0;

	if (sub->from == sub->to) {
		/* git never writes an empty tree into another one. */
		*empty = oid_equal(&dir->oid, oid_empty_tree(b->algo));
		return 0;
	}
	if (there)
		r = open_tree(b, &dir->oid, &src);
	if (r == 0)
		r = build_dir(b, sub, &src, &dir->oid, empty);
	source_release(&src);
	return r;
}

/* `order`: < 0 only there already, > 0 only in the changes, 0 in both. */
static int merge_dir(struct build *b, struct place *place, struct source *src, struct level *level,
		     int order)
{
	struct item dir = order <= 0 ? src->item : change_item(b, place);
	struct place sub = {.len = place->len + dir.len + 1};
	bool empty = false;
	int r;

	dir.is_changed = false;
	if (order >= 0)
		sub = enter_changes(b, place, &dir, &dir.is_changed);
	else if (src->kind == SOURCE_INDEX)
		sub.prefix = b->index->entries[b->at].name;
	if (order <= 0 && src->kind == SOURCE_INDEX)
		r = build_sub_index(b, &sub, src, &dir, &empty);
	else
		r = build_sub_tree(b, &sub, order <= 0, &dir, &empty);
	if (order >= 0)
		place->from = sub.to;
	if (r == 0 && !empty)
		r = level_add_dir(b, place, level, &dir);
	return r;
}

static int merge_file(struct build *b, struct place *place, const struct source *src,
		      struct level *level, int order)
{
	struct item file;

	if (order < 0)
		return level_add(b, place, level, &src->item);
	file = change_item(b, place);
	if (b->changes[place->from].mode && (!file.mode || tree_mode_is_dir(file.mode)))
		return bad_place(b, place, &file, "has an impossible mode");
	place->from++;
	return file.mode ? level_add(b, place, level, &file) : 0;
}

static int merge_next(struct build *b, struct place *place, struct source *src, struct level *level)
{
	int order = -1;
	bool is_dir = src->item.is_dir;
	int r;

	if (place->from < place->to) {
		struct item change = change_item(b, place);

		order = !src->live ? 1
				   : tree_name_compare(src->item.name, src->item.len, is_dir,
						       change.name, change.len, change.is_dir);
		if (order > 0)
			is_dir = change.is_dir;
	}
	if (is_dir)
		r = merge_dir(b, place, src, level, order);
	else
		r = merge_file(b, place, src, level, order);
	if (r == 0 && order <= 0)
		r = skip(b, place, src);
	return r;
}

/* Builds the tree of one directory; `empty` when nothing is left in it. */
static int build_dir(struct build *b, const struct place *here, struct source *src, struct oid *oid,
		     bool *empty)
{
	struct place place = *here;
	struct level level = {.out = BYTES_INIT};
	int r;

	if (++b->depth > TREE_MAX_DEPTH)
		return fail_set(b->fail, FAIL_CORRUPT,
				"directories are nested too deep at '%.*s...'",
				(int)size_min(place.len, 200), place.prefix);
	r = load(b, &place, src);
	while (r == 0 && (src->live || place.from < place.to))
		r = merge_next(b, &place, src, &level);
	*empty = !level.out.len;
	if (r == 0)
		treebag_put(b->bag, level.out.data, level.out.len, oid);
	level_release(&level);
	b->depth--;
	return r;
}

/* ---- from outside -----------------------------------------------------------------------------
 */

static int check_sorted(const struct change *changes, size_t count, struct fail *fail)
{
	for (size_t i = 1; i < count; i++)
		if (strcmp(changes[i - 1].path, changes[i].path) >= 0)
			return fail_set(fail, FAIL_FATAL, "changes are not sorted at '%.200s'",
					changes[i].path);
	return 0;
}

int tree_from_index(const struct index *index, const struct change *changes, size_t count,
		    struct treebag *bag, struct oid *tree, struct fail *fail)
{
	struct build b = {.index = index,
			  .bag = bag,
			  .algo = treebag_algo(bag),
			  .changes = changes,
			  .fail = fail};
	struct source src = {.kind = SOURCE_INDEX, .node = index->tree, .content = BYTES_INIT};
	struct place top = {.prefix = "", .to = count};
	bool empty;
	int r;

	if (check_sorted(changes, count, fail) < 0)
		return fail->kind;
	if (!count && node_usable(&b, index->tree, "", 0)) {
		oid_from_raw(b.algo, index->tree->oid, tree);
		return 0;
	}
	r = build_dir(&b, &top, &src, tree, &empty);
	if (r == 0 && b.at != index->count)
		r = fail_set(fail, FAIL_CORRUPT, "the index is not sorted");
	source_release(&src);
	return r;
}

int tree_edit(struct odb *odb, const struct oid *base, const struct change *changes, size_t count,
	      struct treebag *bag, struct oid *tree, struct fail *fail)
{
	struct build b = {.odb = odb,
			  .bag = bag,
			  .algo = treebag_algo(bag),
			  .changes = changes,
			  .fail = fail};
	struct source src = {.kind = SOURCE_NONE, .content = BYTES_INIT};
	struct place top = {.prefix = "", .to = count};
	bool empty;
	int r = 0;

	if (check_sorted(changes, count, fail) < 0)
		return fail->kind;
	if (!count && !oid_is_zero(base)) {
		*tree = *base;
		return 0;
	}
	if (!oid_is_zero(base))
		r = open_tree(&b, base, &src);
	if (r == 0)
		r = build_dir(&b, &top, &src, tree, &empty);
	source_release(&src);
	return r;
}
