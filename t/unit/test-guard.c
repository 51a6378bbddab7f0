/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* guard: what the hooks decide, as tables. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- reference-transaction ------------------------------------------------------------ */

#define AT(what) .present = PRESENT_##what
#define COPY(what) .copy = COPY_##what
#define LINE(what) .descent = DESCENT_##what

static const struct {
	const char *what;
	struct guard_update update;
	enum guard_answer answer;
} updates[] = {
	/* G2: a blind or backward write */
	{"G2 to what does not come after it", {AT(OTHER), LINE(NO)}, GUARD_VETO},
	{"G2 the same, with an old value", {AT(OTHER), LINE(NO), .old_given = true}, GUARD_VETO},
	{"G2 blind, but forward: nothing is lost", {AT(OTHER), LINE(YES)}, GUARD_PASS},
	{"forward", {AT(OTHER), LINE(YES), .old_given = true}, GUARD_PASS},
	{"a new ref", {AT(NONE)}, GUARD_PASS},
	{"pack-refs packs it: 0 -> value", {AT(SAME)}, GUARD_PASS},
	{"the same again", {AT(SAME), LINE(NO)}, GUARD_PASS},
	/* deletes */
	{"G2 a delete", {.deletes = true, AT(OTHER), COPY(NONE)}, GUARD_VETO},
	{"G2 a delete with its old value",
	 {.deletes = true, .old_given = true, AT(OTHER), COPY(NONE)},
	 GUARD_VETO},
	{"G2 pack-refs prunes: value -> 0, and the packed one stays",
	 {.deletes = true, .old_given = true, COPY(STAYS)},
	 GUARD_PASS},
	{"a blind delete of what is packed, too: pack-refs says what it expects",
	 {.deletes = true, AT(OTHER), COPY(STAYS)},
	 GUARD_VETO},
	{"a delete of nothing", {.deletes = true, AT(NONE), COPY(NONE)}, GUARD_PASS},
	/* ours */
	{"D10 our own delete",
	 {.writer = true, .deletes = true, AT(OTHER), COPY(NONE)},
	 GUARD_PASS},
	{"D10 our own new segment", {.writer = true, AT(OTHER), LINE(NO)}, GUARD_PASS},
	{"D10 our own, nothing else known", {.writer = true}, GUARD_PASS},
	/* G3 */
	{"G3 ref: values", {.symbolic = true, AT(OTHER), LINE(NO)}, GUARD_PASS},
	{"G3 a symbolic ref goes", {.symbolic = true, .deletes = true, AT(OTHER)}, GUARD_PASS},
	/* what the fast path does not know */
	{"present value unknown", {AT(UNKNOWN)}, GUARD_ASK},
	{"line unknown", {AT(OTHER)}, GUARD_ASK},
	{"a delete, copy unknown", {.deletes = true, .old_given = true}, GUARD_ASK},
	{"a delete, all unknown", {.deletes = true}, GUARD_ASK},
	{"a delete of another value, copy unknown",
	 {.deletes = true, .old_given = true, AT(OTHER)},
	 GUARD_ASK},
};

static void ref_updates(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(updates); i++) {
		enum guard_answer answer = guard_ref_update(&updates[i].update);

		if (answer != updates[i].answer)
			fail_msg("%s: got %d", updates[i].what, answer);
	}
}

/* A fact more can turn GUARD_ASK into an answer, but no answer into another one. */
static void more_facts_contradict_nothing(UNUSED void **state)
{
	for (int bits = 0; bits < 8; bits++)
		for (int present = PRESENT_NONE; present <= PRESENT_OTHER; present++)
			for (int copy = COPY_STAYS; copy <= COPY_NONE; copy++)
				for (int line = DESCENT_YES; line <= DESCENT_NO; line++) {
					struct guard_update full = {
						.deletes = bits & 1,
						.old_given = bits & 2,
						.writer = bits & 4,
						.present = (enum guard_present)present,
						.copy = (enum guard_copy)copy,
						.descent = (enum guard_descent)line,
					};
					struct guard_update less = full;
					enum guard_answer known = guard_ref_update(&full);

					assert_int_not_equal(known, GUARD_ASK);
					/* What the program looks at: one fact of three. */
					less.descent = DESCENT_UNKNOWN;
					if (full.deletes || full.present == PRESENT_OTHER)
						less.present = PRESENT_UNKNOWN;
					if (full.copy == COPY_NONE)
						less.copy = COPY_UNKNOWN;
					if (guard_ref_update(&less) != GUARD_ASK)
						assert_int_equal(guard_ref_update(&less), known);
				}
}

static void lines(UNUSED void **state)
{
	static const char text[] = "0000 1234 refs/heads/a\n"
				   "ref:refs/heads/x 12 refs/shadow/main/b/y z\n"
				   "nonsense\n"
				   "\n"
				   "12 0000 refs/rescue/s/1";
	static const char *const names[] = {"refs/heads/a", "refs/shadow/main/b/y z", "", "",
					    "refs/rescue/s/1"};
	const char *p = text;
	size_t len = strlen(text), n = 0;
	struct guard_line line;

	while (guard_next_line(&p, &len, &line)) {
		assert_true(n < ARRAY_SIZE(names));
		assert_int_equal(line.name_len, strlen(names[n]));
		assert_memory_equal(line.name, names[n], line.name_len);
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(names));
	p = "";
	len = 0;
	assert_false(guard_next_line(&p, &len, &line));
}

static void names(UNUSED void **state)
{
	static const struct {
		const char *name;
		bool ours;
	} table[] = {
		{"refs/shadow/main/b/x", true},
		{"refs/shadow-old/main/b/x/1", true},
		{"refs/rescue/default-1/a", true},
		{"refs/heads/shadow/x", false},
		{"refs/shadow", false},
		{"refs/shadow/", false},
		{"refs/shadows/x", false},
		{"refs/rescued/x", false},
		{"HEAD", false},
		{"", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char *text = mem_printf("0 1 %s\n", table[i].name);

		if (guard_is_ours(table[i].name, strlen(table[i].name)) != table[i].ours)
			fail_msg("%s", table[i].name);
		/* The quick look may only err to one side. */
		if (table[i].ours)
			assert_true(guard_mentions_ours(text, strlen(text)));
		free(text);
	}
	assert_false(guard_mentions_ours("0 1 refs/heads/refs/shadow/x\n", 29));
	assert_true(guard_is_zero("0000", 4));
	assert_false(guard_is_zero("0001", 4));
	assert_false(guard_is_zero("", 0));
}

/* ---- pre-commit ---------------------------------------------------------------------------- */

#define HELD .slot = true, .holder = HOLDER_PROCESS
#define TIMED .slot = true, .holder = HOLDER_TIME
#define SHOWN(what) .shown = SHOWN_##what

static const struct {
	const char *what;
	struct guard_commit commit;
	enum guard_refusal refusal;
} commits[] = {
	{"no slot", {.slot = false}, REFUSE_NOTHING},
	{"no slot, a lease of another place", {.slot = false, SHOWN(OTHER)}, REFUSE_NOTHING},
	{"a free slot", {.slot = true}, REFUSE_NOTHING},
	{"a free slot, a lease that has ended", {.slot = true, SHOWN(OTHER)}, REFUSE_STALE_LEASE},
	{"A12 held by another process", {HELD}, REFUSE_NOT_HOLDER},
	{"A12 held, the same user", {HELD, .own_uid = true}, REFUSE_NOT_HOLDER},
	{"held, from its process tree", {HELD, .of_holder = true}, REFUSE_NOTHING},
	{"held, the current lease shown", {HELD, SHOWN(CURRENT)}, REFUSE_NOTHING},
	{"held, another lease shown", {HELD, SHOWN(OTHER)}, REFUSE_STALE_LEASE},
	{"held, its own child with an old lease",
	 {HELD, .of_holder = true, SHOWN(OTHER)},
	 REFUSE_STALE_LEASE},
	{"by time, its user", {TIMED, .own_uid = true}, REFUSE_NOTHING},
	{"by time, another user", {TIMED}, REFUSE_NOT_OWNER},
	{"by time, another user with the lease", {TIMED, SHOWN(CURRENT)}, REFUSE_NOTHING},
	{"by time, its user with an old lease",
	 {TIMED, .own_uid = true, SHOWN(OTHER)},
	 REFUSE_STALE_LEASE},
	{"unjudged", {.slot = true, .holder = HOLDER_UNJUDGED, .own_uid = true}, REFUSE_UNJUDGED},
	{"unjudged, the lease shown",
	 {.slot = true, .holder = HOLDER_UNJUDGED, SHOWN(CURRENT)},
	 REFUSE_NOTHING},
	{"on the claim's branch", {HELD, .of_holder = true, .branch = BRANCH_ON}, REFUSE_NOTHING},
	{"off the claim's branch",
	 {HELD, .of_holder = true, .branch = BRANCH_OFF},
	 REFUSE_OFF_BRANCH},
	{"off it, by time", {TIMED, .own_uid = true, .branch = BRANCH_OFF}, REFUSE_OFF_BRANCH},
	{"off it, but the lease is over", {.slot = true, .branch = BRANCH_OFF}, REFUSE_NOTHING},
	{"A12 somebody else, on the branch", {HELD, .branch = BRANCH_ON}, REFUSE_NOT_HOLDER},
};

static void commits_in_slots(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(commits); i++) {
		enum guard_refusal refusal = guard_commit(&commits[i].commit);

		if (refusal != commits[i].refusal)
			fail_msg("%s: got %d", commits[i].what, refusal);
	}
}

/* Each refusal names the slot and the exact way past it; the rest of the scene may be unknown. */
static void refusals_have_words(UNUSED void **state)
{
	for (int r = REFUSE_STALE_LEASE; r <= REFUSE_OFF_BRANCH; r++) {
		struct guard_scene scene = {.slot = "default-1",
					    .branch = "refs/heads/topic",
					    .shown = "0123",
					    .operation = "rebase",
					    .onto = "refs/heads/x"};
		struct bytes words = BYTES_INIT;

		guard_commit_words((enum guard_refusal)r, &scene, &words);
		assert_non_null(strstr(words.data, "'default-1'"));
		assert_non_null(strstr(words.data, "git commit --no-verify"));
		assert_non_null(strstr(words.data, "a rebase of 'x' is under way"));
		bytes_release(&words);
	}
}

/* ---- the others ------------------------------------------------------------------------------ */

static void gc_waits_for_what_is_in_progress(UNUSED void **state)
{
	assert_int_equal(guard_gc(&(struct guard_gc){0}), GUARD_PASS);
	assert_int_equal(guard_gc(&(struct guard_gc){.saving = true}), GUARD_VETO);
	assert_int_equal(guard_gc(&(struct guard_gc){.birth = true}), GUARD_VETO);
	assert_int_equal(guard_gc(&(struct guard_gc){.unjudged = true}), GUARD_PASS);
}

static void saves_once_a_rebase(UNUSED void **state)
{
	assert_true(guard_saves(AFTER_COMMIT, false));
	assert_true(guard_saves(AFTER_MERGE, false));
	assert_false(guard_saves(AFTER_COMMIT, true));
	assert_false(guard_saves(AFTER_MERGE, true));
	assert_true(guard_saves(AFTER_REBASE, true));
	assert_false(guard_saves(AFTER_AMEND, false));
}

static void switch_in_the_config(UNUSED void **state)
{
	static const struct {
		const char *text;
		bool off;
	} table[] = {
		{"", false},
		{"[interlock]\n\tautoSave = false\n", true},
		{"[InterLock]\n\tAUTOSAVE=Off", true},
		{"[interlock]\n\tautoSave = no\n[core]\n\tbare = false\n", true},
		{"[interlock]\n\tautoSave = 0\r\n", true},
		{"[interlock]\n\tautoSave = true\n", false},
		{"[interlock]\n\tautoSave\n", false},
		{"[interlock]\n\tautoSave = false\n\tautoSave = true\n", false},
		{"[interlock]\n\tautoSave = false\n\tautoSave\n", false},
		{"[interlock]\n\tautoSave = true\n[x]\n[interlock]\n\tautoSave = false\n", true},
		{"[core]\n\tautoSave = false\n", false},
		{"# autoSave = false\n[interlock]\n\tclean = all\n", false},
		/* in doubt */
		{"[interlock]\n\tautoSave = false # said so\n", false},
		{"[interlock] autoSave = false\n", false},
		{"[interlock]\n\tautoSave = fal\\\nse\n", false},
		{"[include]\n\tpath = x\n[interlock]\n\tautoSave = false\n", false},
		{"[includeIf \"x\"]\n\tpath = x\n[interlock]\n\tautoSave = false\n", false},
		{"[extensions]\n\tworktreeConfig = true\n[interlock]\n\tautoSave = false\n", false},
		{"[interlock]\n\tautoSave = false\n[interlock] autoSave = true\n", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (guard_saves_are_off(table[i].text, strlen(table[i].text)) != table[i].off)
			fail_msg("'%s'", table[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ref_updates),
		cmocka_unit_test(more_facts_contradict_nothing),
		cmocka_unit_test(lines),
		cmocka_unit_test(names),
		cmocka_unit_test(commits_in_slots),
		cmocka_unit_test(refusals_have_words),
		cmocka_unit_test(gc_waits_for_what_is_in_progress),
		cmocka_unit_test(saves_once_a_rebase),
		cmocka_unit_test(switch_in_the_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
