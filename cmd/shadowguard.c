/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "shadowguard.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct note {
	int64_t stage, ms;
};

int guard_begin(struct guard *guard, struct fail *fail)
{
	pid_t parent = getpid();
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(fail, "pipe");
	guard->child = fork();
	if (guard->child < 0) {
		fail_errno(fail, "fork");
		guard->child = 0;
		close(ends[0]);
		close(ends[1]);
		return fail->kind;
	}
	guard->pipe = guard->child ? ends[0] : ends[1];
	close(guard->child ? ends[1] : ends[0]);
	/* Whoever ends the command ends the save. */
	if (!guard->child && (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent))
		_exit(0);
	return 0;
}

void guard_tell(const struct guard *guard, enum guard_stage stage, int64_t ms)
{
	const struct note note = {.stage = stage, .ms = ms};

	/* A parent that cannot be told is gone, and so are we in a moment. */
	while (guard->pipe >= 0 && write(guard->pipe, &note, sizeof(note)) < 0 && errno == EINTR)
		;
}

/* The next note: 1; the child has ended: 0; the deadline has passed: FAIL_BUSY. */
static int hear(const struct guard *guard, int64_t deadline, struct note *note)
{
	struct pollfd poll_fd = {.fd = guard->pipe, .events = POLLIN};
	int r;

	do {
		int64_t left = clock_left(deadline);

		if (!left)
			return FAIL_BUSY;
		r = poll(&poll_fd, 1,
			 left == INT64_MAX ? -1
			 : left < INT_MAX  ? (int)left
					   : INT_MAX);
	} while (r == 0 || (r < 0 && errno == EINTR));
	return r > 0 && read(guard->pipe, note, sizeof(*note)) == sizeof(*note);
}

int guard_wait(struct guard *guard, struct fail *fail)
{
	struct note note = {0};
	int64_t deadline = INT64_MAX;
	bool saved = false;
	int status = 0, r;

	while ((r = hear(guard, deadline, &note)) == 1) {
		if (note.stage == GUARD_APPENDING)
			deadline = clock_deadline(note.ms);
		saved = note.stage == GUARD_SAVED;
	}
	close(guard->pipe);
	if (r == FAIL_BUSY)
		kill(guard->child, SIGKILL);
	while (waitpid(guard->child, &status, 0) < 0 && errno == EINTR)
		;
	if (saved)
		return 0;
	if (r == FAIL_BUSY)
		return fail_set(
			fail, FAIL_BUSY,
			"the save was given up when its time was over (a hook that git runs "
			"for refs may hang); the checkpoint may or may not have been made");
	if (WIFSIGNALED(status))
		return fail_set(fail, FAIL_FATAL, "the save was ended by signal %d",
				WTERMSIG(status));
	return 0;
}
