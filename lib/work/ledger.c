/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "ledger.h"

#include "clock.h"
#include "lock.h"
#include "quote.h"
#include "repo.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* Text from anywhere, as a JSON string that is valid and harmless to show. */
static json_t *text_value(const char *text)
{
	struct bytes line = BYTES_INIT;
	json_t *value;

	if (!text)
		return json_null();
	quote_line(text, strlen(text), &line);
	value = json_stringn(line.data, line.len);
	bytes_release(&line);
	return value;
}

static void format_line(const struct ledger_event *event, struct bytes *line)
{
	char when[32];
	json_t *object = json_object();
	char *text;

	clock_rfc3339((int64_t)time(NULL), when);
	json_object_set_new(object, "v", json_integer(1));
	json_object_set_new(object, "time", json_string(when));
	json_object_set_new(object, "event", text_value(event->event));
	json_object_set_new(object, "slot", text_value(event->slot));
	json_object_set_new(object, "lease", text_value(event->lease));
	json_object_set_new(object, "mutex", text_value(event->mutex));
	json_object_set_new(object, "pid", json_integer(getpid()));
	json_object_set_new(object, "ref", text_value(event->ref));
	json_object_set_new(object, "session", text_value(event->session));
	json_object_set_new(object, "reason", text_value(event->reason));
	text = json_dumps(object, JSON_COMPACT);
	if (!text)
		abort();
	bytes_addf(line, "1 %08lx %s\n", crc32(0, (const Bytef *)text, (uInt)strlen(text)), text);
	free(text);
	json_decref(object);
}

/* Does the file end in the middle of a line? */
static bool is_torn(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char last;

	return end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n';
}

static int open_ledger(struct repo *repo, struct fail *fail)
{
	return file_open(repo->state_fd, LEDGER_FILE, O_RDWR | O_CREAT | O_APPEND, &repo->modes,
			 fail);
}

/*
 * When was the first event? Its time stands at the beginning of its line; -1 when that makes
 * no sense.
 */
static int64_t first_time(int fd)
{
	static const char lead[] = "{\"v\":1,\"time\":\"";
	char text[64];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	struct tm tm = {0};
	const char *end;

	if (n <= (ssize_t)sizeof(lead) + 11)
		return -1;
	text[n] = '\0';
	if (strncmp(text + 11, lead, sizeof(lead) - 1) != 0)
		return -1;
	end = strptime(text + 11 + sizeof(lead) - 1, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return end && *end == '"' ? (int64_t)timegm(&tm) : -1;
}

/*
 * Sets the file aside when its time has come; the caller opens the next one. A first line that
 * makes no sense does not keep it for ever: then what was set aside before decides alone.
 */
static bool set_aside(struct repo *repo, int fd, struct fail *fail)
{
	int64_t keep = repo->conf.ledger_keep / 1000, before;
	struct stat st;

	if (repo->conf.ledger_keep == INT64_MAX || fstat(fd, &st) < 0 || !st.st_size)
		return false;
	before = (int64_t)time(NULL) - keep;
	if (first_time(fd) >= before)
		return false;
	if (fstatat(repo->state_fd, LEDGER_OLD, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (int64_t)st.st_mtime >= before)
		return false;
	if (renameat(repo->state_fd, LEDGER_FILE, repo->state_fd, LEDGER_OLD) < 0) {
		fail_errno(fail, "set the ledger aside");
		return false;
	}
	return true;
}

static int append_line(struct repo *repo, const struct bytes *line, struct fail *fail)
{
	struct bytes whole = BYTES_INIT;
	int fd = open_ledger(repo, fail);

	if (fd >= 0 && set_aside(repo, fd, fail)) {
		close(fd);
		fd = open_ledger(repo, fail);
	}

	if (fd < 0)
		return fd;
	if (is_torn(fd))
		bytes_addc(&whole, '\n');
	bytes_add(&whole, line->data, line->len);
	file_write_fd(fd, "ledger", whole.data, whole.len, fail);
	if (repo->conf.durable && fail->kind == 0 && fsync(fd) < 0)
		fail_errno(fail, "fsync the ledger");
	if (close(fd) < 0)
		fail_errno(fail, "close the ledger");
	bytes_release(&whole);
	return fail->kind;
}

int ledger_append(struct repo *repo, const struct ledger_event *event, int64_t wait_ms,
		  struct fail *fail)
{
	struct lock lock = LOCK_INIT;
	struct bytes line = BYTES_INIT;
	int dir = repo_state_dir(repo, "locks", fail);

	if (dir < 0)
		return dir;
	format_line(event, &line);
	if (lock_take(&lock, dir, "ledger", LOCK_EXCLUSIVE, clock_deadline(wait_ms), &repo->waiting,
		      &repo->modes, fail) == 0)
		append_line(repo, &line, fail);
	lock_drop(&lock);
	close(dir);
	bytes_release(&line);
	return fail->kind;
}
