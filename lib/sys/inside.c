/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "inside.h"

#include "file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEPTH_MAX 256 /* of a directory above which none of ours is looked for */
#define PASSES 3      /* over /proc, when pids begin again from the bottom meanwhile */
#define TEXT_MAX (64 << 20)

/* One directory that is asked about. */
struct place {
	char *path; /* as the kernel shows it; NULL: cannot be judged */
	dev_t dev;
	ino_t ino;
	char *token; /* "/" and the name of the work lock, or NULL */
	dev_t token_dev;
	ino_t token_ino;
	bool token_locked, token_seen;
	size_t index;
};

struct pass {
	const struct inside_question *questions;
	struct inside *out;
	struct place *places, **by_path, **by_inode;
	size_t count, known; /* known: those with a path */
	int proc;
	pid_t self;
	pid_t ancestors[DEPTH_MAX];
	size_t ancestor_count;
	pid_t pid;		   /* the process being looked at */
	bool unreadable;	   /* there are processes that we may not look into */
	uint64_t unreadable_start; /* of the youngest of them */
};

/* ---- the directories ------------------------------------------------------------- */

static int compare_path(const void *a, const void *b)
{
	return strcmp((*(struct place *const *)a)->path, (*(struct place *const *)b)->path);
}

static int compare_inode(const void *a, const void *b)
{
	const struct place *x = *(struct place *const *)a, *y = *(struct place *const *)b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static char *read_link(int dir, const char *name)
{
	char text[PATH_MAX + 16];
	ssize_t n = readlinkat(dir, name, text, sizeof(text) - 1);

	return n > 0 ? mem_dup(text, (size_t)n) : NULL;
}

/* The path by which the kernel knows an open directory. */
static char *kernel_path(int fd)
{
	char name[48];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return read_link(AT_FDCWD, name);
}

static void place_directory(struct place *place, const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0) {
		place->dev = st.st_dev;
		place->ino = st.st_ino;
		place->path = kernel_path(fd);
	}
	close(fd);
}

/*
 * Is the work lock held? Asked through an open file of our own: the caller's may be the
 * very one that holds the lock, and a shared attempt on it would change that lock.
 */
static void place_token(struct place *place, int token)
{
	char name[48], *path, *end;
	struct stat st;
	int fd;

	if (token < 0 || fstat(token, &st) < 0 || !(path = kernel_path(token)))
		return;
	/* It may be deleted already, by a name that says so. */
	end = strstr(path, " (deleted)");
	if (end)
		*end = '\0';
	end = strrchr(path, '/');
	place->token = end ? mem_strdup(end) : NULL;
	free(path);
	place->token_dev = st.st_dev;
	place->token_ino = st.st_ino;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", token);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	/* What cannot be asked counts as held. */
	place->token_locked = fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0;
	if (fd >= 0)
		close(fd);
}

static void begin_places(struct pass *pass)
{
	pass->places = mem_array(pass->count + 1, sizeof(*pass->places));
	pass->by_path = mem_array(pass->count + 1, sizeof(struct place *));
	pass->by_inode = mem_array(pass->count + 1, sizeof(struct place *));
	for (size_t i = 0; i < pass->count; i++) {
		struct place *place = &pass->places[i];

		place->index = i;
		place_directory(place, pass->questions[i].path);
		place_token(place, pass->questions[i].token);
		if (!place->path) {
			pass->out[i].hidden = true;
			continue;
		}
		pass->by_path[pass->known] = place;
		pass->by_inode[pass->known++] = place;
	}
	qsort(pass->by_path, pass->known, sizeof(struct place *), compare_path);
	qsort(pass->by_inode, pass->known, sizeof(struct place *), compare_inode);
}

static void end_places(struct pass *pass)
{
	for (size_t i = 0; i < pass->count; i++) {
		free(pass->places[i].path);
		free(pass->places[i].token);
	}
	free(pass->places);
	free(pass->by_path);
	free(pass->by_inode);
}

/* ---- what was found ------------------------------------------------------------------ */

static bool environment_says(const struct pass *pass, const char *variable)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char name[32];
	bool found = false;

	snprintf(name, sizeof(name), "%d/environ", (int)pass->pid);
	file_read(pass->proc, name, TEXT_MAX, &text, &ignored);
	for (const char *p = text.data; !found && p < text.data + text.len; p += strlen(p) + 1)
		found = !strcmp(p, variable);
	bytes_release(&text);
	return found;
}

/* The entry of the present process in the answer about a place. */
static struct inside_process *entry(struct pass *pass, const struct place *place)
{
	struct inside *out = &pass->out[place->index];
	struct inside_process *process;

	if (out->count && out->found[out->count - 1].pid == pass->pid)
		return &out->found[out->count - 1];
	MEM_GROW(out->found, out->cap, out->count + 1);
	process = &out->found[out->count++];
	*process = (struct inside_process){.pid = pass->pid, .start = procid_start(pass->pid)};
	for (size_t i = 0; i < pass->ancestor_count; i++)
		process->is_ancestor |= pass->ancestors[i] == pass->pid;
	return process;
}

static void found_within(struct pass *pass, const struct place *place)
{
	const char *variable = pass->questions[place->index].variable;
	struct inside_process *process;

	if (pass->pid == pass->self)
		return;
	process = entry(pass, place);
	if (!process->within && variable)
		process->has_env = environment_says(pass, variable);
	process->within = true;
}

/* Each directory above `path`, and itself: is it one of ours? True when one was. */
static bool check_path(struct pass *pass, const char *path)
{
	char part[PATH_MAX + 16];
	struct place key = {.path = part}, *wanted = &key;
	size_t len = strlen(path);
	bool any = false;

	if (path[0] != '/' || len >= sizeof(part))
		return false;
	memcpy(part, path, len + 1);
	for (;;) {
		struct place **hit =
			bsearch(&wanted, pass->by_path, pass->known, sizeof(*hit), compare_path);
		char *slash;

		if (hit) {
			found_within(pass, *hit);
			any = true;
		}
		slash = strrchr(part, '/');
		if (!slash || slash == part)
			return any;
		*slash = '\0';
	}
}

static bool is_known_device(const struct pass *pass, dev_t dev)
{
	for (size_t i = 0; i < pass->known; i++)
		if (pass->by_inode[i]->dev == dev)
			return true;
	return false;
}

/* The same by device and inode, upwards from an open directory, which is closed. */
static void check_upwards(struct pass *pass, int fd)
{
	struct place key, *wanted = &key;
	struct stat st, last = {0};

	for (int depth = 0; depth < DEPTH_MAX && fd >= 0 && fstat(fd, &st) == 0; depth++) {
		struct place **hit;
		int up;

		if (depth && st.st_dev == last.st_dev && st.st_ino == last.st_ino)
			break;
		key.dev = st.st_dev;
		key.ino = st.st_ino;
		hit = bsearch(&wanted, pass->by_inode, pass->known, sizeof(*hit), compare_inode);
		if (hit)
			found_within(pass, *hit);
		last = st;
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
	}
	if (fd >= 0)
		close(fd);
}

/* ---- one process ----------------------------------------------------------------------- */

/* "cwd" or "root"; false when we may not look. */
static bool look_at_directory(struct pass *pass, int task, const char *name)
{
	char *path = read_link(task, name);
	struct stat st;

	if (!path)
		return errno != EACCES && errno != EPERM;
	if (!check_path(pass, path) && fstatat(task, name, &st, 0) == 0 &&
	    is_known_device(pass, st.st_dev))
		check_upwards(pass, openat(task, name, O_PATH | O_DIRECTORY | O_CLOEXEC));
	free(path);
	return true;
}

/*
 * Is it the open file that has the lock? Whoever only asks, as we do, has the file open
 * too. Where the kernel does not tell, it counts as such.
 */
static bool has_lock(int task, const char *fd)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char name[300];
	bool has;

	snprintf(name, sizeof(name), "fdinfo/%s", fd);
	has = file_read(task, name, 65536, &text, &ignored) < 0 || strstr(text.data, "FLOCK");
	bytes_release(&text);
	return has;
}

/* Whose work lock is this? The name is compared first: most files are nobody's. */
static void check_token(struct pass *pass, int task, int dir, const char *name, const char *path)
{
	const char *last = strrchr(path, '/');
	struct stat st;

	for (size_t i = 0; last && i < pass->count; i++) {
		struct place *place = &pass->places[i];

		if (!place->token || strncmp(last, place->token, strlen(place->token)) != 0 ||
		    fstatat(dir, name, &st, 0) < 0 || place->token_ino != st.st_ino ||
		    place->token_dev != st.st_dev || !has_lock(task, name))
			continue;
		place->token_seen = true;
		if (pass->pid != pass->self)
			entry(pass, place)->has_file = true;
	}
}

static bool look_at_files(struct pass *pass, int task)
{
	int fd = openat(task, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *item;

	if (!dir) {
		bool denied = errno == EACCES || errno == EPERM;

		if (fd >= 0)
			close(fd);
		return !denied;
	}
	while ((item = readdir(dir))) {
		char *path;

		if (!isdigit((unsigned char)item->d_name[0]) ||
		    !(path = read_link(dirfd(dir), item->d_name)))
			continue;
		check_path(pass, path);
		check_token(pass, task, dirfd(dir), item->d_name, path);
		free(path);
	}
	closedir(dir);
	return true;
}

/* The sixth field of each line is the path of a mapped file. */
static void look_at_maps(struct pass *pass, int task)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char *rest, *line, *last = NULL;

	file_read(task, "maps", TEXT_MAX, &text, &ignored);
	for (rest = text.data; (line = strsep(&rest, "\n"));) {
		char *path = strchr(line, '/');

		/* A library is mapped in several parts, one line each. */
		if (path && (!last || strcmp(path, last) != 0))
			check_path(pass, path);
		last = path ? path : last;
	}
	bytes_release(&text);
}

static bool is_gone(const struct pass *pass)
{
	char name[24];
	struct stat st;

	snprintf(name, sizeof(name), "%d", (int)pass->pid);
	return fstatat(pass->proc, name, &st, 0) < 0 && (errno == ENOENT || errno == ESRCH);
}

static void look_at_task(struct pass *pass, int task)
{
	if (!look_at_directory(pass, task, "cwd") || !look_at_directory(pass, task, "root") ||
	    !look_at_files(pass, task)) {
		uint64_t start = procid_start(pass->pid);

		/* The kernel says the same of one that has ended just now. */
		if (!start && is_gone(pass))
			return;

		pass->unreadable = true;
		if (!start || start > pass->unreadable_start)
			pass->unreadable_start = start ? start : UINT64_MAX;
		return;
	}
	look_at_maps(pass, task);
}

/* The main thread is over, others may live: each of them shows what the process has. */
static void look_at_threads(struct pass *pass, int process)
{
	int fd = openat(process, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *item;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((item = readdir(dir))) {
		char link[1];
		int task;

		if (!isdigit((unsigned char)item->d_name[0]))
			continue;
		task = openat(dirfd(dir), item->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (task >= 0 && readlinkat(task, "cwd", link, sizeof(link)) >= 0) {
			look_at_task(pass, task);
			close(task);
			break;
		}
		if (task >= 0)
			close(task);
	}
	closedir(dir);
}

static void look_at_process(struct pass *pass, const char *name)
{
	int process = openat(pass->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char link[1];

	if (process < 0)
		return;
	pass->pid = (pid_t)strtol(name, NULL, 10);
	/* A thread group whose leader has ended has a leader without a directory. */
	if (readlinkat(process, "cwd", link, sizeof(link)) < 0 && errno == ENOENT)
		look_at_threads(pass, process);
	else
		look_at_task(pass, process);
	close(process);
}

/* ---- how far /proc can be believed ------------------------------------------------------- */

/* Is /proc mounted with hidepid? The last mount on it is the one that is seen. */
static bool has_hidepid(void)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char *rest, *line;
	bool hides = false;

	if (file_read(AT_FDCWD, "/proc/self/mountinfo", TEXT_MAX, &text, &ignored) < 0)
		hides = true;
	for (rest = text.data; (line = strsep(&rest, "\n"));) {
		char place[8];
		const char *option;

		if (sscanf(line, "%*s %*s %*s %*s %7s", place) != 1 || strcmp(place, "/proc") != 0)
			continue;
		option = strstr(line, "hidepid=");
		hides = option && option[8] != '0' && strncmp(option + 8, "off", 3) != 0;
	}
	bytes_release(&text);
	return hides;
}

static bool proc_hides(const struct pass *pass)
{
	struct statfs fs;
	int fd;

	if (fstatfs(pass->proc, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC || !pass->ancestor_count)
		return true;
	if (geteuid() == 0)
		return false;
	fd = openat(pass->proc, "1/stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	close(fd);
	return has_hidepid();
}

/* The pid given out last; 0 when it is not told. */
static long last_pid(int proc)
{
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	long pid = 0;

	if (file_read(proc, "loadavg", 4096, &text, &ignored) == 0)
		sscanf(text.data, "%*s %*s %*s %*s %ld", &pid);
	bytes_release(&text);
	return pid;
}

/* ---- the pass ------------------------------------------------------------------------------- */

static void one_pass(struct pass *pass, DIR *dir)
{
	struct dirent *item;

	pass->unreadable = false;
	pass->unreadable_start = 0;
	rewinddir(dir);
	while ((item = readdir(dir)))
		if (isdigit((unsigned char)item->d_name[0]))
			look_at_process(pass, item->d_name);
}

static void forget_found(struct pass *pass)
{
	for (size_t i = 0; i < pass->count; i++) {
		pass->out[i].count = 0;
		pass->places[i].token_seen = false;
	}
}

/*
 * /proc is read from low pids to high ones. A process that forks and ends is found as
 * its child further up, unless pids began again from the bottom in between: then all
 * of it is read again.
 */
static void all_passes(struct pass *pass, DIR *dir)
{
	long before, after = last_pid(pass->proc);

	for (int i = 0; i < PASSES; i++) {
		before = after;
		forget_found(pass);
		one_pass(pass, dir);
		after = last_pid(pass->proc);
		if (after >= before)
			return;
	}
	for (size_t i = 0; i < pass->count; i++)
		pass->out[i].hidden = true;
}

static void conclude(struct pass *pass)
{
	bool hides = proc_hides(pass);

	for (size_t i = 0; i < pass->count; i++) {
		const struct place *place = &pass->places[i];

		pass->out[i].hidden |= hides;
		pass->out[i].holder_unseen =
			place->token_locked && !place->token_seen &&
			(hides ||
			 (pass->unreadable && pass->unreadable_start >= pass->questions[i].after));
	}
}

int inside_look(const struct inside_question *questions, size_t count, struct inside *out,
		struct fail *fail)
{
	struct pass pass = {.questions = questions, .out = out, .count = count};
	DIR *dir = opendir("/proc");

	memset(out, 0, count * sizeof(*out));
	if (!dir)
		return fail_errno(fail, "open '/proc'");
	pass.proc = dirfd(dir);
	pass.ancestor_count = procid_ancestors(pass.ancestors, ARRAY_SIZE(pass.ancestors));
	pass.self = pass.ancestor_count ? pass.ancestors[0] : getpid();
	begin_places(&pass);
	if (pass.known) {
		all_passes(&pass, dir);
		conclude(&pass);
	}
	end_places(&pass);
	closedir(dir);
	return 0;
}

void inside_release(struct inside *inside)
{
	free(inside->found);
	memset(inside, 0, sizeof(*inside));
}

size_t inside_sitting(const char *path, struct procid *out, size_t room)
{
	struct place place = {.path = NULL};
	DIR *dir = opendir("/proc");
	struct dirent *item;
	size_t count = 0, len;

	if (dir)
		place_directory(&place, path);
	len = place.path ? strlen(place.path) : 0;
	while (len && count < room && (item = readdir(dir))) {
		char name[NAME_MAX + 8], *cwd;
		struct fail ignored = FAIL_INIT;

		if (!isdigit((unsigned char)item->d_name[0]))
			continue;
		snprintf(name, sizeof(name), "%s/cwd", item->d_name);
		cwd = read_link(dirfd(dir), name);
		if (cwd && !strncmp(cwd, place.path, len) && (!cwd[len] || cwd[len] == '/') &&
		    procid_of((pid_t)strtol(item->d_name, NULL, 10), &out[count], &ignored) == 0 &&
		    out[count].pid != getpid())
			count++;
		free(cwd);
	}
	free(place.path);
	if (dir)
		closedir(dir);
	return count;
}
