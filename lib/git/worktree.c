/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "worktree.h"

#include "ref.h"
#include "spawn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TEXT (1 << 20) /* of a file that git writes there; all are far smaller */

extern char **environ;

/* ---- small files ------------------------------------------------------------------- */

/* Without white space at its end, as git reads its own files. */
static void trim_end(struct bytes *text)
{
	while (text->len && isspace((unsigned char)text->data[text->len - 1]))
		text->len--;
	if (text->cap)
		text->data[text->len] = '\0';
}

/* Reads a file in full; false when it is missing or nothing that git wrote. */
static bool read_text(int dir, const char *name, struct bytes *out)
{
	struct fail ignored = FAIL_INIT;

	bytes_clear(out);
	if (file_read(dir, name, MAX_TEXT, out, &ignored) < 0) {
		bytes_clear(out);
		return false;
	}
	trim_end(out);
	return true;
}

static bool is_there(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- which branches a worktree has ---------------------------------------------------- */

/* "ref: refs/heads/x", or a symbolic link to refs/heads/x, which git still follows. */
static char *read_head(int admin)
{
	struct bytes text = BYTES_INIT;
	char link[PATH_MAX];
	char *branch = NULL;
	ssize_t n = readlinkat(admin, "HEAD", link, sizeof(link) - 1);

	if (n > 0) {
		link[n] = '\0';
		branch = mem_strdup(link);
	} else if (read_text(admin, "HEAD", &text) && !strncmp(text.data, "ref:", 4)) {
		branch = mem_strdup(text.data + 4 + strspn(text.data + 4, " \t"));
	}
	bytes_release(&text);
	if (branch && !refname_valid(branch)) {
		free(branch);
		branch = NULL;
	}
	return branch;
}

static void hold(struct worktree *worktree, const char *branch, size_t len)
{
	char *name = mem_dup(branch, len);

	if (!strncmp(name, "refs/heads/", 11) && refname_valid(name))
		argv_take(&worktree->held, name);
	else
		free(name);
}

/* rebase --update-refs lists what it will move: three lines each, the name first. */
static void hold_updated(struct worktree *worktree, const char *text)
{
	for (size_t line = 0; *text; line++) {
		size_t n = strcspn(text, "\n");

		if (line % 3 == 0)
			hold(worktree, text, n);
		text += n + (text[n] == '\n');
	}
}

static void read_held(int admin, struct worktree *worktree)
{
	struct bytes text = BYTES_INIT;
	char *branch;

	if (read_text(admin, "rebase-merge/head-name", &text))
		hold(worktree, text.data, text.len);
	if (read_text(admin, "rebase-merge/update-refs", &text))
		hold_updated(worktree, text.data);
	/* git am keeps its state there too, and has no branch to come back to. */
	if (!is_there(admin, "rebase-apply/applying") &&
	    read_text(admin, "rebase-apply/head-name", &text))
		hold(worktree, text.data, text.len);
	if (is_there(admin, "BISECT_LOG") && read_text(admin, "BISECT_START", &text)) {
		branch = mem_printf("%s%s",
				    strncmp(text.data, "refs/heads/", 11) ? "refs/heads/" : "",
				    text.data);
		hold(worktree, branch, strlen(branch));
		free(branch);
	}
	bytes_release(&text);
}

/* ---- where it is -------------------------------------------------------------------------- */

/*
 * git writes the path relative to the admin directory when it was asked to. That
 * directory's own path is a real one, so each leading ".." takes one name off it.
 */
static char *resolve(const char *admin_path, const char *path)
{
	size_t n = strlen(admin_path);

	if (path[0] == '/')
		return mem_strdup(path);
	while (!strncmp(path, "../", 3) || !strncmp(path, "./", 2)) {
		if (path[1] == '/') {
			path += 2;
			continue;
		}
		while (n && admin_path[n - 1] != '/')
			n--;
		n -= n > 0;
		path += 3 + strspn(path + 3, "/");
	}
	return mem_printf("%.*s/%s", (int)n, admin_path, path);
}

static char *read_path(const struct repo *repo, int admin, const char *id)
{
	struct bytes text = BYTES_INIT;
	char *admin_path = mem_printf("%s/worktrees/%s", repo->common_dir, id);
	char *path = NULL;

	if (read_text(admin, "gitdir", &text) && text.len) {
		if (text.len > 5 && !strcmp(text.data + text.len - 5, "/.git"))
			bytes_truncate(&text, text.len - 5);
		path = resolve(admin_path, text.data);
	}
	free(admin_path);
	bytes_release(&text);
	return path;
}

static char *read_locked(int admin)
{
	struct bytes text = BYTES_INIT;
	char *reason = NULL;

	/* Something unreadable of that name holds it locked too, for git. */
	if (read_text(admin, "locked", &text) || is_there(admin, "locked"))
		reason = mem_strdup(text.data);
	bytes_release(&text);
	return reason;
}

/* ---- the main worktree ------------------------------------------------------------------------
 */

/* One file's settings. It may use what libgit2 does not know: then it says nothing. */
static void read_main_file(const char *path, struct worktree_main *out)
{
	git_config *config = NULL;
	git_buf value = {0};
	int bare = 0;

	if (git_config_open_ondisk(&config, path) < 0)
		return;
	if (git_config_get_bool(&bare, config, "core.bare") == 0)
		out->bare = bare;
	if (git_config_get_string_buf(&value, config, "core.worktree") == 0) {
		free(out->work_tree);
		out->work_tree = mem_strdup(value.ptr);
	}
	git_buf_dispose(&value);
	git_config_free(config);
}

int worktree_main_read(const struct repo *repo, struct worktree_main *out, UNUSED struct fail *fail)
{
	static const char *const files[] = {"config", "config.worktree"};

	*out = (struct worktree_main){.bare = !repo->worktree_id && repo->bare};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char *path = mem_printf("%s/%s", repo->common_dir, files[i]);

		/* Without extensions.worktreeConfig git does not read the second. */
		if (i == 0 || repo->conf.worktree_config)
			read_main_file(path, out);
		free(path);
	}
	return 0;
}

static char *main_path(const struct repo *repo, const struct worktree_main *settings)
{
	size_t n = strlen(repo->common_dir);

	if (!repo->worktree_id && repo->work_tree)
		return mem_strdup(repo->work_tree);
	if (settings->bare)
		return NULL;
	if (settings->work_tree)
		return resolve(repo->common_dir, settings->work_tree);
	if (n > 5 && !strcmp(repo->common_dir + n - 5, "/.git"))
		return mem_dup(repo->common_dir, n - 5);
	return NULL;
}

/* ---- the list
 * ------------------------------------------------------------------------------------ */

static struct worktree *add(struct worktrees *list)
{
	MEM_GROW(list->items, list->cap, list->count + 1);
	list->items[list->count] = (struct worktree){.held = ARGV_INIT};
	return &list->items[list->count++];
}

static int add_main(struct repo *repo, struct worktrees *list, struct fail *fail)
{
	struct worktree *worktree = add(list);
	struct worktree_main settings = {0};

	if (worktree_main_read(repo, &settings, fail) < 0)
		return fail->kind;
	worktree->bare = settings.bare;
	worktree->path = main_path(repo, &settings);
	if (!worktree->bare) {
		if (!repo->refs_by_git)
			worktree->branch = read_head(repo->common_fd);
		read_held(repo->common_fd, worktree);
	}
	free(settings.work_tree);
	return 0;
}

/* One that is being removed while we look is not there. */
static int add_linked(struct repo *repo, int dir, const char *id, struct worktrees *list,
		      struct fail *fail)
{
	struct worktree *worktree;
	int admin = openat(dir, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (admin < 0 && errno == ENOENT)
		return 0;
	/* Too many open files would make others' branches look free. */
	if (admin < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return fail_errno(fail, "open 'worktrees/%s'", id);
	worktree = add(list);
	worktree->id = mem_strdup(id);
	if (admin < 0)
		return 0;
	worktree->path = read_path(repo, admin, id);
	worktree->locked = read_locked(admin);
	if (!repo->refs_by_git)
		worktree->branch = read_head(admin);
	read_held(admin, worktree);
	close(admin);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct worktree *left = a, *right = b;

	return strcmp(left->id, right->id);
}

static int add_all_linked(struct repo *repo, struct worktrees *list, struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	int dir = file_open_dir(repo->common_fd, "worktrees", fail);

	if (dir == FAIL_GONE) {
		fail_clear(fail);
		return 0;
	}
	if (dir < 0)
		return dir;
	if (file_each_name(dir, &names, fail) == 0) {
		const char *p = names.data;

		for (; fail->kind == 0 && p < names.data + names.len; p += strlen(p) + 1)
			add_linked(repo, dir, p, list, fail);
		if (list->count > 1)
			qsort(list->items + 1, list->count - 1, sizeof(*list->items), by_id);
	}
	bytes_release(&names);
	close(dir);
	return fail->kind;
}

/* ---- HEADs that only git can read
 * ------------------------------------------------------------------ */

static int branch_by_git(struct repo *repo, struct worktree *worktree, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "symbolic-ref", "-q", NULL);
	if (worktree->id)
		argv_pushf(&cmd.argv, "worktrees/%s/HEAD", worktree->id);
	else
		argv_push(&cmd.argv, "main-worktree/HEAD");
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status == 0) {
		bytes_chomp(&out);
		worktree->branch = bytes_take(&out);
	}
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* The worktree that git's listing calls `path`; NULL when that is nobody, or not only one. */
static struct worktree *by_path(struct worktrees *list, const char *path)
{
	struct worktree *found = NULL;

	for (size_t i = 0; i < list->count; i++) {
		struct worktree *worktree = &list->items[i];

		if (!worktree->path || strcmp(worktree->path, path) != 0)
			continue;
		if (found)
			return NULL;
		found = worktree;
	}
	return found;
}

/* Takes one record of `git worktree list --porcelain -z`; returns where the next one begins. */
static const char *take_record(const char *p, const char *end, struct worktrees *list, bool *known)
{
	struct worktree *worktree = NULL;
	const char *branch = NULL;
	bool told = false;

	for (; p < end && *p; p += strlen(p) + 1) {
		if (!strncmp(p, "worktree ", 9))
			worktree = by_path(list, p + 9);
		else if (!strncmp(p, "branch ", 7))
			branch = p + 7;
		told |= !strncmp(p, "branch ", 7) || !strcmp(p, "detached");
	}
	if (worktree && told) {
		known[worktree - list->items] = true;
		if (branch && !worktree->branch)
			worktree->branch = mem_strdup(branch);
	}
	return p + 1;
}

static int branches_by_git(struct repo *repo, struct worktrees *list, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	bool *known = mem_array(list->count, sizeof(*known));

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "worktree", "list", "--porcelain", "-z", NULL);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status == 0) {
		const char *p = out.data, *end = out.data + out.len;

		while (p < end)
			p = take_record(p, end, list, known);
	}
	for (size_t i = 0; fail->kind == 0 && i < list->count; i++)
		if (!known[i] && !list->items[i].bare)
			branch_by_git(repo, &list->items[i], fail);
	free(known);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* ---- the room's front
 * --------------------------------------------------------------------------------- */

int worktrees_list(struct repo *repo, struct worktrees *out, struct fail *fail)
{
	*out = (struct worktrees){0};
	if (add_main(repo, out, fail) < 0 || add_all_linked(repo, out, fail) < 0)
		return fail->kind;
	if (repo->refs_by_git)
		branches_by_git(repo, out, fail);
	return fail->kind;
}

void worktrees_release(struct worktrees *worktrees)
{
	for (size_t i = 0; i < worktrees->count; i++) {
		struct worktree *worktree = &worktrees->items[i];

		free(worktree->id);
		free(worktree->path);
		free(worktree->branch);
		free(worktree->locked);
		argv_release(&worktree->held);
	}
	free(worktrees->items);
	*worktrees = (struct worktrees){0};
}

static bool has_branch(const struct worktree *worktree, const char *branch)
{
	if (worktree->branch && !strcmp(worktree->branch, branch))
		return true;
	for (size_t i = 0; i < worktree->held.count; i++)
		if (!strcmp(worktree->held.items[i], branch))
			return true;
	return false;
}

const struct worktree *worktrees_on_branch(const struct worktrees *worktrees, const char *branch,
					   const char *but)
{
	for (size_t i = 0; i < worktrees->count; i++) {
		const struct worktree *worktree = &worktrees->items[i];

		if (but && worktree->id && !strcmp(worktree->id, but))
			continue;
		if (has_branch(worktree, branch))
			return worktree;
	}
	return NULL;
}

int worktree_open_admin(struct repo *repo, const char *id, struct fail *fail)
{
	int dir, admin;

	if (!*id || strchr(id, '/') || !strcmp(id, ".") || !strcmp(id, ".."))
		return fail_set(fail, FAIL_GONE, "there is no worktree '%s'", id);
	dir = file_open_dir(repo->common_fd, "worktrees", fail);
	admin = dir < 0 ? dir : file_open_dir(dir, id, fail);
	if (dir >= 0)
		close(dir);
	if (admin == FAIL_GONE) {
		fail_clear(fail);
		fail_set(fail, FAIL_GONE, "there is no worktree '%s'", id);
	}
	return admin;
}

/* ---- leaving a repository
 * ----------------------------------------------------------------------------- */

/* What git 2.39 and 2.55 list; GIT_INTERNAL_SUPER_PREFIX is of the older only. */
const char *const worktree_local_env[] = {
	"GIT_ALTERNATE_OBJECT_DIRECTORIES",
	"GIT_CONFIG",
	"GIT_CONFIG_PARAMETERS",
	"GIT_CONFIG_COUNT",
	"GIT_OBJECT_DIRECTORY",
	"GIT_DIR",
	"GIT_WORK_TREE",
	"GIT_IMPLICIT_WORK_TREE",
	"GIT_GRAFT_FILE",
	"GIT_INDEX_FILE",
	"GIT_NO_REPLACE_OBJECTS",
	"GIT_REPLACE_REF_BASE",
	"GIT_PREFIX",
	"GIT_INTERNAL_SUPER_PREFIX",
	"GIT_SHALLOW_FILE",
	"GIT_COMMON_DIR",
	NULL,
};

static bool is_config_pair(const char *variable)
{
	return !strncmp(variable, "GIT_CONFIG_KEY_", 15) ||
	       !strncmp(variable, "GIT_CONFIG_VALUE_", 17);
}

void worktree_forget_env(struct argv *env)
{
	for (size_t i = 0; worktree_local_env[i]; i++)
		argv_push(env, worktree_local_env[i]);
	for (char **variable = environ; *variable; variable++)
		if (is_config_pair(*variable))
			argv_take(env, mem_dup(*variable, strcspn(*variable, "=")));
}

int worktree_leave_for(int dir, struct fail *fail)
{
	struct argv names = ARGV_INIT;

	if (fchdir(dir) < 0)
		return fail_errno(fail, "enter the worktree");
	worktree_forget_env(&names);
	for (size_t i = 0; i < names.count; i++)
		unsetenv(names.items[i]);
	argv_release(&names);
	return 0;
}

int worktree_enter(int dir, struct repo *repo, struct fail *fail)
{
	if (worktree_leave_for(dir, fail) < 0)
		return fail->kind;
	return repo_open(repo, REPO_WORK_TREE, fail);
}
