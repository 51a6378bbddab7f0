/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "lifetime.h"

#include "brood.h"
#include "clock.h"
#include "file.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum {
	STATUS_DEADLINE = 142,
	STATUS_LIMIT = 65536, /* of /proc/<pid>/status */
	QUIET = 250, /* ms that something may outlive the command before it is talked about */
};

enum phase {
	RUNNING,   /* the command runs; `next` is its deadline */
	LINGERING, /* it has ended by itself; what it left has until `next` to end too */
	ASKED,	   /* everything has been asked to end, and has until `next` */
	KILLED,	   /* SIGKILL is out; at `next` we give up */
};

struct run {
	struct lifetime *life;
	struct lifetime_end *end;
	struct terminal tty;
	struct brood before; /* children that the caller had: not ours to wait for */
	struct brood left;   /* those that live on after the command, as last seen */
	struct brood asked;  /* of these, the ones that we signalled */
	pid_t pid;	     /* the command, and its group. A zombie until the very end, */
	int pidfd;	     /* so that the number stays its own */
	int events;	     /* signalfd for SIGCHLD, SIGCONT, SIGTSTP, SIGWINCH */
	siginfo_t how;	     /* it ended */
	bool ended;
	bool talked;  /* about what is left */
	bool blind;   /* children cannot be listed */
	int64_t talk; /* when that is due */
	enum phase phase;
	int64_t next;
	sigset_t passed;	  /* signals that its group has had from us */
	sigset_t mask;		  /* ours, to be put back */
	struct sigaction sigchld; /* the same */
	int was_subreaper;
};

/* ---- talk ------------------------------------------------------------------------ */

static void tell(const struct run *run, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void tell(const struct run *run, const char *fmt, ...)
{
	va_list ap;
	char *line;

	if (!run->life->tell)
		return;
	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) >= 0) {
		run->life->tell(run->life->tell_arg, line);
		free(line);
	}
	va_end(ap);
}

static void tell_of(const struct run *run, const char *what, const struct brood *who)
{
	struct bytes names = BYTES_INIT;

	if (run->life->tell && who->count) {
		brood_describe(who, &names);
		tell(run, "%s: %s", what, names.data);
	}
	bytes_release(&names);
}

/* ---- in the child, between fork and exec: async-signal-safe calls only ----------------- */

enum child_step {
	STEP_CWD,
	STEP_KEEP,
	STEP_EXEC,
};

struct child_report {
	int err;
	enum child_step step;
};

static void child_failed(int report, enum child_step step)
{
	struct child_report what = {.err = errno, .step = step};
	ssize_t ignored = write(report, &what, sizeof(what));

	(void)ignored;
	_exit(127);
}

/* A handler of ours must not run in the child once the mask is lifted. */
static void child_drop_handlers(void)
{
	for (int sig = 1; sig < NSIG; sig++) {
		struct sigaction action;

		if (sigaction(sig, NULL, &action) < 0 || action.sa_handler == SIG_IGN ||
		    action.sa_handler == SIG_DFL)
			continue;
		action = (struct sigaction){.sa_handler = SIG_DFL};
		sigaction(sig, &action, NULL);
	}
}

static void child_run(const struct run *run, char **env, pid_t parent, int report)
{
	const struct lifetime *life = run->life;

	/* A parent that had died already sends nothing. Who is our parent then can be anybody. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	setpgid(0, 0);
	if (run->tty.lent)
		terminal_borrow(&run->tty);
	if (life->cwd && chdir(life->cwd) < 0)
		child_failed(report, STEP_CWD);
	if (life->inherit >= 0 && fcntl(life->inherit, F_SETFD, 0) < 0)
		child_failed(report, STEP_KEEP);
	sigaction(SIGCHLD, &run->sigchld, NULL);
	child_drop_handlers();
	environ = env; /* the command is looked for on its own PATH */
	sigprocmask(SIG_SETMASK, &life->shield.old, NULL);
	execvp(life->argv.items[0], life->argv.items);
	child_failed(report, STEP_EXEC);
}

/* ---- starting it ------------------------------------------------------------------------ */

static bool same_variable(const char *entry, const char *change)
{
	size_t n = strcspn(change, "=");

	return !strncmp(entry, change, n) && entry[n] == '=';
}

static void build_env(const struct argv *changes, struct argv *env)
{
	for (char **e = environ; e && *e; e++) {
		bool changed = false;

		for (size_t i = 0; i < changes->count && !changed; i++)
			changed = same_variable(*e, changes->items[i]);
		if (!changed)
			argv_push(env, *e);
	}
	for (size_t i = 0; i < changes->count; i++)
		if (strchr(changes->items[i], '='))
			argv_push(env, changes->items[i]);
}

static int cannot_start(const struct lifetime *life, const struct child_report *why,
			struct fail *fail)
{
	errno = why->err;
	if (why->step == STEP_CWD)
		return fail_errno(fail, "change to '%s'", life->cwd);
	if (why->step == STEP_KEEP)
		return fail_errno(fail, "pass on descriptor %d", life->inherit);
	fail_errno(fail, "run '%s'", life->argv.items[0]);
	if (why->err == ENOENT)
		fail->kind = FAIL_GONE;
	return fail->kind;
}

/* Forks, and returns when the program runs. */
static int start(struct run *run, struct fail *fail)
{
	static char *const nothing[] = {NULL};
	struct argv env = ARGV_INIT;
	struct child_report why;
	pid_t parent = getpid();
	int report[2];
	ssize_t n;

	if (pipe2(report, O_CLOEXEC) < 0)
		return fail_errno(fail, "pipe");
	build_env(&run->life->env, &env);
	run->pid = fork();
	if (run->pid == 0)
		child_run(run, env.count ? env.items : (char **)nothing, parent, report[1]);
	if (run->pid < 0)
		fail_errno(fail, "fork for '%s'", run->life->argv.items[0]);
	close(report[1]);
	argv_release(&env);
	do
		n = read(report[0], &why, sizeof(why)); /* closed by exec */
	while (n < 0 && errno == EINTR);
	close(report[0]);
	if (run->pid > 0 && n == sizeof(why)) {
		waitpid(run->pid, NULL, 0);
		cannot_start(run->life, &why, fail);
	} else if (run->pid > 0) {
		run->pidfd = pidfd_open(run->pid, 0); /* without one SIGCHLD has to do */
	}
	return fail->kind;
}

/* ---- signalling --------------------------------------------------------------------- */

/* SIGCONT behind it, because a stopped process does not come to die of SIGTERM. */
static void end_group(const struct run *run, int sig)
{
	kill(-run->pid, sig);
	if (getpgid(run->pid) != run->pid)
		kill(run->pid, sig); /* it has left the group that we gave it */
	kill(-run->pid, SIGCONT);
}

/* Those of the command's group were asked when it was: a second time might mean "at once". */
static bool was_asked(const struct run *run, pid_t pid)
{
	return brood_has(&run->asked, pid) ||
	       (sigismember(&run->passed, SIGTERM) && getpgid(pid) == run->pid);
}

static void ask_left(struct run *run)
{
	struct brood now = BROOD_INIT;

	for (size_t i = 0; i < run->left.count; i++)
		if (!was_asked(run, run->left.pids[i]))
			brood_add(&now, run->left.pids[i]);
	/* Told first: afterwards its name may be gone. */
	tell_of(run, "ending what was left running", &now);
	for (size_t i = 0; i < now.count; i++) {
		kill(now.pids[i], SIGTERM);
		kill(now.pids[i], SIGCONT);
		brood_add(&run->asked, now.pids[i]);
	}
	run->end->left_behind += now.count;
	brood_release(&now);
}

static void kill_left(struct run *run)
{
	for (size_t i = 0; i < run->left.count; i++) {
		pid_t pid = run->left.pids[i];

		kill(pid, SIGKILL);
		if (!brood_has(&run->asked, pid)) {
			brood_add(&run->asked, pid);
			run->end->left_behind++;
		}
	}
}

/* ---- the terminal -------------------------------------------------------------------- */

/* Does the foreground belong to the command, to what it started, or to nobody any more? */
static bool front_is_theirs(const struct run *run)
{
	pid_t front = terminal_front(&run->tty);

	if (!front || front == getpgrp())
		return false;
	if (front == getpgid(run->pid) || (kill(-front, 0) < 0 && errno == ESRCH))
		return true;
	for (size_t i = 0; i < run->left.count; i++)
		if (getpgid(run->left.pids[i]) == front)
			return true;
	return false;
}

static void take_terminal_back(struct run *run, bool restore)
{
	if (run->tty.lent && front_is_theirs(run))
		terminal_take_back(&run->tty, restore);
}

/* Has a ^Z come to the command that it has not taken note of, because it stands still? */
static bool stop_is_pending(const struct run *run)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	unsigned long long pending = 0;
	const char *line;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)run->pid);
	if (file_read(AT_FDCWD, path, STATUS_LIMIT, &text, &ignored) == 0 &&
	    (line = strstr(text.data, "\nShdPnd:")))
		pending = strtoull(line + strlen("\nShdPnd:"), NULL, 16);
	bytes_release(&text);
	return pending >> (SIGTSTP - 1) & 1;
}

/*
 * The terminal is lent first: a command that goes on without it would ask for it at once.
 * From then on ^Z is the command's, and SIGCONT takes every ^Z back that has come until
 * then. So one that came in between is given again. One that was there before is not: it
 * was typed twice, and has been obeyed.
 */
static void resume(struct run *run)
{
	bool again = false;

	if (terminal_is_ours(&run->tty)) {
		again = !stop_is_pending(run);
		terminal_lend(&run->tty, getpgid(run->pid));
		again = again && stop_is_pending(run);
	}
	kill(-run->pid, SIGCONT);
	if (again)
		kill(-run->pid, SIGTSTP);
}

/*
 * Stops our own group, as the terminal would have, until somebody continues us.
 * False: nobody would (an orphaned group), so the kernel did not stop us.
 */
static bool stop_ourselves(int sig)
{
	struct sigaction standard = {.sa_handler = SIG_DFL}, old;
	struct timespec at_once = {0};
	sigset_t this, before, cont, pending;

	sigemptyset(&this);
	sigaddset(&this, sig);
	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	sigaction(sig, &standard, &old);
	kill(0, sig); /* discards a SIGCONT that was pending */
	pthread_sigmask(SIG_UNBLOCK, &this, &before);
	/* Here we stand still. */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	sigaction(sig, &old, NULL);
	/* A ^Z behind the SIGCONT has taken its place: who sends us that can send us both. */
	if (sigpending(&pending) == 0 && sigismember(&pending, SIGTSTP))
		return true;
	return sigtimedwait(&cont, NULL, &at_once) == SIGCONT;
}

/* What a shell does when its job stops we do for the command, and then stop in its place. */
static void command_stopped(struct run *run, int sig)
{
	bool wants_terminal = sig == SIGTTIN || sig == SIGTTOU;

	if (run->phase != RUNNING) {
		kill(-run->pid, SIGCONT); /* it has been asked to end */
		return;
	}
	/* Without a terminal there is no job control; who stopped it can continue it. */
	if (run->tty.fd < 0)
		return;
	/* It may have asked just before it was lent, and have been stopped for that just after. */
	if (wants_terminal &&
	    (terminal_is_ours(&run->tty) || terminal_front(&run->tty) == getpgid(run->pid))) {
		resume(run);
		return;
	}
	take_terminal_back(run, true);
	/* SIGSTOP would also stop a group that nobody continues. */
	if (!stop_ourselves(sig == SIGSTOP ? SIGTSTP : sig) && wants_terminal)
		kill(-run->pid, SIGHUP); /* or it would ask again, for ever */
	resume(run);
}

/* ---- phases --------------------------------------------------------------------------- */

static void enter(struct run *run, enum phase phase, int64_t ms)
{
	run->phase = phase;
	run->next = clock_deadline(ms);
}

/* A second cause changes nothing, but its signal is passed on, too. */
static void cancel(struct run *run, int sig)
{
	if (!run->ended && run->phase != KILLED && !sigismember(&run->passed, sig)) {
		sigaddset(&run->passed, sig);
		end_group(run, sig);
	}
	if (run->phase == RUNNING || run->phase == LINGERING)
		enter(run, ASKED, run->life->grace);
}

static void time_is_over(struct run *run)
{
	switch (run->phase) {
	case RUNNING:
		run->end->deadline = true;
		tell(run, "the command's time is over: ending it");
		cancel(run, SIGTERM);
		break;
	case LINGERING:
		enter(run, ASKED, run->life->grace);
		break;
	case ASKED:
		tell_of(run, "killing what did not end", &run->left);
		enter(run, KILLED, LIFETIME_KILL_WAIT);
		if (!run->ended)
			end_group(run, SIGKILL);
		break;
	case KILLED:
		break;
	}
}

static bool is_over(const struct run *run)
{
	if (run->ended && !run->left.count)
		return true;
	return run->phase == KILLED && !clock_left(run->next);
}

static void command_ended(struct run *run)
{
	bool killed = run->how.si_code != CLD_EXITED;

	take_terminal_back(run, killed);
	if (run->phase == KILLED)
		enter(run, KILLED, LIFETIME_KILL_WAIT); /* for what falls to us now */
	if (run->phase != RUNNING)
		return;
	/* What was killed, by ^C for one, was not meant to leave anything running. */
	enter(run, killed ? ASKED : LINGERING, run->life->grace);
	run->talk = clock_deadline(QUIET);
}

static void see_to_left(struct run *run)
{
	if (run->phase == ASKED && run->ended)
		ask_left(run);
	if (run->phase == KILLED)
		kill_left(run);
	if (run->phase == LINGERING && !run->talked && run->left.count && !clock_left(run->talk)) {
		tell_of(run, "still running after the command has ended", &run->left);
		run->talked = true;
	}
}

/* ---- children --------------------------------------------------------------------------- */

/* The exit is looked at and left in place: as a zombie the command keeps its pid and group. */
static bool has_ended(struct run *run)
{
	run->how.si_pid = 0;
	return waitid(P_PID, (id_t)run->pid, &run->how, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       run->how.si_pid == run->pid;
}

static int has_stopped(const struct run *run)
{
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)run->pid, &info, WSTOPPED | WNOHANG) < 0 || !info.si_pid)
		return 0;
	return info.si_status;
}

static bool reap(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | __WALL) == 0 &&
	       info.si_pid == pid;
}

/* Waits for what has fallen to us and died, and lists what of it lives. */
static void list_left(struct run *run)
{
	struct brood all = BROOD_INIT;
	struct fail fail = FAIL_INIT;

	run->left.count = 0;
	if (brood_list(&all, &fail) < 0 && !run->blind) {
		run->blind = true;
		tell(run, "what the command leaves running cannot be seen: %s", fail.message);
	}
	for (size_t i = 0; i < all.count; i++) {
		pid_t pid = all.pids[i];

		if (pid != run->pid && !brood_has(&run->before, pid) && !reap(pid))
			brood_add(&run->left, pid);
	}
	brood_release(&all);
}

static void see_to_children(struct run *run)
{
	bool ended_now = !run->ended && has_ended(run);
	int stopped;

	run->ended |= ended_now;
	list_left(run);
	if (ended_now)
		command_ended(run);
	else if (!run->ended && (stopped = has_stopped(run)))
		command_stopped(run, stopped);
	see_to_left(run);
}

/* ---- waiting ------------------------------------------------------------------------------ */

static void wait_for_anything(const struct run *run)
{
	struct pollfd fds[] = {
		{.fd = run->life->shield.fd, .events = POLLIN},
		{.fd = run->events, .events = POLLIN},
		{.fd = run->ended ? -1 : run->pidfd, .events = POLLIN},
	};
	int64_t left = clock_left(run->next);
	struct timespec timeout;

	if (run->phase == LINGERING && !run->talked && clock_left(run->talk) < left)
		left = clock_left(run->talk);
	timeout.tv_sec = (time_t)(left / 1000);
	timeout.tv_nsec = left % 1000 * 1000000;
	ppoll(fds, ARRAY_SIZE(fds), left == INT64_MAX ? NULL : &timeout, NULL);
}

static void see_to_events(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->events, &info, sizeof(info)) == sizeof(info)) {
		if (run->ended || info.ssi_signo == SIGCHLD)
			continue;
		if (info.ssi_signo == SIGCONT)
			resume(run); /* we had been stopped from outside */
		else
			kill(-run->pid, (int)info.ssi_signo);
	}
}

static void see_to_signals(struct run *run)
{
	int sig;

	while ((sig = shield_take(&run->life->shield))) {
		if (run->phase == RUNNING)
			run->end->signal = sig;
		cancel(run, sig);
	}
}

/* ---- setting up, putting back -----------------------------------------------------------------
 */

static void watch_for(sigset_t *set, int sig)
{
	struct sigaction action;

	if (sigaction(sig, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
		sigaddset(set, sig);
}

static int set_up(struct run *run, struct fail *fail)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t events;

	sigemptyset(&run->passed);
	sigaction(SIGCHLD, &standard, &run->sigchld); /* ignored, children would vanish unseen */
	terminal_open(&run->tty);
	sigemptyset(&events);
	sigaddset(&events, SIGCHLD);
	if (run->tty.fd >= 0) {
		sigaddset(&events, SIGCONT);
		watch_for(&events, SIGTSTP);
		watch_for(&events, SIGWINCH);
		run->tty.lent = terminal_lend_at_once(&run->tty);
	}
	run->events = signalfd(-1, &events, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->tty.fd >= 0)
		sigaddset(&events, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &events, &run->mask);
	prctl(PR_GET_CHILD_SUBREAPER, &run->was_subreaper);
	if (run->events < 0)
		return fail_errno(fail, "open a signal descriptor");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return fail_errno(fail, "become a subreaper");
	/* Blind now is blind later; there it is told. */
	if (brood_list(&run->before, &(struct fail)FAIL_INIT) < 0)
		run->before.count = 0;
	return 0;
}

static void put_back(struct run *run)
{
	terminal_close(&run->tty);
	if (run->pidfd >= 0)
		close(run->pidfd);
	if (run->events >= 0)
		close(run->events);
	prctl(PR_SET_CHILD_SUBREAPER, run->was_subreaper);
	sigaction(SIGCHLD, &run->sigchld, NULL);
	pthread_sigmask(SIG_SETMASK, &run->mask, NULL);
	brood_release(&run->before);
	brood_release(&run->left);
	brood_release(&run->asked);
}

static void conclude(struct run *run)
{
	struct lifetime_end *end = run->end;

	take_terminal_back(run, true);
	end->survivors = run->left.count + !run->ended;
	if (!run->ended)
		brood_add(&run->left, run->pid);
	tell_of(run, "could not be ended", &run->left);
	if (run->ended && run->how.si_code != CLD_EXITED)
		end->killed = run->how.si_status;
	if (end->deadline)
		end->status = STATUS_DEADLINE;
	else if (end->signal)
		end->status = 128 + end->signal;
	else
		end->status = end->killed ? 128 + end->killed : run->how.si_status;
	if (run->ended)
		reap(run->pid);
}

int lifetime_run(struct lifetime *life, struct lifetime_end *end, struct fail *fail)
{
	struct run run = {.life = life, .end = end, .pidfd = -1, .events = -1, .tty.fd = -1};

	*end = (struct lifetime_end){0};
	if (shield_raise(&life->shield, fail) < 0)
		return fail->kind;
	end->signal = shield_take(&life->shield);
	if (end->signal) {
		end->status = 128 + end->signal;
		return 0;
	}
	if (set_up(&run, fail) == 0 && start(&run, fail) == 0) {
		enter(&run, RUNNING, life->time);
		for (see_to_children(&run); !is_over(&run); see_to_children(&run)) {
			wait_for_anything(&run);
			see_to_signals(&run);
			see_to_events(&run);
			if (!clock_left(run.next))
				time_is_over(&run);
		}
		conclude(&run);
	} else {
		take_terminal_back(&run, true); /* the child that failed may have it */
	}
	put_back(&run);
	return fail->kind;
}

void lifetime_release(struct lifetime *life)
{
	shield_lower(&life->shield);
	argv_release(&life->argv);
	argv_release(&life->env);
}
