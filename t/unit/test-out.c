/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* out: one record in three formats, and what happens when stdout does not take it. */
#include "prelude.h"

#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a file that stands for stdout ------------------------------------------------- */

static int scratch(void)
{
	char name[] = "/tmp/test-out-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(name);
	return fd;
}

/* Closes `out` and returns what it wrote. */
static struct bytes finish(struct out *out, int copy)
{
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	char part[4096];
	ssize_t n;

	if (out_close(out, &fail) != 0)
		fail_msg("%s", fail.message);
	for (off_t at = 0; (n = pread(copy, part, sizeof(part), at)) > 0; at += n)
		bytes_add(&text, part, (size_t)n);
	close(copy);
	return text;
}

static int start(struct out *out, enum out_format format)
{
	int fd = scratch(), copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	out_open(out, format, fd);
	return copy;
}

static void assert_written(struct out *out, int copy, const char *expected, size_t len)
{
	struct bytes text = finish(out, copy);

	if (text.len != len || memcmp(text.data, expected, len) != 0)
		fail_msg("wrote '%s', expected '%s'", text.data, expected);
	bytes_release(&text);
}

#define ASSERT_WRITTEN(out, copy, literal) assert_written(out, copy, literal, sizeof(literal) - 1)

#define HEX "0123456789abcdef0123456789abcdef01234567"

static const char template[] = "{commit:12} {time}[ by {session}][ ({skipped} skipped)] {path}\n";

static void describe(struct out *out, bool full)
{
	out_begin(out, template);
	out_id(out, "commit", HEX);
	out_time(out, "time", 1795242791);
	out_text(out, "session", full ? "agent-7" : NULL);
	out_path(out, "path", full ? "a \"b\"\n" : "plain");
	out_number(out, "attempts", full ? -3 : 0);
	out_bool(out, "unchanged", full);
	out_list(out, "skipped");
	if (full) {
		out_item(out);
		out_path(out, "path", "fifo");
		out_text(out, "reason", "fifo");
		out_up(out);
		out_item(out);
		out_path(out, "path", "x\xff");
		out_null(out, "reason");
		out_up(out);
	}
	out_up(out);
	out_list(out, "parents");
	if (full) {
		out_id(out, NULL, HEX);
		out_number(out, NULL, 2);
	}
	out_up(out);
	out_null(out, "base");
	out_end(out);
}

/* ---- formats ------------------------------------------------------------------------ */

static void json_has_every_key_in_order(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_JSON);

	describe(&out, true);
	describe(&out, false);
	ASSERT_WRITTEN(&out, copy,
		       "{\"v\":1,\"commit\":\"" HEX "\",\"time\":\"2026-11-21T06:33:11Z\","
		       "\"session\":\"agent-7\",\"path\":\"a \\\"b\\\"\\n\",\"attempts\":-3,"
		       "\"unchanged\":true,\"skipped\":[{\"path\":\"fifo\",\"reason\":\"fifo\"},"
		       "{\"path\":\"x\\uFFFD\",\"path_b64\":\"eP8=\",\"reason\":null}],"
		       "\"parents\":[\"" HEX "\",2],\"base\":null}\n"
		       "{\"v\":1,\"commit\":\"" HEX "\",\"time\":\"2026-11-21T06:33:11Z\","
		       "\"session\":null,\"path\":\"plain\",\"attempts\":0,\"unchanged\":false,"
		       "\"skipped\":[],\"parents\":[],\"base\":null}\n");
}

static void fields_are_raw_and_their_number_is_fixed(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_NUL);

	describe(&out, true);
	describe(&out, false);
	ASSERT_WRITTEN(&out, copy,
		       HEX "\0"
			   "2026-11-21T06:33:11Z\0"
			   "agent-7\0"
			   "a \"b\"\n\0"
			   "-3\0"
			   "true\0"
			   "\0" HEX "\0"
			   "2026-11-21T06:33:11Z\0"
			   "\0"
			   "plain\0"
			   "0\0"
			   "false\0"
			   "\0");
}

static void text_follows_the_template(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_TEXT);

	describe(&out, true);
	describe(&out, false);
	ASSERT_WRITTEN(
		&out, copy,
		"0123456789ab 2026-11-21T06:33:11Z by agent-7 (2 skipped) \"a \\\"b\\\"\\n\"\n"
		"0123456789ab 2026-11-21T06:33:11Z plain\n");
}

static void a_template_pads_and_escapes(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_TEXT);

	out_begin(&out, "\\[\\{{name<8}|{none<3}|{number<2}|{yes}|{no}\\]\\\\\n");
	out_text(&out, "name", "b\xc3\xa9");
	out_null(&out, "none");
	out_number(&out, "number", 12345);
	out_bool(&out, "yes", true);
	out_bool(&out, "no", false);
	out_end(&out);
	ASSERT_WRITTEN(&out, copy, "[{b\xc3\xa9      |-  |12345|yes|no]\\\n");
}

/* Each of these would move the cursor, colour, or end the line of an unsuspecting reader. */
static void a_terminal_obeys_nothing(void **state UNUSED)
{
	static const char *const nasty[] = {"\x1b[2J", "a\nb", "\r",	 "\a",
					    "\b\b",    "\x7f", "\x9b;2J"};

	for (size_t i = 0; i < ARRAY_SIZE(nasty); i++)
		for (int format = OUT_TEXT; format <= OUT_JSON; format++) {
			struct bytes text;
			struct out out;
			int copy;

			if (format == OUT_NUL)
				continue;
			copy = start(&out, (enum out_format)format);
			out_begin(&out, "{text} {path}\n");
			out_text(&out, "text", nasty[i]);
			out_path(&out, "path", nasty[i]);
			out_end(&out);
			text = finish(&out, copy);
			for (size_t k = 0; k + 1 < text.len; k++)
				assert_in_range((unsigned char)text.data[k], 0x20,
						format == OUT_JSON ? 0x7f : 0x7e);
			assert_int_equal(text.data[text.len - 1], '\n');
			bytes_release(&text);
		}
}

static void bytes_that_are_no_text_are_kept(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_JSON);

	out_begin(&out, NULL);
	out_text(&out, "good", "\xc3\xa9\xf0\x9f\x98\x80");
	out_text(&out, "a", "\xff");
	out_text(&out, "b", "\xc3\xa9\xc3");
	out_text(&out, "c",
		 "a\xed\xa0\x80"
		 "b");
	out_text_len(&out, "d", "\0\xfe\xfd", 3);
	out_path_len(&out, "e", "", 0);
	out_end(&out);
	ASSERT_WRITTEN(&out, copy,
		       "{\"v\":1,\"good\":\"\\u00E9\\uD83D\\uDE00\","
		       "\"a\":\"\\uFFFD\",\"a_b64\":\"/w==\","
		       "\"b\":\"\\u00E9\\uFFFD\",\"b_b64\":\"w6nD\","
		       "\"c\":\"a\\uFFFD\\uFFFD\\uFFFDb\",\"c_b64\":\"Ye2ggGI=\","
		       "\"d\":\"\\u0000\\uFFFD\\uFFFD\",\"d_b64\":\"AP79\",\"e\":\"\"}\n");
}

static void a_time_without_a_year_is_null(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_JSON);

	out_begin(&out, NULL);
	out_time(&out, "epoch", 0);
	out_time(&out, "before", -1);
	out_time(&out, "last", 253402300799);
	out_time(&out, "late", 253402300800);
	out_time(&out, "never", INT64_MAX);
	out_end(&out);
	ASSERT_WRITTEN(&out, copy,
		       "{\"v\":1,\"epoch\":\"1970-01-01T00:00:00Z\","
		       "\"before\":\"1969-12-31T23:59:59Z\",\"last\":\"9999-12-31T23:59:59Z\","
		       "\"late\":null,\"never\":null}\n");
}

static void without_a_template_there_is_no_text(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_TEXT);

	out_begin(&out, NULL);
	out_text(&out, "a", "b");
	out_end(&out);
	ASSERT_WRITTEN(&out, copy, "");
}

static void many_records_arrive_whole(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_NUL);
	struct bytes text;
	const char *p;

	for (int i = 0; i < 20000; i++) {
		out_begin(&out, NULL);
		out_number(&out, "n", i);
		out_end(&out);
	}
	text = finish(&out, copy);
	p = text.data;
	for (int i = 0; i < 20000; i++) {
		assert_int_equal(atoi(p), i);
		p += strlen(p) + 1;
	}
	assert_ptr_equal(p, text.data + text.len);
	bytes_release(&text);
}

/* ---- failures ------------------------------------------------------------------------ */

static void a_full_disk_is_told_once(void **state UNUSED)
{
	struct fail fail = FAIL_INIT;
	struct out out;

	out_open(&out, OUT_JSON, open("/dev/full", O_WRONLY | O_CLOEXEC));
	describe(&out, true);
	out_flush(&out);
	describe(&out, false);
	assert_int_equal(out_close(&out, &fail), FAIL_SYSTEM);
	assert_int_equal(fail.err, ENOSPC);
	assert_string_equal(fail.message, "write standard output: No space left on device");
}

static void an_earlier_failure_is_kept(void **state UNUSED)
{
	struct fail fail = FAIL_INIT;
	struct out out;

	fail_set(&fail, FAIL_NO, "first");
	out_open(&out, OUT_JSON, open("/dev/full", O_WRONLY | O_CLOEXEC));
	describe(&out, true);
	assert_int_equal(out_close(&out, &fail), FAIL_NO);
	assert_string_equal(fail.message, "first");
}

static void a_closed_stdout_matters_only_when_there_is_something_to_say(void **state UNUSED)
{
	struct fail fail = FAIL_INIT;
	struct out out;
	int fd = scratch();

	close(fd);
	out_open(&out, OUT_TEXT, fd);
	assert_int_equal(out_close(&out, &fail), 0);
	out_open(&out, OUT_TEXT, fd);
	describe(&out, true);
	assert_int_equal(out_close(&out, &fail), FAIL_SYSTEM);
	assert_int_equal(fail.err, EBADF);
}

static void a_template_with_a_wrong_key_is_told(void **state UNUSED)
{
	static const char *const wrong[] = {"{commmit}", "{com}", "{commit", "{commit:1", "{}"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct fail fail = FAIL_INIT;
		struct out out;

		out_open(&out, OUT_TEXT, scratch());
		out_begin(&out, wrong[i]);
		out_id(&out, "commit", HEX);
		out_end(&out);
		assert_int_equal(out_close(&out, &fail), FAIL_FATAL);
	}
}

static void a_record_under_way_is_dropped(void **state UNUSED)
{
	struct out out;
	int copy = start(&out, OUT_JSON);

	out_begin(&out, NULL);
	out_list(&out, "a");
	out_begin(&out, NULL);
	out_text(&out, "b", "c");
	ASSERT_WRITTEN(&out, copy, "");
}

struct reader {
	int fd;
	size_t total;
};

static void *read_all(void *data)
{
	struct reader *reader = data;
	char part[4096];
	ssize_t n;

	while ((n = read(reader->fd, part, sizeof(part))) > 0)
		reader->total += (size_t)n;
	return NULL;
}

static void a_pipe_that_does_not_block_is_waited_for(void **state UNUSED)
{
	struct fail fail = FAIL_INIT;
	struct reader reader = {0};
	pthread_t thread;
	int fds[2];
	struct out out;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	reader.fd = fds[0];
	assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
	out_open(&out, OUT_NUL, fds[1]);
	for (int i = 0; i < 1000; i++) {
		char text[1000];

		memset(text, 'x', sizeof(text));
		out_begin(&out, NULL);
		out_text_len(&out, "x", text, sizeof(text));
		out_end(&out);
	}
	assert_int_equal(out_close(&out, &fail), 0);
	pthread_join(thread, NULL);
	close(fds[0]);
	assert_int_equal(reader.total, 1000 * 1001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_has_every_key_in_order),
		cmocka_unit_test(fields_are_raw_and_their_number_is_fixed),
		cmocka_unit_test(text_follows_the_template),
		cmocka_unit_test(a_template_pads_and_escapes),
		cmocka_unit_test(a_terminal_obeys_nothing),
		cmocka_unit_test(bytes_that_are_no_text_are_kept),
		cmocka_unit_test(a_time_without_a_year_is_null),
		cmocka_unit_test(without_a_template_there_is_no_text),
		cmocka_unit_test(many_records_arrive_whole),
		cmocka_unit_test(a_full_disk_is_told_once),
		cmocka_unit_test(an_earlier_failure_is_kept),
		cmocka_unit_test(a_closed_stdout_matters_only_when_there_is_something_to_say),
		cmocka_unit_test(a_template_with_a_wrong_key_is_told),
		cmocka_unit_test(a_record_under_way_is_dropped),
		cmocka_unit_test(a_pipe_that_does_not_block_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
