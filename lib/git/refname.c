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

bool refname_valid(const char *name)
{
	const char *part = name;
	size_t len = strlen(name);

	if (!starts_with(name, "refs/") || name[len - 1] == '.')
		return false;
	for (;;) {
		size_t n = strcspn(part, "/");

		if (!component_ok(part, n))
			return false;
		if (!part[n])
			return true;
		part += n + 1;
	}
}

bool refname_is_root(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t len = strlen(name);

	return len >= 4 && strspn(name, allowed) == len && !strcmp(name + len - 4, "HEAD") &&
	       (len == 4 || name[len - 5] == '_');
}

int refname_check(const char *name, struct fail *fail)
{
	if (refname_valid(name))
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
	return starts_with(name, "refs/shadow/") || starts_with(name, "refs/shadow-old/") ||
	       starts_with(name, "refs/rescue/");
}
