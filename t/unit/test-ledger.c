/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* ledger: lines that are written are read, and nothing else is (E7). */
#include "sandbox.h"

#include "ledger.h"
#include "ledgerread.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

static int enter(UNUSED void **state)
{
	sandbox_enter();
	return 0;
}

static int leave(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

static void append(struct repo *repo, const char *event, const char *reason)
{
	struct fail fail = FAIL_INIT;
	const struct ledger_event line = {.event = event, .reason = reason};

	assert_ok(ledger_append(repo, &line, 10000, &fail), fail);
}

static bool parses(const char *text, size_t len, int *kind)
{
	struct ledger_line line;
	struct fail fail = FAIL_INIT;
	int r = ledger_parse(text, len, &line, &fail);

	if (r == 0)
		ledger_line_release(&line);
	*kind = r;
	return r == 0;
}

static void test_parse(UNUSED void **state)
{
	static const char object[] = "{\"v\":1,\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"x\"}";
	struct bytes text = BYTES_INIT;
	struct ledger_line line;
	struct fail fail = FAIL_INIT;
	int kind;

	bytes_addf(&text, "1 %08lx %s", crc32(0, (const Bytef *)object, sizeof(object) - 1),
		   object);
	assert_ok(ledger_parse(text.data, text.len, &line, &fail), fail);
	assert_int_equal(line.when, 1767323045);
	ledger_line_release(&line);
	/* No beginning of it is a line, nor is it with any one byte changed. */
	for (size_t len = 0; len < text.len; len++) {
		assert_false(parses(text.data, len, &kind));
		assert_int_equal(kind, FAIL_CORRUPT);
	}
	for (size_t i = 0; i < text.len; i++) {
		text.data[i] ^= 1;
		assert_false(parses(text.data, text.len, &kind));
		text.data[i] ^= 1;
	}
	text.data[0] = '2';
	assert_false(parses(text.data, text.len, &kind));
	assert_int_equal(kind, FAIL_UNSUPPORTED);
	bytes_release(&text);
}

/* The events that a reader gives from where it is, as "a b c". */
static void read_on(struct ledger_reader *reader, struct bytes *out)
{
	struct ledger_line line;
	struct fail fail = FAIL_INIT;
	int r;

	bytes_clear(out);
	while ((r = ledger_read(reader, &line, &fail)) > 0) {
		bytes_addf(out, "%s%s", out->len ? " " : "",
			   json_string_value(json_object_get(line.object, "event")));
		ledger_line_release(&line);
	}
	assert_ok(r, fail);
}

/* A writer that is killed inside its write, at each byte: only its own line is lost. */
static void test_torn(UNUSED void **state)
{
	struct bytes got = BYTES_INIT, whole = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	append(&repo, "one", "a\nb\x1b[2J\xff");
	append(&repo, "two", NULL);
	assert_ok(file_read(repo.state_fd, "ledger", 1 << 20, &whole, &fail), fail);
	size_t first = (size_t)((char *)memchr(whole.data, '\n', whole.len) - whole.data) + 1;
	for (size_t cut = first; cut < whole.len; cut += 7) {
		struct ledger_reader reader;

		assert_int_equal(truncate(".git/interlock/ledger", (off_t)cut), 0);
		append(&repo, "three", NULL);
		assert_ok(ledger_read_open(&repo, &reader, &fail), fail);
		read_on(&reader, &got);
		ledger_read_end(&reader);
		assert_string_equal(got.data, "one three");
		assert_int_equal(reader.damaged, cut > first);
		ledger_read_close(&reader);
		int fd = open(".git/interlock/ledger", O_WRONLY | O_TRUNC);
		assert_int_equal(write(fd, whole.data, whole.len), whole.len);
		close(fd);
	}
	bytes_release(&got);
	bytes_release(&whole);
	repo_close(&repo);
}

/* Each writer sets aside what the one before wrote, and a reader that reads between none. */
static void test_set_aside(UNUSED void **state)
{
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct bytes got = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct ledger_reader reader;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	assert_ok(ledger_read_open(&repo, &reader, &fail), fail);
	append(&repo, "one", NULL);
	read_on(&reader, &got);
	assert_string_equal(got.data, "one");
	repo.conf.ledger_keep = -5000; /* all there is is too old */
	append(&repo, "two", NULL);
	append(&repo, "three", NULL); /* "one" was written a moment ago: but that is too old */
	read_on(&reader, &got);
	assert_string_equal(got.data, "two three");
	/* What is set aside is dropped only when nothing was written to it for as long. */
	repo.conf.ledger_keep = 1000000;
	append(&repo, "four", NULL);
	read_on(&reader, &got);
	assert_string_equal(got.data, "four");
	utimensat(repo.state_fd, "ledger.old", old, 0);
	append(&repo, "five", NULL);
	read_on(&reader, &got);
	assert_string_equal(got.data, "five");
	ledger_read_close(&reader);
	bytes_release(&got);
	repo_close(&repo);
}

/* Many writers: the reader gets each line once, and whole. */
static void test_many_writers(UNUSED void **state)
{
	enum {
		WRITERS = 4,
		LINES = 40
	};
	struct bytes got = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct ledger_reader reader;
	struct repo repo;
	size_t words = 0;

	sandbox_repo(&sandbox_variants[0], &repo);
	assert_ok(ledger_read_open(&repo, &reader, &fail), fail);
	for (int w = 0; w < WRITERS; w++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct repo mine;

			if (repo_open(&mine, REPO_ANY, &fail) < 0)
				_exit(1);
			for (int i = 0; i < LINES; i++) {
				const struct ledger_event line = {.event = "x"};

				if (ledger_append(&mine, &line, 60000, &fail) < 0)
					_exit(1);
			}
			_exit(0);
		}
		assert_true(pid > 0);
	}
	for (int w = 0; w < WRITERS; w++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	read_on(&reader, &got);
	for (size_t i = 0; i < got.len; i++)
		words += got.data[i] == 'x';
	assert_int_equal(words, WRITERS * LINES);
	assert_int_equal(reader.damaged, 0);
	ledger_read_close(&reader);
	bytes_release(&got);
	repo_close(&repo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_set_aside),
		cmocka_unit_test(test_many_writers),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
