/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "reap.h"

#include "birth.h"
#include "clock.h"
#include "intent.h"
#include "ledger.h"
#include "lock.h"
#include "slottree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

const char *reap_action_name(enum reap_action action)
{
	static const char *const names[] = {"none", "rescue-reset", "remove", "unregister",
					    "sweep"};

	return names[action];
}

const char *reap_result_name(enum reap_result result)
{
	static const char *const names[] = {"done", "planned", "skipped", "busy", "failed"};

	return names[result];
}

/* ---- deciding ----------------------------------------------------------------------- */

enum reap_action reap_decide(enum slot_state state, const struct reap_options *options,
			     bool many_vanished, const char **reason)
{
	*reason = NULL;
	switch (state) {
	case STATE_EXPIRED:
		*reason = "its time has run out and nobody is inside";
		break;
	case STATE_ORPHANED:
		*reason = "its owner is gone";
		break;
	case STATE_HALF_BORN:
		*reason = "its birth was interrupted";
		break;
	case STATE_DESYNCED:
		*reason = "its record and git disagree";
		break;
	case STATE_FREE:
		*reason = "nobody has it";
		return options->remove ? REAP_REMOVE : REAP_NONE;
	case STATE_VANISHED:
		*reason = "its directory is gone";
		if (options->prune && !many_vanished)
			return REAP_UNREGISTER;
		*reason = many_vanished
				  ? "too many directories are gone at once (an unmounted disk, "
				    "another mount namespace?); name it to unregister it"
				  : "its directory is gone; --prune unregisters it";
		return REAP_NONE;
	case STATE_HELD:
		*reason = "its lock is held";
		return REAP_NONE;
	case STATE_LEASED:
		*reason = "its time has not run out";
		return REAP_NONE;
	case STATE_OCCUPIED:
		*reason = "a live process is inside";
		return REAP_NONE;
	case STATE_FOREIGN:
		*reason = "it is not ours, or locked by hand";
		return REAP_NONE;
	case STATE_UNKNOWN:
		*reason = "it cannot be judged from here";
		return REAP_NONE;
	}
	return options->remove ? REAP_REMOVE : REAP_RESCUE_RESET;
}

/* What vanished because a removal of ours was killed half-way is no riddle. */
static enum reap_action decide(const struct slot *slot, const struct reap_options *options,
			       bool many, const char **reason)
{
	if (slot->state == STATE_VANISHED && birth_removal_began(slot)) {
		*reason = "its removal was interrupted";
		return REAP_UNREGISTER;
	}
	return reap_decide(slot->state, options, many, reason);
}

/* ---- the plan ------------------------------------------------------------------------- */

bool reap_is_many(size_t gone, size_t slots)
{
	return gone >= REAP_VANISHED_MANY && gone * 2 > slots;
}

static bool many_are_gone(const struct slots *slots)
{
	size_t gone = 0;

	for (size_t i = 0; i < slots->count; i++)
		gone += slots->items[i].state == STATE_VANISHED;
	return reap_is_many(gone, slots->count);
}

static char *reason_with_who(const char *reason, const struct slot *slot)
{
	struct bytes text = BYTES_INIT;
	size_t len;

	if (!reason || slot->state == STATE_FREE)
		return reason ? mem_strdup(reason) : NULL;
	bytes_addf(&text, "%s: ", reason);
	len = text.len;
	slot_describe_holder(slot, &text);
	if (text.len == len)
		bytes_truncate(&text, len - strlen(": "));
	return bytes_take(&text);
}

static void set_reason(struct reap_entry *entry, const char *reason)
{
	free(entry->reason);
	entry->reason = reason ? mem_strdup(reason) : NULL;
}

static void add_entry(struct reap *reap, struct slot *slot, const struct reap_options *options,
		      bool many)
{
	struct reap_entry *entry;
	const char *reason;

	MEM_GROW(reap->entries, reap->cap, reap->count + 1);
	entry = &reap->entries[reap->count++];
	*entry = (struct reap_entry){.slot = *slot, .result = REAP_PLANNED};
	entry->action = decide(slot, options, many, &reason);
	entry->reason = reason_with_who(reason, slot);
	if (entry->action == REAP_NONE)
		entry->result = REAP_SKIPPED;
	*slot = (struct slot){.admin = -1, .work = -1};
}

static int plan_named(struct repo *repo, const struct reap_options *options, struct reap *out,
		      struct fail *fail)
{
	for (size_t i = 0; i < options->only_count; i++) {
		struct slot slot = {.admin = -1, .work = -1};

		if (slot_find(repo, options->only[i], &slot, fail) < 0) {
			slot_close(&slot);
			return fail->kind;
		}
		add_entry(out, &slot, options, false);
	}
	return 0;
}

static int plan_all(struct repo *repo, const struct reap_options *options, struct reap *out,
		    struct fail *fail)
{
	struct slots slots = {0};
	bool many;

	if (slots_look(repo, options->pool, !options->pool, &slots, fail) == 0) {
		many = many_are_gone(&slots);
		for (size_t i = 0; i < slots.count; i++)
			add_entry(out, &slots.items[i], options, many);
	}
	slots_release(&slots);
	return fail->kind;
}

/* ---- acting ------------------------------------------------------------------------------ */

static int rescue_and_reset(struct reap_entry *entry, struct repo *repo, struct fail *fail)
{
	const struct pool_release release = {.clean_all = repo->conf.clean_all};
	struct pool_released released = {0};

	slot_give_back(&entry->slot, &release, &released, fail);
	if (released.rescue.ref)
		entry->rescue = mem_strdup(released.rescue.ref);
	pool_released_release(&released);
	return fail->kind;
}

static int rescue_and_remove(struct reap_entry *entry, struct fail *fail)
{
	struct salvage rescued = {0};
	char *lease = entry->slot.record.lease ? mem_strdup(entry->slot.record.lease) : NULL;

	if (slot_rescue(&entry->slot, slot_work_of(&entry->slot.record), NULL, &rescued, fail) ==
		    0 &&
	    birth_remove(&entry->slot, fail) == 0 && lease)
		slot_drop_lease_file(entry->slot.repo, lease);
	if (rescued.ref)
		entry->rescue = mem_strdup(rescued.ref);
	salvage_release(&rescued);
	free(lease);
	return fail->kind;
}

/* Its directory is gone, and with it whatever its lease was for. */
static int unregister(struct reap_entry *entry, struct fail *fail)
{
	char *lease = entry->slot.record.lease ? mem_strdup(entry->slot.record.lease) : NULL;

	if (birth_remove(&entry->slot, fail) == 0 && lease)
		slot_drop_lease_file(entry->slot.repo, lease);
	free(lease);
	return fail->kind;
}

static int act(struct reap_entry *entry, struct repo *repo, struct fail *fail)
{
	switch (entry->action) {
	case REAP_RESCUE_RESET:
		return rescue_and_reset(entry, repo, fail);
	case REAP_REMOVE:
		return rescue_and_remove(entry, fail);
	case REAP_UNREGISTER:
		return unregister(entry, fail);
	case REAP_NONE:
	case REAP_SWEEP:
		break;
	}
	return 0;
}

static void log_entry(const struct reap_entry *entry, struct repo *repo, const char *lease)
{
	struct fail ignored = FAIL_INIT;
	char *event = mem_printf("reap-%s", reap_result_name(entry->result));
	struct ledger_event line = {.event = event,
				    .slot = entry->slot.name,
				    .lease = lease,
				    .ref = entry->rescue,
				    .reason = entry->reason};

	ledger_append(repo, &line, LEDGER_WAIT, &ignored);
	free(event);
}

/* One slot: the lock is the election; what is true is looked at again under it. */
static void reap_one(struct reap_entry *entry, struct repo *repo,
		     const struct reap_options *options)
{
	struct fail fail = FAIL_INIT;
	const char *reason;
	enum reap_action now;
	char *lease;

	if (slot_lock(&entry->slot, 0, &fail) < 0) {
		entry->result = fail.kind == FAIL_BUSY	 ? REAP_BUSY
				: fail.kind == FAIL_GONE ? REAP_SKIPPED
							 : REAP_FAILED;
		set_reason(entry,
			   fail.kind == FAIL_GONE ? "somebody else removed it" : fail.message);
		return;
	}
	now = decide(&entry->slot, options, false, &reason);
	lease = entry->slot.record.lease ? mem_strdup(entry->slot.record.lease) : NULL;
	if (now != entry->action) {
		entry->result = REAP_SKIPPED;
		set_reason(entry, reason ? reason : "somebody else reaped it");
	} else if (act(entry, repo, &fail) < 0) {
		entry->result = fail.kind == FAIL_BUSY ? REAP_BUSY : REAP_FAILED;
		set_reason(entry, fail.message);
	} else {
		entry->result = REAP_DONE;
	}
	log_entry(entry, repo, lease);
	slot_unlock(&entry->slot);
	free(lease);
}

/* ---- debris ------------------------------------------------------------------------------- */

static bool is_named(const struct reap *reap, const char *lease)
{
	for (size_t i = 0; i < reap->count; i++) {
		const char *current = reap->entries[i].slot.record.lease;

		if (current && !strcmp(current, lease))
			return true;
	}
	return false;
}

/*
 * Is this what a slot that names no lease may be asked about later? A/locked of that slot
 * is gone, garbage, or a human's words for now: then this file is the record. Also one that
 * a newer version wrote: what it means is not guessed at.
 */
static bool is_record_of_last_resort(int dir, const char *name, const struct slots *slots)
{
	struct slot_record record = {0};
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	bool is = false;

	if (slot_id_valid(name) && file_read(dir, name, SLOT_TEXT_MAX, &text, &fail) == 0)
		slot_record_parse(text.data, text.len, &record, &fail);
	if (fail.kind == FAIL_UNSUPPORTED)
		is = true;
	for (size_t i = 0; !fail.kind && record.slot && i < slots->count && !is; i++)
		is = slots->items[i].facts.reason != REASON_OURS &&
		     !strcmp(slots->items[i].name, record.slot);
	slot_record_release(&record);
	bytes_release(&text);
	return is;
}

/*
 * The file of a lease that no slot names, and that no process keeps locked. A lease
 * that begins writes its file and then A/locked under the slot's lock and "slots": so
 * that is taken, too.
 */
static void sweep_leases(struct repo *repo, struct reap *reap, const struct slots *slots)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int dir = repo_state_dir(repo, "leases", &ignored);

	if (dir < 0 || file_each_name(dir, &names, &ignored) < 0)
		goto done;
	for (char *name = names.data; name < names.data + names.len; name += strlen(name) + 1) {
		char *lease = mem_dup(name, strcspn(name, "."));
		bool current = false;
		int fd;

		for (size_t i = 0; i < slots->count && !current; i++)
			current = slots->items[i].record.lease &&
				  !strcmp(slots->items[i].record.lease, lease);
		fd = current || is_named(reap, lease) || is_record_of_last_resort(dir, lease, slots)
			     ? -1
			     : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0) {
			if (flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(dir, name, 0) == 0)
				reap->swept++;
			close(fd);
		}
		free(lease);
	}
done:
	bytes_release(&names);
	if (dir >= 0)
		close(dir);
}

static void sweep(struct repo *repo, const struct reap_options *options, struct reap *reap)
{
	struct fail ignored = FAIL_INIT;
	struct slots slots = {0};
	struct lock lock = LOCK_INIT;
	size_t swept = 0;
	int dir = repo_state_dir(repo, "locks", &ignored);

	if (dir >= 0 && !options->dry_run &&
	    lock_take(&lock, dir, "slots", LOCK_EXCLUSIVE, 0, NULL, &repo->modes, &ignored) == 0 &&
	    slots_look(repo, NULL, false, &slots, &ignored) == 0)
		sweep_leases(repo, reap, &slots);
	lock_drop(&lock);
	if (dir >= 0)
		close(dir);
	slots_release(&slots);
	fail_clear(&ignored);
	if (!options->dry_run)
		intents_heal(repo, false);
	birth_sweep(repo, options->dry_run, &swept, &ignored);
	reap->swept += swept;
}

void reap_sweep(struct repo *repo, size_t *swept)
{
	const struct reap_options options = {.dry_run = false};
	struct reap reap = {0};

	sweep(repo, &options, &reap);
	*swept = reap.swept;
}

/* ---- the room's front ------------------------------------------------------------------------ */

int reap_run(struct repo *repo, const struct reap_options *options, struct reap *out,
	     struct fail *fail)
{
	*out = (struct reap){0};
	if (options->only_count ? plan_named(repo, options, out, fail) < 0
				: plan_all(repo, options, out, fail) < 0)
		return fail->kind;
	for (size_t i = 0; i < out->count && !options->dry_run; i++) {
		struct reap_entry *entry = &out->entries[i];

		if (entry->action == REAP_NONE || !clock_left(options->deadline))
			continue;
		reap_one(entry, repo, options);
		out->failed += entry->result == REAP_FAILED;
	}
	if (!options->only_count && clock_left(options->deadline))
		sweep(repo, options, out);
	return 0;
}

void reap_release(struct reap *reap)
{
	for (size_t i = 0; i < reap->count; i++) {
		slot_close(&reap->entries[i].slot);
		free(reap->entries[i].rescue);
		free(reap->entries[i].reason);
	}
	free(reap->entries);
	*reap = (struct reap){0};
}
