/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "aside.h"

#include "beneath.h"
#include "erase.h"
#include "file.h"
#include "index.h"
#include "name.h"
#include "operation.h"
#include "quote.h"
#include "spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BESIDE ".interlock-aside"

/* ---- the place --------------------------------------------------------------------- */

/* The directory that the slot is in; absolute. */
static char *directory_of(const struct slot *slot)
{
	const char *slash = strrchr(slot->path, '/');

	return slash && slash > slot->path ? mem_dup(slot->path, (size_t)(slash - slot->path))
					   : mem_strdup("/");
}

static int open_beside(struct slot *slot, const char *lease, bool make, struct fail *fail)
{
	char *dir = directory_of(slot);
	char *name = mem_printf("%s/%s", BESIDE, lease);
	int top = file_open_dir(AT_FDCWD, dir, fail);
	int fd = -1;

	if (top >= 0 && (!make || file_make_dirs(top, name, &slot->repo->modes, fail) == 0)) {
		fd = beneath_open(top, name, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			fail_set(fail, errno == ENOENT ? FAIL_GONE : FAIL_SYSTEM,
				 "open '%s/%s': %s", dir, name, strerror(errno));
	}
	if (top >= 0)
		close(top);
	free(name);
	free(dir);
	return fd >= 0 ? fd : fail->kind;
}

static int open_in_state(struct slot *slot, const char *lease, struct fail *fail)
{
	char *name = mem_printf("aside/%s", lease);
	int fd = repo_state_dir(slot->repo, name, fail);

	free(name);
	return fd;
}

static char *place_name(const struct slot *slot, const char *lease, bool beside, const char *name)
{
	char *dir = directory_of(slot), *place;

	place = beside ? mem_printf("%s/" BESIDE "/%s/%s", dir, lease, name)
		       : mem_printf("interlock/aside/%s/%s", lease, name);
	free(dir);
	return place;
}

/* Renames to a name that is free there; returns an errno. */
static int move(int from_dir, const char *from, int to_dir, const char *wanted, struct bytes *name)
{
	for (unsigned n = 1;; n++) {
		bytes_clear(name);
		bytes_adds(name, wanted);
		if (n > 1)
			bytes_addf(name, "~%u", n);
		if (renameat2(from_dir, from, to_dir, name->data, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno == EEXIST)
			continue;
		if (errno != EINVAL && errno != ENOSYS)
			return errno;
		/* No such flag on this file system: look first. The slot's lock is ours. */
		if (faccessat(to_dir, name->data, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		return renameat(from_dir, from, to_dir, name->data) == 0 ? 0 : errno;
	}
}

/* A directory that we may not write in cannot get another parent. */
static int move_anyhow(int from_dir, const char *from, int to_dir, const char *wanted,
		       struct bytes *name)
{
	int err = move(from_dir, from, to_dir, wanted, name);
	struct stat st;

	if (err != EACCES || fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISDIR(st.st_mode) || fchmodat(from_dir, from, st.st_mode | S_IRWXU, 0) < 0)
		return err;
	err = move(from_dir, from, to_dir, wanted, name);
	if (err == 0)
		fchmodat(to_dir, name->data, st.st_mode & 07777, 0);
	else
		fchmodat(from_dir, from, st.st_mode & 07777, 0);
	return err;
}

/* The open directory of a path in the slot, and its last name. */
static int open_parent(int top, const char *path, const char **name, struct fail *fail)
{
	const char *slash = strrchr(path, '/');
	char *dir = mem_dup(path, slash ? (size_t)(slash - path) : 0);
	int fd = beneath_open(top, dir, O_RDONLY | O_DIRECTORY);

	*name = slash ? slash + 1 : path;
	if (fd < 0)
		fail_errno(fail, "open the directory of '%s'", path);
	free(dir);
	return fd >= 0 ? fd : fail->kind;
}

int aside_path(struct slot *slot, const char *lease, const char *path, struct argv *places,
	       struct fail *fail)
{
	struct bytes wanted = BYTES_INIT, name = BYTES_INIT;
	bool beside = false;
	const char *last = path;
	int top = slot_open_tree(slot, fail), from = -1, to = -1, err = 0;

	name_encode(path, &wanted);
	if (top >= 0)
		from = open_parent(top, path, &last, fail);
	if (fail->kind == 0)
		to = open_in_state(slot, lease, fail);
	if (fail->kind == 0)
		err = move_anyhow(from, last, to, wanted.data, &name);
	if (err == EXDEV) {
		close(to);
		beside = true;
		to = open_beside(slot, lease, true, fail);
		err = to >= 0 ? move_anyhow(from, last, to, wanted.data, &name) : 0;
	}
	errno = err;
	if (err)
		fail_errno(fail, "set '%s' aside", path);
	if (fail->kind == 0 && places)
		argv_take(places, place_name(slot, lease, beside, name.data));
	if (to >= 0)
		close(to);
	if (from >= 0)
		close(from);
	if (top >= 0)
		close(top);
	bytes_release(&wanted);
	bytes_release(&name);
	return fail->kind;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int aside_list(struct slot *slot, const char *lease, struct argv *places, struct fail *fail)
{
	for (int beside = 0; beside < 2 && fail->kind == 0; beside++) {
		struct bytes names = BYTES_INIT;
		struct fail look = FAIL_INIT;
		char *in_state = mem_printf("%s/interlock/aside/%s", slot->repo->common_dir, lease);
		int fd = beside ? open_beside(slot, lease, false, &look)
				: file_open_dir(AT_FDCWD, in_state, &look);

		if (fd >= 0) {
			file_each_name(fd, &names, fail);
			close(fd);
		} else if (look.kind != FAIL_GONE) {
			*fail = look;
		}
		for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
			argv_take(places, place_name(slot, lease, beside, p));
		bytes_release(&names);
		free(in_state);
	}
	if (places->count > 1)
		qsort(places->items, places->count, sizeof(char *), compare_names);
	return fail->kind;
}

/* ---- finding repositories --------------------------------------------------------------- */

/* Pushes each directory below `dir` that holds a ".git"; `path` ends in a slash, or is empty. */
static int find_nested(int dir, struct bytes *path, struct argv *found, struct fail *fail)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct argv below = ARGV_INIT;
	size_t len = path->len;
	struct dirent *entry;
	bool nested = false;

	if (!stream) {
		fail_errno(fail, "list '%s'", path->data);
		if (fd >= 0)
			close(fd);
		return fail->kind;
	}
	while (errno = 0, (entry = readdir(stream))) {
		struct stat st;

		if (!strcmp(entry->d_name, ".git"))
			nested = true;
		else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			 (entry->d_type == DT_DIR ||
			  (entry->d_type == DT_UNKNOWN &&
			   fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			   S_ISDIR(st.st_mode))))
			argv_push(&below, entry->d_name);
	}
	if (errno)
		fail_errno(fail, "list '%s'", path->data);
	if (nested && len)
		argv_take(found, mem_dup(path->data, len - 1));
	/* What is inside goes with it. */
	for (size_t i = 0; (!nested || !len) && fail->kind == 0 && i < below.count; i++) {
		int sub =
			openat(fd, below.items[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		/* Who cannot be listed cannot be recorded either, and is set aside as such. */
		if (sub < 0)
			continue;
		bytes_truncate(path, len);
		bytes_addf(path, "%s/", below.items[i]);
		find_nested(sub, path, found, fail);
		close(sub);
	}
	bytes_truncate(path, len);
	argv_release(&below);
	closedir(stream);
	return fail->kind;
}

/* Leaves only what git would not ignore. */
static int drop_ignored(struct repo *slot_repo, struct argv *paths, struct fail *fail)
{
	struct bytes input = BYTES_INIT, out = BYTES_INIT;
	struct spawn cmd = SPAWN_INIT;
	struct argv kept = ARGV_INIT;
	const char *p, *end;

	for (size_t i = 0; i < paths->count; i++) {
		/* "./": a leading colon would be pathspec magic. */
		bytes_adds(&input, "./");
		bytes_add(&input, paths->items[i], strlen(paths->items[i]) + 1);
	}
	repo_git(slot_repo, &cmd);
	cmd.input = input.data;
	cmd.input_len = input.len;
	/* Each answer: source, line and pattern (empty: not ignored), then the path. */
	argv_push_all(&cmd.argv, "check-ignore", "-z", "-v", "-n", "--stdin", NULL);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status > 1)
		fail_set(fail, FAIL_FATAL, "git check-ignore: exit status %d", cmd.status);
	p = out.data;
	end = out.data + out.len;
	for (size_t i = 0; fail->kind == 0 && i < paths->count && p < end; i++) {
		const char *field[4];

		for (int n = 0; n < 4; n++) {
			field[n] = p;
			p += strlen(p) + (p < end);
		}
		if (!*field[2] || *field[2] == '!')
			argv_push(&kept, paths->items[i]);
	}
	argv_release(paths);
	*paths = kept;
	spawn_release(&cmd);
	bytes_release(&input);
	bytes_release(&out);
	return fail->kind;
}

/* ---- submodules ------------------------------------------------------------------------------ */

struct submodule {
	const char *path;
	char *work_tree; /* absolute */
	char *git_dir;	 /* absolute, below the slot's admin directory */
	char *module;	 /* the same from there: "modules/<name>" */
};

static void submodule_release(struct submodule *sub)
{
	free(sub->work_tree);
	free(sub->git_dir);
	free(sub->module);
}

/* Is it a submodule whose git directory is in the slot's admin directory? */
static bool find_submodule(struct repo *slot_repo, int top, const char *path, struct submodule *sub)
{
	char *file = mem_printf("%s/.git", path);
	char *modules = mem_printf("%s/modules/", slot_repo->git_dir);
	struct fail ignored = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	int fd = beneath_open(top, file, O_RDONLY);
	char *given = NULL;

	*sub = (struct submodule){.path = path};
	if (fd >= 0 && file_read_fd(fd, file, 65536, &text, &ignored) == 0 &&
	    !strncmp(text.data, "gitdir: ", 8)) {
		bytes_chomp(&text);
		given = text.data[8] == '/'
				? mem_strdup(text.data + 8)
				: mem_printf("%s/%s/%s", slot_repo->work_tree, path, text.data + 8);
		sub->git_dir = realpath(given, NULL);
	}
	if (sub->git_dir && strncmp(sub->git_dir, modules, strlen(modules)) != 0) {
		free(sub->git_dir);
		sub->git_dir = NULL;
	}
	if (sub->git_dir) {
		sub->module = mem_strdup(sub->git_dir + strlen(slot_repo->git_dir) + 1);
		sub->work_tree = mem_printf("%s/%s", slot_repo->work_tree, path);
	}
	if (fd >= 0)
		close(fd);
	free(given);
	free(file);
	free(modules);
	bytes_release(&text);
	return sub->git_dir != NULL;
}

/* Settings by which no program is run and no other file is read. */
static bool harmless_setting(const char *key)
{
	static const char *const exact[] = {
		"core.repositoryformatversion",
		"core.filemode",
		"core.bare",
		"core.logallrefupdates",
		"core.worktree",
		"core.symlinks",
		"core.ignorecase",
		"core.precomposeunicode",
		"extensions.objectformat",
		"extensions.refstorage",
		"user.name",
		"user.email",
	};
	static const char *const tails[] = {".url",   ".fetch",	 ".remote",
					    ".merge", ".active", ".pushurl"};
	static const char *const heads[] = {"remote.", "branch.", "submodule."};
	bool head = false, tail = false;
	size_t n = strlen(key);

	for (size_t i = 0; i < ARRAY_SIZE(exact); i++)
		if (!strcmp(key, exact[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		head = head || !strncmp(key, heads[i], strlen(heads[i]));
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++)
		tail = tail ||
		       (n > strlen(tails[i]) && !strcmp(key + n - strlen(tails[i]), tails[i]));
	return head && tail;
}

/* Reads the file of settings as such: nothing in it takes effect. */
static int settings_are_harmless(struct repo *slot_repo, const struct submodule *sub, bool *yes,
				 struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	char *file = mem_printf("%s/config", sub->git_dir);
	char *more = mem_printf("%s/config.worktree", sub->git_dir);

	*yes = access(more, F_OK) < 0;
	repo_git(slot_repo, &cmd);
	argv_push_all(&cmd.argv, "config", "--no-includes", "--file", file, "--list", "--name-only",
		      "-z", NULL);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status)
		*yes = false;
	for (char *p = out.data; p < out.data + out.len; p += strlen(p) + 1)
		*yes = *yes && harmless_setting(p);
	spawn_release(&cmd);
	bytes_release(&out);
	free(more);
	free(file);
	return fail->kind;
}

static void in_submodule(struct repo *slot_repo, const struct submodule *sub, struct spawn *cmd)
{
	repo_git(slot_repo, cmd);
	cmd->cwd = sub->work_tree;
	argv_pushf(&cmd->env, "GIT_DIR=%s", sub->git_dir);
	argv_pushf(&cmd->env, "GIT_WORK_TREE=%s", sub->work_tree);
	argv_push(&cmd->env, "GIT_NO_LAZY_FETCH=1");
}

/* Does the command fail, or print anything? */
static bool says_something(struct spawn *cmd)
{
	struct fail failed = FAIL_INIT;
	struct bytes out = BYTES_INIT;
	bool yes = spawn_capture(cmd, &out, &failed) < 0 || out.len;

	bytes_release(&out);
	spawn_release(cmd);
	return yes;
}

/* Nothing hidden behind flags, nothing unfinished, no repository of its own inside. */
static bool is_plain(const struct submodule *sub, int top, enum hash_algo algo)
{
	struct fail failed = FAIL_INIT;
	struct argv inner = ARGV_INIT;
	struct bytes path = BYTES_INIT;
	char *file = mem_printf("%s/index", sub->git_dir);
	char *modules = mem_printf("%s/modules", sub->git_dir);
	int dir = file_open_dir(AT_FDCWD, sub->git_dir, &failed);
	int tree = beneath_open(top, sub->path, O_RDONLY | O_DIRECTORY);
	bool plain = dir >= 0 && tree >= 0 && access(modules, F_OK) < 0;
	struct index index = {0};

	plain = plain && !operation_name(dir, &failed) &&
		index_open(&index, file, algo, &failed) == 0;
	for (uint32_t i = 0; plain && i < index.count; i++)
		plain = !index.entries[i].assume_valid && !index.entries[i].skip_worktree;
	/* Its own ".git" is at the top, where it is not counted. */
	plain = plain && find_nested(tree, &path, &inner, &failed) == 0 && !inner.count;
	index_close(&index);
	if (dir >= 0)
		close(dir);
	if (tree >= 0)
		close(tree);
	argv_release(&inner);
	bytes_release(&path);
	free(file);
	free(modules);
	return plain && !failed.kind;
}

static int holds_nothing(struct repo *slot_repo, const struct submodule *sub, int top, bool *yes,
			 struct fail *fail)
{
	struct spawn status = SPAWN_INIT, commits = SPAWN_INIT;

	*yes = false;
	if (!is_plain(sub, top, slot_repo->algo))
		return 0;
	if (settings_are_harmless(slot_repo, sub, yes, fail) < 0 || !*yes)
		return fail->kind;
	in_submodule(slot_repo, sub, &status);
	argv_push_all(&status.argv, "status", "--porcelain", "--untracked-files=all",
		      "--ignore-submodules=none", NULL);
	in_submodule(slot_repo, sub, &commits);
	argv_push_all(&commits.argv, "rev-list", "--max-count=1", "--all", "HEAD", "--not",
		      "--remotes", NULL);
	*yes = !says_something(&status) && !says_something(&commits);
	spawn_release(&status);
	spawn_release(&commits);
	return 0;
}

/*
 * The git directory takes the place of the file that names it, so that both move as one
 * and work where they will be. Killed after the exchange: a repository like any other,
 * and a file in modules/ that means nothing.
 */
static int embed(struct slot *slot, struct repo *slot_repo, const struct submodule *sub, int top,
		 struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	int dir = beneath_open(top, sub->path, O_RDONLY | O_DIRECTORY);

	if (dir < 0)
		return fail_errno(fail, "open '%s'", sub->path);
	if (renameat2(slot->admin, sub->module, dir, ".git", RENAME_EXCHANGE) < 0)
		fail_errno(fail, "move the git directory of submodule '%s'", sub->path);
	else
		unlinkat(slot->admin, sub->module, 0);
	close(dir);
	if (fail->kind)
		return fail->kind;
	repo_git(slot_repo, &cmd);
	argv_push_all(&cmd.argv, "config", "--no-includes", "--file", NULL);
	argv_pushf(&cmd.argv, "%s/.git/config", sub->work_tree);
	argv_push_all(&cmd.argv, "--unset-all", "core.worktree", NULL);
	spawn_capture_any(&cmd, &out, fail);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

int aside_nested(struct slot *slot, struct repo *slot_repo, const char *lease, struct argv *places,
		 struct fail *fail)
{
	struct argv found = ARGV_INIT;
	struct bytes path = BYTES_INIT;
	int top = slot_open_tree(slot, fail);

	if (top < 0)
		return top;
	if (find_nested(top, &path, &found, fail) == 0 && found.count)
		drop_ignored(slot_repo, &found, fail);
	for (size_t i = 0; i < found.count && fail->kind == 0; i++) {
		struct submodule sub;
		bool is_sub = find_submodule(slot_repo, top, found.items[i], &sub);
		bool stays = false;

		if (is_sub)
			holds_nothing(slot_repo, &sub, top, &stays, fail);
		if (is_sub && !stays && fail->kind == 0)
			embed(slot, slot_repo, &sub, top, fail);
		if (!stays && fail->kind == 0)
			aside_path(slot, lease, found.items[i], places, fail);
		submodule_release(&sub);
	}
	close(top);
	argv_release(&found);
	bytes_release(&path);
	return fail->kind;
}

/* ---- after the slot was brought to another commit ------------------------------------------- */

/* Does the submodule's HEAD name it, or can it be brought there without fetching? */
static bool submodule_follows(struct repo *slot_repo, const struct submodule *sub, const char *hex)
{
	struct spawn head = SPAWN_INIT, checkout = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	struct fail failed = FAIL_INIT;
	bool follows;

	in_submodule(slot_repo, sub, &head);
	argv_push_all(&head.argv, "rev-parse", "--verify", "--quiet", "HEAD", NULL);
	follows = spawn_capture(&head, &out, &failed) == 0 && !strncmp(out.data, hex, strlen(hex));
	if (!follows) {
		fail_clear(&failed);
		in_submodule(slot_repo, sub, &checkout);
		argv_push_all(&checkout.argv, "checkout", "--quiet", "--detach",
			      "--no-recurse-submodules", hex, "--", NULL);
		follows = spawn_capture(&checkout, &out, &failed) == 0;
	}
	spawn_release(&head);
	spawn_release(&checkout);
	bytes_release(&out);
	return follows;
}

/* One gitlink of the index: "160000 <id> 0\t<path>". */
static int follow_gitlink(struct slot *slot, struct repo *slot_repo, const char *lease, int top,
			  char *line, struct fail *fail)
{
	char *path = strchr(line, '\t'), *hex = strchr(line, ' ');
	struct submodule sub;

	if (!path || !hex || path - hex < 3)
		return fail_set(fail, FAIL_FATAL, "git ls-files: unexpected answer");
	path++;
	hex++;
	hex[strcspn(hex, " ")] = '\0';
	if (find_submodule(slot_repo, top, path, &sub) &&
	    !submodule_follows(slot_repo, &sub, hex) &&
	    embed(slot, slot_repo, &sub, top, fail) == 0)
		aside_path(slot, lease, path, NULL, fail);
	submodule_release(&sub);
	return fail->kind;
}

int aside_submodules(struct slot *slot, struct repo *slot_repo, const char *lease,
		     struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	struct stat st;
	int top;

	if (fstatat(slot->admin, "modules", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	top = slot_open_tree(slot, fail);
	if (top < 0)
		return top;
	repo_git(slot_repo, &cmd);
	argv_push_all(&cmd.argv, "ls-files", "-z", "--stage", NULL);
	if (spawn_capture(&cmd, &out, fail) == 0)
		for (char *p = out.data, *next; fail->kind == 0 && p < out.data + out.len;
		     p = next) {
			next = p + strlen(p) + 1;
			if (!strncmp(p, "160000 ", 7))
				follow_gitlink(slot, slot_repo, lease, top, p, fail);
		}
	close(top);
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

/*
 * The directory of the slots in "<dir>/.interlock-aside/<lease>/<name>"; NULL for any other
 * place. A commit can say what it likes: nothing else is ever deleted for it.
 */
static char *directory_of_place(const char *place, const char *lease)
{
	char *middle = mem_printf("/" BESIDE "/%s/", lease), *dir = NULL;
	const char *slash = strrchr(place, '/');
	size_t n = strlen(middle), end = slash ? (size_t)(slash - place) + 1 : 0;

	if (place[0] == '/' && slash[1] && end >= n && !memcmp(place + end - n, middle, n))
		dir = end > n ? mem_dup(place, end - n) : mem_strdup("/");
	free(middle);
	return dir;
}

static int drop_beside(const char *dir, const char *lease, struct fail *fail)
{
	int top = file_open_dir(AT_FDCWD, dir, fail);
	int fd = top < 0 ? top : file_open_dir(top, BESIDE, fail);

	if (fd >= 0) {
		erase_tree(fd, lease, fail);
		close(fd);
		unlinkat(top, BESIDE, AT_REMOVEDIR); /* others' may be in it */
	}
	if (top >= 0)
		close(top);
	if (fail->kind == FAIL_GONE)
		fail_clear(fail);
	return fail->kind;
}

/* They all lie in one directory, but where somebody moved the slots between two rescues. */
static int drop_named_beside(const struct commit *rescue, const char *lease, struct fail *fail)
{
	const char *value;
	size_t len;

	for (size_t n = 0;
	     fail->kind == 0 && (value = commit_trailer_nth(rescue, "Shadow-Aside", n, &len));
	     n++) {
		char *quoted = mem_dup(value, len), *dir;
		struct bytes place = BYTES_INIT;

		if (*quoted != '"' || !unquote_c(quoted, &place)) {
			bytes_clear(&place);
			bytes_adds(&place, quoted);
		}
		dir = directory_of_place(place.data, lease);
		if (dir)
			drop_beside(dir, lease, fail);
		free(dir);
		bytes_release(&place);
		free(quoted);
	}
	return fail->kind;
}

int aside_drop(struct repo *repo, const struct commit *rescue, const char *lease, struct fail *fail)
{
	int dir;

	if (!slot_id_valid(lease))
		return 0;
	dir = repo_state_dir(repo, "aside", fail);
	if (dir < 0)
		return dir;
	if (erase_tree(dir, lease, fail) == 0 && rescue)
		drop_named_beside(rescue, lease, fail);
	close(dir);
	return fail->kind;
}
