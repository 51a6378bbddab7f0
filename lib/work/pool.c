/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "pool.h"

#include "anylock.h"
#include "birth.h"
#include "clock.h"
#include "ledger.h"
#include "odb.h"
#include "poolchoose.h"
#include "poolrequest.h"
#include "proc.h"
#include "reap.h"
#include "ref.h"
#include "rev.h"
#include "slottree.h"
#include "spawn.h"
#include "tidy.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define RECONCILE_MS 2000

static void warn(const struct claiming *c, const char *text)
{
	if (c->wish->warn)
		c->wish->warn(c->wish->arg, text);
}

/* ---- what is wanted -------------------------------------------------------------------- */

static int peel_to_commit(struct repo *repo, const char *text, struct oid *oid, struct fail *fail)
{
	enum object_type type;
	struct odb odb;

	odb_init(&odb, repo);
	if (odb_type(&odb, oid, &type, fail) == FAIL_GONE) {
		fail_clear(fail);
		fail_set(fail, FAIL_FATAL, "base '%s' does not exist", text);
	} else if (fail->kind == 0 && type != OBJECT_COMMIT) {
		char *peel = mem_printf("%s^{commit}", text);

		rev_resolve(repo, peel, oid, fail);
		free(peel);
	}
	odb_release(&odb);
	return fail->kind;
}

static int find_branch(struct claiming *c, struct fail *fail)
{
	const char *given = c->wish->branch;

	if (!given)
		return 0;
	c->branch = mem_printf("refs/heads/%s", given);
	if (given[0] == '-' || !strcmp(given, "HEAD") || !refname_valid(c->branch))
		return fail_set(fail, FAIL_USAGE, "'%s' is not a valid branch name", given);
	return 0;
}

int pool_base(struct repo *repo, const char *given, const char *branch, struct oid *oid,
	      struct fail *fail)
{
	char *ref = branch ? mem_printf("refs/heads/%s", branch) : NULL;

	oid_zero(repo->algo, oid);
	if (given) {
		if (rev_resolve(repo, given, oid, fail) == 0)
			peel_to_commit(repo, given, oid, fail);
	} else if (ref && refname_valid(ref) && ref_read(repo, ref, oid, fail) == FAIL_GONE) {
		fail_clear(fail);
	}
	if (fail->kind == 0 && oid_is_zero(oid))
		repo_head_commit(repo, oid, fail);
	if (fail->kind == 0 && oid_is_zero(oid))
		fail_set(fail, FAIL_FATAL,
			 "HEAD has no commit yet; commit first, or name one with --base");
	free(ref);
	return fail->kind;
}

static void say_duration(int64_t ms, char *text, size_t size)
{
	if (ms == INT64_MAX)
		snprintf(text, size, "never");
	else if (ms % 1000)
		snprintf(text, size, "%" PRId64 "ms", ms);
	else
		snprintf(text, size, "%" PRId64 "s", ms / 1000);
}

int pool_patience(const struct gitconf *conf, int64_t given, const char *what, int64_t *ms,
		  struct fail *fail)
{
	const char *from = given >= 0 ? what : conf->claim_timeout_from;
	char asked[32], cap[32];

	*ms = given >= 0 ? given : conf->claim_timeout;
	if (conf->task_cap == INT64_MAX || *ms < conf->task_cap)
		return 0;
	if (from) {
		say_duration(*ms, asked, sizeof(asked));
		say_duration(conf->task_cap, cap, sizeof(cap));
		return fail_set(fail, FAIL_USAGE,
				"%s: %s is not below the %s that the caller may live "
				"(GIT_INTERLOCK_TASK_CAP)",
				from, asked, cap);
	}
	*ms = conf->task_cap - conf->task_cap / 10 - (conf->task_cap >= 2000 ? 1000 : 0);
	return 0;
}

static int check_new_branch(struct claiming *c, struct fail *fail)
{
	struct oid now;

	if (!c->branch || !c->wish->create)
		return 0;
	if (ref_read(c->repo, c->branch, &now, fail) == FAIL_GONE)
		fail_clear(fail);
	else if (fail->kind == 0)
		return fail_set(fail, FAIL_NO,
				"branch '%s' exists already; -B takes one that exists",
				c->wish->branch);
	return fail->kind;
}

static int find_dir(struct claiming *c, struct fail *fail)
{
	if (c->repo->conf.pool_dir)
		c->dir = mem_strdup(c->repo->conf.pool_dir);
	else
		birth_default_dir(c->repo, &c->dir, fail);
	return fail->kind;
}

/* ---- waiting ----------------------------------------------------------------------------- */

/*
 * Ends the wait: a lease that is released (its file goes), a time lease that has run out, or
 * the end of a process that keeps a slot whose lock is free. Descriptors, to be waited for
 * together with the slots' locks.
 */
struct bells {
	int *fd;
	size_t count, lent; /* the first `lent` are not closed */
};

static void add_bell(struct bells *bells, int fd)
{
	if (fd >= 0)
		bells->fd[bells->count++] = fd;
}

/*
 * A holder that is being killed lets go of its lock some time before it is gone, and what it
 * left inside dies after it: in between its slot is unknown, or occupied, and nobody's lock or
 * file will tell when that is over. False: it is over already.
 */
static bool add_blockers(const struct claiming *c, struct bells *bells)
{
	for (size_t i = 0; i < c->seen.count; i++) {
		const struct slot *slot = &c->seen.items[i];
		int fd;

		if (!slot->blocker.pid || !slot->birth.pool ||
		    strcmp(slot->birth.pool, c->wish->pool) != 0)
			continue;
		fd = pidfd_open(slot->blocker.pid, 0);
		/* Asked after it was opened: the descriptor is that process's, or useless. */
		if (procid_state(&slot->blocker) == PROC_ALIVE) {
			add_bell(bells, fd);
			continue;
		}
		if (fd >= 0)
			close(fd);
		if (procid_state(&slot->blocker) == PROC_GONE)
			return false;
	}
	return true;
}

static void close_bells(struct bells *bells)
{
	for (size_t i = bells->lent; i < bells->count; i++)
		close(bells->fd[i]);
	free(bells->fd);
}

/* The first moment at which a time lease of this pool runs out; INT64_MAX: none. */
static int64_t next_expiry(const struct claiming *c)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < c->seen.count; i++) {
		const struct slot_record *record = &c->seen.items[i].record;

		if (c->seen.items[i].state == STATE_LEASED && record->kind == LEASE_TIME &&
		    record->expires < next)
			next = record->expires;
	}
	return next;
}

static int timer_for(int64_t when, struct fail *fail)
{
	struct itimerspec at = {.it_value.tv_sec = (time_t)when, .it_value.tv_nsec = 1};
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) < 0) {
		fail_errno(fail, "start a timer");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* The slots whose lock somebody holds: those are worth waiting for. */
static size_t held_slots(const struct claiming *c, int *fds, size_t *which)
{
	size_t n = 0;

	for (size_t i = 0; i < c->seen.count; i++) {
		const struct slot *slot = &c->seen.items[i];

		if (slot->state == STATE_HELD && slot->admin >= 0 && slot->birth.pool &&
		    !strcmp(slot->birth.pool, c->wish->pool)) {
			fds[n] = slot->admin;
			which[n++] = i;
		}
	}
	return n;
}

/* Waits until something may have changed. `won` is then the slot whose lock we got, or empty. */
static int wait_for_change(struct claiming *c, int leases, struct slot *won, struct fail *fail)
{
	int *fds = mem_array(c->seen.count + 1, sizeof(*fds));
	size_t *which = mem_array(c->seen.count + 1, sizeof(*which));
	struct bells bells = {.fd = mem_array(c->seen.count + 2, sizeof(int))};
	int64_t expiry = next_expiry(c);
	struct anylock locks = {.fds = fds, .wake = bells.fd};
	size_t index;
	int timer = expiry == INT64_MAX ? -1 : timer_for(expiry, fail);

	if (fail->kind == 0) {
		add_bell(&bells, leases);
		bells.lent = bells.count;
		add_bell(&bells, timer);
	}
	if (fail->kind == 0 && add_blockers(c, &bells)) {
		locks.count = held_slots(c, fds, which);
		locks.wake_count = bells.count;
		if (anylock_wait(&locks, c->wish->deadline, &index, fail) == 0 &&
		    index < locks.count) {
			struct slot *slot = &c->seen.items[which[index]];

			*won = *slot;
			*slot = (struct slot){.admin = -1, .work = -1};
		}
	}
	close_bells(&bells);
	free(fds);
	free(which);
	/* It is ours, but what it is has to be read again under the lock. */
	if (won->admin >= 0 && slot_lock(won, 0, fail) == FAIL_GONE) {
		fail_clear(fail);
		slot_close(won);
	}
	return fail->kind;
}

static void drain(int fd)
{
	char buffer[4096];

	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
}

static int choose_or_wait(struct claiming *c, struct fail *fail)
{
	struct slot won = {.admin = -1, .work = -1};
	bool told = false;
	int leases = -1;

	while (pool_choose(c, &won, &c->can_wait, fail) == FAIL_BUSY && c->can_wait &&
	       clock_left(c->wish->deadline)) {
		char *whom = mem_strdup(fail->message);

		slot_close(&won);
		fail_clear(fail);
		if (leases < 0) {
			/* The first round is done again with the watch in place. */
			leases = pool_request_watch(c->repo, fail);
		} else {
			if (!told && c->wish->waiting)
				c->wish->waiting(c->wish->arg, whom);
			told = true;
			if (wait_for_change(c, leases, &won, fail) == FAIL_BUSY) {
				fail_clear(fail);
				fail_set(fail, FAIL_BUSY, "%s", whom);
			}
			drain(leases);
		}
		free(whom);
		if (fail->kind)
			break;
	}
	slot_close(&won);
	if (leases >= 0)
		close(leases);
	return fail->kind;
}

/* ---- making it ready -------------------------------------------------------------------- */

/*
 * A slot that was there: its settings, then its work, then its state. What is rescued
 * belongs to the lease before, and is named after it.
 */
static int make_ready(struct claiming *c, struct fail *fail)
{
	struct slot *slot = &c->out->slot;
	struct tidy_options tidy = {.base = &c->base, .all = c->wish->clean_all};

	if (slot_rescue(slot, slot->record.left_by, NULL, &c->out->rescued, fail) < 0)
		return fail->kind;
	tidy.found = &c->out->rescued;
	return slot_tidy(slot, &tidy, fail);
}

static int attach_branch(struct claiming *c, struct fail *fail)
{
	struct fail lookup = FAIL_INIT;
	struct oid now;
	bool create;

	if (!c->branch)
		return 0;
	create = ref_read(c->repo, c->branch, &now, &lookup) == FAIL_GONE;
	if (lookup.kind && !create) {
		*fail = lookup;
		return fail->kind;
	}
	if (!create && c->wish->create)
		return check_new_branch(c, fail);
	if (!create && !oid_equal(&now, &c->base))
		return fail_set(fail, FAIL_NO,
				"branch '%s' is not at the base; leave out --base to take it as it "
				"is, or move it first with git cas-ref",
				c->wish->branch);
	return birth_attach(&c->out->slot, c->branch, create, fail);
}

static bool has_post_checkout(const struct repo *repo)
{
	char *path;
	bool found;

	/* Where hooks come from elsewhere, git knows. */
	if (repo->conf.hooks_path || repo->conf.config_hooks.count)
		return true;
	path = mem_printf("%s/hooks/post-checkout", repo->common_dir);
	found = access(path, X_OK) == 0;
	free(path);
	return found;
}

/* As after `git worktree add`: in the new tree, from nothing to the base. Its failure is told. */
static void run_post_checkout(struct claiming *c)
{
	struct fail failed = FAIL_INIT;
	struct spawn cmd = SPAWN_INIT;
	struct bytes said = BYTES_INIT;
	char *zeros;

	if (!has_post_checkout(c->repo))
		return;
	zeros = mem_strdup(c->base_hex);
	memset(zeros, '0', strlen(zeros));
	repo_git_with_hooks(c->repo, &cmd);
	argv_push_all(&cmd.argv, "hook", "run", "--ignore-missing", "post-checkout", "--", zeros,
		      c->base_hex, "1", NULL);
	cmd.cwd = c->out->slot.path;
	if (spawn_capture_any(&cmd, &said, &failed) == 0 && cmd.status)
		fail_set(&failed, FAIL_FATAL, "the post-checkout hook ended with status %d",
			 cmd.status);
	if (c->wish->chatter) {
		bytes_add(c->wish->chatter, said.data, said.len);
		bytes_add(c->wish->chatter, cmd.err.data, cmd.err.len);
	}
	if (failed.kind)
		warn(c, failed.message);
	bytes_release(&said);
	spawn_release(&cmd);
	free(zeros);
}

static void finish_record(struct claiming *c, struct fail *fail)
{
	struct slot_record *record = &c->out->slot.record;
	struct bytes command = BYTES_INIT;

	record->phase = SLOT_LEASED;
	free(record->left_by);
	record->left_by = NULL;
	record->since = (int64_t)time(NULL);
	if (c->wish->kind == LEASE_TIME) {
		record->ttl = c->wish->ttl;
		record->expires =
			c->wish->ttl == INT64_MAX ? INT64_MAX : record->since + c->wish->ttl;
	} else if (c->wish->kind == LEASE_OWNER) {
		procid_of(c->wish->owner, &record->owner, fail);
		proc_command(c->wish->owner, &command);
		record->command = command.len ? bytes_take(&command) : NULL;
	}
}

static void log_claim(const struct claiming *c, const char *event, const char *reason)
{
	struct fail ignored = FAIL_INIT;
	const struct slot *slot = &c->out->slot;
	struct ledger_event line = {
		.event = event, .slot = slot->name, .lease = slot->record.lease, .reason = reason};

	ledger_append(c->repo, &line, LEDGER_WAIT, &ignored);
}

/* The claim comes to nothing: what was done is done back as far as it can be. */
static void give_back(struct claiming *c)
{
	struct fail ignored = FAIL_INIT;
	struct slot *slot = &c->out->slot;
	char *lease = slot->record.lease, *left_by;

	if (slot->admin < 0 || !slot->locked)
		return;
	if (c->newborn) {
		birth_remove(slot, &ignored);
		return;
	}
	/* Still as the lease before left it, or half way: the next claim heals it. */
	left_by = slot->record.left_by;
	slot->record.lease = slot->record.left_by = NULL;
	slot_record_release(&slot->record);
	slot->record = (struct slot_record){.phase = SLOT_FREE, .left_by = left_by};
	slot_write(slot, &ignored);
	slot_drop_lease_file(c->repo, lease);
	free(lease);
}

/*
 * What is in the slot can be neither saved nor cleaned. It stays as it is, also in whose name;
 * it is told of, and another one is looked for.
 */
static void put_aside(struct claiming *c, struct fail *fail)
{
	struct fail ignored = FAIL_INIT;
	struct slot *slot = &c->out->slot;
	char *lease = mem_strdup(slot->record.lease);

	warn(c, fail->message);
	log_claim(c, "claim-failed", fail->message);
	argv_push(&c->spoiled, slot->id);
	slot_record_release(&slot->record);
	slot->record = c->before;
	c->before = (struct slot_record){0};
	if (slot_write_back(slot, &ignored) == 0)
		slot_drop_lease_file(c->repo, lease);
	free(lease);
	slot_close(slot);
	salvage_release(&c->out->rescued);
	c->out->rescued = (struct salvage){0};
}

/* As reap would have: whoever takes a slot closes what its lease has begun. */
static void log_end_of_previous(const struct claiming *c)
{
	struct fail ignored = FAIL_INIT;
	char *reason = mem_printf("its slot was taken by lease %s", c->out->slot.record.lease);
	struct ledger_event line = {.event = "reap-done",
				    .slot = c->out->slot.name,
				    .lease = c->previous,
				    .ref = c->out->rescued.ref,
				    .reason = reason};

	ledger_append(c->repo, &line, LEDGER_WAIT, &ignored);
	free(reason);
}

/* A slot that is ready, or was populated a moment ago; or why there is none. */
static int choose_and_make_ready(struct claiming *c, struct fail *fail)
{
	struct fail spoiled = FAIL_INIT;

	while (choose_or_wait(c, fail) == 0 && !c->out->again && !c->newborn &&
	       make_ready(c, fail) < 0) {
		put_aside(c, fail);
		spoiled = *fail;
		fail_clear(fail);
	}
	/* A full pool in which nobody has a slot: why, is what stands in the way. */
	if (fail->kind == FAIL_BUSY && spoiled.kind && !c->can_wait)
		*fail = spoiled;
	return fail->kind;
}

static int complete(struct claiming *c, struct fail *fail)
{
	struct slot *slot = &c->out->slot;
	uint64_t copied;

	if ((c->newborn && birth_populate(slot, &c->base, fail) < 0) || attach_branch(c, fail) < 0)
		return fail->kind;
	if (tidy_include(slot, &copied, fail) < 0) {
		warn(c, fail->message);
		fail_clear(fail);
	}
	run_post_checkout(c);
	finish_record(c, fail);
	if (fail->kind || slot_write(slot, fail) < 0)
		return fail->kind;
	if (c->previous) {
		log_end_of_previous(c);
		slot_drop_lease_file(c->repo, c->previous);
	}
	log_claim(c, c->newborn ? "birth" : "claim",
		  c->out->rescued.ref ? c->out->rescued.ref : NULL);
	return 0;
}

/* What died is given back first, in two seconds; what fails there is told, and stops nobody. */
static void reconcile(struct claiming *c)
{
	struct fail ignored = FAIL_INIT;
	const struct reap_options options = {.deadline = clock_deadline(RECONCILE_MS)};
	struct lock lock = LOCK_INIT;
	struct reap reap = {0};
	int dir = repo_state_dir(c->repo, "locks", &ignored);

	/* One of several that start at once does it. */
	if (dir >= 0 && lock_take(&lock, dir, "reconcile", LOCK_EXCLUSIVE, 0, NULL, &c->repo->modes,
				  &ignored) == 0) {
		if (reap_run(c->repo, &options, &reap, &ignored) < 0)
			warn(c, ignored.message);
		for (size_t i = 0; i < reap.count; i++)
			if (reap.entries[i].result == REAP_FAILED)
				warn(c, reap.entries[i].reason);
		reap_release(&reap);
	}
	lock_drop(&lock);
	if (dir >= 0)
		close(dir);
}

int pool_claim(struct repo *repo, const struct pool_claim *wish, struct pool_claimed *out,
	       struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	struct claiming c = {.repo = repo,
			     .wish = wish,
			     .out = out,
			     .base = wish->base,
			     .base_hex = mem_strdup(oid_hex(&wish->base, hex))};

	*out = (struct pool_claimed){.slot = {.admin = -1, .work = -1}};
	if (find_branch(&c, fail) == 0 && check_new_branch(&c, fail) == 0 &&
	    find_dir(&c, fail) == 0) {
		reconcile(&c);
		if (choose_and_make_ready(&c, fail) == 0 && !out->again && complete(&c, fail) < 0) {
			log_claim(&c, "claim-failed", fail->message);
			give_back(&c);
		}
	}
	if (fail->kind == FAIL_BUSY)
		log_claim(&c, "deferred", fail->message);
	if (fail->kind == 0 && wish->kind == LEASE_TIME)
		slot_unlock(&out->slot);
	slots_release(&c.seen);
	free(c.base_hex);
	free(c.branch);
	free(c.dir);
	free(c.previous);
	slot_record_release(&c.before);
	argv_release(&c.spoiled);
	return fail->kind;
}

void pool_claimed_release(struct pool_claimed *claimed)
{
	slot_close(&claimed->slot);
	salvage_release(&claimed->rescued);
}
