/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * wrap: run a command under lifetime_run().
 *
 *	wrap [<option>...] <command> [<arg>...]
 *
 *	-d <ms>		deadline
 *	-g <ms>		grace
 *	-k <fd>		a descriptor that the command keeps
 *	-C <directory>	where it runs
 *	-e <NAME[=value]>  its environment; may be repeated
 *	-r <file>	append "teardown" when the run is over, and after it how it ended:
 *			"status 143 deadline 0 signal 15 killed 0 left 0 survivors 0"
 *	-t <ms>		how long the teardown takes
 *
 * What is told goes to stderr. The exit status is the run's; 126 when the command
 * cannot be run, 127 when there is none.
 */
#include "clock.h"
#include "lifetime.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void tell(UNUSED void *arg, const char *line)
{
	fprintf(stderr, "wrap: %s\n", line);
}

static int usage(void)
{
	fprintf(stderr, "usage: wrap [-d <ms>] [-g <ms>] [-k <fd>] [-C <directory>] "
			"[-e <NAME[=value]>] [-r <file>] [-t <ms>] <command> [<arg>...]\n");
	return 129;
}

/* One write for each line: a reader never sees half of one. */
static void report(const char *file, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void report(const char *file, const char *fmt, ...)
{
	int fd = file ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
	va_list ap;

	if (fd < 0)
		return;
	va_start(ap, fmt);
	vdprintf(fd, fmt, ap);
	va_end(ap);
	close(fd);
}

int main(int argc, char **argv)
{
	struct lifetime life = LIFETIME_INIT;
	struct lifetime_end end;
	struct fail fail = FAIL_INIT;
	const char *file = NULL;
	long teardown = 0;
	int opt;

	while ((opt = getopt(argc, argv, "+d:g:k:C:e:r:t:")) != -1) {
		switch (opt) {
		case 'd':
			life.time = atol(optarg);
			break;
		case 'g':
			life.grace = atol(optarg);
			break;
		case 'k':
			life.inherit = atoi(optarg);
			fcntl(life.inherit, F_SETFD, FD_CLOEXEC);
			break;
		case 'C':
			life.cwd = optarg;
			break;
		case 'e':
			argv_push(&life.env, optarg);
			break;
		case 'r':
			file = optarg;
			break;
		case 't':
			teardown = atol(optarg);
			break;
		default:
			return usage();
		}
	}
	if (optind == argc)
		return usage();
	for (int i = optind; i < argc; i++)
		argv_push(&life.argv, argv[i]);
	life.tell = tell;
	if (lifetime_run(&life, &end, &fail) < 0) {
		fprintf(stderr, "wrap: %s\n", fail.message);
		end.status = fail.kind == FAIL_GONE ? 127 : 126;
	} else {
		report(file, "teardown\n");
		clock_sleep(teardown);
		report(file, "status %d deadline %d signal %d killed %d left %zu survivors %zu\n",
		       end.status, end.deadline, end.signal, end.killed, end.left_behind,
		       end.survivors);
	}
	lifetime_release(&life);
	return end.status;
}
