/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "hold.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Takes what is there. True at the end, which is also what an error means: nobody can let go. */
static bool at_end(int fd)
{
	char ignored[4096];
	ssize_t n = read(fd, ignored, sizeof(ignored));

	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

int hold_until_closed(int fd, int wake, struct shield *shield, int *sig, bool *woken,
		      struct fail *fail)
{
	*woken = false;
	if (shield_raise(shield, fail) < 0)
		return fail->kind;
	for (;;) {
		struct pollfd fds[] = {
			{.fd = shield->fd, .events = POLLIN},
			{.fd = fd, .events = POLLIN},
			{.fd = wake, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno != EINTR)
				return fail_errno(fail, "wait for the end of input");
			continue;
		}
		*sig = fds[0].revents ? shield_take(shield) : 0;
		if (*sig || (fds[1].revents && at_end(fd)))
			return 0;
		*woken = fds[2].revents != 0;
		if (*woken)
			return 0;
	}
}
