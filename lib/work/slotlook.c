/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Looking at a slot: from what is on disk, in the kernel and in /proc to facts.
 *
 * The cheap questions come first, and an answer that decides ends it: of a slot whose
 * lock is held nothing but its records is read, of a free one not the owner, and
 * /proc only when the state depends on who is inside. reap --dry-run asks this of a
 * thousand slots.
 */
#include "slotlook.h"

#include "clock.h"
#include "inside.h"
#include "lock.h"
#include "proc.h"
#include "quote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- small files ------------------------------------------------------------------ */

/* file_read() in four system calls, for a small file that is read in one go. */
static int read_small(int dir, const char *name, struct bytes *out, struct fail *fail)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool done = false;
	struct stat st;

	bytes_clear(out);
	bytes_reserve(out, 4096);
	if (fd >= 0) {
		done = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < 4096 &&
		       read(fd, out->data, 4096) == st.st_size;
		close(fd);
	}
	if (!done) /* or says why not */
		return file_read(dir, name, SLOT_TEXT_MAX, out, fail);
	out->len = (size_t)st.st_size;
	out->data[out->len] = '\0';
	return 0;
}

static void tell(struct slot *slot, const char *text)
{
	struct bytes line = BYTES_INIT;

	quote_line(text, strlen(text), &line);
	free(slot->who);
	slot->who = bytes_take(&line);
}

/* Ours, and something about it cannot be judged. */
static void cannot_judge(struct slot *slot, const char *why)
{
	slot->facts.birth = SLOT_UNJUDGED;
	tell(slot, why);
}

/* ---- the records -------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* A/interlock: what it was born as, and whether it stands where it was born. */
static void look_at_birth(struct slot *slot, struct bytes *text)
{
	struct fail fail = FAIL_INIT;
	char *id;

	slot->facts.birth = SLOT_NOT_OURS;
	if (read_small(slot->admin, "interlock", text, &fail) == FAIL_GONE)
		return;
	if (fail.kind || slot_birth_parse(text->data, text->len, &slot->birth, &fail) < 0) {
		slot_birth_release(&slot->birth);
		cannot_judge(slot, fail.message);
		return;
	}
	id = slot_id_of(slot->birth.pool, slot->birth.number);
	if (strcmp(id, slot->id) != 0) {
		slot_birth_release(&slot->birth);
		cannot_judge(slot, "its birth record is of another slot");
	} else {
		slot->facts.birth = SLOT_OURS;
		free(slot->name);
		free(slot->path);
		slot->name = slot_name_of(slot->birth.pool, slot->birth.number);
		slot->path = mem_strdup(slot->birth.path);
	}
	free(id);
}

/* A/locked, as it was read. The record of another slot is as broken as garbage. */
static void look_at_reason(struct slot *slot, struct bytes *text)
{
	struct fail fail = FAIL_INIT;
	int r = read_small(slot->admin, "locked", text, &fail);

	if (r == FAIL_GONE) {
		slot->facts.reason = REASON_NONE;
		return;
	}
	if (r < 0) {
		slot->facts.reason = REASON_BROKEN;
		cannot_judge(slot, fail.message);
		return;
	}
	r = slot_record_parse(text->data, text->len, &slot->record, &fail);
	if (r == 0 && slot->facts.birth == SLOT_OURS && strcmp(slot->record.slot, slot->name) != 0)
		r = FAIL_CORRUPT;
	slot->facts.reason = r == 0		     ? REASON_OURS
			     : r == FAIL_NO	     ? REASON_HUMAN
			     : r == FAIL_UNSUPPORTED ? REASON_NEWER
						     : REASON_BROKEN;
	if (r < 0)
		slot_record_release(&slot->record);
	if (r == FAIL_UNSUPPORTED)
		tell(slot, fail.message);
}

/* git's own pointer to the worktree: where one that is not ours lies. */
static void look_at_gitdir(struct slot *slot, struct bytes *text)
{
	struct fail ignored = FAIL_INIT;

	if (slot->path || read_small(slot->admin, "gitdir", text, &ignored) < 0)
		return;
	bytes_chomp(text);
	if (text->len > 5 && text->data[0] == '/' && !strcmp(text->data + text->len - 5, "/.git"))
		slot->path = mem_dup(text->data, text->len - 5);
}

/* ---- the worktree ---------------------------------------------------------------------- */

bool slot_born_as(const struct slot_birth *birth, const struct stat *st)
{
	struct procid here;

	if (!S_ISDIR(st->st_mode) || st->st_ino != birth->ino)
		return false;
	if (st->st_dev == birth->dev)
		return true;
	procid_here(&here);
	return birth->boot[0] && here.boot[0] && strcmp(birth->boot, here.boot) != 0;
}

/* Does W/.git lead to this admin directory? */
static bool leads_back(const struct slot *slot, int tree, struct bytes *text)
{
	struct fail ignored = FAIL_INIT;
	struct stat there, admin;

	if (read_small(tree, ".git", text, &ignored) < 0 || strncmp(text->data, "gitdir: ", 8) != 0)
		return false;
	bytes_chomp(text);
	return fstatat(tree, text->data + 8, &there, 0) == 0 && fstat(slot->admin, &admin) == 0 &&
	       there.st_dev == admin.st_dev && there.st_ino == admin.st_ino;
}

/*
 * It is not where it was born. git may know another place (git worktree move): then it
 * is not gone, and must not be unregistered.
 */
static bool was_moved(const struct slot *slot, struct bytes *text)
{
	struct fail ignored = FAIL_INIT;
	bool moved = false;
	int tree;

	if (read_small(slot->admin, "gitdir", text, &ignored) < 0)
		return false;
	bytes_chomp(text);
	if (text->len < 6 || strcmp(text->data + text->len - 5, "/.git") != 0)
		return false;
	bytes_truncate(text, text->len - 5);
	tree = openat(slot->admin, text->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree >= 0) {
		moved = leads_back(slot, tree, text);
		close(tree);
	}
	return moved;
}

static void look_at_tree(struct slot *slot, struct bytes *text)
{
	struct stat st;
	int tree = open(slot->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	slot->facts.tree = TREE_UNREADABLE;
	if (tree < 0 && errno == ENOENT) {
		slot->facts.tree = was_moved(slot, text) ? TREE_OTHER : TREE_GONE;
	} else if (tree < 0 && (errno == ENOTDIR || errno == ELOOP)) {
		slot->facts.tree = TREE_OTHER;
	} else if (tree >= 0 && fstat(tree, &st) == 0) {
		slot->facts.tree = slot_born_as(&slot->birth, &st) && leads_back(slot, tree, text)
					   ? TREE_OK
					   : TREE_OTHER;
	}
	if (slot->facts.tree == TREE_OTHER)
		tell(slot, "its directory is not the one in which it was born");
	if (slot->facts.tree == TREE_UNREADABLE)
		tell(slot, "its directory cannot be read");
	if (tree >= 0)
		close(tree);
}

/* ---- the lease's own file ---------------------------------------------------------------- */

/* The folder is only looked into here: it is made by who writes there. */
static int open_leases(const struct slot *slot)
{
	return openat(slot->repo->common_fd, "interlock/leases",
		      O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* Takes over what protects more. */
static void protect(struct slot_facts *facts, const struct slot_record *record, int64_t now)
{
	enum proc_state state = procid_state(&record->owner);

	if (record->kind == LEASE_TIME && record->expires > now)
		facts->time_left = true;
	if (record->kind == LEASE_TIME && record->phase == SLOT_LEASED)
		return;
	if (state == PROC_ALIVE)
		facts->owner = OWNER_ALIVE;
	else if (state == PROC_UNKNOWN && facts->owner != OWNER_ALIVE)
		facts->owner = OWNER_UNKNOWN;
	else if (facts->owner == OWNER_NONE)
		facts->owner = OWNER_GONE;
}

/*
 * A/locked, which is `reason`, names a lease: what does the lease's own file say? As a rule the
 * very same, letter by letter, and then there is nothing to understand.
 */
static void compare_lease_file(struct slot *slot, const struct bytes *reason, struct bytes *text)
{
	struct slot_record *mine = &slot->record, other = {0};
	struct fail fail = FAIL_INIT;
	int dir = open_leases(slot), r;

	if (dir < 0)
		return; /* the folder was deleted: A/locked is enough */
	r = read_small(dir, mine->lease, text, &fail);
	close(dir);
	if (r == FAIL_GONE ||
	    (r == 0 && text->len == reason->len && !memcmp(text->data, reason->data, text->len)))
		return;
	if (r == 0)
		r = slot_record_parse(text->data, text->len, &other, &fail);
	if (r == FAIL_UNSUPPORTED || r == FAIL_SYSTEM) {
		cannot_judge(slot, fail.message);
	} else if (r < 0) {
		slot->facts.disagree = true;
	} else {
		slot->facts.disagree = !same(mine->slot, other.slot) ||
				       !same(mine->lease, other.lease) ||
				       mine->kind != other.kind || mine->uid != other.uid;
		if (slot->facts.disagree)
			protect(&slot->facts, &other, (int64_t)time(NULL));
		else if (other.expires > mine->expires)
			mine->expires = other.expires; /* a renewal that was killed half-way */
	}
	slot_record_release(&other);
}

/* A/locked is gone or garbage: is there a lease that says it is of this slot? The last one. */
static void find_lease_file(struct slot *slot, struct bytes *text)
{
	struct bytes names = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	int dir = open_leases(slot);

	if (dir >= 0 && file_each_name(dir, &names, &fail) == 0)
		for (char *name = names.data; name < names.data + names.len;
		     name += strlen(name) + 1) {
			struct slot_record record = {0};

			fail_clear(&fail);
			if (slot_id_valid(name) && read_small(dir, name, text, &fail) == 0 &&
			    slot_record_parse(text->data, text->len, &record, &fail) == 0 &&
			    same(record.slot, slot->name) && same(record.lease, name) &&
			    (!slot->record.lease || strcmp(record.lease, slot->record.lease) > 0)) {
				slot_record_release(&slot->record);
				slot->record = record;
			} else {
				slot_record_release(&record);
			}
		}
	if (dir >= 0)
		close(dir);
	bytes_release(&names);
}

static void look_at_lease(struct slot *slot, const struct bytes *reason, struct bytes *text)
{
	if (slot->facts.reason == REASON_OURS && slot->record.lease)
		compare_lease_file(slot, reason, text);
	else if (slot->facts.reason == REASON_NONE || slot->facts.reason == REASON_BROKEN)
		find_lease_file(slot, text);
	slot->facts.phase = slot->record.phase;
	slot->facts.kind = slot->record.kind;
	if (slot->record.lease)
		protect(&slot->facts, &slot->record, (int64_t)time(NULL));
}

/* ---- who ----------------------------------------------------------------------------------- */

/* Whose lease it is, from the record: for messages. */
static void tell_lease(struct slot *slot)
{
	const struct slot_record *record = &slot->record;
	struct bytes text = BYTES_INIT;
	const char *doing;
	char when[32];

	if (!record->lease || slot->who)
		return;
	if (record->kind == LEASE_TIME && record->phase == SLOT_LEASED) {
		bytes_addf(&text, "uid %" PRId64, record->uid);
		if (record->expires != INT64_MAX) {
			clock_rfc3339(record->expires, when);
			bytes_addf(&text, " until %s", when);
		}
	} else if (record->owner.pid) {
		bytes_addf(&text, "pid %d", (int)record->owner.pid);
	}
	/* Who claims or releases it is not the command that it is claimed for. */
	doing = record->phase == SLOT_LEASED	  ? record->command
		: record->phase == SLOT_RELEASING ? "releasing it"
						  : "claiming it";
	if (doing)
		bytes_addf(&text, " (%s)", doing);
	tell(slot, text.data);
	bytes_release(&text);
}

void slot_describe_holder(const struct slot *slot, struct bytes *out)
{
	char when[32];

	if (slot->who)
		bytes_adds(out, slot->who);
	else if (slot->state == STATE_HELD && slot->admin >= 0)
		lock_describe_holder(slot->admin, out);
	/* In other states the words are about why it is so, not about who has it. */
	if ((slot->state == STATE_HELD || slot->state == STATE_LEASED) && slot->record.lease &&
	    slot->record.since) {
		clock_rfc3339(slot->record.since, when);
		bytes_addf(out, ", since %s", when);
	}
}

static bool was_before(const struct slot *slot, const struct inside_process *process,
		       struct procid *here)
{
	here->pid = process->pid;
	here->start = process->start;
	for (size_t i = 0; i < slot->record.before_count; i++)
		if (procid_same(&slot->record.before[i], here))
			return true;
	return false;
}

/* Whether everybody who could be inside under this lease can be seen from here at all. */
static bool can_see(const struct slot *slot)
{
	if (!slot->record.lease)
		return true;
	if (geteuid() != 0 && slot->record.uid != (int64_t)geteuid())
		return false;
	return procid_can_see(&slot->record.owner);
}

void slotlook_inside(struct slot *slot, const struct inside *inside, bool spare_ancestors)
{
	struct procid here;

	procid_here(&here);
	slot->facts.inside = INSIDE_NOBODY;
	for (size_t i = 0; i < inside->count; i++) {
		const struct inside_process *process = &inside->found[i];
		struct bytes text = BYTES_INIT;

		if (!process->within || (spare_ancestors && process->is_ancestor) ||
		    (!process->has_env && was_before(slot, process, &here)))
			continue;
		slot->facts.inside = INSIDE_SOMEBODY;
		slot->blocker = here;
		slot->blocker.pid = process->pid;
		slot->blocker.start = process->start;
		proc_describe(process->pid, &text);
		tell(slot, text.data);
		bytes_release(&text);
		return;
	}
	if (inside->hidden || inside->holder_unseen || !can_see(slot)) {
		slot->facts.inside = INSIDE_UNKNOWN;
		tell(slot, inside->holder_unseen
				   ? "its work lock is held by a process that cannot be seen"
				   : "not every process that may be inside can be seen from here");
	}
}

/* Whoever has the work lock descends from the one that took the lease. */
static uint64_t earliest_heir(const struct procid *owner)
{
	struct procid here;

	procid_here(&here);
	if (!owner->pid || !here.boot[0] || strcmp(owner->boot, here.boot) != 0 ||
	    owner->time_ns != here.time_ns)
		return 0;
	return owner->start;
}

void slotlook_question(struct slot *slot, struct inside_question *question)
{
	int dir;

	*question = (struct inside_question){.path = slot->path, .token = -1};
	if (!slot->record.lease)
		return;
	question->after = earliest_heir(&slot->record.owner);
	dir = open_leases(slot);
	if (dir >= 0) {
		char *name = mem_printf("%s.work", slot->record.lease);

		question->token = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		free(name);
		close(dir);
	}
	question->variable = mem_printf("GIT_INTERLOCK_LEASE=%s", slot->record.lease);
}

void slotlook_question_release(struct inside_question *question)
{
	if (question->token >= 0)
		close(question->token);
	free((char *)question->variable);
}

void slot_ask_inside(struct slot *slot, bool spare_ancestors)
{
	struct inside_question question;
	struct inside inside = {0};
	struct fail fail = FAIL_INIT;

	slotlook_question(slot, &question);
	if (inside_look(&question, 1, &inside, &fail) == 0) {
		slotlook_inside(slot, &inside, spare_ancestors);
	} else {
		slot->facts.inside = INSIDE_UNKNOWN;
		tell(slot, fail.message);
	}
	inside_release(&inside);
	slotlook_question_release(&question);
	slot->state = slot_judge(&slot->facts);
}

void slot_note_before(struct slot *slot)
{
	struct slot_record *record = &slot->record;

	free(record->before);
	record->before = mem_array(SLOT_BEFORE_MAX, sizeof(*record->before));
	record->before_count = inside_sitting(slot->path, record->before, SLOT_BEFORE_MAX);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void look_at_lock(struct slot *slot)
{
	struct fail fail = FAIL_INIT;

	slot->facts.lock = LOCK_FREE;
	if (slot->locked)
		return;
	switch (lock_probe_open(slot->admin, &fail)) {
	case 0:
		break;
	case FAIL_BUSY:
		slot->facts.lock = LOCK_HELD;
		break;
	default:
		slot->facts.lock = LOCK_UNJUDGED;
		tell(slot, fail.message);
	}
}

void slotlook_records(struct slot *slot)
{
	struct bytes text = BYTES_INIT, reason = BYTES_INIT;

	slot_birth_release(&slot->birth);
	slot_record_release(&slot->record);
	free(slot->who);
	slot->who = NULL;
	slot->blocker = (struct procid){0};
	memset(&slot->facts, 0, sizeof(slot->facts));
	slot->facts.inside = INSIDE_NOT_ASKED;
	look_at_birth(slot, &text);
	look_at_reason(slot, &reason);
	/* Without A/interlock, but with our words: it was ours, and lost it. */
	if (slot->facts.birth == SLOT_NOT_OURS && slot->facts.reason != REASON_NONE &&
	    slot->facts.reason != REASON_HUMAN)
		cannot_judge(slot, "its birth record is missing");
	look_at_gitdir(slot, &text);
	slot->facts.phase = slot->record.phase;
	slot->facts.kind = slot->record.kind;
	if (slot->facts.birth != SLOT_NOT_OURS) {
		look_at_lock(slot);
		if (slot->facts.birth == SLOT_OURS && slot->facts.lock == LOCK_FREE &&
		    slot->facts.reason != REASON_HUMAN) {
			look_at_tree(slot, &text);
			look_at_lease(slot, &reason, &text);
		}
	}
	tell_lease(slot);
	slot->state = slot_judge(&slot->facts);
	if (slot->state == STATE_UNKNOWN && slot->facts.owner == OWNER_ALIVE)
		slot->blocker = slot->record.owner;
	bytes_release(&text);
	bytes_release(&reason);
}

/* What stands where an admin directory should be. */
static int not_a_directory(struct slot *slot, struct fail *fail)
{
	char *name = mem_printf("worktrees/%s", slot->id);
	struct stat st;
	bool plain = fstatat(slot->repo->common_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		     !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode);

	free(name);
	if (plain) { /* git does not see it either */
		fail_clear(fail);
		return fail_set(fail, FAIL_GONE, "there is no worktree '%s'", slot->id);
	}
	cannot_judge(slot, fail->message);
	fail_clear(fail);
	slot->facts.lock = LOCK_UNJUDGED;
	slot->facts.inside = INSIDE_NOT_ASKED;
	slot->state = STATE_UNKNOWN;
	return 0;
}

int slotlook_open(struct repo *repo, int dir, const char *id, struct slot *out, struct fail *fail)
{
	memset(out, 0, sizeof(*out));
	out->repo = repo;
	out->work = -1;
	out->id = mem_strdup(id);
	out->name = mem_strdup(id);
	out->admin = dir < 0 ? worktree_open_admin(repo, id, fail) : file_open_dir(dir, id, fail);
	if (out->admin >= 0) {
		slotlook_records(out);
		return 0;
	}
	out->admin = -1;
	return fail->kind == FAIL_GONE ? FAIL_GONE : not_a_directory(out, fail);
}

int slot_look(struct repo *repo, const char *id, struct slot *out, struct fail *fail)
{
	if (slotlook_open(repo, -1, id, out, fail) < 0)
		return fail->kind;
	if (slot_needs_inside(&out->facts))
		slot_ask_inside(out, false);
	return 0;
}
