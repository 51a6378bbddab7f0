/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as what git gives the reference-transaction hook, and as a settings file.
 *
 * Beside the sanitizers' checks: every part of a line lies within the input; the lines come to an
 * end, and are as many as there are in it; where nothing is said to mention a ref of ours, no line
 * does; and a ref of ours is one for the rest of the suite.
 */
#include "prelude.h"

#include "guard.h"
#include "refname.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool within(const char *part, size_t part_len, const char *text, size_t len)
{
	return !part_len || (part >= text && part + part_len <= text + len);
}

static bool check_line(const struct guard_line *line, const char *text, size_t len)
{
	bool ours = guard_is_ours(line->name, line->name_len);

	check(within(line->old_value, line->old_len, text, len) &&
	      within(line->new_value, line->new_len, text, len) &&
	      within(line->name, line->name_len, text, len));
	if (line->name_len && !memchr(line->name, '\0', line->name_len)) {
		char *name = mem_dup(line->name, line->name_len);

		check(refname_is_ours(name) == ours);
		free(name);
	}
	guard_is_zero(line->old_value, line->old_len);
	guard_is_zero(line->new_value, line->new_len);
	return ours;
}

static size_t count_lines(const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n + (len && text[len - 1] != '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_dup((const char *)data, size);
	const char *at = text;
	size_t left = size, lines = 0;
	struct guard_line line;
	bool ours = false;

	while (guard_next_line(&at, &left, &line)) {
		check(at + left == text + size);
		ours |= check_line(&line, text, size);
		lines++;
	}
	check(lines == count_lines(text, size));
	check(!ours || guard_mentions_ours(text, size));
	guard_saves_are_off(text, size);
	free(text);
	return 0;
}
