/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "argv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void argv_take(struct argv *list, char *text)
{
	MEM_GROW(list->items, list->cap, list->count + 2);
	list->items[list->count++] = text;
	list->items[list->count] = NULL;
}

void argv_push(struct argv *list, const char *text)
{
	argv_take(list, mem_strdup(text));
}

void argv_pushf(struct argv *list, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	argv_take(list, mem_vprintf(fmt, ap));
	va_end(ap);
}

void argv_push_all(struct argv *list, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, list);
	while ((text = va_arg(ap, const char *)))
		argv_push(list, text);
	va_end(ap);
}

void argv_release(struct argv *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct argv)ARGV_INIT;
}
