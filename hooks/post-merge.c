/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* post-merge: a checkpoint where HEAD has moved to, unless a rebase is under way. */
#include "hook.h"

int main(UNUSED int argc, char **argv)
{
	struct hook hook;

	hook_begin(&hook, "post-merge", argv);
	return hook_save(&hook, AFTER_MERGE);
}
