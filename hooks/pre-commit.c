/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pre-commit: in a slot, only its holder commits; and a checkpoint of what is there before.
 *
 * The admin directory of a slot has a file "interlock" (slot.h). In any other worktree there
 * is nothing to guard; what the main worktree has under that name is a directory.
 */
#include "hook.h"

#include <fcntl.h>
#include <sys/stat.h>

int main(UNUSED int argc, char **argv)
{
	struct hook hook;
	int git_dir = -1, common = -1;
	struct stat st;

	hook_begin(&hook, "pre-commit", argv);
	if (!hook_place(&git_dir, &common))
		return hook_recurses() ? hook_pass(&hook) : hook_ask(&hook, HOOK_HELPS);
	if (fstatat(git_dir, "interlock", &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		return hook_ask(&hook, HOOK_BLOCKS);
	if (hook_recurses() || hook_saves_are_off(common))
		return hook_pass(&hook);
	return hook_ask(&hook, HOOK_HELPS);
}
