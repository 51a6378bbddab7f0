/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "tree.h"

#include "oidset.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- entries ------------------------------------------------------------------- */

bool tree_name_valid(const char *name, size_t len)
{
	if (!len || memchr(name, '/', len) || memchr(name, '\0', len))
		return false;
	if (name[0] != '.')
		return true;
	if (len == 1 || (len == 2 && name[1] == '.'))
		return false;
	return len != 4 || strncasecmp(name, ".git", 4) != 0;
}

int tree_name_compare(const char *a, size_t a_len, bool a_is_dir, const char *b, size_t b_len,
		      bool b_is_dir)
{
	size_t common = size_min(a_len, b_len);
	int order = memcmp(a, b, common);
	unsigned char next_a, next_b;

	if (order)
		return order;
	next_a = a_len > common ? (unsigned char)a[common] : a_is_dir ? '/' : '\0';
	next_b = b_len > common ? (unsigned char)b[common] : b_is_dir ? '/' : '\0';
	return (int)next_a - (int)next_b;
}

uint32_t tree_mode_canonical(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return mode & S_IXUSR ? 0100755 : 0100644;
	case S_IFLNK:
		return 0120000;
	case S_IFDIR:
		return 040000;
	case 0160000:
		return 0160000;
	}
	return 0;
}

void tree_walk_init(struct tree_walk *walk, enum hash_algo algo, const struct bytes *content)
{
	*walk = (struct tree_walk){
		.at = content->data, .end = content->data + content->len, .algo = algo};
}

/* The octal mode up to the blank; NULL when it is none. */
static const char *parse_mode(const char *p, const char *end, uint32_t *mode)
{
	const char *start = p;

	for (*mode = 0; p < end && *p >= '0' && *p <= '7'; p++) {
		*mode = *mode << 3 | (uint32_t)(*p - '0');
		if (*mode > 0177777)
			return NULL;
	}
	*mode = tree_mode_canonical(*mode);
	return p > start && p < end && *p == ' ' && *mode ? p + 1 : NULL;
}

int tree_walk_next(struct tree_walk *walk, struct tree_entry *entry, struct fail *fail)
{
	const char *name, *nul;
	bool is_dir;

	if (walk->at == walk->end)
		return 0;
	name = parse_mode(walk->at, walk->end, &entry->mode);
	if (!name)
		return fail_set(fail, FAIL_CORRUPT, "an entry has an impossible mode");
	nul = memchr(name, '\0', (size_t)(walk->end - name));
	if (!nul || (size_t)(walk->end - nul - 1) < hash_size(walk->algo))
		return fail_set(fail, FAIL_CORRUPT, "an entry is cut off");
	entry->name = name;
	entry->name_len = (size_t)(nul - name);
	is_dir = tree_mode_is_dir(entry->mode);
	if (!tree_name_valid(name, entry->name_len))
		return fail_set(fail, FAIL_CORRUPT, "an entry has the forbidden name '%s'", name);
	if (walk->last && tree_name_compare(walk->last, walk->last_len, walk->last_is_dir, name,
					    entry->name_len, is_dir) >= 0)
		return fail_set(fail, FAIL_CORRUPT, "the entry '%s' is out of order", name);
	oid_from_raw(walk->algo, nul + 1, &entry->oid);
	walk->at = nul + 1 + hash_size(walk->algo);
	walk->last = name;
	walk->last_len = entry->name_len;
	walk->last_is_dir = is_dir;
	return 1;
}

/* ---- a tree that is read entry by entry ------------------------------------------ */

struct cursor {
	struct oid tree;
	struct bytes content;
	struct tree_walk walk;
	struct tree_entry entry; /* meaningful while `live` */
	bool live;
};

static int cursor_next(struct cursor *c, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	int r = tree_walk_next(&c->walk, &c->entry, fail);

	c->live = r == 1;
	if (r < 0)
		return fail_context(fail, "tree %s", oid_hex(&c->tree, hex));
	return 0;
}

/* Stands on the first entry afterwards. A zero id is an empty tree. */
static int cursor_open(struct cursor *c, struct odb *odb, const struct oid *tree, struct fail *fail)
{
	*c = (struct cursor){.tree = *tree, .content = BYTES_INIT};
	if (oid_is_zero(tree))
		return 0;
	if (odb_read_type(odb, tree, OBJECT_TREE, &c->content, fail) < 0)
		return fail->kind;
	tree_walk_init(&c->walk, (enum hash_algo)tree->algo, &c->content);
	return cursor_next(c, fail);
}

static void cursor_close(struct cursor *c)
{
	bytes_release(&c->content);
	c->live = false;
}

static int cursor_compare(const struct cursor *a, const struct cursor *b)
{
	return tree_name_compare(a->entry.name, a->entry.name_len, tree_mode_is_dir(a->entry.mode),
				 b->entry.name, b->entry.name_len, tree_mode_is_dir(b->entry.mode));
}

/* Appends a component to the path; returns the length to go back to. */
static size_t path_enter(struct bytes *path, const char *name, size_t len)
{
	size_t before = path->len;

	if (before)
		bytes_addc(path, '/');
	bytes_add(path, name, len);
	return before;
}

static int too_deep(const struct bytes *path, struct fail *fail)
{
	return fail_set(fail, FAIL_CORRUPT, "directories are nested too deep at '%.200s'",
			path->data);
}

/* ---- lookup ------------------------------------------------------------------------ */

/* The entry called name[0..len) in a tree. */
static int lookup_one(struct odb *odb, const struct oid *tree, const char *name, size_t len,
		      struct tree_entry *out, struct fail *fail)
{
	struct cursor c;
	int r = cursor_open(&c, odb, tree, fail);

	while (r == 0 && c.live &&
	       (c.entry.name_len != len || memcmp(c.entry.name, name, len) != 0))
		r = cursor_next(&c, fail);
	if (r == 0 && !c.live)
		r = fail_set(fail, FAIL_GONE, "no entry '%.*s'", (int)size_min(len, 200), name);
	if (r == 0) {
		*out = c.entry;
		out->name = name;
	}
	cursor_close(&c);
	return r;
}

int tree_lookup(struct odb *odb, const struct oid *tree, const char *path, struct tree_entry *out,
		struct fail *fail)
{
	const char *p = path;

	*out = (struct tree_entry){.mode = 040000, .name = path, .oid = *tree};
	while (*p) {
		size_t len = strcspn(p, "/");

		if (!tree_mode_is_dir(out->mode) || !tree_name_valid(p, len) ||
		    (p[len] && !p[len + 1]))
			return fail_set(fail, FAIL_GONE, "no entry '%.200s' in the tree", path);
		if (lookup_one(odb, &out->oid, p, len, out, fail) < 0)
			return fail->kind;
		p += len + (p[len] == '/');
	}
	return 0;
}

/* ---- difference ---------------------------------------------------------------------- */

struct diff {
	struct odb *odb;
	tree_visit *visit;
	void *arg;
	struct bytes path;
	unsigned depth;
	struct oid zero;
	struct fail *fail;
};

static int diff_trees(struct diff *d, const struct oid *a, const struct oid *b);

/* One name that is in `a`, in `b`, or in both with the same kind; NULL: not there. */
static int diff_entry(struct diff *d, const struct tree_entry *a, const struct tree_entry *b)
{
	const struct tree_entry *any = a ? a : b;
	const struct oid *oid_a = a ? &a->oid : &d->zero;
	const struct oid *oid_b = b ? &b->oid : &d->zero;
	size_t before;
	int r;

	if (a && b && a->mode == b->mode && oid_equal(oid_a, oid_b))
		return 0;
	before = path_enter(&d->path, any->name, any->name_len);
	if (tree_mode_is_dir(any->mode))
		r = diff_trees(d, oid_a, oid_b);
	else
		r = d->visit(d->arg, d->path.data, a ? a->mode : 0, oid_a, b ? b->mode : 0, oid_b,
			     d->fail);
	bytes_truncate(&d->path, before);
	return r < 0 ? r : 0;
}

static int diff_trees(struct diff *d, const struct oid *a, const struct oid *b)
{
	struct cursor left = {.content = BYTES_INIT}, right = {.content = BYTES_INIT};
	int r;

	if (++d->depth > TREE_MAX_DEPTH)
		return too_deep(&d->path, d->fail);
	r = cursor_open(&left, d->odb, a, d->fail);
	if (r == 0)
		r = cursor_open(&right, d->odb, b, d->fail);
	while (r == 0 && (left.live || right.live)) {
		int order = !left.live ? 1 : !right.live ? -1 : cursor_compare(&left, &right);

		r = diff_entry(d, order <= 0 ? &left.entry : NULL,
			       order >= 0 ? &right.entry : NULL);
		if (r == 0 && order <= 0)
			r = cursor_next(&left, d->fail);
		if (r == 0 && order >= 0)
			r = cursor_next(&right, d->fail);
	}
	cursor_close(&left);
	cursor_close(&right);
	d->depth--;
	return r;
}

int tree_diff(struct odb *odb, const struct oid *a, const struct oid *b, tree_visit *visit,
	      void *arg, struct fail *fail)
{
	struct diff d = {.odb = odb, .visit = visit, .arg = arg, .path = BYTES_INIT, .fail = fail};
	int r = 0;

	oid_zero((enum hash_algo)(a->algo ? a->algo : b->algo), &d.zero);
	if (!oid_equal(a, b))
		r = diff_trees(&d, a, b);
	bytes_release(&d.path);
	return r;
}

/* ---- what a checkpoint must bring along ------------------------------------------------ */

/*
 * When this many objects have been given, the whole of `have` is read once. A
 * few objects too many cost less than that; a mass rename costs far more.
 */
#define MISSING_BEFORE_REACH 512

struct missing {
	struct odb *odb;
	const struct oid *have;
	size_t have_count;
	tree_need *need;
	void *arg;
	struct oidset given;
	struct oidset reachable; /* from `have`; filled once `given` is large */
	bool reached;
	struct bytes path;
	unsigned depth;
	struct fail *fail;
};

/* A `have` that cannot be read holds nothing; other failures stay. */
static int have_result(int r, struct fail *fail)
{
	if (r != FAIL_GONE && r != FAIL_CORRUPT)
		return r;
	fail_clear(fail);
	return 0;
}

/* Adds a tree and what is directly in it; pushes its subtrees. */
static int reach_tree(struct missing *m, const struct oid *tree, struct oid **stack, size_t *count,
		      size_t *cap)
{
	struct cursor c;
	int r;

	if (oid_is_zero(tree) || oidset_has(&m->reachable, tree))
		return 0;
	r = cursor_open(&c, m->odb, tree, m->fail);
	if (r == 0)
		oidset_add(&m->reachable, tree);
	while (r == 0 && c.live) {
		if (tree_mode_is_dir(c.entry.mode)) {
			MEM_GROW(*stack, *cap, *count + 1);
			(*stack)[(*count)++] = c.entry.oid;
		} else if (!tree_mode_is_gitlink(c.entry.mode)) {
			oidset_add(&m->reachable, &c.entry.oid);
		}
		r = cursor_next(&c, m->fail);
	}
	cursor_close(&c);
	return have_result(r, m->fail);
}

static int reach_all(struct missing *m)
{
	struct oid *stack = NULL;
	size_t count = 0, cap = 0;
	int r = 0;

	m->reached = true;
	for (size_t i = 0; r == 0 && i < m->have_count; i++) {
		r = reach_tree(m, &m->have[i], &stack, &count, &cap);
		while (r == 0 && count) {
			struct oid next = stack[--count];

			r = reach_tree(m, &next, &stack, &count, &cap);
		}
	}
	free(stack);
	return r;
}

/* 1: given now, so that a tree is to be descended; 0: known already. */
static int give(struct missing *m, const struct oid *oid, uint32_t mode)
{
	enum object_type type = tree_mode_is_dir(mode) ? OBJECT_TREE : OBJECT_BLOB;
	int r;

	if (!m->reached && m->given.count >= MISSING_BEFORE_REACH && reach_all(m) < 0)
		return m->fail->kind;
	if (oidset_has(&m->reachable, oid) || !oidset_add(&m->given, oid))
		return 0;
	r = m->need(m->arg, oid, type, m->path.data, mode, m->fail);
	return r < 0 ? r : 1;
}

/*
 * Moves each `have` up to the entry's name. True when one of them has this very
 * object there; else the subtrees at that place are put in `below`.
 */
static bool covered(struct missing *m, const struct cursor *at, struct cursor *have, size_t count,
		    struct oid *below, size_t *below_count)
{
	const struct tree_entry *want = &at->entry;

	*below_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct cursor *h = &have[i];
		int order = -1;

		while (h->live && (order = cursor_compare(h, at)) < 0)
			(void)have_result(cursor_next(h, m->fail), m->fail);
		if (!h->live || order || tree_mode_is_gitlink(h->entry.mode))
			continue;
		if (oid_equal(&h->entry.oid, &want->oid))
			return true;
		if (tree_mode_is_dir(want->mode))
			below[(*below_count)++] = h->entry.oid;
	}
	return false;
}

static int missing_tree(struct missing *m, const struct oid *tree, const struct oid *have,
			size_t have_count);

/* One entry of a needed tree. */
static int missing_entry(struct missing *m, const struct cursor *at, const struct oid *below,
			 size_t below_count)
{
	const struct tree_entry *entry = &at->entry;
	size_t before = path_enter(&m->path, entry->name, entry->name_len);
	int r = give(m, &entry->oid, entry->mode);

	if (r == 1 && tree_mode_is_dir(entry->mode))
		r = missing_tree(m, &entry->oid, below, below_count);
	bytes_truncate(&m->path, before);
	return r < 0 ? r : 0;
}

/* The entries of a tree that was given, against what `have` holds at the same place. */
static int missing_tree(struct missing *m, const struct oid *tree, const struct oid *have,
			size_t have_count)
{
	struct cursor at = {.content = BYTES_INIT};
	struct cursor *peers;
	struct oid *below;
	size_t below_count = 0;
	int r = 0;

	if (++m->depth > TREE_MAX_DEPTH)
		return too_deep(&m->path, m->fail);
	peers = mem_array(have_count, sizeof(*peers));
	below = mem_array(have_count, sizeof(*below));
	for (size_t i = 0; i < have_count; i++) {
		bytes_init(&peers[i].content);
		if (r == 0)
			r = have_result(cursor_open(&peers[i], m->odb, &have[i], m->fail), m->fail);
	}
	if (r == 0 && (r = cursor_open(&at, m->odb, tree, m->fail)) < 0)
		fail_context(m->fail, "directory '%.200s'", m->path.data);
	while (r == 0 && at.live) {
		if (!tree_mode_is_gitlink(at.entry.mode) &&
		    !covered(m, &at, peers, have_count, below, &below_count))
			r = missing_entry(m, &at, below, below_count);
		if (r == 0)
			r = cursor_next(&at, m->fail);
	}
	cursor_close(&at);
	for (size_t i = 0; i < have_count; i++)
		cursor_close(&peers[i]);
	free(below);
	free(peers);
	m->depth--;
	return r;
}

int tree_missing(struct odb *odb, const struct oid *tree, const struct oid *have, size_t have_count,
		 tree_need *need, void *arg, struct fail *fail)
{
	struct missing m = {
		.odb = odb,
		.have = have,
		.have_count = have_count,
		.need = need,
		.arg = arg,
		.given = OIDSET_INIT,
		.reachable = OIDSET_INIT,
		.path = BYTES_INIT,
		.fail = fail,
	};
	int r = 0;

	for (size_t i = 0; i < have_count; i++)
		if (oid_equal(&have[i], tree))
			return 0;
	r = give(&m, tree, 040000);
	if (r == 1)
		r = missing_tree(&m, tree, have, have_count);
	oidset_release(&m.given);
	oidset_release(&m.reachable);
	bytes_release(&m.path);
	return r < 0 ? r : 0;
}
