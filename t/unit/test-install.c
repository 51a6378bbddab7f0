/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: its record, written and read. What it does to a repository is in
 * t/interlock-install.bats. */
#include "sandbox.h"

#include "installparts.h"

static void fill(struct install_record *record)
{
	struct install_conf_record *conf;

	*record = (struct install_record){.changing = true,
					  .programs = mem_strdup("/opt/a b/\xff/interlock")};
	record->want[1] = record->want[INSTALL_HOOKS - 1] = true;
	argv_push(&record->made, "/home/\xc3\xa4/.git/hooks");
	argv_push(&record->folders, "/home/x\n/.git/interlock/hooks");
	conf = install_record_add(record, "/home/x/.git/config");
	conf->was = mem_strdup("installed-was-1");
	conf->was_there = true;
	install_sum("a", 1, conf->was_sum);
	install_sum("b", 1, conf->made_sum);
	install_entry_add(&conf->entries, "core.hookspath", "\x80 \"quoted\"", "former\n");
	install_entry_add(&conf->entries, "transfer.hiderefs", "refs/shadow", NULL);
}

static void test_round_trip(UNUSED void **state)
{
	struct bytes text = BYTES_INIT, again = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct install_record record, back;
	const struct install_entry *entry;

	fill(&record);
	install_record_format(&record, &text);
	/* One line that any terminal can show. */
	assert_ptr_equal(strchr(text.data, '\n'), text.data + text.len - 1);
	for (size_t i = 0; i + 1 < text.len; i++)
		assert_in_range((unsigned char)text.data[i], ' ', '~');
	assert_ok(install_record_parse(text.data, text.len, &back, &fail), fail);
	install_record_format(&back, &again);
	assert_string_equal(text.data, again.data);
	assert_true(back.found && back.changing);
	assert_string_equal(back.programs, record.programs);
	assert_false(back.want[0]);
	assert_true(back.want[1] && back.want[INSTALL_HOOKS - 1]);
	assert_non_null(install_record_conf(&back, "/home/x/.git/config"));
	entry = install_entry_find(&back.confs[0].entries, "core.hooksPath", NULL);
	assert_non_null(entry);
	assert_string_equal(entry->value, "\x80 \"quoted\"");
	assert_string_equal(entry->former, "former\n");
	entry = install_entry_find(&back.confs[0].entries, "transfer.hideRefs", "refs/shadow");
	assert_non_null(entry);
	assert_null(entry->former);
	install_record_release(&record);
	install_record_release(&back);
	bytes_release(&text);
	bytes_release(&again);
}

static void test_cut_short(UNUSED void **state)
{
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct install_record record, back;

	fill(&record);
	install_record_format(&record, &text);
	for (size_t len = 0; len + 1 < text.len; len++) {
		/* In an allocation of its own, so that a byte too far is seen. */
		char *part = mem_dup(text.data, len);

		assert_true(install_record_parse(part, len, &back, &fail) < 0);
		assert_false(back.found);
		fail_clear(&fail);
		install_record_release(&back);
		free(part);
	}
	install_record_release(&record);
	bytes_release(&text);
}

static void test_nonsense(UNUSED void **state)
{
	static const char head[] = "interlock-installed 1 {\"state\":\"installed\",\"hooks\":[],"
				   "\"programs\":null,\"made\":[],\"folders\":[],\"settings\":[";
	static const char sums[] = "\"was_sum\":\"\",\"from_sum\":\"\",\"made_sum\":\"\"";
	static const struct {
		const char *conf;
		const char *entries;
		bool good;
	} cases[] = {
		{"\"path\":\"/a\",\"was\":\"x\"", "", true},
		{"\"path\":\"/a\",\"was\":\"x\"", "{\"key\":\"a.b\",\"value\":\"\"}", true},
		{"\"path\":\"a\",\"was\":\"x\"", "", false},
		{"\"path\":\"/a\",\"was\":\"../../x\"", "", false},
		{"\"path\":{\"hex\":\"2f6\"},\"was\":null", "", false},
		{"\"path\":{\"hex\":\"zz\"},\"was\":null", "", false},
		{"\"path\":\"/a\",\"was\":null", "{\"key\":\"--all\",\"value\":\"\"}", false},
		{"\"path\":\"/a\",\"was\":null", "{\"key\":\"ab\",\"value\":\"\"}", false},
		{"\"path\":\"/a\",\"was\":null", "{\"key\":\"a.b\"}", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = mem_printf("%s{%s,%s,\"entries\":[%s]}]}\n", head, cases[i].conf, sums,
					cases[i].entries);
		struct fail fail = FAIL_INIT;
		struct install_record back;
		int r = install_record_parse(text, strlen(text), &back, &fail);

		if (cases[i].good ? r != 0 : r != FAIL_CORRUPT)
			fail_msg("%s: %d %s", text, r, fail.message);
		install_record_release(&back);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
