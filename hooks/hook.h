/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * hook: what the programs that git runs as hooks have in common.
 *
 * git runs a hook for every ref update, every commit, every merge, so each is a small
 * static program that decides by a few system calls whether anything of ours is
 * concerned. If not, it ends (hook_pass()); else it becomes `git-interlock hook <name>`
 * (hook_ask()), which decides with everything that the suite knows.
 *
 *	struct hook hook;
 *
 *	hook_begin(&hook, argc, argv);
 *	if (nothing of ours)
 *		return hook_pass(&hook);
 *	return hook_ask(&hook, HOOK_BLOCKS);
 *
 * A hook of the user's that was there before stands beside ours as
 * "<hook>.before-interlock". It runs after ours, in place of this process, with the same
 * arguments and the same standard input, and its status is git's answer. When ours says
 * no, it does not run. In a folder of ours the file "former" names the directory where the
 * user's hooks are instead, and `chain` stands for the hooks that we do not have.
 *
 * What a hook of ours starts carries GIT_INTERLOCK_HOOK=1: the hooks that save do nothing
 * then, so that no hook calls itself.
 */
#ifndef HOOK_H
#define HOOK_H

#include "guardlook.h"

struct hook {
	const char *name; /* "pre-commit" */
	char **argv;
	char *chained; /* the user's own hook, or NULL */
	/* Standard input, once it was read; what follows gets it once more. */
	const char *input;
	size_t input_len;
	bool input_read;
};

/* `name` is the hook's; argv[0] is how git called it. */
void hook_begin(struct hook *hook, const char *name, char **argv);

/* Reads standard input to its end; false when that failed. */
bool hook_read(struct hook *hook);

/* Was this hook started by what another hook of ours does? */
bool hook_recurses(void);

/* Nothing of ours, or done. The status for git; does not return when there is a hook of the user's.
 */
int hook_pass(struct hook *hook);

enum hook_duty {
	HOOK_BLOCKS, /* when it cannot be asked the answer is no: blocking is its job (G5) */
	HOOK_HELPS,  /* when it cannot be asked git goes on */
};

/* Asks git-interlock; the status for git. */
int hook_ask(struct hook *hook, enum hook_duty duty);

/*
 * Opens this worktree's git directory, and the common one, from the environment and the
 * current directory that git gives to a hook. False when that takes more than two small
 * files to find out. Either may be NULL.
 */
bool hook_place(int *git_dir, int *common);

/* Reads a small file; false when it is not there, or not small. */
bool hook_read_file(int dir, const char *name, size_t limit, struct bytes *out);

/* The hooks that save a checkpoint and do nothing else. */
int hook_save(struct hook *hook, enum guard_after after);

/* Are automatic saves switched off for certain? */
bool hook_saves_are_off(int common);

#endif
