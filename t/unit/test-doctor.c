/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* The table of what a doctor finds, and how its words are put in. */
#include "doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_kind_is_told(UNUSED void **state)
{
	static const char fix[] = "git interlock doctor --fix";

	for (size_t i = 0; i < ILL_COUNT; i++) {
		const struct doctor_kind *kind = &doctor_kinds[i];

		assert_non_null(kind->id);
		assert_true(strspn(kind->id, "abcdefghijklmnopqrstuvwxyz-") == strlen(kind->id));
		assert_true(*kind->cause && *kind->cure);
		/* A problem that is ours says so in its cure, and one that is not does not. */
		assert_int_equal(kind->ours, !strncmp(kind->cure, fix, strlen(fix)));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(kind->id, doctor_kinds[j].id);
	}
}

static void words_are_put_in(UNUSED void **state)
{
	static const struct {
		const char *text, *path, *detail;
		bool shell;
		const char *want;
	} cases[] = {
		{"nothing", "/a", "b", false, "nothing"},
		{"{path} and {subject}: {detail}", "/a b", "c d", false, "'/a b' and 'it': c d"},
		{"rm {path}", "/plain/path", NULL, true, "rm /plain/path"},
		{"rm {path}", "/a b", NULL, true, "rm '/a b'"},
		{"rm {path}", "/it's", NULL, true, "rm '/it'\\''s'"},
		{"rm {path}", "-rf", NULL, true, "rm '-rf'"},
		{"rm {path}", "$(x)`y`;z\n", NULL, true, "rm '$(x)`y`;z\n'"},
		{"none{detail}, {path}", NULL, NULL, true, "none, "},
		{"{unknown} {", NULL, NULL, true, "{unknown} {"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct doctor_finding finding = {.subject = (char *)"it",
						       .path = (char *)cases[i].path,
						       .detail = (char *)cases[i].detail};
		char *got = doctor_words(cases[i].text, &finding, cases[i].shell);

		assert_string_equal(got, cases[i].want);
		free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_is_told),
		cmocka_unit_test(words_are_put_in),
	};

	return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
