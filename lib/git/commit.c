/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "commit.h"

#include "hash.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- reading ------------------------------------------------------------------------ */

struct reader {
	const char *at, *end;
	enum hash_algo algo;
};

/* The rest of a line that starts with "<key> "; NULL when the next line is another one. */
static const char *take_line(struct reader *r, const char *key, size_t *len)
{
	size_t key_len = strlen(key);
	const char *eol = memchr(r->at, '\n', (size_t)(r->end - r->at));
	const char *value;

	if (!eol || (size_t)(eol - r->at) <= key_len || memcmp(r->at, key, key_len) != 0 ||
	    r->at[key_len] != ' ')
		return NULL;
	value = r->at + key_len + 1;
	*len = (size_t)(eol - value);
	r->at = eol + 1;
	return value;
}

static bool take_oid(struct reader *r, const char *key, struct oid *oid)
{
	size_t len;
	const char *hex = take_line(r, key, &len);

	return hex && oid_parse(r->algo, hex, len, oid);
}

/* The seconds in "name <email> seconds zone"; 0 when there are none. */
static int64_t ident_time(const char *ident, size_t len)
{
	const char *mail_end = memrchr(ident, '>', len);
	const char *end = ident + len;
	int64_t seconds = 0;

	if (!mail_end)
		return 0;
	for (mail_end++; mail_end < end && *mail_end == ' '; mail_end++)
		;
	for (; mail_end < end && *mail_end >= '0' && *mail_end <= '9'; mail_end++)
		if (__builtin_mul_overflow(seconds, 10, &seconds) ||
		    __builtin_add_overflow(seconds, *mail_end - '0', &seconds))
			return 0;
	return seconds;
}

/* Moves over the other headers (signatures have indented lines) and the blank line. */
static bool skip_headers(struct reader *r)
{
	while (r->at < r->end && *r->at != '\n') {
		const char *eol = memchr(r->at, '\n', (size_t)(r->end - r->at));

		if (!eol)
			return false;
		r->at = eol + 1;
	}
	if (r->at < r->end)
		r->at++;
	return true;
}

int commit_parse(enum hash_algo algo, const struct bytes *content, struct commit *out,
		 struct fail *fail)
{
	struct reader r = {content->data, content->data + content->len, algo};
	const char *committer;
	size_t len;

	*out = (struct commit){0};
	if (!take_oid(&r, "tree", &out->tree))
		return fail_set(fail, FAIL_CORRUPT, "a commit does not begin with its tree");
	while (r.end - r.at > 7 && !memcmp(r.at, "parent ", 7)) {
		MEM_GROW(out->parents, out->parent_cap, out->parent_count + 1);
		if (!take_oid(&r, "parent", &out->parents[out->parent_count]))
			return fail_set(fail, FAIL_CORRUPT, "a commit has a malformed parent");
		out->parent_count++;
	}
	if (take_line(&r, "author", &len) && (committer = take_line(&r, "committer", &len)))
		out->time = ident_time(committer, len);
	if (!skip_headers(&r))
		return fail_set(fail, FAIL_CORRUPT, "a commit's headers are cut off");
	out->message = mem_dup(r.at, (size_t)(r.end - r.at));
	return 0;
}

int commit_read(struct odb *odb, const struct oid *oid, struct commit *out, struct fail *fail)
{
	struct bytes content = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	int r;

	*out = (struct commit){0};
	r = odb_read_type(odb, oid, OBJECT_COMMIT, &content, fail);
	if (r == 0 && (r = commit_parse((enum hash_algo)oid->algo, &content, out, fail)) < 0)
		fail_context(fail, "commit %s", oid_hex(oid, hex));
	bytes_release(&content);
	return r;
}

void commit_release(struct commit *commit)
{
	free(commit->parents);
	free(commit->message);
	*commit = (struct commit){0};
}

/* ---- trailers ------------------------------------------------------------------------- */

struct span {
	const char *at;
	size_t len;
};

static bool is_blank_char(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

static size_t trimmed(const char *text, size_t len)
{
	while (len && is_blank_char(text[len - 1]))
		len--;
	return len;
}

/* The length of the line at `text`, without its newline. */
static size_t line_length(const char *text, size_t len)
{
	const char *eol = memchr(text, '\n', len);

	return eol ? (size_t)(eol - text) : len;
}

/* The length of a key with a colon behind it at the start of a line; 0 when there is none. */
static size_t key_length(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && (isalnum((unsigned char)line[n]) || line[n] == '-'))
		n++;
	return n < len && line[n] == ':' ? n : 0;
}

static bool is_continuation(const char *line, size_t len)
{
	return len && (line[0] == ' ' || line[0] == '\t');
}

/*
 * The last paragraph, when all of it is trailers and another line, be it an empty
 * one, stands before it (the first paragraph is the title); else an empty span.
 */
static struct span trailer_block(const char *message)
{
	struct span block = {message, 0};
	size_t end = trimmed(message, strlen(message));
	size_t start = 0;
	bool after_blank = false, all = false;

	for (size_t at = 0, n; at < end; at += n + 1) {
		const char *line = message + at;

		n = line_length(line, end - at);
		if (!trimmed(line, n)) {
			after_blank = true;
			start = at + n + 1;
			all = true;
		} else if (!key_length(line, n) && (!is_continuation(line, n) || at == start)) {
			all = false;
		}
	}
	if (after_blank && all)
		block = (struct span){message + start, end - start};
	return block;
}

/* Takes the next trailer off the block: its key, and its value with continuation lines. */
static bool next_trailer(struct span *block, struct span *key, struct span *value)
{
	size_t len, n;

	if (!block->len)
		return false;
	len = line_length(block->at, block->len);
	key->at = block->at;
	key->len = key_length(block->at, len);
	while (len < block->len && is_continuation(block->at + len + 1, block->len - len - 1))
		len += 1 + line_length(block->at + len + 1, block->len - len - 1);
	value->at = block->at + key->len + 1;
	value->len = trimmed(value->at, len - key->len - 1);
	for (n = 0; n < value->len && is_blank_char(value->at[n]); n++)
		;
	value->at += n;
	value->len -= n;
	len += len < block->len;
	block->at += len;
	block->len -= len;
	return true;
}

const char *commit_trailer_nth(const struct commit *commit, const char *key, size_t n, size_t *len)
{
	struct span block = trailer_block(commit->message);
	size_t key_len = strlen(key);
	struct span name, value;

	while (next_trailer(&block, &name, &value)) {
		if (name.len != key_len || strncasecmp(name.at, key, key_len) != 0 || n-- > 0)
			continue;
		*len = value.len;
		return value.at;
	}
	return NULL;
}

const char *commit_trailer(const struct commit *commit, const char *key, size_t *len)
{
	struct span block = trailer_block(commit->message);
	size_t key_len = strlen(key);
	struct span name, value;
	const char *last = NULL;

	while (next_trailer(&block, &name, &value)) {
		if (name.len != key_len || strncasecmp(name.at, key, key_len) != 0)
			continue;
		*len = value.len;
		last = value.at;
	}
	return last;
}

static bool has_shadow_key(struct span block)
{
	struct span key, value;

	while (next_trailer(&block, &key, &value))
		if (key.len >= 7 && !strncasecmp(key.at, "Shadow-", 7))
			return true;
	return false;
}

int commit_message(const char *message, const struct argv *trailers, struct bytes *out,
		   struct fail *fail)
{
	struct span block = trailer_block(message);

	for (size_t i = 0; i < trailers->count; i++) {
		const char *line = trailers->items[i];

		if (strchr(line, '\n') || !key_length(line, strlen(line)))
			return fail_set(fail, FAIL_USAGE,
					"malformed trailer '%.200s': it is one line 'Key: value'",
					line);
	}
	if (!trailers->count) {
		bytes_adds(out, message);
		return 0;
	}
	bytes_add(out, message, trimmed(message, strlen(message)));
	bytes_addc(out, '\n');
	if (!block.len || has_shadow_key(block))
		bytes_addc(out, '\n');
	for (size_t i = 0; i < trailers->count; i++) {
		bytes_adds(out, trailers->items[i]);
		bytes_addc(out, '\n');
	}
	return 0;
}

/* ---- the root of a segment --------------------------------------------------------------- */

void commit_segment_root(enum hash_algo algo, struct bytes *content, struct oid *oid)
{
	char hex[OID_HEX_MAX + 1];

	bytes_clear(content);
	bytes_addf(content,
		   "tree %s\n"
		   "author interlock <interlock@localhost> 0 +0000\n"
		   "committer interlock <interlock@localhost> 0 +0000\n"
		   "\n"
		   "interlock: start of a segment\n",
		   oid_hex(oid_empty_tree(algo), hex));
	object_id(algo, OBJECT_COMMIT, content->data, content->len, oid);
}
