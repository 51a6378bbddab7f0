/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * ignore and wildmatch.
 *
 *	test-ignore			the unit tests
 *	test-ignore --walk <work-tree> <common-dir> [<excludes-file>]
 *
 * The second form reads NUL-terminated paths from stdin ('/' behind a directory)
 * and prints a line for each: 1 ignored, 0 not, ? only git can say. A path below
 * an ignored directory is ignored. t/ignore.bats compares that with git.
 */
#include "prelude.h"

#include "bytes.h"
#include "file.h"
#include "ignore.h"
#include "repo.h"

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

/* ---- --walk -------------------------------------------------------------------- */

struct walk {
	struct ignore_set *set;
	int work_tree;
};

/* The rules inside `path`, read as the scan reads them. */
static const struct ignore_dir *walk_enter(struct walk *walk, const struct ignore_dir *parent,
					   const char *path)
{
	const struct ignore_dir *dir = parent;
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	char *name = mem_printf("%s%s.gitignore", path, *path ? "/" : "");
	int rc = file_read(walk->work_tree, name, SIZE_MAX / 4, &text, &fail);

	if (rc == 0)
		dir = ignore_enter(walk->set, parent, path, text.data, text.len);
	else if (rc != FAIL_GONE && fail.err != ENOTDIR)
		fprintf(stderr, "%s\n", fail.message);
	bytes_release(&text);
	free(name);
	return dir;
}

static char walk_path(struct walk *walk, char *path)
{
	const struct ignore_dir *dir = walk_enter(walk, ignore_root(walk->set), "");
	size_t len = strlen(path);
	bool is_dir = len && path[len - 1] == '/';

	if (is_dir)
		path[--len] = '\0';
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (ignore_doubt(dir))
			return '?';
		if (ignore_match(dir, path, (size_t)(slash - path), true))
			return '1';
		dir = walk_enter(walk, dir, path);
		*slash = '/';
	}
	if (ignore_doubt(dir))
		return '?';
	return ignore_match(dir, path, len, is_dir) ? '1' : '0';
}

static int walk_main(int argc, char **argv)
{
	struct repo repo = {.work_tree = argv[2], .common_dir = argv[3]};
	struct walk walk = {.set = NULL};
	struct fail fail = FAIL_INIT;
	char *line = NULL;
	size_t cap = 0;

	if (argc > 4)
		repo.conf.excludes_file = argv[4];
	walk.work_tree = open(repo.work_tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (walk.work_tree < 0 || ignore_open(&repo, &walk.set, &fail) < 0) {
		fprintf(stderr, "test-ignore: %s\n", fail.message);
		return 128;
	}
	while (getdelim(&line, &cap, '\0', stdin) > 0)
		printf("%c\n", walk_path(&walk, line));
	free(line);
	ignore_free(walk.set);
	close(walk.work_tree);
	return 0;
}

/* ---- wildmatch ------------------------------------------------------------------ */

struct wild_case {
	const char *pattern, *text;
	bool fold, expect;
};

static const struct wild_case wild_cases[] = {
	{"", "", false, true},
	{"", "a", false, false},
	{"a", "", false, false},
	{"*", "", false, true},
	{"**", "", false, true},
	{"?", "", false, false},
	{"abc", "abc", false, true},
	{"abc", "abcd", false, false},
	{"a?c", "abc", false, true},
	{"a?c", "a/c", false, false},
	{"a*", "a", false, true},
	{"a*", "ab/c", false, false},
	{"a*c", "abcbc", false, true},
	{"*c*d", "acxcyd", false, true},
	{"*/b", "a/b", false, true},
	{"*/b", "a/c/b", false, false},
	{"*\\/b", "a/b", false, true},
	{"a*/b", "axx/b", false, true},
	{"*a/*b", "a/xa/xb", false, false},

	{"**", "a/b/c", false, true},
	{"**/c", "c", false, true},
	{"**/c", "a/b/c", false, true},
	{"**/c", "a/bc", false, false},
	{"a/**", "a/b/c", false, true},
	{"a/**", "a", false, false},
	{"a/**", "a/", false, true},
	{"a/**/c", "a/c", false, true},
	{"a/**/c", "a/x/y/c", false, true},
	{"a/**/c", "axc", false, false},
	{"a/**/b/**/c", "a/b/x/b/c", false, true},
	{"a/**/b*/c", "a/bx/b/by/c", false, true},
	{"**/a*b/c", "axb/acb/c", false, true},
	{"a**c", "abbc", false, true},
	{"a**c", "a/c", false, false},
	{"a**/c", "a/b/c", false, false},
	{"a/**c", "a/b/c", false, false},
	{"a/***/c", "a/b/d/c", false, true},
	{"**\\/c", "c", false, false},
	{"**\\/c", "b/c", false, true},
	{"a/**\\/c", "a/c", false, false},
	{"a/**\\/c", "a/x/y/c", false, true},

	{"[abc]", "b", false, true},
	{"[abc]", "d", false, false},
	{"[!abc]", "d", false, true},
	{"[^abc]", "b", false, false},
	{"[!a]", "/", false, false},
	{"[/]", "/", false, false},
	{"a[b/]c", "abc", false, true},
	{"[a-c]x", "bx", false, true},
	{"[c-a]", "b", false, false},
	{"[a-]", "-", false, true},
	{"[-a]", "-", false, true},
	{"[a-c-e]", "-", false, true},
	{"[a-c-e]", "d", false, false},
	{"[]]", "]", false, true},
	{"[]-a]", "^", false, true},
	{"[!]]", "]", false, false},
	{"[!]a]", "b", false, true},
	{"[\\]]", "]", false, true},
	{"[\\a-c]", "b", false, true},
	{"[a\\-c]", "b", false, false},
	{"[a-\\c]", "b", false, true},
	{"[", "[", false, false},
	{"[a", "a", false, false},
	{"[]", "]", false, false},
	{"[!]", "a", false, false},
	{"[a\\", "a", false, false},
	{"[a-\\", "a", false, false},
	{"\\", "\\", false, false},
	{"\\\\", "\\", false, true},
	{"\\*", "*", false, true},
	{"\\*", "a", false, false},

	{"[[:alpha:]]", "a", false, true},
	{"[[:alpha:]]", "1", false, false},
	{"[![:alpha:]]", "1", false, true},
	{"[[:alnum:]_]", "_", false, true},
	{"[[:blank:]]", "\t", false, true},
	{"[[:cntrl:]]", "\x7f", false, true},
	{"[[:digit:]]", "5", false, true},
	{"[[:graph:]]", " ", false, false},
	{"[[:lower:]]", "A", false, false},
	{"[[:print:]]", " ", false, true},
	{"[[:print:]]", "\xe9", false, false},
	{"[[:punct:]]", "]", false, true},
	{"[[:space:]]", "\r", false, true},
	{"[[:space:]]", "\v", false, false},
	{"[[:upper:]]", "A", false, true},
	{"[[:xdigit:]]", "F", false, true},
	{"[[:xdigit:]]", "g", false, false},
	{"[[:nothing:]]", "n", false, false},
	{"[[:alpha:", "a", false, false},
	{"[[:]", ":", false, true},
	{"[[:]", "[", false, true},
	{"[[:al]", "l", false, true},
	{"[[::]]", "a", false, false},
	{"[a-[:digit:]]", ":]", false, true},
	{"[[:digit:]-z]", "-", false, true},

	{"abc", "ABC", true, true},
	{"ABC", "abc", true, true},
	{"ABC", "abc", false, false},
	{"\\A", "a", true, false},
	{"[A]", "a", true, false},
	{"[a]", "A", true, true},
	{"[A-C]", "b", true, true},
	{"[[:upper:]]", "b", true, true},
	{"*B", "aab", true, true},
};

static void wildmatch_knows_the_table(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(wild_cases); i++) {
		const struct wild_case *c = &wild_cases[i];

		if (wildmatch_path(c->pattern, c->text, c->fold) != c->expect)
			fail_msg("'%s' against '%s'%s should %smatch", c->pattern, c->text,
				 c->fold ? " (folded)" : "", c->expect ? "" : "not ");
	}
}

static void wildmatch_does_not_read_behind_a_span(void **state UNUSED)
{
	static const char *const endings[] = {"[", "[!", "[a-", "[a", "[[:", "[[:a", "\\", "**\\"};

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t len = strlen(endings[i]);
		char *pattern = mem_alloc(len), *text = mem_alloc(1);

		memcpy(pattern, endings[i], len);
		*text = 'a';
		assert_false(wildmatch_span(pattern, len, text, 1, false));
		free(pattern);
		free(text);
	}
}

/* Each of these takes longer than the sun will shine where every star is tried with every other. */
static void wildmatch_is_not_exponential(void **state UNUSED)
{
	struct bytes stars = BYTES_INIT, deep = BYTES_INIT, both = BYTES_INIT;
	struct bytes name = BYTES_INIT, path = BYTES_INIT;

	for (int i = 0; i < 200; i++) {
		bytes_adds(&stars, "*a");
		bytes_adds(&deep, "**/a/");
		bytes_adds(&both, "**/*a*a/");
		bytes_adds(&name, "aaaaa");
		bytes_adds(&path, "aaa/aaab/a/");
	}
	bytes_adds(&stars, "*b");
	bytes_adds(&deep, "b");
	bytes_adds(&both, "**/b");
	bytes_adds(&path, "c");
	alarm(30);
	assert_false(wildmatch_path(stars.data, name.data, false));
	assert_false(wildmatch_path(deep.data, path.data, false));
	assert_false(wildmatch_path(both.data, path.data, false));
	bytes_adds(&path, "/b");
	assert_true(wildmatch_path(both.data, path.data, false));
	alarm(0);
	bytes_release(&stars);
	bytes_release(&deep);
	bytes_release(&both);
	bytes_release(&name);
	bytes_release(&path);
}

/* ---- a set of rules ---------------------------------------------------------------- */

struct place {
	char root[64]; /* a temporary directory that is work tree and common dir */
	struct repo repo;
};

static int place_setup(void **state)
{
	struct place *place = mem_zalloc(sizeof(*place));

	strcpy(place->root, "/tmp/test-ignore-XXXXXX");
	if (!mkdtemp(place->root) || setenv("XDG_CONFIG_HOME", place->root, 1) < 0)
		return -1;
	place->repo.work_tree = place->repo.common_dir = place->root;
	*state = place;
	return 0;
}

static int place_teardown(void **state)
{
	struct place *place = *state;
	static const char *const names[] = {"info/exclude", "info",   "git/ignore", "git",
					    "mine",	    "target", "locked",	    "dir"};
	int dir = open(place->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (unlinkat(dir, names[i], 0) < 0)
			unlinkat(dir, names[i], AT_REMOVEDIR);
	close(dir);
	rmdir(place->root);
	free(place);
	return 0;
}

static void place_write(struct place *place, const char *name, const char *text)
{
	struct file_modes modes = FILE_MODES_PRIVATE;
	struct fail fail = FAIL_INIT;
	int dir = open(place->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	mkdirat(dir, "info", 0777);
	mkdirat(dir, "git", 0777);
	assert_int_equal(file_replace(dir, name, text, strlen(text), &modes, false, &fail), 0);
	close(dir);
}

static struct ignore_set *place_open(struct place *place)
{
	struct ignore_set *set = NULL;
	struct fail fail = FAIL_INIT;

	assert_int_equal(ignore_open(&place->repo, &set, &fail), 0);
	return set;
}

static bool asks(const struct ignore_dir *dir, const char *path)
{
	size_t len = strlen(path);
	bool is_dir = path[len - 1] == '/';

	return ignore_match(dir, path, len - is_dir, is_dir);
}

struct line_case {
	const char *text, *path;
	bool expect;
};

static const struct line_case line_cases[] = {
	{"", "a", false},
	{"a", "a", true},
	{"a", "x/y/a", true},
	{"a", "ab", false},
	{"a\n", "a/", true},
	{"a/", "a", false},
	{"a/", "x/a/", true},
	{"/a", "a", true},
	{"/a", "x/a", false},
	{"x/a", "x/a", true},
	{"x/a", "y/x/a", false},
	{"x/a/", "x/a", false},
	{"x/a/", "x/a/", true},
	{"//a", "a", false},
	{"/", "a/", false},
	{"//", "a/", false},
	{"!", "a", false},

	{"#a", "#a", false},
	{"\\#a", "#a", true},
	{" #a", " #a", true},
	{"\\!a", "!a", true},
	{"a\n!a", "a", false},
	{"!a\na", "a", true},
	{"*\n!*.c", "a.c", false},
	{"*\n!*.c\nb.c", "b.c", true},
	{"*\n!*.c\nb.c", "a.c", false},
	{"b.c\n!*.c", "b.c", false},
	{"*.c\n!b.c\n?.c", "b.c", true},
	{"!?.c\n*.c\nb.c", "b.c", true},
	{"a\n!a/\n", "a", true},
	{"a\n!a/\n", "a/", false},

	{"a  ", "a", true},
	{"a\\ ", "a ", true},
	{"a\\  ", "a ", true},
	{"a \\ ", "a  ", true},
	{"a\\\\ ", "a\\", true},
	{"a\t", "a", false},
	{"a\t", "a\t", true},
	{" a", " a", true},
	{"   ", "   ", false},
	{"a\r\n", "a", true},
	{"a\r", "a", true},
	{"a\r\r\n", "a\r", true},
	{"a \r\n", "a", true},
	{"\r\na", "a", true},
	{"\xef\xbb\xbf"
	 "a",
	 "a", true},
	{"\xef\xbb\xbf#a", "#a", false},
	{"b\n\xef\xbb\xbf"
	 "a",
	 "a", false},

	{"*", "a", true},
	{"*.o", "x/a.o", true},
	{"*.o", ".o", true},
	{"*.o", "a.oo", false},
	{"*.o/", "a.o", false},
	{"*.o/", "a.o/", true},
	{"*\\.o", "a.o", true},
	{"/*.o", "a.o", true},
	{"/*.o", "x/a.o", false},
	{"**/a", "a", true},
	{"**/a", "x/y/a", true},
	{"/**/a", "x/y/a", true},
	{"**/**/a", "a", true},
	{"**/*.o", "x/a.o", true},
	{"**/x/a", "z/x/a", true},
	{"**", "a/", true},
	{"**//", "a/", false},
	{"x/**", "x/a", true},
	{"x/**", "x/", false},
	{"x/**/a", "x/a", true},
	{"x/\\*", "x/*", true},
	{"x/\\*", "x/a", false},
	{"x\\/a", "x/a", true},
	{"\\/a", "a", false},
	{"a\\", "a", false},
	{"a\\", "a\\", false},
	{"a\\/", "a/", false},
	{"[a", "[a", false},
	{"[a]", "x/a", true},
};

static void a_line_means_what_git_says(void **state)
{
	struct ignore_set *set = place_open(*state);

	for (size_t i = 0; i < ARRAY_SIZE(line_cases); i++) {
		const struct line_case *c = &line_cases[i];
		const struct ignore_dir *dir =
			ignore_enter(set, ignore_root(set), "", c->text, strlen(c->text));

		if (asks(dir, c->path) != c->expect)
			fail_msg("case %zu: '%s' should %signore '%s'", i, c->text,
				 c->expect ? "" : "not ", c->path);
	}
	ignore_free(set);
}

static void a_line_ends_at_a_nul(void **state)
{
	struct ignore_set *set = place_open(*state);
	const struct ignore_dir *dir = ignore_enter(set, ignore_root(set), "", "ab\0c\nd\0", 7);

	assert_true(asks(dir, "ab"));
	assert_true(asks(dir, "d"));
	assert_false(asks(dir, "c"));
	ignore_free(set);
}

static void deeper_rules_win(void **state)
{
	struct place *place = *state;
	const struct ignore_dir *top, *sub, *same;
	struct ignore_set *set;

	place_write(place, "git/ignore", "g\nshared\n!three\n");
	place_write(place, "info/exclude", "i\n!shared\nthree\n");
	set = place_open(place);
	top = ignore_enter(set, ignore_root(set), "", "t\n/only\nsub/x\n!three\n", 22);
	same = ignore_enter(set, top, "none", NULL, 0);
	sub = ignore_enter(set, top, "sub", "!t\nthree\n/here\na/b\n", 19);
	assert_ptr_equal(same, top);
	assert_true(asks(top, "g"));
	assert_true(asks(top, "i"));
	assert_false(asks(top, "shared"));
	assert_true(asks(top, "t"));
	assert_false(asks(top, "three"));
	assert_false(asks(sub, "sub/t"));
	assert_true(asks(sub, "sub/three"));
	assert_true(asks(sub, "sub/x"));
	assert_true(asks(sub, "sub/here"));
	assert_false(asks(sub, "sub/c/here"));
	assert_true(asks(sub, "sub/a/b"));
	assert_true(asks(top, "only"));
	assert_false(asks(sub, "sub/only"));
	ignore_free(set);
}

static void excludes_file_is_found(void **state)
{
	struct place *place = *state;
	struct ignore_set *set;

	place_write(place, "git/ignore", "fallback\n");
	place_write(place, "target", "\xef\xbb\xbfmine\n");
	assert_int_equal(chdir(place->root), 0);
	assert_int_equal(symlink("target", "mine"), 0);

	set = place_open(place);
	assert_true(asks(ignore_root(set), "fallback"));
	ignore_free(set);

	place->repo.conf.excludes_file = mem_printf("%s/mine", place->root);
	set = place_open(place);
	assert_true(asks(ignore_root(set), "mine"));
	assert_false(asks(ignore_root(set), "fallback"));
	ignore_free(set);
	free(place->repo.conf.excludes_file);

	/* Relative to the top of the work tree, wherever we are. */
	assert_int_equal(chdir("/"), 0);
	place->repo.conf.excludes_file = mem_strdup("target");
	set = place_open(place);
	assert_true(asks(ignore_root(set), "mine"));
	ignore_free(set);
	free(place->repo.conf.excludes_file);

	/* Set to nothing is not unset. */
	place->repo.conf.excludes_file = mem_strdup("");
	set = place_open(place);
	assert_false(asks(ignore_root(set), "fallback"));
	ignore_free(set);
	free(place->repo.conf.excludes_file);
	place->repo.conf.excludes_file = NULL;

	/* $HOME comes second. */
	assert_int_equal(setenv("XDG_CONFIG_HOME", "", 1), 0);
	assert_int_equal(setenv("HOME", "/nonexistent", 1), 0);
	set = place_open(place);
	assert_false(asks(ignore_root(set), "fallback"));
	ignore_free(set);
}

static void a_missing_file_is_empty_and_a_directory_is_not(void **state)
{
	struct place *place = *state;
	struct ignore_set *set = NULL;
	struct fail fail = FAIL_INIT;

	place->repo.conf.excludes_file = mem_strdup("target/below");
	place_write(place, "target", "a\n");
	ignore_free(place_open(place));
	free(place->repo.conf.excludes_file);

	place->repo.conf.excludes_file = mem_strdup("/dev/null");
	ignore_free(place_open(place));
	free(place->repo.conf.excludes_file);

	place->repo.conf.excludes_file = mem_strdup("/");
	assert_int_equal(ignore_open(&place->repo, &set, &fail), FAIL_SYSTEM);
	assert_null(set);
	assert_int_equal(fail.err, EISDIR);
	free(place->repo.conf.excludes_file);
}

static void what_versions_read_differently_is_said(void **state)
{
	static const char *const doubtful[] = {"foo**/bar", "/foo**/bar", "q/foo**",
					       "m/n**/o",   "a/b***\\/c", "!x**/y"};
	static const char *const clear[] = {"foo**",	"foo/**/bar", "**/bar", "a/b**c",
					    "a*/b**/c", "a/b*/c",     "a/**"};
	struct ignore_set *set = place_open(*state);
	const struct ignore_dir *dir = ignore_root(set), *sub;

	for (size_t i = 0; i < ARRAY_SIZE(clear); i++)
		assert_null(ignore_doubt(ignore_enter(set, dir, "", clear[i], strlen(clear[i]))));
	for (size_t i = 0; i < ARRAY_SIZE(doubtful); i++) {
		sub = ignore_enter(set, dir, "", doubtful[i], strlen(doubtful[i]));
		assert_non_null(ignore_doubt(sub));
		assert_non_null(ignore_doubt(ignore_enter(set, sub, "x", "a\n", 2)));
	}
	ignore_free(set);
}

struct thread_arg {
	struct ignore_set *set;
	const struct ignore_dir *top;
	unsigned number;
	unsigned wrong;
};

static void *thread_body(void *data)
{
	struct thread_arg *arg = data;

	for (unsigned i = 0; i < 500; i++) {
		char *path = mem_printf("d%u-%u", arg->number, i);
		char *text = mem_printf("own%u\n*.t%u\n!*.o\n", i, i);
		char *own = mem_printf("%s/own%u", path, i);
		char *other = mem_printf("%s/x.o", path);
		const struct ignore_dir *dir =
			ignore_enter(arg->set, arg->top, path, text, strlen(text));

		arg->wrong += !asks(dir, own) || asks(dir, other) || !asks(arg->top, "x.o") ||
			      !asks(dir, "d0/everywhere");
		free(path);
		free(text);
		free(own);
		free(other);
	}
	return NULL;
}

static void threads_may_enter_and_ask_at_once(void **state)
{
	struct ignore_set *set = place_open(*state);
	const struct ignore_dir *top =
		ignore_enter(set, ignore_root(set), "", "*.o\neverywhere\n", 15);
	struct thread_arg args[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		args[i] = (struct thread_arg){.set = set, .top = top, .number = i};
		assert_int_equal(pthread_create(&threads[i], NULL, thread_body, &args[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(args[i].wrong, 0);
	}
	ignore_free(set);
}

/* The hash, the suffix list and the rest must agree on which line came last. */
static void the_last_of_many_lines_wins(void **state)
{
	struct ignore_set *set = place_open(*state);
	struct bytes text = BYTES_INIT;
	const struct ignore_dir *dir;

	for (unsigned i = 0; i < 300; i++)
		bytes_addf(&text, "name%u\n/dir/name%u\n*.s%u\nname%u.s%u*\n", i, i, i, i, i);
	for (unsigned i = 0; i < 300; i += 2)
		bytes_addf(&text, "!name%u\n", i);
	for (unsigned i = 0; i < 300; i += 3)
		bytes_addf(&text, "name%u/\n", i);
	for (unsigned i = 0; i < 300; i += 5)
		bytes_addf(&text, "!*.s%u\n", i);
	dir = ignore_enter(set, ignore_root(set), "", text.data, text.len);
	for (unsigned i = 0; i < 300; i++) {
		char *name = mem_printf("name%u", i), *as_dir = mem_printf("x/name%u/", i);
		char *path = mem_printf("dir/name%u", i), *suffix = mem_printf("name%u.s%u", i, i);

		assert_int_equal(asks(dir, name), i % 2 != 0);
		assert_int_equal(asks(dir, path), i % 2 != 0);
		assert_int_equal(asks(dir, as_dir), i % 2 != 0 || i % 3 == 0);
		assert_int_equal(asks(dir, suffix), i % 5 != 0);
		free(name);
		free(as_dir);
		free(path);
		free(suffix);
	}
	bytes_release(&text);
	ignore_free(set);
}

#define PLACE_TEST(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wildmatch_knows_the_table),
		cmocka_unit_test(wildmatch_does_not_read_behind_a_span),
		cmocka_unit_test(wildmatch_is_not_exponential),
		PLACE_TEST(a_line_means_what_git_says),
		PLACE_TEST(a_line_ends_at_a_nul),
		PLACE_TEST(deeper_rules_win),
		PLACE_TEST(excludes_file_is_found),
		PLACE_TEST(a_missing_file_is_empty_and_a_directory_is_not),
		PLACE_TEST(what_versions_read_differently_is_said),
		PLACE_TEST(threads_may_enter_and_ask_at_once),
		PLACE_TEST(the_last_of_many_lines_wins),
	};

	if (argc > 3 && !strcmp(argv[1], "--walk"))
		return walk_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
