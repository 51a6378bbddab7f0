/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * doctor: lock files of git's that nobody holds any more, whoever they were.
 *
 * git holds a lock for as long as its file is there, so a killed git holds it for ever. Which ones
 * are ours is told by intents (intent.h), by a second name (install), or by the slot that they
 * stand in, when its own lock is free and nobody has leased it.
 */
#include "doctorparts.h"

#include "installparts.h"
#include "intent.h"
#include "lock.h"
#include "proc.h"
#include "tidy.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct hunt {
	struct doctor_view *view;
	struct intents intents;
	const struct slot *slot; /* the one that we are in; NULL: in none of ours */
};

/* ---- judging one ------------------------------------------------------------------------ */

static bool ends_in(const char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);

	return n > t && !strcmp(name + n - t, tail);
}

/* Is it the second name of a settings file that an install is about to put in place? */
static bool is_installs(const char *path, const struct stat *st)
{
	char *draft = mem_printf("%.*s.interlock", (int)(strlen(path) - strlen(".lock")), path);
	struct stat other;
	bool is = lstat(draft, &other) == 0 && other.st_dev == st->st_dev &&
		  other.st_ino == st->st_ino;

	free(draft);
	return is;
}

static bool somebody_installs(const struct repo *repo)
{
	int dir = doctor_open(repo, "interlock/locks");
	enum lock_state state;

	if (dir < 0)
		return false;
	state = lock_look(dir, "install");
	close(dir);
	return state == LOCK_HELD || state == LOCK_UNJUDGED;
}

/* Somebody has it open: git is at work. Only what takes very long is told. */
static void look_at_held(struct hunt *hunt, const char *below, const char *path, int64_t age)
{
	struct bytes who = BYTES_INIT;
	char *span = doctor_span(age);

	if (age >= DOCTOR_LONG) {
		proc_describe_opener(path, &who);
		doctor_add(hunt->view->doctor, ILL_LOCK_HELD, below, path,
			   mem_printf("by %s, for %s", who.data, span));
	}
	free(span);
	bytes_release(&who);
}

static void look_at_others(struct hunt *hunt, const char *below, const char *path, int64_t age)
{
	struct stat st;
	char *span;

	if (intent_is_open(path) || proc_find_opener(path)) {
		look_at_held(hunt, below, path, age);
		return;
	}
	/* It may have gone while we looked. */
	if (lstat(path, &st) < 0)
		return;
	span = doctor_span(age);
	if (hunt->slot && hunt->slot->state == STATE_FREE)
		doctor_add(hunt->view->doctor, ILL_SLOT_LOCK, below, path, span);
	else
		doctor_add(hunt->view->doctor, ILL_LOCK_LEFT, below, path, span);
}

/* A slot that is to be reaped is brought in order by that. */
static bool is_reaped(const struct slot *slot)
{
	return slot && (slot->state == STATE_ORPHANED || slot->state == STATE_EXPIRED ||
			slot->state == STATE_HALF_BORN || slot->state == STATE_DESYNCED);
}

static void look_at_lock(struct hunt *hunt, int dir, const char *name, const char *below)
{
	char *path;
	struct stat st;
	int64_t age;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    is_reaped(hunt->slot))
		return;
	path = doctor_path(hunt->view->repo, below);
	age = doctor_age(&st);
	hunt->view->doctor->locks++;
	switch (intents_ask(&hunt->intents, path, &st)) {
	case INTENT_DEAD:
		doctor_add(hunt->view->doctor, ILL_SWAP_LOCK, below, path, doctor_span(age));
		break;
	case INTENT_ALIVE:
		break;
	case INTENT_OTHERS:
		if (is_installs(path, &st)) {
			if (!somebody_installs(hunt->view->repo))
				doctor_add(hunt->view->doctor, ILL_INSTALL_LOCK, below, path,
					   doctor_span(age));
		} else if (age >= DOCTOR_YOUNG) {
			look_at_others(hunt, below, path, age);
		}
		break;
	}
	free(path);
}

/* ---- finding them ---------------------------------------------------------------------------- */

enum depth {
	HERE,
	BELOW
};

/* `below`: the folder's name in the common directory; "": that itself. */
static void hunt_in(struct hunt *hunt, int dir, const char *below, enum depth depth)
{
	int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = own < 0 ? NULL : fdopendir(own);
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		const char *name = entry->d_name;
		char *path = mem_printf("%s%s%s", below, *below ? "/" : "", name);

		/* The companion with the pid of a lock (core.lockfilePid) is none itself. */
		if (ends_in(name, ".lock") && !ends_in(name, "~pid.lock"))
			look_at_lock(hunt, dir, name, path);
		if (depth == BELOW && name[0] != '.' &&
		    (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)) {
			int sub =
				openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0) {
				hunt_in(hunt, sub, path, BELOW);
				close(sub);
			}
		}
		free(path);
	}
	if (stream)
		closedir(stream);
	else if (own >= 0)
		close(own);
}

static void hunt_below(struct hunt *hunt, const char *below, enum depth depth)
{
	int dir = *below ? doctor_open(hunt->view->repo, below) : dup(hunt->view->repo->common_fd);

	if (dir < 0)
		return;
	hunt_in(hunt, dir, below, depth);
	close(dir);
}

static void hunt_in_admin(struct hunt *hunt, const char *id)
{
	static const struct {
		const char *name;
		enum depth depth;
	} folders[] = {{"", HERE}, {"/refs", BELOW}, {"/logs", BELOW}, {"/reftable", HERE}};

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		char *below = mem_printf("worktrees/%s%s", id, folders[i].name);

		hunt_below(hunt, below, folders[i].depth);
		free(below);
	}
}

/* What clears the whole of it clears its locks, too. */
static bool is_to_be_cleared(const struct doctor *doctor, const char *id)
{
	for (size_t i = 0; i < doctor->count; i++)
		if (doctor->items[i].ill == ILL_GIT_HALF_BORN &&
		    !strcmp(doctor->items[i].subject, id))
			return true;
	return false;
}

int doctor_locks(struct doctor_view *view, struct fail *fail)
{
	static const struct {
		const char *name;
		enum depth depth;
	} folders[] = {
		{"", HERE},	   {"refs", BELOW},	   {"logs", BELOW}, {"reftable", HERE},
		{"objects", HERE}, {"objects/pack", HERE}, {"info", HERE},  {"objects/info", BELOW},
	};
	struct hunt hunt = {.view = view};

	if (intents_look(view->repo, &hunt.intents, fail) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
			hunt_below(&hunt, folders[i].name, folders[i].depth);
		for (size_t i = 0; i < view->slots.count; i++) {
			const struct slot *slot = &view->slots.items[i];

			hunt.slot = slot->facts.birth == SLOT_NOT_OURS ? NULL : slot;
			if (!is_to_be_cleared(view->doctor, slot->id))
				hunt_in_admin(&hunt, slot->id);
		}
	}
	intents_release(&hunt.intents);
	return fail->kind;
}

/* ---- curing ------------------------------------------------------------------------------------
 */

static int heal_install(struct doctor_view *view, const struct doctor_finding *finding,
			struct fail *fail)
{
	char *settings = mem_dup(finding->path, strlen(finding->path) - strlen(".lock"));
	struct lock lock = LOCK_INIT;
	int dir = repo_state_dir(view->repo, "locks", fail);

	if (dir >= 0 && lock_take(&lock, dir, "install", LOCK_EXCLUSIVE, 0, NULL,
				  &view->repo->modes, fail) == 0)
		install_conf_heal(settings, fail);
	lock_drop(&lock);
	if (dir >= 0)
		close(dir);
	free(settings);
	return fail->kind;
}

/* A free slot's: under its lock, with nobody inside. */
static int heal_slot(struct doctor_view *view, const struct doctor_finding *finding,
		     struct fail *fail)
{
	const char *id = finding->subject + strlen("worktrees/");
	char *name = mem_dup(id, strcspn(id, "/"));
	struct slot slot = {.admin = -1, .work = -1};

	if (slot_look(view->repo, name, &slot, fail) == 0 && slot_lock(&slot, 0, fail) == 0) {
		slot_ask_inside(&slot, false);
		if (slot.state != STATE_FREE)
			fail_set(fail, FAIL_BUSY, "somebody has it meanwhile");
		else if (slot.facts.inside != INSIDE_NOBODY)
			fail_set(fail, FAIL_BUSY, "%s may be at work inside",
				 slot.who ? slot.who : "somebody");
		else
			tidy_locks(&slot, fail);
	}
	slot_unlock(&slot);
	slot_close(&slot);
	free(name);
	return fail->kind;
}

int doctor_cure_lock(struct doctor_view *view, const struct doctor_finding *finding,
		     struct fail *fail)
{
	switch (finding->ill) {
	case ILL_INSTALL_LOCK:
		return heal_install(view, finding, fail);
	case ILL_SLOT_LOCK:
		return heal_slot(view, finding, fail);
	default:
		if (!view->healed)
			intents_heal(view->repo, true);
		view->healed = true;
		return 0;
	}
}
