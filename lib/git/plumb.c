/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "plumbrun.h"

#include "erase.h"
#include "repo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the folder --------------------------------------------------------------------- */

/*
 * A folder's lock is taken before the folder is made and removed after it, so a
 * folder without a held lock has no owner. Sweeper and maker may meet on a lock
 * file that is not locked yet: lock_take() sees that the name leads elsewhere.
 */
static void sweep_one(struct repo *repo, int parent, const char *name)
{
	struct fail ignored = FAIL_INIT;
	struct lock lock = LOCK_INIT;
	char *lock_name = mem_printf("%s.lock", name);

	if (lock_take(&lock, parent, lock_name, LOCK_EXCLUSIVE, 0, NULL, &repo->modes, &ignored) ==
	    0) {
		erase_tree(parent, name, &ignored);
		unlinkat(parent, lock_name, 0);
	}
	lock_drop(&lock);
	free(lock_name);
}

static void sweep(struct repo *repo, int parent)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;

	file_each_name(parent, &names, &ignored);
	for (char *p = names.data, *next; p < names.data + names.len; p = next) {
		size_t len = strlen(p);

		next = p + len + 1;
		if (len > 5 && !strcmp(p + len - 5, ".lock"))
			p[len - 5] = '\0';
		sweep_one(repo, parent, p);
	}
	bytes_release(&names);
}

void plumb_sweep(struct repo *repo)
{
	struct fail ignored = FAIL_INIT;
	int parent = repo_state_dir(repo, "tmp", &ignored);

	if (parent < 0)
		return;
	sweep(repo, parent);
	close(parent);
}

/* A path in an alternates list: quoted when it could be read as two. */
static void add_alternate(const char *path, struct bytes *list)
{
	if (list->len)
		bytes_addc(list, ':');
	if (path[0] != '"' && !strchr(path, ':') && !strchr(path, '\\')) {
		bytes_adds(list, path);
		return;
	}
	bytes_addc(list, '"');
	for (const char *p = path; *p; p++)
		bytes_addf(list, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
	bytes_addc(list, '"');
}

static void set_environment(struct plumb *plumb)
{
	const char *more = getenv("GIT_ALTERNATE_OBJECT_DIRECTORIES");
	struct bytes list = BYTES_INIT;

	add_alternate(plumb->repo->object_dir, &list);
	if (more && *more)
		bytes_addf(&list, ":%s", more);
	argv_pushf(&plumb->env, "GIT_INDEX_FILE=%s/index", plumb->dir);
	argv_pushf(&plumb->env, "GIT_OBJECT_DIRECTORY=%s/objects", plumb->dir);
	argv_pushf(&plumb->env, "GIT_ALTERNATE_OBJECT_DIRECTORIES=%s", list.data);
	bytes_release(&list);
}

static int make_folder(struct plumb *plumb, struct fail *fail)
{
	struct repo *repo = plumb->repo;
	struct bytes name = BYTES_INIT;
	char *lock, *objects;

	file_nonce_name("", &name);
	lock = mem_printf("%s.lock", name.data);
	objects = mem_printf("%s/objects", name.data);
	if (lock_take(&plumb->alive, plumb->parent, lock, LOCK_EXCLUSIVE, INT64_MAX, NULL,
		      &repo->modes, fail) == 0) {
		plumb->dir = mem_printf("%s/interlock/tmp/%s", repo->common_dir, name.data);
		file_make_dirs(plumb->parent, objects, &repo->modes, fail);
	}
	free(lock);
	free(objects);
	bytes_release(&name);
	return fail->kind;
}

int plumb_begin(struct repo *repo, struct plumb *plumb, struct fail *fail)
{
	*plumb = (struct plumb)PLUMB_INIT;
	plumb->repo = repo;
	plumb->parent = repo_state_dir(repo, "tmp", fail);
	if (plumb->parent >= 0) {
		sweep(repo, plumb->parent);
		if (make_folder(plumb, fail) == 0 &&
		    plumb_copy_index(plumb, repo->index_path, "index", fail) == 0)
			set_environment(plumb);
	}
	if (fail->kind)
		plumb_end(plumb);
	return fail->kind;
}

void plumb_end(struct plumb *plumb)
{
	if (plumb->dir) {
		const char *name = strrchr(plumb->dir, '/') + 1;
		char *lock = mem_printf("%s.lock", name);
		struct fail ignored = FAIL_INIT;

		erase_tree(plumb->parent, name, &ignored);
		unlinkat(plumb->parent, lock, 0);
		free(lock);
	}
	lock_drop(&plumb->alive);
	if (plumb->parent >= 0)
		close(plumb->parent);
	free(plumb->dir);
	argv_release(&plumb->env);
	*plumb = (struct plumb)PLUMB_INIT;
}

/* ---- git in it ------------------------------------------------------------------------ */

void plumb_prepare(struct plumb *plumb, struct spawn *cmd)
{
	repo_git(plumb->repo, cmd);
	argv_push_all(&cmd->argv, "-c", "core.splitIndex=false", "-c",
		      "advice.addEmbeddedRepo=false", "-c", "core.safecrlf=false", NULL);
	/* Nothing that is added has to be fetched, and fetching writes the user's config. */
	argv_push(&cmd->env, "GIT_NO_LAZY_FETCH=1");
	for (size_t i = 0; i < plumb->env.count; i++)
		argv_push(&cmd->env, plumb->env.items[i]);
}

int plumb_run(struct plumb *plumb, struct bytes *out, struct fail *fail, ...)
{
	struct spawn cmd = SPAWN_INIT;
	const char *arg;
	va_list ap;

	plumb_prepare(plumb, &cmd);
	va_start(ap, fail);
	while ((arg = va_arg(ap, const char *)))
		argv_push(&cmd.argv, arg);
	va_end(ap);
	spawn_capture(&cmd, out, fail);
	spawn_release(&cmd);
	return fail->kind;
}

void plumb_use_index(struct plumb *plumb, const char *name)
{
	/* GIT_INDEX_FILE comes first, see set_environment(). */
	free(plumb->env.items[0]);
	plumb->env.items[0] = mem_printf("GIT_INDEX_FILE=%s/%s", plumb->dir, name);
}

int plumb_read_tree(struct plumb *plumb, const struct oid *tree, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	struct bytes out = BYTES_INIT;
	char *path = mem_printf("%s/index", plumb->dir);

	unlink(path);
	free(path);
	plumb_run(plumb, &out, fail, "read-tree", oid_hex(tree, hex), NULL);
	bytes_release(&out);
	return fail->kind;
}

static void push_names(const struct bytes *names, struct argv *list)
{
	for (char *p = names->data; p < names->data + names->len; p += strlen(p) + 1)
		argv_push(list, p);
}

static void push_pathspecs(struct spawn *cmd, const char *const *pathspecs, size_t count)
{
	argv_push(&cmd->argv, "--");
	if (!count)
		argv_push(&cmd->argv, ":/");
	for (size_t i = 0; i < count; i++)
		argv_push(&cmd->argv, pathspecs[i]);
}

/* The paths that a command names, NUL behind each; it takes pathspecs. */
static int list(struct spawn *cmd, const char *const *pathspecs, size_t count, struct argv *names,
		struct fail *fail)
{
	struct bytes out = BYTES_INIT;

	push_pathspecs(cmd, pathspecs, count);
	if (spawn_capture(cmd, &out, fail) == 0)
		push_names(&out, names);
	spawn_release(cmd);
	bytes_release(&out);
	return fail->kind;
}

static int list_tracked(struct plumb *plumb, const char *const *pathspecs, size_t count,
			struct argv *names, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;

	plumb_prepare(plumb, &cmd);
	argv_push_all(&cmd.argv, "ls-files", "-z", "--full-name", "--cached", NULL);
	return list(&cmd, pathspecs, count, names, fail);
}

int plumb_names(struct plumb *plumb, const char *const *pathspecs, size_t count, struct argv *names,
		struct fail *fail)
{
	return list_tracked(plumb, pathspecs, count, names, fail);
}

int plumb_last_names(struct plumb *plumb, const char *const *pathspecs, size_t count,
		     struct argv *names, struct fail *fail)
{
	plumb_use_index(plumb, "last");
	list_tracked(plumb, pathspecs, count, names, fail);
	plumb_use_index(plumb, "index");
	return fail->kind;
}

/*
 * git add failed: what is still not in the index? Asked of git, in paths; its
 * messages are not read.
 */
static int find_failed(struct plumb *plumb, const char *const *pathspecs, size_t count,
		       struct argv *failed, struct fail *fail)
{
	struct spawn changed = SPAWN_INIT, others = SPAWN_INIT;

	plumb_prepare(plumb, &changed);
	argv_push_all(&changed.argv, "diff-files", "--name-only", "-z", "--ignore-submodules=dirty",
		      NULL);
	plumb_prepare(plumb, &others);
	argv_push_all(&others.argv, "ls-files", "-z", "--full-name", "--others",
		      "--exclude-standard", NULL);
	if (list(&changed, pathspecs, count, failed, fail) == 0)
		list(&others, pathspecs, count, failed, fail);
	spawn_release(&others);
	return fail->kind;
}

int plumb_matches(struct plumb *plumb, const char *pathspec, bool *matches, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	plumb_prepare(plumb, &cmd);
	argv_push_all(&cmd.argv, "ls-files", "-z", "--cached", "--others", "--", pathspec, NULL);
	spawn_capture(&cmd, &out, fail);
	*matches = out.len > 0;
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

static void begin_add(struct plumb *plumb, struct spawn *cmd)
{
	plumb_prepare(plumb, cmd);
	argv_push_all(&cmd->argv, "add", "-A", "--ignore-errors", NULL);
	if (plumb->repo->sparse)
		argv_push(&cmd->argv, "--sparse");
}

/*
 * 1: not all could be added; 128: it gave up at one of them. Any other status, a signal say, tells
 * nothing of the files.
 */
static int check_add(int status, struct fail *fail)
{
	if (status == 0 || status == 1 || status == 128)
		return 0;
	return fail_set(fail, FAIL_FATAL, "git add: exit status %d", status);
}

/* git add on exactly these paths, from the top; its exit status. */
static int add_some(struct plumb *plumb, char *const *paths, size_t count, int *status,
		    struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes input = BYTES_INIT, out = BYTES_INIT;

	for (size_t i = 0; i < count; i++)
		bytes_add(&input, paths[i], strlen(paths[i]) + 1);
	begin_add(plumb, &cmd);
	repo_git_at_top(plumb->repo, &cmd);
	argv_push(&cmd.env, "GIT_LITERAL_PATHSPECS=1");
	argv_push_all(&cmd.argv, "--pathspec-from-file=-", "--pathspec-file-nul", NULL);
	cmd.input = input.data;
	cmd.input_len = input.len;
	if (spawn_capture_any(&cmd, &out, fail) == 0)
		check_add(cmd.status, fail);
	*status = cmd.status;
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}

/*
 * One path at which git gives up altogether (a required filter that fails) must
 * not cost the others: halves are tried until the path stands alone.
 */
static int add_by_halves(struct plumb *plumb, char *const *paths, size_t count, struct fail *fail)
{
	int status;

	if (!count || add_some(plumb, paths, count, &status, fail) < 0 || status != 128 ||
	    count == 1)
		return fail->kind;
	if (add_by_halves(plumb, paths, count / 2, fail) < 0)
		return fail->kind;
	return add_by_halves(plumb, paths + count / 2, count - count / 2, fail);
}

int plumb_add_exact(struct plumb *plumb, const struct argv *paths, struct fail *fail)
{
	return add_by_halves(plumb, paths->items, paths->count, fail);
}

/* What is not in the index yet, in parts: the worst paths alone stay out. */
static int add_without_the_worst(struct plumb *plumb, const char *const *pathspecs, size_t count,
				 struct fail *fail)
{
	struct argv left = ARGV_INIT;

	if (find_failed(plumb, pathspecs, count, &left, fail) == 0)
		add_by_halves(plumb, left.items, left.count, fail);
	argv_release(&left);
	return fail->kind;
}

int plumb_add(struct plumb *plumb, const char *const *pathspecs, size_t count, struct argv *failed,
	      struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;

	begin_add(plumb, &cmd);
	/* Everything is everything wherever we are: git refuses it in a submodule that is not there. */
	if (!count)
		repo_git_at_top(plumb->repo, &cmd);
	push_pathspecs(&cmd, pathspecs, count);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && check_add(cmd.status, fail) == 0 &&
	    cmd.status) {
		if (cmd.status == 128)
			add_without_the_worst(plumb, pathspecs, count, fail);
		if (fail->kind == 0)
			find_failed(plumb, pathspecs, count, failed, fail);
	}
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/* FIFOs, sockets and devices below an open directory; `path` ends in a slash, or is empty. */
static void find_special(int dir, struct bytes *path, struct argv *found)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	size_t len = path->len;
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		struct fail ignored = FAIL_INIT;
		int sub;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    !strcmp(entry->d_name, ".git"))
			continue;
		bytes_truncate(path, len);
		bytes_adds(path, entry->d_name);
		if (entry->d_type == DT_FIFO || entry->d_type == DT_SOCK ||
		    entry->d_type == DT_CHR || entry->d_type == DT_BLK)
			argv_push(found, path->data);
		if (entry->d_type != DT_DIR)
			continue;
		sub = file_open_dir(fd, entry->d_name, &ignored);
		bytes_addc(path, '/');
		if (sub >= 0) {
			find_special(sub, path, found);
			close(sub);
		}
	}
	bytes_truncate(path, len);
	if (stream)
		closedir(stream);
	else if (fd >= 0)
		close(fd);
}

/* Sorts paths into what git would ignore and what not; either list may be NULL. */
static int sort_ignored(struct plumb *plumb, const struct argv *paths, struct argv *ignored,
			struct argv *kept, struct fail *fail)
{
	struct bytes input = BYTES_INIT, out = BYTES_INIT;
	struct spawn cmd = SPAWN_INIT;
	const char *p;

	for (size_t i = 0; i < paths->count; i++) {
		/* "./": a leading colon would be pathspec magic. */
		bytes_adds(&input, "./");
		bytes_add(&input, paths->items[i], strlen(paths->items[i]) + 1);
	}
	plumb_prepare(plumb, &cmd);
	repo_git_at_top(plumb->repo, &cmd);
	cmd.input = input.data;
	cmd.input_len = input.len;
	/* Each answer: source, line and pattern (empty: not ignored), then the path. */
	argv_push_all(&cmd.argv, "check-ignore", "-z", "-v", "-n", "--stdin", NULL);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status > 1)
		fail_set(fail, FAIL_FATAL, "git check-ignore: exit status %d", cmd.status);
	p = out.data;
	for (size_t i = 0; fail->kind == 0 && i < paths->count && p < out.data + out.len; i++) {
		struct argv *list;
		const char *field[4];

		for (int n = 0; n < 4; n++) {
			field[n] = p;
			p += strlen(p) + 1;
		}
		/* No pattern, or one that takes the path back in. */
		list = !*field[2] || *field[2] == '!' ? kept : ignored;
		if (list)
			argv_push(list, paths->items[i]);
	}
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}

int plumb_ignored(struct plumb *plumb, const struct argv *paths, struct argv *ignored,
		  struct fail *fail)
{
	return sort_ignored(plumb, paths, ignored, NULL, fail);
}

int plumb_special_files(struct plumb *plumb, struct argv *found, struct fail *fail)
{
	struct bytes path = BYTES_INIT;
	struct argv all = ARGV_INIT;
	int top = file_open_dir(AT_FDCWD, plumb->repo->work_tree, fail);

	if (top < 0)
		return top;
	find_special(top, &path, &all);
	close(top);
	if (all.count)
		sort_ignored(plumb, &all, NULL, found, fail);
	argv_release(&all);
	bytes_release(&path);
	return fail->kind;
}

static int write_tree(struct plumb *plumb, const char *how, struct oid *tree, struct fail *fail)
{
	struct bytes out = BYTES_INIT;
	struct fail other = FAIL_INIT;

	if (plumb_run(plumb, &out, fail, "write-tree", how, NULL) == 0) {
		bytes_chomp(&out);
		if (!oid_parse(plumb->repo->algo, out.data, out.len, tree))
			fail_set(fail, FAIL_FATAL, "git write-tree: unexpected answer");
	} else if (plumb_run(plumb, &out, &other, "ls-files", "--unmerged", "-z", "--", ":/",
			     NULL) == 0 &&
		   out.len) {
		fail_clear(fail);
		fail_set(fail, FAIL_NO, "the index has unmerged entries");
	}
	bytes_release(&out);
	return fail->kind;
}

int plumb_write_tree(struct plumb *plumb, struct oid *tree, struct fail *fail)
{
	/* After an add that is git's to refuse, and no answer to a question. */
	if (write_tree(plumb, NULL, tree, fail) == FAIL_NO)
		fail->kind = FAIL_FATAL;
	return fail->kind;
}

/*
 * On a copy: write-tree writes the index that it reads, and the new time would make
 * entries look safe that were changed in the second in which they were added.
 */
int plumb_write_index_tree(struct plumb *plumb, struct oid *tree, struct fail *fail)
{
	char *index = mem_printf("%s/index", plumb->dir);

	if (plumb_copy_index(plumb, index, "staged", fail) == 0) {
		plumb_use_index(plumb, "staged");
		write_tree(plumb, "--missing-ok", tree, fail);
		plumb_use_index(plumb, "index");
	}
	free(index);
	return fail->kind;
}
