/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * quote: bytes from a repository, made safe to show.
 *
 * quote_c() is git's C-style quoting: a path with control bytes, quotes,
 * backslashes or bytes over 0x7f is put in double quotes with escapes; any
 * other path is appended as it is. unquote_c() is its inverse.
 * quote_line() makes any text one line that no terminal obeys (vis(3)).
 */
#ifndef QUOTE_H
#define QUOTE_H

#include "bytes.h"

void quote_c(const char *text, size_t len, struct bytes *out);

/*
 * Appends what the C-quoted text at `text` stands for; returns the byte behind
 * the closing quote, or NULL if the text is malformed. The text starts with '"'.
 */
const char *unquote_c(const char *text, struct bytes *out);

void quote_line(const char *text, size_t len, struct bytes *out);

bool utf8_valid(const char *text, size_t len);

#endif
