/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "progress.h"

#include "number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS 250
#define DELAY_MAX_S (INT64_MAX / 1000 / 2)

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int progress_init(struct progress *progress, enum progress_when when, bool quiet, struct fail *fail)
{
	const char *delay = getenv("GIT_PROGRESS_DELAY");
	int64_t seconds = 1;

	*progress = (struct progress){.fd = STDERR_FILENO, .clock = monotonic_ms};
	bytes_init(&progress->line);
	if (delay && number_parse(delay, "GIT_PROGRESS_DELAY", 0, DELAY_MAX_S, &seconds, fail) < 0)
		return fail->kind;
	progress->delay = seconds * 1000;
	progress->wanted = when == PROGRESS_ALWAYS ||
			   (when == PROGRESS_AUTO && !quiet && isatty(progress->fd));
	return 0;
}

void progress_begin(struct progress *progress, const char *title, uint64_t total)
{
	progress_end(progress);
	if (!progress->wanted)
		return;
	progress->title = title;
	progress->total = total;
	progress->last = 0;
	progress->shown = false;
	progress->next = progress->clock() + progress->delay;
}

/* A background job would scribble over what the person is typing. */
static bool in_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}

static void put(const struct progress *progress, const struct bytes *text)
{
	size_t at = 0;

	while (at < text->len) {
		ssize_t n = write(progress->fd, text->data + at, text->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

static void format(const struct progress *progress, struct bytes *line)
{
	uint64_t done = progress->last, total = progress->total;

	bytes_addf(line, "%s: ", progress->title);
	if (total)
		bytes_addf(line, "%3u%% (%" PRIu64 "/%" PRIu64 ")",
			   (unsigned)((double)done * 100 / (double)total), done, total);
	else
		bytes_addf(line, "%" PRIu64, done);
}

/* Writes the line over the one that is there; blanks cover a longer one. */
static void show(struct progress *progress, const char *word, int eol)
{
	struct bytes line = BYTES_INIT;
	size_t before = progress->line.len;

	bytes_clear(&progress->line);
	format(progress, &progress->line);
	bytes_add(&line, progress->line.data, progress->line.len);
	bytes_adds(&line, word);
	if (before > line.len)
		bytes_addf(&line, "%*s", (int)(before - line.len), "");
	bytes_addc(&line, eol);
	put(progress, &line);
	progress->shown = true;
	bytes_release(&line);
}

void progress_update(struct progress *progress, uint64_t done)
{
	int64_t now;

	if (!progress->title)
		return;
	progress->last = done;
	now = progress->clock();
	if (now < progress->next)
		return;
	progress->next = now + INTERVAL_MS;
	if (in_foreground(progress->fd))
		show(progress, "", '\r');
}

void progress_clear(struct progress *progress)
{
	struct bytes blanks = BYTES_INIT;

	if (!progress->line.len)
		return;
	bytes_addf(&blanks, "%*s\r", (int)progress->line.len, "");
	put(progress, &blanks);
	bytes_clear(&progress->line);
	bytes_release(&blanks);
}

void progress_end(struct progress *progress)
{
	if (progress->title && progress->shown)
		show(progress, ", done.", '\n');
	bytes_release(&progress->line);
	progress->title = NULL;
}

void progress_abort(struct progress *progress)
{
	progress_clear(progress);
	bytes_release(&progress->line);
	progress->title = NULL;
}
