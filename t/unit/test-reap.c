/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* reap: what is done with a slot in each state: the table, and what holds for every combination. */
#include "reap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What is done: plainly, with --remove, with --prune, with --prune when many vanished. */
static const struct {
	enum slot_state state;
	enum reap_action plain, remove, prune, prune_many;
} table[] = {
	{STATE_FREE, REAP_NONE, REAP_REMOVE, REAP_NONE, REAP_NONE},
	{STATE_HELD, REAP_NONE, REAP_NONE, REAP_NONE, REAP_NONE},
	{STATE_LEASED, REAP_NONE, REAP_NONE, REAP_NONE, REAP_NONE},
	{STATE_EXPIRED, REAP_RESCUE_RESET, REAP_REMOVE, REAP_RESCUE_RESET, REAP_RESCUE_RESET},
	{STATE_ORPHANED, REAP_RESCUE_RESET, REAP_REMOVE, REAP_RESCUE_RESET, REAP_RESCUE_RESET},
	{STATE_OCCUPIED, REAP_NONE, REAP_NONE, REAP_NONE, REAP_NONE},
	{STATE_HALF_BORN, REAP_RESCUE_RESET, REAP_REMOVE, REAP_RESCUE_RESET, REAP_RESCUE_RESET},
	{STATE_VANISHED, REAP_NONE, REAP_NONE, REAP_UNREGISTER, REAP_NONE},
	{STATE_DESYNCED, REAP_RESCUE_RESET, REAP_REMOVE, REAP_RESCUE_RESET, REAP_RESCUE_RESET},
	{STATE_FOREIGN, REAP_NONE, REAP_NONE, REAP_NONE, REAP_NONE},
	{STATE_UNKNOWN, REAP_NONE, REAP_NONE, REAP_NONE, REAP_NONE},
};

static enum reap_action decide(enum slot_state state, bool remove, bool prune, bool many)
{
	const struct reap_options options = {.remove = remove, .prune = prune};
	const char *reason = NULL;
	enum reap_action action = reap_decide(state, &options, many, &reason);

	/* E5: whatever is done or left, somebody can be told why. */
	assert_non_null(reason);
	assert_true(*reason);
	return action;
}

static void test_E1_every_state_has_its_action(void **state)
{
	(void)state;
	assert_int_equal(sizeof(table) / sizeof(*table), STATE_UNKNOWN + 1);
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		enum slot_state s = table[i].state;

		assert_int_equal(s, i);
		assert_int_equal(decide(s, false, false, false), table[i].plain);
		assert_int_equal(decide(s, true, false, false), table[i].remove);
		assert_int_equal(decide(s, false, true, false), table[i].prune);
		assert_int_equal(decide(s, false, true, true), table[i].prune_many);
	}
}

static bool is_protected(enum slot_state s)
{
	return s == STATE_UNKNOWN || s == STATE_FOREIGN || s == STATE_HELD || s == STATE_LEASED ||
	       s == STATE_OCCUPIED;
}

static void check_promises(enum slot_state s, bool remove, bool prune, bool many)
{
	enum reap_action action = decide(s, remove, prune, many);

	if (is_protected(s))
		assert_int_equal(action, REAP_NONE); /* E3, H6, B1: never dead */
	if (action == REAP_REMOVE)
		assert_true(remove);
	if (action == REAP_UNREGISTER)
		assert_true(s == STATE_VANISHED && prune && !many); /* H10 */
	if (s == STATE_VANISHED)
		assert_true(action == REAP_NONE || action == REAP_UNREGISTER);
	if (action == REAP_RESCUE_RESET)
		assert_true(s != STATE_FREE && !remove);
	/* A sweep is of debris, which is no slot. */
	assert_int_not_equal(action, REAP_SWEEP);
	/* Options that are about other states change nothing. */
	if (s != STATE_VANISHED) {
		assert_int_equal(action, decide(s, remove, !prune, many));
		assert_int_equal(action, decide(s, remove, prune, !many));
	} else {
		assert_int_equal(action, decide(s, !remove, prune, many));
	}
}

static void test_E3_what_protects_is_never_acted_on(void **state)
{
	(void)state;
	for (int s = 0; s <= STATE_UNKNOWN; s++)
		for (int bits = 0; bits < 8; bits++)
			check_promises((enum slot_state)s, bits & 1, bits & 2, bits & 4);
}

/* `reap --dry-run` and the run afterwards decide by the same call: it must not remember. */
static void test_E5_deciding_twice_is_deciding_once(void **state)
{
	(void)state;
	for (int s = 0; s <= STATE_UNKNOWN; s++)
		for (int bits = 0; bits < 16; bits++) {
			const struct reap_options options = {
				.remove = bits & 1, .prune = bits & 2, .dry_run = bits & 8};
			const struct reap_options real = {.remove = bits & 1, .prune = bits & 2};
			const char *planned, *done;

			assert_int_equal(
				reap_decide((enum slot_state)s, &options, bits & 4, &planned),
				reap_decide((enum slot_state)s, &real, bits & 4, &done));
			assert_string_equal(planned, done);
		}
}

static void test_names_are_the_documented_ones(void **state)
{
	static const char *const actions[] = {"none", "rescue-reset", "remove", "unregister",
					      "sweep"};
	static const char *const results[] = {"done", "planned", "skipped", "busy", "failed"};

	(void)state;
	for (int i = REAP_NONE; i <= REAP_SWEEP; i++)
		assert_string_equal(reap_action_name((enum reap_action)i), actions[i]);
	for (int i = REAP_DONE; i <= REAP_FAILED; i++)
		assert_string_equal(reap_result_name((enum reap_result)i), results[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_E1_every_state_has_its_action),
		cmocka_unit_test(test_E3_what_protects_is_never_acted_on),
		cmocka_unit_test(test_E5_deciding_twice_is_deciding_once),
		cmocka_unit_test(test_names_are_the_documented_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
