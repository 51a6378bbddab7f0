/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * hold: hold a lock until standard input closes, or has a line.
 *
 *	hold flock <file>...	an exclusive flock on each file (made when absent)
 *	hold dotlock <file>	git's lock on <file>: <file>.lock, made with O_EXCL
 *	hold litter <file>	as dotlock, but the lock is left behind at the end,
 *				as a process does that is killed
 *
 * Says "held" on standard output once it has all of them; does not wait for a
 * lock that somebody else holds: status 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int complain(const char *path)
{
	fprintf(stderr, "hold: %s: %s\n", path, strerror(errno));
	return 1;
}

static void until_told(void)
{
	char c;

	printf("held\n");
	fclose(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0 && c != '\n')
		;
}

static int hold_flocks(char **paths)
{
	/* The descriptors stay open until we exit: that is the hold. */
	for (; *paths; paths++) {
		int fd = open(*paths, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0 && errno == ENOENT)
			fd = open(*paths, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
			return complain(*paths);
	}
	until_told();
	return 0;
}

static int hold_dotlock(const char *path, bool leave)
{
	char name[4096];
	int fd;

	if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name)) {
		errno = ENAMETOOLONG;
		return complain(path);
	}
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return complain(name);
	until_told();
	close(fd);
	if (!leave && unlink(name) < 0)
		return complain(name);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "flock"))
		return hold_flocks(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "dotlock"))
		return hold_dotlock(argv[2], false);
	if (argc == 3 && !strcmp(argv[1], "litter"))
		return hold_dotlock(argv[2], true);
	fprintf(stderr, "usage: hold flock <file>... | dotlock <file> | litter <file>\n");
	return 129;
}
