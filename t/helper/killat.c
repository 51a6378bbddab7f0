/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * killat: stop a command, and all that it starts, at its n-th system call.
 *
 *	killat -c -- git shadow-commit save	count the calls, per process and name
 *	killat -n 217 -- git shadow-commit save	SIGKILL everything at call 217
 *	killat -n 217 --one -- ...		only the process that makes call 217
 *	killat -n 217 --exit -- ...		when call 217 returns: its effect is there
 *	killat -n 217 --signal=TERM -- ...	another signal, the run goes on
 *	killat -n 217 --inject=EIO -- ...	call 217 is not made and returns EIO; a close
 *						is made all the same, as the kernel does
 *	killat --hold=unlink,unlinkat[:<text>] -- ...
 *						stop before the first such call whose
 *						path holds <text>, write "held" to
 *						stdout of killat, go on when its stdin
 *						is closed or has a line
 *	killat --hold=ioctl:1=0x5410 -- ...	the call whose argument 1 (they count
 *						from 0) is that number
 *	killat --hold=<...> --exit -- ...	when that call returns
 *
 * strace counts calls per process and name, so "the n-th call" of a run with
 * several processes cannot be said with it. Here one count goes over all
 * processes and threads, in the order in which the kernel reports them, and
 * begins with the execve of the command itself, as strace does.
 *
 * A process that is killed at the entry of a call has not made it (the kernel
 * checks for a fatal signal after the tracer's stop). The whole tree dies with
 * killat itself (PTRACE_O_EXITKILL).
 *
 * The report goes to -o <file>, or with -c to stderr, one "key value" a line:
 *	calls <n>		entries in total
 *	returned <n>		calls that came back, which is what strace -c counts
 *	fired <n> <process> <program> <call>	where it was, or "fired no"
 *	process <k> <program> <entries> <returned>
 *	call <process> <name> <entries> <returned>	with -c
 *
 * The exit status is the command's own, 128+n when signal n killed it; 129 for
 * wrong usage, 126 when tracing does not work here.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MAX_NAME = 64,
	CALLS = 512, /* system call numbers below this are counted by name */
};

/* A process: all threads of one group. */
struct process {
	pid_t pid;
	char program[MAX_NAME];
	unsigned long entries, returned;
	unsigned long *entries_of, *returned_of; /* CALLS of each, with -c */
};

/* A thread that we trace. */
struct task {
	pid_t tid;
	size_t process; /* index into killat.processes */
	bool inside;	/* between entry and exit of a call */
	int call;	/* its number */
	bool fail_it;	/* make it return -inject at the exit stop */
	bool fire_it;	/* --exit: fire when it returns */
	bool hold_it;	/* the same for --hold */
};

struct killat {
	/* what to do */
	unsigned long at; /* 0: nowhere */
	bool count, one, on_exit;
	int inject; /* errno, or 0 */
	int signal;
	const char *hold; /* comma-separated names */
	const char *hold_text;
	int hold_argument; /* which has to be hold_number, or -1 */
	unsigned long long hold_number;
	FILE *report;

	/* what happened */
	struct process *processes;
	size_t process_count;
	struct task *tasks;
	size_t task_count;
	unsigned long entries, returned;
	bool started; /* the command's own execve was seen */
	bool fired, killing;
	char where[2 * MAX_NAME + 64];
	pid_t root;
	int root_status;
};

static void die(const char *what)
{
	fprintf(stderr, "killat: %s: %s\n", what, strerror(errno));
	exit(126);
}

static void *grow(void *array, size_t count, size_t size)
{
	void *bigger = reallocarray(array, count + 1, size);

	if (!bigger)
		die("memory");
	memset((char *)bigger + count * size, 0, size);
	return bigger;
}

/* ---- names ------------------------------------------------------------------- */

#define NAMED(name) [SYS_##name] = #name
static const char *const call_names[CALLS] = {
#ifdef SYS_open
	NAMED(open),
	NAMED(stat),
	NAMED(lstat),
	NAMED(access),
	NAMED(pipe),
	NAMED(dup2),
	NAMED(poll),
	NAMED(select),
	NAMED(fork),
	NAMED(vfork),
	NAMED(rename),
	NAMED(mkdir),
	NAMED(rmdir),
	NAMED(link),
	NAMED(unlink),
	NAMED(symlink),
	NAMED(readlink),
	NAMED(chmod),
	NAMED(chown),
	NAMED(lchown),
	NAMED(creat),
	NAMED(utime),
	NAMED(utimes),
	NAMED(alarm),
	NAMED(getpgrp),
	NAMED(getdents),
	NAMED(arch_prctl),
	NAMED(pause),
	NAMED(time),
	NAMED(epoll_create),
	NAMED(epoll_wait),
	NAMED(eventfd),
#endif
#ifdef SYS_renameat
	NAMED(renameat),
#endif
	NAMED(read),
	NAMED(write),
	NAMED(close),
	NAMED(fstat),
	NAMED(lseek),
	NAMED(mmap),
	NAMED(mprotect),
	NAMED(munmap),
	NAMED(brk),
	NAMED(rt_sigaction),
	NAMED(rt_sigprocmask),
	NAMED(rt_sigreturn),
	NAMED(ioctl),
	NAMED(pread64),
	NAMED(pwrite64),
	NAMED(readv),
	NAMED(writev),
	NAMED(sched_yield),
	NAMED(mremap),
	NAMED(msync),
	NAMED(madvise),
	NAMED(dup),
	NAMED(dup3),
	NAMED(nanosleep),
	NAMED(clock_nanosleep),
	NAMED(getpid),
	NAMED(getppid),
	NAMED(sendfile),
	NAMED(socket),
	NAMED(connect),
	NAMED(clone),
	NAMED(clone3),
	NAMED(execve),
	NAMED(exit),
	NAMED(exit_group),
	NAMED(wait4),
	NAMED(waitid),
	NAMED(kill),
	NAMED(tgkill),
	NAMED(uname),
	NAMED(fcntl),
	NAMED(flock),
	NAMED(fsync),
	NAMED(fdatasync),
	NAMED(sync_file_range),
	NAMED(syncfs),
	NAMED(truncate),
	NAMED(ftruncate),
	NAMED(fallocate),
	NAMED(getcwd),
	NAMED(chdir),
	NAMED(fchdir),
	NAMED(fchmod),
	NAMED(fchmodat),
	NAMED(fchown),
	NAMED(fchownat),
	NAMED(umask),
	NAMED(gettimeofday),
	NAMED(getrlimit),
	NAMED(getrusage),
	NAMED(sysinfo),
	NAMED(times),
	NAMED(getuid),
	NAMED(getgid),
	NAMED(geteuid),
	NAMED(getegid),
	NAMED(setpgid),
	NAMED(getsid),
	NAMED(setsid),
	NAMED(getpgid),
	NAMED(statfs),
	NAMED(fstatfs),
	NAMED(prctl),
	NAMED(setrlimit),
	NAMED(gettid),
	NAMED(futex),
	NAMED(sched_getaffinity),
	NAMED(sched_setaffinity),
	NAMED(set_tid_address),
	NAMED(set_robust_list),
	NAMED(clock_gettime),
	NAMED(clock_getres),
	NAMED(openat),
	NAMED(mkdirat),
	NAMED(newfstatat),
	NAMED(unlinkat),
	NAMED(renameat2),
	NAMED(linkat),
	NAMED(symlinkat),
	NAMED(readlinkat),
	NAMED(faccessat),
	NAMED(ppoll),
	NAMED(pselect6),
	NAMED(utimensat),
	NAMED(getdents64),
	NAMED(fadvise64),
	NAMED(pipe2),
	NAMED(prlimit64),
	NAMED(getrandom),
	NAMED(memfd_create),
	NAMED(statx),
	NAMED(rseq),
	NAMED(copy_file_range),
	NAMED(pidfd_open),
	NAMED(pidfd_send_signal),
	NAMED(sigaltstack),
	NAMED(getxattr),
	NAMED(epoll_create1),
	NAMED(epoll_ctl),
	NAMED(epoll_pwait),
	NAMED(eventfd2),
	NAMED(timerfd_create),
	NAMED(timerfd_settime),
	NAMED(signalfd4),
	NAMED(restart_syscall),
	NAMED(mknodat),
	NAMED(rt_sigsuspend),
	NAMED(rt_sigtimedwait),
	NAMED(rt_sigpending),
	NAMED(setitimer),
	NAMED(getpriority),
	NAMED(setpriority),
	NAMED(openat2),
	NAMED(close_range),
	NAMED(faccessat2),
};

static const char *call_name(int call, char *buf, size_t len)
{
	if (call >= 0 && call < CALLS && call_names[call])
		return call_names[call];
	snprintf(buf, len, "syscall_%d", call);
	return buf;
}

static int errno_of(const char *name)
{
	for (int err = 1; err < 134; err++) {
		const char *known = strerrorname_np(err);

		if (known && !strcmp(known, name))
			return err;
	}
	fprintf(stderr, "killat: no such error '%s'\n", name);
	exit(129);
}

static int signal_of(const char *name)
{
	for (int sig = 1; sig < NSIG; sig++) {
		const char *known = sigabbrev_np(sig);

		if (known && !strcmp(known, name))
			return sig;
	}
	fprintf(stderr, "killat: no such signal '%s'\n", name);
	exit(129);
}

/* ---- the traced ones ----------------------------------------------------------- */

static pid_t group_of(pid_t tid)
{
	char path[64], line[128];
	pid_t group = tid;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	file = fopen(path, "re");
	if (!file)
		return tid;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "Tgid:", 5))
			group = (pid_t)atoi(line + 5);
	fclose(file);
	return group;
}

static void read_program(struct process *process)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)process->pid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(process->program, sizeof(process->program), file))
		process->program[strcspn(process->program, "\n")] = '\0';
	for (char *p = process->program; *p; p++)
		if (*p == ' ')
			*p = '_';
	fclose(file);
}

static size_t process_at(struct killat *k, pid_t pid)
{
	struct process *process;

	for (size_t i = k->process_count; i-- > 0;)
		if (k->processes[i].pid == pid)
			return i;
	k->processes = grow(k->processes, k->process_count, sizeof(*k->processes));
	process = &k->processes[k->process_count];
	process->pid = pid;
	strcpy(process->program, "?");
	process->entries_of = calloc(CALLS, sizeof(*process->entries_of));
	process->returned_of = calloc(CALLS, sizeof(*process->returned_of));
	if (!process->entries_of || !process->returned_of)
		die("memory");
	read_program(process);
	return k->process_count++;
}

static struct task *task_at(struct killat *k, pid_t tid)
{
	struct task *task;

	for (size_t i = 0; i < k->task_count; i++)
		if (k->tasks[i].tid == tid)
			return &k->tasks[i];
	k->tasks = grow(k->tasks, k->task_count, sizeof(*k->tasks));
	task = &k->tasks[k->task_count++];
	task->tid = tid;
	task->process = process_at(k, group_of(tid));
	return task;
}

static void task_gone(struct killat *k, pid_t tid)
{
	for (size_t i = 0; i < k->task_count; i++) {
		if (k->tasks[i].tid != tid)
			continue;
		/* The pid may be used again: that will be another process. */
		if (k->processes[k->tasks[i].process].pid == tid)
			k->processes[k->tasks[i].process].pid = -1;
		k->tasks[i] = k->tasks[--k->task_count];
		return;
	}
}

/* ---- at the call --------------------------------------------------------------- */

static void kill_all(struct killat *k)
{
	k->killing = true;
	for (size_t i = 0; i < k->task_count; i++)
		kill(k->processes[k->tasks[i].process].pid, SIGKILL);
}

/* The kernel then makes no call and the exit stop sets what it returns. */
static void cancel_call(pid_t tid)
{
#if defined(__x86_64__)
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		return;
	regs.orig_rax = (unsigned long long)-1;
	ptrace(PTRACE_SETREGS, tid, NULL, &regs);
#elif defined(__aarch64__)
	int none = -1;
	struct iovec io = {.iov_base = &none, .iov_len = sizeof(none)};

	ptrace(PTRACE_SETREGSET, tid, (void *)NT_ARM_SYSTEM_CALL, &io);
#else
#error "killat knows x86_64 and aarch64"
#endif
}

static void set_result(pid_t tid, long result)
{
	struct user_regs_struct regs;
	struct iovec io = {.iov_base = &regs, .iov_len = sizeof(regs)};

	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &io) < 0)
		return;
#if defined(__x86_64__)
	regs.rax = (unsigned long long)result;
#else
	regs.regs[0] = (unsigned long long)result;
#endif
	ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &io);
}

static void note_where(struct killat *k, const struct task *task)
{
	char buf[32];

	k->fired = true;
	snprintf(k->where, sizeof(k->where), "%lu %zu %s %s", k->entries, task->process + 1,
		 k->processes[task->process].program, call_name(task->call, buf, sizeof(buf)));
}

static void fire(struct killat *k, struct task *task)
{
	note_where(k, task);
	if (k->inject) {
		/* Linux has closed the file whatever close(2) says; else who reads waits for ever.
		 */
		if (task->call != SYS_close)
			cancel_call(task->tid);
		task->fail_it = true;
	} else if (k->signal != SIGKILL) {
		kill(k->processes[task->process].pid, k->signal);
	} else if (k->one) {
		kill(k->processes[task->process].pid, SIGKILL);
	} else {
		kill_all(k);
	}
}

/* One of the first four arguments is the address of a path that holds the text. */
static bool argument_has(pid_t tid, const struct __ptrace_syscall_info *info, const char *text)
{
	for (int i = 0; i < 4; i++) {
		char path[4096 + 1];
		struct iovec here = {.iov_base = path, .iov_len = sizeof(path) - 1};
		struct iovec there = {.iov_base = (void *)(uintptr_t)info->entry.args[i],
				      .iov_len = sizeof(path) - 1};
		ssize_t n;

		/* A path may end just before a page that is not there. */
		n = process_vm_readv(tid, &here, 1, &there, 1, 0);
		while (n < 0 && there.iov_len > 16) {
			there.iov_len = 4096 - ((uintptr_t)there.iov_base & 4095);
			if (there.iov_len > sizeof(path) - 1)
				there.iov_len = sizeof(path) - 1;
			n = process_vm_readv(tid, &here, 1, &there, 1, 0);
			break;
		}
		if (n <= 0)
			continue;
		path[n] = '\0';
		if (strstr(path, text))
			return true;
	}
	return false;
}

static bool is_meant(const struct killat *k, pid_t tid, const struct __ptrace_syscall_info *info)
{
	if (k->hold_argument >= 0)
		return info->entry.args[k->hold_argument] == k->hold_number;
	return !k->hold_text || argument_has(tid, info, k->hold_text);
}

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (!strncmp(p, name, len) && (p[len] == ',' || p[len] == '\0'))
			return true;
	return false;
}

static void hold_here(struct killat *k, struct task *task)
{
	char c;

	note_where(k, task);
	printf("held\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0 && c != '\n')
		;
}

/* ---- stops ----------------------------------------------------------------------- */

static void at_entry(struct killat *k, struct task *task, const struct __ptrace_syscall_info *info)
{
	struct process *process = &k->processes[task->process];
	char buf[32];

	task->inside = true;
	task->call = (int)info->entry.nr;
	if (!k->started) {
		/* Ours, between the fork and the execve of the command. */
		if (info->entry.nr != SYS_execve)
			return;
		k->started = true;
	}
	k->entries++;
	process->entries++;
	if (task->call >= 0 && task->call < CALLS)
		process->entries_of[task->call]++;
	if (k->hold && !k->fired && listed(k->hold, call_name(task->call, buf, sizeof(buf))) &&
	    is_meant(k, task->tid, info)) {
		if (k->on_exit)
			task->hold_it = true;
		else
			hold_here(k, task);
	}
	if (k->at && k->entries == k->at) {
		if (k->on_exit)
			task->fire_it = true;
		else
			fire(k, task);
	}
}

static void at_exit(struct killat *k, struct task *task)
{
	struct process *process = &k->processes[task->process];

	if (task->inside && k->started) {
		k->returned++;
		process->returned++;
		if (task->call >= 0 && task->call < CALLS)
			process->returned_of[task->call]++;
	}
	task->inside = false;
	if (task->fail_it) {
		set_result(task->tid, -(long)k->inject);
		task->fail_it = false;
	}
	if (task->fire_it) {
		task->fire_it = false;
		fire(k, task);
	}
	if (task->hold_it) {
		task->hold_it = false;
		hold_here(k, task);
	}
}

static void at_call(struct killat *k, struct task *task)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, sizeof(info), &info) <= 0)
		return; /* it is being killed */
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		at_entry(k, task, &info);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		at_exit(k, task);
}

/* One stop of one task; it goes on at the end. */
static void at_stop(struct killat *k, pid_t tid, int status)
{
	struct task *task = task_at(k, tid);
	int sig = WSTOPSIG(status), event = status >> 16, deliver = 0;

	if (k->killing) {
		/* Born while we killed the others. */
		kill(k->processes[task->process].pid, SIGKILL);
	} else if (sig == (SIGTRAP | 0x80)) {
		at_call(k, task);
	} else if (event == PTRACE_EVENT_EXEC) {
		/* The other threads are gone, and ours has the id of the group. */
		unsigned long former = 0;

		ptrace(PTRACE_GETEVENTMSG, tid, NULL, &former);
		if ((pid_t)former != tid)
			task_gone(k, (pid_t)former);
		task = task_at(k, tid);
		task->inside = true;
		task->call = SYS_execve;
		read_program(&k->processes[task->process]);
	} else if (event == PTRACE_EVENT_STOP) {
		if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) {
			ptrace(PTRACE_LISTEN, tid, NULL, NULL); /* a stop by job control */
			return;
		}
	} else if (!event) {
		deliver = sig;
	}
	ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(intptr_t)deliver);
}

static void trace(struct killat *k)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid < 0)
			continue;
		if (WIFSTOPPED(status)) {
			at_stop(k, tid, status);
			continue;
		}
		if (tid == k->root)
			k->root_status = status;
		task_gone(k, tid);
	}
}

static void start(struct killat *k, char **argv)
{
	const int options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			    PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	int gate[2];
	char c;

	if (pipe2(gate, O_CLOEXEC) < 0)
		die("pipe");
	k->root = fork();
	if (k->root < 0)
		die("fork");
	if (!k->root) {
		close(gate[1]);
		if (read(gate[0], &c, 1) < 0)
			_exit(126);
		if (k->hold) { /* our stdin and stdout are the conversation */
			dup2(STDERR_FILENO, STDOUT_FILENO);
			close(STDIN_FILENO);
			open("/dev/null", O_RDONLY);
		}
		/* The leak checker of a sanitized build cannot trace what is traced already. */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
		execv(argv[0], argv);
		fprintf(stderr, "killat: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(gate[0]);
	if (ptrace(PTRACE_SEIZE, k->root, NULL, (void *)(intptr_t)options) < 0)
		die("trace");
	if (ptrace(PTRACE_INTERRUPT, k->root, NULL, NULL) < 0)
		die("interrupt");
	close(gate[1]);
}

/* As execvp would find it, so that no failed execve is counted. */
static char *find_program(char *name)
{
	const char *path = getenv("PATH");
	char *found;

	if (strchr(name, '/') || !path)
		return name;
	while (*path) {
		size_t len = strcspn(path, ":");

		if (asprintf(&found, "%.*s/%s", (int)len, path, name) < 0)
			die("memory");
		if (!access(found, X_OK))
			return found;
		free(found);
		path += len + (path[len] == ':');
	}
	return name;
}

static void print_report(const struct killat *k)
{
	char buf[32];

	if (!k->report)
		return;
	fprintf(k->report, "calls %lu\nreturned %lu\n", k->entries, k->returned);
	fprintf(k->report, "fired %s\n", k->fired ? k->where : "no");
	for (size_t i = 0; i < k->process_count; i++) {
		const struct process *p = &k->processes[i];

		fprintf(k->report, "process %zu %s %lu %lu\n", i + 1, p->program, p->entries,
			p->returned);
		for (int call = 0; k->count && call < CALLS; call++)
			if (p->entries_of[call])
				fprintf(k->report, "call %zu %s %lu %lu\n", i + 1,
					call_name(call, buf, sizeof(buf)), p->entries_of[call],
					p->returned_of[call]);
	}
	if (fclose(k->report))
		die("report");
}

static void release(struct killat *k)
{
	for (size_t i = 0; i < k->process_count; i++) {
		free(k->processes[i].entries_of);
		free(k->processes[i].returned_of);
	}
	free(k->processes);
	free(k->tasks);
}

static void usage(void)
{
	fprintf(stderr, "usage: killat [-c] [-o <file>] [-n <n> [--one] [--exit] "
			"[--inject=<errno> | --signal=<name>]]\n"
			"              [--hold=<call>,...[:<text>|:<k>=<number>] [--exit]]\n"
			"              [--] <command> [<arg>...]\n");
	exit(129);
}

static void parse(struct killat *k, int argc, char **argv)
{
	static const struct option options[] = {
		{"one", no_argument, NULL, '1'},	  {"exit", no_argument, NULL, 'x'},
		{"inject", required_argument, NULL, 'i'}, {"signal", required_argument, NULL, 's'},
		{"hold", required_argument, NULL, 'h'},	  {NULL, 0, NULL, 0},
	};
	char *text;
	int c;

	while ((c = getopt_long(argc, argv, "+cn:o:", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			k->count = true;
			break;
		case 'n':
			k->at = strtoul(optarg, &text, 10);
			if (*text || !k->at)
				usage();
			break;
		case 'o':
			k->report = fopen(optarg, "we");
			if (!k->report)
				die(optarg);
			break;
		case '1':
			k->one = true;
			break;
		case 'x':
			k->on_exit = true;
			break;
		case 'i':
			k->inject = errno_of(strncmp(optarg, "errno:", 6) ? optarg : optarg + 6);
			break;
		case 's':
			k->signal = signal_of(optarg);
			break;
		case 'h':
			k->hold = optarg;
			text = strchr(optarg, ':');
			if (text) {
				*text++ = '\0';
				k->hold_text = text;
			}
			if (text && *text >= '0' && *text <= '5' && text[1] == '=') {
				k->hold_argument = *text - '0';
				k->hold_number = strtoull(text + 2, NULL, 0);
			}
			break;
		default:
			usage();
		}
	}
	/* An injected error needs the stop at the entry. */
	if (optind == argc || (k->inject && k->on_exit))
		usage();
}

int main(int argc, char **argv)
{
	struct killat k = {.signal = SIGKILL, .report = NULL, .hold_argument = -1};

	parse(&k, argc, argv);
	if (!k.report && k.count)
		k.report = fdopen(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "w");
	argv += optind;
	argv[0] = find_program(argv[0]);
	start(&k, argv);
	trace(&k);
	print_report(&k);
	release(&k);
	if (WIFSIGNALED(k.root_status))
		return 128 + WTERMSIG(k.root_status);
	return WEXITSTATUS(k.root_status);
}
