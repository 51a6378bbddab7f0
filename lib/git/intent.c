/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "intent.h"

#include "proc.h"
#include "repo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define HEADER "interlock-git-writer 1\n"
#define SUFFIX ".intent"
#define SETTLED_MS 1000		    /* how long a dead git's lock must have been as it is */
#define LISTING_LIMIT (1024u << 20) /* of one intent: millions of refs */

static bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Opens a file under its flock without waiting; -1 when somebody holds it or it is gone. */
static int try_flock(int dir, const char *file)
{
	struct fail ignored = FAIL_INIT;
	struct stat opened, named;
	int fd = file_open(dir, file, O_RDONLY, NULL, &ignored);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 &&
	    fstatat(dir, file, &named, AT_SYMLINK_NOFOLLOW) == 0 && same_inode(&opened, &named))
		return fd;
	close(fd);
	return -1;
}

/* ---- linked -------------------------------------------------------------------------- */

/* Unlinks `path` if it is the intent's inode. Keeps going: one failure is enough to say so. */
static void unlink_same(const char *path, const struct stat *intent, struct fail *fail)
{
	struct stat st;

	if (lstat(path, &st) == 0 && same_inode(&st, intent) && unlink(path) < 0 && errno != ENOENT)
		fail_errno(fail, "remove the stale lock '%s'", path);
}

/* HEAD.lock of any worktree: the killed writer may have been in another one. */
static void unlink_head_locks(struct repo *repo, const struct stat *intent, struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char *path = mem_printf("%s/HEAD.lock", repo->common_dir);
	int dir;

	unlink_same(path, intent, fail);
	free(path);
	dir = file_open_dir(repo->common_fd, "worktrees", &ignored);
	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	close(dir);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		path = mem_printf("%s/worktrees/%s/HEAD.lock", repo->common_dir, p);
		unlink_same(path, intent, fail);
		free(path);
	}
	bytes_release(&names);
}

int intent_heal(struct repo *repo, int dir, const char *file, const char *ref, struct fail *fail)
{
	struct stat st;
	char *path;

	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail_errno(fail, "stat '%s'", file);
	if (S_ISREG(st.st_mode) && st.st_nlink > 1) {
		path = mem_printf("%s/%s.lock", repo->common_dir, ref);
		unlink_same(path, &st, fail);
		free(path);
		unlink_head_locks(repo, &st, fail);
	}
	if (fail->kind == 0 && unlinkat(dir, file, 0) < 0 && errno != ENOENT)
		fail_errno(fail, "remove '%s'", file);
	return fail->kind;
}

static int create(struct repo *repo, int dir, const char *file, const char *text, struct fail *fail)
{
	int fd = file_open(dir, file, O_WRONLY | O_CREAT | O_EXCL, &repo->modes, fail);

	if (fd < 0)
		return fd;
	file_write_fd(fd, file, text, strlen(text), fail);
	if (repo->conf.durable && fail->kind == 0 && fsync(fd) < 0)
		fail_errno(fail, "fsync '%s'", file);
	if (close(fd) < 0)
		fail_errno(fail, "close '%s'", file);
	if (fail->kind)
		unlinkat(dir, file, 0);
	return fail->kind;
}

int intent_write(struct repo *repo, int dir, const char *file, const char *ref,
		 const struct oid *value, struct fail *fail)
{
	char text[OID_HEX_MAX + 2];

	oid_hex(value, text);
	strcat(text, "\n");
	/* That it is there already is how a dead holder is noticed: no look beforehand. */
	if (create(repo, dir, file, text, fail) == FAIL_SYSTEM && fail->err == EEXIST) {
		fail_clear(fail);
		if (intent_heal(repo, dir, file, ref, fail) == 0)
			create(repo, dir, file, text, fail);
	}
	return fail->kind;
}

/* The name of the linked intent that is one inode with `st`; NULL when there is none. */
static char *find_linked(int dir, const struct stat *st)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char *found = NULL;

	file_each_name(dir, &names, &ignored);
	for (char *p = names.data; !found && p < names.data + names.len; p += strlen(p) + 1) {
		size_t n = strlen(p), tail = strlen(SUFFIX);
		struct stat intent;

		if (n > tail && !strcmp(p + n - tail, SUFFIX) &&
		    fstatat(dir, p, &intent, AT_SYMLINK_NOFOLLOW) == 0 && same_inode(&intent, st))
			found = mem_strdup(p);
	}
	bytes_release(&names);
	return found;
}

static void clear_linked(struct repo *repo, const char *path, const struct stat *st,
			 const char *own_key)
{
	struct fail ignored = FAIL_INIT;
	struct stat again;
	int dir = repo_state_dir(repo, "locks", &ignored);
	char *file = dir < 0 ? NULL : find_linked(dir, st);
	bool own;
	int fd = -1;

	if (file) {
		file[strlen(file) - strlen(SUFFIX)] = '\0'; /* the flock's key */
		own = own_key && !strcmp(own_key, file);
		if (!own)
			fd = try_flock(dir, file);
		/* The intent itself stays: it still proves links that are elsewhere. */
		if ((own || fd >= 0) && lstat(path, &again) == 0 && same_inode(&again, st))
			unlink(path);
	}
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	free(file);
}

/* Unlinks what below an open directory is one inode with the intent, and called a lock. */
static void unlink_locks_below(int dir, const struct stat *intent)
{
	static const char suffix[] = ".lock";
	int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = own < 0 ? NULL : fdopendir(own);
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		size_t n = strlen(entry->d_name), tail = strlen(suffix);
		struct stat st;
		int below;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (n > tail && !strcmp(entry->d_name + n - tail, suffix)) {
			if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			    same_inode(&st, intent))
				unlinkat(dir, entry->d_name, 0);
		} else if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) {
			below = openat(dir, entry->d_name,
				       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (below >= 0) {
				unlink_locks_below(below, intent);
				close(below);
			}
		}
	}
	if (stream)
		closedir(stream);
	else if (own >= 0)
		close(own);
}

/*
 * Heals a linked intent if its writer is dead, whichever ref it was for: a long name of
 * a ref cannot be read from the key. Refs of a single worktree are never written so.
 */
static void heal_linked(struct repo *repo, int dir, const char *file)
{
	struct fail failed = FAIL_INIT;
	char *key = mem_dup(file, strlen(file) - strlen(SUFFIX));
	int fd = try_flock(dir, key), refs;
	struct stat st;

	if (fd >= 0 && fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
		if (st.st_nlink > 1) {
			refs = file_open_dir(repo->common_fd, "refs", &failed);
			if (refs >= 0) {
				unlink_locks_below(refs, &st);
				close(refs);
			}
			unlink_head_locks(repo, &st, &failed);
		}
		if (failed.kind == 0)
			unlinkat(dir, file, 0);
	}
	if (fd >= 0)
		close(fd);
	free(key);
}

static void heal_all_linked(struct repo *repo)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int dir = repo_state_dir(repo, "locks", &ignored);

	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		size_t n = strlen(p), tail = strlen(SUFFIX);

		if (n > tail && !strcmp(p + n - tail, SUFFIX))
			heal_linked(repo, dir, p);
	}
	bytes_release(&names);
	close(dir);
}

/* ---- by git ---------------------------------------------------------------------------- */

void git_intent_add(struct bytes *text, const char *path, const char *content)
{
	bytes_add(text, path, strlen(path) + 1);
	bytes_add(text, content, strlen(content) + 1);
}

static bool not_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec >= b->tv_nsec);
}

static bool settled(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - st->st_ctim.tv_sec) * 1000 +
		       (now.tv_nsec - st->st_ctim.tv_nsec) / 1000000 >=
	       SETTLED_MS;
}

enum opened {
	OPEN_NOWHERE,
	OPEN_ELSEWHERE,
	OPEN_UNKNOWN
};

/* The kernel gives a write lease only for a file that nobody else has open. */
static enum opened ask_kernel(int fd)
{
	/* Whoever opens it meanwhile raises a signal: one that is ignored by default. */
	if (fcntl(fd, F_SETSIG, SIGURG) < 0)
		return OPEN_UNKNOWN;
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return errno == EAGAIN ? OPEN_ELSEWHERE : OPEN_UNKNOWN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return OPEN_NOWHERE;
}

/* git writes the id and the LF one after the other: any beginning of them may be there. */
static bool holds_meant(int fd, const struct stat *st, const char *meant)
{
	struct fail ignored = FAIL_INIT;
	struct bytes content = BYTES_INIT;
	size_t n = strlen(meant);
	bool ours;

	if (!strcmp(meant, "*") || !st->st_size)
		return true;
	ours = n && file_read_fd(fd, "lock", n + 1, &content, &ignored) == 0 &&
	       !memcmp(content.data, meant, size_min(content.len, n)) &&
	       (content.len <= n || content.data[n] == '\n');
	bytes_release(&content);
	return ours;
}

enum verdict {
	NOT_OURS,
	TOO_YOUNG,
	OURS
};

static enum verdict judge(const char *path, const char *meant, const struct stat *intent)
{
	enum opened opened = OPEN_ELSEWHERE;
	bool ours, young = false;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return NOT_OURS;
	ours = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	       st.st_uid == intent->st_uid && not_before(&st.st_mtim, &intent->st_mtim) &&
	       holds_meant(fd, &st, meant);
	if (ours) {
		young = !settled(&st);
		opened = ask_kernel(fd);
	}
	close(fd);
	if (opened == OPEN_UNKNOWN && !proc_find_opener(path))
		opened = OPEN_NOWHERE;
	if (!ours || opened != OPEN_NOWHERE)
		return NOT_OURS;
	return young ? TOO_YOUNG : OURS;
}

/* With core.lockfilePid, git's "x.lock" has a companion: "x~pid.lock". It goes first. */
static void remove_lock(const char *path)
{
	static const char suffix[] = ".lock";
	size_t n = strlen(path), tail = strlen(suffix);
	char *companion;

	if (n > tail && !strcmp(path + n - tail, suffix)) {
		companion = mem_printf("%.*s~pid.lock", (int)(n - tail), path);
		unlink(companion);
		free(companion);
	}
	unlink(path);
}

/* Has nobody the file open, or mapped? Gone is nobody, too. */
static bool nobody_has(int dir, const char *file)
{
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	bool nobody;

	if (fd < 0)
		return errno == ENOENT;
	nobody = ask_kernel(fd) == OPEN_NOWHERE;
	close(fd);
	return nobody;
}

/*
 * A git that compacts a reftable stack locks each table of it ("x.ref.lock"), closes
 * the locks, and keeps the tables mapped until it is through. Such a lock is a dead
 * one's when it is as old as the dead writer's intent or younger, and nobody has the
 * table. What stays would keep every later compaction from that table.
 */
static bool is_dead_table(int dir, const char *name, const struct stat *intent)
{
	static const char suffix[] = ".ref.lock";
	size_t n = strlen(name), tail = strlen(suffix);
	struct stat st;
	char *table;
	bool dead;

	if (n <= tail || strcmp(name + n - tail, suffix) != 0 ||
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != intent->st_uid || !not_before(&st.st_mtim, &intent->st_mtim))
		return false;
	table = mem_dup(name, n - strlen(".lock"));
	dead = nobody_has(dir, table);
	free(table);
	return dead;
}

static int open_folder_of(const char *path)
{
	struct fail ignored = FAIL_INIT;
	char *folder = mem_dup(path, (size_t)(strrchr(path, '/') - path));
	int dir = file_open_dir(AT_FDCWD, folder, &ignored);

	free(folder);
	return dir;
}

static void heal_tables(const char *list_lock, const struct stat *intent)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int dir = open_folder_of(list_lock);

	if (dir >= 0)
		file_each_name(dir, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
		if (is_dead_table(dir, p, intent))
			unlinkat(dir, p, 0);
	if (dir >= 0)
		close(dir);
	bytes_release(&names);
}

static bool is_stack(const char *path)
{
	static const char tail[] = "/reftable/tables.list.lock";
	size_t n = strlen(path);

	return n > strlen(tail) && !strcmp(path + n - strlen(tail), tail);
}

/* Goes through a dead writer's list. False while something in it is too young to judge. */
static bool heal_listed(const struct bytes *text, const struct stat *intent)
{
	const char *p = text->data + strlen(HEADER), *end = text->data + text->len;
	bool finished = true;

	while (p < end) {
		const char *path = p;
		const char *meant = path + strlen(path) + 1;
		enum verdict verdict;

		if (meant >= end)
			break; /* torn: its writer died before it started git */
		verdict = judge(path, meant, intent);
		if (verdict == OURS)
			remove_lock(path);
		else if (verdict == TOO_YOUNG)
			finished = false;
		if (is_stack(path))
			heal_tables(path, intent);
		p = meant + strlen(meant) + 1;
	}
	return finished;
}

/* Heals one git intent if its writer is dead. False while a lock of it is too young to judge. */
static bool heal_by_git(int dir, const char *file)
{
	struct fail ignored = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	struct stat st;
	bool finished = true;
	int fd = try_flock(dir, file);

	if (fd < 0)
		return true;
	if (fstat(fd, &st) == 0 && file_read_fd(fd, file, LISTING_LIMIT, &text, &ignored) == 0) {
		/* Empty: its writer died before it wrote a word. Another version: not for us. */
		bool known =
			text.len >= strlen(HEADER) && !memcmp(text.data, HEADER, strlen(HEADER));

		finished = !known || heal_listed(&text, &st);
		if (!text.len || (known && finished))
			unlinkat(dir, file, 0);
	}
	close(fd);
	bytes_release(&text);
	return finished;
}

static bool sweep(int dir)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	bool finished = true;

	file_each_name(dir, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
		finished = heal_by_git(dir, p) && finished;
	bytes_release(&names);
	return finished;
}

int git_intent_begin(struct repo *repo, const struct bytes *text, struct git_intent *intent,
		     struct fail *fail)
{
	struct bytes name = BYTES_INIT;

	*intent = (struct git_intent)GIT_INTENT_INIT;
	intent->dir = repo_state_dir(repo, "git", fail);
	if (intent->dir < 0)
		return fail->kind;
	sweep(intent->dir);
	file_nonce_name("", &name);
	intent->file = bytes_take(&name);
	if (lock_take(&intent->flock, intent->dir, intent->file, LOCK_EXCLUSIVE, INT64_MAX, NULL,
		      &repo->modes, fail) == 0 &&
	    file_write_fd(intent->flock.fd, intent->file, HEADER, strlen(HEADER), fail) == 0 &&
	    file_write_fd(intent->flock.fd, intent->file, text->data, text->len, fail) == 0 &&
	    fcntl(intent->flock.fd, F_SETFD, 0) == 0)
		return 0;
	fail_errno(fail, "write '%s'", intent->file);
	git_intent_end(intent);
	return fail->kind;
}

void git_intent_leave(struct git_intent *intent)
{
	lock_drop(&intent->flock);
	if (intent->dir >= 0)
		close(intent->dir);
	free(intent->file);
	*intent = (struct git_intent)GIT_INTENT_INIT;
}

void git_intent_end(struct git_intent *intent)
{
	if (intent->flock.fd >= 0)
		unlinkat(intent->dir, intent->file, 0);
	git_intent_leave(intent);
}

/* ---- both -------------------------------------------------------------------------------- */

void intents_heal(struct repo *repo, bool wait)
{
	struct fail ignored = FAIL_INIT;
	int dir = repo_state_dir(repo, "git", &ignored);

	heal_all_linked(repo);
	if (dir < 0)
		return;
	if (!sweep(dir) && wait) {
		clock_sleep(SETTLED_MS);
		sweep(dir);
	}
	close(dir);
}

bool intent_clear(struct repo *repo, const char *path, const char *own_key)
{
	struct fail ignored = FAIL_INIT;
	struct stat st;
	int dir;

	if (lstat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	if (S_ISREG(st.st_mode) && st.st_nlink > 1) {
		clear_linked(repo, path, &st, own_key);
	} else {
		dir = repo_state_dir(repo, "git", &ignored);
		if (dir >= 0) {
			sweep(dir);
			close(dir);
		}
	}
	return lstat(path, &st) < 0 && errno == ENOENT;
}

/* ---- asking ------------------------------------------------------------------------------ */

struct intent_seen {
	char *file; /* "locks/<key>.intent", "git/<nonce>" */
	bool linked, alive;
	struct stat st;
	struct bytes listed; /* of a git intent, without its header */
};

/* A folder of ours, if there is one. */
static int open_state(struct repo *repo, const char *sub)
{
	char *path = mem_printf("interlock/%s", sub);
	int dir = openat(repo->common_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	free(path);
	return dir;
}

/* Has its writer the flock, or could it have? */
static bool may_be_alive(int dir, const char *file)
{
	return lock_look(dir, file) != LOCK_FREE;
}

static struct intent_seen *add_seen(struct intents *out, const char *sub, const char *file)
{
	struct intent_seen *seen;

	MEM_GROW(out->items, out->cap, out->count + 1);
	seen = &out->items[out->count++];
	*seen = (struct intent_seen){.file = mem_printf("%s/%s", sub, file), .listed = BYTES_INIT};
	return seen;
}

static void see_linked(struct intents *out, int dir, const char *file)
{
	size_t n = strlen(file), tail = strlen(SUFFIX);
	struct intent_seen *seen;
	struct stat st;
	char *key;

	if (n <= tail || strcmp(file + n - tail, SUFFIX) != 0 ||
	    fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	key = mem_dup(file, n - tail);
	seen = add_seen(out, "locks", file);
	seen->linked = true;
	seen->st = st;
	seen->alive = may_be_alive(dir, key);
	free(key);
}

static void see_git(struct intents *out, int dir, const char *file)
{
	struct fail ignored = FAIL_INIT;
	struct bytes text = BYTES_INIT;
	struct intent_seen *seen;
	bool alive = may_be_alive(dir, file);
	struct stat st;

	/* An empty one: its writer died before it wrote a word. Another version: not for us. */
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    file_read(dir, file, LISTING_LIMIT, &text, &ignored) == 0 &&
	    (!text.len ||
	     (text.len >= strlen(HEADER) && !memcmp(text.data, HEADER, strlen(HEADER))))) {
		seen = add_seen(out, "git", file);
		seen->st = st;
		seen->alive = alive;
		if (text.len)
			bytes_add(&seen->listed, text.data + strlen(HEADER),
				  text.len - strlen(HEADER));
	}
	bytes_release(&text);
}

static void see_all(struct intents *out, const char *sub,
		    void (*see)(struct intents *, int, const char *), struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	int dir = open_state(out->repo, sub);

	if (dir < 0)
		return;
	file_each_name(dir, &names, fail);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
		see(out, dir, p);
	bytes_release(&names);
	close(dir);
}

int intents_look(struct repo *repo, struct intents *out, struct fail *fail)
{
	*out = (struct intents){.repo = repo};
	see_all(out, "locks", see_linked, fail);
	see_all(out, "git", see_git, fail);
	return fail->kind;
}

static bool is_in_folder_of(const char *path, const char *other)
{
	size_t n = (size_t)(strrchr(other, '/') + 1 - other);

	return !strncmp(path, other, n) && !strchr(path + n, '/');
}

/* Is it a table's lock beside the list that a dead writer's git had locked? */
static bool is_table_of(const char *path, const char *listed, const struct stat *intent)
{
	bool dead = false;
	int dir;

	if (!is_stack(listed) || !is_in_folder_of(path, listed))
		return false;
	dir = open_folder_of(path);
	if (dir >= 0) {
		dead = is_dead_table(dir, strrchr(path, '/') + 1, intent);
		close(dir);
	}
	return dead;
}

static enum intent_owner ask_listed(const struct intent_seen *seen, const char *path)
{
	const char *p = seen->listed.data, *end = p + seen->listed.len;

	while (p < end) {
		const char *listed = p, *meant = p + strlen(p) + 1;

		if (meant >= end)
			break; /* torn */
		if (!strcmp(listed, path)) {
			if (seen->alive)
				return INTENT_ALIVE;
			if (judge(path, meant, &seen->st) != NOT_OURS)
				return INTENT_DEAD;
		} else if (!seen->alive && strchr(path, '/') &&
			   is_table_of(path, listed, &seen->st)) {
			return INTENT_DEAD;
		}
		p = meant + strlen(meant) + 1;
	}
	return INTENT_OTHERS;
}

enum intent_owner intents_ask(const struct intents *intents, const char *path,
			      const struct stat *st)
{
	for (size_t i = 0; i < intents->count; i++) {
		const struct intent_seen *seen = &intents->items[i];
		enum intent_owner owner = INTENT_OTHERS;

		if (!seen->linked)
			owner = ask_listed(seen, path);
		else if (same_inode(&seen->st, st))
			owner = seen->alive ? INTENT_ALIVE : INTENT_DEAD;
		if (owner != INTENT_OTHERS)
			return owner;
	}
	return INTENT_OTHERS;
}

bool intent_is_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	bool elsewhere;

	if (fd < 0)
		return false;
	elsewhere = ask_kernel(fd) == OPEN_ELSEWHERE;
	close(fd);
	return elsewhere;
}

void intents_each_dead(const struct intents *intents, void (*visit)(void *arg, const char *file),
		       void *arg)
{
	for (size_t i = 0; i < intents->count; i++)
		if (!intents->items[i].alive)
			visit(arg, intents->items[i].file);
}

void intents_release(struct intents *intents)
{
	for (size_t i = 0; i < intents->count; i++) {
		free(intents->items[i].file);
		bytes_release(&intents->items[i].listed);
	}
	free(intents->items);
	*intents = (struct intents){0};
}

void intent_describe(struct repo *repo, const char *path, struct bytes *out)
{
	struct fail ignored = FAIL_INIT;
	struct stat st;
	int dir, fd;
	char *file;

	if (lstat(path, &st) < 0 || st.st_nlink < 2)
		return;
	dir = repo_state_dir(repo, "locks", &ignored);
	file = dir < 0 ? NULL : find_linked(dir, &st);
	if (file) {
		file[strlen(file) - strlen(SUFFIX)] = '\0';
		fd = file_open(dir, file, O_RDONLY, NULL, &ignored);
		if (fd >= 0) {
			lock_describe_holder(fd, out);
			close(fd);
		}
	}
	if (dir >= 0)
		close(dir);
	free(file);
}
