/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "out.h"

#include "quote.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PENDING_MAX 65536

enum field_kind {
	FIELD_NULL,
	FIELD_BOOL,
	FIELD_NUMBER,
	FIELD_TEXT,
	FIELD_PATH,
	FIELD_LIST,
	FIELD_OBJECT,
};

/*
 * A value, or the values of a list or object. The addresses of those that are
 * open hold still: only the innermost one grows.
 */
struct out_field {
	const char *key;
	enum field_kind kind;
	int64_t number;
	struct bytes text;
	struct out_field *parent;
	struct out_field *items;
	size_t count, cap;
};

/* ---- describing a record ------------------------------------------------------- */

static void field_release(struct out_field *field)
{
	for (size_t i = 0; i < field->count; i++)
		field_release(&field->items[i]);
	free(field->items);
	bytes_release(&field->text);
}

static void record_free(struct out *out)
{
	if (out->record)
		field_release(out->record);
	free(out->record);
	out->record = out->open = NULL;
}

void out_open(struct out *out, enum out_format format, int fd)
{
	*out = (struct out){.format = format, .fd = fd, .fail = FAIL_INIT};
	bytes_init(&out->pending);
}

void out_begin(struct out *out, const char *template)
{
	record_free(out);
	out->template = template;
	out->record = out->open = mem_zalloc(sizeof(*out->record));
	out->record->kind = FIELD_OBJECT;
	bytes_init(&out->record->text);
}

static struct out_field *add(struct out *out, const char *key, enum field_kind kind)
{
	struct out_field *into = out->open, *field;

	MEM_GROW(into->items, into->cap, into->count + 1);
	field = &into->items[into->count++];
	*field = (struct out_field){.key = key, .kind = kind, .parent = into};
	bytes_init(&field->text);
	return field;
}

static void add_bytes(struct out *out, const char *key, enum field_kind kind, const char *text,
		      size_t len)
{
	struct out_field *field = add(out, key, text ? kind : FIELD_NULL);

	if (text)
		bytes_add(&field->text, text, len);
}

void out_text_len(struct out *out, const char *key, const char *text, size_t len)
{
	add_bytes(out, key, FIELD_TEXT, text, len);
}

void out_text(struct out *out, const char *key, const char *text)
{
	add_bytes(out, key, FIELD_TEXT, text, text ? strlen(text) : 0);
}

void out_id(struct out *out, const char *key, const char *hex)
{
	out_text(out, key, hex);
}

void out_path_len(struct out *out, const char *key, const char *path, size_t len)
{
	add_bytes(out, key, FIELD_PATH, path, len);
}

void out_path(struct out *out, const char *key, const char *path)
{
	add_bytes(out, key, FIELD_PATH, path, path ? strlen(path) : 0);
}

void out_number(struct out *out, const char *key, int64_t number)
{
	add(out, key, FIELD_NUMBER)->number = number;
}

void out_bool(struct out *out, const char *key, bool yes)
{
	add(out, key, FIELD_BOOL)->number = yes;
}

/* A time that RFC 3339 has no year for is not there. */
void out_time(struct out *out, const char *key, int64_t unix_seconds)
{
	time_t seconds = (time_t)unix_seconds;
	char text[32];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
		out_null(out, key);
	else if (strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		out_text(out, key, text);
}

void out_null(struct out *out, const char *key)
{
	add(out, key, FIELD_NULL);
}

void out_list(struct out *out, const char *key)
{
	out->open = add(out, key, FIELD_LIST);
}

void out_item(struct out *out)
{
	out->open = add(out, NULL, FIELD_OBJECT);
}

void out_up(struct out *out)
{
	if (out->open->parent)
		out->open = out->open->parent;
}

/* ---- as JSON ---------------------------------------------------------------------- */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Bytes of the UTF-8 sequence at `text`, or 0. */
static size_t sequence_length(const char *text, size_t len)
{
	for (size_t n = 1; n <= 4 && n <= len; n++)
		if (utf8_valid(text, n))
			return n;
	return 0;
}

static void make_utf8(const struct bytes *in, struct bytes *out)
{
	for (size_t i = 0; i < in->len;) {
		size_t n = sequence_length(in->data + i, in->len - i);

		if (n)
			bytes_add(out, in->data + i, n);
		else
			bytes_adds(out, replacement);
		i += n ? n : 1;
	}
}

static void make_base64(const struct bytes *in, struct bytes *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)in->data;

	for (size_t left = in->len; left; p += 3) {
		size_t n = size_min(left, 3);
		uint32_t bits = (uint32_t)p[0] << 16;

		if (n > 1)
			bits |= (uint32_t)p[1] << 8;
		if (n > 2)
			bits |= p[2];
		bytes_addc(out, digits[bits >> 18]);
		bytes_addc(out, digits[bits >> 12 & 63]);
		bytes_addc(out, n > 1 ? digits[bits >> 6 & 63] : '=');
		bytes_addc(out, n > 2 ? digits[bits & 63] : '=');
		left -= n;
	}
}

static json_t *json_value(const struct out_field *field);

static json_t *json_text(const struct bytes *text)
{
	struct bytes clean = BYTES_INIT;
	json_t *value;

	if (utf8_valid(text->data, text->len))
		return json_stringn_nocheck(text->data, text->len);
	make_utf8(text, &clean);
	value = json_stringn_nocheck(clean.data, clean.len);
	bytes_release(&clean);
	return value;
}

/* Both return 0, or -1 when memory is short, as jansson does. */
static int put_original(json_t *object, const struct out_field *field)
{
	struct bytes base64 = BYTES_INIT;
	char *key;
	int rc;

	if ((field->kind != FIELD_TEXT && field->kind != FIELD_PATH) ||
	    utf8_valid(field->text.data, field->text.len))
		return 0;
	key = mem_printf("%s_b64", field->key);
	make_base64(&field->text, &base64);
	rc = json_object_set_new_nocheck(object, key,
					 json_stringn_nocheck(base64.data, base64.len));
	bytes_release(&base64);
	free(key);
	return rc;
}

static int fill_object(json_t *object, const struct out_field *field)
{
	int rc = 0;

	for (size_t i = 0; i < field->count && rc == 0; i++) {
		const struct out_field *item = &field->items[i];

		rc = json_object_set_new_nocheck(object, item->key, json_value(item));
		if (rc == 0)
			rc = put_original(object, item);
	}
	return rc;
}

static int fill_array(json_t *array, const struct out_field *field)
{
	int rc = 0;

	for (size_t i = 0; i < field->count && rc == 0; i++)
		rc = json_array_append_new(array, json_value(&field->items[i]));
	return rc;
}

/* A new value, or NULL when memory is short. */
static json_t *json_value(const struct out_field *field)
{
	json_t *value;
	int rc;

	switch (field->kind) {
	case FIELD_BOOL:
		return json_boolean(field->number);
	case FIELD_NUMBER:
		return json_integer(field->number);
	case FIELD_TEXT:
	case FIELD_PATH:
		return json_text(&field->text);
	case FIELD_LIST:
		value = json_array();
		rc = fill_array(value, field);
		break;
	case FIELD_OBJECT:
		value = json_object();
		rc = !field->parent ? json_object_set_new_nocheck(value, "v", json_integer(1)) : 0;
		if (rc == 0)
			rc = fill_object(value, field);
		break;
	default:
		return json_null();
	}
	if (rc < 0) {
		json_decref(value);
		return NULL;
	}
	return value;
}

static int append(const char *text, size_t len, void *into)
{
	bytes_add(into, text, len);
	return 0;
}

static void write_json(struct out *out)
{
	json_t *object = json_value(out->record);

	if (!object ||
	    json_dump_callback(object, append, &out->pending, JSON_COMPACT | JSON_ENSURE_ASCII) < 0)
		fail_set(&out->fail, FAIL_FATAL, "build a JSON record: out of memory");
	bytes_addc(&out->pending, '\n');
	json_decref(object);
}

/* ---- as fields --------------------------------------------------------------------- */

static void write_fields(struct out *out)
{
	for (size_t i = 0; i < out->record->count; i++) {
		const struct out_field *field = &out->record->items[i];

		switch (field->kind) {
		case FIELD_LIST:
		case FIELD_OBJECT:
			continue;
		case FIELD_BOOL:
			bytes_adds(&out->pending, field->number ? "true" : "false");
			break;
		case FIELD_NUMBER:
			bytes_addf(&out->pending, "%" PRId64, field->number);
			break;
		default:
			bytes_add(&out->pending, field->text.data, field->text.len);
		}
		bytes_addc(&out->pending, '\0');
	}
}

/* ---- as text ------------------------------------------------------------------------ */

static void show_value(const struct out_field *field, struct bytes *text)
{
	switch (field->kind) {
	case FIELD_NULL:
		bytes_addc(text, '-');
		break;
	case FIELD_BOOL:
		bytes_adds(text, field->number ? "yes" : "no");
		break;
	case FIELD_NUMBER:
		bytes_addf(text, "%" PRId64, field->number);
		break;
	case FIELD_TEXT:
		quote_line(field->text.data, field->text.len, text);
		break;
	case FIELD_PATH:
		quote_c(field->text.data, field->text.len, text);
		break;
	case FIELD_LIST:
	case FIELD_OBJECT:
		bytes_addf(text, "%zu", field->count);
		break;
	}
}

static bool says_something(const struct out_field *field)
{
	switch (field->kind) {
	case FIELD_NULL:
		return false;
	case FIELD_BOOL:
	case FIELD_NUMBER:
		return field->number != 0;
	case FIELD_TEXT:
	case FIELD_PATH:
		return field->text.len != 0;
	default:
		return field->count != 0;
	}
}

static const struct out_field *find_field(const struct out_field *record, const char *key,
					  size_t len)
{
	for (size_t i = 0; i < record->count; i++)
		if (!strncmp(record->items[i].key, key, len) && !record->items[i].key[len])
			return &record->items[i];
	return NULL;
}

/* UTF-8 characters, which is near enough to columns for names and words. */
static size_t columns(const struct bytes *text)
{
	size_t count = 0;

	for (size_t i = 0; i < text->len; i++)
		count += ((unsigned char)text->data[i] & 0xc0) != 0x80;
	return count;
}

struct rendering {
	const struct out_field *record;
	const char *p;	   /* in the template */
	struct bytes text; /* the line so far */
	bool optional;	   /* inside brackets */
	size_t start;	   /* where they began in `text` */
	bool drop;	   /* they have a value that says nothing */
	const char *bad;   /* where the template makes no sense */
};

/* "key", "key:12" or "key<12" and the closing brace. */
static void render_field(struct rendering *r)
{
	size_t key_len = strcspn(r->p, ":<}"), width = 0;
	const struct out_field *field = find_field(r->record, r->p, key_len);
	const char *how = r->p + key_len;
	struct bytes value = BYTES_INIT;

	for (r->p = how; *r->p && *r->p != '}'; r->p++)
		if (*r->p >= '0' && *r->p <= '9')
			width = width * 10 + (size_t)(*r->p - '0');
	if (!field || *r->p != '}') {
		r->bad = how - key_len;
		return;
	}
	r->p++;
	r->drop |= !says_something(field);
	show_value(field, &value);
	if (*how == ':' && value.len > width)
		bytes_truncate(&value, width);
	bytes_add(&r->text, value.data, value.len);
	if (*how == '<' && columns(&value) < width)
		bytes_addf(&r->text, "%*s", (int)(width - columns(&value)), "");
	bytes_release(&value);
}

static void render_byte(struct rendering *r)
{
	char c = *r->p++;

	if (c == '{') {
		render_field(r);
	} else if (c == '[' && !r->optional) {
		r->optional = true;
		r->drop = false;
		r->start = r->text.len;
	} else if (c == ']' && r->optional) {
		r->optional = false;
		if (r->drop)
			bytes_truncate(&r->text, r->start);
	} else {
		if (c == '\\' && *r->p)
			c = *r->p++;
		bytes_addc(&r->text, c);
	}
}

static void write_text(struct out *out)
{
	struct rendering r = {.record = out->record, .p = out->template};

	if (!out->template)
		return;
	bytes_init(&r.text);
	while (*r.p && !r.bad)
		render_byte(&r);
	if (r.bad)
		fail_set(&out->fail, FAIL_FATAL, "the record has no field '%.40s'", r.bad);
	else
		bytes_add(&out->pending, r.text.data, r.text.len);
	bytes_release(&r.text);
}

/* ---- writing ------------------------------------------------------------------------ */

/* A parent may have made the pipe non-blocking; it is not ours to change that. */
static bool wait_writable(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	return poll(&ready, 1, -1) > 0 || errno == EINTR;
}

void out_flush(struct out *out)
{
	size_t at = 0;

	while (!out->fail.kind && at < out->pending.len) {
		ssize_t n = write(out->fd, out->pending.data + at, out->pending.len - at);

		if (n >= 0) {
			at += (size_t)n;
			out->wrote = true;
		} else if (errno != EINTR && !(errno == EAGAIN && wait_writable(out->fd))) {
			fail_errno(&out->fail, "write standard output");
		}
	}
	bytes_clear(&out->pending);
}

void out_end(struct out *out)
{
	if (!out->fail.kind) {
		switch (out->format) {
		case OUT_JSON:
			write_json(out);
			break;
		case OUT_NUL:
			write_fields(out);
			break;
		case OUT_TEXT:
			write_text(out);
			break;
		}
	}
	record_free(out);
	if (out->pending.len >= PENDING_MAX)
		out_flush(out);
}

int out_close(struct out *out, struct fail *fail)
{
	out_flush(out);
	if (close(out->fd) < 0 && errno != EINTR && !(errno == EBADF && !out->wrote))
		fail_errno(&out->fail, "close standard output");
	out->fd = -1;
	record_free(out);
	bytes_release(&out->pending);
	if (!out->fail.kind)
		return 0;
	if (!fail->kind)
		*fail = out->fail;
	return fail->kind;
}
