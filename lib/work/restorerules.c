/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "restoreplan.h"

#include "content.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * "It reverted .gitignore first, then cleaned": what is deleted must be ignored by
 * neither the rules that hold now nor those that will hold. git itself judges both:
 * once in the work tree, once in a folder that has nothing but the .gitignore files
 * of the checkpoint.
 */

static const char reason_ignored[] = "ignored";

#define GITIGNORE_MAX ((size_t)100 << 20)

static bool is_delete(const struct restore_item *item)
{
	return item->action == RESTORE_DELETE && restore_goes(item);
}

static size_t count_deletes(const struct restore *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->count; i++)
		n += is_delete(&r->items[i]);
	return n;
}

/* Keeps the deletes that git check-ignore names in `work_tree`. */
static int judge(struct restore *r, const char *work_tree, struct fail *fail)
{
	struct bytes input = BYTES_INIT, out = BYTES_INIT;
	struct spawn cmd = SPAWN_INIT;
	const char *p, *end;

	/* "./": a leading colon would be pathspec magic. */
	for (size_t i = 0; i < r->count; i++)
		if (is_delete(&r->items[i])) {
			bytes_adds(&input, "./");
			bytes_add(&input, r->items[i].path, strlen(r->items[i].path) + 1);
		}
	restore_git(r, work_tree, &cmd);
	cmd.input = input.data;
	cmd.input_len = input.len;
	argv_push_all(&cmd.argv, "check-ignore", "--no-index", "-z", "-v", "-n", "--stdin", NULL);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status > 1)
		fail_set(fail, FAIL_FATAL, "git check-ignore: exit status %d: %.*s", cmd.status,
			 (int)strcspn(cmd.err.data, "\n"), cmd.err.data);
	p = out.data;
	end = p + out.len;
	/* Each answer: source, line, pattern (a "!" says: not ignored), path. */
	for (size_t i = 0; fail->kind == 0 && i < r->count; i++) {
		const char *source = p, *pattern = "";

		if (!is_delete(&r->items[i]))
			continue;
		for (int field = 0; field < 4 && p < end; field++) {
			if (field == 2)
				pattern = p;
			p += strlen(p) + 1;
		}
		if (p > end || p == source)
			fail_set(fail, FAIL_FATAL, "git check-ignore: unexpected answer");
		else if (*source && *pattern != '!')
			restore_keep(&r->items[i], reason_ignored);
	}
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}

/* ---- the rules that will hold -------------------------------------------------------- */

/* What will stand at the path: the checkpoint's entry, or without one what the plan leaves. */
static int future_entry(struct restore *r, const char *path, struct tree_entry *entry,
			bool *recorded, struct fail *fail)
{
	const struct restore_item *item = restore_find(r, path);
	struct tree_entry now = {0};

	if (restore_entry(r->odb, &r->present, path, &now, fail) < 0)
		return fail->kind;
	if (r->target.segment) {
		if (restore_entry(r->odb, &r->target.tree, path, entry, fail) < 0)
			return fail->kind;
	} else if (item) {
		entry->mode = item->new_mode;
		entry->oid = item->new_oid;
	} else {
		*entry = now;
	}
	*recorded = now.mode || entry->mode;
	return 0;
}

/* The text of the .gitignore at `path` as it will be; false: there will be none. */
static int future_text(struct restore *r, const char *path, bool *found, struct bytes *text,
		       struct fail *fail)
{
	struct tree_entry entry = {0};
	struct content content = CONTENT_INIT;
	bool recorded = true;

	*found = false;
	if (future_entry(r, path, &entry, &recorded, fail) < 0)
		return fail->kind;
	if (S_ISREG(entry.mode)) {
		*found = true;
		return odb_read_type(r->odb, &entry.oid, OBJECT_BLOB, text, fail);
	}
	/* One that no checkpoint records stays as it is. */
	if (!recorded && content_open(&content, r->top, path) == CONTENT_FILE &&
	    (size_t)content.st.st_size < GITIGNORE_MAX && content_fill(&content)) {
		*found = true;
		bytes_add(text, content.data.data, content.data.len);
	}
	content_release(&content);
	return 0;
}

static int write_rules(int dir, const char *path, const struct bytes *text, struct fail *fail)
{
	const struct file_modes modes = FILE_MODES_PRIVATE;
	size_t n = strlen(path) - strlen(".gitignore");
	char *parent = mem_dup(path, n ? n - 1 : 0);
	int fd = -1;

	if (*parent && file_make_dirs(dir, parent, &modes, fail) < 0)
		goto done;
	fd = file_open(dir, path, O_WRONLY | O_CREAT | O_TRUNC, &modes, fail);
	if (fd >= 0)
		file_write_fd(fd, path, text->data, text->len, fail);
done:
	if (fd >= 0)
		close(fd);
	free(parent);
	return fail->kind;
}

/* The .gitignore of each directory above `path`, those shared with `previous` left out. */
static int write_rules_above(struct restore *r, int dir, const char *path, const char *previous,
			     struct fail *fail)
{
	size_t at = 0;

	for (;;) {
		const char *slash = strchr(path + at, '/');
		char *name = mem_printf("%.*s.gitignore", (int)at, path);
		struct bytes text = BYTES_INIT;
		bool found = false;

		if (!previous || strncmp(previous, path, at) != 0)
			future_text(r, name, &found, &text, fail);
		if (fail->kind == 0 && found)
			write_rules(dir, name, &text, fail);
		bytes_release(&text);
		free(name);
		if (!slash || fail->kind)
			return fail->kind;
		at = (size_t)(slash - path) + 1;
	}
}

static int write_all_rules(struct restore *r, const char *folder, struct fail *fail)
{
	const char *previous = NULL;
	int dir;

	if (mkdir(folder, 0777) < 0)
		return fail_errno(fail, "create '%s'", folder);
	dir = file_open_dir(AT_FDCWD, folder, fail);
	if (dir < 0)
		return dir;
	for (size_t i = 0; i < r->count && fail->kind == 0; i++)
		if (is_delete(&r->items[i])) {
			write_rules_above(r, dir, r->items[i].path, previous, fail);
			previous = r->items[i].path;
		}
	close(dir);
	return fail->kind;
}

int restore_judge_rules(struct restore *r, struct fail *fail)
{
	char *folder;

	if (!count_deletes(r) || judge(r, r->repo->work_tree, fail) < 0 || !count_deletes(r))
		return fail->kind;
	folder = mem_printf("%s/rules", r->plumb.dir);
	if (write_all_rules(r, folder, fail) == 0)
		judge(r, folder, fail);
	free(folder);
	return fail->kind;
}
