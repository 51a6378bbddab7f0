/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "commit.h"
#include "hash.h"

#include <ctype.h>

static void parse(const char *text, size_t len, struct commit *commit)
{
	struct bytes content = BYTES_INIT;
	struct fail fail = FAIL_INIT;

	bytes_add(&content, text, len);
	assert_ok(commit_parse(HASH_SHA1, &content, commit, &fail), fail);
	bytes_release(&content);
}

static void with_message(const char *message, struct commit *commit)
{
	char *text = mem_printf("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
				"author a <a> 1 +0000\ncommitter c <c> 2 +0000\n\n%s",
				message);

	parse(text, strlen(text), commit);
	free(text);
}

/* ---- parsing ------------------------------------------------------------------------ */

#define TREE "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
#define PARENT "parent 1111111111111111111111111111111111111111\n"

static void test_parse(UNUSED void **state)
{
	struct commit commit;
	static const char signed_one[] =
		TREE PARENT PARENT "author A U <a@b> 100 +0100\n"
				   "committer C > odd <c@d> 1700000000 -0330\n"
				   "encoding ISO-8859-1\n"
				   "gpgsig -----BEGIN-----\n \n parent not one\n -----END-----\n"
				   "mergetag object 22\n type commit\n\ntitle\n\nbody\n";

	parse(signed_one, sizeof(signed_one) - 1, &commit);
	assert_oid_equal(&commit.tree, oid_empty_tree(HASH_SHA1));
	assert_int_equal(commit.parent_count, 2);
	assert_int_equal(commit.parents[1].raw[19], 0x11);
	assert_int_equal(commit.time, 1700000000);
	assert_string_equal(commit.message, "title\n\nbody\n");
	commit_release(&commit);
	parse(TREE, strlen(TREE), &commit);
	assert_int_equal(commit.parent_count, 0);
	assert_int_equal(commit.time, 0);
	assert_string_equal(commit.message, "");
	commit_release(&commit);
	with_message("", &commit);
	assert_int_equal(commit.time, 2);
	assert_string_equal(commit.message, "");
	commit_release(&commit);
}

static void test_parse_bad(UNUSED void **state)
{
	static const char *const bad[] = {
		"",
		"tree",
		"tree ",
		"tree 4b825dc642cb6eb9a060e54bf8d69288fbee490\n",
		"tree 4b825dc642cb6eb9a060e54bf8d69288fbee49045\n",
		"tree 4b825dc642cb6eb9a060e54bf8d69288fbee490x\n",
		"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
		"parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n",
		TREE "parent 11\n",
		TREE "parent 1111111111111111111111111111111111111111",
		TREE "author a <a> 1 +0000",
		TREE "author a <a> 1 +0000\ncommitter c <c> 1 +0000",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct bytes content = BYTES_INIT;
		struct fail fail = FAIL_INIT;
		struct commit commit;

		bytes_adds(&content, bad[i]);
		if (commit_parse(HASH_SHA1, &content, &commit, &fail) != FAIL_CORRUPT)
			fail_msg("taken: %s", bad[i]);
		commit_release(&commit);
		bytes_release(&content);
	}
}

/* Whatever the bytes are: no read past the end, and every answer lies in the message. */
static void test_parse_any(UNUSED void **state)
{
	static const char good[] = TREE PARENT "author a <a> 1 +0000\ncommitter c <c> 2 +0000\n"
					       "gpgsig x\n y\n\nt\n\nA: b\n c\nB: d\n";
	uint32_t seed = 7;

	for (int i = 0; i < 200000; i++) {
		size_t len, value_len = 0;
		char *text = mem_dup(good, sizeof(good) - 1);
		struct bytes content = {.data = text};
		struct fail fail = FAIL_INIT;
		struct commit commit;

		for (int n = 0; n < 4; n++) {
			seed = seed * 1664525u + 1013904223u;
			text[(seed >> 8) % (sizeof(good) - 1)] =
				seed & 64 ? "\n :A\0"[(seed >> 2) % 5] : (char)(seed >> 24);
		}
		len = (seed >> 4) % 3 ? sizeof(good) - 1 : (seed >> 6) % sizeof(good);
		content.data = len ? memcpy(mem_alloc(len), text, len) : bytes_empty;
		content.len = len;
		if (commit_parse(HASH_SHA1, &content, &commit, &fail) == 0) {
			const char *value = commit_trailer(&commit, "A", &value_len);

			if (value) {
				assert_true(value >= commit.message);
				assert_true(value + value_len <=
					    commit.message + strlen(commit.message));
			}
		}
		commit_release(&commit);
		if (len)
			free(content.data);
		free(text);
	}
}

/* ---- trailers -------------------------------------------------------------------------- */

static void assert_trailer(const char *message, const char *key, const char *want)
{
	struct commit commit;
	size_t len = 0;
	const char *value;

	with_message(message, &commit);
	value = commit_trailer(&commit, key, &len);
	if (!want && value)
		fail_msg("[%s] %s: %.*s", message, key, (int)len, value);
	if (want && (!value || len != strlen(want) || memcmp(value, want, len) != 0))
		fail_msg("[%s] %s: '%.*s', not '%s'", message, key, (int)len, value ? value : "",
			 want);
	commit_release(&commit);
}

static void test_trailers(UNUSED void **state)
{
	struct commit commit;
	size_t len;

	assert_trailer("t\n\nKey: value\n", "Key", "value");
	assert_trailer("t\n\nKey: value", "key", "value");
	assert_trailer("t\n\nKey:value  \n\n\n", "KEY", "value");
	assert_trailer("t\n\nKey:\n", "Key", "");
	assert_trailer("t\n\nKey: a\nKey: b\nOther: c\n", "Key", "b");
	assert_trailer("t\n\nKey: a\n  b\n\tc\nOther: c\n", "Key", "a\n  b\n\tc");
	assert_trailer("\nKey: value\n", "Key", "value");
	assert_trailer("t\r\n\r\nKey: value\r\n", "Key", "value");
	assert_trailer("t\n \nKey: value\n", "Key", "value");
	/* not in the last paragraph, not all of it, or the title */
	assert_trailer("t\n\nKey: value\n\nmore\n", "Key", NULL);
	assert_trailer("t\n\ntext\nKey: value\n", "Key", NULL);
	assert_trailer("t\n\nKey: value\ntext\n", "Key", NULL);
	assert_trailer("t\n\n  indented\nKey: value\n", "Key", NULL);
	assert_trailer("Key: value\n", "Key", NULL);
	assert_trailer("t\n\nKey : value\n", "Key", NULL);
	assert_trailer("t\n\nKey: value\n", "Ke", NULL);
	assert_trailer("t\n\nKey: value\n", "Keyx", NULL);
	assert_trailer("", "Key", NULL);
	with_message("t\n\nK: 1\nX: y\nk: 2\nK: 3\n", &commit);
	assert_memory_equal(commit_trailer_nth(&commit, "K", 0, &len), "1", 1);
	assert_memory_equal(commit_trailer_nth(&commit, "K", 1, &len), "2", 1);
	assert_memory_equal(commit_trailer_nth(&commit, "K", 2, &len), "3", 1);
	assert_int_equal(len, 1);
	assert_null(commit_trailer_nth(&commit, "K", 3, &len));
	commit_release(&commit);
}

static void test_message(UNUSED void **state)
{
	static const struct {
		const char *given, *result;
	} cases[] = {
		{"title", "title\n\nShadow-Base: 1\nUser: x\n"},
		{"title\n\n\n", "title\n\nShadow-Base: 1\nUser: x\n"},
		{"title\n\nbody", "title\n\nbody\n\nShadow-Base: 1\nUser: x\n"},
		{"Fix: title", "Fix: title\n\nShadow-Base: 1\nUser: x\n"},
		{"t\n\nSigned-off-by: me", "t\n\nSigned-off-by: me\nShadow-Base: 1\nUser: x\n"},
		{"t\n\nsome text\nSigned-off-by: me",
		 "t\n\nsome text\nSigned-off-by: me\n\nShadow-Base: 1\nUser: x\n"},
		/* a forged one never shares our paragraph */
		{"t\n\nshadow-session: me\n",
		 "t\n\nshadow-session: me\n\nShadow-Base: 1\nUser: x\n"},
		{"t\n\nA: b\nShadow-Session: me\n",
		 "t\n\nA: b\nShadow-Session: me\n\nShadow-Base: 1\nUser: x\n"},
		{"", "\n\nShadow-Base: 1\nUser: x\n"},
	};
	struct argv trailers = ARGV_INIT, none = ARGV_INIT;
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;

	argv_push_all(&trailers, "Shadow-Base: 1", "User: x", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bytes_clear(&out);
		assert_ok(commit_message(cases[i].given, &trailers, &out, &fail), fail);
		assert_string_equal(out.data, cases[i].result);
		assert_trailer(out.data, "Shadow-Base", "1");
		assert_trailer(out.data, "User", "x");
		assert_trailer(out.data, "Shadow-Session", NULL);
	}
	bytes_clear(&out);
	assert_ok(commit_message("as it is", &none, &out, &fail), fail);
	assert_string_equal(out.data, "as it is");
	for (size_t i = 0; i < 4; i++) {
		static const char *const bad[] = {"a: b\nShadow-Session: x", "no colon", ": x",
						  "two words: x"};
		struct argv one = ARGV_INIT;

		argv_push(&one, bad[i]);
		assert_int_equal(commit_message("t", &one, &out, &fail), FAIL_USAGE);
		fail_clear(&fail);
		argv_release(&one);
	}
	argv_release(&trailers);
	bytes_release(&out);
}

/* git reads our trailers as we do. */
static void test_trailers_as_git(UNUSED void **state)
{
	static const char *const messages[] = {"title", "title\n\nbody\nof two lines",
					       "title\n\nSigned-off-by: A <a@b>",
					       "title\n\nShadow-Session: forged\nx: y"};
	struct argv trailers = ARGV_INIT;
	struct bytes message = BYTES_INIT, parsed = BYTES_INIT;
	struct fail fail = FAIL_INIT;

	argv_push_all(&trailers, "Shadow-Base: 12", "Shadow-Skipped: \"a\\nb\" too large", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		bytes_clear(&message);
		bytes_clear(&parsed);
		assert_ok(commit_message(messages[i], &trailers, &message, &fail), fail);
		git_feed("interpret-trailers --parse", message.data, message.len, &parsed);
		assert_non_null(strstr(parsed.data, "Shadow-Base: 12\n"
						    "Shadow-Skipped: \"a\\nb\" too large\n"));
		assert_null(strstr(parsed.data, "forged"));
	}
	argv_release(&trailers);
	bytes_release(&message);
	bytes_release(&parsed);
}

/* ---- identity ------------------------------------------------------------------------------- */

/* The same line as git's, or both refuse. */
static void assert_ident_as_git(struct repo *repo, const char *what)
{
	struct bytes ours = BYTES_INIT, theirs = BYTES_INIT;
	struct spawn cmd = SPAWN_INIT;
	struct fail fail = FAIL_INIT;

	argv_push_all(&cmd.argv, "git", "var", "GIT_COMMITTER_IDENT", NULL);
	assert_ok(spawn_capture_any(&cmd, &theirs, &fail), fail);
	bytes_chomp(&theirs);
	if (cmd.status) {
		assert_int_equal(commit_committer(repo, &ours, &fail), FAIL_USAGE);
	} else {
		assert_ok(commit_committer(repo, &ours, &fail), fail);
		if (strcmp(ours.data, theirs.data) != 0)
			fail_msg("%s: '%s', not '%s'", what, ours.data, theirs.data);
	}
	spawn_release(&cmd);
	bytes_release(&ours);
	bytes_release(&theirs);
}

static void test_names(UNUSED void **state)
{
	static const char *const names[] = {
		"Plain Name",	 "  blanks  ",	"x <y> z",	 "\"quoted\"", "a\nb",
		"'tick'",	 ",;:comma,:;", "back\\slash\\", "tab\there",  "\001bell\007",
		"M\xc3\xbcller", "\xff\xfe",	"a.b",		 "dash-",      "o'brien",
	};
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	setenv("GIT_COMMITTER_DATE", "1700000000 +0100", 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		setenv("GIT_COMMITTER_NAME", names[i], 1);
		setenv("GIT_COMMITTER_EMAIL", names[i], 1);
		assert_ident_as_git(&repo, names[i]);
	}
	unsetenv("GIT_COMMITTER_DATE");
	unsetenv("GIT_COMMITTER_NAME");
	unsetenv("GIT_COMMITTER_EMAIL");
	repo_close(&repo);
}

static void test_dates(UNUSED void **state)
{
	static const char *const dates[] = {
		"1700000000 +0100",
		"@1700000000 -0330",
		"@0 +0000",
		"@5 +0000",
		"@1700000000 -0000",
		"1700000000 -0000",
		"1700000000 +0175",
		"@1700000000 +0175",
		"1700000000 +2500",
		"@1700000000 +9999",
		"123456789 +0000",
		"12345678 +0000",
		"20231114 +0000",
		"1700000000",
		"@1700000000",
		"01700000000 +0000",
		"@01700000000 +0000",
		"9999999999 +0000",
		"Tue, 14 Nov 2023 22:13:20 +0200",
		"2023-11-14T22:13:20Z",
		"2023-11-14 22:13:20 +0530",
		"2023-11-14T22:13:20-07:00",
		"2023-11-14T22:13:20",
		"14.11.2023 22:13:20",
	};
	static const char *const zones[] = {"UTC0", "EST5", "IST-5:30", "NST3:30", "CHAST-12:45"};
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	setenv("GIT_COMMITTER_NAME", "n", 1);
	setenv("GIT_COMMITTER_EMAIL", "e", 1);
	for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
		setenv("GIT_COMMITTER_DATE", dates[i], 1);
		assert_ident_as_git(&repo, dates[i]);
	}
	setenv("GIT_COMMITTER_DATE", "no date at all", 1);
	assert_int_equal(commit_committer(&repo, &out, &fail), FAIL_USAGE);
	assert_non_null(strstr(fail.message, "GIT_COMMITTER_DATE"));
	fail_clear(&fail);
	setenv("GIT_COMMITTER_DATE", "", 1);
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		struct bytes theirs = BYTES_INIT;

		setenv("TZ", zones[i], 1);
		bytes_clear(&out);
		assert_ok(commit_committer(&repo, &out, &fail), fail);
		git_feed("var GIT_COMMITTER_IDENT", NULL, 0, &theirs);
		bytes_chomp(&theirs);
		assert_string_equal(strrchr(out.data, ' '), strrchr(theirs.data, ' '));
		bytes_release(&theirs);
	}
	unsetenv("TZ");
	unsetenv("GIT_COMMITTER_DATE");
	unsetenv("GIT_COMMITTER_NAME");
	unsetenv("GIT_COMMITTER_EMAIL");
	bytes_release(&out);
	repo_close(&repo);
}

static void assert_committer(const char *want)
{
	struct bytes out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct repo repo;

	assert_ok(repo_open(&repo, REPO_ANY, &fail), fail);
	assert_ok(commit_committer(&repo, &out, &fail), fail);
	assert_non_null(strchr(out.data, '>'));
	bytes_truncate(&out, (size_t)(strchr(out.data, '>') + 1 - out.data));
	assert_string_equal(out.data, want);
	bytes_release(&out);
	repo_close(&repo);
}

/* Which source wins; and that there is always somebody. */
static void test_sources(UNUSED void **state)
{
	struct repo repo;

	sandbox_repo(&sandbox_variants[0], &repo);
	repo_close(&repo);
	assert_committer("interlock <interlock@localhost>");
	setenv("GIT_COMMITTER_NAME", "", 1);
	setenv("GIT_COMMITTER_EMAIL", "<>", 1);
	assert_committer("interlock <interlock@localhost>");
	git("config user.name user");
	git("config user.email u@h");
	assert_committer("user <u@h>");
	git("config committer.name committer");
	assert_committer("committer <u@h>");
	setenv("GIT_COMMITTER_EMAIL", "c@env", 1);
	assert_committer("committer <c@env>");
	setenv("GIT_COMMITTER_NAME", "env", 1);
	assert_committer("env <c@env>");
	unsetenv("GIT_COMMITTER_NAME");
	unsetenv("GIT_COMMITTER_EMAIL");
}

/* ---- whole commits -----------------------------------------------------------------------------
 */

static void test_format(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sandbox_variants); i++) {
		const struct variant *v = &sandbox_variants[i];
		struct bytes content = BYTES_INIT, root = BYTES_INIT;
		struct fail fail = FAIL_INIT;
		struct oid want, got, parents[2], tree, root_id;
		struct commit commit;
		struct repo repo;
		struct odb odb;
		char a[OID_HEX_MAX + 1], b[OID_HEX_MAX + 1], t[OID_HEX_MAX + 1], line[400];

		sandbox_repo(v, &repo);
		setenv("GIT_COMMITTER_NAME", "C", 1);
		setenv("GIT_COMMITTER_EMAIL", "c@d", 1);
		setenv("GIT_COMMITTER_DATE", "2023-11-14T22:13:20Z", 1);
		setenv("GIT_AUTHOR_NAME", "A", 1);
		setenv("GIT_AUTHOR_EMAIL", "a@b", 1);
		setenv("GIT_AUTHOR_DATE", "@1600000000 +0200", 1);
		tree = git_oid_feed(v->algo, "mktree", "", 0);
		assert_oid_equal(&tree, oid_empty_tree(v->algo));
		commit_segment_root(v->algo, &root, &root_id);
		got = git_oid_feed(v->algo, "hash-object -t commit -w --stdin", root.data,
				   root.len);
		assert_oid_equal(&root_id, &got);
		parents[0] = root_id;
		snprintf(line, sizeof(line), "commit-tree %s -m other", oid_hex(&tree, t));
		parents[1] = git_oid_of(v->algo, line);
		snprintf(line, sizeof(line), "commit-tree %s -p %s -p %s", t,
			 oid_hex(&parents[0], a), oid_hex(&parents[1], b));
		want = git_oid_feed(v->algo, line, "title\n\nbody\n", 12);
		assert_ok(commit_format(&repo, &tree, parents, 2, "title\n\nbody", &content, &fail),
			  fail);
		object_id(v->algo, OBJECT_COMMIT, content.data, content.len, &got);
		assert_oid_equal(&got, &want);
		odb_init(&odb, &repo);
		assert_ok(commit_read(&odb, &want, &commit, &fail), fail);
		assert_int_equal(commit.parent_count, 2);
		assert_oid_equal(&commit.parents[0], &parents[0]);
		assert_oid_equal(&commit.parents[1], &parents[1]);
		assert_int_equal(commit.time, 1700000000);
		assert_string_equal(commit.message, "title\n\nbody\n");
		commit_release(&commit);
		assert_int_equal(commit_read(&odb, &tree, &commit, &fail), FAIL_CORRUPT);
		commit_release(&commit);
		odb_release(&odb);
		bytes_release(&content);
		bytes_release(&root);
		sandbox_environment();
		repo_close(&repo);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	  cmocka_unit_test(test_parse_bad),
		cmocka_unit_test(test_parse_any), cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_message),	  cmocka_unit_test(test_trailers_as_git),
		cmocka_unit_test(test_names),	  cmocka_unit_test(test_dates),
		cmocka_unit_test(test_sources),	  cmocka_unit_test(test_format),
	};
	int failed;

	sandbox_enter();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	sandbox_leave();
	return failed;
}
