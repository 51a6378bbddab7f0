/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * out: what a command answers on stdout, as text for people, as JSON, or as
 * NUL-terminated fields.
 *
 * The command describes each record once, as keys and values in order; the
 * format that the user chose decides how it is written.
 *
 *	struct out out;
 *
 *	out_open(&out, OUT_JSON, STDOUT_FILENO);
 *	out_begin(&out, "{commit:12} {time}[ ({skipped} skipped)] {message}\n");
 *	out_id(&out, "commit", hex);
 *	out_time(&out, "time", seconds);
 *	out_text(&out, "message", subject);
 *	out_list(&out, "skipped");
 *	out_item(&out);
 *	out_path(&out, "path", path);
 *	out_text(&out, "reason", reason);
 *	out_up(&out);
 *	out_up(&out);
 *	out_end(&out);
 *	...
 *	return out_close(&out, fail);
 *
 * OUT_JSON: one object per line, "v":1 first, keys in the order given. A value
 * that is not there is null, its key never missing. Everything outside ASCII is
 * escaped, so that a terminal obeys none of it. Bytes that are no UTF-8 become
 * U+FFFD, and "<key>_b64" behind them holds the original in base64.
 *
 * OUT_NUL: the values in the order given, raw, each with a NUL behind it. A
 * missing value is empty; lists are left out, so that each record has the same
 * number of fields.
 *
 * OUT_TEXT: the template. {key} is the value, on one line and escaped (a path
 * as git quotes it); {key:12} its first 12 bytes (for ids), {key<12} padded with
 * blanks to 12 columns. A list is shown as its length, no value as "-". What is
 * in [brackets] is left out when a value in it is missing, empty, false or 0. A
 * backslash takes the meaning from the byte behind it. A NULL template writes
 * nothing.
 *
 * Failures are kept, and told once by out_close(): a full disk behind stdout is
 * an error. After one, nothing more is written.
 */
#ifndef OUT_H
#define OUT_H

#include "bytes.h"
#include "fail.h"

enum out_format {
	OUT_TEXT,
	OUT_NUL,
	OUT_JSON,
};

struct out_field;

struct out {
	enum out_format format;
	int fd;
	const char *template;	  /* of the record under way */
	struct out_field *record; /* the record under way, or NULL */
	struct out_field *open;	  /* what the next value goes into */
	struct bytes pending;	  /* written when it is large, and by out_flush() */
	bool wrote;		  /* something went to fd */
	struct fail fail;	  /* the first failure */
};

/* Nothing is written or allocated yet. out_close() releases. */
void out_open(struct out *out, enum out_format format, int fd);

/* `template` and all keys below are static text: only pointers are kept. */
void out_begin(struct out *out, const char *template);
void out_end(struct out *out);

/*
 * Values; NULL is "not there". A key is NULL for plain values in a list. out_text
 * is for words and messages, out_path for paths and other byte strings that git
 * would quote.
 */
void out_id(struct out *out, const char *key, const char *hex);
void out_text(struct out *out, const char *key, const char *text);
void out_text_len(struct out *out, const char *key, const char *text, size_t len);
void out_path(struct out *out, const char *key, const char *path);
void out_path_len(struct out *out, const char *key, const char *path, size_t len);
void out_number(struct out *out, const char *key, int64_t number);
void out_bool(struct out *out, const char *key, bool yes);
void out_time(struct out *out, const char *key, int64_t unix_seconds);
void out_null(struct out *out, const char *key);

/* Opens a list; out_item() opens an object in it; each is closed by out_up(). */
void out_list(struct out *out, const char *key);
void out_item(struct out *out);
void out_up(struct out *out);

/* Writes what is pending: for a command that follows events as they come. */
void out_flush(struct out *out);

/*
 * Flushes, closes the descriptor and tells the first failure. Releases
 * everything; a record under way is dropped. A stdout that was closed from the
 * start is no failure as long as there was nothing to say.
 */
int out_close(struct out *out, struct fail *fail);

#endif
