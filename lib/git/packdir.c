/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packdir.h"

#include "file.h"
#include "number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP_MAX 64 /* bytes; ours is "interlock 1 0\n" */

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && !strcmp(name + n - m, end);
}

bool packdir_is_keep(const char *name, size_t hex_len)
{
	return strlen(name) == 5 + hex_len + 5 && !strncmp(name, "pack-", 5) &&
	       strspn(name + 5, "0123456789abcdef") == hex_len && ends_with(name, ".keep");
}

const char *packdir_next_name(const struct packdir *packs, const char *name)
{
	const char *next = name ? name + strlen(name) + 1 : packs->names.data;

	return next < packs->names.data + packs->names.len ? next : NULL;
}

static bool in_names(const struct packdir *packs, const char *wanted)
{
	const char *name = NULL;

	while ((name = packdir_next_name(packs, name)))
		if (!strcmp(name, wanted))
			return true;
	return false;
}

bool packdir_has(const struct packdir *packs, const char *base, const char *extension)
{
	char *name = mem_printf("%s%s", base, extension);
	bool there = in_names(packs, name);

	free(name);
	return there;
}

/*
 * Reads the start of a .keep in as few calls as it takes: a save does this for
 * each of our packs. Whatever stands there, it is only read, and never waited for.
 * Returns the length; 0 for one that is gone, or that is not for us to read.
 */
static size_t read_keep(int dir, const char *name, char text[static KEEP_MAX], struct fail *fail)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, text, KEEP_MAX - 1);
		close(fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == EIO) {
		fail_errno(fail, "open '%s'", name);
	}
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

bool packdir_read_level(int dir, const char *name, unsigned *level, struct fail *fail)
{
	static const char start[] = "interlock 1 ";
	struct fail ignored = FAIL_INIT;
	char text[KEEP_MAX];
	size_t len = read_keep(dir, name, text, fail);
	int64_t number;

	if (len <= strlen(start) || text[len - 1] != '\n' ||
	    strncmp(text, start, strlen(start)) != 0)
		return false;
	text[len - 1] = '\0';
	if (number_parse(text + strlen(start), "level", 0, PACKDIR_MAX_LEVEL, &number, &ignored) <
	    0)
		return false;
	*level = (unsigned)number;
	return true;
}

static void add_pack(struct packdir *packs, const char *keep, unsigned level)
{
	struct own_pack pack = {.level = level};

	pack.base = mem_strdup(keep);
	pack.base[strlen(keep) - strlen(".keep")] = '\0';
	pack.has_pack = packdir_has(packs, pack.base, ".pack");
	pack.has_idx = packdir_has(packs, pack.base, ".idx");
	MEM_GROW(packs->packs, packs->cap, packs->count + 1);
	packs->packs[packs->count++] = pack;
}

int packdir_stat(struct packdir *packs, int dir, struct fail *fail)
{
	for (size_t i = 0; i < packs->count && !fail->kind; i++) {
		struct own_pack *pack = &packs->packs[i];
		char *name = mem_printf("%s.pack", pack->base);
		struct stat st;

		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			pack->size = (uint64_t)st.st_size;
			pack->used = st.st_mtime;
		} else if (errno == ENOENT) {
			pack->has_pack = false;
		} else {
			fail_errno(fail, "stat '%s'", name);
		}
		free(name);
	}
	return fail->kind;
}

static int compare_base(const void *a, const void *b)
{
	return strcmp(((const struct own_pack *)a)->base, ((const struct own_pack *)b)->base);
}

int packdir_list(struct packdir *packs, int dir, size_t hex_len, size_t at_least, struct fail *fail)
{
	const char *name = NULL;
	size_t keeps = 0;
	unsigned level;

	*packs = (struct packdir)PACKDIR_INIT;
	if (file_each_name(dir, &packs->names, fail) < 0)
		return fail->kind;
	while ((name = packdir_next_name(packs, name)))
		keeps += packdir_is_keep(name, hex_len);
	if (keeps < at_least)
		return 0;
	while (!fail->kind && (name = packdir_next_name(packs, name)))
		if (packdir_is_keep(name, hex_len) && packdir_read_level(dir, name, &level, fail))
			add_pack(packs, name, level);
	if (packs->count)
		qsort(packs->packs, packs->count, sizeof(*packs->packs), compare_base);
	return fail->kind;
}

void packdir_release(struct packdir *packs)
{
	for (size_t i = 0; i < packs->count; i++)
		free(packs->packs[i].base);
	free(packs->packs);
	bytes_release(&packs->names);
	*packs = (struct packdir)PACKDIR_INIT;
}

int packdir_remove(int dir, const char *base, uint64_t *freed, struct fail *fail)
{
	static const char *const extensions[] = {".idx", ".pack", ".keep"};

	for (size_t i = 0; i < ARRAY_SIZE(extensions) && !fail->kind; i++) {
		char *name = mem_printf("%s%s", base, extensions[i]);
		struct stat st;

		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			st.st_size = 0;
		if (unlinkat(dir, name, 0) == 0)
			*freed += (uint64_t)st.st_size;
		else if (errno != ENOENT)
			fail_errno(fail, "delete '%s'", name);
		free(name);
	}
	return fail->kind;
}
