/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* reap-rescued: `git worktree-reap rescued`, the rescues that there are. */
#ifndef REAP_RESCUED_H
#define REAP_RESCUED_H

#define REAP_COMMAND "git worktree-reap"

/* argv[0] is the verb; returns the exit status. */
int reap_rescued(int argc, char **argv);

#endif
