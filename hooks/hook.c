/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "hook.h"

#include "hookchain.h"

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
#define CONFIG_MAX (1u << 20)

/* ---- the user's own hook ---------------------------------------------------------------- */

/* The hooks directory of this repository, whatever core.hooksPath says. */
static char *own_hooks(UNUSED const void *arg)
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

void hook_begin(struct hook *hook, const char *name, char **argv)
{
	static const struct hookchain chain = {
		.self = "/proc/self/exe", .top = "", .own_hooks = own_hooks};
	bool doubt = false; /* then there is none */

	*hook = (struct hook){.name = name, .argv = argv, .input = ""};
	if (argv[0])
		hook->chained = hookchain_next(&chain, argv[0], name, &doubt);
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
	static char *data = first; /* until the program ends */

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
