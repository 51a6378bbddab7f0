/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "refgit.h"

#include "intent.h"
#include "proc.h"
#include "repo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* git waits for a lock by itself, but not so long that we could not heal one, or tell of it. */
#define GIT_WAIT_MS WAITING_TELL_MS
#define KILLED 128 /* a status above it: a signal ended the process */

bool refgit_head_names(struct repo *repo, const char *name)
{
	struct fail ignored = FAIL_INIT;
	char *branch = NULL;
	bool same;

	if (strncmp(name, "refs/heads/", 11) != 0)
		return false;
	same = repo_head_branch(repo, &branch, &ignored) == 0 && branch && !strcmp(branch, name);
	free(branch);
	return same;
}

/* ---- locks -------------------------------------------------------------------------- */

char *refgit_lock_path(const struct repo *repo, const char *name)
{
	if (refname_per_worktree(name))
		return mem_printf("%s/%s.lock", repo->git_dir, name);
	return mem_printf("%s/%s.lock", repo->common_dir, name);
}

void refgit_locks_init(struct refgit_locks *locks, struct repo *repo)
{
	struct fail ignored = FAIL_INIT;

	*locks = (struct refgit_locks){
		.repo = repo,
		.paths = ARGV_INIT,
		.intent = BYTES_INIT,
	};
	repo_head_branch(repo, &locks->head, &ignored);
}

void refgit_locks_release(struct refgit_locks *locks)
{
	free(locks->head);
	argv_release(&locks->paths);
	bytes_release(&locks->intent);
}

static void expect(struct refgit_locks *locks, char *path, const char *content)
{
	git_intent_add(&locks->intent, path, content);
	argv_take(&locks->paths, path);
}

/* The reftable stacks of the repository and of this worktree. */
static void expect_tables(struct refgit_locks *locks)
{
	const struct repo *repo = locks->repo;

	if (locks->paths.count)
		return;
	expect(locks, mem_printf("%s/reftable/tables.list.lock", repo->common_dir), "*");
	if (strcmp(repo->common_dir, repo->git_dir) != 0)
		expect(locks, mem_printf("%s/reftable/tables.list.lock", repo->git_dir), "*");
}

void refgit_expect(struct refgit_locks *locks, const char *name, const struct oid *value,
		   bool symbolic)
{
	const struct repo *repo = locks->repo;
	char hex[OID_HEX_MAX + 1];
	const char *content = symbolic ? "*" : oid_is_zero(value) ? "" : oid_hex(value, hex);

	if (repo->refs_by_git) {
		expect_tables(locks);
		return;
	}
	expect(locks, refgit_lock_path(repo, name), content);
	if (locks->head && !strcmp(locks->head, name))
		expect(locks, mem_printf("%s/HEAD.lock", repo->git_dir), content);
}

void refgit_expect_delete(struct refgit_locks *locks)
{
	const char *common = locks->repo->common_dir;

	if (locks->repo->refs_by_git)
		return;
	expect(locks, mem_printf("%s/packed-refs.lock", common), "*");
	expect(locks, mem_printf("%s/packed-refs.new", common), "*");
}

/* Who holds git's lock: one of ours, by its intent, or who has the file open. Is there somebody? */
static bool describe_holder(struct repo *repo, const char *path, struct bytes *out)
{
	size_t before = out->len;

	intent_describe(repo, path, out);
	return out->len > before || proc_describe_opener(path, out);
}

int refgit_busy(struct repo *repo, const char *path, struct fail *fail)
{
	struct bytes who = BYTES_INIT;
	struct stat st;
	bool seen;

	if (lstat(path, &st) < 0)
		return fail_set(fail, FAIL_BUSY, "lock '%s' came and went until time ran out",
				path);
	seen = describe_holder(repo, path, &who);
	fail_set(fail, FAIL_BUSY, "lock '%s' is held, for %lld s, by %s%s", path,
		 (long long)(time(NULL) - st.st_mtime), who.data,
		 seen ? "" : "; if its owner is dead, remove the file");
	bytes_release(&who);
	return FAIL_BUSY;
}

bool refgit_wait(struct repo *repo, const char *path, struct backoff *backoff, int64_t deadline)
{
	if (waiting_due(&repo->waiting, backoff)) {
		struct bytes what = BYTES_INIT;

		bytes_addf(&what, "lock '%s', held by ", path);
		describe_holder(repo, path, &what);
		repo->waiting.tell(repo->waiting.arg, what.data);
		bytes_release(&what);
	}
	return backoff_wait(backoff, deadline);
}

int refgit_make_way(struct repo *repo, const char *path, const char *own_key,
		    struct backoff *backoff, int64_t deadline, struct fail *fail)
{
	if (intent_clear(repo, path, own_key) || refgit_wait(repo, path, backoff, deadline))
		return 0;
	return refgit_busy(repo, path, fail);
}

const char *refgit_first_in_way(const struct refgit_locks *locks)
{
	struct stat st;

	for (size_t i = 0; i < locks->paths.count; i++)
		if (lstat(locks->paths.items[i], &st) == 0)
			return locks->paths.items[i];
	return NULL;
}

bool refgit_room_vanished(const struct refgit_locks *locks)
{
	bool gone = false;

	for (size_t i = 0; i < locks->paths.count && !gone; i++) {
		const char *path = locks->paths.items[i];
		char *dir = mem_dup(path, (size_t)(strrchr(path, '/') - path));
		struct stat st;

		gone = lstat(dir, &st) < 0 && errno == ENOENT;
		free(dir);
	}
	return gone;
}

void refgit_settings(const struct repo *repo, struct spawn *cmd, int64_t deadline)
{
	static const char *const settings[] = {"core.filesRefLockTimeout", "core.packedRefsTimeout",
					       "reftable.lockTimeout"};
	int64_t left = clock_left(deadline);

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		argv_push(&cmd->argv, "-c");
		argv_pushf(&cmd->argv, "%s=%" PRId64, settings[i],
			   left < GIT_WAIT_MS ? left : GIT_WAIT_MS);
	}
	/* Else git looks, for every full id, whether a ref has such a name: 12 calls each. */
	argv_push_all(&cmd->argv, "-c", "core.warnAmbiguousRefs=false", NULL);
	if (repo->conf.durable && !repo->conf.fsync_set)
		argv_push_all(&cmd->argv, "-c", "core.fsync=all", NULL);
}

int refgit_sync(const struct repo *repo, struct fail *fail)
{
	/* git syncs the files, but not the directories that got them. */
	if (!repo->conf.durable || syncfs(repo->common_fd) == 0)
		return 0;
	fail_errno(fail, "the swap was made, but may not survive a power loss: sync");
	return fail->kind = FAIL_UNKNOWN;
}

/* ---- git's words ------------------------------------------------------------------------ */

static const char *without_level(const char *line)
{
	static const char *const levels[] = {"fatal: ", "error: "};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (!strncmp(line, levels[i], strlen(levels[i])))
			return line + strlen(levels[i]);
	return line;
}

int refgit_words(const char *err, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	while (*err) {
		const char *line = without_level(err);
		size_t n = strcspn(line, "\n");

		if (n) {
			bytes_adds(&text, text.len ? "; " : "");
			bytes_add(&text, line, n);
		}
		err = line + n + (line[n] == '\n');
	}
	fail_set(fail, FAIL_FATAL, "%s", text.len ? text.data : "git update-ref failed silently");
	bytes_release(&text);
	return fail->kind;
}

/* ---- one swap ------------------------------------------------------------------------------ */

struct by_git {
	struct repo *repo;
	const struct ref_lock *lock;
	const struct ref_swap *swap;
	const char *name; /* what git is given: it follows symbolic refs itself */
	struct refgit_locks locks;
	struct oid *now;
	unsigned vanished; /* tries that failed for a directory that a pack-refs removed */
	bool killed;
};

static void build_command(const struct by_git *g, struct spawn *cmd)
{
	const struct ref_swap *swap = g->swap;
	char hex[OID_HEX_MAX + 1];

	repo_git_with_hooks(g->repo, cmd);
	refgit_settings(g->repo, cmd, swap->deadline);
	argv_push(&cmd->argv, "update-ref");
	if (swap->create_reflog)
		argv_push(&cmd->argv, "--create-reflog");
	if (swap->no_deref)
		argv_push(&cmd->argv, "--no-deref");
	if (swap->reason && *swap->reason)
		argv_push_all(&cmd->argv, "-m", swap->reason, NULL);
	if (oid_is_zero(&swap->new_oid))
		argv_push_all(&cmd->argv, "-d", g->name, NULL);
	else
		argv_push_all(&cmd->argv, g->name, oid_hex(&swap->new_oid, hex), NULL);
	argv_push(&cmd->argv, oid_hex(&swap->old_oid, hex));
}

static int read_now(const struct by_git *g, struct fail *fail)
{
	if (ref_read(g->repo, g->name, g->now, fail) == FAIL_GONE) {
		fail_clear(fail);
		oid_zero(g->repo->algo, g->now);
	}
	return fail->kind;
}

static int lost(const struct by_git *g, struct fail *fail)
{
	return fail_set(fail, FAIL_NO, "ref '%s' holds something else", g->name);
}

/*
 * git said no: a lost swap, a lock, or something else? Decided by looking, never
 * by its words. Returns 0 when another try makes sense.
 */
static int judge(struct by_git *g, const struct spawn *cmd, struct fail *fail)
{
	const char *path;

	g->killed = cmd->status > KILLED;
	if (read_now(g, fail) < 0)
		return fail->kind;
	if (g->killed && !oid_equal(g->now, &g->swap->old_oid))
		return fail_set(fail, FAIL_UNKNOWN,
				"git update-ref was killed by signal %d, and '%s' holds another "
				"value: the outcome is unknown",
				cmd->status - KILLED, g->name);
	if (!oid_equal(g->now, &g->swap->old_oid))
		return lost(g, fail);
	if (g->killed)
		return fail_set(fail, FAIL_FATAL,
				"git update-ref was killed by signal %d; '%s' is unchanged",
				cmd->status - KILLED, g->name);
	path = refgit_first_in_way(&g->locks);
	if (path)
		return clock_left(g->swap->deadline) ? 0 : refgit_busy(g->repo, path, fail);
	if (refgit_room_vanished(&g->locks) && g->vanished++ < REFGIT_VANISHED_TRIES)
		return 0;
	return refgit_words(cmd->err.data, fail);
}

/* One run of git. 1: done; 0: a lock is in the way; else a failure. */
static int run_once(struct by_git *g, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	bool done = false;

	build_command(g, &cmd);
	if (spawn_capture_any(&cmd, &out, fail) == 0) {
		done = cmd.status == 0;
		if (!done)
			judge(g, &cmd, fail);
		else
			refgit_sync(g->repo, fail);
		if (done && g->swap->chatter)
			bytes_add(g->swap->chatter, cmd.err.data, cmd.err.len);
	}
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind ? fail->kind : done;
}

static int swap_under_intent(struct by_git *g, struct fail *fail)
{
	struct backoff backoff = BACKOFF_INIT;

	backoff.since = clock_ms(); /* git waits, too */
	for (;;) {
		const char *path = refgit_first_in_way(&g->locks);

		/* Reading first spares git where that costs no process. */
		if (!g->repo->refs_by_git) {
			if (read_now(g, fail) < 0)
				return fail->kind;
			if (!oid_equal(g->now, &g->swap->old_oid))
				return lost(g, fail);
		}
		if (path) {
			if (refgit_make_way(g->repo, path, g->lock->key, &backoff,
					    g->swap->deadline, fail) < 0)
				return fail->kind;
		} else if (run_once(g, fail)) {
			return fail->kind;
		}
	}
}

int refgit_swap(struct repo *repo, const struct ref_lock *lock, const struct ref_swap *swap,
		struct oid *now, struct fail *fail)
{
	struct git_intent intent;
	struct by_git g = {
		.repo = repo,
		.lock = lock,
		.swap = swap,
		.name = swap->through ? swap->through : swap->name,
		.now = now,
	};

	refgit_locks_init(&g.locks, repo);
	refgit_expect(&g.locks, swap->name, &swap->new_oid, swap->no_deref);
	if (swap->through)
		refgit_expect(&g.locks, swap->through, &swap->new_oid, true);
	if (oid_is_zero(&swap->new_oid))
		refgit_expect_delete(&g.locks);
	if (git_intent_begin(repo, &g.locks.intent, &intent, fail) == 0) {
		swap_under_intent(&g, fail);
		if (g.killed)
			git_intent_leave(&intent);
		else
			git_intent_end(&intent);
	}
	refgit_locks_release(&g.locks);
	return fail->kind;
}
