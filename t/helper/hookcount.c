/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * hookcount: stands where a hook of ours would, counts the call and becomes the hook.
 *
 * It is called <dir>/<hook>, and <dir>/programs names the directory of the real ones. With
 * HOOKCOUNT set, one line "<hook> <first argument>" is added to that file.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void count(const char *hook, const char *argument)
{
	const char *file = getenv("HOOKCOUNT");
	char line[256];
	int fd = file ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
	int n = snprintf(line, sizeof(line), "%s %.64s\n", hook, argument ? argument : "-");

	/* One write: lines of several hooks do not mix. */
	if (fd >= 0 && write(fd, line, (size_t)n) != n)
		perror(file);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	char self[PATH_MAX], file[PATH_MAX + 16], dir[PATH_MAX], program[3 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	int fd;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return 127;
	*slash++ = '\0';
	count(slash, argc > 1 ? argv[1] : NULL);
	snprintf(file, sizeof(file), "%s/programs", self);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, dir, sizeof(dir) - 1);
	if (n <= 0)
		return 127;
	close(fd);
	dir[n] = '\0';
	dir[strcspn(dir, "\n")] = '\0';
	snprintf(program, sizeof(program), "%s/%s", dir, slash);
	execv(program, argv);
	perror(program);
	return 127;
}
