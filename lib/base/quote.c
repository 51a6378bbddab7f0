/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "quote.h"

#define LIBBSD_OPENBSD_VIS
#include <bsd/vis.h>
#include <string.h>

static const char escapes[][2] = {
	{'\a', 'a'}, {'\b', 'b'}, {'\t', 't'}, {'\n', 'n'},  {'\v', 'v'},
	{'\f', 'f'}, {'\r', 'r'}, {'"', '"'},  {'\\', '\\'},
};

static bool plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void quote_byte(unsigned char c, struct bytes *out)
{
	if (plain(c)) {
		bytes_addc(out, c);
		return;
	}
	bytes_addc(out, '\\');
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++)
		if ((unsigned char)escapes[i][0] == c) {
			bytes_addc(out, escapes[i][1]);
			return;
		}
	bytes_addf(out, "%03o", c);
}

void quote_c(const char *text, size_t len, struct bytes *out)
{
	size_t i = 0;

	while (i < len && plain((unsigned char)text[i]))
		i++;
	if (i == len) {
		bytes_add(out, text, len);
		return;
	}
	bytes_addc(out, '"');
	for (i = 0; i < len; i++)
		quote_byte((unsigned char)text[i], out);
	bytes_addc(out, '"');
}

/* One escape behind a backslash; returns the byte behind it, or NULL. */
static const char *unescape(const char *p, struct bytes *out)
{
	if (*p >= '0' && *p <= '3') {
		int value = 0;

		for (int i = 0; i < 3; i++, p++) {
			if (*p < '0' || *p > '7')
				return NULL;
			value = value * 8 + (*p - '0');
		}
		bytes_addc(out, value);
		return p;
	}
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++)
		if (escapes[i][1] == *p) {
			bytes_addc(out, escapes[i][0]);
			return p + 1;
		}
	return NULL;
}

const char *unquote_c(const char *text, struct bytes *out)
{
	const char *p = text;

	if (*p++ != '"')
		return NULL;
	while (p && *p && *p != '"') {
		if (*p == '\\')
			p = unescape(p + 1, out);
		else
			bytes_addc(out, *p++);
	}
	return p && *p == '"' ? p + 1 : NULL;
}

/* Continuation bytes that follow `lead`, or -1; the first one's range in lo..hi. */
static int utf8_tail(unsigned char lead, unsigned char *lo, unsigned char *hi)
{
	*lo = 0x80;
	*hi = 0xbf;
	if (lead < 0x80)
		return 0;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 1;
	if (lead >= 0xe0 && lead <= 0xef) {
		if (lead == 0xe0)
			*lo = 0xa0;
		if (lead == 0xed)
			*hi = 0x9f;
		return 2;
	}
	if (lead >= 0xf0 && lead <= 0xf4) {
		if (lead == 0xf0)
			*lo = 0x90;
		if (lead == 0xf4)
			*hi = 0x8f;
		return 3;
	}
	return -1;
}

/* Length of the well-formed UTF-8 sequence at `text`, and its code point; 0: none is there. */
static size_t utf8_sequence(const char *text, size_t len, uint32_t *point)
{
	unsigned char first = (unsigned char)text[0];
	unsigned char lo, hi;
	int tail = utf8_tail(first, &lo, &hi);

	if (tail < 0 || len <= (size_t)tail)
		return 0;
	/* A lead of n bytes has 7 - n bits of its own; a lone byte has 7. */
	*point = tail ? first & (0x3fu >> tail) : first;
	for (int k = 1; k <= tail; k++) {
		unsigned char c = (unsigned char)text[k];

		if (c < lo || c > hi)
			return 0;
		*point = *point << 6 | (c & 0x3f);
		lo = 0x80;
		hi = 0xbf;
	}
	return (size_t)tail + 1;
}

bool utf8_valid(const char *text, size_t len)
{
	uint32_t point;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_sequence(text + i, len - i, &point);

		if (!n)
			return false;
		i += n;
	}
	return true;
}

/*
 * What a terminal obeys, or shows as something else than it is: the C1 controls
 * (U+009B is CSI), line and paragraph separators, and the marks that turn the
 * direction of text around.
 */
static bool commands(uint32_t point)
{
	return (point >= 0x80 && point <= 0x9f) || (point >= 0x2028 && point <= 0x202e) ||
	       (point >= 0x2066 && point <= 0x2069);
}

/* One byte as vis(3) shows it; `next` keeps its escapes unambiguous. */
static void show_byte(char c, char next, struct bytes *out)
{
	char shown[8];

	vis(shown, c, VIS_CSTYLE | VIS_NL | VIS_TAB | VIS_NOSLASH, next);
	bytes_adds(out, shown);
}

void quote_line(const char *text, size_t len, struct bytes *out)
{
	for (size_t i = 0; i < len;) {
		size_t run = i, n = 0;
		uint32_t point = 0;

		while (run < len && plain((unsigned char)text[run]))
			run++;
		bytes_add(out, text + i, run - i);
		if (run == len)
			return;
		if ((unsigned char)text[run] >= 0x80)
			n = utf8_sequence(text + run, len - run, &point);
		if (text[run] == '"' || text[run] == '\\') {
			bytes_addc(out, text[run]);
			i = run + 1;
		} else if (n && !commands(point)) {
			bytes_add(out, text + run, n);
			i = run + n;
		} else {
			for (i = run; i < run + size_max(n, 1); i++)
				show_byte(text[i], i + 1 < len ? text[i + 1] : 0, out);
		}
	}
}
