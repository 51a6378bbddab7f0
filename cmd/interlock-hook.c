/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * git interlock hook <name> [<arg>...]: what the hooks' programs (hooks/) ask when they
 * cannot answer by themselves. The arguments and the standard input are those that git
 * gave to the hook; exit status 1 is a veto.
 */
#include "interlock.h"

#include "argv.h"
#include "checkpoint.h"
#include "guardlook.h"
#include "ledger.h"
#include "newtree.h"
#include "operation.h"
#include "pool.h"
#include "ref.h"
#include "spawn.h"
#include "worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define INPUT_MAX (1024u << 20) /* millions of refs */

static int veto(const char *hook, const struct bytes *words)
{
	for (const char *p = words->data; *p; p += strspn(p, "\n")) {
		size_t n = strcspn(p, "\n");

		status_say("interlock: %s: %.*s", hook, (int)n, p);
		p += n;
	}
	return STATUS_NO;
}

static int cannot_judge(const char *hook, const struct fail *fail)
{
	status_say("interlock: %s: %s; what this touches is guarded, so the answer is no", hook,
		   fail->message);
	return STATUS_NO;
}

/* ---- reference-transaction -------------------------------------------------------------- */

/*
 * Goes down the first parents of `from` to the last commit that `present` does not have;
 * zero when there is none. The root of all segments is passed over: when `present` is no
 * checkpoint it does not have that. git walks, because `from` may be any commit at all.
 */
static int walk_down(struct repo *repo, const struct oid *from, const struct oid *present,
		     struct oid *last, struct fail *fail)
{
	size_t len = 2 * hash_size(repo->algo);
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT, content = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid oid, root;

	oid_zero(repo->algo, last);
	commit_segment_root(repo->algo, &content, &root);
	argv_push(&cmd.env, "GIT_NO_REPLACE_OBJECTS=1");
	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "rev-list", "--first-parent", oid_hex(from, hex), "--not", NULL);
	argv_push(&cmd.argv, oid_hex(present, hex));
	spawn_capture(&cmd, &out, fail);
	for (const char *p = out.data; fail->kind == 0 && *p; p += len, p += *p == '\n') {
		if (strcspn(p, "\n") != len || !oid_parse(repo->algo, p, len, &oid))
			fail_set(fail, FAIL_FATAL, "git rev-list: unexpected answer");
		else if (!oid_equal(&oid, &root))
			*last = oid;
	}
	spawn_release(&cmd);
	bytes_release(&out);
	bytes_release(&content);
	return fail->kind;
}

/* Does `value` come after `present`, on its own line and across the segments of a chain? */
static int find_descent(struct odb *odb, const struct oid *value, const struct oid *present,
			enum guard_descent *descent, struct fail *fail)
{
	struct oid from = *value, last;

	*descent = DESCENT_NO;
	/* A commit names only what was there before it, so this ends. */
	while (walk_down(odb->repo, &from, present, &last, fail) == 0 && !oid_is_zero(&last)) {
		struct checkpoint cp = CHECKPOINT_INIT;
		bool starts;

		checkpoint_read(odb, &last, &cp, fail);
		starts = cp.segment && cp.number == 1;
		from = starts ? cp.previous : cp.first_parent;
		checkpoint_release(&cp);
		if (fail->kind)
			break;
		if (!oid_is_zero(&from) && oid_equal(&from, present))
			*descent = DESCENT_YES;
		if (*descent == DESCENT_YES || !starts || oid_is_zero(&from))
			break;
	}
	return fail->kind;
}

static int find_update(struct repo *repo, const struct guard_line *line, const char *name,
		       struct guard_update *update, struct fail *fail)
{
	struct oid present, value;
	char *target = NULL;
	struct odb odb;
	int r = ref_read_raw(repo, name, &present, &target, fail);

	odb_init(&odb, repo);
	if (target) {
		update->symbolic = true; /* such a ref holds no work itself */
	} else if (r == FAIL_GONE) {
		fail_clear(fail);
		update->present = PRESENT_NONE;
	} else if (r == 0 && update->deletes) {
		update->present = PRESENT_OTHER;
		update->copy = repo->refs_by_git ? COPY_NONE
						 : guard_look_copy(repo->common_fd, name,
								   line->old_value, line->old_len);
	} else if (r == 0 && !oid_parse(repo->algo, line->new_value, line->new_len, &value)) {
		fail_set(fail, FAIL_FATAL, "ref '%s': git gave no id", name);
	} else if (r == 0) {
		update->present = oid_equal(&present, &value) ? PRESENT_SAME : PRESENT_OTHER;
		if (update->present == PRESENT_OTHER)
			find_descent(&odb, &value, &present, &update->descent, fail);
	}
	free(target);
	odb_release(&odb);
	return fail->kind;
}

static int judge_update(struct repo *repo, const struct guard_line *line, bool writer)
{
	struct guard_update update = {
		.writer = writer,
		.symbolic = !strncmp(line->old_value, "ref:", 4) ||
			    !strncmp(line->new_value, "ref:", 4),
		.deletes = guard_is_zero(line->new_value, line->new_len),
		.old_given = !guard_is_zero(line->old_value, line->old_len),
	};
	char *name = mem_dup(line->name, line->name_len);
	struct bytes words = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	int status = STATUS_OK;

	if (guard_ref_update(&update) != GUARD_PASS)
		find_update(repo, line, name, &update, &fail);
	if (fail.kind) {
		fail_context(&fail, "'%s' cannot be judged", name);
		status = cannot_judge("reference-transaction", &fail);
	} else if (guard_ref_update(&update) != GUARD_PASS) {
		guard_ref_words(&update, name, &words);
		status = veto("reference-transaction", &words);
	}
	bytes_release(&words);
	free(name);
	return status;
}

static int reference_transaction(int argc, char **argv)
{
	struct bytes input = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct guard_line line;
	struct repo repo;
	const char *text;
	size_t len;
	int status = STATUS_OK;

	if (argc < 2 || strcmp(argv[1], "prepared") != 0)
		return STATUS_OK;
	if (file_read_fd(STDIN_FILENO, "standard input", INPUT_MAX, &input, &fail) < 0)
		return cannot_judge(argv[0], &fail);
	if (!guard_mentions_ours(input.data, input.len))
		goto done;
	if (repo_open(&repo, REPO_ANY, &fail) < 0) {
		status = cannot_judge(argv[0], &fail);
	} else {
		bool writer = guard_look_writer(repo.common_fd);

		text = input.data;
		len = input.len;
		/* All that is wrong is told at once. */
		while (guard_next_line(&text, &len, &line))
			if (guard_is_ours(line.name, line.name_len) &&
			    judge_update(&repo, &line, writer) != STATUS_OK)
				status = STATUS_NO;
	}
	repo_close(&repo);
done:
	bytes_release(&input);
	return status;
}

/* ---- a rebase under way -------------------------------------------------------------------- */

/* "refs/heads/x" in rebase-merge/head-name or rebase-apply/head-name; NULL. The caller frees. */
static char *rebased_branch(int git_dir)
{
	static const char *const files[] = {"rebase-merge/head-name", "rebase-apply/head-name"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct bytes text = BYTES_INIT;
		struct fail gone = FAIL_INIT;

		if (file_read(git_dir, files[i], PATH_MAX, &text, &gone) == 0 &&
		    !strncmp(text.data, "refs/heads/", 11)) {
			bytes_chomp(&text);
			return bytes_take(&text);
		}
		bytes_release(&text);
	}
	return NULL;
}

/* ---- automatic saves ---------------------------------------------------------------------- */

/*
 * The save itself is that of git shadow-commit, which this process becomes: a save under
 * a guard of its own, that never fails and ends in time, and that renews a lease.
 */
static int save(const char *hook, const char *chain)
{
	struct argv argv = ARGV_INIT;
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char *slash;

	if (null >= 0)
		dup2(null, STDOUT_FILENO);
	argv_push_all(&argv, "git-shadow-commit", "save", "--best-effort", "--quiet",
		      "--no-progress", "-m", hook, NULL);
	if (chain)
		argv_push_all(&argv, "--ref", chain, NULL);
	exe[len > 0 ? len : 0] = '\0';
	slash = strrchr(exe, '/');
	if (slash) {
		char *path = mem_printf("%.*s%s", (int)(slash + 1 - exe), exe, argv.items[0]);

		execv(path, argv.items);
		free(path);
	}
	execvp(argv.items[0], argv.items);
	argv_release(&argv);
	status_say("interlock: %s: git-shadow-commit cannot be started: %s", hook, strerror(errno));
	return STATUS_OK;
}

/*
 * A rebase by `git am` calls post-rewrite before it puts HEAD back on the branch. Once it has
 * stopped on its way it says which branch that is, and the checkpoint belongs to that one's
 * chain. NULL: to the chain that HEAD says, which is that of the detached HEAD then.
 */
static char *chain_of_rebase(struct repo *repo, struct fail *fail)
{
	int git_dir = file_open_dir(AT_FDCWD, repo->git_dir, fail);
	char *branch = git_dir < 0 ? NULL : rebased_branch(git_dir);
	char *chain = branch ? checkpoint_ref_of(repo, branch) : NULL;

	if (git_dir >= 0)
		close(git_dir);
	free(branch);
	return chain;
}

/* One that cannot be opened is git's to complain of: it goes on (G5). */
static int save_if_wanted(UNUSED int argc, char **argv)
{
	bool rewritten = !strcmp(argv[0], "post-rewrite");
	struct fail fail = FAIL_INIT;
	char *chain = NULL;
	struct repo repo;
	bool wanted;

	wanted = repo_open(&repo, REPO_WORK_TREE, &fail) == 0 && repo.conf.auto_save;
	if (wanted && rewritten)
		chain = chain_of_rebase(&repo, &fail);
	repo_close(&repo);
	if (fail.kind && fail.kind != FAIL_UNSUPPORTED)
		status_say("interlock: %s: %s; no checkpoint is saved", argv[0], fail.message);
	return wanted ? save(argv[0], chain) : STATUS_OK;
}

/* ---- pre-commit ------------------------------------------------------------------------------ */

static bool work_is_locked(const struct slot *slot)
{
	char *path = mem_printf("interlock/leases/%s.work", slot->record.lease);
	bool locked = guard_look_locked(slot->repo->common_fd, path, LOCK_SH) == 1;

	free(path);
	return locked;
}

/* Who holds the slot, as far as it matters to a commit. */
static enum guard_holder holder_of(const struct slot *slot)
{
	const struct slot_record *record = &slot->record;
	bool by_time = record->kind == LEASE_TIME && record->phase == SLOT_LEASED;

	switch (slot->state) {
	case STATE_LEASED:
		return HOLDER_TIME;
	case STATE_HELD: /* a lease by time: for a moment, by a renewal */
	case STATE_UNKNOWN:
		return !record->lease ? HOLDER_UNJUDGED : by_time ? HOLDER_TIME : HOLDER_PROCESS;
	case STATE_OCCUPIED: /* by us at least; of its lease, when the work lock says so */
	case STATE_ORPHANED:
	case STATE_DESYNCED:
		return record->lease && !by_time && work_is_locked(slot) ? HOLDER_PROCESS
									 : HOLDER_NONE;
	default:
		return HOLDER_NONE;
	}
}

static bool is_of_holder(const struct slot *slot)
{
	bool inherited;
	char *path;

	if (!slot->record.lease)
		return false;
	if (procid_is_ancestor(&slot->record.owner))
		return true;
	path = mem_printf("interlock/leases/%s.work", slot->record.lease);
	inherited = guard_look_inherited(slot->repo->common_fd, path);
	free(path);
	return inherited;
}

static enum guard_branch on_branch(const struct slot_record *record,
				   const struct guard_scene *scene)
{
	const char *now = scene->head ? scene->head : scene->onto;

	if (!record->branch || record->phase != SLOT_LEASED)
		return BRANCH_ANY;
	return now && !strcmp(now, record->branch) ? BRANCH_ON : BRANCH_OFF;
}

static int judge_commit(struct slot *slot, const char *hook, struct fail *fail)
{
	const struct slot_record *record = &slot->record;
	struct bytes words = BYTES_INIT;
	char *head = NULL, *onto = rebased_branch(slot->admin);
	struct guard_scene scene = {.slot = slot->name,
				    .who = slot->who,
				    .lease = record->lease,
				    .shown = getenv("GIT_INTERLOCK_LEASE"),
				    .branch = record->branch,
				    .onto = onto};
	struct guard_commit commit = {.slot = slot->state != STATE_FOREIGN,
				      .holder = holder_of(slot),
				      .of_holder = is_of_holder(slot),
				      .own_uid = record->uid == (int64_t)geteuid()};
	enum guard_refusal refusal = REFUSE_NOTHING;
	int status = STATUS_OK;

	scene.operation = operation_name(slot->admin, fail);
	if (fail->kind == 0 && repo_head_branch(slot->repo, &head, fail) == 0) {
		scene.head = head;
		commit.branch = on_branch(record, &scene);
		if (scene.shown && *scene.shown)
			commit.shown = record->lease && !strcmp(scene.shown, record->lease)
					       ? SHOWN_CURRENT
					       : SHOWN_OTHER;
		refusal = guard_commit(&commit);
	}
	if (refusal != REFUSE_NOTHING) {
		guard_commit_words(refusal, &scene, &words);
		status = veto(hook, &words);
	}
	bytes_release(&words);
	free(head);
	free(onto);
	return status;
}

static int pre_commit(int argc, char **argv)
{
	struct slot slot = {.admin = -1, .work = -1};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int status = STATUS_OK;

	if (repo_open(&repo, REPO_WORK_TREE, &fail) == 0 && repo.worktree_id &&
	    slot_look(&repo, repo.worktree_id, &slot, &fail) == 0)
		status = judge_commit(&slot, argv[0], &fail);
	if (fail.kind && repo.worktree_id)
		status = cannot_judge(argv[0], &fail);
	slot_close(&slot);
	repo_close(&repo);
	return status == STATUS_OK ? save_if_wanted(argc, argv) : status;
}

/* ---- post-checkout --------------------------------------------------------------------------- */

static void log_worktree(struct repo *repo, const struct newtree *newtree)
{
	struct fail ignored = FAIL_INIT;
	struct ledger_event line = {.event = newtree->mended.len ? "worktree-mended"
								 : "worktree-added",
				    .slot = newtree->id,
				    .reason = newtree->mended.len ? newtree->mended.data : NULL};

	ledger_append(repo, &line, LEDGER_WAIT, &ignored);
}

/* git's answer does not depend on it: the worktree is there. */
static int post_checkout(int argc, char **argv)
{
	struct fail fail = FAIL_INIT;
	struct newtree newtree;
	struct repo repo = {.common_fd = -1, .state_fd = -1};
	int here = -1;
	bool there;

	if (argc < 3 || !guard_is_zero(argv[1], strlen(argv[1])) ||
	    guard_is_zero(argv[2], strlen(argv[2])))
		return STATUS_OK;
	there = newtree_mend(argv[2], &newtree, &fail) == 0;
	if (there && (here = file_open_dir(AT_FDCWD, ".", &fail)) >= 0) {
		if (worktree_enter(here, &repo, &fail) == 0 &&
		    newtree_finish(&repo, repo.conf.lock_worktrees, &newtree, &fail) == 0)
			log_worktree(&repo, &newtree);
		repo_close(&repo);
		close(here);
	}
	if (there && newtree.mended.len)
		status_say("interlock: %s: a prune had damaged the new worktree; made again: %s",
			   argv[0], newtree.mended.data);
	if (fail.kind)
		status_say("interlock: %s: %s", argv[0], fail.message);
	newtree_release(&newtree);
	return STATUS_OK;
}

/* ---- the hooks ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} hooks[] = {
	{"reference-transaction", reference_transaction},
	{"pre-commit", pre_commit},
	{"post-checkout", post_checkout},
	{"post-commit", save_if_wanted},
	{"post-merge", save_if_wanted},
	{"post-rewrite", save_if_wanted},
};

int interlock_hook(int argc, char **argv)
{
	struct fail fail = FAIL_INIT;

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(hooks); i++)
		if (!strcmp(argv[1], hooks[i].name))
			return hooks[i].run(argc - 1, argv + 1);
	if (argc > 1)
		fail_set(&fail, FAIL_USAGE, "there is no hook '%s' of ours", argv[1]);
	else
		fail_set(&fail, FAIL_USAGE, "the name of a hook is needed");
	return status_report(INTERLOCK_COMMAND, &fail);
}
