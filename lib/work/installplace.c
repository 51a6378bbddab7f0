/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: where things are, and which of them are ours. */
#include "installparts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *install_join(const char *dir, const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

/* Where a link leads, NULL when it is none. */
char *install_read_link(const char *dir, const char *name)
{
	char *path = install_join(dir, name), target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));

	free(path);
	return n < 0 || n == sizeof(target) ? NULL : mem_dup(target, (size_t)n);
}

/* The last two parts of what the link says: programs of ours are <...>/interlock/<hook>. */
bool install_leads_to(const char *target, const char *hook, const char *programs)
{
	const char *slash = strrchr(target, '/');
	size_t n = slash ? (size_t)(slash - target) : 0;

	if (!slash || strcmp(slash + 1, hook) != 0)
		return false;
	if (programs && strlen(programs) == n && !strncmp(target, programs, n))
		return true;
	if (n >= 10 && !strncmp(target + n - 10, "/interlock", 10))
		return true;
	/* A build folder: only beside the program that is asked. */
	{
		char *beside = mem_printf("%.*s/../git-interlock", (int)n, target);
		bool found = access(beside, X_OK) == 0;

		free(beside);
		return found;
	}
}

bool install_is_ours(const char *dir, const char *name, const char *hook)
{
	char *target = install_read_link(dir, name);
	bool ours = target && install_leads_to(target, hook, NULL);

	free(target);
	return ours;
}

bool install_is_there(const char *dir, const char *name, struct stat *st)
{
	char *path = install_join(dir, name);
	bool there = lstat(path, st) == 0;

	free(path);
	return there;
}

char *install_command(const char *programs, const char *hook)
{
	struct bytes out = BYTES_INIT;
	char *path = install_join(programs, hook);

	bytes_addc(&out, '\'');
	for (const char *p = path; *p; p++) {
		if (*p == '\'')
			bytes_adds(&out, "'\\''");
		else
			bytes_addc(&out, *p);
	}
	bytes_addc(&out, '\'');
	free(path);
	return bytes_take(&out);
}

static char *home_dir(struct fail *fail)
{
	const char *home = getenv("HOME");

	if (home && home[0] == '/')
		return mem_strdup(home);
	fail_set(fail, FAIL_UNSUPPORTED, "HOME is not set, so there is nothing for --global");
	return NULL;
}

char *install_global_state(struct fail *fail)
{
	const char *data = getenv("XDG_DATA_HOME");
	char *home, *path = NULL;

	if (data && data[0] == '/')
		return install_join(data, "interlock");
	home = home_dir(fail);
	if (home)
		path = install_join(home, ".local/share/interlock");
	free(home);
	return path;
}

char *install_global_config(struct fail *fail)
{
	const char *given = getenv("GIT_CONFIG_GLOBAL"), *config = getenv("XDG_CONFIG_HOME");
	char *home, *path, *other;

	if (given)
		return mem_strdup(given);
	home = home_dir(fail);
	if (!home)
		return NULL;
	path = install_join(home, ".gitconfig");
	other = config && *config ? install_join(config, "git/config")
				  : install_join(home, ".config/git/config");
	free(home);
	if (access(path, F_OK) < 0 && access(other, F_OK) == 0) {
		free(path);
		return other;
	}
	free(other);
	return path;
}

/* Values of core.hooksPath that lead to a folder of ours, also where the repository has moved. */
bool install_is_folder(const void *arg, const char *value)
{
	static const char word[] = "/interlock/hooks";
	const struct install_parts *parts = arg;
	const char *at = strstr(value, word), *next;

	/* The user's own, from a repository's view, is somebody else's. */
	if (!parts->wish->global && parts->global_folder && !strcmp(value, parts->global_folder))
		return false;
	while (at && (next = strstr(at + 1, word)))
		at = next;
	return at && (at[sizeof(word) - 1] == '\0' ||
		      (at[sizeof(word) - 1] == '.' && !strchr(at + sizeof(word) - 1, '/')));
}

bool install_is_made(const struct install_record *record, const char *dir)
{
	for (size_t i = 0; i < record->made.count; i++)
		if (!strcmp(record->made.items[i], dir))
			return true;
	return false;
}
