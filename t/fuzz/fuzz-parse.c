/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any text as a duration, a size, a number, a yes or no, a name, and a ref's name.
 *
 * Beside the sanitizers' checks: what is refused is a matter of usage and says of what; what is
 * taken is in range and has no trailing bytes; an encoded name is one component of a path, within
 * its length, and two names give two of them.
 */
#include "prelude.h"

#include "name.h"
#include "number.h"
#include "refname.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(struct fail *fail)
{
	check(fail->kind == FAIL_USAGE && strstr(fail->message, "the thing"));
	fail_clear(fail);
}

static void try_numbers(const char *text)
{
	struct fail fail = FAIL_INIT;
	int64_t n = -1, ms = -1, bytes = -1;
	bool yes;

	if (number_parse(text, "the thing", 3, 70000, &n, &fail) < 0) {
		check_refusal(&fail);
	} else {
		check(n >= 3 && n <= 70000 && strspn(text, "0123456789") == strlen(text));
		/* Seconds, when it has no unit. */
		check(duration_parse(text, "the thing", &ms, &fail) == 0 && ms == n * 1000);
		check(size_parse(text, "the thing", &bytes, &fail) == 0 && bytes == n);
	}
	if (duration_parse(text, "the thing", &ms, &fail) < 0)
		check_refusal(&fail);
	else
		check(ms >= 0 && !strpbrk(text, " +-.\n"));
	if (size_parse(text, "the thing", &bytes, &fail) < 0)
		check_refusal(&fail);
	else
		check(bytes >= 0 && !strpbrk(text, " +-.\n"));
	if (bool_parse(text, "the thing", &yes, &fail) < 0)
		check_refusal(&fail);
}

static void try_names(const char *text, const char *other)
{
	struct bytes one = BYTES_INIT, two = BYTES_INIT;
	struct fail fail = FAIL_INIT;

	if (name_check(text, "the thing", &fail) < 0)
		check_refusal(&fail);
	else
		check(text[0] && text[0] != '-' && strlen(text) <= NAME_MAX_GIVEN &&
		      !strpbrk(text, " \n\033%\\") && strcmp(text, "..") != 0);
	name_encode(text, &one);
	name_encode(other, &two);
	check(one.len <= NAME_MAX_ENCODED && (!one.len || !strchr(one.data, '/')));
	check(!strcmp(text, other) == (one.len == two.len && !memcmp(one.data, two.data, one.len)));
	bytes_release(&one);
	bytes_release(&two);
	if (refname_valid(text))
		check(!strstr(text, "..") && !strpbrk(text, " ~^:?*[\\\177") && text[0] != '/');
	if (refname_is_ours(text))
		check(!refname_per_worktree(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Two texts, in allocations of their own: a byte too far is seen. */
	const uint8_t *cut = size ? memchr(data, '\0', size) : NULL;
	size_t len = cut ? (size_t)(cut - data) : size;
	char *text = mem_dup((const char *)data, len);
	char *other =
		cut ? mem_dup((const char *)cut + 1, strnlen((const char *)cut + 1, size - len - 1))
		    : mem_strdup("x");

	try_numbers(text);
	try_names(text, other);
	free(text);
	free(other);
	return 0;
}
