/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "snapshot.h"

#include "chain.h"
#include "clock.h"
#include "hash.h"
#include "history.h"
#include "quote.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SWAP_TRIES 1000 /* when nothing else ends it; mostly the deadline does */
#define CAPTURE_TRIES 3
#define SKIPPED_LISTED 100 /* paths named in the commit; the count is always exact */

/* One save under way. */
struct save {
	struct repo *repo;
	const struct snapshot_options *options;
	struct snapshot *out;
	struct odb odb;
	struct chain chain;
	struct capture capture;
	struct oid base, base_tree;
	struct oid index; /* the commit that keeps the staged tree; zero: none */
	struct lock objects;
	struct pack *pack;
	char *message;
	struct argv paths; /* from the top of the work tree, for Shadow-Path */
	bool stale;	   /* the tip has moved since the pack was filled */
	bool whole;	   /* everything was read, whether or not paths are named */
	int64_t patience;  /* ms of waiting that are left */
	int64_t deadline;
};

static int refuse_home(struct repo *repo, struct fail *fail)
{
	const char *home = getenv("HOME");
	char *real = home && *home ? realpath(home, NULL) : NULL;
	bool refused = !repo->conf.allow_home &&
		       (!strcmp(repo->work_tree, "/") || (real && !strcmp(repo->work_tree, real)));

	free(real);
	if (!refused)
		return 0;
	return fail_set(fail, FAIL_UNSUPPORTED,
			"'%s' is a home directory or '/': a checkpoint would hold all of it; set "
			"interlock.allowHome=true if that is what you want",
			repo->work_tree);
}

/*
 * Writers share this lock; only who drops objects takes it alone (pack.h). What
 * the pack leaves out because the tip has it is judged by the tip under the lock.
 */
static int lock_objects(struct save *s, struct fail *fail)
{
	int64_t deadline = clock_deadline(s->patience);
	bool moved;
	int dir;

	if (s->objects.fd >= 0)
		return 0;
	dir = repo_state_dir(s->repo, "locks", fail);
	if (dir < 0)
		return dir;
	lock_take(&s->objects, dir, "objects", LOCK_SHARED, deadline, &s->repo->waiting,
		  &s->repo->modes, fail);
	s->patience = clock_left(deadline);
	close(dir);
	if (fail->kind || chain_refresh(&s->chain, &moved, fail) < 0)
		return fail->kind;
	if (moved && s->capture.graft_count)
		return capture_rebase(&s->capture, &s->chain.last.tree, fail);
	return 0;
}

static int read_base(struct save *s, struct fail *fail)
{
	struct commit commit = {0};

	s->base_tree = *oid_empty_tree(s->repo->algo);
	if (repo_head_commit(s->repo, &s->base, fail) < 0 || oid_is_zero(&s->base))
		return fail->kind;
	if (commit_read(&s->odb, &s->base, &commit, fail) < 0)
		return fail_context(fail, "read the commit of HEAD");
	s->base_tree = commit.tree;
	commit_release(&commit);
	return 0;
}

static int default_message(struct save *s, struct fail *fail)
{
	char *branch = NULL;

	if (s->options->message && *s->options->message) {
		s->message = mem_strdup(s->options->message);
		return 0;
	}
	if (repo_head_branch(s->repo, &branch, fail) < 0)
		return fail->kind;
	if (branch && !strncmp(branch, "refs/heads/", 11))
		s->message = mem_printf("checkpoint on %s", branch + 11);
	else
		s->message = mem_strdup("checkpoint");
	free(branch);
	return 0;
}

/*
 * Only the named paths are read when everything else is known: there is a last
 * checkpoint and HEAD still names its base. A commit that another tool has put on it says
 * everything, too; what is read anew in its place may be older than what a peer saves meanwhile.
 */
static bool can_be_partial(const struct save *s)
{
	struct oid base;

	return s->options->path_count && chain_base(&s->chain, &base) && oid_equal(&base, &s->base);
}

static int look(struct save *s, struct fail *fail)
{
	struct capture_options options = {
		.paths = s->options->paths,
		.path_count = s->options->path_count,
		.head_tree = s->base_tree,
		.on_tree = s->chain.last.tree,
		.recall = s->chain.recall,
		.partial = can_be_partial(s),
		.native_only = s->options->native_only,
		.progress = s->options->progress,
		.progress_arg = s->options->progress_arg,
	};

	s->whole = !options.partial;
	return capture_run(s->repo, &options, &s->capture, fail);
}

/* ---- the commit that keeps the index ------------------------------------------------------ */

static int add_index_commit(struct save *s, struct fail *fail)
{
	struct bytes content = BYTES_INIT;
	size_t parents = oid_is_zero(&s->base) ? 0 : 1;
	int r;

	r = commit_format(s->repo, &s->capture.index_tree, &s->base, parents,
			  "index of a checkpoint\n", &content, fail);
	if (r == 0) {
		object_id(s->repo->algo, OBJECT_COMMIT, content.data, content.len, &s->index);
		r = pack_add(s->pack, &s->index, OBJECT_COMMIT, content.data, content.len, fail);
	}
	bytes_release(&content);
	return r;
}

/* A side commit of the last checkpoint as a tree: its id changes with the clock. */
static int side_tree(struct save *s, const struct oid *side, struct oid *tree, struct fail *fail)
{
	struct commit commit = {0};

	oid_zero(s->repo->algo, tree);
	if (oid_is_zero(side))
		return 0;
	if (commit_read(&s->odb, side, &commit, fail) < 0)
		return fail->kind;
	*tree = commit.tree;
	commit_release(&commit);
	return 0;
}

/* ---- unchanged? ------------------------------------------------------------------------------ */

static bool same_session(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/*
 * A session that saves what a peer has just saved still gets a checkpoint of its
 * own, once: N sessions x M saves are N x M checkpoints. So the checkpoints at
 * the tip that hold this very state are asked whether one is this session's.
 */
static int session_has_it(struct save *s, bool *has, struct fail *fail)
{
	struct checkpoint cp = CHECKPOINT_INIT;
	struct oid id = s->chain.tip;
	struct history history;

	history_init(&history, &s->odb);
	*has = !s->options->session || same_session(s->options->session, s->chain.last.session);
	while (!*has && fail->kind == 0) {
		checkpoint_release(&cp);
		if (checkpoint_read(&s->odb, &id, &cp, fail) < 0 ||
		    !oid_equal(&cp.tree, &s->chain.last.tree) ||
		    !oid_equal(&cp.base, &s->chain.last.base) ||
		    oid_is_zero(&cp.index) != oid_is_zero(&s->chain.last.index))
			break;
		*has = same_session(s->options->session, cp.session);
		if (history_before(&history, &cp, &id, fail) <= 0)
			break;
	}
	checkpoint_release(&cp);
	history_release(&history);
	return fail->kind;
}

static int is_unchanged(struct save *s, bool *unchanged, struct fail *fail)
{
	const struct checkpoint *last = &s->chain.last;
	const struct snapshot_extra *extra = s->options->extra;
	struct oid index_tree, extra_tree;

	*unchanged = false;
	if (s->options->allow_unchanged || oid_is_zero(&s->chain.tip) || s->chain.corrupt ||
	    !oid_equal(&s->capture.tree, &last->tree) || !oid_equal(&s->base, &last->base))
		return 0;
	if (side_tree(s, &last->index, &index_tree, fail) < 0 ||
	    side_tree(s, &last->operation, &extra_tree, fail) < 0)
		return fail->kind;
	if (!oid_equal(&index_tree, &s->capture.index_tree) ||
	    (extra ? !oid_equal(&extra_tree, &extra->tree) : !oid_is_zero(&extra_tree)))
		return 0;
	return session_has_it(s, unchanged, fail);
}

/* ---- packing ------------------------------------------------------------------------------------
 */

static int fill_pack(struct save *s, struct fail *fail)
{
	struct oid have[3];
	size_t n = 0;

	if (!s->pack && pack_begin(s->repo, &s->pack, fail) < 0)
		return fail->kind;
	have[n++] = s->chain.last.tree;
	have[n++] = s->base_tree;
	for (size_t i = 0; s->options->extra && i < s->options->extra->count; i++) {
		const struct snapshot_object *object = &s->options->extra->objects[i];

		if (pack_add(s->pack, &object->oid, object->type, object->content.data,
			     object->content.len, fail) < 0)
			return fail->kind;
	}
	if (capture_pack(&s->capture, &s->capture.tree, have, n, s->pack, fail) < 0 ||
	    oid_is_zero(&s->capture.index_tree))
		return fail->kind;
	if (capture_pack(&s->capture, &s->capture.index_tree, have, n, s->pack, fail) ==
	    FAIL_GONE) {
		/* An index that names blobs which are not there holds nothing that could be kept.
		 */
		fail_clear(fail);
		oid_zero(s->repo->algo, &s->capture.index_tree);
		return 0;
	}
	if (fail->kind)
		return fail->kind;
	return add_index_commit(s, fail);
}

static int is_wanted(struct save *s, struct fail *fail)
{
	const struct snapshot_options *options = s->options;
	int r = options->wanted
			? options->wanted(options->wanted_arg, &s->capture, &s->base_tree, fail)
			: 1;

	s->out->unwanted = r == 0;
	return r < 0 ? r : 0;
}

/* Looks, decides, packs; a file that changes in between is looked at again. */
static int look_and_pack(struct save *s, struct fail *fail)
{
	for (int tries = 0; tries < CAPTURE_TRIES; tries++) {
		if (look(s, fail) < 0 || is_wanted(s, fail) < 0 || s->out->unwanted ||
		    is_unchanged(s, &s->out->unchanged, fail) < 0 || s->out->unchanged ||
		    lock_objects(s, fail) < 0)
			return fail->kind;
		if (fill_pack(s, fail) != FAIL_NO)
			return fail->kind;
		if (tries + 1 < CAPTURE_TRIES) {
			fail_clear(fail);
			capture_release(&s->capture);
		}
	}
	fail->kind = FAIL_BUSY;
	return fail_context(fail, "the work tree keeps changing");
}

static void list_skipped(const struct save *s, struct argv *trailers)
{
	size_t n = s->capture.skipped_count;

	for (size_t i = 0; i < n && i < SKIPPED_LISTED; i++) {
		const struct capture_skip *skip = &s->capture.skipped[i];
		struct bytes path = BYTES_INIT;

		quote_c(skip->path, strlen(skip->path), &path);
		argv_pushf(trailers,
			   path.data[0] == '"' ? "Shadow-Skipped: %s %s"
					       : "Shadow-Skipped: \"%s\" %s",
			   path.data, skip->reason);
		bytes_release(&path);
	}
	if (n)
		argv_pushf(trailers, "Shadow-Skipped-Count: %zu", n);
}

/* ---- under the per-ref lock
 * ------------------------------------------------------------------------ */

/* A peer has moved the tip: what is built on it is built again. */
static int rebuild(struct save *s, struct fail *fail)
{
	if (s->capture.graft_count && capture_rebase(&s->capture, &s->chain.last.tree, fail) < 0)
		return fail->kind;
	return fill_pack(s, fail);
}

/*
 * Paths are named, and everything was read because the tip did not say enough. When a
 * peer's checkpoint says it by now, all that is not named is as it has it, newer than
 * what was read here: the named paths are looked at again, without the lock.
 */
static int narrow(struct save *s, struct ref_lock *lock, struct fail *fail)
{
	if (!s->options->path_count || !s->whole || chain_refresh(&s->chain, &s->stale, fail) < 0 ||
	    !can_be_partial(s))
		return fail->kind;
	ref_lock_drop(lock);
	s->stale = false;
	pack_free(s->pack);
	s->pack = NULL;
	oid_zero(s->repo->algo, &s->index);
	capture_release(&s->capture);
	if (look_and_pack(s, fail) < 0 || s->out->unchanged || s->out->unwanted ||
	    pack_prepare(s->pack, 1, fail) < 0)
		return fail->kind;
	return ref_lock_take(s->repo, s->chain.name, s->deadline, lock, fail);
}

static int append_once(struct save *s, const struct ref_lock *lock, const struct argv *skipped,
		       struct fail *fail)
{
	struct chain_entry entry = {
		.tree = s->capture.tree,
		.base = s->base,
		.index = s->index,
		.session = s->options->session,
		.message = s->message,
		.trailers = s->options->trailers,
		.paths = (const char *const *)s->paths.items,
		.path_count = s->paths.count,
		.skipped = skipped,
		.deadline = s->deadline,
	};
	bool moved;

	oid_zero(s->repo->algo, &entry.operation);
	if (s->options->extra)
		entry.operation = s->options->extra->commit;

	if (chain_refresh(&s->chain, &moved, fail) < 0)
		return fail->kind;
	if ((moved || s->stale || !s->pack) && rebuild(s, fail) < 0)
		return fail->kind;
	s->stale = false;
	entry.tree = s->capture.tree;
	s->out->attempts++;
	s->out->parent = s->chain.tip;
	return chain_append(&s->chain, lock, &entry, s->pack, &s->out->commit, fail);
}

static int append(struct save *s, struct fail *fail)
{
	struct backoff backoff = BACKOFF_INIT;
	struct ref_lock lock = REF_LOCK_INIT;
	struct argv skipped = ARGV_INIT;

	/* The scan's time does not count, but what waiting for "objects" took does. */
	s->deadline = clock_deadline(s->patience);
	if (s->options->stages.appending)
		s->options->stages.appending(s->options->stages.arg, s->patience);
	/* What can be done before the lock is done before it. */
	if (s->pack && pack_prepare(s->pack, 1, fail) < 0)
		goto done;
	s->out->mended = s->chain.corrupt;
	if (ref_lock_take(s->repo, s->chain.name, s->deadline, &lock, fail) < 0 ||
	    narrow(s, &lock, fail) < 0 || s->out->unchanged || s->out->unwanted)
		goto done;
	list_skipped(s, &skipped);
	while (append_once(s, &lock, &skipped, fail) == FAIL_NO) {
		/* Somebody outside was faster. The published pack stays; it costs nothing.
		 */
		if (s->out->attempts >= SWAP_TRIES || !backoff_wait(&backoff, s->deadline)) {
			fail->kind = FAIL_BUSY;
			fail_context(fail, "gave up after %u tries", s->out->attempts);
			break;
		}
		fail_clear(fail);
		pack_free(s->pack);
		s->pack = NULL;
	}
done:
	ref_lock_drop(&lock);
	argv_release(&skipped);
	return fail->kind;
}

/* ---- the room's front -------------------------------------------------------------------------
 */

/* A pathspec that is more than a path is recorded as it was given. */
static void name_paths(struct save *s)
{
	for (size_t i = 0; i < s->options->path_count; i++) {
		struct fail magic = FAIL_INIT;
		char *path;

		if (capture_literal_path(s->repo, s->options->paths[i], &path, &magic) == 0)
			argv_take(&s->paths, path);
		else
			argv_push(&s->paths, s->options->paths[i]);
	}
}

static int begin(struct save *s, struct fail *fail)
{
	const char *named = s->options->chain;

	s->patience = s->repo->conf.lock_timeout;
	odb_init(&s->odb, s->repo);
	oid_zero(s->repo->algo, &s->index);
	if (refuse_home(s->repo, fail) < 0 || default_message(s, fail) < 0)
		return fail->kind;
	if (named)
		s->out->chain = mem_strdup(named);
	else if (checkpoint_ref(s->repo, &s->out->chain, fail) < 0)
		return fail->kind;
	name_paths(s);
	if (chain_read(s->repo, &s->odb, s->out->chain, &s->chain, fail) < 0)
		return fail->kind;
	return read_base(s, fail);
}

static void report(struct save *s)
{
	struct snapshot *out = s->out;

	if (out->unchanged) {
		out->commit = s->chain.tip;
		out->parent = s->chain.last.number == 1 ? s->chain.last.previous
							: s->chain.last.first_parent;
	}
	out->tree = s->capture.tree;
	out->base = s->base;
	out->skipped = s->capture.skipped;
	out->skipped_count = s->capture.skipped_count;
	s->capture.skipped = NULL;
	s->capture.skipped_count = 0;
}

/* What is only for speed or tidiness: a failure of it is no failure of the save. */
static void tidy(struct save *s)
{
	struct fail ignored = FAIL_INIT;

	if (s->capture.cache)
		statcache_save(s->capture.cache, s->repo, &ignored);
	fail_clear(&ignored);
	if (!s->out->unchanged && !s->out->unwanted)
		pack_consolidate(s->repo, &ignored);
}

int snapshot_save(struct repo *repo, const struct snapshot_options *options, struct snapshot *out,
		  struct fail *fail)
{
	struct save s = {.repo = repo,
			 .options = options,
			 .out = out,
			 .chain = CHAIN_INIT,
			 .objects = LOCK_INIT};

	*out = (struct snapshot){0};
	s.capture.plumb = (struct plumb)PLUMB_INIT;
	if (begin(&s, fail) == 0 && look_and_pack(&s, fail) == 0 &&
	    (out->unchanged || out->unwanted || append(&s, fail) == 0)) {
		report(&s);
		lock_drop(&s.objects);
		if (options->stages.saved)
			options->stages.saved(options->stages.arg, out);
		tidy(&s);
	}
	pack_free(s.pack);
	lock_drop(&s.objects);
	if (s.capture.repo)
		capture_release(&s.capture);
	chain_release(&s.chain);
	odb_release(&s.odb);
	argv_release(&s.paths);
	free(s.message);
	return fail->kind;
}

void snapshot_release(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->skipped_count; i++)
		free(snapshot->skipped[i].path);
	free(snapshot->skipped);
	free(snapshot->chain);
	*snapshot = (struct snapshot){0};
}
