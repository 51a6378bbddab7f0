/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "kin.h"

#include "procid.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define GENERATIONS 256

/*
 * Only what has the right name is looked at: stat() of any file that somebody has open
 * can hang on a dead server. The name says nothing by itself.
 */
static bool is_named(int dir, const char *fd, const char *name)
{
	char path[PATH_MAX];
	ssize_t n = readlinkat(dir, fd, path, sizeof(path) - 1);
	const char *last;

	if (n <= 0)
		return false;
	path[n] = '\0';
	last = strrchr(path, '/');
	return last && !strcmp(last + 1, name);
}

static bool is_file(int dir, const char *fd, const struct stat *file)
{
	struct stat st;

	return fstatat(dir, fd, &st, 0) == 0 && st.st_dev == file->st_dev &&
	       st.st_ino == file->st_ino;
}

/* "lock:\t1: FLOCK  ADVISORY  WRITE ...": a lock that was taken through this open file. */
static bool has_flock(int proc, const char *fd)
{
	char path[48], line[256];
	bool found = false;
	int info;
	FILE *in;

	snprintf(path, sizeof(path), "fdinfo/%.24s", fd);
	info = openat(proc, path, O_RDONLY | O_CLOEXEC);
	in = info < 0 ? NULL : fdopen(info, "re");
	if (!in) {
		if (info >= 0)
			close(info);
		return false;
	}
	while (!found && fgets(line, sizeof(line), in))
		found = !strncmp(line, "lock:", 5) && strstr(line, ": FLOCK ");
	fclose(in);
	return found;
}

/* Has the process whose folder in /proc this is the file open, and locked through that? */
static bool holds(const char *folder, const struct stat *file, const char *name)
{
	int proc = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fds;
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (proc < 0)
		return false;
	fds = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fds < 0 ? NULL : fdopendir(fds);
	while (dir && !found && (entry = readdir(dir)))
		found = isdigit((unsigned char)entry->d_name[0]) &&
			is_named(dirfd(dir), entry->d_name, name) &&
			is_file(dirfd(dir), entry->d_name, file) && has_flock(proc, entry->d_name);
	if (dir)
		closedir(dir);
	else if (fds >= 0)
		close(fds);
	close(proc);
	return found;
}

/*
 * /proc/locks has the kernel's own device, which on some file systems (btrfs, overlay)
 * is not the one of stat(). Where they are the same it is the same file.
 */
pid_t kin_holder(const struct stat *file)
{
	FILE *locks = fopen("/proc/locks", "re");
	char line[256];
	pid_t found = 0;

	while (locks && found <= 0 && fgets(line, sizeof(line), locks)) {
		unsigned major_id, minor_id;
		unsigned long inode;
		int pid;

		if (sscanf(line, "%*d: FLOCK %*s WRITE %d %x:%x:%lu", &pid, &major_id, &minor_id,
			   &inode) == 4 &&
		    inode == (unsigned long)file->st_ino && major_id == major(file->st_dev) &&
		    minor_id == minor(file->st_dev))
			found = pid;
	}
	if (locks)
		fclose(locks);
	return found > 0 ? found : 0;
}

bool kin_holds(const struct stat *file, const char *name)
{
	pid_t line[GENERATIONS];
	size_t count = procid_ancestors(line, ARRAY_SIZE(line));
	pid_t holder = kin_holder(file);
	char folder[32];

	/* Also where its descriptors cannot be seen: it is another user's (sudo). */
	for (size_t i = 1; i < count && holder; i++)
		if (line[i] == holder)
			return true;
	for (size_t i = 1; i < count; i++) {
		snprintf(folder, sizeof(folder), "/proc/%d", (int)line[i]);
		if (holds(folder, file, name))
			return true;
	}
	return false;
}

bool kin_inherited(const struct stat *file, const char *name)
{
	return holds("/proc/self", file, name);
}
