/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * chain: in a folder of ours, every hook that is none of ours: nothing but the user's own,
 * if there is one now.
 */
#include "hook.h"

#include <string.h>

int main(UNUSED int argc, char **argv)
{
	const char *slash = argv[0] ? strrchr(argv[0], '/') : NULL;
	struct hook hook;

	if (!slash)
		return 0;
	hook_begin(&hook, slash + 1, argv);
	return hook_pass(&hook);
}
