/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "repo.h"

#include "number.h"
#include "ref.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *engine_name(enum engine engine)
{
	return engine == ENGINE_NATIVE ? "native" : "git";
}

static const char cannot_open[] = "libgit2 cannot open it";

void repo_use_git(struct repo *repo, const char *reason)
{
	/* What libgit2 could not open, git's own config usually explains. */
	if (repo->engine == ENGINE_GIT && strcmp(repo->engine_reason, cannot_open) != 0)
		return;
	repo->engine = ENGINE_GIT;
	snprintf(repo->engine_reason, sizeof(repo->engine_reason), "%s", reason);
}

/* ---- what the environment says ----------------------------------------------- */

/* Variables that libgit2 ignores, or reads another way than git. */
static const char *environment_row(void)
{
	static const char *const rows[] = {
		"GIT_WORK_TREE",	  "GIT_COMMON_DIR",
		"GIT_OBJECT_DIRECTORY",	  "GIT_ALTERNATE_OBJECT_DIRECTORIES",
		"GIT_CONFIG_COUNT",	  "GIT_CONFIG_PARAMETERS",
		"GIT_CONFIG_GLOBAL",	  "GIT_CONFIG_SYSTEM",
		"GIT_NAMESPACE",	  "GIT_CEILING_DIRECTORIES",
		"GIT_ATTR_SOURCE",	  "GIT_DISCOVERY_ACROSS_FILESYSTEM",
		"GIT_IMPLICIT_WORK_TREE", "GIT_QUARANTINE_PATH",
		"GIT_REFERENCE_BACKEND",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (getenv(rows[i]))
			return rows[i];
	return NULL;
}

static char *absolute(const char *path)
{
	char *real = realpath(path, NULL);
	char *cwd, *joined;

	if (real)
		return real;
	if (path[0] == '/')
		return mem_strdup(path);
	cwd = getcwd(NULL, 0);
	joined = mem_printf("%s/%s", cwd ? cwd : "", path);
	free(cwd);
	return joined;
}

/* ---- the native way --------------------------------------------------------------- */

static char *without_slash(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return mem_dup(path, n);
}

/* Does this process own it, as git's safe.directory rule asks? If not, git decides. */
static bool owned(const char *path)
{
	const char *sudo = getenv("SUDO_UID");
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	if (st.st_uid == geteuid())
		return true;
	return geteuid() == 0 && sudo && strtoul(sudo, NULL, 10) == st.st_uid;
}

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return !strncmp(path, top, n) && (!path[n] || path[n] == '/');
}

/* The current directory below the work tree, with a slash behind it; NULL inside .git. */
static int find_prefix(struct repo *repo, struct fail *fail)
{
	char *cwd = getcwd(NULL, 0);
	size_t n;

	if (!cwd)
		return fail_errno(fail, "read the current directory");
	if (repo->work_tree && !is_below(cwd, repo->git_dir)) {
		n = strlen(repo->work_tree);
		if (!strcmp(cwd, repo->work_tree))
			repo->prefix = mem_strdup("");
		else if (!strcmp(repo->work_tree, "/"))
			repo->prefix = mem_printf("%s/", cwd + 1);
		else if (is_below(cwd, repo->work_tree))
			repo->prefix = mem_printf("%s/", cwd + n + 1);
	}
	free(cwd);
	return 0;
}

static int take_native_config(struct repo *repo, struct fail *fail)
{
	git_config *config = NULL;
	git_config_iterator *iterator = NULL;
	git_config_entry *entry;
	int r = 0;

	if (git_repository_config(&config, repo->handle) < 0 ||
	    git_config_iterator_new(&iterator, config) < 0) {
		repo_use_git(repo, "config");
		goto done;
	}
	while (r == 0 && git_config_next(&entry, iterator) == 0)
		r = gitconf_take(repo, entry->name, entry->value, fail);
done:
	git_config_iterator_free(iterator);
	git_config_free(config);
	return r;
}

static bool names_worktree(const struct repo *repo)
{
	size_t n = strlen(repo->common_dir);

	return !strncmp(repo->git_dir, repo->common_dir, n) &&
	       !strncmp(repo->git_dir + n, "/worktrees/", 11);
}

/* GIT_DIR alone means that the current directory is the work tree: is it what libgit2 took? */
static bool work_tree_agrees(const struct repo *repo)
{
	char *cwd;
	bool agrees;

	if (!getenv("GIT_DIR") || !repo->work_tree)
		return true;
	cwd = getcwd(NULL, 0);
	agrees = cwd && !strcmp(cwd, repo->work_tree);
	free(cwd);
	return agrees;
}

/*
 * GIT_INDEX_FILE, which is relative in git's own hooks: git takes it from the top of the work
 * tree, into which it has changed by then. Where it does not change, git is asked: NULL.
 */
static char *native_index_path(struct repo *repo, struct fail *fail)
{
	const char *index = getenv("GIT_INDEX_FILE");

	if (!index)
		return mem_printf("%s/index", repo->git_dir);
	if (index[0] == '/')
		return mem_strdup(index);
	if (!index[0] || (!repo->prefix && find_prefix(repo, fail) < 0) || !repo->prefix)
		return NULL;
	return mem_printf("%s/%s", repo->work_tree, index);
}

/* Fills the paths from libgit2; false when git should look instead. */
static bool native_paths(struct repo *repo)
{
	const char *work_tree = git_repository_workdir(repo->handle);

	repo->git_dir = without_slash(git_repository_path(repo->handle));
	repo->common_dir = without_slash(git_repository_commondir(repo->handle));
	repo->object_dir = mem_printf("%s/objects", repo->common_dir);
	repo->bare = git_repository_is_bare(repo->handle);
	repo->work_tree = work_tree ? absolute(work_tree) : NULL;
	repo->algo = HASH_SHA1;
	return owned(repo->git_dir) && (!repo->work_tree || owned(repo->work_tree)) &&
	       work_tree_agrees(repo);
}

/* A boolean of git's; a value that is none is git's to refuse. */
static bool without_system(struct repo *repo)
{
	const char *name = "GIT_CONFIG_NOSYSTEM", *value = getenv(name);
	struct fail ignored = FAIL_INIT;
	bool set = false;

	if (value && bool_parse(value, name, &set, &ignored) < 0)
		repo_use_git(repo, name);
	return set;
}

static int open_native(struct repo *repo, struct fail *fail)
{
	const char *git_dir = getenv("GIT_DIR");
	unsigned flags =
		git_dir ? GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_NO_DOTGIT : 0;

	/* Ownership is checked below, and git is asked when it is not plain. */
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	if (without_system(repo))
		git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_SYSTEM, "");
	if (git_repository_open_ext(&repo->handle, git_dir ? git_dir : ".", flags, NULL) < 0) {
		repo_use_git(repo, cannot_open);
		return 0;
	}
	if (!native_paths(repo)) {
		repo_use_git(repo, "owner or work tree");
		return 0;
	}
	repo->index_path = native_index_path(repo, fail);
	if (fail->kind)
		return fail->kind;
	if (!repo->index_path) {
		repo_use_git(repo, "relative GIT_INDEX_FILE");
		return 0;
	}
	return take_native_config(repo, fail);
}

/* ---- git's way ---------------------------------------------------------------------- */

void repo_git_with_hooks(UNUSED const struct repo *repo, struct spawn *cmd)
{
	argv_push(&cmd->argv, "git");
	argv_push_all(&cmd->env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0",
		      "GIT_EDITOR=:", "GIT_PAGER=cat", NULL);
}

void repo_git(const struct repo *repo, struct spawn *cmd)
{
	repo_git_with_hooks(repo, cmd);
	argv_push_all(&cmd->argv, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
		      "-c", "gc.auto=0", NULL);
	for (size_t i = 0; i < repo->conf.config_hooks.count; i++) {
		argv_push(&cmd->argv, "-c");
		argv_pushf(&cmd->argv, "hook.%s.enabled=false", repo->conf.config_hooks.items[i]);
	}
}

void repo_git_at_top(const struct repo *repo, struct spawn *cmd)
{
	cmd->cwd = repo->work_tree;
	argv_pushf(&cmd->env, "GIT_DIR=%s", repo->git_dir);
	argv_pushf(&cmd->env, "GIT_COMMON_DIR=%s", repo->common_dir);
	argv_pushf(&cmd->env, "GIT_WORK_TREE=%s", repo->work_tree);
}

/* The lines of an answer; their number must be `count`, or a path has a newline in it. */
static int split_lines(struct bytes *answer, char **lines, size_t count, struct fail *fail)
{
	char *p = answer->data;

	for (size_t i = 0; i < count; i++) {
		char *end = strchr(p, '\n');

		if (!end)
			return fail_set(fail, FAIL_FATAL,
					"git rev-parse gave an incomplete answer");
		*end = '\0';
		lines[i] = p;
		p = end + 1;
	}
	if (*p)
		return fail_set(fail, FAIL_UNSUPPORTED,
				"the path of the repository contains a newline; rename the "
				"directory");
	return 0;
}

/* git's own words, as it says them to everybody ("fatal: not a git repository ..."). */
static int git_refused(const struct spawn *cmd, struct fail *fail)
{
	const char *text = cmd->err.data;
	int n;

	if (!strncmp(text, "fatal: ", 7))
		text += 7;
	n = (int)strcspn(text, "\n");
	return fail_set(fail, FAIL_FATAL, "%.*s", n ? n : 40,
			n ? text : "git rev-parse failed without a word");
}

static int rev_parse(struct repo *repo, struct bytes *out, struct fail *fail, ...)
	__attribute__((sentinel));

static int rev_parse(struct repo *repo, struct bytes *out, struct fail *fail, ...)
{
	struct spawn cmd = SPAWN_INIT;
	const char *arg;
	va_list ap;

	repo_git(repo, &cmd);
	argv_push(&cmd.argv, "rev-parse");
	va_start(ap, fail);
	while ((arg = va_arg(ap, const char *)))
		argv_push(&cmd.argv, arg);
	va_end(ap);
	if (spawn_capture_any(&cmd, out, fail) == 0 && cmd.status)
		git_refused(&cmd, fail);
	spawn_release(&cmd);
	return fail->kind;
}

static int git_paths(struct repo *repo, struct fail *fail)
{
	struct bytes answer = BYTES_INIT;
	char *line[7];
	bool inside = false;

	if (rev_parse(repo, &answer, fail, "--absolute-git-dir", "--git-common-dir", "--git-path",
		      "objects", "--git-path", "index", "--show-object-format",
		      "--is-bare-repository", "--is-inside-work-tree", NULL) == 0 &&
	    split_lines(&answer, line, ARRAY_SIZE(line), fail) == 0) {
		repo->git_dir = absolute(line[0]);
		repo->common_dir = absolute(line[1]);
		repo->object_dir = absolute(line[2]);
		repo->index_path = absolute(line[3]);
		repo->algo = !strcmp(line[4], "sha256") ? HASH_SHA256 : HASH_SHA1;
		repo->bare = !strcmp(line[5], "true");
		inside = !strcmp(line[6], "true");
	}
	bytes_clear(&answer);
	/* Also from outside the work tree, when GIT_WORK_TREE or core.worktree names it. */
	if (fail->kind == 0 && !repo->bare &&
	    rev_parse(repo, &answer, fail, "--show-toplevel", NULL) == 0) {
		bytes_chomp(&answer);
		repo->work_tree = absolute(answer.data);
		/* Not --show-prefix: names on the way may hold newlines. */
		if (find_prefix(repo, fail) == 0 && !repo->prefix && !inside)
			repo->prefix = mem_strdup("");
	} else if (fail->kind && !inside && repo->git_dir) {
		fail_clear(fail); /* inside the repository itself: no work tree from here */
	}
	bytes_release(&answer);
	return fail->kind;
}

static int take_git_config(struct repo *repo, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;
	char *p, *end;
	int r;

	/* Not through repo_git(): its own -c settings would be listed as the user's. */
	argv_push_all(&cmd.argv, "git", "config", "--list", "-z", NULL);
	r = spawn_capture(&cmd, &answer, fail);
	p = answer.data;
	end = p + answer.len;
	while (r == 0 && p < end) {
		char *next = p + strlen(p) + 1;
		char *value = strchr(p, '\n');

		if (value)
			*value++ = '\0';
		r = gitconf_take(repo, p, value, fail);
		p = next;
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return r;
}

static void free_paths(struct repo *repo)
{
	char **paths[] = {&repo->git_dir, &repo->common_dir, &repo->object_dir, &repo->work_tree,
			  &repo->prefix,  &repo->index_path, &repo->worktree_id};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		free(*paths[i]);
		*paths[i] = NULL;
	}
}

/* Starts over: whatever libgit2 said about paths or settings is not trusted. */
static int open_git(struct repo *repo, struct fail *fail)
{
	git_repository_free(repo->handle);
	repo->handle = NULL;
	free_paths(repo);
	gitconf_release(&repo->conf);
	gitconf_init(&repo->conf, fail);
	if (git_paths(repo, fail) < 0)
		return fail->kind;
	return take_git_config(repo, fail);
}

/* ---- both ------------------------------------------------------------------------------ */

static bool forced(const struct repo *repo, const char *engine)
{
	return repo->conf.engine && !strcmp(repo->conf.engine, engine);
}

static int choose(struct repo *repo, struct fail *fail)
{
	const char *variable = getenv("GIT_INTERLOCK_ENGINE");
	const char *row = environment_row();
	bool native = false;

	if (variable && !strcmp(variable, "git"))
		repo_use_git(repo, "forced");
	else if (row)
		repo_use_git(repo, row);
	else if (open_native(repo, fail) < 0)
		return fail->kind;
	if (repo->engine == ENGINE_NATIVE) {
		native = true;
		if (gitconf_finish(repo, fail) < 0)
			return fail->kind;
		if (forced(repo, "git"))
			repo_use_git(repo, "forced");
	}
	if (repo->engine == ENGINE_NATIVE)
		return 0;
	if (open_git(repo, fail) < 0)
		return fail->kind;
	if (gitconf_finish(repo, fail) < 0)
		return fail->kind;
	if (!native && forced(repo, "native"))
		return fail_set(fail, FAIL_UNSUPPORTED,
				"the native engine cannot be forced here: only git reads this "
				"repository right (%s)",
				repo->engine_reason);
	return 0;
}

int repo_open(struct repo *repo, enum repo_need need, struct fail *fail)
{
	*repo = (struct repo){
		.common_fd = -1, .state_fd = -1, .modes = FILE_MODES_PRIVATE, .algo = HASH_SHA1};
	repo->tolerant = need & REPO_TOLERANT;
	/* It overrides what the repository says about where its refs are. */
	repo->refs_by_git = getenv("GIT_REFERENCE_BACKEND") != NULL;
	git_libgit2_init();
	gitconf_init(&repo->conf, fail);
	if (choose(repo, fail) < 0)
		return fail->kind;
	if (names_worktree(repo))
		repo->worktree_id = mem_strdup(repo->git_dir + strlen(repo->common_dir) + 11);
	if (!repo->prefix && find_prefix(repo, fail) < 0)
		return fail->kind;
	if ((need & REPO_WORK_TREE) && (!repo->work_tree || !repo->prefix))
		return fail_set(fail, FAIL_UNSUPPORTED, "this must be run in a work tree; '%s' %s",
				repo->git_dir,
				repo->bare ? "is a bare repository" : "is inside the repository");
	repo->common_fd = open(repo->common_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (repo->common_fd < 0)
		return fail_errno(fail, "open '%s'", repo->common_dir);
	return 0;
}

void repo_close(struct repo *repo)
{
	git_repository_free(repo->handle);
	repo->handle = NULL;
	free_paths(repo);
	gitconf_release(&repo->conf);
	if (repo->common_fd >= 0)
		close(repo->common_fd);
	if (repo->state_fd >= 0)
		close(repo->state_fd);
	repo->common_fd = repo->state_fd = -1;
	git_libgit2_shutdown();
}

/* Somebody deleted the whole folder while we had it open: there is another one, or none. */
static bool state_dir_is_gone(const struct repo *repo)
{
	struct stat st;

	return fstat(repo->state_fd, &st) == 0 && st.st_nlink == 0;
}

static int open_state(struct repo *repo, struct fail *fail)
{
	if (repo->state_fd >= 0 && !state_dir_is_gone(repo))
		return 0;
	if (repo->state_fd >= 0)
		close(repo->state_fd);
	repo->state_fd = -1;
	repo->state_fd = file_open_dir(repo->common_fd, "interlock", fail);
	if (repo->state_fd == FAIL_GONE) {
		fail_clear(fail);
		if (file_make_dirs(repo->common_fd, "interlock", &repo->modes, fail) == 0)
			repo->state_fd = file_open_dir(repo->common_fd, "interlock", fail);
	}
	return fail->kind;
}

int repo_state_dir(struct repo *repo, const char *sub, struct fail *fail)
{
	int fd = repo->state_fd < 0 ? -1
				    : openat(repo->state_fd, sub,
					     O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0)
		return fd;
	if (open_state(repo, fail) < 0)
		return fail->kind;
	fd = openat(repo->state_fd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		return fd;
	if (file_make_dirs(repo->state_fd, sub, &repo->modes, fail) < 0)
		return fail->kind;
	return file_open_dir(repo->state_fd, sub, fail);
}

/* ---- HEAD ---------------------------------------------------------------------------------- */

static int head_by_git(struct repo *repo, char **ref, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "symbolic-ref", "-q", "HEAD", NULL);
	if (spawn_capture_any(&cmd, &answer, fail) == 0 && cmd.status == 0) {
		bytes_chomp(&answer);
		*ref = bytes_take(&answer);
	} else if (fail->kind == 0 && cmd.status != 1) {
		git_refused(&cmd, fail);
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return fail->kind;
}

int repo_head_branch(struct repo *repo, char **ref, struct fail *fail)
{
	struct bytes head = BYTES_INIT;
	char *path;
	int r;

	*ref = NULL;
	if (repo->refs_by_git)
		return head_by_git(repo, ref, fail);
	path = mem_printf("%s/HEAD", repo->git_dir);
	/* A HEAD that is a symbolic link is an old form that git still follows. */
	r = file_read(AT_FDCWD, path, 65536, &head, fail);
	free(path);
	if (r == FAIL_CORRUPT) {
		fail_clear(fail);
		r = head_by_git(repo, ref, fail);
	} else if (r == 0 && !strncmp(head.data, "ref:", 4)) {
		size_t skip = 4 + strspn(head.data + 4, " \t");

		bytes_chomp(&head);
		*ref = mem_strdup(head.data + skip);
	}
	bytes_release(&head);
	return r;
}

int repo_head_commit(struct repo *repo, struct oid *oid, struct fail *fail)
{
	if (ref_read(repo, "HEAD", oid, fail) == FAIL_GONE) {
		fail_clear(fail);
		oid_zero(repo->algo, oid);
	}
	return fail->kind;
}
