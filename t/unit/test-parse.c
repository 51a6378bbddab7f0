/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* number, name, quote: parsing of what people and repositories hand us. */
#include "name.h"
#include "number.h"
#include "quote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void durations(UNUSED void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{"0", 0},	   {"30", 30000},     {"500ms", 500},
		{"30s", 30000},	   {"10m", 600000},   {"8h", 28800000},
		{"2d", 172800000}, {"1w", 604800000}, {"never", DURATION_NEVER},
		{"0ms", 0},	   {"007s", 7000},
	};
	static const char *const bad[] = {"",
					  " 1s",
					  "1 s",
					  "-1s",
					  "+1s",
					  "1.5s",
					  "s",
					  "ms",
					  "1sec",
					  "1S",
					  "10mm",
					  "inf",
					  "1s ",
					  "0x10",
					  "٣s",
					  "99999999999999999999",
					  "9223372036854775807",
					  "9223372036854775807ms",
					  "15250284452472w"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct fail fail = FAIL_INIT;
		int64_t ms = -1;

		assert_int_equal(duration_parse(good[i].text, "x", &ms, &fail), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fail fail = FAIL_INIT;
		int64_t ms;

		if (duration_parse(bad[i], "config interlock.x", &ms, &fail) != FAIL_USAGE)
			fail_msg("'%s' was taken for %lld ms", bad[i], (long long)ms);
		assert_non_null(strstr(fail.message, "config interlock.x"));
	}
}

static void sizes(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	int64_t n;

	assert_int_equal(size_parse("10", "x", &n, &fail), 0);
	assert_int_equal(n, 10);
	assert_int_equal(size_parse("2k", "x", &n, &fail), 0);
	assert_int_equal(n, 2048);
	assert_int_equal(size_parse("3M", "x", &n, &fail), 0);
	assert_int_equal(n, 3 << 20);
	assert_int_equal(size_parse("1g", "x", &n, &fail), 0);
	assert_int_equal(n, 1 << 30);
	assert_int_equal(size_parse("9999999999g", "x", &n, &fail), FAIL_USAGE);
	fail_clear(&fail);
	assert_int_equal(size_parse("1kb", "x", &n, &fail), FAIL_USAGE);
	fail_clear(&fail);
	assert_int_equal(size_parse("-1", "x", &n, &fail), FAIL_USAGE);
}

static void numbers(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	int64_t n;

	assert_int_equal(number_parse("12", "x", 0, 12, &n, &fail), 0);
	assert_int_equal(n, 12);
	assert_int_equal(number_parse("13", "x", 0, 12, &n, &fail), FAIL_USAGE);
	fail_clear(&fail);
	assert_int_equal(number_parse("1x", "x", 0, 12, &n, &fail), FAIL_USAGE);
	fail_clear(&fail);
	assert_int_equal(number_parse("", "x", 0, 12, &n, &fail), FAIL_USAGE);
}

static void names(UNUSED void **state)
{
	static const char *const good[] = {"a", "agent-7", "a/b", "A.b_c@d", "0", "a..b", ".a"};
	static const char *const bad[] = {"",	   "-a",      "a b", "a\nb", "../a", "a/../b",
					  "a/..",  "a//b",    "/a",  "a/",   "./a",  "a/.",
					  "$(id)", "\x1b[0m", "a:b", "a%2f", "ä"};
	char longest[NAME_MAX_GIVEN + 2];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct fail fail = FAIL_INIT;

		if (name_check(good[i], "x", &fail) != 0)
			fail_msg("'%s': %s", good[i], fail.message);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fail fail = FAIL_INIT;

		if (name_check(bad[i], "x", &fail) != FAIL_USAGE)
			fail_msg("'%s' was taken", bad[i]);
	}
	memset(longest, 'a', sizeof(longest));
	longest[NAME_MAX_GIVEN + 1] = '\0';
	{
		struct fail fail = FAIL_INIT;

		assert_int_equal(name_check(longest, "x", &fail), FAIL_USAGE);
		fail_clear(&fail);
		longest[NAME_MAX_GIVEN] = '\0';
		assert_int_equal(name_check(longest, "x", &fail), 0);
	}
}

static char *encoded(const char *name)
{
	struct bytes out = BYTES_INIT;

	name_encode(name, &out);
	return bytes_take(&out);
}

static void encoding(UNUSED void **state)
{
	char a[301], b[301];
	char *x, *y;

	x = encoded("feature/50%");
	assert_string_equal(x, "feature%2F50%25");
	free(x);

	/* Long names keep apart, stay short, and never end inside an escape. */
	memset(a, '/', 300);
	memset(b, '/', 300);
	a[300] = b[300] = '\0';
	b[299] = 'b';
	x = encoded(a);
	y = encoded(b);
	assert_string_not_equal(x, y);
	assert_true(strlen(x) <= NAME_MAX_ENCODED);
	assert_non_null(strstr(x, "%2F%~"));
	free(x);
	free(y);

	/* Exactly at the limit nothing is cut. */
	memset(a, 'a', 300);
	a[NAME_MAX_ENCODED] = '\0';
	x = encoded(a);
	assert_string_equal(x, a);
	free(x);
}

static void c_quoting(UNUSED void **state)
{
	static const char raw[] = "a\n\"b\\\t\x01\xff z";
	struct bytes quoted = BYTES_INIT, back = BYTES_INIT;

	quote_c("plain name", 10, &quoted);
	assert_string_equal(quoted.data, "plain name");
	bytes_clear(&quoted);
	quote_c(raw, sizeof(raw) - 1, &quoted);
	assert_string_equal(quoted.data, "\"a\\n\\\"b\\\\\\t\\001\\377 z\"");
	assert_string_equal(unquote_c(quoted.data, &back), "");
	assert_int_equal(back.len, sizeof(raw) - 1);
	assert_memory_equal(back.data, raw, back.len);
	assert_null(unquote_c("\"open", &back));
	assert_null(unquote_c("\"\\9\"", &back));
	assert_null(unquote_c("\"\\12\"", &back));
	assert_null(unquote_c("none", &back));
	bytes_release(&quoted);
	bytes_release(&back);
}

static void terminal(UNUSED void **state)
{
	struct bytes out = BYTES_INIT;

	quote_line("a\x1b[31m\nb\r", 8, &out);
	assert_null(strchr(out.data, 0x1b));
	assert_null(strchr(out.data, '\n'));
	assert_null(strchr(out.data, '\r'));
	bytes_clear(&out);
	quote_line("gr\xc3\xbc\xc3\x9f", 6, &out);
	assert_string_equal(out.data, "gr\xc3\xbc\xc3\x9f");
	bytes_release(&out);
}

static char *shown(const char *text, size_t len)
{
	struct bytes out = BYTES_INIT;

	quote_line(text, len, &out);
	return bytes_take(&out);
}

/* Well-formed UTF-8 that a terminal obeys, or that turns a name around before one's eyes. */
static void terminal_utf8(UNUSED void **state)
{
	static const char *const commands[] = {
		"\xc2\x80",	"\xc2\x85",	"\xc2\x9b",	"\xc2\x9f",	"\xe2\x80\xa8",
		"\xe2\x80\xa9", "\xe2\x80\xaa", "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa9",
	};
	static const char *const harmless[] = {
		"\xc2\xa0",	"\xe2\x80\xa7", "\xe2\x80\xaf",	    "\xe2\x81\xa5",
		"\xe2\x81\xaa", "\xef\xbf\xbd", "\xf0\x9f\x98\x80", "\xf0\xa2\x80\xae",
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		char *text = mem_printf("gr\xc3\xbc%s[31m", commands[i]);
		char *line = shown(text, strlen(text));

		if (strstr(line, commands[i]))
			fail_msg("command %zu got through", i);
		/* Nothing else is lost for it. */
		assert_int_equal(strncmp(line, "gr\xc3\xbcM", 5), 0);
		assert_non_null(strstr(line, "[31m"));
		assert_true(utf8_valid(line, strlen(line)));
		free(text);
		free(line);
	}
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		char *line = shown(harmless[i], strlen(harmless[i]));

		assert_string_equal(line, harmless[i]);
		free(line);
	}
}

/* Bytes that are no UTF-8 are shown one by one; what is well-formed around them stays. */
static void terminal_bytes(UNUSED void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{"\xc3\xbc\xff\xc3\xbc", "\xc3\xbcM^?\xc3\xbc"},
		{"\xc3", "M-C"},
		{"\xe2\x82", "M-bM^B"},
		{"\xc0\xaf", "M-@M-/"},
		{"\x9b[31m", "M^[[31m"},
		{"a\"b\\c", "a\"b\\c"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *line = shown(cases[i].text, strlen(cases[i].text));

		assert_string_equal(line, cases[i].line);
		free(line);
	}
}

/* 4 MiB of umlauts: work that grows with the square of the length would take hours. */
static void terminal_long(UNUSED void **state)
{
	const size_t len = (size_t)4 << 20;
	char *text = mem_alloc(len), *line;

	for (size_t i = 0; i < len; i += 2)
		memcpy(text + i, "\xc3\xbc", 2);
	line = shown(text, len);
	assert_int_equal(strlen(line), len);
	assert_memory_equal(line, text, len);
	free(text);
	free(line);
}

static void utf8(UNUSED void **state)
{
	assert_true(utf8_valid("", 0));
	assert_true(utf8_valid("\xf0\x9f\x98\x80", 4));
	assert_true(utf8_valid("\xf4\x8f\xbf\xbf", 4));
	assert_false(utf8_valid("\xff", 1));
	assert_false(utf8_valid("\xc0\x80", 2));     /* overlong */
	assert_false(utf8_valid("\xed\xa0\x80", 3)); /* surrogate */
	assert_false(utf8_valid("\xe2\x82", 2));     /* cut */
	assert_false(utf8_valid("\xf4\x90\x80\x80", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),	  cmocka_unit_test(sizes),
		cmocka_unit_test(numbers),	  cmocka_unit_test(names),
		cmocka_unit_test(encoding),	  cmocka_unit_test(c_quoting),
		cmocka_unit_test(terminal),	  cmocka_unit_test(terminal_utf8),
		cmocka_unit_test(terminal_bytes), cmocka_unit_test(terminal_long),
		cmocka_unit_test(utf8),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
