/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * chain: in a folder of ours, every hook that is none of ours: nothing but the user's own,
 * if there is one now.
 *
 * With a push-to-checkout there git leaves the worktree to it (receive.denyCurrentBranch is
 * updateInstead). Where the user has none, this does what git does without one: a worktree
 * in which anything differs from HEAD is refused, and what differs between the commits is
 * checked out.
 */
#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs git in the worktree; is its status 0? What it prints is for who pushes, or nobody. */
static bool git(const char *const argv[], bool quiet)
{
	int status = 0;
	pid_t child = fork();

	if (!child) {
		const char *top = getenv("GIT_WORK_TREE");
		int null = quiet ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;

		dup2(null >= 0 ? null : STDERR_FILENO, STDOUT_FILENO);
		if (!top || chdir(top) == 0)
			execvp(argv[0], (char *const *)argv);
		dprintf(STDERR_FILENO, "interlock: git cannot be started: %s\n", strerror(errno));
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Before the first commit the index is compared with nothing at all. */
static const char *head_or_empty_tree(const char *id)
{
	static const char *const verify[] = {"git",	 "rev-parse", "--quiet",
					     "--verify", "HEAD",      NULL};

	if (git(verify, true))
		return "HEAD";
	return strlen(id) == 40
		       ? "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
		       : "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321";
}

static int update_worktree(const char *id)
{
	const char *const refresh[] = {
		"git", "update-index", "-q", "--ignore-submodules", "--refresh", NULL};
	const char *const unstaged[] = {"git", "diff-files", "--quiet", "--ignore-submodules",
					"--",  NULL};
	const char *staged[] = {"git", "diff-index", "--quiet", "--cached", "--ignore-submodules",
				NULL,  "--",	     NULL};
	const char *const checkout[] = {"git", "read-tree", "-u", "-m", id, NULL};
	const char *why = NULL;

	staged[5] = head_or_empty_tree(id);
	if (!git(refresh, false))
		why = "the worktree is not up to date";
	else if (!git(unstaged, false))
		why = "the worktree has changes that are not staged";
	else if (!git(staged, true))
		why = "the worktree has staged changes";
	else if (!git(checkout, true))
		why = "the worktree could not be updated";
	if (why)
		dprintf(STDERR_FILENO, "%s\n", why);
	return why != NULL;
}

int main(int argc, char **argv)
{
	const char *slash = argv[0] ? strrchr(argv[0], '/') : NULL;
	struct hook hook;

	if (!slash)
		return 0;
	hook_begin(&hook, slash + 1, argv);
	if (!hook.chained && argc == 2 && !strcmp(hook.name, "push-to-checkout"))
		return update_worktree(argv[1]);
	return hook_pass(&hook);
}
