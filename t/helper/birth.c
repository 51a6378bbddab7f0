/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * birth: one step of a worktree's life, as a program that can be killed at any
 * system call and run many times at once.
 *
 *	birth make <pool> <number> <directory> [<commit> [<branch> [new]]]
 *						prints the path; 1: number or branch is taken
 *	birth finish <id>			populates a half-born one
 *	birth remove <id>
 *	birth sweep				prints how many were swept
 *
 * The exit status is that of the commands (CONTRACT: 0, 1, 75, 128, 129).
 */
#include "../unit/newborn.h"
#include "rev.h"
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int make(struct repo *repo, int argc, char **argv, struct fail *fail)
{
	struct oid base;
	struct birth_plan plan = {
		.pool = argv[0],
		.number = strtoll(argv[1], NULL, 10),
		.dir = argv[2],
		.base = &base,
		.record = {.kind = LEASE_NONE, .since = 1, .uid = getuid()},
	};
	struct slot slot;
	struct fail undo = FAIL_INIT;

	if (rev_resolve(repo, argc > 3 ? argv[3] : "HEAD", &base, fail) < 0)
		return fail->kind;
	if (birth_make(repo, &plan, &slot, fail) == 0) {
		if (birth_populate(&slot, &base, fail) == 0 && argc > 4)
			birth_attach(&slot, argv[4], argc > 5, fail);
		if (fail->kind == 0)
			puts(slot.path);
		else
			birth_remove(&slot, &undo);
	}
	slot_close(&slot);
	return fail->kind;
}

static int on_slot(struct repo *repo, const char *verb, const char *id, struct fail *fail)
{
	struct slot slot;
	struct oid base;

	if (newborn_open(repo, id, &slot, fail) == 0) {
		if (!strcmp(verb, "remove"))
			birth_remove(&slot, fail);
		else if (rev_resolve(repo, "HEAD", &base, fail) == 0)
			birth_populate(&slot, &base, fail);
	}
	slot_close(&slot);
	return fail->kind;
}

int main(int argc, char **argv)
{
	struct fail fail = FAIL_INIT;
	struct repo repo;
	size_t swept;

	if (argc < 2 || (!strcmp(argv[1], "make") && argc < 5)) {
		fputs("usage: see t/helper/birth.c\n", stderr);
		return 129;
	}
	if (repo_open(&repo, REPO_ANY, &fail) < 0)
		goto done;
	if (!strcmp(argv[1], "make"))
		make(&repo, argc - 2, argv + 2, &fail);
	else if (!strcmp(argv[1], "sweep") && birth_sweep(&repo, false, &swept, &fail) == 0)
		printf("%zu\n", swept);
	else if (argc > 2)
		on_slot(&repo, argv[1], argv[2], &fail);
done:
	repo_close(&repo);
	if (fail.kind)
		fprintf(stderr, "birth: %s\n", fail.message);
	return fail.kind ? status_of(&fail) : 0;
}
