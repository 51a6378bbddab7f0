/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * doctor: worktrees, ours and others'. What state a slot is in is slot_judge()'s answer, as
 * everywhere; here it is only told which of them are ills, and which have a cause that
 * the state does not say.
 */
#include "doctorparts.h"

#include "birth.h"
#include "inside.h"
#include "reap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- ours ------------------------------------------------------------------------------ */

/* "mv <there> <here>": whoever moved it has to move it back, or by its own name. */
static void add_renamed(struct doctor_view *view, const struct slot *slot, const char *path)
{
	struct doctor_finding *finding =
		doctor_add(view->doctor, ILL_SLOT_RENAMED, slot->name, path, NULL);
	char *there = doctor_shell(path), *here = doctor_shell(slot->birth.path);

	finding->cure = mem_printf("mv %s %s", there, here);
	free(there);
	free(here);
}

static bool has_its_name(const struct slot *slot, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && !strcmp(slash + 1, slot->id);
}

/* Its directory is not where it was born, or does not lead back. False: nothing is known of it. */
static bool is_moved(struct doctor_view *view, const struct slot *slot)
{
	char *path, *theirs, *admin;

	if (birth_find_moved(slot, view->options->places, &path, &theirs)) {
		if (has_its_name(slot, path))
			doctor_add(view->doctor, ILL_SLOT_MOVED, slot->name, path, NULL);
		else
			add_renamed(view, slot, path);
	} else if (theirs) {
		admin = mem_printf("%s/worktrees/%s", view->repo->common_dir, slot->id);
		doctor_add(view->doctor, ILL_SLOT_COPY, slot->name, admin, mem_strdup(theirs));
		free(admin);
	} else {
		return false;
	}
	free(path);
	free(theirs);
	return true;
}

/* A process owns it that lives, or is somewhere that we cannot see: that is no ill. */
static bool is_only_unseen(const struct slot *slot)
{
	const struct slot_facts *facts = &slot->facts;

	return facts->birth == SLOT_OURS && facts->reason == REASON_OURS &&
	       facts->lock == LOCK_FREE && facts->tree == TREE_OK;
}

static void look_at_unknown(struct doctor_view *view, const struct slot *slot)
{
	bool astray = slot->facts.tree == TREE_OTHER || slot->facts.tree == TREE_GONE;

	if (is_only_unseen(slot) || (astray && is_moved(view, slot)))
		return;
	doctor_add(view->doctor, ILL_SLOT_UNJUDGED, slot->name, slot->path,
		   mem_strdup(slot->who ? slot->who : "it cannot be judged from here"));
}

/* The lease whose file says that it is of this slot, the last one; NULL: none. */
static char *find_lease(const struct repo *repo, const char *slot_name)
{
	struct bytes names = BYTES_INIT, text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int dir = doctor_open(repo, "interlock/leases");
	char *found = NULL;

	if (dir >= 0)
		file_each_name(dir, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		struct slot_record record = {0};
		struct fail fail = FAIL_INIT;

		bytes_clear(&text);
		if (slot_id_valid(p) && file_read(dir, p, SLOT_TEXT_MAX, &text, &fail) == 0 &&
		    slot_record_parse(text.data, text.len, &record, &fail) == 0 && record.slot &&
		    !strcmp(record.slot, slot_name) && (!found || strcmp(p, found) > 0)) {
			free(found);
			found = mem_strdup(p);
		}
		slot_record_release(&record);
	}
	if (dir >= 0)
		close(dir);
	bytes_release(&names);
	bytes_release(&text);
	return found;
}

static bool lease_file_is_there(const struct repo *repo, const char *lease)
{
	char *name = mem_printf("interlock/leases/%s", lease);
	struct stat st;
	bool there = fstatat(repo->common_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;

	free(name);
	return there;
}

/* Has its lease's own file gone, and not the lease with it? Looked at once more: it may end now. */
static bool lost_its_file(const struct repo *repo, const struct slot *slot)
{
	struct slot again = {.admin = -1, .work = -1};
	struct fail ignored = FAIL_INIT;
	bool lost = false;

	/* A newborn's is written when its birth is done. */
	if (slot->record.phase == SLOT_BIRTH || lease_file_is_there(repo, slot->record.lease))
		return false;
	if (slot_look(slot->repo, slot->id, &again, &ignored) == 0)
		lost = again.facts.reason == REASON_OURS && again.record.lease &&
		       !strcmp(again.record.lease, slot->record.lease) &&
		       again.record.phase == slot->record.phase &&
		       !lease_file_is_there(repo, slot->record.lease);
	slot_close(&again);
	return lost;
}

/* Of a slot that somebody has: are both of its records there? */
static void look_at_records(struct doctor_view *view, const struct slot *slot)
{
	char *found;

	if (slot->facts.reason == REASON_NONE) {
		found = find_lease(view->repo, slot->name);
		if (found)
			doctor_add(view->doctor, ILL_SLOT_UNLOCKED, slot->name, slot->path, NULL);
		free(found);
	} else if (slot->facts.reason == REASON_OURS && slot->record.lease &&
		   lost_its_file(view->repo, slot)) {
		int folder = doctor_open(view->repo, "interlock");

		doctor_add(view->doctor, ILL_LEASE_RECORD, slot->name, slot->path,
			   folder < 0 ? mem_strdup("with the folder 'interlock'")
				      : mem_printf("interlock/leases/%s", slot->record.lease));
		if (folder >= 0)
			close(folder);
	}
}

static void look_at_slot(struct doctor_view *view, const struct slot *slot, struct argv *gone)
{
	struct doctor *doctor = view->doctor;

	switch (slot->state) {
	case STATE_HALF_BORN:
		doctor_add(doctor, ILL_HALF_BORN, slot->name, slot->path, NULL);
		break;
	case STATE_ORPHANED:
		doctor_add(doctor, ILL_ORPHANED, slot->name, slot->path, NULL);
		break;
	case STATE_DESYNCED:
		doctor_add(doctor, ILL_DESYNCED, slot->name, slot->path, NULL);
		break;
	case STATE_VANISHED:
		if (birth_removal_began(slot))
			doctor_add(doctor, ILL_REMOVAL, slot->name, slot->path, NULL);
		else if (!is_moved(view, slot))
			argv_push(gone, slot->name);
		break;
	case STATE_UNKNOWN:
		look_at_unknown(view, slot);
		break;
	case STATE_HELD:
	case STATE_LEASED:
		look_at_records(view, slot);
		break;
	case STATE_FREE:
	case STATE_EXPIRED:
	case STATE_OCCUPIED:
	case STATE_FOREIGN:
		break;
	}
}

/* ---- others' ------------------------------------------------------------------------------- */

static bool has(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What git needs there, and is not; NULL: all is. */
static const char *what_is_missing(int admin)
{
	static const char *const needed[] = {"gitdir", "HEAD", "commondir"};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!has(admin, needed[i]))
			return needed[i];
	return NULL;
}

/* The words with which git holds a worktree locked while it adds it. */
static bool is_being_added(int admin)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	bool is;

	is = file_read(admin, "locked", 4096, &text, &ignored) == 0 &&
	     (!strcmp(text.data, "initializing") || !strcmp(text.data, "initializing\n"));
	bytes_release(&text);
	return is;
}

static bool somebody_is_inside(const char *path)
{
	struct procid one;

	return path && inside_sitting(path, &one, 1) > 0;
}

/* Locked by a git that is dead, as far as can be seen. */
static void look_at_git_birth(struct doctor_view *view, const struct slot *slot, int admin)
{
	char *dir = doctor_path(view->repo, "worktrees"), *cure = NULL, *word, *dot_git = NULL;
	struct doctor_finding *finding;
	struct stat st, there;
	bool young = fstatat(admin, "locked", &st, 0) == 0 && doctor_age(&st) < DOCTOR_BIRTH;

	/* Its `git reset` works inside. */
	if (somebody_is_inside(slot->path))
		goto done;
	finding = doctor_add(
		view->doctor, ILL_GIT_HALF_BORN, slot->id, slot->path,
		mem_strdup(young ? ", or is at it (it began less than a minute ago)" : ""));
	if (young)
		finding->level = DOCTOR_NOTE;
	/* git removes what it can make sense of, or what is not there. */
	dot_git = slot->path ? mem_printf("%s/.git", slot->path) : NULL;
	if (!slot->path || what_is_missing(admin) ||
	    (lstat(slot->path, &there) == 0 && lstat(dot_git, &there) < 0)) {
		char *locked = mem_printf("%s/%s/locked", dir, slot->id);

		word = doctor_shell(locked);
		cure = mem_printf("rm %s; then git worktree prune", word);
		free(word);
		free(locked);
	}
	finding->cure = cure;
done:
	free(dot_git);
	free(dir);
}

/* Does W/.git lead to this admin directory? */
static bool leads_back(const char *path, int admin)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	struct stat there, here;
	int tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool leads = false;

	if (tree < 0)
		return false;
	if (file_read(tree, ".git", PATH_MAX, &text, &ignored) == 0 &&
	    !strncmp(text.data, "gitdir: ", 8)) {
		bytes_chomp(&text);
		leads = fstatat(tree, text.data + 8, &there, 0) == 0 && fstat(admin, &here) == 0 &&
			there.st_dev == here.st_dev && there.st_ino == here.st_ino;
	}
	bytes_release(&text);
	close(tree);
	return leads;
}

/* slot_look() knows where one is that is not ours only when its path is absolute. */
static const char *path_of(const struct worktrees *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].id && !strcmp(list->items[i].id, id))
			return list->items[i].path;
	return NULL;
}

static void look_at_foreign(struct doctor_view *view, struct slot *slot,
			    const struct worktrees *list, struct argv *gone)
{
	struct fail ignored = FAIL_INIT;
	int admin = slot->admin >= 0 ? dup(slot->admin)
				     : worktree_open_admin(view->repo, slot->id, &ignored);
	const char *path = path_of(list, slot->id), *missing;
	struct stat st;

	if (admin < 0)
		return;
	if (path) {
		free(slot->path);
		slot->path = mem_strdup(path);
	}
	missing = what_is_missing(admin);
	if (is_being_added(admin) || (missing && has(admin, "locked"))) {
		look_at_git_birth(view, slot, admin);
	} else if (missing) {
		/* A `git worktree add` has them a moment later. */
		if (fstat(admin, &st) == 0 && doctor_age(&st) >= DOCTOR_BIRTH)
			doctor_add(view->doctor, ILL_GIT_DAMAGED, slot->id, slot->path,
				   mem_strdup(missing));
	} else if (path && lstat(path, &st) < 0 && errno == ENOENT) {
		argv_push(gone, slot->id);
	} else if (path && lstat(path, &st) == 0 && !leads_back(path, admin)) {
		doctor_add(view->doctor, ILL_GIT_MOVED, slot->id, path, NULL);
	}
	close(admin);
}

/* ---- all ------------------------------------------------------------------------------------- */

static const char *where(const struct doctor_view *view, const char *name)
{
	for (size_t i = 0; i < view->slots.count; i++)
		if (!strcmp(view->slots.items[i].name, name))
			return view->slots.items[i].path;
	return NULL;
}

/* Many at once: nobody has deleted them one by one. */
static void tell_of_gone(struct doctor_view *view, const struct argv *ours,
			 const struct argv *others)
{
	struct doctor *doctor = view->doctor;
	size_t count = ours->count + others->count;

	if (reap_is_many(count, view->slots.count)) {
		char *what = mem_printf("%zu worktrees", count);

		doctor_add(doctor, ILL_VANISHED_MANY, what, NULL,
			   mem_printf("%zu of %zu worktrees", count, view->slots.count));
		free(what);
		return;
	}
	for (size_t i = 0; i < ours->count; i++)
		doctor_add(doctor, ILL_SLOT_VANISHED, ours->items[i], where(view, ours->items[i]),
			   NULL);
	for (size_t i = 0; i < others->count; i++)
		doctor_add(doctor, ILL_GIT_VANISHED, others->items[i],
			   where(view, others->items[i]), NULL);
}

int doctor_slots(struct doctor_view *view, struct fail *fail)
{
	struct argv ours = ARGV_INIT, others = ARGV_INIT;
	struct worktrees list = {0};

	if (slots_look(view->repo, NULL, true, &view->slots, fail) < 0 ||
	    (view->slots.count && worktrees_list(view->repo, &list, fail) < 0))
		goto done;
	for (size_t i = 0; i < view->slots.count; i++) {
		struct slot *slot = &view->slots.items[i];

		if (slot->facts.birth == SLOT_NOT_OURS) {
			view->doctor->worktrees++;
			look_at_foreign(view, slot, &list, &others);
		} else {
			view->doctor->slots++;
			look_at_slot(view, slot, &ours);
		}
	}
	tell_of_gone(view, &ours, &others);
done:
	worktrees_release(&list);
	argv_release(&ours);
	argv_release(&others);
	return fail->kind;
}

/* ---- curing ------------------------------------------------------------------------------------
 */

static int reap(struct doctor_view *view, const char *name, struct fail *fail)
{
	const char *const only[] = {name};
	const struct reap_options options = {.only = only, .only_count = 1, .deadline = INT64_MAX};
	struct reap done = {0};

	if (reap_run(view->repo, &options, &done, fail) == 0 && done.count &&
	    done.entries[0].result != REAP_DONE && done.entries[0].reason)
		fail_set(fail, FAIL_NO, "%s", done.entries[0].reason);
	reap_release(&done);
	return fail->kind;
}

static int settle(struct doctor_view *view, struct slot *slot, struct fail *fail)
{
	char *path = NULL, *theirs = NULL;

	if (birth_find_moved(slot, view->options->places, &path, &theirs))
		birth_settle(slot, path, fail);
	else
		fail_set(fail, FAIL_GONE, "it is not there any more");
	free(path);
	free(theirs);
	return fail->kind;
}

/*
 * Writes A/locked again from the lease's own file. Its holder may be at work and write it
 * itself: so it appears only if nothing is there, by a rename that does not replace.
 */
static int lock_again(struct doctor_view *view, const struct slot *slot, struct fail *fail)
{
	char *lease = find_lease(view->repo, slot->name);
	struct bytes text = BYTES_INIT, draft = BYTES_INIT;
	int dir = doctor_open(view->repo, "interlock/leases");

	file_nonce_name("locked.tmp-", &draft);
	if (!lease || dir < 0)
		fail_set(fail, FAIL_GONE, "its lease has ended meanwhile");
	else if (file_read(dir, lease, SLOT_TEXT_MAX, &text, fail) == 0 &&
		 file_replace(slot->admin, draft.data, text.data, text.len, &view->repo->modes,
			      view->repo->conf.durable, fail) == 0 &&
		 renameat2(slot->admin, draft.data, slot->admin, "locked", RENAME_NOREPLACE) < 0) {
		if (errno != EEXIST)
			fail_errno(fail, "write 'locked' of slot '%s'", slot->name);
		unlinkat(slot->admin, draft.data, 0);
	}
	if (dir >= 0)
		close(dir);
	bytes_release(&text);
	bytes_release(&draft);
	free(lease);
	return fail->kind;
}

int doctor_cure_slot(struct doctor_view *view, const struct doctor_finding *finding,
		     struct fail *fail)
{
	struct slot slot = {.admin = -1, .work = -1};

	if (finding->ill != ILL_SLOT_MOVED && finding->ill != ILL_SLOT_UNLOCKED)
		return reap(view, finding->subject, fail);
	if (slot_find(view->repo, finding->subject, &slot, fail) == 0) {
		if (finding->ill == ILL_SLOT_UNLOCKED)
			lock_again(view, &slot, fail);
		else if (slot_lock(&slot, 0, fail) == 0)
			settle(view, &slot, fail);
	}
	slot_unlock(&slot);
	slot_close(&slot);
	return fail->kind;
}
