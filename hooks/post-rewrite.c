/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * post-rewrite: one checkpoint when a rebase is through. What was rewritten is on standard
 * input, and left there: it is the user's hook's.
 */
#include "hook.h"

#include <string.h>

int main(UNUSED int argc, char **argv)
{
	struct hook hook;

	hook_begin(&hook, "post-rewrite", argv);
	return hook_save(&hook, argv[0] && argv[1] && !strcmp(argv[1], "rebase") ? AFTER_REBASE
										 : AFTER_AMEND);
}
