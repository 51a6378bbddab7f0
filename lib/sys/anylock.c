/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "anylock.h"

#include "clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/*
 * `winner` decides everything, once: it goes from NOBODY to the index of the first
 * thread that got its lock, or to CALLED_OFF when the wait ended before any did. A
 * thread that gets a lock and does not find NOBODY there gives the lock back before it ends,
 * and all threads have ended before anylock_wait() returns.
 */
#define NOBODY ((ptrdiff_t)-1)
#define CALLED_OFF ((ptrdiff_t)-2)

#define CALL_BACK_SIGNAL (SIGRTMIN + 4)
#define CALL_AGAIN_MS 5
#define STACK ((size_t)256 << 10)

struct wait;

struct waiter {
	struct wait *wait;
	size_t index;
	pthread_t thread;
	int err;	  /* why flock failed, or 0 */
	atomic_bool done; /* it holds nothing that it should not, and ends */
};

struct wait {
	const struct anylock *locks;
	atomic_ptrdiff_t winner;
	int events; /* eventfd: a thread has got its lock, or has ended */
	struct waiter *waiters;
	size_t started;
};

static void called_back(UNUSED int sig)
{
}

/*
 * Stays installed: no other code uses this signal, and a handler cannot be taken
 * away while another thread of the program may be in here too.
 */
static void install_handler(void)
{
	struct sigaction action = {.sa_handler = called_back}; /* no SA_RESTART: flock returns */

	sigemptyset(&action.sa_mask);
	sigaction(CALL_BACK_SIGNAL, &action, NULL);
}

static bool decide(struct wait *wait, ptrdiff_t who)
{
	ptrdiff_t nobody = NOBODY;

	return atomic_compare_exchange_strong(&wait->winner, &nobody, who);
}

static void report(const struct wait *wait)
{
	uint64_t one = 1;
	ssize_t ignored = write(wait->events, &one, sizeof(one));

	(void)ignored; /* the counter cannot overflow */
}

static void *wait_for_one(void *arg)
{
	struct waiter *me = arg;
	struct wait *wait = me->wait;
	int fd = wait->locks->fds[me->index];

	while (atomic_load(&wait->winner) == NOBODY) {
		if (flock(fd, LOCK_EX) == 0) {
			if (!decide(wait, (ptrdiff_t)me->index))
				flock(fd, LOCK_UN);
			break;
		}
		if (errno != EINTR) {
			me->err = errno;
			break;
		}
	}
	atomic_store(&me->done, true);
	report(wait);
	return NULL;
}

/* All signals but the one that calls it back go to the threads that the program had before. */
static int start(struct wait *wait, struct fail *fail)
{
	pthread_attr_t attr;
	sigset_t block, old;
	int err = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, size_max(STACK, (size_t)PTHREAD_STACK_MIN));
	sigfillset(&block);
	sigdelset(&block, CALL_BACK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &block, &old);
	for (size_t i = 0; i < wait->locks->count && !err; i++) {
		struct waiter *waiter = &wait->waiters[i];

		waiter->wait = wait;
		waiter->index = i;
		err = pthread_create(&waiter->thread, &attr, wait_for_one, waiter);
		if (!err)
			wait->started++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	errno = err;
	return err ? fail_errno(fail, "start a thread for each lock") : 0;
}

static bool one_failed(const struct wait *wait, int *err)
{
	for (size_t i = 0; i < wait->started; i++)
		if (atomic_load(&wait->waiters[i].done) && wait->waiters[i].err) {
			*err = wait->waiters[i].err;
			return true;
		}
	return false;
}

static int pause_until(struct pollfd *fds, size_t count, int64_t deadline)
{
	int64_t left = clock_left(deadline);
	struct timespec timeout = {.tv_sec = (time_t)(left / 1000),
				   .tv_nsec = left % 1000 * 1000000};

	return ppoll(fds, count, left == INT64_MAX ? NULL : &timeout, NULL);
}

/* Sleeps until there is a winner, a wake descriptor is readable, or it is time. */
static int await_event(struct wait *wait, struct pollfd *fds, int64_t deadline, struct fail *fail)
{
	size_t count = 1 + wait->locks->wake_count;

	for (;;) {
		int err, n = pause_until(fds, count, deadline);

		if (atomic_load(&wait->winner) >= 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return fail_errno(fail, "wait for a lock");
		if (one_failed(wait, &err)) {
			errno = err;
			return fail_errno(fail, "wait for a lock");
		}
		for (size_t i = 1; n > 0 && i < count; i++)
			if (fds[i].revents)
				return 0;
		if (!clock_left(deadline))
			return fail_set(fail, FAIL_BUSY, "all %zu locks are held",
					wait->locks->count);
	}
}

/*
 * Ends all threads. The signal is sent again to those that do not answer: it is
 * lost on one that has looked at `winner` already and not yet begun to wait.
 */
static void call_back(struct wait *wait)
{
	struct pollfd event = {.fd = wait->events, .events = POLLIN};
	uint64_t count;
	bool all;

	decide(wait, CALLED_OFF);
	do {
		ssize_t ignored = read(wait->events, &count, sizeof(count));

		(void)ignored;
		all = true;
		for (size_t i = 0; i < wait->started; i++)
			if (!atomic_load(&wait->waiters[i].done)) {
				pthread_kill(wait->waiters[i].thread, CALL_BACK_SIGNAL);
				all = false;
			}
	} while (!all && poll(&event, 1, CALL_AGAIN_MS) >= -1);
	for (size_t i = 0; i < wait->started; i++)
		pthread_join(wait->waiters[i].thread, NULL);
}

static int wait_with_threads(const struct anylock *locks, int64_t deadline, size_t *won,
			     struct fail *fail)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct wait wait = {.locks = locks, .winner = NOBODY};
	struct pollfd *fds = mem_array(1 + locks->wake_count, sizeof(*fds));
	ptrdiff_t winner;

	pthread_once(&once, install_handler);
	wait.waiters = mem_array(locks->count + 1, sizeof(*wait.waiters));
	wait.events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds[0] = (struct pollfd){.fd = wait.events, .events = POLLIN};
	for (size_t i = 0; i < locks->wake_count; i++)
		fds[1 + i] = (struct pollfd){.fd = locks->wake[i], .events = POLLIN};
	if (wait.events < 0)
		fail_errno(fail, "open an event descriptor");
	else if (start(&wait, fail) == 0)
		await_event(&wait, fds, deadline, fail);
	call_back(&wait);
	winner = atomic_load(&wait.winner);
	/* A lock that was won in the last moment counts, whatever ended the wait. */
	if (winner >= 0)
		fail_clear(fail);
	*won = winner >= 0 ? (size_t)winner : locks->count;
	if (wait.events >= 0)
		close(wait.events);
	free(wait.waiters);
	free(fds);
	return fail->kind;
}

int anylock_wait(const struct anylock *locks, int64_t deadline, size_t *won, struct fail *fail)
{
	for (size_t i = 0; i < locks->count; i++) {
		if (flock(locks->fds[i], LOCK_EX | LOCK_NB) == 0) {
			*won = i;
			return 0;
		}
		if (errno != EWOULDBLOCK && errno != EINTR)
			return fail_errno(fail, "take a lock");
	}
	return wait_with_threads(locks, deadline, won, fail);
}
