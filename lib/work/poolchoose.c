/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "poolchoose.h"

#include "birth.h"
#include "clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOTS_PATIENCE_MS 5000 /* "slots" is held for milliseconds, also by --no-wait */
#define NAMED_IN_MESSAGE 4

static char *copy(const char *text)
{
	return text ? mem_strdup(text) : NULL;
}

void pool_begin_record(const struct claiming *c, struct slot_record *record)
{
	struct fail ignored = FAIL_INIT;

	slot_record_release(record);
	*record = (struct slot_record){
		.phase = SLOT_CLAIMING,
		.lease = slot_new_id(),
		.kind = c->wish->kind,
		.key = copy(c->wish->key),
		.branch = copy(c->branch),
		.base = copy(c->base_hex),
		.since = (int64_t)time(NULL),
		.uid = (int64_t)getuid(),
		.command = copy(c->wish->command),
	};
	procid_of(getpid(), &record->owner, &ignored);
}

/* ---- who has what ------------------------------------------------------------------ */

/* Whose lease is not to be touched, whatever its owner does. */
static bool is_taken(enum slot_state state)
{
	return state == STATE_HELD || state == STATE_LEASED || state == STATE_OCCUPIED ||
	       state == STATE_UNKNOWN;
}

/* What a claim may take: free, or what reap would give back. */
static bool is_takeable(enum slot_state state)
{
	return state == STATE_FREE || state == STATE_EXPIRED || state == STATE_ORPHANED ||
	       state == STATE_HALF_BORN || state == STATE_DESYNCED;
}

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static bool in_pool(const struct claiming *c, const struct slot *slot)
{
	return slot_in_pool(slot, c->wish->pool);
}

static void describe(const struct slot *slot, struct bytes *out)
{
	struct bytes who = BYTES_INIT;

	slot_describe_holder(slot, &who);
	bytes_addf(out, "%s (%s", slot->name, slot_state_name(slot->state));
	if (who.len)
		bytes_addf(out, ": %s", who.data);
	bytes_release(&who);
	if (slot->record.key)
		bytes_addf(out, ", key %s", slot->record.key);
	bytes_addc(out, ')');
}

static int key_is_taken(const struct slot *slot, const char *key, struct fail *fail)
{
	struct bytes who = BYTES_INIT;

	describe(slot, &who);
	fail_set(fail, FAIL_BUSY, "key '%s' is leased: %s", key, who.data);
	bytes_release(&who);
	return fail->kind;
}

/* Moves a slot out of the list; what is left there is closed like any other. */
static void take_over(struct slot *from, struct slot *to)
{
	*to = *from;
	*from = (struct slot){.admin = -1, .work = -1};
}

/*
 * --resume: one's own time lease goes on under a new id, with all that is in the
 * slot. The old id is fenced off.
 */
static int resume(struct claiming *c, struct slot *slot, struct fail *fail)
{
	char *old;

	if (slot->record.kind != LEASE_TIME || slot->record.uid != (int64_t)getuid() ||
	    slot_lock(slot, 0, fail) < 0)
		return fail->kind ? fail->kind : key_is_taken(slot, c->wish->key, fail);
	if (!same(slot->record.key, c->wish->key) || slot->record.kind != LEASE_TIME)
		return key_is_taken(slot, c->wish->key, fail);
	old = mem_strdup(slot->record.lease);
	free(slot->record.lease);
	slot->record.lease = slot_new_id();
	if (slot_write(slot, fail) == 0) {
		slot_drop_lease_file(c->repo, old);
		c->out->again = true;
		take_over(slot, &c->out->slot);
	}
	free(old);
	return fail->kind;
}

/* The key: nobody's, ours already (again), or FAIL_BUSY. */
static int check_key(struct claiming *c, struct fail *fail)
{
	const char *key = c->wish->key;

	for (size_t i = 0; key && i < c->seen.count; i++) {
		struct slot *slot = &c->seen.items[i];

		if (!same(slot->record.key, key) || !is_taken(slot->state))
			continue;
		if (c->wish->resume)
			return resume(c, slot, fail);
		if (slot->record.phase != SLOT_LEASED || slot->record.kind == LEASE_TIME ||
		    !slot_is_callers(slot))
			return key_is_taken(slot, key, fail);
		c->out->again = true;
		take_over(slot, &c->out->slot);
		return 0;
	}
	return 0;
}

static const struct slot *slot_of_id(const struct claiming *c, const char *id)
{
	for (size_t i = 0; id && i < c->seen.count; i++)
		if (same(c->seen.items[i].id, id))
			return &c->seen.items[i];
	return NULL;
}

/*
 * The branch must be free: promised to no claim, checked out nowhere. One that a
 * dead lease left in a slot is free as soon as that slot is taken: `in` is it.
 */
static int check_branch(struct claiming *c, const char **in, struct fail *fail)
{
	struct worktrees worktrees = {0};
	const struct worktree *other;
	const struct slot *slot;

	*in = NULL;
	if (!c->branch)
		return 0;
	for (size_t i = 0; i < c->seen.count; i++)
		if (same(c->seen.items[i].record.branch, c->branch) &&
		    is_taken(c->seen.items[i].state)) {
			struct bytes who = BYTES_INIT;

			describe(&c->seen.items[i], &who);
			fail_set(fail, FAIL_BUSY, "branch '%s' is leased: %s", c->branch + 11,
				 who.data);
			bytes_release(&who);
			return fail->kind;
		}
	if (worktrees_list(c->repo, &worktrees, fail) == 0 &&
	    (other = worktrees_on_branch(&worktrees, c->branch, NULL))) {
		slot = slot_of_id(c, other->id);
		if (slot && is_takeable(slot->state) && in_pool(c, slot))
			*in = slot->id;
		else
			fail_set(fail, FAIL_BUSY, "branch '%s' is %s at '%s'", c->branch + 11,
				 other->branch ? "checked out" : "being rebased or bisected",
				 other->path ? other->path : other->id);
	}
	worktrees_release(&worktrees);
	return fail->kind;
}

/* ---- choosing --------------------------------------------------------------------------- */

/* The slot is ours: it is looked at under its lock, and the record says so. */
static int begin_lease(struct claiming *c, struct slot *slot, struct fail *fail)
{
	char *left_by = copy(slot_work_of(&slot->record));

	free(c->previous);
	c->previous = copy(slot->record.lease);
	c->newborn = slot->state == STATE_HALF_BORN;
	slot_record_release(&c->before);
	c->before = slot->record;
	slot->record = (struct slot_record){0};
	pool_begin_record(c, &slot->record);
	slot->record.left_by = left_by;
	slot_note_before(slot);
	/* Until it is populated, what is in it is nobody's work. */
	if (c->newborn) {
		slot->record.phase = SLOT_BIRTH;
		free(slot->record.left_by);
		slot->record.left_by = NULL;
	}
	if (slot_write(slot, fail) < 0)
		return fail->kind;
	take_over(slot, &c->out->slot);
	return 0;
}

/* 0 and out->slot set, or nothing set: somebody was faster, or it is not for us. */
static int try_slot(struct claiming *c, struct slot *slot, struct fail *fail)
{
	struct fail miss = FAIL_INIT;

	if (slot_lock(slot, 0, &miss) < 0) {
		if (miss.kind != FAIL_BUSY && miss.kind != FAIL_GONE)
			*fail = miss;
		return fail->kind;
	}
	if (is_takeable(slot->state))
		return begin_lease(c, slot, fail);
	slot_unlock(slot);
	return 0;
}

/* A slot that could not be made ready once is not tried again by the same claim. */
static bool is_spoiled(const struct claiming *c, const struct slot *slot)
{
	for (size_t i = 0; i < c->spoiled.count; i++)
		if (same(c->spoiled.items[i], slot->id))
			return true;
	return false;
}

/* Which free slot first: the one that already is where it has to be. */
static int merit(const struct claiming *c, const struct slot *slot, const char *branch_in)
{
	if (same(slot->id, branch_in))
		return 3;
	if (slot->state != STATE_FREE)
		return 0;
	return same(slot->record.base, c->base_hex) ? 2 : 1;
}

static bool chosen(const struct claiming *c)
{
	return c->out->slot.admin >= 0;
}

static int take_known(struct claiming *c, const char *branch_in, struct fail *fail)
{
	for (int want = branch_in ? 3 : 2; want >= (branch_in ? 3 : 0); want--)
		for (size_t i = 0; i < c->seen.count && !chosen(c); i++) {
			struct slot *slot = &c->seen.items[i];

			if (slot->id && in_pool(c, slot) && is_takeable(slot->state) &&
			    !is_spoiled(c, slot) && merit(c, slot, branch_in) == want &&
			    try_slot(c, slot, fail) < 0)
				return fail->kind;
		}
	return 0;
}

static bool number_is_used(const struct claiming *c, int64_t number)
{
	for (size_t i = 0; i < c->seen.count; i++)
		if (in_pool(c, &c->seen.items[i]) && c->seen.items[i].birth.number == number)
			return true;
	return false;
}

static int64_t slots_in_pool(const struct claiming *c)
{
	int64_t n = 0;

	for (size_t i = 0; i < c->seen.count; i++)
		n += in_pool(c, &c->seen.items[i]) && c->seen.items[i].state != STATE_VANISHED;
	return n;
}

static int give_birth(struct claiming *c, struct fail *fail)
{
	struct birth_plan plan = {
		.pool = c->wish->pool, .number = 1, .dir = c->dir, .base = &c->base};
	int r;

	pool_begin_record(c, &plan.record);
	do {
		fail_clear(fail);
		while (number_is_used(c, plan.number))
			plan.number++;
		r = birth_make(c->repo, &plan, &c->out->slot, fail);
		plan.number++;
	} while (r == FAIL_NO);
	slot_record_release(&plan.record);
	c->newborn = r == 0;
	free(c->previous);
	c->previous = NULL;
	return r;
}

static int all_taken(const struct claiming *c, struct fail *fail)
{
	struct bytes who = BYTES_INIT;
	size_t named = 0, taken = 0;

	for (size_t i = 0; i < c->seen.count; i++) {
		const struct slot *slot = &c->seen.items[i];

		if (!in_pool(c, slot) || slot->state == STATE_VANISHED)
			continue;
		taken++;
		if (named < NAMED_IN_MESSAGE) {
			bytes_adds(&who, named++ ? ", " : "");
			describe(slot, &who);
		}
	}
	if (taken > named)
		bytes_addf(&who, " and %zu more", taken - named);
	fail_set(fail, FAIL_BUSY, "pool '%s' is full (%" PRId64 " of %" PRId64 " slots): %s",
		 c->wish->pool, slots_in_pool(c), c->wish->max, who.data);
	bytes_release(&who);
	return fail->kind;
}

/* Is there a lease in the pool that can end? */
static bool can_change(const struct claiming *c)
{
	for (size_t i = 0; i < c->seen.count; i++)
		if (in_pool(c, &c->seen.items[i]) && is_taken(c->seen.items[i].state))
			return true;
	return !c->spoiled.count;
}

/* Replaces what the list saw of a slot whose lock we hold: there it looks held, by us. */
static void put_won(struct claiming *c, struct slot *won)
{
	for (size_t i = 0; won && i < c->seen.count; i++)
		if (same(c->seen.items[i].id, won->id)) {
			slot_close(&c->seen.items[i]);
			take_over(won, &c->seen.items[i]);
			return;
		}
}

static int choose_locked(struct claiming *c, struct slot *won, bool *wait, struct fail *fail)
{
	const char *branch_in;

	slots_release(&c->seen);
	if (slots_look(c->repo, NULL, false, &c->seen, fail) < 0)
		return fail->kind;
	put_won(c, won);
	if (check_key(c, fail) < 0 || c->out->again || check_branch(c, &branch_in, fail) < 0 ||
	    take_known(c, branch_in, fail) < 0 || chosen(c))
		return fail->kind;
	if (!c->wish->max || slots_in_pool(c) < c->wish->max)
		return give_birth(c, fail);
	*wait = can_change(c);
	return all_taken(c, fail);
}

/* What we only tried, and the one that was won for nothing. */
static void unlock_the_rest(struct claiming *c)
{
	for (size_t i = 0; i < c->seen.count; i++)
		if (c->seen.items[i].locked)
			slot_unlock(&c->seen.items[i]);
}

int pool_choose(struct claiming *c, struct slot *won, bool *wait, struct fail *fail)
{
	struct lock slots = LOCK_INIT;
	int dir = repo_state_dir(c->repo, "locks", fail);

	*wait = false;
	if (dir < 0)
		return dir;
	if (lock_take(&slots, dir, "slots", LOCK_EXCLUSIVE, clock_deadline(SLOTS_PATIENCE_MS), NULL,
		      &c->repo->modes, fail) == 0)
		choose_locked(c, won, wait, fail);
	unlock_the_rest(c);
	lock_drop(&slots);
	close(dir);
	return fail->kind;
}
