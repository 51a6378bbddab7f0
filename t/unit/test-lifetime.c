/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* lifetime, shield, brood: commands whose life is bound to ours. What needs a terminal is in
   t/lifetime.bats. */
#include "brood.h"
#include "clock.h"
#include "file.h"
#include "lifetime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What a supervisor says of itself when it is done. */
struct outcome {
	int r, kind, err;
	struct lifetime_end end;
	int64_t took;
	int64_t naps; /* how often it slept and was woken */
	char talk[1024];
};

/* A process that runs lifetime_run(); the command's standard output comes to `said`. */
struct super {
	pid_t pid;
	int said;
	int result;
};

static void remember(void *arg, const char *line)
{
	struct outcome *out = arg;
	size_t used = strlen(out->talk);

	snprintf(out->talk + used, sizeof(out->talk) - used, "%s\n", line);
}

static void supervise(struct lifetime *life, int result, void (*prepare)(struct lifetime *),
		      int64_t teardown)
{
	struct outcome out = {0};
	struct fail fail = FAIL_INIT;
	struct rusage before, after;
	int64_t start = clock_ms();

	life->tell = remember;
	life->tell_arg = &out;
	if (prepare)
		prepare(life);
	getrusage(RUSAGE_SELF, &before);
	out.r = lifetime_run(life, &out.end, &fail);
	getrusage(RUSAGE_SELF, &after);
	out.kind = fail.kind;
	out.err = fail.err;
	out.took = clock_ms() - start;
	out.naps = after.ru_nvcsw - before.ru_nvcsw;
	if (teardown) {
		if (write(STDOUT_FILENO, "D", 1) != 1)
			_exit(1);
		clock_sleep(teardown);
	}
	lifetime_release(life);
	_exit(write(result, &out, sizeof(out)) != sizeof(out));
}

static struct super begin_with(struct lifetime *life, void (*prepare)(struct lifetime *),
			       int64_t teardown)
{
	struct super s;
	int said[2], result[2];

	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	assert_int_equal(pipe2(result, O_CLOEXEC), 0);
	s.pid = fork();
	if (s.pid == 0) {
		close(said[0]);
		dup2(said[1], STDOUT_FILENO);
		supervise(life, result[1], prepare, teardown);
	}
	close(said[1]);
	close(result[1]);
	s.said = said[0];
	s.result = result[0];
	lifetime_release(life);
	return s;
}

static struct super begin(struct lifetime *life)
{
	return begin_with(life, NULL, 0);
}

/* The next byte that the command (or its supervisor's teardown) says. */
static char hear(const struct super *s)
{
	struct pollfd fd = {.fd = s->said, .events = POLLIN};
	char byte = 0;

	if (poll(&fd, 1, 20000) != 1)
		fail_msg("nothing was said in 20 seconds");
	return read(s->said, &byte, 1) == 1 ? byte : 0;
}

/* A number and its line feed. */
static pid_t hear_pid(const struct super *s)
{
	pid_t pid = 0;
	char c;

	while ((c = hear(s)) >= '0' && c <= '9')
		pid = pid * 10 + c - '0';
	assert_true(pid > 0);
	return pid;
}

/* All that is still said, up to the end. */
static void hear_out(const struct super *s, struct bytes *out)
{
	struct fail fail = FAIL_INIT;

	assert_int_equal(file_read_fd(s->said, "said", 1 << 20, out, &fail), 0);
}

static struct outcome finish(struct super *s)
{
	struct outcome out = {0};
	int status;

	if (read(s->result, &out, sizeof(out)) != sizeof(out))
		fail_msg("the supervisor did not come to its end");
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_int_equal(status, 0);
	close(s->result);
	close(s->said);
	return out;
}

static struct lifetime shell(const char *script)
{
	struct lifetime life = LIFETIME_INIT;

	argv_push_all(&life.argv, "sh", "-c", script, NULL);
	return life;
}

static struct lifetime perl(const char *script)
{
	struct lifetime life = LIFETIME_INIT;

	argv_push_all(&life.argv, "perl", "-MPOSIX", "-e", script, NULL);
	return life;
}

static struct outcome run(struct lifetime life)
{
	struct super s = begin(&life);

	return finish(&s);
}

static bool is_gone(pid_t pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH;
}

/* ---- status ---------------------------------------------------------------------- */

static void b9_the_status_is_the_commands(UNUSED void **state)
{
	static const struct {
		const char *script;
		int status, killed;
	} cases[] = {
		{"exit 0", 0, 0},     {"exit 7", 7, 0},		 {"exit 143", 143, 0},
		{"exit 255", 255, 0}, {"kill -KILL $$", 137, 9}, {"kill -TERM $$", 143, 15},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outcome out = run(shell(cases[i].script));

		assert_int_equal(out.r, 0);
		assert_int_equal(out.end.status, cases[i].status);
		assert_int_equal(out.end.killed, cases[i].killed);
		assert_int_equal(out.end.signal, 0);
		assert_int_equal(out.end.left_behind + out.end.survivors, 0);
		assert_string_equal(out.talk, "");
	}
}

/* The group is gone before the leader is: cleaning up after it changes nothing. */
static void b9_a_group_that_is_gone_changes_no_status(UNUSED void **state)
{
	struct outcome out = run(perl("system('true'); POSIX::setsid(); exit 7"));

	assert_int_equal(out.end.status, 7);
	out = run(perl("if (fork) { exit 7 } POSIX::setsid(); exit 3"));
	assert_int_equal(out.end.status, 7);
	assert_true(out.took < 4000);
}

static void what_cannot_be_run_is_a_failure(UNUSED void **state)
{
	struct lifetime life = LIFETIME_INIT;
	struct outcome out;

	argv_push(&life.argv, "no-such-command-of-interlock");
	assert_int_equal(run(life).kind, FAIL_GONE);
	life = (struct lifetime)LIFETIME_INIT;
	argv_push(&life.argv, "/etc/passwd");
	out = run(life);
	assert_int_equal(out.kind, FAIL_SYSTEM);
	assert_int_equal(out.err, EACCES);
	life = shell("exit 0");
	life.cwd = "/no/such/directory";
	out = run(life);
	assert_int_equal(out.kind, FAIL_SYSTEM); /* not "no such command" */
	assert_int_equal(out.err, ENOENT);
}

/* ---- signals to us ----------------------------------------------------------------- */

/* Says "t" for each signal, and ends a while after the first one. */
#define COUNTS_SIGNALS \
	"$SIG{$_} = sub { syswrite STDOUT, 't'; $end ||= time + 0.4 } for qw(TERM INT HUP QUIT);" \
	"use Time::HiRes qw(time); syswrite STDOUT, 'r';" \
	"select(undef, undef, undef, 0.05) until $end && time > $end; exit 0"

/* B6: ten times SIGTERM: passed on once, 143, and one teardown that no signal breaks. */
static void b6_teardown_runs_once_for_ten_signals(UNUSED void **state)
{
	struct lifetime life = perl(COUNTS_SIGNALS);
	struct super s = begin_with(&life, NULL, 300);
	struct bytes said = BYTES_INIT;
	struct outcome out;

	assert_int_equal(hear(&s), 'r');
	for (int i = 0; i < 10; i++) {
		kill(s.pid, SIGTERM);
		clock_sleep(10);
	}
	assert_int_equal(hear(&s), 't');
	assert_int_equal(hear(&s), 'D');
	for (int i = 0; i < 10; i++) {
		kill(s.pid, i % 2 ? SIGTERM : SIGINT);
		clock_sleep(5);
	}
	hear_out(&s, &said);
	assert_string_equal(said.data, "");
	bytes_release(&said);
	out = finish(&s);
	assert_int_equal(out.end.status, 143);
	assert_int_equal(out.end.signal, SIGTERM);
	assert_int_equal(out.end.killed, 0);
}

static void each_signal_is_passed_on(UNUSED void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct lifetime life = perl(COUNTS_SIGNALS);
		struct super s = begin(&life);

		assert_int_equal(hear(&s), 'r');
		kill(s.pid, signals[i]);
		assert_int_equal(hear(&s), 't');
		assert_int_equal(finish(&s).end.status, 128 + signals[i]);
	}
}

/* The whole group gets it, not only its leader. */
static void the_group_gets_the_signal(UNUSED void **state)
{
	/* Not one long sleep: perl would begin it with a signal that is not handled yet. */
	struct lifetime life =
		perl("if (!fork) { $SIG{TERM} = sub { syswrite STDOUT, 't'; exit };"
		     "syswrite STDOUT, 'r'; select(undef, undef, undef, 0.05) while 1 }"
		     "sleep 100");
	struct super s = begin(&life);

	assert_int_equal(hear(&s), 'r');
	kill(s.pid, SIGTERM);
	assert_int_equal(hear(&s), 't');
	assert_int_equal(finish(&s).end.status, 143);
}

static void raise_early(struct lifetime *life)
{
	struct fail fail = FAIL_INIT;

	if (shield_raise(&life->shield, &fail) < 0)
		_exit(9);
	raise(SIGTERM);
}

/* The signal came after the claim and before the command: it is not lost, and nothing runs. */
static void a_signal_before_the_start_ends_the_run(UNUSED void **state)
{
	struct lifetime life = shell("echo ran");
	struct super s = begin_with(&life, raise_early, 0);
	struct bytes said = BYTES_INIT;
	struct outcome out;

	hear_out(&s, &said);
	assert_string_equal(said.data, "");
	bytes_release(&said);
	out = finish(&s);
	assert_int_equal(out.r, 0);
	assert_int_equal(out.end.status, 143);
}

static void ignore_hangup(UNUSED struct lifetime *life)
{
	signal(SIGHUP, SIG_IGN);
}

/* nohup: a signal that was ignored when we began ends nothing. */
static void an_ignored_signal_stays_ignored(UNUSED void **state)
{
	struct lifetime life = shell("echo; sleep 0.3; exit 5");
	struct super s = begin_with(&life, ignore_hangup, 0);

	assert_int_equal(hear(&s), '\n');
	kill(s.pid, SIGHUP);
	assert_int_equal(finish(&s).end.status, 5);
}

/* A stopped command comes to die of the signal. */
static void a_stopped_command_is_ended(UNUSED void **state)
{
	struct lifetime life = shell("echo; kill -STOP $$; exit 5");
	struct super s = begin(&life);
	struct outcome out;

	assert_int_equal(hear(&s), '\n');
	clock_sleep(100);
	kill(s.pid, SIGTERM);
	out = finish(&s);
	assert_int_equal(out.end.status, 143);
	assert_true(out.took < LIFETIME_GRACE);
}

/* ---- the deadline ---------------------------------------------------------------------- */

static void b6_b7_the_deadline_ends_it(UNUSED void **state)
{
	struct lifetime life = shell("sleep 100");
	struct outcome out;

	life.time = 200;
	out = run(life);
	assert_int_equal(out.end.status, 142);
	assert_true(out.end.deadline);
	assert_true(out.took >= 200 && out.took < 3000);
	assert_non_null(strstr(out.talk, "time is over"));
	life = shell("sleep 0.3; exit 4");
	life.time = 60000;
	out = run(life);
	assert_int_equal(out.end.status, 4);
	assert_false(out.end.deadline);
}

static void a_command_that_will_not_end_is_killed(UNUSED void **state)
{
	struct lifetime life = shell("trap '' TERM; sleep 100; sleep 100");
	struct outcome out;

	life.time = 100;
	life.grace = 300;
	out = run(life);
	assert_int_equal(out.end.status, 142);
	assert_int_equal(out.end.killed, SIGKILL);
	assert_true(out.took >= 400 && out.took < 3000);
}

/* B12: it ignores the signal, and so does what it left in another session: over in 10 seconds. */
static void b12_cancelled_it_is_over_in_time(UNUSED void **state)
{
	struct lifetime life = perl("$SIG{TERM} = 'IGNORE'; if (!fork) { POSIX::setsid();"
				    "print \"$$\\n\"; close STDOUT; sleep 1000 } sleep 1000");
	struct super s = begin(&life);
	pid_t other = hear_pid(&s);
	int64_t start = clock_ms();
	struct outcome out;

	kill(s.pid, SIGTERM);
	out = finish(&s);
	assert_int_equal(out.end.status, 143);
	assert_int_equal(out.end.left_behind, 1);
	assert_true(clock_ms() - start < 10000);
	assert_true(is_gone(other));
}

/* ---- our own death ------------------------------------------------------------------------ */

static void b8_our_death_ends_the_command(UNUSED void **state)
{
	struct lifetime life = perl(COUNTS_SIGNALS);
	struct super s = begin(&life);

	assert_int_equal(hear(&s), 'r');
	kill(s.pid, SIGKILL);
	assert_int_equal(hear(&s), 't');
	waitpid(s.pid, NULL, 0);
	close(s.said);
	close(s.result);
}

/* ---- what is left running -------------------------------------------------------------------- */

#define SAY_AND_STAY "echo $$; exec sleep 1000"

static void b13_what_is_left_running_is_ended(UNUSED void **state)
{
	static const char *const scripts[] = {
		/* in the background */
		"sh -c '" SAY_AND_STAY "' & read x <&8; exit 3",
		/* a session of its own */
		"setsid sh -c '" SAY_AND_STAY "' & read x <&8; exit 3",
		/* a daemon: forked twice, its parent gone before the command is */
		"(setsid sh -c '" SAY_AND_STAY "' &); read x <&8; exit 3",
		/* all descriptors closed, the directory left */
		"(cd /; setsid sh -c 'echo $$; exec sleep 1000 0<&- 1>&- 2>&- 8<&-' &);"
		"read x <&8; exit 3",
		/* stopped */
		"sh -c 'echo $$; kill -STOP $$; exec sleep 1000' & read x <&8; exit 3",
		/* deaf to SIGTERM */
		"sh -c 'trap \"\" TERM; " SAY_AND_STAY "' & read x <&8; exit 3",
	};

	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		struct lifetime life = shell(scripts[i]);
		struct outcome out;
		struct super s;
		char name[32];
		int go[2];
		pid_t pid;

		assert_int_equal(pipe(go), 0);
		assert_int_equal(dup2(go[0], 8), 8);
		life.grace = 300;
		s = begin(&life);
		pid = hear_pid(&s);
		close(8);
		close(go[0]);
		assert_int_equal(write(go[1], "\n", 1), 1);
		close(go[1]);
		out = finish(&s);
		assert_int_equal(out.end.status, 3);
		assert_int_equal(out.end.left_behind, 1);
		assert_int_equal(out.end.survivors, 0);
		assert_true(is_gone(pid));
		assert_true(out.took >= 300 && out.took < 5000);
		assert_non_null(strstr(out.talk, "still running"));
		snprintf(name, sizeof(name), "pid %d (", (int)pid);
		assert_non_null(strstr(out.talk, name));
	}
}

/* Something that answers SIGTERM with a new process in a new session. */
static void what_starts_anew_when_asked_is_ended(UNUSED void **state)
{
	struct lifetime life = perl("if (fork) { exit 3 }"
				    "$SIG{TERM} = sub { if (fork) { exit } POSIX::setsid() };"
				    "select(undef, undef, undef, 0.05) while 1");
	struct outcome out;

	life.grace = 300;
	out = run(life);
	assert_int_equal(out.end.status, 3);
	assert_true(out.end.left_behind >= 2);
	assert_int_equal(out.end.survivors, 0);
	assert_true(out.took < 5000);
}

/* What ends soon was not left behind, and nobody is bothered with it. */
static void what_ends_by_itself_is_not_counted(UNUSED void **state)
{
	struct outcome out = run(shell("sleep 0.1 & exit 4"));

	assert_int_equal(out.end.status, 4);
	assert_int_equal(out.end.left_behind, 0);
	assert_true(out.took >= 100 && out.took < LIFETIME_GRACE);
}

/* A signal while we wait for it: no more patience, and the status stays the command's. */
static void a_signal_cuts_the_grace_short(UNUSED void **state)
{
	struct lifetime life = shell("sleep 1000 & echo; exit 4");
	struct super s;
	struct outcome out;

	life.grace = 30000;
	s = begin(&life);
	assert_int_equal(hear(&s), '\n');
	clock_sleep(200);
	kill(s.pid, SIGTERM);
	out = finish(&s);
	assert_int_equal(out.end.status, 4);
	assert_int_equal(out.end.left_behind, 1);
	assert_true(out.took < 5000);
}

/* What was killed, as by ^C, meant to leave nothing: what it left is asked at once. */
static void after_a_violent_end_nothing_lingers(UNUSED void **state)
{
	struct lifetime life = shell("sleep 1000 & kill -INT $$; sleep 10");
	struct outcome out;

	life.grace = 30000;
	out = run(life);
	assert_int_equal(out.end.status, 130);
	assert_int_equal(out.end.killed, SIGINT);
	assert_int_equal(out.end.left_behind, 1);
	assert_true(out.took < 5000);
}

/*
 * A process that SIGKILL does not end must not hang us. Sleeping uninterruptibly on
 * a dead disk cannot be had here; but a process whose tracer does not look is the same to its
 * parent: dead or not, it cannot be waited for.
 */
static void a_survivor_does_not_hang_us(UNUSED void **state)
{
	struct lifetime life = shell("setsid sh -c '" SAY_AND_STAY "' & wait");
	struct outcome out;
	struct super s;
	pid_t pid, tracer;
	int ready[2];
	char byte;

	life.grace = 200;
	s = begin(&life);
	pid = hear_pid(&s);
	assert_int_equal(pipe(ready), 0);
	tracer = fork();
	if (tracer == 0) {
		byte = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? 'y' : 'n';
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	if (byte == 'y') {
		kill(s.pid, SIGTERM);
		out = finish(&s);
		assert_int_equal(out.end.status, 143);
		assert_int_equal(out.end.survivors, 1);
		assert_true(out.took < 200 + LIFETIME_KILL_WAIT + 2000);
		assert_non_null(strstr(out.talk, "could not be ended"));
	} else {
		kill(s.pid, SIGTERM);
		finish(&s);
	}
	kill(tracer, SIGKILL);
	waitpid(tracer, NULL, 0);
	if (byte != 'y')
		skip(); /* a kernel that lets nobody trace */
}

/* ---- what is the caller's stays the caller's
 * ----------------------------------------------------- */

static void children_of_the_caller_are_left_alone(UNUSED void **state)
{
	struct lifetime life = shell("sleep 1000 & exit 6");
	struct lifetime_end end;
	struct fail fail = FAIL_INIT;
	pid_t sleeper = fork(), zombie;
	siginfo_t info;
	int status;

	if (sleeper == 0)
		for (;;)
			pause();
	zombie = fork();
	if (zombie == 0)
		_exit(33);
	assert_int_equal(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT), 0);
	life.grace = 200;
	assert_int_equal(lifetime_run(&life, &end, &fail), 0);
	lifetime_release(&life);
	assert_int_equal(end.status, 6);
	assert_int_equal(end.left_behind, 1);
	assert_int_equal(waitpid(sleeper, NULL, WNOHANG), 0);
	assert_int_equal(waitpid(zombie, &status, WNOHANG), zombie);
	assert_int_equal(WEXITSTATUS(status), 33);
	kill(sleeper, SIGKILL);
	waitpid(sleeper, NULL, 0);
}

/* One that ends during the run, and one whose end is nobody's business. */
static void a_child_of_the_caller_may_end_meanwhile(UNUSED void **state)
{
	struct lifetime life = shell("sleep 0.4; exit 6");
	struct lifetime_end end;
	struct fail fail = FAIL_INIT;
	struct rusage before, after;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		usleep(100000);
		_exit(34);
	}
	getrusage(RUSAGE_SELF, &before);
	assert_int_equal(lifetime_run(&life, &end, &fail), 0);
	getrusage(RUSAGE_SELF, &after);
	lifetime_release(&life);
	assert_int_equal(end.status, 6);
	assert_int_equal(end.left_behind, 0);
	assert_true(after.ru_nvcsw - before.ru_nvcsw < 50);
	assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
	assert_int_equal(WEXITSTATUS(status), 34);
}

static void settings_are_put_back(UNUSED void **state)
{
	struct lifetime life = shell("exit 0");
	struct lifetime_end end;
	struct fail fail = FAIL_INIT;
	sigset_t before, after;
	struct sigaction action;
	int subreaper = 9;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(lifetime_run(&life, &end, &fail), 0);
	assert_int_equal(end.status, 0); /* seen, although children are ignored */
	raise(SIGTERM);			 /* late: dropped with the shield */
	lifetime_release(&life);
	sigaction(SIGCHLD, NULL, &action);
	assert_true(action.sa_handler == SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < NSIG; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
	prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
	assert_int_equal(subreaper, 0);
}

/* ---- what the command finds ---------------------------------------------------------------------
 */

static void a_handler(UNUSED int sig)
{
	_exit(9);
}

static void odd_signals(UNUSED struct lifetime *life)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGUSR2, a_handler);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

/* Its mask and its ignored signals are those of a plain fork and exec. */
static void signals_of_the_command_are_ours(UNUSED void **state)
{
	static const char *const command[] = {"grep", "-E", "^Sig(Blk|Ign|Cgt)",
					      "/proc/self/status", NULL};
	struct lifetime life = LIFETIME_INIT;
	struct bytes ours = BYTES_INIT, plain = BYTES_INIT;
	struct super s, p;
	int said[2];

	for (size_t i = 0; command[i]; i++)
		argv_push(&life.argv, command[i]);
	s = begin_with(&life, odd_signals, 0);
	hear_out(&s, &ours);
	assert_int_equal(finish(&s).end.status, 0);
	assert_int_equal(pipe(said), 0);
	p.said = said[0];
	p.pid = fork();
	if (p.pid == 0) {
		dup2(said[1], STDOUT_FILENO);
		odd_signals(NULL);
		execvp(command[0], (char **)command);
		_exit(127);
	}
	close(said[1]);
	hear_out(&p, &plain);
	waitpid(p.pid, NULL, 0);
	close(said[0]);
	assert_true(plain.len > 20);
	assert_string_equal(ours.data, plain.data);
	bytes_release(&ours);
	bytes_release(&plain);
}

static int kept = -1;

static void open_some(UNUSED struct lifetime *life)
{
	for (int fd = 3; fd < 1024; fd++) /* what the runner of the tests left open */
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0 || dup2(kept, 40) != 40 ||
	    fcntl(40, F_SETFD, FD_CLOEXEC) < 0 || dup2(kept, 41) != 41)
		_exit(9);
}

/* 0, 1, 2, the one that it shall keep (40), and what the caller leaves open to everybody (41). */
static void descriptors_of_the_command(UNUSED void **state)
{
	struct lifetime life = perl("opendir $d, '/proc/self/fd'; $own = fileno $d;"
				    "print join ' ', sort { $a <=> $b } grep { /\\d/ && $_ != $own "
				    "&& $_ != 3 } readdir $d");
	struct bytes said = BYTES_INIT;
	struct super s;

	kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
	life.inherit = 40;
	s = begin_with(&life, open_some, 0);
	hear_out(&s, &said);
	assert_string_equal(said.data, "0 1 2 40 41");
	finish(&s);
	close(kept);
	bytes_release(&said);
}

static void group_directory_and_environment(UNUSED void **state)
{
	struct lifetime life =
		perl("print getpgrp == $$ ? 'leader' : 'follower', ' ', getcwd(), ' ',"
		     "$ENV{LIFE_SET} // '-', ' ', $ENV{LIFE_GONE} // '-'");
	struct bytes said = BYTES_INIT;
	struct super s;

	setenv("LIFE_SET", "old", 1);
	setenv("LIFE_GONE", "still", 1);
	argv_push_all(&life.env, "LIFE_SET=new", "LIFE_GONE", NULL);
	life.cwd = "/dev";
	s = begin(&life);
	unsetenv("LIFE_SET");
	unsetenv("LIFE_GONE");
	hear_out(&s, &said);
	assert_string_equal(said.data, "leader /dev new -");
	finish(&s);
	bytes_release(&said);
	life = shell("exit 0");
	argv_push(&life.env, "PATH=/no/such/place");
	assert_int_equal(run(life).kind, FAIL_GONE); /* found on its own PATH, or not at all */
}

/* Half a second of nothing: we sleep through it. */
static void waiting_is_sleeping(UNUSED void **state)
{
	struct outcome out = run(shell("sleep 0.5"));

	assert_true(out.took >= 500);
	assert_true(out.naps < 20);
}

/* ---- brood
 * ------------------------------------------------------------------------------------------ */

static void a_brood_is_all_children(UNUSED void **state)
{
	struct brood brood = BROOD_INIT;
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	pid_t pids[7];

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			prctl(PR_SET_NAME, "a\033[1mb");
			for (;;)
				pause();
		}
	}
	assert_int_equal(brood_list(&brood, &fail), 0);
	assert_int_equal(brood.count, ARRAY_SIZE(pids));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		assert_true(brood_has(&brood, pids[i]));
	brood_describe(&brood, &text);
	assert_non_null(strstr(text.data, " and 2 more"));
	assert_null(strchr(text.data, '\033'));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	assert_int_equal(brood_list(&brood, &fail), 0);
	assert_int_equal(brood.count, 0);
	brood_release(&brood);
	bytes_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(b9_the_status_is_the_commands),
		cmocka_unit_test(b9_a_group_that_is_gone_changes_no_status),
		cmocka_unit_test(what_cannot_be_run_is_a_failure),
		cmocka_unit_test(b6_teardown_runs_once_for_ten_signals),
		cmocka_unit_test(each_signal_is_passed_on),
		cmocka_unit_test(the_group_gets_the_signal),
		cmocka_unit_test(a_signal_before_the_start_ends_the_run),
		cmocka_unit_test(an_ignored_signal_stays_ignored),
		cmocka_unit_test(a_stopped_command_is_ended),
		cmocka_unit_test(b6_b7_the_deadline_ends_it),
		cmocka_unit_test(a_command_that_will_not_end_is_killed),
		cmocka_unit_test(b12_cancelled_it_is_over_in_time),
		cmocka_unit_test(b8_our_death_ends_the_command),
		cmocka_unit_test(b13_what_is_left_running_is_ended),
		cmocka_unit_test(what_starts_anew_when_asked_is_ended),
		cmocka_unit_test(what_ends_by_itself_is_not_counted),
		cmocka_unit_test(a_signal_cuts_the_grace_short),
		cmocka_unit_test(after_a_violent_end_nothing_lingers),
		cmocka_unit_test(a_survivor_does_not_hang_us),
		cmocka_unit_test(children_of_the_caller_are_left_alone),
		cmocka_unit_test(a_child_of_the_caller_may_end_meanwhile),
		cmocka_unit_test(settings_are_put_back),
		cmocka_unit_test(signals_of_the_command_are_ours),
		cmocka_unit_test(descriptors_of_the_command),
		cmocka_unit_test(group_directory_and_environment),
		cmocka_unit_test(waiting_is_sleeping),
		cmocka_unit_test(a_brood_is_all_children),
	};

	return cmocka_run_group_tests_name("lifetime", tests, NULL, NULL);
}
