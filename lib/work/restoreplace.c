/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "restoreplan.h"

#include "beneath.h"
#include "content.h"
#include "hash.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HASH_BATCH 256 /* paths for one git hash-object */

static const char reason_changed[] = "changed meanwhile";
static const char reason_sparse[] = "outside the sparse checkout";
static const char reason_in_the_way[] = "something is in the way";

void restore_git(const struct restore *r, const char *work_tree, struct spawn *cmd)
{
	const struct repo *repo = r->repo;

	repo_git(repo, cmd);
	argv_push_all(&cmd->argv, "-c", "core.safecrlf=false", NULL);
	cmd->cwd = work_tree;
	argv_pushf(&cmd->env, "GIT_DIR=%s", repo->git_dir);
	argv_pushf(&cmd->env, "GIT_COMMON_DIR=%s", repo->common_dir);
	argv_pushf(&cmd->env, "GIT_WORK_TREE=%s", work_tree);
	if (getenv("GIT_OBJECT_DIRECTORY"))
		argv_pushf(&cmd->env, "GIT_OBJECT_DIRECTORY=%s", repo->object_dir);
}

/* ---- a last look ---------------------------------------------------------------------- */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Nobody has written to it. A rename changes the ctime, and nothing else of this. */
static bool same_content(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT) &&
	       same_time(&a->st_mtim, &b->st_mtim);
}

static bool untouched(const struct stat *a, const struct stat *b)
{
	return same_content(a, b) && a->st_mode == b->st_mode &&
	       same_time(&a->st_ctim, &b->st_ctim);
}

/* Recorded, and not there: it was taken away since, or sparse checkout left it out. */
static void judge_absent(const struct restore *r, struct restore_item *item)
{
	if (r->repo->sparse)
		restore_keep(item, reason_sparse);
	else if (item->action == RESTORE_DELETE)
		item->result = RESTORE_DONE;
	else
		restore_keep(item, reason_changed);
}

/* Bytes that hash to the recorded id are in the save for certain, whatever filters there are. */
static int verify_raw(struct restore *r, struct restore_item *item, struct fail *fail)
{
	struct content content = CONTENT_INIT;
	enum content_kind kind = content_open(&content, r->top, item->path);
	enum hash_algo algo = r->repo->algo;
	struct oid oid;

	item->seen = content.st;
	if (kind == CONTENT_GONE) {
		judge_absent(r, item);
	} else if (kind == CONTENT_FAIL) {
		fail_errno(fail, "open '%s'", item->path);
	} else if (kind == CONTENT_SKIP) {
		restore_keep(item, content.reason);
	} else if (kind == CONTENT_LINK) {
		object_id(algo, OBJECT_BLOB, content.data.data, content.data.len, &oid);
		item->verified = oid_equal(&oid, &item->old_oid);
	} else if (item->action == RESTORE_MODE) {
		item->verified = true;
	} else if (content_hash(&content, algo, &oid)) {
		item->verified = oid_equal(&oid, &item->old_oid);
	}
	content_release(&content);
	return fail->kind;
}

/* What git would store for these files; where it cannot say, they count as changed. */
static int verify_converted(struct restore *r, struct restore_item **items, size_t count,
			    struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	const char *p;

	restore_git(r, r->repo->work_tree, &cmd);
	argv_push_all(&cmd.argv, "hash-object", "--", NULL);
	for (size_t i = 0; i < count; i++)
		argv_push(&cmd.argv, items[i]->path);
	if (spawn_capture_any(&cmd, &out, fail) == 0 && cmd.status && count > 1) {
		/* One of them spoils it for all: one at a time. */
		for (size_t i = 0; i < count && fail->kind == 0; i++)
			verify_converted(r, items + i, 1, fail);
		goto done;
	}
	p = out.data;
	for (size_t i = 0; i < count && fail->kind == 0 && *p; i++) {
		size_t n = strcspn(p, "\n");
		struct oid oid;

		items[i]->verified =
			oid_parse(r->repo->algo, p, n, &oid) && oid_equal(&oid, &items[i]->old_oid);
		p += n + (p[n] == '\n');
	}
done:
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

int restore_verify(struct restore *r, struct fail *fail)
{
	struct restore_item **doubtful = mem_array(r->count + 1, sizeof(struct restore_item *));
	size_t n = 0;

	for (size_t i = 0; i < r->count && fail->kind == 0; i++) {
		struct restore_item *item = &r->items[i];

		if (!restore_goes(item) || !item->old_mode)
			continue;
		if (verify_raw(r, item, fail) == 0 && restore_goes(item) && !item->verified &&
		    S_ISREG(item->seen.st_mode))
			doubtful[n++] = item;
	}
	for (size_t i = 0; i < n && fail->kind == 0; i += HASH_BATCH)
		verify_converted(r, doubtful + i, size_min(HASH_BATCH, n - i), fail);
	for (size_t i = 0; i < r->count && fail->kind == 0; i++)
		if (restore_goes(&r->items[i]) && r->items[i].old_mode && !r->items[i].verified)
			restore_keep(&r->items[i], reason_changed);
	free(doubtful);
	return fail->kind;
}

/* ---- contents ---------------------------------------------------------------------------- */

static bool is_attributes(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !strcmp(slash ? slash + 1 : path, ".gitattributes");
}

static bool is_planned(const struct restore_item *item, bool attributes)
{
	return restore_goes(item) && is_attributes(item->path) == attributes;
}

static bool is_write(const struct restore_item *item, bool attributes)
{
	return item->action == RESTORE_WRITE && is_planned(item, attributes);
}

static int run_quietly(struct spawn *cmd, struct fail *fail)
{
	struct bytes out = BYTES_INIT;

	spawn_capture(cmd, &out, fail);
	bytes_release(&out);
	return fail->kind;
}

/*
 * The private index as the work tree will be: so git finds the .gitattributes that
 * go with the contents, also those that are in no work tree.
 */
static int lay_over_index(struct restore *r, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes input = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];

	/* What goes comes first: a file may take the place of a directory. */
	for (int adding = 0; adding < 2; adding++)
		for (size_t i = 0; i < r->count; i++) {
			const struct restore_item *item = &r->items[i];

			if (item->result == RESTORE_KEPT || !!item->new_mode != adding)
				continue;
			bytes_addf(&input, "%o %s\t%s", item->new_mode,
				   oid_hex(&item->new_oid, hex), item->path);
			bytes_addc(&input, '\0');
		}
	restore_git(r, r->repo->work_tree, &cmd);
	argv_pushf(&cmd.env, "GIT_INDEX_FILE=%s/index", r->plumb.dir);
	argv_push_all(&cmd.argv, "-c", "core.splitIndex=false", "update-index", "--replace", "-z",
		      "--index-info", NULL);
	cmd.input = input.data;
	cmd.input_len = input.len;
	run_quietly(&cmd, fail);
	spawn_release(&cmd);
	bytes_release(&input);
	return fail->kind;
}

static int check_out(struct restore *r, const struct bytes *paths, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;

	restore_git(r, r->repo->work_tree, &cmd);
	argv_pushf(&cmd.env, "GIT_INDEX_FILE=%s/index", r->plumb.dir);
	argv_push_all(&cmd.argv, "checkout-index", "-q", "-z", "--stdin", NULL);
	argv_pushf(&cmd.argv, "--prefix=%s/out/", r->plumb.dir);
	cmd.input = paths->data;
	cmd.input_len = paths->len;
	run_quietly(&cmd, fail);
	spawn_release(&cmd);
	return fail->kind;
}

int restore_stage(struct restore *r, bool attributes, struct fail *fail)
{
	struct bytes paths = BYTES_INIT;

	for (size_t i = 0; i < r->count; i++)
		if (is_write(&r->items[i], attributes))
			bytes_add(&paths, r->items[i].path, strlen(r->items[i].path) + 1);
	if (paths.len && plumb_read_tree(&r->plumb, &r->present, fail) == 0 &&
	    lay_over_index(r, fail) == 0)
		check_out(r, &paths, fail);
	bytes_release(&paths);
	return fail->kind;
}

/* ---- into place ------------------------------------------------------------------------------ */

/* One file on its way. */
struct arrival {
	struct restore *r;
	struct restore_item *item;
	int from; /* directory of the prepared file */
	const char *from_name;
	int parent; /* directory of its place; -1 */
	const char *name;
};

static int enter_made(int at, const char *name)
{
	if (mkdirat(at, name, 0777) < 0 && errno != EEXIST)
		return -1;
	return openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The directory of a path below `top`, making what is missing; -1 with errno. */
static int make_parent(int top, const char *path)
{
	int at = beneath_open(top, "", O_PATH | O_DIRECTORY);

	for (const char *slash; at >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		char *name = mem_dup(path, (size_t)(slash - path));
		int next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int err;

		if (next < 0 && errno == ENOENT)
			next = enter_made(at, name);
		err = errno;
		close(at);
		free(name);
		errno = err;
		at = next;
	}
	return at;
}

static int open_parent(int top, const char *path, bool make)
{
	const char *slash = strrchr(path, '/');
	char *dir = mem_dup(path, slash ? (size_t)(slash - path) : 0);
	int fd = beneath_open(top, dir, O_PATH | O_DIRECTORY);

	if (fd < 0 && errno == ENOENT && make)
		fd = make_parent(top, path);
	free(dir);
	return fd;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Removes a directory that has nothing but directories in it. */
static bool remove_empty(int parent, const char *name)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int fd;

	if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return true;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	file_each_name(fd, &names, &ignored);
	for (const char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
		if (!remove_empty(fd, p))
			break;
	close(fd);
	bytes_release(&names);
	return unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

/* rename(2) that replaces nothing; -1 with errno EEXIST. */
static int rename_new(const struct arrival *a)
{
	struct stat st;
	int r = renameat2(a->from, a->from_name, a->parent, a->name, RENAME_NOREPLACE);

	if (r == 0 || errno != EINVAL)
		return r;
	/* A file system without it: look first. */
	if (fstatat(a->parent, a->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return renameat(a->from, a->from_name, a->parent, a->name);
	errno = EEXIST;
	return -1;
}

/* A new file, where nothing may stand but directories without files. */
static int move_new(const struct arrival *a, struct fail *fail)
{
	if (rename_new(a) == 0)
		return 0;
	if (errno != EEXIST)
		return fail_errno(fail, "write '%s'", a->item->path);
	if (!remove_empty(a->parent, a->name) || rename_new(a) < 0)
		restore_keep(a->item, reason_in_the_way);
	return 0;
}

/*
 * A file in the place of another one. They change places in one step, and what
 * came out is looked at once more: what somebody wrote at the last moment goes back.
 */
static int move_over(const struct arrival *a, struct fail *fail)
{
	struct stat st;

	if (fstatat(a->parent, a->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !untouched(&st, &a->item->seen)) {
		restore_keep(a->item, reason_changed);
		return 0;
	}
	if (renameat2(a->from, a->from_name, a->parent, a->name, RENAME_EXCHANGE) == 0) {
		if (fstatat(a->from, a->from_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    same_content(&st, &a->item->seen))
			return 0;
		if (renameat2(a->from, a->from_name, a->parent, a->name, RENAME_EXCHANGE) < 0)
			return fail_errno(fail, "put back '%s', which was written meanwhile",
					  a->item->path);
		restore_keep(a->item, reason_changed);
		return 0;
	}
	if (errno == EINVAL && renameat(a->from, a->from_name, a->parent, a->name) == 0)
		return 0;
	return fail_errno(fail, "write '%s'", a->item->path);
}

static int move(const struct arrival *a, struct fail *fail)
{
	return a->item->old_mode ? move_over(a, fail) : move_new(a, fail);
}

/* Copies the prepared file to `name` beside its place. */
static int copy_beside(const struct arrival *a, const char *name, struct fail *fail)
{
	struct content content = CONTENT_INIT;
	int to;

	switch (content_open(&content, a->from, a->from_name)) {
	case CONTENT_LINK:
		if (symlinkat(content.data.data, a->parent, name) < 0)
			fail_errno(fail, "write '%s'", a->item->path);
		break;
	case CONTENT_FILE:
		to = openat(a->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
		if (to < 0) {
			fail_errno(fail, "write '%s'", a->item->path);
			break;
		}
		if (file_copy_fd(content.fd, to, a->item->path, fail) == 0 &&
		    fchmod(to, content.st.st_mode & 07777) < 0)
			fail_errno(fail, "set the mode of '%s'", a->item->path);
		if (close(to) < 0)
			fail_errno(fail, "write '%s'", a->item->path);
		break;
	default:
		fail_errno(fail, "read the prepared '%s'", a->item->path);
	}
	content_release(&content);
	return fail->kind;
}

/* From another file system: a copy beside its place is what moves. */
static int move_copy(const struct arrival *a, struct fail *fail)
{
	struct bytes name = BYTES_INIT;
	struct arrival copy = *a;

	file_nonce_name(".interlock-", &name);
	copy.from = a->parent;
	copy.from_name = name.data;
	if (copy_beside(a, name.data, fail) == 0)
		move(&copy, fail);
	unlinkat(a->parent, name.data, 0);
	bytes_release(&name);
	return fail->kind;
}

static int write_one(struct restore *r, int prepared, struct restore_item *item, struct fail *fail)
{
	struct arrival a = {.r = r,
			    .item = item,
			    .from = prepared,
			    .from_name = item->path,
			    .parent = open_parent(r->top, item->path, true),
			    .name = base_name(item->path)};

	if (a.parent < 0 && (errno == ENOTDIR || errno == ELOOP || errno == EXDEV)) {
		restore_keep(item, reason_in_the_way);
		return 0;
	}
	if (a.parent < 0)
		return fail_errno(fail, "write '%s'", item->path);
	if (move(&a, fail) < 0 && fail->err == EXDEV) {
		fail_clear(fail);
		move_copy(&a, fail);
	}
	close(a.parent);
	return fail->kind;
}

static int delete_one(struct restore *r, struct restore_item *item, struct fail *fail)
{
	int parent = open_parent(r->top, item->path, false);
	const char *name = base_name(item->path);
	struct stat st;

	if (parent < 0 && errno == ENOENT)
		return 0;
	if (parent < 0 || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			restore_keep(item, reason_changed);
	} else if (!untouched(&st, &item->seen)) {
		restore_keep(item, reason_changed);
	} else if (unlinkat(parent, name, 0) < 0 && errno != ENOENT) {
		fail_errno(fail, "delete '%s'", item->path);
	}
	if (parent >= 0)
		close(parent);
	return fail->kind;
}

static int change_mode(struct restore *r, struct restore_item *item, struct fail *fail)
{
	int fd = beneath_open(r->top, item->path, O_RDONLY);
	mode_t mode;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		restore_keep(item, reason_changed);
	} else {
		mode = st.st_mode & 07777;
		mode = item->new_mode & 0111 ? mode | (mode & 0444) >> 2 : mode & ~(mode_t)0111;
		if (fchmod(fd, mode) < 0)
			fail_errno(fail, "set the mode of '%s'", item->path);
	}
	if (fd >= 0)
		close(fd);
	return fail->kind;
}

/* A signal that was held back ends the restore between two paths. */
static int check_signal(struct restore *r, struct fail *fail)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	const struct timespec at_once = {0};
	sigset_t blocked, pending, set;

	if (sigprocmask(SIG_BLOCK, NULL, &blocked) < 0 || sigpending(&pending) < 0)
		return 0; /* still held back: it is found before the next path */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		if (!sigismember(&blocked, signals[i]) || !sigismember(&pending, signals[i]))
			continue;
		sigemptyset(&set);
		sigaddset(&set, signals[i]);
		r->signal = sigtimedwait(&set, NULL, &at_once);
		if (r->signal < 0) {
			r->signal = 0; /* somebody else has taken it: never wait here */
			continue;
		}
		return fail_set(fail, FAIL_FATAL, "signal %d", r->signal);
	}
	return 0;
}

static int do_one(struct restore *r, int prepared, struct restore_item *item, struct fail *fail)
{
	if (check_signal(r, fail) < 0)
		return fail->kind;
	r->touched = true;
	if (item->action == RESTORE_DELETE)
		delete_one(r, item, fail);
	else if (item->action == RESTORE_MODE)
		change_mode(r, item, fail);
	else
		write_one(r, prepared, item, fail);
	if (fail->kind == 0 && restore_goes(item))
		item->result = RESTORE_DONE;
	return fail->kind;
}

int restore_place(struct restore *r, bool attributes, struct fail *fail)
{
	char *out = mem_printf("%s/out", r->plumb.dir);
	int prepared = open(out, O_PATH | O_DIRECTORY | O_CLOEXEC);

	/* What goes comes first: it may stand where something comes. */
	for (int coming = 0; coming < 2; coming++)
		for (size_t i = 0; i < r->count && fail->kind == 0; i++) {
			struct restore_item *item = &r->items[i];

			if (is_planned(item, attributes) &&
			    (item->action != RESTORE_DELETE) == coming)
				do_one(r, prepared, item, fail);
		}
	if (prepared >= 0)
		close(prepared);
	free(out);
	return fail->kind;
}

/* ---- directories ------------------------------------------------------------------------------
 */

/* The current directory stays, as it does for git. */
static bool is_current(const struct restore *r, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(r->repo->prefix, dir, n) && r->repo->prefix[n] == '/';
}

static void prune_above(struct restore *r, const char *path)
{
	char *dir = mem_strdup(path);

	for (char *slash; (slash = strrchr(dir, '/'));) {
		int parent;
		bool gone;

		*slash = '\0';
		if (is_current(r, dir))
			break;
		parent = open_parent(r->top, dir, false);
		gone = parent >= 0 && unlinkat(parent, base_name(dir), AT_REMOVEDIR) == 0;
		if (parent >= 0)
			close(parent);
		if (!gone)
			break;
	}
	free(dir);
}

/* Directories that the deletes have left empty. The last path of each is enough. */
void restore_prune_directories(struct restore *r)
{
	for (size_t i = r->count; i-- > 0;) {
		const struct restore_item *item = &r->items[i];

		if (item->action == RESTORE_DELETE && item->result == RESTORE_DONE)
			prune_above(r, item->path);
	}
}
