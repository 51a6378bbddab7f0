/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* agent: one JSON object from a descriptor that may stay open behind it. */
#include "agent.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536

/*
 * Where the object ends: its brackets are counted, strings apart. What is between them is the
 * parser's to judge.
 */
struct scan {
	int depth;
	bool begun, done, in_string, escaped;
};

static int begin(struct scan *scan, unsigned char c, struct fail *fail)
{
	if (strchr(" \t\r\n", c) && c)
		return 0;
	if (c != '{')
		return fail_set(fail, FAIL_FATAL,
				"standard input is no JSON object: it begins with byte 0x%02x", c);
	scan->begun = true;
	scan->depth = 1;
	return 0;
}

static void scan_string(struct scan *scan, char c)
{
	if (scan->escaped)
		scan->escaped = false;
	else if (c == '\\')
		scan->escaped = true;
	else if (c == '"')
		scan->in_string = false;
}

static int scan_outside(struct scan *scan, char c, struct fail *fail)
{
	if (c == '"')
		scan->in_string = true;
	else if ((c == '{' || c == '[') && ++scan->depth > AGENT_DEPTH_MAX)
		return fail_set(fail, FAIL_FATAL,
				"standard input: JSON that is nested deeper than %d levels",
				AGENT_DEPTH_MAX);
	else if (c == '}' || c == ']')
		scan->done = --scan->depth == 0;
	return 0;
}

/* How many of these bytes belong to the object. */
static int scan_bytes(struct scan *scan, const char *data, size_t len, size_t *used,
		      struct fail *fail)
{
	size_t i;

	for (i = 0; i < len && !scan->done && fail->kind == 0; i++) {
		if (!scan->begun)
			begin(scan, (unsigned char)data[i], fail);
		else if (scan->in_string)
			scan_string(scan, data[i]);
		else
			scan_outside(scan, data[i], fail);
	}
	*used = i;
	return fail->kind;
}

/* Waits for bytes; FAIL_FATAL when there are none for too long. */
static int wait_for_input(int fd, struct fail *fail)
{
	int64_t deadline = clock_deadline(AGENT_PATIENCE_MS);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int r;

	do
		r = poll(&poll_fd, 1, (int)clock_left(deadline));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return fail_errno(fail, "wait for standard input");
	if (r == 0)
		return fail_set(fail, FAIL_FATAL,
				"standard input stays open, but the JSON object does not end: "
				"nothing came for %d s",
				AGENT_PATIENCE_MS / 1000);
	return 0;
}

int agent_read(int fd, struct bytes *out, struct fail *fail)
{
	struct scan scan = {0};

	while (!scan.done && wait_for_input(fd, fail) == 0) {
		size_t used;
		ssize_t n;

		bytes_reserve(out, CHUNK);
		n = read(fd, out->data + out->len, CHUNK);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return fail_errno(fail, "read standard input");
		if (n == 0)
			return scan.begun ? fail_set(fail, FAIL_FATAL,
						     "standard input ends inside the JSON object")
					  : fail_set(fail, FAIL_FATAL, "standard input is empty");
		if (scan_bytes(&scan, out->data + out->len, (size_t)n, &used, fail) < 0)
			break;
		out->len += used;
		out->data[out->len] = '\0';
		if (out->len > AGENT_INPUT_MAX)
			fail_set(fail, FAIL_FATAL, "standard input is larger than %u MiB",
				 AGENT_INPUT_MAX >> 20);
		if (fail->kind)
			break;
	}
	return fail->kind;
}
