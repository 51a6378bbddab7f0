/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "salvage.h"

#include "aside.h"
#include "file.h"
#include "ignore.h"
#include "index.h"
#include "name.h"
#include "operation.h"
#include "quote.h"
#include "ref.h"
#include "snapshot.h"
#include "spawn.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMITS_COUNTED 1000
#define ASIDE_LISTED 100

/* One rescue under way. */
struct rescue {
	struct slot *slot;
	struct repo *repo;
	const char *lease, *doomed;
	struct salvage *out;
	struct odb odb;
	struct oid head, doomed_tip; /* zero: none */
	struct operation operation;
	bool populated;	  /* a submodule has something in it: no scan looks there */
	bool odd_entries; /* the index has unmerged or intent-to-add entries */
	struct ignore_set *noise_set;
	const struct ignore_dir *noise;
	bool loud;	      /* something differs that is no noise */
	struct argv trailers; /* of the checkpoint */
};

static int run(struct rescue *r, struct bytes *out, const struct bytes *input, struct fail *fail,
	       ...) __attribute__((sentinel));

static int run(struct rescue *r, struct bytes *out, const struct bytes *input, struct fail *fail,
	       ...)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes unread = BYTES_INIT;
	const char *arg;
	va_list ap;

	repo_git(r->repo, &cmd);
	va_start(ap, fail);
	while ((arg = va_arg(ap, const char *)))
		argv_push(&cmd.argv, arg);
	va_end(ap);
	if (input) {
		cmd.input = input->data;
		cmd.input_len = input->len;
	}
	spawn_capture(&cmd, out ? out : &unread, fail);
	spawn_release(&cmd);
	bytes_release(&unread);
	return fail->kind;
}

/* ---- HEAD ------------------------------------------------------------------------------ */

static bool is_commit(struct rescue *r, const struct oid *oid)
{
	struct fail ignored = FAIL_INIT;
	enum object_type type;

	return !oid_is_zero(oid) && odb_type(&r->odb, oid, &type, &ignored) == 0 &&
	       type == OBJECT_COMMIT;
}

static void base_of_record(struct rescue *r, struct oid *oid)
{
	const char *base = r->slot->record.base;

	if (!base || !oid_parse(r->repo->algo, base, strlen(base), oid))
		oid_zero(r->repo->algo, oid);
}

/*
 * A HEAD on a branch that somebody has deleted, or on nothing that exists: the commits
 * are still there, and HEAD's log or the record knows them.
 */
static int heal_head(struct rescue *r, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	struct fail read = FAIL_INIT;
	struct oid known;

	if (repo_head_commit(r->repo, &r->head, &read) == 0 && is_commit(r, &r->head))
		return 0;
	oid_zero(r->repo->algo, &r->head);
	if (!operation_last_head(r->slot->admin, r->repo->algo, &known) || !is_commit(r, &known))
		base_of_record(r, &known);
	if (!is_commit(r, &known)) {
		*fail = read;
		return fail->kind;
	}
	if (run(r, NULL, NULL, fail, "update-ref", "--no-deref", "-m", "interlock: heal HEAD",
		"HEAD", oid_hex(&known, hex), NULL) < 0)
		return fail->kind;
	r->head = known;
	return 0;
}

/* ---- the index ----------------------------------------------------------------------------- */

/* Moves the index to where it will be kept, and lets git write the one of HEAD. */
static int rebuild_index(struct rescue *r, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	struct fail ignored = FAIL_INIT;

	if (file_make_dirs(r->slot->admin, OPERATION_FOUND, &r->repo->modes, fail) < 0)
		return fail->kind;
	if (renameat(r->slot->admin, "index", r->slot->admin, OPERATION_FOUND "/index") < 0 &&
	    errno != ENOENT)
		return fail_errno(fail, "move the damaged index of '%s'", r->slot->name);
	if (oid_is_zero(&r->head))
		return 0;
	if (run(r, NULL, NULL, fail, "read-tree", oid_hex(&r->head, hex), NULL) < 0)
		return fail->kind;
	if (r->repo->sparse)
		run(r, NULL, NULL, &ignored, "sparse-checkout", "reapply", NULL);
	return 0;
}

/* Paths whose content git is told not to look at. */
struct flags {
	struct bytes assumed, skipped; /* NUL behind each */
};

static void add_path(struct bytes *list, const char *path)
{
	bytes_add(list, path, strlen(path) + 1);
}

static void take_flags(struct rescue *r, struct flags *flags, const char *path, bool assumed,
		       bool skipped)
{
	struct stat st;

	if (assumed)
		add_path(&flags->assumed, path);
	/* What the patterns leave out is not there; current directory is the slot's top. */
	if (skipped && (!r->repo->sparse || fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0))
		add_path(&flags->skipped, path);
}

/* An index that only git reads: "<tag> <path>"; lower case: assumed, S: skipped. */
static int list_flags_by_git(struct rescue *r, struct flags *flags, struct fail *fail)
{
	struct bytes out = BYTES_INIT;
	struct fail broken = FAIL_INIT;

	if (run(r, &out, NULL, &broken, "ls-files", "-v", "-z", NULL) < 0) {
		bytes_clear(&out);
		if (rebuild_index(r, fail) < 0 ||
		    run(r, &out, NULL, fail, "ls-files", "-v", "-z", NULL) < 0) {
			bytes_release(&out);
			return fail->kind;
		}
	}
	for (char *p = out.data; p < out.data + out.len; p += strlen(p) + 1) {
		char tag = *p;

		if (tag == 'M' || tag == 'm')
			r->operation.unmerged = true;
		take_flags(r, flags, p + 2, tag >= 'a' && tag <= 'z', tag == 'S' || tag == 's');
	}
	r->odd_entries = true; /* it cannot be told from here */
	bytes_release(&out);
	return 0;
}

/* Current directory is the slot's top. */
static bool is_populated(const char *submodule)
{
	char *dot_git = mem_printf("%s/.git", submodule);
	bool yes = faccessat(AT_FDCWD, dot_git, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	free(dot_git);
	return yes;
}

static void list_flags(struct rescue *r, const struct index *index, struct flags *flags)
{
	for (uint32_t i = 0; i < index->count; i++) {
		const struct index_entry *entry = &index->entries[i];

		if (entry->stage)
			r->operation.unmerged = true;
		if (entry->stage || entry->intent_to_add)
			r->odd_entries = true;
		if (tree_mode_is_gitlink(entry->mode) && !r->populated)
			r->populated = is_populated(entry->name);
		if (entry->assume_valid || entry->skip_worktree)
			take_flags(r, flags, entry->name, entry->assume_valid,
				   entry->skip_worktree);
	}
}

static bool head_has_files(struct rescue *r)
{
	struct commit commit = {0};
	struct fail ignored = FAIL_INIT;
	bool has = !oid_is_zero(&r->head) &&
		   commit_read(&r->odb, &r->head, &commit, &ignored) == 0 &&
		   !oid_equal(&commit.tree, oid_empty_tree(r->repo->algo));

	commit_release(&commit);
	return has;
}

static int look_at_index(struct rescue *r, struct flags *flags, struct fail *fail)
{
	struct fail open = FAIL_INIT;
	struct index index;
	int again = 1;

	while (fail->kind == 0) {
		int kind = index_open(&index, r->repo->index_path, r->repo->algo, &open);
		bool empty = kind == 0 && !index.count && head_has_files(r);

		if (kind == 0 && !empty)
			list_flags(r, &index, flags);
		index_close(&index);
		if (kind == FAIL_ENGINE)
			return list_flags_by_git(r, flags, fail);
		/* Nothing staged at all is as if it had been lost; it is kept as it was found. */
		if ((kind != FAIL_CORRUPT && !empty) || !again--)
			break;
		fail_clear(&open);
		rebuild_index(r, fail);
	}
	if (fail->kind == 0 && open.kind)
		*fail = open;
	return fail->kind;
}

/* git writes each new index in whole: a kill leaves the flags, or what they hid in sight. */
static int clear_flags(struct rescue *r, struct fail *fail)
{
	struct flags flags = {.assumed = BYTES_INIT, .skipped = BYTES_INIT};

	if (look_at_index(r, &flags, fail) == 0 && flags.assumed.len)
		run(r, NULL, &flags.assumed, fail, "update-index", "--no-assume-unchanged", "-z",
		    "--stdin", NULL);
	if (fail->kind == 0 && flags.skipped.len)
		run(r, NULL, &flags.skipped, fail, "update-index", "--no-skip-worktree", "-z",
		    "--stdin", NULL);
	bytes_release(&flags.assumed);
	bytes_release(&flags.skipped);
	return fail->kind;
}

/* ---- commits ----------------------------------------------------------------------------------
 */

static int read_doomed(struct rescue *r, struct fail *fail)
{
	oid_zero(r->repo->algo, &r->doomed_tip);
	if (r->doomed && ref_read(r->repo, r->doomed, &r->doomed_tip, fail) == FAIL_GONE)
		fail_clear(fail);
	return fail->kind;
}

/* How many commits only HEAD, or a branch that will be gone, leads to. */
static int count_commits(struct rescue *r, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1], *branch = NULL;
	bool head_counts, doomed_counts = !oid_is_zero(&r->doomed_tip);
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	struct oid base;

	base_of_record(r, &base);
	if (repo_head_branch(r->repo, &branch, fail) < 0)
		return fail->kind;
	head_counts = !oid_is_zero(&r->head) && !oid_equal(&r->head, &base) &&
		      (!branch || (r->doomed && !strcmp(branch, r->doomed)));
	doomed_counts = doomed_counts && !oid_equal(&r->doomed_tip, &base);
	free(branch);
	if (!head_counts && !doomed_counts)
		return 0;
	repo_git(r->repo, &cmd);
	argv_push_all(&cmd.argv, "rev-list", "--count", NULL);
	argv_pushf(&cmd.argv, "--max-count=%d", COMMITS_COUNTED);
	if (head_counts)
		argv_push(&cmd.argv, oid_hex(&r->head, hex));
	if (doomed_counts)
		argv_push(&cmd.argv, oid_hex(&r->doomed_tip, hex));
	argv_push(&cmd.argv, "--not");
	if (is_commit(r, &base))
		argv_push(&cmd.argv, oid_hex(&base, hex));
	if (r->doomed && !strncmp(r->doomed, "refs/heads/", 11))
		argv_pushf(&cmd.argv, "--exclude=%s", r->doomed + 11);
	argv_push_all(&cmd.argv, "--branches", "--tags", "--remotes", NULL);
	if (spawn_capture(&cmd, &out, fail) == 0)
		r->out->commits = strtoull(out.data, NULL, 10);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* ---- what differs -------------------------------------------------------------------------------
 */

static void open_noise(struct rescue *r)
{
	const struct argv *rules = &r->repo->conf.noise;
	struct bytes text = BYTES_INIT;

	if (!rules->count)
		return;
	for (size_t i = 0; i < rules->count; i++)
		bytes_addf(&text, "%s\n", rules->items[i]);
	r->noise_set = ignore_open_empty();
	r->noise = ignore_enter(r->noise_set, ignore_root(r->noise_set), "", text.data, text.len);
	bytes_release(&text);
}

/* By its own name or by that of a directory that it is in. */
static bool is_noise(const struct rescue *r, const char *path)
{
	if (!r->noise)
		return false;
	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/'))
		if (ignore_match(r->noise, path, (size_t)(p - path), true))
			return true;
	return ignore_match(r->noise, path, strlen(path), false);
}

static bool is_rules(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !strcmp(slash ? slash + 1 : path, ".gitignore");
}

static int take_difference(void *arg, const char *path, UNUSED uint32_t old_mode,
			   UNUSED const struct oid *old_oid, UNUSED uint32_t new_mode,
			   UNUSED const struct oid *new_oid, UNUSED struct fail *fail)
{
	struct rescue *r = arg;

	r->out->changed++;
	r->out->rules_differ = r->out->rules_differ || is_rules(path);
	if (!is_noise(r, path))
		r->loud = true;
	return 0;
}

/* The native scan knows what the index does not have. */
static void list_extras(struct rescue *r, const struct capture *c)
{
	const struct scan *scan = &c->scan;

	argv_release(&r->out->extras);
	r->out->listed = r->repo->engine == ENGINE_NATIVE;
	for (size_t i = 0; r->out->listed && i < scan->change_count; i++)
		if (scan->changes[i].mode &&
		    !index_find(&scan->index, scan->changes[i].path, strlen(scan->changes[i].path)))
			argv_push(&r->out->extras, scan->changes[i].path);
}

static bool is_special(const char *reason)
{
	return !strcmp(reason, "socket") || !strcmp(reason, "fifo") || !strcmp(reason, "device");
}

/* What the checkpoint will not hold. */
static int take_skipped(struct rescue *r, const struct capture *c, struct fail *fail)
{
	for (size_t i = 0; i < c->skipped_count && fail->kind == 0; i++) {
		const struct capture_skip *skip = &c->skipped[i];

		if (is_special(skip->reason))
			argv_push(&r->out->extras, skip->path);
		else if (!strcmp(skip->reason, "changing"))
			fail_set(fail, FAIL_BUSY, "'%s' keeps changing", skip->path);
		else
			aside_path(r->slot, r->lease, skip->path, NULL, fail);
	}
	return fail->kind;
}

/* Trailers for what lies aside, also from a run that was killed. */
static int name_aside(struct rescue *r, struct fail *fail)
{
	argv_release(&r->out->aside);
	argv_release(&r->trailers);
	if (aside_list(r->slot, r->lease, &r->out->aside, fail) < 0)
		return fail->kind;
	for (size_t i = 0; i < r->out->aside.count && i < ASIDE_LISTED; i++) {
		struct bytes quoted = BYTES_INIT;
		const char *place = r->out->aside.items[i];

		quote_c(place, strlen(place), &quoted);
		argv_pushf(&r->trailers, "Shadow-Aside: %s", quoted.data);
		bytes_release(&quoted);
	}
	return 0;
}

/* snapshot_options.wanted: nothing is written yet. */
static int judge(void *arg, struct capture *c, const struct oid *base_tree, struct fail *fail)
{
	struct rescue *r = arg;

	r->out->changed = 0;
	r->loud = !oid_is_zero(&c->index_tree);
	if (tree_diff(&c->odb, base_tree, &c->tree, take_difference, r, fail) < 0)
		return fail->kind;
	list_extras(r, c);
	if (take_skipped(r, c, fail) < 0 || name_aside(r, fail) < 0)
		return fail->kind;
	r->out->clean = r->out->listed && !c->scan.change_count && !c->skipped_count &&
			!r->odd_entries && !r->out->changed && oid_is_zero(&c->index_tree);
	r->out->needed = r->loud || r->out->commits || r->operation.any || r->operation.unmerged ||
			 r->out->aside.count;
	return r->out->needed;
}

/* ---- saving
 * --------------------------------------------------------------------------------------- */

static char *rescue_ref(const struct slot *slot, const char *lease)
{
	struct bytes name = BYTES_INIT;

	bytes_adds(&name, "refs/rescue/");
	name_encode(slot->name, &name);
	bytes_addc(&name, '/');
	name_encode(lease, &name);
	return bytes_take(&name);
}

static int save_once(struct rescue *r, const char *ref, bool native_only, struct fail *fail)
{
	char *message =
		mem_printf(r->operation.name ? "rescue of %s: unfinished %s" : "rescue of %s",
			   r->slot->name, r->operation.name);
	struct snapshot_options options = {
		.message = message,
		.chain = ref,
		.trailers = &r->trailers,
		.native_only = native_only,
		.extra = r->operation.extra.count ? &r->operation.extra : NULL,
		.wanted = judge,
		.wanted_arg = r,
	};
	struct snapshot saved;

	if (snapshot_save(r->repo, &options, &saved, fail) == 0 && !saved.unwanted) {
		r->out->ref = mem_strdup(ref);
		r->out->commit = saved.commit;
	}
	snapshot_release(&saved);
	free(message);
	return fail->kind;
}

/*
 * First natively: one scan, and in most slots that is all. Where that engine stops, there
 * may be repositories inside, and the git engine must not meet those: it would ask
 * git about them, by their own settings.
 */
static int save(struct rescue *r, struct fail *fail)
{
	struct gitconf kept = r->repo->conf;
	char *ref = rescue_ref(r->slot, r->lease);

	r->repo->conf.max_file_size = SALVAGE_PACKED_MAX;
	r->repo->conf.max_snapshot_bytes = INT64_MAX;
	r->repo->conf.allow_home = true;
	if (r->populated)
		aside_nested(r->slot, r->repo, r->lease, NULL, fail);
	if (fail->kind == 0 && save_once(r, ref, true, fail) == FAIL_ENGINE) {
		fail_clear(fail);
		if (r->populated || aside_nested(r->slot, r->repo, r->lease, NULL, fail) == 0)
			save_once(r, ref, false, fail);
	}
	r->repo->conf.max_file_size = kept.max_file_size;
	r->repo->conf.max_snapshot_bytes = kept.max_snapshot_bytes;
	r->repo->conf.allow_home = kept.allow_home;
	free(ref);
	return fail->kind;
}

static int keep_operation(struct rescue *r, struct fail *fail)
{
	bool branch_only = !oid_is_zero(&r->doomed_tip) && !oid_equal(&r->doomed_tip, &r->head) &&
			   r->out->commits;

	if (!r->operation.any && !r->operation.unmerged && !branch_only)
		return 0;
	return operation_keep(r->slot, r->repo, branch_only ? &r->doomed_tip : NULL, &r->operation,
			      fail);
}

int salvage_slot(struct slot *slot, struct repo *slot_repo, const char *lease, const char *doomed,
		 struct salvage *out, struct fail *fail)
{
	struct rescue r = {
		.slot = slot, .repo = slot_repo, .lease = lease, .doomed = doomed, .out = out};

	*out = (struct salvage){.lease = mem_strdup(lease)};
	odb_init(&r.odb, slot_repo);
	open_noise(&r);
	if (heal_head(&r, fail) == 0 && clear_flags(&r, fail) == 0) {
		/* Not before: what was damaged is kept with it. */
		bool unmerged = r.operation.unmerged;

		operation_look(slot, slot_repo, &r.operation, fail);
		r.operation.unmerged = unmerged;
	}
	if (fail->kind == 0 && read_doomed(&r, fail) == 0 && count_commits(&r, fail) == 0 &&
	    keep_operation(&r, fail) == 0)
		save(&r, fail);
	out->head = r.head;
	out->operation = r.operation.name;
	operation_release(&r.operation);
	ignore_free(r.noise_set);
	argv_release(&r.trailers);
	odb_release(&r.odb);
	if (fail->kind)
		fail_context(fail, "rescue '%s'", slot->name);
	return fail->kind;
}

void salvage_release(struct salvage *salvage)
{
	free(salvage->ref);
	free(salvage->lease);
	argv_release(&salvage->aside);
	argv_release(&salvage->extras);
	*salvage = (struct salvage){0};
}
