/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "ledgerread.h"

#include "ledger.h"
#include "repo.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK 65536
#define LEAD 11 /* "1 <8 hex digits> " */

/* ---- one line ---------------------------------------------------------------------------- */

static bool parse_time(const char *text, int64_t *when)
{
	struct tm tm = {0};
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;

	if (!end || *end)
		return false;
	*when = (int64_t)timegm(&tm);
	return true;
}

static bool has_checksum(const char *text, size_t len)
{
	char digits[9], *end;
	unsigned long sum;

	memcpy(digits, text + 2, 8);
	digits[8] = '\0';
	if (strspn(digits, "0123456789abcdef") != 8 || text[10] != ' ')
		return false;
	sum = strtoul(digits, &end, 16);
	return sum == crc32(0, (const Bytef *)text + LEAD, (uInt)(len - LEAD));
}

int ledger_parse(const char *text, size_t len, struct ledger_line *out, struct fail *fail)
{
	size_t digits = 0;

	*out = (struct ledger_line){0};
	while (digits < len && digits < 4 && text[digits] >= '0' && text[digits] <= '9')
		digits++;
	if (digits && digits < len && text[digits] == ' ' && (digits > 1 || text[0] != '1'))
		return fail_set(fail, FAIL_UNSUPPORTED, "a line of the ledger of another version");
	if (len <= LEAD || len > LEDGER_LINE_MAX || memcmp(text, "1 ", 2) != 0 ||
	    !has_checksum(text, len))
		return fail_set(fail, FAIL_CORRUPT, "a line of the ledger is torn or corrupt");
	out->object = json_loadb(text + LEAD, len - LEAD, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(out->object) ||
	    !json_is_string(json_object_get(out->object, "event")) ||
	    !parse_time(json_string_value(json_object_get(out->object, "time")), &out->when)) {
		ledger_line_release(out);
		return fail_set(fail, FAIL_CORRUPT, "a line of the ledger makes no sense");
	}
	return 0;
}

void ledger_line_release(struct ledger_line *line)
{
	json_decref(line->object);
	line->object = NULL;
}

/* ---- the files ---------------------------------------------------------------------------- */

/* The folder as it is now; it may have been deleted and made again. */
static int open_folder(const struct ledger_reader *reader)
{
	return openat(reader->repo->common_fd, "interlock",
		      O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* -1 when it is not there; a failure only when it is and cannot be read. */
static int open_file(int folder, const char *name, struct fail *fail)
{
	struct fail why = FAIL_INIT;
	int fd = file_open(folder, name, O_RDONLY, NULL, &why);

	if (fd >= 0)
		return fd;
	if (why.kind != FAIL_GONE)
		*fail = why;
	return -1;
}

static bool same_file(int a, int b)
{
	struct stat left, right;

	return a >= 0 && b >= 0 && fstat(a, &left) == 0 && fstat(b, &right) == 0 &&
	       left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

static void close_file(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/*
 * Opens both. The ledger may be set aside in between: then the second one that was opened
 * is what the first name leads to by now, or was dropped, and it is done again.
 */
static int open_files(int folder, int files[2], struct fail *fail)
{
	for (;;) {
		int again;
		bool moved;

		files[0] = open_file(folder, LEDGER_OLD, fail);
		files[1] = open_file(folder, LEDGER_FILE, fail);
		again = open_file(folder, LEDGER_OLD, fail);
		moved = (files[0] >= 0 || again >= 0) && !same_file(files[0], again);
		close_file(&again);
		if (!moved || fail->kind)
			return fail->kind;
		close_file(&files[0]);
		close_file(&files[1]);
	}
}

/* Lets go of what has been read to its end. */
static void next_file(struct ledger_reader *reader)
{
	if (reader->used < reader->ahead.len || reader->oversize)
		reader->damaged++;
	reader->oversize = false;
	reader->used = 0;
	bytes_clear(&reader->ahead);
	close_file(&reader->files[0]);
	reader->files[0] = reader->files[1];
	reader->files[1] = -1;
}

int ledger_read_open(struct repo *repo, struct ledger_reader *reader, struct fail *fail)
{
	int folder;

	*reader = (struct ledger_reader){
		.repo = repo, .files = {-1, -1}, .ahead = BYTES_INIT, .watch = -1, .common = -1};
	folder = open_folder(reader);
	if (folder < 0)
		return errno == ENOENT ? 0 : fail_errno(fail, "open 'interlock'");
	open_files(folder, reader->files, fail);
	if (reader->files[0] < 0)
		next_file(reader);
	close(folder);
	return fail->kind;
}

/*
 * The file is read to its end. Is it still the ledger? If not nobody writes to it any
 * more, and what follows it is opened: true, and the end has to be looked at once more.
 */
static bool find_successor(struct ledger_reader *reader, struct fail *fail)
{
	int folder, files[2] = {-1, -1};
	bool moved = false;

	if (reader->files[1] >= 0)
		return false;
	folder = open_folder(reader);
	if (folder >= 0)
		open_files(folder, files, fail);
	close_file(&folder);
	if (fail->kind == 0 && files[1] >= 0 && !same_file(reader->files[0], files[1])) {
		moved = true;
		/* Also what came in between, when we have slept so long. */
		if (files[0] >= 0 && !same_file(reader->files[0], files[0])) {
			reader->files[1] = files[0];
			files[0] = -1;
		} else {
			reader->files[1] = files[1];
			files[1] = -1;
		}
		if (reader->files[0] < 0)
			next_file(reader);
	}
	close_file(&files[0]);
	close_file(&files[1]);
	return moved;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* Reads on: 1, or 0 at the end. */
static int fill(struct ledger_reader *reader, struct fail *fail)
{
	ssize_t n;

	if (reader->files[0] < 0)
		return 0;
	if (reader->used) {
		size_t left = reader->ahead.len - reader->used;

		memmove(reader->ahead.data, reader->ahead.data + reader->used, left);
		bytes_truncate(&reader->ahead, left);
		reader->used = 0;
	}
	if (reader->ahead.len > LEDGER_LINE_MAX) {
		reader->oversize = true;
		bytes_clear(&reader->ahead);
	}
	bytes_reserve(&reader->ahead, CHUNK);
	do
		n = read(reader->files[0], reader->ahead.data + reader->ahead.len, CHUNK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail_errno(fail, "read the ledger");
	reader->ahead.len += (size_t)n;
	reader->ahead.data[reader->ahead.len] = '\0';
	return n > 0;
}

/* Takes the next whole line of what has been read, if there is one. 1: it is an event. */
static int take_line(struct ledger_reader *reader, struct ledger_line *line)
{
	for (;;) {
		char *text = reader->ahead.data + reader->used;
		char *end = memchr(text, '\n', reader->ahead.len - reader->used);
		struct fail why = FAIL_INIT;

		if (!end)
			return 0;
		reader->used += (size_t)(end - text) + 1;
		if (reader->oversize)
			fail_set(&why, FAIL_CORRUPT, "the end of a line that is too long");
		else if (ledger_parse(text, (size_t)(end - text), line, &why) == 0)
			return 1;
		reader->oversize = false;
		if (why.kind == FAIL_UNSUPPORTED)
			reader->newer++;
		else
			reader->damaged++;
	}
}

int ledger_read(struct ledger_reader *reader, struct ledger_line *line, struct fail *fail)
{
	bool final = false;

	for (;;) {
		int r;

		if (take_line(reader, line))
			return 1;
		r = fill(reader, fail);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		/* At its end, and once more when nobody can add to it any longer. */
		if (reader->files[1] < 0 && !find_successor(reader, fail))
			return fail->kind;
		if (final)
			next_file(reader);
		final = !final && reader->files[1] >= 0;
	}
}

void ledger_read_end(struct ledger_reader *reader)
{
	if (reader->used < reader->ahead.len || reader->oversize)
		reader->damaged++;
	reader->used = reader->ahead.len;
	reader->oversize = false;
}

void ledger_read_close(struct ledger_reader *reader)
{
	close_file(&reader->files[0]);
	close_file(&reader->files[1]);
	close_file(&reader->watch);
	bytes_release(&reader->ahead);
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

#define ARRIVALS (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)

static int watch_common(struct ledger_reader *reader, struct fail *fail)
{
	reader->common = inotify_add_watch(reader->watch, reader->repo->common_dir, ARRIVALS);
	return reader->common < 0 ? fail_errno(fail, "watch '%s'", reader->repo->common_dir) : 0;
}

/*
 * The folder's own end is not told for as long as we have a file of it open. So the folder
 * above is watched, too, while there is no ledger: first that one, then ours, and what
 * is made in between is seen.
 */
static int watch_folders(struct ledger_reader *reader, const char *folder, struct fail *fail)
{
	bool there = faccessat(reader->repo->common_fd, "interlock/" LEDGER_FILE, F_OK,
			       AT_SYMLINK_NOFOLLOW) == 0;

	if (!there && watch_common(reader, fail) < 0)
		return fail->kind;
	if (inotify_add_watch(reader->watch, folder, ARRIVALS | IN_MODIFY | IN_DELETE) < 0) {
		if (errno != ENOENT)
			return fail_errno(fail, "watch '%s'", folder);
		/* Gone since: whoever makes it again is seen, or has been by who looks next. */
		if (there && watch_common(reader, fail) == 0)
			inotify_add_watch(reader->watch, folder, ARRIVALS | IN_MODIFY | IN_DELETE);
	} else if (there && reader->common >= 0) {
		inotify_rm_watch(reader->watch, reader->common);
		reader->common = -1;
	}
	return fail->kind;
}

int ledger_watch(struct ledger_reader *reader, struct fail *fail)
{
	char *folder = mem_printf("%s/interlock", reader->repo->common_dir);
	char events[4096];

	if (reader->watch < 0)
		reader->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (reader->watch < 0) {
		fail_errno(fail, "watch the ledger");
	} else {
		/* What they say is not needed: the files are there, or they are not. */
		while (read(reader->watch, events, sizeof(events)) > 0)
			;
		watch_folders(reader, folder, fail);
	}
	free(folder);
	return fail->kind ? fail->kind : reader->watch;
}
