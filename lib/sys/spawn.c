/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What the child's descriptors 0, 1 and 2 become; -1 leaves ours in place. */
struct streams {
	int in, out, err;
};

#define PIPE_INIT \
	{ \
		-1, -1 \
	}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_pipe(int pipe_fds[2])
{
	close_fd(&pipe_fds[0]);
	close_fd(&pipe_fds[1]);
}

static bool same_variable(const char *entry, const char *change)
{
	size_t n = strcspn(change, "=");

	return !strncmp(entry, change, n) && entry[n] == '=';
}

/* Our environment with the command's changes laid over it. */
static void build_env(const struct spawn *cmd, struct argv *env)
{
	for (char **e = environ; *e; e++) {
		bool changed = false;

		for (size_t i = 0; i < cmd->env.count && !changed; i++)
			changed = same_variable(*e, cmd->env.items[i]);
		if (!changed)
			argv_push(env, *e);
	}
	for (size_t i = 0; i < cmd->env.count; i++)
		if (strchr(cmd->env.items[i], '='))
			argv_push(env, cmd->env.items[i]);
}

static void child_failed(int report)
{
	int err = errno;
	ssize_t ignored = write(report, &err, sizeof(err));

	(void)ignored;
	_exit(127);
}

static void child_move(int from, int to, int report)
{
	if (from >= 0 && dup2(from, to) < 0)
		child_failed(report);
}

/* Runs in the child: only async-signal-safe calls until exec. */
static void child_run(const struct spawn *cmd, char **env, const struct streams *streams,
		      pid_t parent, int report)
{
	sigset_t none;

	if (cmd->die_with_parent) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(127);
	}
	child_move(streams->in, 0, report);
	child_move(streams->out, 1, report);
	child_move(streams->err, 2, report);
	if (cmd->cwd_fd > 0 && fchdir(cmd->cwd_fd) < 0)
		child_failed(report);
	if (cmd->cwd && chdir(cmd->cwd) < 0)
		child_failed(report);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvpe(cmd->argv.items[0], cmd->argv.items, env);
	child_failed(report);
}

static pid_t start(struct spawn *cmd, const struct streams *streams, struct fail *fail)
{
	struct argv env = ARGV_INIT;
	int report[2];
	pid_t parent = getpid();
	pid_t pid;
	int err = 0;

	if (pipe2(report, O_CLOEXEC) < 0) {
		fail_errno(fail, "pipe");
		return -1;
	}
	build_env(cmd, &env);
	pid = fork();
	if (pid == 0)
		child_run(cmd, env.items, streams, parent, report[1]);
	if (pid < 0)
		fail_errno(fail, "fork for '%s'", cmd->argv.items[0]);
	close_fd(&report[1]);
	/* Closed by exec: end of file means that the program runs. */
	if (pid > 0 && read(report[0], &err, sizeof(err)) == sizeof(err)) {
		waitpid(pid, NULL, 0);
		errno = err;
		fail_errno(fail, "run '%s'", cmd->argv.items[0]);
		pid = -1;
	}
	close_fd(&report[0]);
	argv_release(&env);
	return pid;
}

static int wait_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Takes what is there; closes the descriptor at its end. */
static void drain(int *fd, struct bytes *out)
{
	ssize_t n;

	bytes_reserve(out, 65536);
	n = read(*fd, out->data + out->len, out->cap - out->len - 1);
	if (n > 0) {
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		close_fd(fd);
	}
}

/* Writes what fits; closes the descriptor when all is written or nobody reads. */
static void feed(int *fd, const struct spawn *cmd, size_t *done)
{
	ssize_t n = write(*fd, cmd->input + *done, cmd->input_len - *done);

	if (n > 0)
		*done += (size_t)n;
	if (*done == cmd->input_len || (n < 0 && errno != EINTR && errno != EAGAIN))
		close_fd(fd);
}

/*
 * The child has ended: what it wrote is there. Whoever it left behind may hold the other
 * ends open for as long as it likes.
 */
static void drain_rest(int *fd, struct bytes *out)
{
	while (*fd >= 0) {
		struct pollfd now = {.fd = *fd, .events = POLLIN};

		if (poll(&now, 1, 0) <= 0)
			close_fd(fd);
		else
			drain(fd, out);
	}
}

/* Moves bytes both ways until the child has closed its ends, or has ended (`pidfd`; -1: none). */
static void talk(struct spawn *cmd, int pidfd, int *in, int *out_fd, int *err_fd, struct bytes *out)
{
	size_t written = 0;

	if (*in >= 0 && !cmd->input_len)
		close_fd(in);
	while (*in >= 0 || *out_fd >= 0 || *err_fd >= 0) {
		struct pollfd fds[] = {
			{.fd = *in, .events = POLLOUT},
			{.fd = *out_fd, .events = POLLIN},
			{.fd = *err_fd, .events = POLLIN},
			{.fd = pidfd, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents)
			feed(in, cmd, &written);
		if (fds[1].revents)
			drain(out_fd, out);
		if (fds[2].revents)
			drain(err_fd, &cmd->err);
		if (fds[3].revents) {
			close_fd(in);
			drain_rest(out_fd, out);
			drain_rest(err_fd, &cmd->err);
		}
	}
}

static int open_null(struct fail *fail)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? fail_errno(fail, "open /dev/null") : fd;
}

/* Where the child's standard error goes; `plain` when nothing was asked for. */
static int error_stream(const struct spawn *cmd, int null, int plain)
{
	if (cmd->stderr_to_null)
		return null;
	return cmd->stderr_fd > 0 ? cmd->stderr_fd : plain;
}

int spawn_capture_any(struct spawn *cmd, struct bytes *out, struct fail *fail)
{
	int in[2] = PIPE_INIT, out_pipe[2] = PIPE_INIT, err_pipe[2] = PIPE_INIT;
	struct streams streams;
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	int null = open_null(fail);
	pid_t pid = -1;
	int pidfd;

	if (null < 0)
		return null;
	bytes_clear(&cmd->err);
	if ((cmd->input && pipe2(in, O_CLOEXEC) < 0) || pipe2(out_pipe, O_CLOEXEC) < 0 ||
	    pipe2(err_pipe, O_CLOEXEC) < 0) {
		fail_errno(fail, "pipe");
		goto done;
	}
	streams.in = cmd->input ? in[0] : cmd->inherit_stdin ? -1 : null;
	streams.out = out_pipe[1];
	streams.err = error_stream(cmd, null, err_pipe[1]);
	pid = start(cmd, &streams, fail);
	if (pid < 0)
		goto done;
	close_fd(&in[0]);
	close_fd(&out_pipe[1]);
	close_fd(&err_pipe[1]);
	if (in[1] >= 0)
		fcntl(in[1], F_SETFL, O_NONBLOCK);
	pidfd = pidfd_open(pid, 0);
	sigaction(SIGPIPE, &ignore, &old);
	talk(cmd, pidfd, &in[1], &out_pipe[0], &err_pipe[0], out);
	sigaction(SIGPIPE, &old, NULL);
	close_fd(&pidfd);
	cmd->status = wait_status(pid);
done:
	close_fd(&null);
	close_pipe(in);
	close_pipe(out_pipe);
	close_pipe(err_pipe);
	return fail->kind;
}

/* "add" of "git -c a=b -c c=d add -A". */
static const char *subcommand(const struct argv *argv)
{
	size_t i = 1;

	while (i + 1 < argv->count && !strcmp(argv->items[i], "-c"))
		i += 2;
	return i < argv->count ? argv->items[i] : "";
}

/* The first line that a command wrote to stderr, as the reason of its failure. */
static int command_failed(struct spawn *cmd, struct fail *fail)
{
	size_t n = strcspn(cmd->err.data, "\n");
	const char *sub = subcommand(&cmd->argv);

	if (n)
		return fail_set(fail, FAIL_FATAL, "%s %s: %.*s", cmd->argv.items[0], sub, (int)n,
				cmd->err.data);
	return fail_set(fail, FAIL_FATAL, "%s %s: exit status %d", cmd->argv.items[0], sub,
			cmd->status);
}

int spawn_capture(struct spawn *cmd, struct bytes *out, struct fail *fail)
{
	if (spawn_capture_any(cmd, out, fail) < 0)
		return fail->kind;
	return cmd->status ? command_failed(cmd, fail) : 0;
}

int spawn_wait(struct spawn *cmd, struct fail *fail)
{
	struct streams streams = {-1, -1, -1};
	int null = open_null(fail);
	pid_t pid;

	if (null < 0)
		return null;
	if (!cmd->inherit_stdin)
		streams.in = null;
	if (cmd->stderr_to_null)
		streams.err = null;
	pid = start(cmd, &streams, fail);
	close_fd(&null);
	if (pid < 0)
		return fail->kind;
	cmd->status = wait_status(pid);
	return 0;
}

void spawn_release(struct spawn *cmd)
{
	argv_release(&cmd->argv);
	argv_release(&cmd->env);
	bytes_release(&cmd->err);
}

int coprocess_start(struct coprocess *co, struct spawn *cmd, struct fail *fail)
{
	int to[2] = PIPE_INIT, from[2] = PIPE_INIT;
	struct streams streams;
	int null = open_null(fail);

	if (null < 0)
		return null;
	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0) {
		fail_errno(fail, "pipe");
		goto done;
	}
	streams.in = to[0];
	streams.out = from[1];
	streams.err = error_stream(cmd, null, -1);
	co->pid = start(cmd, &streams, fail);
	if (co->pid < 0) {
		co->pid = 0;
		goto done;
	}
	co->to = to[1];
	co->from = from[0];
	to[1] = from[0] = -1;
done:
	close_fd(&null);
	close_pipe(to);
	close_pipe(from);
	return fail->kind;
}

int coprocess_end(struct coprocess *co)
{
	int status = -1;

	close_fd(&co->to);
	close_fd(&co->from);
	if (co->pid > 0)
		status = wait_status(co->pid);
	co->pid = 0;
	return status;
}
