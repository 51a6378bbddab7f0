/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * The one place where the state of a slot is decided, from what was seen of it.
 *
 * Read it from the top: the first rule that applies decides. Two things hold for
 * every combination, and a test goes through all of them: a held lock is `held`, and
 * a state that is reaped is given only when nothing that protects was seen or
 * could not be seen.
 */
#include "slot.h"

const char *slot_state_name(enum slot_state state)
{
	static const char *const names[] = {
		[STATE_FREE] = "free",		 [STATE_HELD] = "held",
		[STATE_LEASED] = "leased",	 [STATE_EXPIRED] = "expired",
		[STATE_ORPHANED] = "orphaned",	 [STATE_OCCUPIED] = "occupied",
		[STATE_HALF_BORN] = "half-born", [STATE_VANISHED] = "vanished",
		[STATE_DESYNCED] = "desynced",	 [STATE_FOREIGN] = "foreign",
		[STATE_UNKNOWN] = "unknown",
	};

	return names[state];
}

/* Its owner is gone: what it is then depends on who still works inside. */
static enum slot_state unless_inside(const struct slot_facts *facts, enum slot_state state)
{
	switch (facts->inside) {
	case INSIDE_NOBODY:
		return state;
	case INSIDE_SOMEBODY:
	case INSIDE_NOT_ASKED:
		return STATE_OCCUPIED;
	default:
		return STATE_UNKNOWN;
	}
}

/* A process owns it that lives, or of which nobody can say that it does not. */
static bool owner_may_live(const struct slot_facts *facts)
{
	return facts->owner == OWNER_ALIVE || facts->owner == OWNER_UNKNOWN;
}

/* What nobody but its owner or a human may decide about. */
static bool is_judged(const struct slot_facts *facts)
{
	return facts->birth == SLOT_OURS && facts->reason != REASON_NEWER &&
	       facts->lock != LOCK_UNJUDGED && facts->tree != TREE_OTHER &&
	       facts->tree != TREE_UNREADABLE;
}

enum slot_state slot_judge(const struct slot_facts *facts)
{
	if (facts->birth == SLOT_NOT_OURS)
		return STATE_FOREIGN;
	/* Before everything that is written anywhere, a human's words included. */
	if (facts->lock == LOCK_HELD)
		return STATE_HELD;
	if (facts->reason == REASON_HUMAN)
		return STATE_FOREIGN;
	if (!is_judged(facts))
		return STATE_UNKNOWN;
	/*
	 * The directory is not there, as seen from here. An owner that may live can see
	 * it in another mount namespace: its worktree must not be unregistered.
	 */
	if (facts->tree == TREE_GONE)
		return owner_may_live(facts) ? STATE_UNKNOWN : STATE_VANISHED;
	/*
	 * The lock of a birth is its maker's from the first moment. Free, it was killed,
	 * and nobody was told of the lease: the owner does not matter, what its git left
	 * running does.
	 */
	if (facts->reason == REASON_OURS && facts->phase == SLOT_BIRTH && !facts->disagree)
		return unless_inside(facts, STATE_HALF_BORN);
	if (facts->reason != REASON_OURS || facts->disagree) {
		if (facts->time_left)
			return STATE_LEASED;
		return owner_may_live(facts) ? STATE_UNKNOWN : unless_inside(facts, STATE_DESYNCED);
	}
	/* Who is inside of a free slot was there before any lease that is to come. */
	if (facts->phase == SLOT_FREE)
		return STATE_FREE;
	if (facts->phase == SLOT_LEASED && facts->kind == LEASE_TIME)
		return facts->time_left ? STATE_LEASED : unless_inside(facts, STATE_EXPIRED);
	/* By process; or claimed or released by one that is bound to do it to its end. */
	return facts->owner == OWNER_GONE ? unless_inside(facts, STATE_ORPHANED) : STATE_UNKNOWN;
}

bool slot_needs_inside(const struct slot_facts *facts)
{
	struct slot_facts nobody = *facts, somebody = *facts;

	nobody.inside = INSIDE_NOBODY;
	somebody.inside = INSIDE_SOMEBODY;
	return slot_judge(&nobody) != slot_judge(&somebody);
}
