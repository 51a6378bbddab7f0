/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "submodule.h"

#include "beneath.h"
#include "repo.h"
#include "spawn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GITLINK 0160000

/* Paths in one command: far below what the kernel takes at 4096 bytes each. */
#define AT_ONCE 128

/* ---- which there are ----------------------------------------------------------------- */

static bool stands_under(const char *path, const struct argv *under)
{
	for (size_t i = 0; under && i < under->count; i++) {
		size_t n = strlen(under->items[i]);

		if (!strncmp(path, under->items[i], n) && (!path[n] || path[n] == '/'))
			return true;
	}
	return !under;
}

void submodules_in_index(const struct index *index, const struct argv *under, struct argv *paths)
{
	for (uint32_t i = 0; i < index->count; i++) {
		const struct index_entry *entry = &index->entries[i];

		if (entry->mode == GITLINK && !entry->stage && stands_under(entry->name, under))
			argv_push(paths, entry->name);
	}
}

int submodules_by_git(struct repo *repo, const char *const *pathspecs, size_t count,
		      struct argv *paths, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "ls-files", "-s", "-z", "--full-name", "--", NULL);
	if (!count)
		argv_push(&cmd.argv, ":/");
	for (size_t i = 0; i < count; i++)
		argv_push(&cmd.argv, pathspecs[i]);
	/* Each: "<mode> <id> <stage>" TAB path. */
	if (spawn_capture(&cmd, &out, fail) == 0)
		for (const char *p = out.data; p < out.data + out.len; p += strlen(p) + 1) {
			const char *tab = strchr(p, '\t');

			if (tab && !strncmp(p, "160000 ", 7) && tab[-1] == '0')
				argv_push(paths, tab + 1);
		}
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

static int keep_populated(const struct repo *repo, const struct argv *paths, struct argv *populated,
			  struct fail *fail)
{
	int root = open(repo->work_tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return fail_errno(fail, "open '%s'", repo->work_tree);
	for (size_t i = 0; i < paths->count; i++) {
		char *inner = mem_printf("%s/.git", paths->items[i]);
		int fd = beneath_open(root, inner, O_PATH);

		if (fd >= 0) {
			close(fd);
			argv_push(populated, paths->items[i]);
		}
		free(inner);
	}
	close(root);
	return 0;
}

/* ---- what is going on inside ------------------------------------------------------------ */

/* What stands behind the first `n` blanks. */
static const char *field(const char *record, int n)
{
	while (n-- > 0 && (record = strchr(record, ' ')))
		record++;
	return record;
}

/*
 * Records of porcelain format 2: "1 XY <sub> <7 fields> path", "u XY <sub> <9 fields>
 * path"; others do not tell of submodules. <sub> is "S<c><m><u>": at another commit,
 * modified inside, untracked inside.
 */
static void take_dirty(const struct bytes *answer, struct argv *dirty)
{
	const char *end = answer->data + answer->len;

	for (const char *p = answer->data; p < end; p += strlen(p) + 1) {
		const char *sub, *path;

		if ((p[0] != '1' && p[0] != 'u') || p[1] != ' ')
			continue;
		sub = field(p, 2);
		path = field(p, p[0] == '1' ? 8 : 10);
		if (sub && path && sub[0] == 'S' && (sub[2] == 'M' || sub[3] == 'U'))
			argv_push(dirty, path);
	}
}

static int ask_git(struct repo *repo, char *const *paths, size_t count, int *status,
		   struct argv *dirty, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	repo_git(repo, &cmd);
	repo_git_at_top(repo, &cmd); /* that is where these paths start */
	argv_pushf(&cmd.env, "GIT_INDEX_FILE=%s", repo->index_path);
	argv_push(&cmd.env, "GIT_LITERAL_PATHSPECS=1");
	argv_push(&cmd.env, "GIT_NO_LAZY_FETCH=1");
	/* What this setting hides in a status is work all the same. */
	argv_push_all(&cmd.argv, "-c", "status.showUntrackedFiles=normal", "status",
		      "--porcelain=v2", "-z", "--no-renames", "--untracked-files=normal", "--",
		      NULL);
	for (size_t i = 0; i < count; i++)
		argv_push(&cmd.argv, paths[i]);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status == 0)
		take_dirty(&out, dirty);
	*status = cmd.status;
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* A submodule in which git fails must not hide the others: each by itself then. */
static int ask_some(struct repo *repo, char *const *paths, size_t count, struct argv *dirty,
		    struct argv *unreadable, struct fail *fail)
{
	int status;

	if (ask_git(repo, paths, count, &status, dirty, fail) < 0 || status == 0)
		return fail->kind;
	if (count == 1) {
		argv_push(unreadable, paths[0]);
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		if (ask_some(repo, paths + i, 1, dirty, unreadable, fail) < 0)
			return fail->kind;
	return 0;
}

int submodules_dirty(struct repo *repo, const struct argv *paths, struct argv *dirty,
		     struct argv *unreadable, struct fail *fail)
{
	struct argv populated = ARGV_INIT;

	if (paths->count && keep_populated(repo, paths, &populated, fail) == 0)
		for (size_t i = 0; i < populated.count && fail->kind == 0; i += AT_ONCE)
			ask_some(repo, populated.items + i, size_min(AT_ONCE, populated.count - i),
				 dirty, unreadable, fail);
	argv_release(&populated);
	return fail->kind;
}
