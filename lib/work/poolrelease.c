/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * The end of a lease. Crash story:
 *   1. a watcher or --hold has the slot's lock: "<lease>.release" appears in
 *      interlock/leases, which it watches: it lets go and ends
 *				-> killed: a request that nobody reads; swept by reap
 *   2. the slot's lock is taken, the lease compared once more
 *   3. record: releasing	-> killed: its owner is this process and gone: orphaned,
 *				   rescued and cleaned by the next claim or reap
 *   4. slot_rescue(), slot_tidy(), the branch deleted if that was asked for
 *   5. record: free		-> killed: free; a lease file more, swept by reap
 *   6. the lease's file goes (which wakes who waits for a slot), the lock is dropped
 */
#include "pool.h"

#include "clock.h"
#include "ledger.h"
#include "odb.h"
#include "poolrequest.h"
#include "ref.h"
#include "slottree.h"
#include "spawn.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- may it be released ------------------------------------------------------------- */

static int not_current(const struct slot *slot, const char *lease, struct fail *fail)
{
	return fail_set(fail, FAIL_NO, "lease %s is no longer current: slot '%s' is %s%s%s", lease,
			slot->name, slot_state_name(slot->state),
			slot->record.lease ? " under lease " : "",
			slot->record.lease ? slot->record.lease : "");
}

/* The lease id that was given decides; without one, whose it is. */
static int check_caller(const struct slot *slot, const char *lease, struct fail *fail)
{
	const struct slot_record *record = &slot->record;
	struct bytes who = BYTES_INIT;

	if (slot->state == STATE_FOREIGN)
		return fail_set(fail, FAIL_NO, "'%s' is no slot of a pool",
				slot->path ? slot->path : slot->name);
	if (slot->facts.birth == SLOT_UNJUDGED || slot->facts.reason == REASON_NEWER)
		return fail_set(fail, FAIL_NO, "slot '%s' cannot be judged from here: %s",
				slot->name, slot->who ? slot->who : "its records cannot be read");
	if (lease)
		return record->lease && !strcmp(record->lease, lease)
			       ? 0
			       : not_current(slot, lease, fail);
	if (!record->lease || record->phase == SLOT_FREE)
		return fail_set(fail, FAIL_NO, "slot '%s' is not leased", slot->name);
	if (slot_is_callers(slot))
		return 0;
	slot_describe_holder(slot, &who);
	fail_set(fail, FAIL_NO,
		 "slot '%s' is not yours: it is %s%s%s; its holder can release it, or "
		 "whoever knows the lease id (--lease)",
		 slot->name, slot_state_name(slot->state), who.len ? " by " : "",
		 who.len ? who.data : "");
	bytes_release(&who);
	return fail->kind;
}

/* Live work of the lease inside, the caller and its ancestors apart. */
static int check_nobody_inside(struct slot *slot, struct fail *fail)
{
	slot_ask_inside(slot, true);
	if (slot->facts.inside != INSIDE_SOMEBODY)
		return 0;
	return fail_set(fail, FAIL_BUSY, "slot '%s' has a live process inside: %s; end it first",
			slot->name, slot->who);
}

/* Takes the lock from a watcher that lets go on request; anybody else keeps it. */
static int take_lock(struct slot *slot, struct fail *fail)
{
	int64_t deadline = clock_deadline(slot->repo->conf.lock_timeout);
	enum lease_kind kind = slot->record.kind;
	char *lease = mem_strdup(slot->record.lease);
	struct bytes who = BYTES_INIT;
	bool asked = false;

	slot_describe_holder(slot, &who);
	if (slot->state == STATE_HELD && slot->record.phase == SLOT_LEASED && kind == LEASE_COMMAND)
		fail_set(fail, FAIL_BUSY,
			 "slot '%s' is released when its command ends; it is held by %s",
			 slot->name, who.data);
	else if (slot->state == STATE_HELD && (kind == LEASE_OWNER || kind == LEASE_HOLD))
		/* One that has let go for nothing does not come back. */
		asked = check_nobody_inside(slot, fail) == 0 &&
			pool_request_release(slot->repo, lease, fail) == 0;
	if (fail->kind == 0)
		slot_lock(slot, deadline, fail);
	if (asked)
		pool_request_drop(slot->repo, lease);
	bytes_release(&who);
	free(lease);
	return fail->kind;
}

/* ---- the release --------------------------------------------------------------------------- */

static void log_release(struct slot *slot, const char *lease, const struct pool_released *out,
			const struct fail *fail)
{
	struct fail ignored = FAIL_INIT;
	struct ledger_event line = {.event = fail->kind ? "release-failed" : "release",
				    .slot = slot->name,
				    .lease = lease,
				    .ref = out->rescue.ref,
				    .reason = fail->kind ? fail->message : NULL};

	ledger_append(slot->repo, &line, LEDGER_WAIT, &ignored);
}

int pool_release(struct slot *slot, const struct pool_release *release, struct pool_released *out,
		 struct fail *fail)
{
	char *lease = NULL;

	*out = (struct pool_released){0};
	if (check_caller(slot, release->lease, fail) < 0)
		return fail->kind;
	lease = mem_strdup(slot->record.lease);
	if ((release->supervised || take_lock(slot, fail) == 0) &&
	    /* Under the lock, once more: it may have ended, and begun for somebody else. */
	    (release->supervised || check_caller(slot, lease, fail) == 0) &&
	    check_nobody_inside(slot, fail) == 0)
		slot_give_back(slot, release, out, fail);
	log_release(slot, lease, out, fail);
	slot_unlock(slot);
	free(lease);
	return fail->kind;
}

/* ---- renewal -------------------------------------------------------------------------------- */

static int renew_locked(struct slot *slot, int64_t ttl, struct fail *fail)
{
	int64_t now = (int64_t)time(NULL);

	if (ttl)
		slot->record.ttl = ttl;
	slot->record.expires = slot->record.ttl == INT64_MAX ? INT64_MAX : now + slot->record.ttl;
	return slot_write(slot, fail);
}

int pool_renew(struct slot *slot, const char *lease, int64_t ttl, struct fail *fail)
{
	int64_t deadline = clock_deadline(slot->repo->conf.lock_timeout);
	char *current = NULL;

	if (check_caller(slot, lease, fail) < 0)
		return fail->kind;
	if (slot->record.kind != LEASE_TIME)
		return fail_set(fail, FAIL_NO,
				"the lease of slot '%s' is bound to a process and needs no renewal",
				slot->name);
	current = mem_strdup(slot->record.lease);
	if (slot_lock(slot, deadline, fail) == 0 && check_caller(slot, current, fail) == 0)
		renew_locked(slot, ttl, fail);
	slot_unlock(slot);
	free(current);
	return fail->kind;
}

/* A tenth of its time has to be gone, so that a loop of saves does not write each time. */
static bool is_worth_renewing(const struct slot_record *record)
{
	int64_t left = record->expires - (int64_t)time(NULL);

	return record->kind == LEASE_TIME && record->phase == SLOT_LEASED &&
	       record->expires != INT64_MAX && left < record->ttl - record->ttl / 10;
}

void pool_touch(struct repo *repo)
{
	struct fail ignored = FAIL_INIT;
	struct slot slot = {.admin = -1, .work = -1};

	if (!repo->worktree_id)
		return;
	if (slot_look(repo, repo->worktree_id, &slot, &ignored) == 0 &&
	    is_worth_renewing(&slot.record) && slot_is_callers(&slot)) {
		char *lease = mem_strdup(slot.record.lease);

		/* Whoever has the lock now is about to change it: nothing to wait for. */
		if (slot_lock(&slot, 0, &ignored) == 0 &&
		    check_caller(&slot, lease, &ignored) == 0 && is_worth_renewing(&slot.record))
			renew_locked(&slot, 0, &ignored);
		free(lease);
	}
	slot_close(&slot);
}
