/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "status.h"

#include "quote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int status_of(const struct fail *fail)
{
	switch (fail->kind) {
	case FAIL_NONE:
		return STATUS_OK;
	case FAIL_NO:
	case FAIL_GONE:
		return STATUS_NO;
	case FAIL_BUSY:
		return STATUS_BUSY;
	case FAIL_USAGE:
		return STATUS_USAGE;
	default:
		return STATUS_FATAL;
	}
}

static void say_line(const char *lead, const char *text)
{
	struct bytes line = BYTES_INIT;

	bytes_adds(&line, lead);
	quote_line(text, strlen(text), &line);
	bytes_addc(&line, '\n');
	/* One write, so that lines of several processes do not mix. */
	fwrite(line.data, 1, line.len, stderr);
	bytes_release(&line);
}

int status_report(const char *command, const struct fail *fail)
{
	int status = status_of(fail);

	say_line(status == STATUS_NO || status == STATUS_BUSY ? "error: " : "fatal: ",
		 fail->message);
	if (status == STATUS_USAGE)
		fprintf(stderr, "hint: '%s -h' lists the options\n", command);
	return status;
}

void status_say(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	say_line("", text);
	free(text);
}

void status_open_streams(void)
{
	/*
	 * open() gives the lowest free number: the one that was just found closed. For
	 * reading only, so that an answer that cannot be given is a failed write.
	 */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			return;
}

int status_close_stdout(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "fatal: write to standard output: %s\n", strerror(errno));
	return STATUS_FATAL;
}
