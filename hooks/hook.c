/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECURSION "GIT_INTERLOCK_HOOK"
#define CHAINED ".before-interlock"
#define FORMER "former"
#define CONFIG_MAX (1u << 20)

/* ---- the user's own hook ---------------------------------------------------------------- */

/* The path when a hook is there that git would run. */
static char *if_runs(char *path)
{
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* The hooks directory of this repository, whatever core.hooksPath says. */
static char *own_hooks(void)
{
	char link[32], path[PATH_MAX];
	int common = -1;
	ssize_t n = -1;

	if (hook_place(NULL, &common)) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", common);
		n = readlink(link, path, sizeof(path));
		close(common);
	}
	return n > 0 && n < (ssize_t)sizeof(path) ? mem_printf("%.*s/hooks", (int)n, path) : NULL;
}

/* <...>/interlock/hooks/, or hooks.<worktree>/: other places are not asked for "former". */
static bool is_folder(const char *called, size_t dir_len)
{
	static const char word[] = "interlock/hooks";
	char *dir = mem_dup(called, dir_len - 1), *slash = strrchr(dir, '/');
	bool ours = false;

	while (slash && slash > dir && slash[-1] != '/')
		slash--;
	if (slash && !strncmp(slash, word, sizeof(word) - 1))
		ours = strchr("./", slash[sizeof(word) - 1]) != NULL; /* or at its end */
	free(dir);
	return ours;
}

/*
 * In a folder of ours (install.h) the file "former" says where core.hooksPath led before us;
 * nothing in it: to each repository's own hooks. What stands there now is asked for now.
 */
static char *find_former(const char *called, size_t dir_len, const char *name)
{
	char *file = mem_printf("%.*s" FORMER, (int)dir_len, called), *path = NULL, *dir = NULL;
	struct bytes text = BYTES_INIT;

	if (hook_read_file(AT_FDCWD, file, PATH_MAX, &text)) {
		bytes_chomp(&text);
		dir = text.len ? mem_strdup(text.data) : own_hooks();
	}
	if (dir)
		path = if_runs(mem_printf("%s/%s", dir, name));
	bytes_release(&text);
	free(dir);
	free(file);
	return path;
}

static bool is_us(const char *path)
{
	struct stat there, self;

	return stat(path, &there) == 0 && stat("/proc/self/exe", &self) == 0 &&
	       there.st_dev == self.st_dev && there.st_ino == self.st_ino;
}

/*
 * Another tool has taken our place, and calls us under another name ("<hook>.legacy"). Then
 * what we had put aside is still ours to run, unless we have that place again.
 */
static char *find_displaced(const char *called, size_t dir_len, const char *name)
{
	char *place = mem_printf("%.*s%s", (int)dir_len, called, name), *path = NULL;

	if (strcmp(place, called) != 0 && !strncmp(place, called, strlen(place)) && !is_us(place))
		path = if_runs(mem_printf("%s" CHAINED, place));
	/* The tool itself, from before: it is running already. */
	if (path && guard_look_same_maker(path, place)) {
		free(path);
		path = NULL;
	}
	free(place);
	return path;
}

void hook_begin(struct hook *hook, const char *name, char **argv)
{
	const char *slash = argv[0] ? strrchr(argv[0], '/') : NULL;
	size_t dir_len = slash ? (size_t)(slash + 1 - argv[0]) : 0;

	*hook = (struct hook){.name = name, .argv = argv, .input = ""};
	/* One that git found by a path; a config hook is called through a shell, and by ours. */
	if (!slash)
		return;
	hook->chained = if_runs(mem_printf("%s" CHAINED, argv[0]));
	if (!hook->chained)
		hook->chained = find_displaced(argv[0], dir_len, name);
	if (!hook->chained && is_folder(argv[0], dir_len))
		hook->chained = find_former(argv[0], dir_len, name);
}

bool hook_recurses(void)
{
	const char *value = getenv(RECURSION);

	return value && *value;
}

/* ---- standard input ------------------------------------------------------------------- */

bool hook_read(struct hook *hook)
{
	static char first[1 << 16]; /* enough for nearly all; costs nothing until it is used */
	size_t len = 0, cap = sizeof(first);
	char *data = first;

	for (;;) {
		ssize_t n = read(STDIN_FILENO, data + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			hook->input = data;
			hook->input_len = len;
			hook->input_read = true;
			return n == 0;
		}
		len += (size_t)n;
		if (len == cap && data == first) {
			data = mem_alloc(2 * cap);
			memcpy(data, first, len);
			cap *= 2;
		} else if (len == cap) {
			cap *= 2;
			data = mem_resize(data, cap, 1);
		}
	}
}

static bool write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* Puts what was read back in front of whoever comes next. */
static bool replay(const struct hook *hook)
{
	int fd;
	bool done;

	if (!hook->input_read)
		return true;
	fd = memfd_create("input", MFD_CLOEXEC);
	done = fd >= 0 && write_all(fd, hook->input, hook->input_len) &&
	       lseek(fd, 0, SEEK_SET) == 0 && dup2(fd, STDIN_FILENO) >= 0;
	if (fd > STDIN_FILENO)
		close(fd);
	return done;
}

/* ---- what comes after ------------------------------------------------------------------ */

int hook_pass(struct hook *hook)
{
	if (!hook->chained)
		return 0;
	if (replay(hook))
		execv(hook->chained, hook->argv);
	dprintf(STDERR_FILENO, "interlock: the hook '%s' cannot be run: %s\n", hook->chained,
		strerror(errno));
	return 1; /* git fails, too, when it cannot run a hook that is there */
}

static size_t count(char **list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

/*
 * Becomes git-interlock: the one that was installed or built together with this program,
 * else the one that git would find. Returns only when there is none.
 */
static void become_slow(const struct hook *hook)
{
	static const char *const places[] = {"../../bin/", "../"};
	size_t n = count(hook->argv);
	char **argv = mem_array(n + 4, sizeof(*argv));
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *slash;

	argv[0] = mem_strdup("git-interlock");
	argv[1] = mem_strdup("hook");
	argv[2] = mem_strdup(hook->name);
	for (size_t i = 1; i < n; i++)
		argv[i + 2] = hook->argv[i];
	setenv(RECURSION, "1", 1);
	exe[len > 0 ? len : 0] = '\0';
	slash = strrchr(exe, '/');
	for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
		char *path =
			mem_printf("%.*s%s%s", (int)(slash + 1 - exe), exe, places[i], argv[0]);

		execv(path, argv);
		free(path);
	}
	execvp(argv[0], argv);
	unsetenv(RECURSION);
}

static int cannot_ask(struct hook *hook, enum hook_duty duty)
{
	dprintf(STDERR_FILENO, "interlock: %s: git-interlock cannot be started: %s%s\n", hook->name,
		strerror(errno),
		duty == HOOK_BLOCKS ? "; what this touches is guarded, so the answer is no" : "");
	return duty == HOOK_BLOCKS ? 1 : hook_pass(hook);
}

/* With a hook of the user's behind it, the slow path is a child. */
static int ask_and_pass(struct hook *hook, enum hook_duty duty)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return cannot_ask(hook, duty);
	if (!child) {
		if (replay(hook))
			become_slow(hook);
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (status && duty == HOOK_BLOCKS)
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	return hook_pass(hook);
}

int hook_ask(struct hook *hook, enum hook_duty duty)
{
	if (hook->chained)
		return ask_and_pass(hook, duty);
	if (replay(hook))
		become_slow(hook);
	return cannot_ask(hook, duty);
}

/* ---- the repository -------------------------------------------------------------------- */

bool hook_read_file(int dir, const char *name, size_t limit, struct bytes *out)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = -1;
	struct stat st;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size < limit) {
		bytes_reserve(out, (size_t)st.st_size + 1);
		n = read(fd, out->data, (size_t)st.st_size);
	}
	close(fd);
	if (n < 0 || n != st.st_size)
		return false;
	out->len = (size_t)n;
	out->data[n] = '\0';
	return true;
}

static int open_dir(int at, const char *path)
{
	return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ".git" may be a file that says where it is. */
static int open_git_dir(const char *path)
{
	struct bytes text = BYTES_INIT;
	int fd = open_dir(AT_FDCWD, path), r;

	if (fd >= 0 || errno != ENOTDIR)
		return fd;
	if (hook_read_file(AT_FDCWD, path, PATH_MAX, &text) && !strncmp(text.data, "gitdir: ", 8)) {
		bytes_chomp(&text);
		fd = open_dir(AT_FDCWD, text.data + 8);
	}
	r = fd;
	bytes_release(&text);
	return r;
}

static int open_common(int git_dir)
{
	const char *given = getenv("GIT_COMMON_DIR");
	struct bytes text = BYTES_INIT;
	int fd;

	if (given)
		return open_dir(AT_FDCWD, given);
	if (hook_read_file(git_dir, "commondir", PATH_MAX, &text)) {
		bytes_chomp(&text);
		fd = open_dir(git_dir, text.data);
	} else {
		fd = errno == ENOENT ? open_dir(git_dir, ".") : -1;
	}
	bytes_release(&text);
	return fd;
}

bool hook_place(int *git_dir, int *common)
{
	const char *given = getenv("GIT_DIR");
	int dir = open_git_dir(given ? given : ".git");
	int shared = dir >= 0 && common ? open_common(dir) : -1;
	bool found = dir >= 0 && (!common || shared >= 0);

	if (common)
		*common = shared;
	if (git_dir)
		*git_dir = dir;
	else if (dir >= 0)
		close(dir);
	return found;
}

/* ---- saving -------------------------------------------------------------------------------- */

bool hook_saves_are_off(int common)
{
	struct bytes config = BYTES_INIT;
	const char *parameters = getenv("GIT_CONFIG_PARAMETERS");
	bool off = !getenv("GIT_INTERLOCK_AUTO_SAVE") && !getenv("GIT_CONFIG_COUNT") &&
		   !(parameters && strcasestr(parameters, "interlock")) &&
		   hook_read_file(common, "config", CONFIG_MAX, &config) &&
		   guard_saves_are_off(config.data, config.len);

	bytes_release(&config);
	return off;
}

static bool exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

int hook_save(struct hook *hook, enum guard_after after)
{
	int git_dir = -1, common = -1;
	bool placed, rebasing;

	if (hook_recurses() || !guard_saves(after, false))
		return hook_pass(hook);
	placed = hook_place(&git_dir, &common);
	rebasing = placed && (exists(git_dir, "rebase-merge") || exists(git_dir, "rebase-apply"));
	if (placed && (!guard_saves(after, rebasing) || hook_saves_are_off(common)))
		return hook_pass(hook);
	return hook_ask(hook, HOOK_HELPS);
}
