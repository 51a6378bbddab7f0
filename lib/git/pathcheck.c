/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "pathcheck.h"

#include <string.h>
#include <strings.h>

bool path_stays_below(const char *path, size_t len)
{
	const char *end = path + len;

	for (;;) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash ? slash : end) - path);

		if (!n || (path[0] == '.' && (n == 1 || (n == 2 && path[1] == '.'))))
			return false;
		if (!slash)
			return true;
		path = slash + 1;
	}
}

/* The code points that HFS+ leaves out when it compares names, in UTF-8. */
static size_t ignorable(const unsigned char *p, size_t len)
{
	if (len < 3)
		return 0;
	if (p[0] == 0xe2 && p[1] == 0x80 &&
	    ((p[2] >= 0x8c && p[2] <= 0x8f) || (p[2] >= 0xaa && p[2] <= 0xae)))
		return 3;
	if (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xaa && p[2] <= 0xaf)
		return 3;
	return p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf ? 3 : 0;
}

/* The first bytes of a component as such a file system sees them. */
static void fold(const char *name, size_t len, char *out, size_t room)
{
	size_t used = 0;

	for (size_t i = 0; i < len && used + 1 < room;) {
		size_t skip = ignorable((const unsigned char *)name + i, len - i);

		if (!skip)
			out[used++] = name[i];
		i += skip ? skip : 1;
	}
	out[used] = '\0';
}

static bool component_is_unusual(const char *name, size_t len, bool is_symlink)
{
	char head[8];

	if (!len || !strchr(".gG\xe2\xef", name[0]))
		return false;
	fold(name, len, head, sizeof(head));
	if (!strncasecmp(head, ".git", 4) && (!head[4] || strchr(" .:", head[4]) || is_symlink))
		return true;
	if (!strncasecmp(head, "git~", 4))
		return true;
	/* ".gitmodules" must be no symlink, by none of its short names. */
	return is_symlink && (head[0] == 'g' || head[0] == 'G') && memchr(name, '~', len);
}

bool path_is_unusual(const char *path, size_t len, bool is_symlink)
{
	const char *end = path + len;
	const char *start = path;

	/* A backslash separates, too, where these guards come from. */
	for (const char *p = path;; p++) {
		if (p < end && *p != '/' && *p != '\\')
			continue;
		if (component_is_unusual(start, (size_t)(p - start), is_symlink))
			return true;
		if (p == end)
			return false;
		start = p + 1;
	}
}
