/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * post-checkout: a worktree that `git worktree add` has just made is whole.
 *
 * git calls it after every checkout. It is a new worktree when the old value is all zeros
 * and ".git" here is a file, as in no fresh clone.
 */
#include "hook.h"

#include <string.h>
#include <sys/stat.h>

int main(UNUSED int argc, char **argv)
{
	const char *old = argv[0] ? argv[1] : NULL;
	struct hook hook;
	struct stat st;

	hook_begin(&hook, "post-checkout", argv);
	if (!old || !guard_is_zero(old, strlen(old)) || hook_recurses() || stat(".git", &st) < 0 ||
	    !S_ISREG(st.st_mode))
		return hook_pass(&hook);
	return hook_ask(&hook, HOOK_HELPS);
}
