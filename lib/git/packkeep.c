/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "packkeep.h"

#include "beneath.h"
#include "file.h"
#include "repo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "keep"

size_t packkeep_text(unsigned level, char out[static PACKKEEP_TEXT_MAX])
{
	return (size_t)snprintf(out, PACKKEEP_TEXT_MAX, "interlock 1 %u\n", level);
}

/* ---- making links ------------------------------------------------------------------------ */

static int open_whole(struct repo *repo, unsigned level)
{
	char text[PACKKEEP_TEXT_MAX], path[64];
	size_t len = packkeep_text(level, text);
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "interlock/" FOLDER "/%u", level);
	fd = beneath_open(repo->common_fd, path, O_PATH);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size != len)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void make(struct repo *repo, unsigned level)
{
	/* Read-only for everybody, as the files beside it are. */
	const struct file_modes modes = {
		.file = 0444, .dir = repo->modes.dir, .extra = repo->modes.extra & 0444};
	char text[PACKKEEP_TEXT_MAX], name[16];
	size_t len = packkeep_text(level, text);
	struct fail ignored = FAIL_INIT;
	int dir = repo_state_dir(repo, FOLDER, &ignored);

	if (dir < 0)
		return;
	snprintf(name, sizeof(name), "%u", level);
	file_replace(dir, name, text, len, &modes, false, &ignored);
	close(dir);
}

int packkeep_open(struct repo *repo, unsigned level)
{
	int fd = open_whole(repo, level);

	if (fd >= 0)
		return fd;
	make(repo, level);
	return open_whole(repo, level);
}

/* ---- counting them ------------------------------------------------------------------------- */

/* The inode numbers of the files that are linked from. */
struct known {
	ino_t ino[PACKDIR_MAX_LEVEL + 1];
	bool there[PACKDIR_MAX_LEVEL + 1];
};

typedef void each_entry(void *arg, const char *name, ino_t ino);

/* Closes `fd`, an open directory that was not read yet; -1 is errno's. */
static int list(int fd, each_entry *take, void *arg, struct fail *fail)
{
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!stream) {
		fail_errno(fail, "list a directory");
		if (fd >= 0)
			close(fd);
		return fail->kind;
	}
	while (errno = 0, (entry = readdir(stream)))
		take(arg, entry->d_name, entry->d_ino);
	if (errno)
		fail_errno(fail, "list a directory");
	closedir(stream);
	return fail->kind;
}

static void take_known(void *arg, const char *name, ino_t ino)
{
	struct known *known = arg;
	char *end;
	unsigned long level = strtoul(name, &end, 10);

	if (name[0] >= '0' && name[0] <= '9' && !*end && level <= PACKDIR_MAX_LEVEL) {
		known->ino[level] = ino;
		known->there[level] = true;
	}
}

/* Inode numbers mean something only on one device; with none known every .keep is read. */
static void find_known(struct repo *repo, int dir, struct known *known)
{
	struct fail ignored = FAIL_INIT;
	struct stat packs, keeps;
	int fd = beneath_open(repo->common_fd, "interlock/" FOLDER, O_RDONLY | O_DIRECTORY);

	*known = (struct known){0};
	if (fd < 0)
		return;
	if (fstat(dir, &packs) == 0 && fstat(fd, &keeps) == 0 && packs.st_dev == keeps.st_dev)
		list(fd, take_known, known, &ignored);
	else
		close(fd);
}

struct keep {
	char name[96];
	ino_t ino;
};

struct counting {
	size_t hex_len;
	struct keep *keeps;
	size_t count, cap;
};

static void take_keep(void *arg, const char *name, ino_t ino)
{
	struct counting *counting = arg;
	struct keep *keep;

	if (!packdir_is_keep(name, counting->hex_len))
		return;
	MEM_GROW(counting->keeps, counting->cap, counting->count + 1);
	keep = &counting->keeps[counting->count++];
	snprintf(keep->name, sizeof(keep->name), "%s", name);
	keep->ino = ino;
}

static bool level_of(int dir, const struct known *known, const struct keep *keep, unsigned *level,
		     struct fail *fail)
{
	for (unsigned i = 0; i <= PACKDIR_MAX_LEVEL; i++)
		if (known->there[i] && known->ino[i] == keep->ino) {
			*level = i;
			return true;
		}
	return packdir_read_level(dir, keep->name, level, fail);
}

int packkeep_crowded(struct repo *repo, int dir, size_t enough, bool *answer, struct fail *fail)
{
	struct counting counting = {.hex_len = 2 * hash_size(repo->algo)};
	size_t counts[PACKDIR_MAX_LEVEL + 1] = {0};
	struct known known;
	unsigned level;

	*answer = false;
	if (list(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), take_keep, &counting,
		 fail) == 0 &&
	    counting.count >= enough) {
		find_known(repo, dir, &known);
		for (size_t i = 0; i < counting.count && !*answer && !fail->kind; i++)
			*answer = level_of(dir, &known, &counting.keeps[i], &level, fail) &&
				  ++counts[level] >= enough;
	}
	free(counting.keeps);
	return fail->kind;
}
