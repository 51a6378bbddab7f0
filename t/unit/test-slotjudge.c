/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* slotjudge: the table of states (E1, E3), and what holds for every combination. */
#include "slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/*
 * One line a combination. What is not named is the first of its kind: ours, our reason, the
 * tree in place, the lock free, phase birth, no lease, no owner, nobody inside.
 */
#define OURS .birth = SLOT_OURS
#define FREE OURS, .phase = SLOT_FREE
#define BY_PROCESS(o) OURS, .phase = SLOT_LEASED, .kind = LEASE_COMMAND, .owner = OWNER_##o
#define BY_TIME(left) OURS, .phase = SLOT_LEASED, .kind = LEASE_TIME, .time_left = (left)
#define INSIDE(who) .inside = INSIDE_##who
#define REASON(what) .reason = REASON_##what

static const struct {
	const char *what;
	struct slot_facts facts;
	enum slot_state state;
} table[] = {
	/* not ours, or a human's */
	{"a worktree of git's", {.birth = SLOT_NOT_OURS}, STATE_FOREIGN},
	{"one that a human locked", {.birth = SLOT_NOT_OURS, REASON(HUMAN)}, STATE_FOREIGN},
	{"one that is gone", {.birth = SLOT_NOT_OURS, .tree = TREE_GONE}, STATE_FOREIGN},
	{"a free slot that a human locked", {FREE, REASON(HUMAN)}, STATE_FOREIGN},
	{"a human's lock over a lease", {BY_PROCESS(GONE), REASON(HUMAN)}, STATE_FOREIGN},
	{"a human's lock, tree gone", {OURS, REASON(HUMAN), .tree = TREE_GONE}, STATE_FOREIGN},
	/* B1, B14: lock held means held, whatever any record says */
	{"B1 held", {BY_PROCESS(ALIVE), .lock = LOCK_HELD}, STATE_HELD},
	{"B1 held, its owner gone", {BY_PROCESS(GONE), .lock = LOCK_HELD}, STATE_HELD},
	{"B1 held while free: being claimed", {FREE, .lock = LOCK_HELD}, STATE_HELD},
	{"B1 held while being born", {OURS, .lock = LOCK_HELD}, STATE_HELD},
	{"B14 held, reason deleted", {OURS, REASON(NONE), .lock = LOCK_HELD}, STATE_HELD},
	{"B14 held, reason garbage", {OURS, REASON(BROKEN), .lock = LOCK_HELD}, STATE_HELD},
	{"B14 held, reason a human's", {OURS, REASON(HUMAN), .lock = LOCK_HELD}, STATE_HELD},
	{"B14 held, birth record deleted", {.birth = SLOT_UNJUDGED, .lock = LOCK_HELD}, STATE_HELD},
	{"B14 held, tree gone", {OURS, .tree = TREE_GONE, .lock = LOCK_HELD}, STATE_HELD},
	{"B14 held, expired", {BY_TIME(false), .lock = LOCK_HELD}, STATE_HELD},
	/* what cannot be judged */
	{"A4 lock unjudged", {FREE, .lock = LOCK_UNJUDGED}, STATE_UNKNOWN},
	{"A4 lock unjudged, owner gone", {BY_PROCESS(GONE), .lock = LOCK_UNJUDGED}, STATE_UNKNOWN},
	{"a newer version", {OURS, REASON(NEWER)}, STATE_UNKNOWN},
	{"a birth record that cannot be read", {.birth = SLOT_UNJUDGED}, STATE_UNKNOWN},
	{"F5 another directory in its place", {FREE, .tree = TREE_OTHER}, STATE_UNKNOWN},
	{"F5 another directory under a dead lease",
	 {BY_PROCESS(GONE), .tree = TREE_OTHER},
	 STATE_UNKNOWN},
	{"a directory that cannot be read", {FREE, .tree = TREE_UNREADABLE}, STATE_UNKNOWN},
	/* A10: vanished */
	{"A10 free and gone", {FREE, .tree = TREE_GONE}, STATE_VANISHED},
	{"A10 a dead lease and gone", {BY_PROCESS(GONE), .tree = TREE_GONE}, STATE_VANISHED},
	{"A10 a person removed it", {BY_TIME(true), .tree = TREE_GONE}, STATE_VANISHED},
	{"A10 half-born and gone", {OURS, .tree = TREE_GONE}, STATE_VANISHED},
	{"A10 unlocked and gone", {OURS, REASON(NONE), .tree = TREE_GONE}, STATE_VANISHED},
	{"H10 gone, but its owner lives: another mount namespace",
	 {BY_PROCESS(ALIVE), .tree = TREE_GONE},
	 STATE_UNKNOWN},
	{"H10 gone, its owner unknown", {BY_PROCESS(UNKNOWN), .tree = TREE_GONE}, STATE_UNKNOWN},
	/* A9: half-born */
	{"A9 half-born", {OURS, .phase = SLOT_BIRTH}, STATE_HALF_BORN},
	{"A9 half-born for an owner that lives: it was never told",
	 {OURS, .kind = LEASE_OWNER, .owner = OWNER_ALIVE},
	 STATE_HALF_BORN},
	{"A6 half-born, its git writes on", {OURS, INSIDE(SOMEBODY)}, STATE_OCCUPIED},
	{"half-born, nobody can see inside", {OURS, INSIDE(UNKNOWN)}, STATE_UNKNOWN},
	/* C10: git and the record disagree */
	{"C10 unlocked by hand", {OURS, REASON(NONE)}, STATE_DESYNCED},
	{"C10 garbage", {OURS, REASON(BROKEN)}, STATE_DESYNCED},
	{"C10 the lease's file contradicts", {BY_PROCESS(GONE), .disagree = true}, STATE_DESYNCED},
	{"C10 unlocked by hand, time left", {BY_TIME(true), REASON(NONE)}, STATE_LEASED},
	{"C10 contradiction, time left", {BY_TIME(true), .disagree = true}, STATE_LEASED},
	{"C10 contradiction, owner lives", {BY_PROCESS(ALIVE), .disagree = true}, STATE_UNKNOWN},
	{"C10 unlocked by hand, owner lives", {BY_PROCESS(ALIVE), REASON(NONE)}, STATE_UNKNOWN},
	{"C10 garbage, owner unknown", {BY_PROCESS(UNKNOWN), REASON(BROKEN)}, STATE_UNKNOWN},
	{"C10 unlocked by hand, occupied", {OURS, REASON(NONE), INSIDE(SOMEBODY)}, STATE_OCCUPIED},
	{"C10 garbage, nobody can see inside",
	 {OURS, REASON(BROKEN), INSIDE(UNKNOWN)},
	 STATE_UNKNOWN},
	/* free */
	{"free", {FREE}, STATE_FREE},
	{"B15 free, a person's shell is inside", {FREE, INSIDE(SOMEBODY)}, STATE_FREE},
	{"free, nobody can see inside", {FREE, INSIDE(UNKNOWN)}, STATE_FREE},
	/* by time */
	{"leased", {BY_TIME(true)}, STATE_LEASED},
	{"leased, somebody inside", {BY_TIME(true), INSIDE(SOMEBODY)}, STATE_LEASED},
	{"expired", {BY_TIME(false)}, STATE_EXPIRED},
	{"H6 expired, somebody inside", {BY_TIME(false), INSIDE(SOMEBODY)}, STATE_OCCUPIED},
	{"B13 expired, nobody can see inside", {BY_TIME(false), INSIDE(UNKNOWN)}, STATE_UNKNOWN},
	/* by process */
	{"E3 its owner is gone", {BY_PROCESS(GONE)}, STATE_ORPHANED},
	{"H6 its owner is gone, a child works on",
	 {BY_PROCESS(GONE), INSIDE(SOMEBODY)},
	 STATE_OCCUPIED},
	{"B13 its owner is gone, /proc hides the rest",
	 {BY_PROCESS(GONE), INSIDE(UNKNOWN)},
	 STATE_UNKNOWN},
	{"B13 its watcher was killed, the owner lives", {BY_PROCESS(ALIVE)}, STATE_UNKNOWN},
	{"E3 its owner cannot be probed", {BY_PROCESS(UNKNOWN)}, STATE_UNKNOWN},
	{"an owner that nobody asked for", {BY_PROCESS(NONE)}, STATE_UNKNOWN},
	{"not asked counts as somebody", {BY_PROCESS(GONE), INSIDE(NOT_ASKED)}, STATE_OCCUPIED},
	/* C6: killed on the way in or out */
	{"C6 claimer killed",
	 {OURS, .phase = SLOT_CLAIMING, .kind = LEASE_COMMAND, .owner = OWNER_GONE},
	 STATE_ORPHANED},
	{"C6 claimer of a time lease killed: it has not begun",
	 {OURS, .phase = SLOT_CLAIMING, .kind = LEASE_TIME, .time_left = true, .owner = OWNER_GONE},
	 STATE_ORPHANED},
	{"C6 releaser killed",
	 {OURS, .phase = SLOT_RELEASING, .kind = LEASE_TIME, .time_left = true,
	  .owner = OWNER_GONE},
	 STATE_ORPHANED},
	{"C6 releaser of another host",
	 {OURS, .phase = SLOT_RELEASING, .kind = LEASE_TIME, .owner = OWNER_UNKNOWN},
	 STATE_UNKNOWN},
	{"C6 claimer alive, its lock free", /* it lets go in order, or was tampered with */
	 {OURS, .phase = SLOT_CLAIMING, .kind = LEASE_HOLD, .owner = OWNER_ALIVE},
	 STATE_UNKNOWN},
};

static void test_E1_table(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		enum slot_state got = slot_judge(&table[i].facts);

		if (got != table[i].state)
			fail_msg("%s: %s, not %s", table[i].what, slot_state_name(got),
				 slot_state_name(table[i].state));
	}
}

/* ---- every combination ---------------------------------------------------------------- */

static bool is_reaped(enum slot_state state)
{
	return state == STATE_EXPIRED || state == STATE_ORPHANED || state == STATE_HALF_BORN ||
	       state == STATE_DESYNCED;
}

static bool is_handed_out(enum slot_state state)
{
	return state == STATE_FREE || is_reaped(state);
}

/* What must hold, said once more and another way than slot_judge() says it. */
static const char *broken_promise(const struct slot_facts *f)
{
	enum slot_state state = slot_judge(f);
	bool ours = f->birth != SLOT_NOT_OURS;
	bool leased = f->phase == SLOT_LEASED && f->kind != LEASE_NONE;

	if (state == STATE_FOREIGN && ours && f->reason != REASON_HUMAN)
		return "what is ours is not foreign";
	if (!ours && state != STATE_FOREIGN)
		return "what is not ours is foreign";
	if (ours && f->lock == LOCK_HELD && state != STATE_HELD)
		return "a held lock is held";
	if (state == STATE_HELD && f->lock != LOCK_HELD)
		return "held without a lock";
	if (!is_handed_out(state) && state != STATE_VANISHED)
		return NULL;
	/* From here on somebody may do something to it. */
	if (f->reason == REASON_HUMAN || f->reason == REASON_NEWER)
		return "words that are not ours protect";
	if (f->lock != LOCK_FREE)
		return "a lock that is not known to be free protects";
	if (f->birth != SLOT_OURS)
		return "what cannot be judged is left alone";
	if (f->tree == TREE_OTHER || f->tree == TREE_UNREADABLE)
		return "another directory is left alone";
	if ((state == STATE_VANISHED) != (f->tree == TREE_GONE))
		return "vanished means that the directory is gone";
	if (leased && f->kind != LEASE_TIME && f->owner != OWNER_GONE && f->reason == REASON_OURS &&
	    !f->disagree && !(state == STATE_VANISHED && f->owner == OWNER_NONE))
		return "an owner that is not known to be gone protects";
	if (state != STATE_FREE && state != STATE_VANISHED && f->inside != INSIDE_NOBODY)
		return "somebody who may be inside protects";
	if (state != STATE_VANISHED && leased && f->kind == LEASE_TIME && f->time_left)
		return "time that is left protects";
	if (state == STATE_FREE && (f->phase != SLOT_FREE || f->reason != REASON_OURS))
		return "free is what the record says";
	return NULL;
}

static void for_all(void (*check)(const struct slot_facts *facts))
{
	struct slot_facts f;
	int n = 0;

	memset(&f, 0, sizeof(f));
#define EACH(field, last) for (f.field = 0; f.field <= (last); f.field++)
	EACH(birth, SLOT_UNJUDGED)
	EACH(reason, REASON_BROKEN)
	EACH(tree, TREE_UNREADABLE)
	EACH(lock, LOCK_UNJUDGED)
	EACH(phase, SLOT_RELEASING)
	EACH(kind, LEASE_TIME)
	EACH(owner, OWNER_UNKNOWN)
	EACH(inside, INSIDE_NOT_ASKED)
	for (int bits = 0; bits < 4; bits++, n++) {
		f.time_left = bits & 1;
		f.disagree = bits & 2;
		check(&f);
	}
#undef EACH
	assert_int_equal(n, 3 * 5 * 4 * 3 * 5 * 5 * 4 * 4 * 4);
}

static void check_promises(const struct slot_facts *f)
{
	const char *broken = broken_promise(f);

	if (broken)
		fail_msg("%s: birth %d reason %d tree %d lock %d phase %d kind %d owner %d inside "
			 "%d "
			 "left %d disagree %d gives %s",
			 broken, f->birth, f->reason, f->tree, f->lock, f->phase, f->kind, f->owner,
			 f->inside, f->time_left, f->disagree, slot_state_name(slot_judge(f)));
}

static void test_E3_unknown_is_never_dead_in_any_combination(UNUSED void **state)
{
	for_all(check_promises);
}

/* Not having asked gives what is never acted upon, unless asking changes nothing. */
static void check_needs(const struct slot_facts *f)
{
	struct slot_facts asked = *f;
	enum slot_state before;

	asked.inside = INSIDE_NOT_ASKED;
	before = slot_judge(&asked);
	asked.inside = INSIDE_UNKNOWN;
	if (slot_needs_inside(f))
		assert_true(before == STATE_OCCUPIED && slot_judge(&asked) == STATE_UNKNOWN);
	else
		assert_int_equal(before, slot_judge(&asked));
}

static void test_proc_is_read_only_when_it_decides(UNUSED void **state)
{
	for_all(check_needs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_E1_table),
		cmocka_unit_test(test_E3_unknown_is_never_dead_in_any_combination),
		cmocka_unit_test(test_proc_is_read_only_when_it_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
