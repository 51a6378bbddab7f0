/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "pathspec.h"

#include "bytes.h"
#include "repo.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static const char *skip(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) ? NULL : text + n;
}

/* Behind the magic that says "from the top"; NULL when there is none. */
static const char *from_top(const char *given)
{
	const char *rest = skip(given, ":(top)");

	return rest ? rest : skip(given, ":/");
}

static void up(struct bytes *path)
{
	bytes_truncate(path, path->len - 1);
	while (path->len && path->data[path->len - 1] != '/')
		bytes_truncate(path, path->len - 1);
}

/* Lays the components of `text` behind `path` ("" or ending in a slash); false above the top. */
static bool walk(struct bytes *path, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "/");

		if (n == 2 && !strncmp(text, "..", 2)) {
			if (!path->len)
				return false;
			up(path);
		} else if (n && !(n == 1 && *text == '.')) {
			bytes_add(path, text, n);
			bytes_addc(path, '/');
		}
		text += n + strspn(text + n, "/");
	}
	if (path->len)
		bytes_truncate(path, path->len - 1);
	return true;
}

static int outside(const char *given, struct fail *fail)
{
	return fail_set(fail, FAIL_USAGE, "'%s' is outside the work tree", given);
}

/* What an absolute path is below the work tree; NULL: it is not. */
static const char *below_work_tree(const struct repo *repo, const char *given)
{
	size_t n = strlen(repo->work_tree);

	if (!strcmp(repo->work_tree, "/"))
		return given + 1;
	if (strncmp(given, repo->work_tree, n) != 0 || (given[n] && given[n] != '/'))
		return NULL;
	return given + n;
}

int pathspec_read(struct repo *repo, const char *given, char **spec, struct fail *fail)
{
	struct bytes path = BYTES_INIT;
	const char *text = from_top(given);

	*spec = NULL;
	if (!*given)
		return fail_set(fail, FAIL_USAGE, "a path cannot be empty ('.' is everything)");
	if (!text && given[0] == ':')
		return fail_set(fail, FAIL_USAGE,
				"pathspec '%s': of git's magic only ':/' is known here", given);
	if (!text && given[0] == '/') {
		text = below_work_tree(repo, given);
		if (!text)
			return outside(given, fail);
	} else if (!text) {
		text = given;
		bytes_adds(&path, repo->prefix);
	}
	if (!walk(&path, text)) {
		bytes_release(&path);
		return outside(given, fail);
	}
	*spec = bytes_take(&path);
	return 0;
}

int pathspec_recorded(const char *text, char **spec, struct fail *fail)
{
	struct bytes path = BYTES_INIT;
	const char *rest = from_top(text);

	*spec = NULL;
	if ((!rest && text[0] == ':') || !walk(&path, rest ? rest : text)) {
		bytes_release(&path);
		return fail_set(fail, FAIL_UNSUPPORTED, "pathspec '%s' cannot be judged by path",
				text);
	}
	*spec = bytes_take(&path);
	return 0;
}

bool pathspec_is_literal(const char *spec)
{
	return !strpbrk(spec, "*?[\\");
}

bool pathspec_covers(const char *spec, const char *path)
{
	size_t n = strlen(spec);

	if (!n || (!strncmp(spec, path, n) && (!path[n] || path[n] == '/')))
		return true;
	return !pathspec_is_literal(spec) && fnmatch(spec, path, 0) == 0;
}
