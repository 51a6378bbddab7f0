/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "attributes.h"

#include "bytes.h"
#include "file.h"
#include "repo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_FILE "/etc/gitattributes"

/* Up to here git (2048) and libgit2 agree on what a line and a file are. */
#define LINE_MAX_SAFE 2000
#define FILE_MAX_SAFE ((size_t)1024 * 1024)

static const struct {
	const char *name;
	unsigned use;
} known[] = {
	{"text", ATTRIBUTE_CONVERT},  {"crlf", ATTRIBUTE_CONVERT},
	{"eol", ATTRIBUTE_CONVERT},   {"ident", ATTRIBUTE_CONVERT},
	{"filter", ATTRIBUTE_FILTER}, {"working-tree-encoding", ATTRIBUTE_ENCODING},
};

/* A filter without a driver in the configuration does nothing, in git as here. */
static bool has_driver(const struct argv *drivers, const char *name, size_t len)
{
	if (!drivers)
		return true;
	for (size_t i = 0; i < drivers->count; i++)
		if (strlen(drivers->items[i]) == len && !memcmp(drivers->items[i], name, len))
			return true;
	return false;
}

static unsigned use_in_word(const char *word, size_t len, const struct argv *drivers)
{
	const char *equals;
	size_t n;

	/* A quoted pattern may have an attribute right behind its closing quote. */
	if (memchr(word, '"', len)) {
		unsigned uses = 0;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			if (memmem(word, len, known[i].name, strlen(known[i].name)))
				uses |= known[i].use;
		return uses;
	}
	if (len > 6 && !memcmp(word, "[attr]", 6)) {
		word += 6;
		len -= 6;
	}
	equals = memchr(word, '=', len);
	n = equals ? (size_t)(equals - word) : len;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i].name) == n && !memcmp(known[i].name, word, n) &&
		    (known[i].use != ATTRIBUTE_FILTER ||
		     has_driver(drivers, word + n + 1, equals ? len - n - 1 : 0)))
			return known[i].use;
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static unsigned use_in_line(const char *line, size_t len, const struct argv *drivers)
{
	const char *end = line + len;
	unsigned uses = 0;
	bool macro;

	if (len > LINE_MAX_SAFE || memchr(line, '\0', len))
		uses |= ATTRIBUTE_ODD;
	while (line < end && is_blank(*line))
		line++;
	if (line < end && *line == '#')
		return uses;
	macro = end - line > 6 && !memcmp(line, "[attr]", 6);
	while (line < end) {
		const char *word = line;

		while (line < end && !is_blank(*line))
			line++;
		uses |= use_in_word(word, (size_t)(line - word), drivers);
		while (line < end && is_blank(*line))
			line++;
	}
	/* libgit2 knows a macro only below its definition; git everywhere. */
	if (macro && (uses & ATTRIBUTE_CONVERT))
		uses |= ATTRIBUTE_ODD;
	return uses;
}

unsigned attributes_in(const char *text, size_t len, const struct argv *drivers)
{
	const char *end = text + len;
	unsigned uses = len > FILE_MAX_SAFE ? ATTRIBUTE_ODD : 0;

	while (text < end) {
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		const char *stop = lf ? lf : end;

		uses |= use_in_line(text, (size_t)(stop - text), drivers);
		text = stop + 1;
	}
	return uses;
}

/* A path may be a symlink here, as dotfiles often are; `path` is freed. */
static int read_source(const struct repo *repo, char *path, unsigned *uses, struct fail *fail)
{
	struct bytes text = BYTES_INIT;
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;

	if (fd >= 0) {
		if (file_read_fd(fd, path, 16 * FILE_MAX_SAFE, &text, fail) < 0) {
			/* A directory there is nothing to git; of the rest git shall judge. */
			if (fail->err != EISDIR)
				*uses |= ATTRIBUTE_ODD;
			fail_clear(fail);
		}
		*uses |= attributes_in(text.data, text.len, &repo->conf.filters);
		close(fd);
	} else if (path && errno != ENOENT && errno != ENOTDIR) {
		*uses |= ATTRIBUTE_ODD;
	}
	bytes_release(&text);
	free(path);
	return fail->kind;
}

static char *user_file(const struct repo *repo)
{
	const char *set = repo->conf.attributes_file;
	const char *home = getenv("HOME");
	const char *xdg = getenv("XDG_CONFIG_HOME");

	if (set && set[0] == '~' && set[1] == '/')
		return home ? mem_printf("%s%s", home, set + 1) : NULL;
	if (set)
		return mem_strdup(set);
	if (xdg && *xdg)
		return mem_printf("%s/git/attributes", xdg);
	return home ? mem_printf("%s/.config/git/attributes", home) : NULL;
}

int attributes_outside(struct repo *repo, unsigned *uses, struct fail *fail)
{
	const char *set = repo->conf.attributes_file;

	*uses = 0;
	/* "~user/..." and "%(prefix)/..." are git's to expand; a relative path, to find. */
	if (set && set[0] != '/' && strncmp(set, "~/", 2) != 0)
		*uses |= ATTRIBUTE_ODD;
	if (read_source(repo, mem_strdup(SYSTEM_FILE), uses, fail) < 0 ||
	    read_source(repo, user_file(repo), uses, fail) < 0 ||
	    read_source(repo, mem_printf("%s/info/attributes", repo->common_dir), uses, fail) < 0)
		return fail->kind;
	/* With GIT_ATTR_NOSYSTEM git leaves out what libgit2 would read. */
	if (getenv("GIT_ATTR_NOSYSTEM") && access(SYSTEM_FILE, F_OK) == 0)
		*uses |= ATTRIBUTE_ODD;
	return 0;
}

int attributes_judge(unsigned uses, struct fail *fail)
{
	if (uses & ATTRIBUTE_FILTER)
		return fail_set(fail, FAIL_ENGINE, "filter attribute");
	if (uses & ATTRIBUTE_ENCODING)
		return fail_set(fail, FAIL_ENGINE, "working-tree-encoding attribute");
	if (uses & ATTRIBUTE_ODD)
		return fail_set(fail, FAIL_ENGINE, "unusual gitattributes");
	return 0;
}
