/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "restoreplan.h"

#include "clock.h"
#include "proc.h"
#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void tell_wait(const struct waiting *waiting, const char *lock)
{
	struct bytes what = BYTES_INIT;

	bytes_addf(&what, "lock '%s', held by ", lock);
	proc_describe_opener(lock, &what);
	waiting->tell(waiting->arg, what.data);
	bytes_release(&what);
}

static int busy(const char *lock, struct fail *fail)
{
	struct bytes holder = BYTES_INIT;

	proc_describe_opener(lock, &holder);
	fail_set(fail, FAIL_BUSY,
		 "the index is locked: '%s' exists, held by %s; nothing was restored", lock,
		 holder.data);
	bytes_release(&holder);
	return fail->kind;
}

int restore_index_ready(struct restore *r, struct fail *fail)
{
	int64_t deadline = clock_deadline(r->repo->conf.lock_timeout);
	const struct waiting *waiting = &r->repo->waiting;
	struct backoff backoff = BACKOFF_INIT;
	char *lock = mem_printf("%s.lock", r->repo->index_path);

	while (access(lock, F_OK) == 0 && fail->kind == 0) {
		if (waiting_due(waiting, &backoff))
			tell_wait(waiting, lock);
		if (!backoff_wait(&backoff, deadline))
			busy(lock, fail);
	}
	free(lock);
	return fail->kind;
}

/* What the index should hold: the staged content that was kept, or the checkpoint's tree. */
static int find_tree(struct restore *r, struct oid *tree, struct fail *fail)
{
	struct commit commit = {0};

	*tree = r->target.tree;
	if (oid_is_zero(&r->target.index))
		return 0;
	if (commit_read(r->odb, &r->target.index, &commit, fail) == 0)
		*tree = commit.tree;
	commit_release(&commit);
	return fail->kind;
}

static void add_line(struct bytes *input, const char *mode, const char *hex, const char *path)
{
	bytes_addf(input, "%s %s\t%s", mode, hex, path);
	bytes_addc(input, '\0');
}

/*
 * ":<mode> <mode> <id> <id> <letter>" NUL path NUL, the tree's side first. An entry
 * that the tree does not have goes: its mode is 000000.
 */
static int read_differences(struct restore *r, const struct bytes *diff, struct bytes *input,
			    struct fail *fail)
{
	const char *p = diff->data, *end = p + diff->len;

	while (p < end && fail->kind == 0) {
		const char *path = p + strlen(p) + 1;
		char mode[7], hex[OID_HEX_MAX + 1];
		const struct restore_item *item;

		if (path >= end || sscanf(p, ":%6[0-7] %*6[0-7] %64[0-9a-f]", mode, hex) != 2)
			return fail_set(fail, FAIL_FATAL, "git diff-index: unexpected answer");
		item = restore_find(r, path);
		if (restore_in_scope(r, path) && !(item && item->result == RESTORE_KEPT))
			add_line(input, strcmp(mode, "000000") ? mode : "0", hex, path);
		p = path + strlen(path) + 1;
	}
	return 0;
}

/* The entries of the index that differ from `tree`. */
static int list_differences(struct restore *r, struct bytes *input, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	struct oid tree;

	if (find_tree(r, &tree, fail) < 0)
		return fail->kind;
	restore_git(r, r->repo->work_tree, &cmd);
	argv_pushf(&cmd.env, "GIT_INDEX_FILE=%s", r->repo->index_path);
	argv_push_all(&cmd.argv, "diff-index", "--cached", "--raw", "-z", "--no-renames",
		      "--no-abbrev", "--ignore-submodules=none", oid_hex(&tree, hex), "--", NULL);
	if (spawn_capture(&cmd, &out, fail) == 0)
		read_differences(r, &out, input, fail);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* Undoing a session: the entries of the paths that were put back. */
static void list_items(struct restore *r, struct bytes *input)
{
	for (int adding = 0; adding < 2; adding++)
		for (size_t i = 0; i < r->count; i++) {
			const struct restore_item *item = &r->items[i];
			char hex[OID_HEX_MAX + 1], mode[16];

			if (item->result != RESTORE_DONE || !!item->new_mode != adding)
				continue;
			snprintf(mode, sizeof(mode), "%o", item->new_mode);
			add_line(input, mode, oid_hex(&item->new_oid, hex), item->path);
		}
}

int restore_index(struct restore *r, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes input = BYTES_INIT, out = BYTES_INIT;

	if (r->options->undo_session)
		list_items(r, &input);
	else
		list_differences(r, &input, fail);
	if (fail->kind || !input.len)
		goto done;
	restore_git(r, r->repo->work_tree, &cmd);
	argv_pushf(&cmd.env, "GIT_INDEX_FILE=%s", r->repo->index_path);
	argv_push_all(&cmd.argv, "update-index", "--replace", "-z", "--index-info", NULL);
	cmd.input = input.data;
	cmd.input_len = input.len;
	r->touched = true;
	if (spawn_capture(&cmd, &out, fail) < 0)
		fail_context(fail, "the index was not restored");
done:
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}
