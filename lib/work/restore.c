/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "restore.h"

#include "pathspec.h"
#include "restoreplan.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- which checkpoint ------------------------------------------------------------------- */

/* Another worktree's state is nothing to lay over this one by mistake. */
static int check_worktree(struct restore *r, const char *named, struct fail *fail)
{
	char *identity = NULL;

	if (checkpoint_worktree_identity(r->repo, &identity, fail) < 0)
		return fail->kind;
	if (!named && r->target.worktree && strcmp(r->target.worktree, identity) != 0)
		fail_set(fail, FAIL_NO,
			 "checkpoint '%s' is of another worktree ('%s'); to restore it here all "
			 "the same give its ref in full (refs/shadow/...)",
			 r->options->checkpoint ? r->options->checkpoint : "@{0}",
			 r->target.worktree);
	free(identity);
	return fail->kind;
}

static int find_target(struct restore *r, struct fail *fail)
{
	const char *given = r->options->checkpoint;
	char *named = NULL;
	struct oid id;

	if (checkpoint_ref(r->repo, &r->chain, fail) < 0)
		return fail->kind;
	if (!given && r->options->undo_session)
		return 0;
	if (checkpoint_resolve(r->odb, r->chain, given, &id, &named, fail) < 0 ||
	    checkpoint_read(r->odb, &id, &r->target, fail) < 0)
		goto done;
	if (!r->target.segment)
		fail_set(fail, FAIL_NO, "'%s' is a commit, but no checkpoint",
			 given ? given : r->chain);
	else
		check_worktree(r, named, fail);
done:
	free(named);
	return fail->kind;
}

static int read_specs(struct restore *r, struct fail *fail)
{
	for (size_t i = 0; i < r->options->path_count; i++) {
		char *spec;

		if (pathspec_read(r->repo, r->options->paths[i], &spec, fail) < 0)
			return fail->kind;
		argv_take(&r->specs, spec);
	}
	return 0;
}

/* ---- the present state --------------------------------------------------------------------- */

static int save_present(struct restore *r, struct fail *fail)
{
	const struct restore_options *o = r->options;
	char hex[OID_HEX_MAX + 1];
	char *message = r->target.segment
				? mem_printf("before restore of %.12s", oid_hex(&r->target.id, hex))
				: mem_printf("before undo of session %s", o->undo_session);
	struct snapshot_options options = {
		.message = message,
		.session = o->session,
		.progress = o->progress,
		.progress_arg = o->progress_arg,
	};

	if (snapshot_save(r->repo, &options, &r->saved, fail) == 0) {
		r->present = r->saved.tree;
		r->skipped = r->saved.skipped;
		r->skipped_count = r->saved.skipped_count;
	}
	free(message);
	return fail->kind;
}

/* A dry run looks, and writes nothing. */
static int look_at_present(struct restore *r, struct fail *fail)
{
	const struct capture *capture = &r->looked.capture;

	if (present_look(r->repo, r->options->progress, r->options->progress_arg, &r->looked,
			 fail) < 0)
		return fail->kind;
	r->odb = &r->looked.capture.odb;
	r->present = capture->tree;
	r->skipped = capture->skipped;
	r->skipped_count = capture->skipped_count;
	return 0;
}

static int open_top(struct restore *r, struct fail *fail)
{
	r->top = open(r->repo->work_tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->top < 0)
		return fail_errno(fail, "open '%s'", r->repo->work_tree);
	return 0;
}

/* ---- the room's front ------------------------------------------------------------------------ */

int restore_prepare(struct repo *repo, const struct restore_options *options,
		    struct restore *restore, struct fail *fail)
{
	struct restore *r = restore;

	*r = (struct restore){.repo = repo,
			      .options = options,
			      .target = CHECKPOINT_INIT,
			      .looked = PRESENT_INIT,
			      .plumb = PLUMB_INIT,
			      .top = -1};
	oid_zero(repo->algo, &r->target.id);
	odb_init(&r->own_odb, repo);
	r->odb = &r->own_odb;
	if (find_target(r, fail) < 0 || read_specs(r, fail) < 0 || open_top(r, fail) < 0)
		return fail->kind;
	if (options->staged && !options->dry_run && restore_index_ready(r, fail) < 0)
		return fail->kind;
	if (options->dry_run ? look_at_present(r, fail) < 0 : save_present(r, fail) < 0)
		return fail->kind;
	if (plumb_begin(repo, &r->plumb, fail) < 0)
		return fail->kind;
	return restore_plan(r, fail);
}

static void add_unless_ignored(sigset_t *set, int sig)
{
	struct sigaction action;

	if (sigaction(sig, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
		sigaddset(set, sig);
}

/* A signal waits until the path under way is in place; then the restore stops and says so. */
static void hold_signals(sigset_t *held, sigset_t *before)
{
	sigemptyset(held);
	add_unless_ignored(held, SIGINT);
	add_unless_ignored(held, SIGTERM);
	add_unless_ignored(held, SIGHUP);
	sigprocmask(SIG_BLOCK, held, before);
}

static int place_all(struct restore *r, struct fail *fail)
{
	if (restore_verify(r, fail) < 0)
		return fail->kind;
	if (restore_stage(r, true, fail) == 0 && restore_place(r, true, fail) == 0 &&
	    restore_stage(r, false, fail) == 0)
		restore_place(r, false, fail);
	restore_prune_directories(r);
	if (fail->kind == 0 && r->options->staged)
		restore_index(r, fail);
	return fail->kind;
}

static int say_how_far(struct restore *r, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	size_t done = 0, open = 0;

	for (size_t i = 0; i < r->count; i++) {
		done += r->items[i].result == RESTORE_DONE;
		open += r->items[i].result == RESTORE_PLANNED;
	}
	oid_hex(&r->saved.commit, hex);
	if (!r->touched)
		return fail_context(fail, "nothing was restored");
	return fail_context(fail,
			    "the restore stopped half-way (%zu of %zu paths are done; 'git "
			    "shadow-commit restore %s' brings back what was there)",
			    done, done + open, hex);
}

int restore_act(struct restore *restore, struct fail *fail)
{
	sigset_t held, before;

	hold_signals(&held, &before);
	if (place_all(restore, fail) < 0) {
		const struct timespec at_once = {0, 0};
		int sig = restore->signal ? 0 : sigtimedwait(&held, NULL, &at_once);

		if (sig > 0)
			restore->signal = sig;
		say_how_far(restore, fail);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return fail->kind;
}

void restore_release(struct restore *restore)
{
	for (size_t i = 0; i < restore->count; i++)
		free(restore->items[i].path);
	free(restore->items);
	free(restore->chain);
	checkpoint_release(&restore->target);
	argv_release(&restore->specs);
	argv_release(&restore->notes);
	plumb_end(&restore->plumb);
	if (restore->top >= 0)
		close(restore->top);
	present_release(&restore->looked);
	odb_release(&restore->own_odb);
	snapshot_release(&restore->saved);
}
