/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * barrier: wait until n processes have come, then let all of them go at once.
 *
 *	barrier <file> <n> [<command> [<arg>...]]
 *
 * The file is made by the first one and used once: every round has a file of
 * its own. Without a command it returns, so that a script can meet between two
 * of its steps. Somebody who never comes is an error after a minute, not a hang.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int complain(const char *what)
{
	fprintf(stderr, "barrier: %s: %s\n", what, strerror(errno));
	return 126;
}

/* The counter is the futex: everybody waits for it to reach n. */
static int meet(_Atomic uint32_t *count, uint32_t n)
{
	struct timespec start, now, left = {.tv_sec = 60};
	uint32_t seen = atomic_fetch_add(count, 1) + 1;

	clock_gettime(CLOCK_MONOTONIC, &start);
	if (seen >= n) {
		syscall(SYS_futex, count, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
		return 0;
	}
	while ((seen = atomic_load(count)) < n) {
		syscall(SYS_futex, count, FUTEX_WAIT, seen, &left, NULL, 0);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= 60) {
			fprintf(stderr, "barrier: %u of %u came\n", atomic_load(count), n);
			return 126;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	_Atomic uint32_t *count;
	unsigned long n;
	char *end;
	int fd;

	n = argc > 2 ? strtoul(argv[2], &end, 10) : 0;
	if (!n || *end || n > INT32_MAX) {
		fprintf(stderr, "usage: barrier <file> <n> [<command> [<arg>...]]\n");
		return 129;
	}
	fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || ftruncate(fd, sizeof(*count)) < 0)
		return complain(argv[1]);
	count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (count == MAP_FAILED)
		return complain("map");
	if (meet(count, (uint32_t)n))
		return 126;
	if (argc == 3)
		return 0;
	execvp(argv[3], argv + 3);
	return complain(argv[3]);
}
