/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "refname.h"

#include <string.h>

static bool starts_with(const char *text, const char *head)
{
	return !strncmp(text, head, strlen(head));
}

static bool component_ok(const char *part, size_t len)
{
	if (!len || part[0] == '.')
		return false;
	if (len >= 5 && !memcmp(part + len - 5, ".lock", 5))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)part[i];

		if (c <= 0x20 || c == 0x7f || strchr("~^:?*[\\", c))
			return false;
		if (i + 1 < len &&
		    ((c == '.' && part[i + 1] == '.') || (c == '@' && part[i + 1] == '{')))
			return false;
	}
	return true;
}

int refname_check(const char *name, struct fail *fail)
{
	const char *part = name;
	size_t len = strlen(name);
	bool ok = starts_with(name, "refs/") && len > 5 && name[len - 1] != '.';

	while (ok) {
		size_t n = strcspn(part, "/");

		ok = component_ok(part, n);
		if (!part[n])
			break;
		part += n + 1;
	}
	if (ok)
		return 0;
	return fail_set(fail, FAIL_USAGE, "'%s' is not a valid ref name (refs/...)", name);
}

bool refname_per_worktree(const char *name)
{
	return !starts_with(name, "refs/") || starts_with(name, "refs/bisect/") ||
	       starts_with(name, "refs/worktree/") || starts_with(name, "refs/rewritten/");
}

bool refname_is_ours(const char *name)
{
	return starts_with(name, "refs/shadow/") || starts_with(name, "refs/shadow-old/");
}
