/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "otherend.h"

#include "procid.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define GENERATIONS 256

/* This process and its ancestors, itself first. */
struct line {
	pid_t pid[GENERATIONS];
	size_t count;
};

/* ---- a socketpair ---------------------------------------------------------------------------- */

/* Its place in the line; 0: nobody of it. */
static size_t maker_of_socket(int fd, const struct line *line)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return 0;
	for (size_t i = 1; i < line->count; i++)
		if (line->pid[i] == peer.pid)
			return i;
	return 0;
}

/* ---- a pipe ---------------------------------------------------------------------------------- */

static bool leads_to(int fds, const char *fd, const char *target)
{
	char text[64];
	ssize_t n = readlinkat(fds, fd, text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return !strcmp(text, target);
}

/* "flags:\t0100001", octal: how that descriptor of that process was opened; -1. */
static int access_mode(pid_t pid, const char *fd)
{
	char path[64], line[128];
	unsigned flags = 0;
	bool found = false;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", (int)pid, fd);
	in = fopen(path, "re");
	while (in && !found && fgets(line, sizeof(line), in))
		found = sscanf(line, "flags: %o", &flags) == 1;
	if (in)
		fclose(in);
	return found ? (int)(flags & O_ACCMODE) : -1;
}

static bool has_end(pid_t pid, const char *pipe, int mode)
{
	char path[32];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)))
		found = isdigit((unsigned char)entry->d_name[0]) &&
			leads_to(dirfd(dir), entry->d_name, pipe) &&
			access_mode(pid, entry->d_name) == mode;
	if (dir)
		closedir(dir);
	return found;
}

/* The nearest ancestor with the other end open: its place in the line; 0: nobody of it. */
static size_t holder_of_pipe(int fd, const struct stat *st, const struct line *line)
{
	int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
	char pipe[48];

	if (mode == O_RDWR)
		return 0;
	snprintf(pipe, sizeof(pipe), "pipe:[%" PRIuMAX "]", (uintmax_t)st->st_ino);
	for (size_t i = 1; i < line->count; i++)
		if (has_end(line->pid[i], pipe, mode == O_RDONLY ? O_WRONLY : O_RDONLY))
			return i;
	return 0;
}

/* ---- which ----------------------------------------------------------------------------------- */

static size_t place_of(int fd, const struct line *line)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return 0;
	if (S_ISSOCK(st.st_mode))
		return maker_of_socket(fd, line);
	return S_ISFIFO(st.st_mode) ? holder_of_pipe(fd, &st, line) : 0;
}

pid_t otherend_ancestor(void)
{
	struct line line;
	size_t in, out, err;

	line.count = procid_ancestors(line.pid, ARRAY_SIZE(line.pid));
	/* The /proc of an outer namespace has other numbers than the kernel gives us. */
	if (!line.count || line.pid[0] != getpid())
		return 0;
	in = place_of(STDIN_FILENO, &line);
	if (in)
		return line.pid[in];
	out = place_of(STDOUT_FILENO, &line);
	err = place_of(STDERR_FILENO, &line);
	out = out > err ? out : err;
	return out ? line.pid[out] : 0;
}
