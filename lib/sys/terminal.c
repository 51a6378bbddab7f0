/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "terminal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void terminal_open(struct terminal *terminal)
{
	*terminal = (struct terminal){.fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)};
	if (terminal_is_ours(terminal))
		terminal->have_ours = tcgetattr(terminal->fd, &terminal->ours) == 0;
}

void terminal_close(struct terminal *terminal)
{
	if (terminal->fd >= 0)
		close(terminal->fd);
	terminal->fd = -1;
}

pid_t terminal_front(const struct terminal *terminal)
{
	pid_t front = terminal->fd < 0 ? -1 : tcgetpgrp(terminal->fd);

	return front > 0 ? front : 0;
}

bool terminal_is_ours(const struct terminal *terminal)
{
	return terminal_front(terminal) == getpgrp();
}

static bool is_pipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

bool terminal_lend_at_once(const struct terminal *terminal)
{
	return terminal_is_ours(terminal) && isatty(STDIN_FILENO) && !is_pipe(STDOUT_FILENO) &&
	       !is_pipe(STDERR_FILENO);
}

void terminal_lend(struct terminal *terminal, pid_t group)
{
	terminal->have_ours = tcgetattr(terminal->fd, &terminal->ours) == 0;
	if (tcsetpgrp(terminal->fd, group) < 0)
		return;
	terminal->lent = true;
	/* TCSANOW: waiting for output to drain would hang on a terminal under ^S. */
	if (terminal->have_theirs)
		tcsetattr(terminal->fd, TCSANOW, &terminal->theirs);
}

void terminal_borrow(const struct terminal *terminal)
{
	tcsetpgrp(terminal->fd, getpid());
}

void terminal_take_back(struct terminal *terminal, bool restore)
{
	terminal->lent = false;
	if (tcsetpgrp(terminal->fd, getpgrp()) < 0 || !restore)
		return;
	terminal->have_theirs = tcgetattr(terminal->fd, &terminal->theirs) == 0;
	if (terminal->have_ours)
		tcsetattr(terminal->fd, TCSANOW, &terminal->ours);
}
