/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "expire.h"

#include "checkpoint.h"
#include "clock.h"
#include "oidset.h"
#include "pack.h"
#include "packdir.h"
#include "packidx.h"
#include "ref.h"
#include "spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * A git that has just found an object in one of our packs, and has not made it
 * reachable yet, gets this long; packs used later are left for the next expire.
 */
#define GRACE_SECONDS 3600

#define PENDING "expire-pending"
#define STATE_FILE_MAX ((size_t)4 << 20)

/* ---- the plan ------------------------------------------------------------------------------ */

static int add_pin(void *arg, const char *name, const struct oid *oid, UNUSED struct fail *fail)
{
	struct expire_plan *plan = arg;

	MEM_GROW(plan->items, plan->cap, plan->count + 1);
	plan->items[plan->count++] = (struct expire_item){.pin = mem_strdup(name), .tip = *oid};
	return 0;
}

static size_t chain_part(const char *pin)
{
	return (size_t)(strrchr(pin, '/') - pin);
}

static bool same_chain(const char *a, const char *b)
{
	return chain_part(a) == chain_part(b) && !strncmp(a, b, chain_part(a));
}

/* How many checkpoints the chain's present segment has; 0 when the chain is gone. */
static int present_count(struct odb *odb, const char *pin, int64_t *count, struct fail *fail)
{
	struct checkpoint cp = CHECKPOINT_INIT;
	struct fail miss = FAIL_INIT;
	char *chain = checkpoint_chain_of_pin(pin);
	struct oid tip;
	int r = ref_read(odb->repo, chain, &tip, &miss);

	*count = 0;
	free(chain);
	if (r == FAIL_GONE)
		return 0;
	if (r < 0) {
		*fail = miss;
		return r;
	}
	if (checkpoint_read(odb, &tip, &cp, fail) == 0)
		*count = cp.number;
	checkpoint_release(&cp);
	return fail->kind;
}

static int judge_item(struct odb *odb, const struct expire_options *options,
		      struct expire_item *item, int64_t *kept, struct fail *fail)
{
	struct checkpoint cp = CHECKPOINT_INIT;

	if (checkpoint_read(odb, &item->tip, &cp, fail) < 0)
		return fail->kind;
	item->checkpoints = cp.number;
	item->time = cp.time;
	item->drop = (options->keep < 0 || *kept >= options->keep) &&
		     (options->older_than < 0 || cp.time < options->older_than);
	if (!item->drop)
		*kept += cp.number;
	checkpoint_release(&cp);
	return 0;
}

/* From the newest segment to the oldest; behind the first that goes, all go. */
static int judge_chain(struct odb *odb, const struct expire_options *options,
		       struct expire_item *items, size_t count, struct fail *fail)
{
	int64_t kept;
	bool dropping = false;

	if (present_count(odb, items[0].pin, &kept, fail) < 0)
		return fail->kind;
	for (size_t i = count; i-- > 0;) {
		if (judge_item(odb, options, &items[i], &kept, fail) < 0)
			return fail->kind;
		dropping = dropping || items[i].drop;
		items[i].drop = dropping;
	}
	return 0;
}

int expire_plan(struct odb *odb, const struct expire_options *options, struct expire_plan *plan,
		struct fail *fail)
{
	char *prefix = options->chain ? checkpoint_pin_name(options->chain, 0)
				      : mem_strdup("refs/shadow-old/");
	size_t from = 0;

	*plan = (struct expire_plan){0};
	*(strrchr(prefix, '/') + 1) = '\0';
	ref_each(odb->repo, prefix, add_pin, plan, fail);
	free(prefix);
	while (fail->kind == 0 && from < plan->count) {
		size_t to = from;

		while (to < plan->count && same_chain(plan->items[from].pin, plan->items[to].pin))
			to++;
		judge_chain(odb, options, plan->items + from, to - from, fail);
		from = to;
	}
	return fail->kind;
}

void expire_plan_release(struct expire_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		free(plan->items[i].pin);
	free(plan->items);
	*plan = (struct expire_plan){0};
}

/* ---- its execution --------------------------------------------------------------------------- */

static int delete_pin(struct repo *repo, const struct expire_item *item, struct fail *fail)
{
	int64_t deadline = clock_deadline(repo->conf.lock_timeout);
	struct ref_lock lock = REF_LOCK_INIT;
	struct oid now;
	struct ref_swap swap = {.name = item->pin,
				.old_oid = item->tip,
				.deadline = deadline,
				.reason = "shadow-commit: expire"};

	oid_zero(repo->algo, &swap.new_oid);
	if (ref_lock_take(repo, item->pin, deadline, &lock, fail) == 0)
		ref_swap(repo, &lock, &swap, &now, fail);
	ref_lock_drop(&lock);
	/* Somebody else expired it at the same time: that is what was asked for. */
	if (fail->kind == FAIL_NO && oid_is_zero(&now))
		fail_clear(fail);
	return fail->kind;
}

static int mark_pending(struct repo *repo, struct fail *fail)
{
	int dir = repo_state_dir(repo, ".", fail);
	int fd;

	if (dir < 0)
		return dir;
	fd = file_open(dir, PENDING, O_WRONLY | O_CREAT, &repo->modes, fail);
	if (fd >= 0)
		close(fd);
	close(dir);
	return fail->kind;
}

static void clear_pending(struct repo *repo)
{
	struct fail ignored = FAIL_INIT;
	int dir = repo_state_dir(repo, ".", &ignored);

	if (dir < 0)
		return;
	unlinkat(dir, PENDING, 0);
	close(dir);
}

bool expire_is_pending(struct repo *repo)
{
	struct fail ignored = FAIL_INIT;
	int dir = repo_state_dir(repo, ".", &ignored);
	bool pending = dir >= 0 && faccessat(dir, PENDING, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	if (dir >= 0)
		close(dir);
	return pending;
}

static bool drops_any(const struct expire_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (plan->items[i].drop)
			return true;
	return false;
}

int expire_drop(struct repo *repo, struct expire_plan *plan, struct fail *fail)
{
	if (drops_any(plan) && mark_pending(repo, fail) < 0)
		return fail->kind;
	for (size_t i = 0; i < plan->count && fail->kind == 0; i++) {
		if (!plan->items[i].drop)
			continue;
		delete_pin(repo, &plan->items[i], fail);
		plan->items[i].done = fail->kind == 0;
	}
	return fail->kind;
}

/* ---- what is reached --------------------------------------------------------------------- */

/* Objects of our packs, and those among them that something reaches. */
struct reach {
	struct repo *repo;
	struct oidset ours, reached;
	struct bytes tips; /* ids that a walk starts from besides what git finds itself, by lines */
	struct bytes known; /* "^id" for each of the refs that the first walk began with */
};

static bool is_kept(void *arg, const struct oid *oid)
{
	const struct reach *reach = arg;

	/* What came into our packs since the list was made is somebody's work. */
	return !oidset_has(&reach->ours, oid) || oidset_has(&reach->reached, oid);
}

static int list_pack(struct reach *reach, int dir, const char *base, struct fail *fail)
{
	struct packidx idx = PACKIDX_INIT;
	char *name = mem_printf("%s.idx", base);

	if (packidx_read(&idx, dir, name, reach->repo->algo, fail) == 0)
		for (size_t i = 0; i < idx.count; i++) {
			struct packidx_entry entry;

			packidx_get(&idx, i, &entry);
			oidset_add(&reach->ours, &entry.oid);
		}
	packidx_release(&idx);
	free(name);
	return fail->kind;
}

static int list_packs(struct repo *repo, int *dir, struct packdir *packs, struct fail *fail)
{
	char *path = mem_printf("%s/pack/.", repo->object_dir);

	*dir = file_open_dir(AT_FDCWD, path, fail);
	free(path);
	if (*dir == FAIL_GONE)
		fail_clear(fail);
	if (*dir < 0)
		return fail->kind;
	return packdir_list(packs, *dir, 2 * hash_size(repo->algo), 1, fail);
}

/* A pack that is merged away meanwhile, or that cannot be read, is left alone. */
static int list_ours(struct reach *reach, struct fail *fail)
{
	struct packdir packs = PACKDIR_INIT;
	int dir = -1;

	if (list_packs(reach->repo, &dir, &packs, fail) == 0 && dir >= 0)
		for (size_t i = 0; i < packs.count; i++) {
			struct fail skipped = FAIL_INIT;

			if (packs.packs[i].has_pack && packs.packs[i].has_idx)
				list_pack(reach, dir, packs.packs[i].base, &skipped);
		}
	packdir_release(&packs);
	if (dir >= 0)
		close(dir);
	return fail->kind;
}

static bool any_used_since(struct repo *repo, time_t since)
{
	struct fail ignored = FAIL_INIT;
	struct packdir packs = PACKDIR_INIT;
	bool found = false;
	int dir = -1;

	if (list_packs(repo, &dir, &packs, &ignored) == 0 && dir >= 0)
		packdir_stat(&packs, dir, &ignored);
	for (size_t i = 0; i < packs.count && !found; i++)
		found = packs.packs[i].has_pack && packs.packs[i].used >= since;
	packdir_release(&packs);
	if (dir >= 0)
		close(dir);
	return found;
}

/* ---- where walks start -------------------------------------------------------------------- */

/* Every run of exactly as many hex digits as an id has. */
static void scan_ids(struct reach *reach, const struct bytes *text)
{
	size_t width = 2 * hash_size(reach->repo->algo);

	for (const char *p = text->data, *end = p + text->len; p < end;) {
		size_t n = strspn(p, "0123456789abcdef");

		if (n == width)
			bytes_addf(&reach->tips, "%.*s\n", (int)width, p);
		p += n + 1;
	}
}

/* FETCH_HEAD, ORIG_HEAD, AUTO_MERGE ... */
static bool is_root_name(const char *name)
{
	return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == strlen(name);
}

static void scan_folder(struct reach *reach, int at, const char *name, bool all)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int dir = file_open_dir(at, name, &ignored);

	if (dir >= 0)
		file_each_name(dir, &names, &ignored);
	for (const char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		struct fail unreadable = FAIL_INIT;
		struct bytes text = BYTES_INIT;

		if ((all || is_root_name(p)) &&
		    file_read(dir, p, STATE_FILE_MAX, &text, &unreadable) == 0)
			scan_ids(reach, &text);
		bytes_release(&text);
	}
	if (dir >= 0)
		close(dir);
	bytes_release(&names);
}

/* All refs as one worktree sees them, its own included. */
static int add_refs(struct reach *reach, const char *git_dir, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;

	argv_pushf(&cmd.env, "GIT_DIR=%s", git_dir);
	argv_push_all(&cmd.env, "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", NULL);
	repo_git(reach->repo, &cmd);
	argv_push_all(&cmd.argv, "for-each-ref", "--format=%(objectname)", NULL);
	spawn_capture(&cmd, &reach->tips, fail);
	spawn_release(&cmd);
	return fail->kind;
}

static int add_git_dir(struct reach *reach, const char *git_dir, struct fail *fail)
{
	static const char *const states[] = {"rebase-merge", "rebase-apply", "sequencer"};
	struct fail gone = FAIL_INIT;
	int dir = file_open_dir(AT_FDCWD, git_dir, &gone);

	if (dir < 0)
		return 0;
	scan_folder(reach, dir, ".", false);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		scan_folder(reach, dir, states[i], true);
	/* An admin directory that is half-made or half-gone is nobody's yet, or any more. */
	if (faccessat(dir, "HEAD", F_OK, 0) == 0)
		add_refs(reach, git_dir, fail);
	close(dir);
	return fail->kind;
}

static int find_tips(struct reach *reach, struct fail *fail)
{
	char *worktrees = mem_printf("%s/worktrees", reach->repo->common_dir);
	struct bytes names = BYTES_INIT;
	struct fail none = FAIL_INIT;
	int dir = file_open_dir(AT_FDCWD, worktrees, &none);

	bytes_clear(&reach->tips);
	add_git_dir(reach, reach->repo->common_dir, fail);
	if (dir >= 0)
		file_each_name(dir, &names, fail);
	for (const char *p = names.data; p < names.data + names.len && fail->kind == 0;
	     p += strlen(p) + 1) {
		char *git_dir = mem_printf("%s/%s", worktrees, p);

		add_git_dir(reach, git_dir, fail);
		free(git_dir);
	}
	if (dir >= 0)
		close(dir);
	bytes_release(&names);
	free(worktrees);
	return fail->kind;
}

/* ---- the walk ---------------------------------------------------------------------------- */

static int read_ids(struct reach *reach, int fd, struct fail *fail)
{
	size_t hex = 2 * hash_size(reach->repo->algo);
	FILE *in = fdopen(fd, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!in)
		return fail_errno(fail, "read git rev-list");
	while (fail->kind == 0 && (n = getline(&line, &cap, in)) > 0) {
		struct oid oid;

		if ((size_t)n < hex || !oid_parse(reach->repo->algo, line, hex, &oid))
			fail_set(fail, FAIL_FATAL, "git rev-list: unexpected answer");
		else if (oidset_has(&reach->ours, &oid))
			oidset_add(&reach->reached, &oid);
	}
	if (ferror(in))
		fail_errno(fail, "read git rev-list");
	free(line);
	fclose(in);
	return fail->kind;
}

/* One that ends early is told by its status, not by a SIGPIPE to us. */
static void feed(struct coprocess *rev_list, const struct bytes *lines, struct fail *fail)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;

	sigaction(SIGPIPE, &ignore, &before);
	file_write_fd(rev_list->to, "git rev-list", lines->data, lines->len, fail);
	sigaction(SIGPIPE, &before, NULL);
}

/*
 * git rev-list reads all of its input before it answers. Objects that a promisor has
 * are not fetched for this; any other that is missing ends it, and nothing is dropped.
 */
static int walk(struct reach *reach, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct coprocess rev_list = COPROCESS_INIT;
	int status;

	argv_push(&cmd.env, "GIT_NO_REPLACE_OBJECTS=1");
	repo_git(reach->repo, &cmd);
	argv_push_all(&cmd.argv, "rev-list", "--objects", "--no-object-names",
		      "--missing=allow-promisor", "--ignore-missing", "--all", "--reflog",
		      "--indexed-objects", "--stdin", NULL);
	if (coprocess_start(&rev_list, &cmd, fail) < 0)
		goto done;
	feed(&rev_list, &reach->tips, fail);
	feed(&rev_list, &reach->known, fail);
	close(rev_list.to);
	rev_list.to = -1;
	read_ids(reach, rev_list.from, fail);
	rev_list.from = -1; /* closed with its stream */
	status = coprocess_end(&rev_list);
	if (status != 0) {
		fail_clear(fail);
		fail_set(fail, FAIL_FATAL,
			 "git rev-list failed (exit status %d); no object was dropped", status);
	}
done:
	spawn_release(&cmd);
	return fail->kind;
}

/* The long walk, and with the lock a short one over what has come since. */
static int walk_first(struct reach *reach, struct fail *fail)
{
	struct fail later = FAIL_INIT;

	/* A pack that a killed run has half removed comes back, to be judged with the rest. */
	pack_sweep(reach->repo, false, &later);
	if (list_ours(reach, fail) < 0 || find_tips(reach, fail) < 0 || walk(reach, fail) < 0)
		return fail->kind;
	for (const char *p = reach->tips.data; *p; p += strcspn(p, "\n") + 1)
		bytes_addf(&reach->known, "^%.*s\n", (int)strcspn(p, "\n"), p);
	return 0;
}

static int walk_again(struct reach *reach, struct fail *fail)
{
	return find_tips(reach, fail) < 0 ? fail->kind : walk(reach, fail);
}

/*
 * git's commit-graph may list commits that are gone now, which git fsck calls an error.
 * git gc writes it anew after a prune, and so do we; it is a cache, so a failure is none.
 */
static void renew_commit_graph(struct repo *repo)
{
	struct fail ignored = FAIL_INIT;
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	char *single = mem_printf("%s/info/commit-graph", repo->object_dir);
	char *split = mem_printf("%s/info/commit-graphs/commit-graph-chain", repo->object_dir);
	bool is_split = access(split, F_OK) == 0;

	if (is_split || access(single, F_OK) == 0) {
		repo_git(repo, &cmd);
		argv_push_all(&cmd.argv, "commit-graph", "write", "--reachable", "--no-progress",
			      is_split ? "--split=replace" : NULL, NULL);
		spawn_capture(&cmd, &out, &ignored);
	}
	spawn_release(&cmd);
	bytes_release(&out);
	free(single);
	free(split);
}

int expire_objects(struct repo *repo, uint64_t *bytes_freed, bool *left, struct fail *fail)
{
	struct reach reach = {.repo = repo, .tips = BYTES_INIT, .known = BYTES_INIT};
	time_t used_since = time(NULL) - GRACE_SECONDS;
	struct lock lock = LOCK_INIT;
	int dir = -1;

	*bytes_freed = 0;
	*left = false;
	if (repo->conf.precious_objects)
		return pack_sweep(repo, false, fail);
	if (walk_first(&reach, fail) < 0)
		goto done;
	dir = repo_state_dir(repo, "locks", fail);
	if (dir < 0)
		goto done;
	if (lock_take(&lock, dir, "objects", LOCK_EXCLUSIVE,
		      clock_deadline(repo->conf.lock_timeout), &repo->waiting, &repo->modes,
		      fail) < 0) {
		fail_context(fail, "saves are under way; their objects stay for now");
		goto done;
	}
	if (walk_again(&reach, fail) == 0 &&
	    pack_filter(repo, is_kept, &reach, used_since, bytes_freed, fail) == 0 &&
	    pack_sweep(repo, true, fail) == 0)
		*left = any_used_since(repo, used_since);
	lock_drop(&lock);
	if (*bytes_freed)
		renew_commit_graph(repo);
	if (fail->kind == 0 && !*left)
		clear_pending(repo);
done:
	lock_drop(&lock);
	if (dir >= 0)
		close(dir);
	oidset_release(&reach.ours);
	oidset_release(&reach.reached);
	bytes_release(&reach.tips);
	bytes_release(&reach.known);
	return fail->kind;
}
