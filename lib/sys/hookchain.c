/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "hookchain.h"

#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAX 512
#define LINKS_MAX 16 /* hooks of ours one behind the other; more is a circle */

/* ---- hooks of others --------------------------------------------------------------- */

/* The length of the first two lines; 0 when there are none. */
static size_t read_two_lines(const char *path, char head[static HEAD_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, head, HEAD_MAX);
	const char *end = n > 0 ? memchr(head, '\n', (size_t)n) : NULL;

	if (fd >= 0)
		close(fd);
	if (end)
		end = memchr(end + 1, '\n', (size_t)(head + n - end - 1));
	return end ? (size_t)(end - head) : 0;
}

bool hookchain_same_maker(const char *one, const char *other)
{
	char a[HEAD_MAX], b[HEAD_MAX];
	size_t len = read_two_lines(one, a);

	return len && read_two_lines(other, b) == len && !memcmp(a, b, len);
}

bool hookchain_is_self(const struct hookchain *chain, const char *path)
{
	struct stat there, self;

	return stat(path, &there) == 0 && stat(chain->self, &self) == 0 &&
	       there.st_dev == self.st_dev && there.st_ino == self.st_ino;
}

/* The path when a hook is there that git would run. */
static char *if_runs(char *path)
{
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* ---- in a folder of ours ------------------------------------------------------------ */

/* <...>/interlock/hooks/, or hooks.<worktree>/: other places are not asked for "former". */
static bool is_folder(const char *path, size_t dir_len)
{
	static const char word[] = "interlock/hooks";
	char *dir = mem_dup(path, dir_len - 1), *slash = strrchr(dir, '/');
	bool ours = false;

	while (slash && slash > dir && slash[-1] != '/')
		slash--;
	if (slash && !strncmp(slash, word, sizeof(word) - 1))
		ours = strchr("./", slash[sizeof(word) - 1]) != NULL; /* or at its end */
	free(dir);
	return ours;
}

/* A small file. False, and errno, when it cannot be read; EFBIG when it is not small. */
static bool read_small(const char *path, struct bytes *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return false;
	bytes_reserve(out, PATH_MAX + 1);
	n = read(fd, out->data, PATH_MAX);
	close(fd);
	if (n == PATH_MAX)
		errno = EFBIG;
	if (n < 0 || n == PATH_MAX)
		return false;
	out->len = (size_t)n;
	out->data[n] = '\0';
	return true;
}

/* Where "former" says that the hooks are; NULL: nowhere. */
static char *former_dir(const struct hookchain *chain, const char *file, bool *doubt)
{
	struct bytes text = BYTES_INIT;
	char *dir = NULL;

	if (!read_small(file, &text)) {
		*doubt = *doubt || errno != ENOENT;
	} else {
		bytes_chomp(&text);
		if (!text.len)
			dir = chain->own_hooks(chain->arg);
		else if (text.data[0] == '/')
			dir = mem_strdup(text.data);
		else if (chain->top)
			dir = mem_printf("%s%s%s", chain->top, *chain->top ? "/" : "", text.data);
		*doubt = *doubt || !dir;
	}
	bytes_release(&text);
	return dir;
}

/* What stands there now is asked for now. */
static char *find_former(const struct hookchain *chain, const char *path, size_t dir_len,
			 const char *name, bool *doubt)
{
	char *file = mem_printf("%.*s" HOOKCHAIN_FORMER, (int)dir_len, path);
	char *dir = former_dir(chain, file, doubt);
	char *found = dir ? if_runs(mem_printf("%s/%s", dir, name)) : NULL;

	free(dir);
	free(file);
	return found;
}

/* ---- one after the other ------------------------------------------------------------- */

/*
 * Another tool has taken our place, and calls us under another name ("<hook>.legacy"). Then
 * what we had put aside is still ours to run, unless we have that place again.
 */
static char *find_displaced(const struct hookchain *chain, const char *path, size_t dir_len,
			    const char *name)
{
	char *place = mem_printf("%.*s%s", (int)dir_len, path, name), *found = NULL;

	if (strcmp(place, path) != 0 && !strncmp(place, path, strlen(place)) &&
	    !hookchain_is_self(chain, place))
		found = if_runs(mem_printf("%s" HOOKCHAIN_ASIDE, place));
	/* The tool itself, from before: it is running already. */
	if (found && hookchain_same_maker(found, place)) {
		free(found);
		found = NULL;
	}
	free(place);
	return found;
}

static char *find_behind(const struct hookchain *chain, const char *path, const char *name,
			 bool *doubt)
{
	const char *slash = strrchr(path, '/');
	size_t dir_len = slash ? (size_t)(slash + 1 - path) : 0;
	char *found;

	/* One that was found by a path; nothing is known of where another stands. */
	if (!slash)
		return NULL;
	found = if_runs(mem_printf("%s" HOOKCHAIN_ASIDE, path));
	if (!found)
		found = find_displaced(chain, path, dir_len, name);
	if (!found && is_folder(path, dir_len))
		found = find_former(chain, path, dir_len, name, doubt);
	return found;
}

/*
 * Ours may stand behind ours: in the repository's own hooks directory, when it is installed
 * for all of a user's repositories as well. Once is enough.
 */
char *hookchain_next(const struct hookchain *chain, const char *path, const char *name, bool *doubt)
{
	char *found = find_behind(chain, path, name, doubt);

	for (int links = 0; found && hookchain_is_self(chain, found); links++) {
		char *ours = found;

		found = find_behind(chain, ours, name, doubt);
		free(ours);
		if (links == LINKS_MAX) {
			*doubt = true;
			free(found);
			return NULL;
		}
	}
	return found;
}
