/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pair: times two commands in turn, so that a slow moment of the machine hits both.
 *
 *   pair [-n <rounds>] [-w <warm-ups>] [-o <dir>] [-a <dir>] [-b <dir>] [-i <file>]
 *        [-p <sh>] [-c <sh>] ::: <command A> [<arg>...] ::: <command B> [<arg>...]
 *
 * -a and -b say where A and B run (default: here), -i what they read (default: nothing).
 * Prints one line per round, "<A ns> <B ns>". The two start in alternating
 * order (A B, B A, ...), so neither always profits from what the other warmed.
 *
 * -p runs before and -c after every timed run, untimed, through /bin/sh, with
 * SIDE (a or b), ROUND (counted over the warm-ups too, from 0) and OUT (the file
 * that holds what the timed command printed) in the environment.
 *
 * A command that does not exit 0 ends everything with status 1: a time that was
 * measured on a failure is not a time. Commands are started with posix_spawn,
 * which costs the same for both and does not grow with this process.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct plan {
	int rounds, warmups;
	const char *out, *in, *prepare, *check;
	const char *dir[2];
	char **command[2];
};

static const char *const side_names[2] = {"a", "b"};

static int usage(void)
{
	fputs("usage: pair [-n <rounds>] [-w <warm-ups>] [-o <dir>] [-a <dir>] [-b <dir>] [-i "
	      "<file>]\n"
	      "            [-p <sh>] [-c <sh>] ::: <command A> [<arg>...] ::: <command B> "
	      "[<arg>...]\n",
	      stderr);
	return 129;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Where a command runs and what it reads and writes; stdout stays ours when `out` is null. */
struct place {
	const char *dir, *in, *out;
};

/* Runs argv to its end. 0 when it exited 0. */
static int run(char *const argv[], const struct place *at, uint64_t *ns)
{
	posix_spawn_file_actions_t files;
	uint64_t start;
	pid_t pid;
	int status = 0, err;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, at->in, O_RDONLY, 0);
	posix_spawn_file_actions_addchdir_np(&files, at->dir);
	if (at->out)
		posix_spawn_file_actions_addopen(&files, 1, at->out, O_WRONLY | O_CREAT | O_TRUNC,
						 0666);
	start = now_ns();
	err = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
	while (!err && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			err = errno;
	*ns = now_ns() - start;
	posix_spawn_file_actions_destroy(&files);

	if (err)
		fprintf(stderr, "pair: run '%s': %s\n", argv[0], strerror(err));
	else if (status)
		fprintf(stderr, "pair: '%s' ended with %s %d\n", argv[0],
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return err || status ? -1 : 0;
}

static int run_shell(const char *script, const char *dir)
{
	struct place at = {.dir = dir, .in = "/dev/null"};
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
	uint64_t ignored;

	return script ? run(argv, &at, &ignored) : 0;
}

static int timed(const struct plan *plan, int side, int round, uint64_t *ns)
{
	char out[PATH_MAX], number[16];
	const char *dir = plan->dir[side];
	struct place at = {.dir = dir, .in = plan->in, .out = out};

	if (snprintf(out, sizeof(out), "%s/out.%s", plan->out, side_names[side]) >=
	    (int)sizeof(out)) {
		fprintf(stderr, "pair: '%s' is too long\n", plan->out);
		return -1;
	}
	snprintf(number, sizeof(number), "%d", round);
	setenv("SIDE", side_names[side], 1);
	setenv("ROUND", number, 1);
	setenv("OUT", out, 1);
	if (run_shell(plan->prepare, dir) || run(plan->command[side], &at, ns) ||
	    run_shell(plan->check, dir)) {
		fprintf(stderr, "pair: side %s, round %d\n", side_names[side], round);
		return -1;
	}
	return 0;
}

static int measure(const struct plan *plan)
{
	for (int round = 0; round < plan->warmups + plan->rounds; round++) {
		int first = round % 2;
		uint64_t ns[2];

		if (timed(plan, first, round, &ns[first]) ||
		    timed(plan, !first, round, &ns[!first]))
			return 1;
		if (round >= plan->warmups)
			printf("%llu %llu\n", (unsigned long long)ns[0], (unsigned long long)ns[1]);
	}
	return fflush(stdout) ? 1 : 0;
}

static int parse_count(const char *text, int *count)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value < 0 || value > 1000000)
		return -1;
	*count = (int)value;
	return 0;
}

/* Cuts argv at the two ":::" into null-terminated commands. */
static int parse_commands(char **argv, struct plan *plan)
{
	int side = -1;

	for (; *argv; argv++) {
		if (strcmp(*argv, ":::"))
			continue;
		if (++side > 1 || !argv[1] || !strcmp(argv[1], ":::"))
			return -1;
		*argv = NULL;
		plan->command[side] = argv + 1;
	}
	return side == 1 ? 0 : -1;
}

static int parse(int argc, char **argv, struct plan *plan)
{
	int c;

	while ((c = getopt(argc, argv, "+n:w:o:a:b:i:p:c:")) != -1) {
		if (c == 'n' && !parse_count(optarg, &plan->rounds))
			continue;
		if (c == 'w' && !parse_count(optarg, &plan->warmups))
			continue;
		if (c == 'o')
			plan->out = optarg;
		else if (c == 'a' || c == 'b')
			plan->dir[c - 'a'] = optarg;
		else if (c == 'i')
			plan->in = optarg;
		else if (c == 'p')
			plan->prepare = optarg;
		else if (c == 'c')
			plan->check = optarg;
		else
			return -1;
	}
	return parse_commands(argv + optind, plan);
}

int main(int argc, char **argv)
{
	struct plan plan = {
		.rounds = 10, .warmups = 2, .out = "/tmp", .in = "/dev/null", .dir = {".", "."}};

	if (parse(argc, argv, &plan))
		return usage();
	return measure(&plan);
}
