/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * A file of rules becomes three lists, each with the strongest (last) rule
 * first: literals (found through a hash of their last path component), "*tail"
 * suffixes, and all other patterns. A lookup asks the cheap lists first and
 * stops in the others at the strength it already has.
 */
#include "ignore.h"

#include "bytes.h"
#include "file.h"
#include "repo.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* git skips a larger file, since 2.46. */
#define RULES_MAX_BYTES ((size_t)100 << 20)

enum rule_kind {
	RULE_NAME,   /* the whole last component */
	RULE_PATH,   /* the whole path below the rules' directory */
	RULE_SUFFIX, /* the end of the last component */
	RULE_GLOB_NAME,
	RULE_GLOB_PATH,
};

struct rule {
	const char *text; /* in the source's buffer; not NUL-terminated */
	uint32_t len;
	uint32_t literal;  /* bytes of `text` in front of its first special byte */
	uint32_t strength; /* position in its file, from 1 */
	uint32_t hash;	   /* of the last component; literals only */
	uint8_t kind;	   /* enum rule_kind */
	bool negative;
	bool dir_only;
};

struct rule_list {
	struct rule *items; /* strongest first once the file is read */
	size_t count, cap;
};

struct ignore_dir {
	const struct ignore_dir *weaker; /* asked when nothing here matches; NULL at the end */
	struct ignore_dir *next;	 /* all of the set, in any order */
	const char *doubt;		 /* of these rules or weaker ones; static text */
	size_t base;			 /* bytes of a path in front of what the rules see */
	struct rule_list literals, suffixes, globs;
	uint32_t *slots;  /* index into literals + 1, 0 is free; linear probing */
	size_t slot_mask; /* number of slots - 1, a power of two */
	char *text;	  /* our copy of the file */
};

struct ignore_set {
	pthread_mutex_t lock; /* over `all` */
	struct ignore_dir *all;
	const struct ignore_dir *root;
};

/* What is asked about one path, worked out once for all sources. */
struct question {
	const char *path, *name;
	size_t path_len, name_len;
	uint32_t name_hash;
	bool is_dir;
};

/* FNV-1a */
static uint32_t hash_bytes(const char *text, size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 16777619u;
	return hash;
}

/* Where the last component of a path starts. */
static const char *last_component(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);

	return slash ? slash + 1 : path;
}

/* ---- reading a file of rules ------------------------------------------------- */

static size_t literal_length(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && !wildmatch_special(text[i]))
		i++;
	return i;
}

/*
 * Takes the backslashes out of text[0..*len) when that leaves no pattern, in
 * place. False, and nothing changed, when something else is special.
 */
static bool unescape(char *text, uint32_t *len)
{
	uint32_t from = 0, to = 0;

	for (uint32_t i = 0; i < *len; i++)
		if (text[i] == '\\' ? ++i == *len : wildmatch_special(text[i]))
			return false;
	while (from < *len) {
		if (text[from] == '\\')
			from++;
		text[to++] = text[from++];
	}
	*len = to;
	return true;
}

/*
 * git matches what stands in front of the first wildcard itself. Before 2.52 it
 * gave the matcher only the rest, so that "**" behind it seemed to be at a start.
 */
static bool versions_differ(const struct rule *rule)
{
	const char *p = rule->text + rule->literal, *end = rule->text + rule->len;

	if (!rule->literal || p[-1] == '/' || end - p < 2 || p[0] != '*' || p[1] != '*')
		return false;
	while (p < end && *p == '*')
		p++;
	return p == end || *p == '/' || (end - p > 1 && p[0] == '\\' && p[1] == '/');
}

/* Cuts a trailing run of blanks; a blank behind a backslash stays, and a tab always. */
static size_t trim_blanks(const char *line, size_t len)
{
	size_t keep = 0;

	for (size_t i = 0; i < len; i++) {
		if (line[i] == ' ')
			continue;
		if (line[i] == '\\')
			i++;
		keep = size_min(i + 1, len);
	}
	return keep;
}

/* A "**" and slash in front of a pattern without slash adds nothing to it. */
static bool skip_leading_deep(char **text, uint32_t *len)
{
	const char *rest = last_component(*text, *len);
	size_t skip = (size_t)(rest - *text);

	if (!skip || skip % 3 || skip == *len)
		return false;
	for (size_t i = 0; i < skip; i += 3)
		if (memcmp(*text + i, "**/", 3) != 0)
			return false;
	*text += skip;
	*len -= (uint32_t)skip;
	return true;
}

/* Sorts out what kind of rule `text` is, without its '!' and its trailing slash. */
static void classify(struct rule *rule, char *text, uint32_t len)
{
	bool name = !memchr(text, '/', len);

	if (*text == '/') {
		text++;
		len--;
	}
	if (!name)
		name = skip_leading_deep(&text, &len);
	if (unescape(text, &len)) {
		const char *last = last_component(text, len);

		rule->kind = name ? RULE_NAME : RULE_PATH;
		rule->hash = hash_bytes(last, len - (size_t)(last - text));
	} else if (name && *text == '*' && (len == 1 || text[1] != '*')) {
		uint32_t tail = len - 1;

		rule->kind = RULE_GLOB_NAME;
		if (unescape(text + 1, &tail)) {
			rule->kind = RULE_SUFFIX;
			text++;
			len = tail;
		}
	} else {
		rule->kind = name ? RULE_GLOB_NAME : RULE_GLOB_PATH;
	}
	rule->text = text;
	rule->len = len;
	rule->literal = (uint32_t)literal_length(text, len);
}

static struct rule_list *list_of(struct ignore_dir *dir, const struct rule *rule)
{
	switch (rule->kind) {
	case RULE_NAME:
	case RULE_PATH:
		return &dir->literals;
	case RULE_SUFFIX:
		return &dir->suffixes;
	default:
		return &dir->globs;
	}
}

static void add_line(struct ignore_dir *dir, char *line, size_t len, uint32_t strength)
{
	struct rule rule = {.strength = strength};
	struct rule_list *list;

	len = trim_blanks(line, len);
	if (len && *line == '!') {
		rule.negative = true;
		line++;
		len--;
	}
	if (len && line[len - 1] == '/') {
		rule.dir_only = true;
		len--;
	}
	if (!len)
		return;
	classify(&rule, line, (uint32_t)len);
	if (rule.kind == RULE_GLOB_PATH && versions_differ(&rule))
		dir->doubt = "an ignore pattern that git versions read differently";
	list = list_of(dir, &rule);
	MEM_GROW(list->items, list->cap, list->count + 1);
	list->items[list->count++] = rule;
}

/*
 * Splits as git does: '#' counts only in the first column, one CR in front of
 * the LF (or the end of the file) goes, and a line ends at a NUL.
 */
static void add_lines(struct ignore_dir *dir, char *text, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf";
	char *p = text, *end = text + len;
	uint32_t strength = 0;

	if (len >= 3 && !memcmp(text, bom, 3))
		p += 3;
	while (p < end) {
		char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t line_len;

		if (!eol)
			eol = end;
		line_len = (size_t)(eol - p);
		if (line_len && p[line_len - 1] == '\r')
			line_len--;
		if (line_len && *p != '#')
			add_line(dir, p, strnlen(p, line_len), ++strength);
		p = eol + 1;
	}
}

static void strongest_first(struct rule_list *list)
{
	for (size_t i = 0; i < list->count / 2; i++) {
		struct rule *a = &list->items[i], *b = &list->items[list->count - 1 - i];
		struct rule swap = *a;

		*a = *b;
		*b = swap;
	}
}

/* Inserted strongest first, rules of one hash are met strongest first. */
static void index_literals(struct ignore_dir *dir)
{
	size_t slots = 4;

	while (slots < dir->literals.count * 2)
		slots *= 2;
	dir->slots = mem_array(slots, sizeof(*dir->slots));
	dir->slot_mask = slots - 1;
	for (size_t i = 0; i < dir->literals.count; i++) {
		size_t at = dir->literals.items[i].hash & dir->slot_mask;

		while (dir->slots[at])
			at = (at + 1) & dir->slot_mask;
		dir->slots[at] = (uint32_t)i + 1;
	}
}

static void dir_free(struct ignore_dir *dir)
{
	free(dir->literals.items);
	free(dir->suffixes.items);
	free(dir->globs.items);
	free(dir->slots);
	free(dir->text);
	free(dir);
}

/* Rules for what lies `base` bytes into a path, in front of `weaker`. */
static struct ignore_dir *dir_new(const struct ignore_dir *weaker, size_t base, const char *text,
				  size_t len)
{
	struct ignore_dir *dir = mem_zalloc(sizeof(*dir));

	dir->weaker = weaker;
	dir->base = base;
	if (len > RULES_MAX_BYTES) {
		dir->doubt = "a file of ignore rules over 100 MiB";
	} else if (len) {
		dir->text = mem_dup(text, len);
		add_lines(dir, dir->text, len);
	}
	strongest_first(&dir->literals);
	strongest_first(&dir->suffixes);
	strongest_first(&dir->globs);
	if (dir->literals.count)
		index_literals(dir);
	if (weaker && weaker->doubt)
		dir->doubt = weaker->doubt;
	return dir;
}

static bool dir_says_nothing(const struct ignore_dir *dir)
{
	bool new_doubt = dir->doubt && !dir->weaker->doubt;

	return !dir->literals.count && !dir->suffixes.count && !dir->globs.count && !new_doubt;
}

static const struct ignore_dir *set_keep(struct ignore_set *set, struct ignore_dir *dir)
{
	pthread_mutex_lock(&set->lock);
	dir->next = set->all;
	set->all = dir;
	pthread_mutex_unlock(&set->lock);
	return dir;
}

/* ---- the set ----------------------------------------------------------------- */

/* git warns about these and goes on without the file. */
static bool counts_as_empty(int err)
{
	return err == ENOENT || err == ENOTDIR || err == EACCES || err == ELOOP ||
	       err == ENAMETOOLONG;
}

/* Unlike our own files these may be symlinks. What is no regular file has size 0 for git. */
static int read_rules(const char *path, struct bytes *out, struct fail *fail)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return counts_as_empty(errno) ? 0 : fail_errno(fail, "open '%s'", path);
	if (fstat(fd, &st) < 0)
		rc = fail_errno(fail, "stat '%s'", path);
	else if ((size_t)st.st_size > RULES_MAX_BYTES)
		rc = fail_set(fail, FAIL_ENGINE, "a file of ignore rules over 100 MiB");
	else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		rc = file_read_fd(fd, path, RULES_MAX_BYTES, out, fail);
	close(fd);
	return rc;
}

static int add_global(struct ignore_set *set, const char *path, struct fail *fail)
{
	struct bytes text = BYTES_INIT;
	int rc = read_rules(path, &text, fail);

	if (rc == 0)
		set->root = ignore_enter(set, set->root, "", text.data, text.len);
	bytes_release(&text);
	return rc;
}

/* core.excludesFile, or where it is when nobody set it; NULL without a home. */
static char *excludes_path(const struct repo *repo)
{
	const char *set = repo->conf.excludes_file, *dir;

	if (set && (*set == '/' || !repo->work_tree))
		return mem_strdup(set);
	if (set)
		return *set ? mem_printf("%s/%s", repo->work_tree, set) : NULL;
	dir = getenv("XDG_CONFIG_HOME");
	if (dir && *dir)
		return mem_printf("%s/git/ignore", dir);
	dir = getenv("HOME");
	return dir ? mem_printf("%s/.config/git/ignore", dir) : NULL;
}

struct ignore_set *ignore_open_empty(void)
{
	struct ignore_set *set = mem_zalloc(sizeof(*set));

	pthread_mutex_init(&set->lock, NULL);
	set->root = set_keep(set, dir_new(NULL, 0, NULL, 0));
	return set;
}

int ignore_open(struct repo *repo, struct ignore_set **out, struct fail *fail)
{
	struct ignore_set *set = ignore_open_empty();
	char *excludes = excludes_path(repo);
	char *info = mem_printf("%s/info/exclude", repo->common_dir);
	int rc = 0;

	*out = NULL;
	if (excludes)
		rc = add_global(set, excludes, fail);
	if (rc == 0)
		rc = add_global(set, info, fail);
	free(excludes);
	free(info);
	if (rc < 0)
		ignore_free(set);
	else
		*out = set;
	return rc;
}

void ignore_free(struct ignore_set *set)
{
	struct ignore_dir *next;

	if (!set)
		return;
	for (struct ignore_dir *dir = set->all; dir; dir = next) {
		next = dir->next;
		dir_free(dir);
	}
	pthread_mutex_destroy(&set->lock);
	free(set);
}

const struct ignore_dir *ignore_root(const struct ignore_set *set)
{
	return set->root;
}

const struct ignore_dir *ignore_enter(struct ignore_set *set, const struct ignore_dir *parent,
				      const char *path, const char *text, size_t text_len)
{
	struct ignore_dir *dir;
	size_t base = strlen(path);

	if (!text || !text_len)
		return parent;
	dir = dir_new(parent, base ? base + 1 : 0, text, text_len);
	if (!dir_says_nothing(dir))
		return set_keep(set, dir);
	dir_free(dir);
	return parent;
}

const char *ignore_doubt(const struct ignore_dir *dir)
{
	return dir->doubt;
}

/* ---- asking ------------------------------------------------------------------- */

static bool same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && !memcmp(a, b, a_len);
}

static const struct rule *find_literal(const struct ignore_dir *dir, const struct question *q)
{
	const char *path = q->path + dir->base;
	size_t path_len = q->path_len - dir->base;
	uint32_t slot;

	if (!dir->literals.count)
		return NULL;
	for (size_t at = q->name_hash & dir->slot_mask; (slot = dir->slots[at]) != 0;
	     at = (at + 1) & dir->slot_mask) {
		const struct rule *rule = &dir->literals.items[slot - 1];

		if (rule->hash != q->name_hash || (rule->dir_only && !q->is_dir))
			continue;
		if (rule->kind == RULE_NAME ? same(rule->text, rule->len, q->name, q->name_len)
					    : same(rule->text, rule->len, path, path_len))
			return rule;
	}
	return NULL;
}

static const struct rule *find_suffix(const struct ignore_dir *dir, const struct question *q,
				      const struct rule *best)
{
	const char *end = q->name + q->name_len;

	for (size_t i = 0; i < dir->suffixes.count; i++) {
		const struct rule *rule = &dir->suffixes.items[i];

		if (best && rule->strength < best->strength)
			break;
		if (rule->len <= q->name_len && (!rule->dir_only || q->is_dir) &&
		    !memcmp(rule->text, end - rule->len, rule->len))
			return rule;
	}
	return best;
}

static bool glob_matches(const struct rule *rule, const char *text, size_t len)
{
	size_t skip = rule->literal;

	if (skip > len || memcmp(rule->text, text, skip) != 0)
		return false;
	if (skip)
		skip--; /* what stands in front of a "**" decides what it is */
	return wildmatch_span(rule->text + skip, rule->len - skip, text + skip, len - skip, false);
}

static const struct rule *find_glob(const struct ignore_dir *dir, const struct question *q,
				    const struct rule *best)
{
	for (size_t i = 0; i < dir->globs.count; i++) {
		const struct rule *rule = &dir->globs.items[i];

		if (best && rule->strength < best->strength)
			break;
		if (rule->dir_only && !q->is_dir)
			continue;
		if (rule->kind == RULE_GLOB_NAME
			    ? glob_matches(rule, q->name, q->name_len)
			    : glob_matches(rule, q->path + dir->base, q->path_len - dir->base))
			return rule;
	}
	return best;
}

bool ignore_match(const struct ignore_dir *dir, const char *path, size_t len, bool is_dir)
{
	struct question q = {.path = path, .path_len = len, .is_dir = is_dir};

	q.name = last_component(path, len);
	q.name_len = len - (size_t)(q.name - path);
	q.name_hash = hash_bytes(q.name, q.name_len);
	for (; dir; dir = dir->weaker) {
		const struct rule *rule;

		if (dir->base >= len)
			continue; /* the directory itself: its own rules do not hold for it */
		rule = find_glob(dir, &q, find_suffix(dir, &q, find_literal(dir, &q)));
		if (rule)
			return !rule->negative;
	}
	return false;
}
