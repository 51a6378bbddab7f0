/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pre-auto-gc: no gc while a checkpoint's objects are being written or a worktree is being
 * made. Both take seconds, and git asks again after the next few commands. A lease alone
 * defers nothing.
 */
#include "hook.h"

#include <stdio.h>
#include <unistd.h>

int main(UNUSED int argc, char **argv)
{
	struct guard_gc gc = {0};
	struct hook hook;
	int common = -1;

	hook_begin(&hook, "pre-auto-gc", argv);
	if (hook_place(NULL, &common))
		guard_look_gc(common, &gc);
	if (guard_gc(&gc) != GUARD_VETO)
		return hook_pass(&hook);
	dprintf(STDERR_FILENO, "interlock: gc is put off: %s\n",
		gc.saving ? "a checkpoint is being saved" : "a worktree is being made");
	return 1;
}
