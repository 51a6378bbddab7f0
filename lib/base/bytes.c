/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char bytes_empty[1];

void bytes_init(struct bytes *b)
{
	b->data = bytes_empty;
	b->len = b->cap = 0;
}

void bytes_release(struct bytes *b)
{
	if (b->cap)
		free(b->data);
	bytes_init(b);
}

void bytes_truncate(struct bytes *b, size_t len)
{
	if (!b->cap)
		return;
	b->len = len;
	b->data[len] = '\0';
}

void bytes_clear(struct bytes *b)
{
	bytes_truncate(b, 0);
}

void bytes_reserve(struct bytes *b, size_t more)
{
	size_t need, cap;

	if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1, &need) ||
	    need > SIZE_MAX / 2)
		abort();
	if (need <= b->cap)
		return;
	cap = size_max(need, size_max(64, b->cap + b->cap / 2));
	b->data = mem_resize(b->cap ? b->data : NULL, cap, 1);
	b->cap = cap;
	b->data[b->len] = '\0';
}

void bytes_add(struct bytes *b, const void *data, size_t len)
{
	if (!len)
		return;
	bytes_reserve(b, len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void bytes_adds(struct bytes *b, const char *text)
{
	bytes_add(b, text, strlen(text));
}

void bytes_addc(struct bytes *b, int c)
{
	char one = (char)c;

	bytes_add(b, &one, 1);
}

void bytes_addf(struct bytes *b, const char *fmt, ...)
{
	va_list ap, again;
	int need;

	va_start(ap, fmt);
	va_copy(again, ap);
	need = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (need < 0)
		abort();
	bytes_reserve(b, (size_t)need);
	vsnprintf(b->data + b->len, (size_t)need + 1, fmt, again);
	va_end(again);
	b->len += (size_t)need;
}

char *bytes_take(struct bytes *b)
{
	char *data;

	bytes_reserve(b, 0);
	data = b->data;
	bytes_init(b);
	return data;
}

void bytes_chomp(struct bytes *b)
{
	if (b->len && b->data[b->len - 1] == '\n') {
		bytes_truncate(b, b->len - 1);
		if (b->len && b->data[b->len - 1] == '\r')
			bytes_truncate(b, b->len - 1);
	}
}
