/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "shield.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int ending[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

int shield_raise(struct shield *shield, struct fail *fail)
{
	sigset_t set;

	if (shield->fd >= 0)
		return 0;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
		struct sigaction action;

		/* Blocking an ignored signal would bring it back to life for a signalfd. */
		if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&set, ending[i]);
	}
	shield->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (shield->fd < 0)
		return fail_errno(fail, "open a signal descriptor");
	pthread_sigmask(SIG_BLOCK, &set, &shield->old);
	return 0;
}

int shield_take(struct shield *shield)
{
	struct signalfd_siginfo info;
	ssize_t n;

	do
		n = read(shield->fd, &info, sizeof(info));
	while (n < 0 && errno == EINTR);
	return n == sizeof(info) ? (int)info.ssi_signo : 0;
}

void shield_lower(struct shield *shield)
{
	if (shield->fd < 0)
		return;
	while (shield_take(shield))
		;
	close(shield->fd);
	shield->fd = -1;
	pthread_sigmask(SIG_SETMASK, &shield->old, NULL);
}
