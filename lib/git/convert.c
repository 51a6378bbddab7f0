/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "convert.h"

#include "repo.h"

#include <git2.h>
#include <git2/sys/index.h>
#include <git2/sys/repository.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is in the bytes ------------------------------------------------------ */

static bool has_crlf(const char *data, size_t len)
{
	const char *end = data + len;

	while ((data = memchr(data, '\r', (size_t)(end - data)))) {
		if (++data < end && *data == '\n')
			return true;
	}
	return false;
}

bool convert_is_plain(const char *data, size_t len)
{
	return !has_crlf(data, len) && !memmem(data, len, "$Id:", 4);
}

struct census {
	size_t crlf, lone_cr, nul, printable, other;
};

static void count(const char *data, size_t len, struct census *n)
{
	*n = (struct census){0};
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c == '\r' && i + 1 < len && data[i + 1] == '\n') {
			n->crlf++;
			i++;
		} else if (c == '\r') {
			n->lone_cr++;
		} else if (c == '\n') {
			continue;
		} else if (c >= 0x20 && c != 0x7f) {
			n->printable++;
		} else if (c == '\b' || c == '\t' || c == '\033' || c == '\f') {
			n->printable++;
		} else {
			n->nul += !c;
			n->other++;
		}
	}
	/* A ^Z at the end is the old mark of the end of a text. */
	if (len && data[len - 1] == '\032')
		n->other--;
}

/* What git's automatic mode takes for no text. */
static bool looks_binary(const struct census *n)
{
	return n->lone_cr || n->nul || n->printable / 128 < n->other;
}

/* ---- doing it --------------------------------------------------------------------- */

static void crlf_to_lf(struct bytes *data)
{
	size_t out = 0;

	for (size_t i = 0; i < data->len; i++)
		if (data->data[i] != '\r' || i + 1 == data->len || data->data[i + 1] != '\n')
			data->data[out++] = data->data[i];
	bytes_truncate(data, out);
}

/*
 * An expanded keyword stands on one line: "$Id: ... $". One without its second
 * dollar ends the search for all that follow, as it does in git.
 */
static void collapse_ident(struct bytes *data)
{
	const char *at = data->data, *end = at + data->len;
	char *out = data->data;
	const char *dollar;

	while ((dollar = memchr(at, '$', (size_t)(end - at)))) {
		size_t n = (size_t)(dollar + 1 - at);
		const char *close;

		memmove(out, at, n);
		out += n;
		at = dollar + 1;
		if (end - at <= 3 || memcmp(at, "Id:", 3) != 0)
			continue;
		close = memchr(at + 3, '$', (size_t)(end - at - 3));
		if (!close)
			break;
		if (memchr(at + 3, '\n', (size_t)(close - at - 3)))
			continue;
		memcpy(out, "Id$", 3);
		out += 3;
		at = close + 1;
	}
	memmove(out, at, (size_t)(end - at));
	out += end - at;
	bytes_truncate(data, (size_t)(out - data->data));
}

void convert_apply(unsigned steps, struct bytes *data)
{
	if (!data->len)
		return;
	if (steps & CONVERT_CRLF)
		crlf_to_lf(data);
	if (steps & CONVERT_IDENT)
		collapse_ident(data);
}

/* ---- deciding ----------------------------------------------------------------------- */

enum text_rule {
	TEXT_UNSET,
	TEXT_NEVER,
	TEXT_ALWAYS,
	TEXT_AUTO
};

static bool is_string(const char *value, const char *text)
{
	return git_attr_value(value) == GIT_ATTR_VALUE_STRING && !strcmp(value, text);
}

/* "text", or the old "crlf" where text says nothing. */
static enum text_rule text_rule(const char *value)
{
	if (git_attr_value(value) == GIT_ATTR_VALUE_TRUE || is_string(value, "input"))
		return TEXT_ALWAYS;
	if (git_attr_value(value) == GIT_ATTR_VALUE_FALSE)
		return TEXT_NEVER;
	return is_string(value, "auto") ? TEXT_AUTO : TEXT_UNSET;
}

struct rules {
	enum text_rule text;
	bool ident;
};

void converter_init(struct converter *converter, struct repo *repo, const struct index *index)
{
	*converter = (struct converter){.repo = repo, .index = index};
	pthread_mutex_init(&converter->mutex, NULL);
}

void converter_release(struct converter *converter)
{
	git_repository_free(converter->handle);
	pthread_mutex_destroy(&converter->mutex);
}

static bool same_path(const char *a, const char *b)
{
	size_t n = strlen(b);

	return a && !strncmp(a, b, n) && (!a[n] || (a[n] == '/' && !a[n + 1]));
}

static int open_handle(struct converter *converter, struct fail *fail)
{
	const struct repo *repo = converter->repo;
	git_repository *handle = NULL;
	git_index *empty = NULL;

	if (converter->handle)
		return 0;
	if (git_repository_open(&handle, git_repository_path(repo->handle)) < 0 ||
	    git_index_new(&empty) < 0 || git_repository_set_index(handle, empty) < 0 ||
	    !same_path(git_repository_workdir(handle), repo->work_tree)) {
		git_repository_free(handle);
		fail_set(fail, FAIL_ENGINE, "gitattributes cannot be asked for");
	} else {
		converter->handle = handle;
	}
	git_index_free(empty);
	return fail->kind;
}

static int read_rules(struct converter *converter, const char *path, struct rules *rules,
		      struct fail *fail)
{
	const char *names[] = {"text", "crlf", "eol", "ident"};
	const char *values[ARRAY_SIZE(names)];

	if (open_handle(converter, fail) < 0)
		return fail->kind;
	if (git_attr_get_many(values, converter->handle, GIT_ATTR_CHECK_FILE_THEN_INDEX, path,
			      ARRAY_SIZE(names), names) < 0)
		return fail_set(fail, FAIL_ENGINE, "unusual gitattributes");
	rules->text = text_rule(values[0]);
	if (rules->text == TEXT_UNSET)
		rules->text = text_rule(values[1]);
	/* A line end that is asked for makes it a text, unless that was to be found out. */
	if (rules->text == TEXT_UNSET &&
	    (is_string(values[2], "lf") || is_string(values[2], "crlf")))
		rules->text = TEXT_ALWAYS;
	if (rules->text == TEXT_UNSET)
		rules->text = converter->repo->conf.autocrlf ? TEXT_AUTO : TEXT_NEVER;
	rules->ident = git_attr_value(values[3]) == GIT_ATTR_VALUE_TRUE;
	return 0;
}

/* The entry that git compares with: the merged one, or "ours" of a conflict. */
static const struct index_entry *index_version(const struct index *index, const char *path)
{
	const struct index_entry *entry = index_find(index, path, strlen(path));
	const struct index_entry *end = index->entries + index->count;

	for (const struct index_entry *e = entry; e && e < end; e++) {
		if (e->name_len != entry->name_len || strcmp(e->name, entry->name) != 0)
			break;
		if (!e->stage || e->stage == 2)
			return e;
	}
	return NULL;
}

/* A text that was committed with CR LF keeps them in automatic mode. */
static bool index_has_crlf(const struct converter *converter, const char *path)
{
	const struct index_entry *entry = index_version(converter->index, path);
	struct census n;
	git_blob *blob;
	git_oid id;
	const char *data;
	size_t len;
	bool yes;

	if (!entry || entry->mode == 0160000)
		return false;
	git_oid_fromraw(&id, entry->oid);
	if (git_blob_lookup(&blob, converter->handle, &id) < 0)
		return false;
	data = git_blob_rawcontent(blob);
	len = (size_t)git_blob_rawsize(blob);
	yes = len && has_crlf(data, len);
	if (yes) {
		count(data, len, &n);
		yes = !looks_binary(&n);
	}
	git_blob_free(blob);
	return yes;
}

static bool wants_crlf(const struct converter *converter, enum text_rule rule, const char *path,
		       const struct bytes *data)
{
	struct census n;

	if (rule == TEXT_NEVER || !has_crlf(data->data, data->len))
		return false;
	if (rule == TEXT_ALWAYS)
		return true;
	count(data->data, data->len, &n);
	return !looks_binary(&n) && !index_has_crlf(converter, path);
}

int converter_decide(struct converter *converter, const char *path, const struct bytes *data,
		     unsigned *steps, struct fail *fail)
{
	struct rules rules = {0};

	*steps = 0;
	pthread_mutex_lock(&converter->mutex);
	if (read_rules(converter, path, &rules, fail) == 0) {
		if (wants_crlf(converter, rules.text, path, data))
			*steps |= CONVERT_CRLF;
		if (rules.ident)
			*steps |= CONVERT_IDENT;
	}
	pthread_mutex_unlock(&converter->mutex);
	return fail->kind;
}
