/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "attributes.h"
#include "convert.h"
#include "pathcheck.h"

static void converts(unsigned steps, const char *in, const char *out)
{
	struct bytes data = BYTES_INIT;

	bytes_adds(&data, in);
	convert_apply(steps, &data);
	assert_string_equal(data.data, out);
	assert_int_equal(data.len, strlen(out));
	bytes_release(&data);
}

static void test_line_ends(UNUSED void **state)
{
	converts(CONVERT_CRLF, "", "");
	converts(CONVERT_CRLF, "a\r\nb\r\n", "a\nb\n");
	converts(CONVERT_CRLF, "a\rb\r", "a\rb\r");
	converts(CONVERT_CRLF, "\r\r\n\r", "\r\n\r");
	converts(0, "a\r\n$Id: x$", "a\r\n$Id: x$");
}

static void test_ident_collapses(UNUSED void **state)
{
	converts(CONVERT_IDENT, "$Id: abc $", "$Id$");
	converts(CONVERT_IDENT, "x $Id: a$ y $Id:$ z", "x $Id$ y $Id$ z");
	converts(CONVERT_IDENT, "$Id$ $Idx: a$", "$Id$ $Idx: a$");
	converts(CONVERT_IDENT, "$Id: no end", "$Id: no end");
	converts(CONVERT_IDENT, "$Id: two\nlines$ $Id: a$", "$Id: two\nlines$ $Id$");
	converts(CONVERT_IDENT, "$Id: no end\n $Id: x", "$Id: no end\n $Id: x");
	converts(CONVERT_CRLF | CONVERT_IDENT, "$Id: a$\r\n", "$Id$\n");
}

static void test_plain(UNUSED void **state)
{
	assert_true(convert_is_plain("", 0));
	assert_true(convert_is_plain("a\nb\r", 4));
	assert_true(convert_is_plain("$Id$ Id:", 8));
	assert_false(convert_is_plain("a\r\n", 3));
	assert_false(convert_is_plain("\r\r\n", 3));
	assert_false(convert_is_plain("$Id:", 4));
	/* The LF that would complete it lies behind the end. */
	assert_true(convert_is_plain("a\r\n", 2));
}

static unsigned uses(const char *text)
{
	return attributes_in(text, strlen(text), NULL);
}

static void test_attributes_that_matter(UNUSED void **state)
{
	assert_int_equal(uses(""), 0);
	assert_int_equal(uses("*.c diff=cpp\n*.png binary\n*.x -text\n*.y !filter\n"), 0);
	assert_int_equal(uses("# text filter=lfs\n  # eol\n"), 0);
	assert_int_equal(uses("* text=auto"), ATTRIBUTE_CONVERT);
	assert_int_equal(uses("*.sh eol=lf\n"), ATTRIBUTE_CONVERT);
	assert_int_equal(uses("a\tident\r\n"), ATTRIBUTE_CONVERT);
	assert_int_equal(uses("a crlf=input\n"), ATTRIBUTE_CONVERT);
	assert_int_equal(uses("a textual mytext text-x\n"), 0);
	assert_int_equal(uses("*.psd filter=lfs diff=lfs merge=lfs -text\n"), ATTRIBUTE_FILTER);
	assert_int_equal(uses("[attr]lfs filter=lfs\n"), ATTRIBUTE_FILTER);
	assert_int_equal(uses("[attr]mine text eol=crlf\n"), ATTRIBUTE_CONVERT | ATTRIBUTE_ODD);
	assert_int_equal(uses("a working-tree-encoding=UTF-16\n"), ATTRIBUTE_ENCODING);
	assert_int_equal(uses("\"a b\"filter=x\n"), ATTRIBUTE_FILTER);
	assert_int_equal(uses("x #filter\n"), 0);
	assert_int_equal(uses("x # filter\n"), ATTRIBUTE_FILTER);
	assert_int_equal(attributes_in("a\0b text\n", 9, NULL), ATTRIBUTE_CONVERT | ATTRIBUTE_ODD);
}

static void test_long_lines_are_git_s(UNUSED void **state)
{
	char *line = mem_printf("%03000d diff\n", 0);

	assert_int_equal(uses(line), ATTRIBUTE_ODD);
	free(line);
}

static void test_judging_uses(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;

	assert_int_equal(attributes_judge(ATTRIBUTE_CONVERT, &fail), 0);
	assert_int_equal(attributes_judge(ATTRIBUTE_FILTER, &fail), FAIL_ENGINE);
	assert_string_equal(fail.message, "filter attribute");
	fail_clear(&fail);
	assert_int_equal(attributes_judge(ATTRIBUTE_ENCODING, &fail), FAIL_ENGINE);
	assert_string_equal(fail.message, "working-tree-encoding attribute");
	fail_clear(&fail);
	assert_int_equal(attributes_judge(ATTRIBUTE_ODD, &fail), FAIL_ENGINE);
}

static bool unusual(const char *path, bool is_symlink)
{
	return path_is_unusual(path, strlen(path), is_symlink);
}

static void test_names_that_guards_could_refuse(UNUSED void **state)
{
	static const char *const bad[] = {
		".git",
		".GIT",
		"a/.Git/b",
		".git.",
		".git ",
		".git . .",
		".git::$INDEX_ALLOCATION",
		"git~1",
		"a/GIT~1",
		".g\xe2\x80\x8cit",
		"\xef\xbb\xbf.git",
		".git\xe2\x81\xaf",
		"x\\.git\\hooks",
		"a\\git~1",
	};
	static const char *const good[] = {
		"a",	     ".gitignore",	".gitattributes", ".gitmodules", "git",	     ".gi",
		"xgit~1",    "dev\\x2ddisk",	".github/x",	  "gitfoo",	 "a.git",    "g~1",
		".git-keep", "caf\xc3\xa9/.gi", "\xe2\x80\x8c",	  "...",	 "agit~1/.g"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!unusual(bad[i], false))
			fail_msg("'%s' was let through", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (unusual(good[i], false))
			fail_msg("'%s' was refused", good[i]);
	assert_true(unusual(".gitmodules", true));
	assert_true(unusual("GI7EBA~1", true));
	assert_true(unusual(".gitignore", true));
	assert_false(unusual("link", true));
}

static void test_paths_that_lead_out(UNUSED void **state)
{
	static const char *const bad[] = {"",	  "/",	 "/a",	  ".",	    "..",   "a/",
					  "a//b", "./a", "a/./b", "a/../b", "a/..", "../a"};
	static const char *const good[] = {"a", "a/b", "...", ".a", "..a/b..", "a/.b"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (path_stays_below(bad[i], strlen(bad[i])))
			fail_msg("'%s' was let through", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!path_stays_below(good[i], strlen(good[i])))
			fail_msg("'%s' was refused", good[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_ends),
		cmocka_unit_test(test_ident_collapses),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_attributes_that_matter),
		cmocka_unit_test(test_long_lines_are_git_s),
		cmocka_unit_test(test_judging_uses),
		cmocka_unit_test(test_names_that_guards_could_refuse),
		cmocka_unit_test(test_paths_that_lead_out),
	};

	return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
