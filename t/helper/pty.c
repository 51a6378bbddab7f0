/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pty: talk to a command that has a terminal.
 *
 *	pty <command> [<arg>...] <conversation
 *
 * The command gets a new session whose terminal (24 x 80) is ours. Lines of the
 * conversation on standard input:
 *
 *	expect <text>	go on when the text has been shown, behind what was expected before
 *	send <text>	type it. \r, \n, \e, \\ and ^C (any ^ and letter) are meant
 *	size <rows> <columns>
 *	modes <text>	the terminal must have, or with a leading "-" not have: echo, icanon
 *	front <pid-file>	the process in that file leads the foreground group
 *	filled <file>	go on when it is there and not empty
 *	tell <fifo>	a line for whoever waits there
 *	kill <signal> <pid-file>
 *	hangup		close the terminal; ends the conversation
 *
 * At the end of the conversation the command must end by itself. What it showed
 * is written to standard output. The status is the command's, 128+n for signal n;
 * 99 when something that was expected did not come within 20 seconds.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static char shown[1 << 20];
static size_t shown_len, expected_len;
static int master;
static pid_t child;

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void give_up(const char *why, const char *what)
{
	fflush(stdout);
	fprintf(stderr, "pty: %s: %s\n", why, what);
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
	exit(99);
}

/* Takes what is shown within so many milliseconds; false at the end of it. */
static bool look(long ms)
{
	struct pollfd fd = {.fd = master, .events = POLLIN};
	ssize_t n;

	if (poll(&fd, 1, (int)(ms < 0 ? 0 : ms)) <= 0)
		return true;
	if (shown_len + 1 >= sizeof(shown))
		give_up("too much", "output");
	n = read(master, shown + shown_len, sizeof(shown) - shown_len - 1);
	if (n <= 0)
		return n < 0 && errno == EINTR;
	fwrite(shown + shown_len, 1, (size_t)n, stdout);
	shown_len += (size_t)n;
	shown[shown_len] = '\0';
	return true;
}

static void expect(const char *text)
{
	long until = now_ms() + PATIENCE_MS;

	for (;;) {
		char *found =
			memmem(shown + expected_len, shown_len - expected_len, text, strlen(text));

		if (found) {
			expected_len = (size_t)(found - shown) + strlen(text);
			return;
		}
		if (now_ms() > until || !look(until - now_ms()))
			give_up("not shown", text);
	}
}

static void type(const char *text)
{
	for (; *text; text++) {
		char c = *text;

		if (c == '^' && isalpha((unsigned char)text[1]))
			c = (char)(*++text & 0x1f);
		else if (c == '\\' && text[1])
			switch (*++text) {
			case 'r':
				c = '\r';
				break;
			case 'n':
				c = '\n';
				break;
			case 'e':
				c = '\033';
				break;
			default:
				c = *text;
			}
		if (write(master, &c, 1) != 1)
			give_up("not typed", text);
	}
}

/* Calls until it is true: what another process does is not shown to us by anything. */
static void await(bool (*is_so)(const char *), const char *what, const char *why)
{
	long until = now_ms() + PATIENCE_MS;

	while (!is_so(what)) {
		if (now_ms() > until)
			give_up(why, what);
		look(20);
	}
}

static bool has_mode(const char *what)
{
	bool without = *what == '-';
	struct termios modes;
	tcflag_t flag = !strcmp(what + without, "echo") ? ECHO : ICANON;

	return tcgetattr(master, &modes) == 0 && !(modes.c_lflag & flag) == without;
}

static pid_t pid_in(const char *file)
{
	FILE *f = fopen(file, "re");
	int pid = 0;

	if (f) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		fclose(f);
	}
	return pid;
}

static bool is_front(const char *file)
{
	pid_t pid = pid_in(file);

	return pid > 0 && tcgetpgrp(master) == pid;
}

static bool is_filled(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 && st.st_size;
}

/* Not before somebody reads there. */
static bool is_told(const char *fifo)
{
	int fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	bool told = fd >= 0 && write(fd, "\n", 1) == 1;

	if (fd >= 0)
		close(fd);
	return told;
}

static void resize(const char *text)
{
	struct winsize size = {0};

	if (sscanf(text, "%hu %hu", &size.ws_row, &size.ws_col) != 2)
		give_up("no size", text);
	ioctl(master, TIOCSWINSZ, &size);
}

static void send_signal(const char *text)
{
	char name[16], file[4096];
	int sig = 0;

	if (sscanf(text, "%15s %4095s", name, file) != 2)
		give_up("no signal", text);
	for (int i = 1; i < NSIG && !sig; i++)
		if (sigabbrev_np(i) && !strcmp(sigabbrev_np(i), name))
			sig = i;
	if (!sig || pid_in(file) <= 0 || kill(pid_in(file), sig) < 0)
		give_up("not sent", text);
}

/* False: hung up. */
static bool converse(char *line)
{
	char *rest = strchr(line, ' ');

	line[strcspn(line, "\n")] = '\0';
	if (rest)
		*rest++ = '\0';
	else
		rest = line + strlen(line);
	if (!strcmp(line, "expect"))
		expect(rest);
	else if (!strcmp(line, "send"))
		type(rest);
	else if (!strcmp(line, "size"))
		resize(rest);
	else if (!strcmp(line, "modes"))
		await(has_mode, rest, "not the modes");
	else if (!strcmp(line, "front"))
		await(is_front, rest, "not the foreground");
	else if (!strcmp(line, "filled"))
		await(is_filled, rest, "not filled");
	else if (!strcmp(line, "tell"))
		await(is_told, rest, "nobody to tell");
	else if (!strcmp(line, "kill"))
		send_signal(rest);
	else if (!strcmp(line, "hangup"))
		return false;
	else if (*line)
		give_up("not understood", line);
	return true;
}

static int status_of_child(void)
{
	long until = now_ms() + PATIENCE_MS;
	int status;

	while (waitpid(child, &status, WNOHANG) != child) {
		if (now_ms() > until)
			give_up("did not end", "the command");
		if (master < 0 || !look(20))
			usleep(20000);
	}
	while (master >= 0 && shown_len < sizeof(shown) - 1) {
		size_t before = shown_len;

		if (!look(0) || shown_len == before)
			break;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	char line[4096];

	if (argc < 2) {
		fprintf(stderr, "usage: pty <command> [<arg>...] <conversation\n");
		return 129;
	}
	child = forkpty(&master, NULL, NULL, &size);
	if (child < 0) {
		fprintf(stderr, "pty: %s\n", strerror(errno));
		return 126;
	}
	if (child == 0) {
		for (int fd = 3; fd < 256; fd++)
			close(fd);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	fcntl(master, F_SETFD, FD_CLOEXEC);
	while (fgets(line, sizeof(line), stdin))
		if (!converse(line)) {
			close(master);
			master = -1;
			break;
		}
	return status_of_child();
}
