/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "poolrequest.h"

#include "file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

int pool_request_release(struct repo *repo, const char *lease, struct fail *fail)
{
	int dir = repo_state_dir(repo, "leases", fail);
	char *name;
	int fd;

	if (dir < 0)
		return dir;
	name = mem_printf("%s.release", lease);
	fd = file_open(dir, name, O_WRONLY | O_CREAT, &repo->modes, fail);
	if (fd >= 0)
		close(fd);
	free(name);
	close(dir);
	return fail->kind;
}

void pool_request_drop(struct repo *repo, const char *lease)
{
	struct fail ignored = FAIL_INIT;
	int dir = repo_state_dir(repo, "leases", &ignored);
	char *name;

	if (dir < 0)
		return;
	name = mem_printf("%s.release", lease);
	unlinkat(dir, name, 0);
	free(name);
	close(dir);
}

int pool_request_watch(struct repo *repo, struct fail *fail)
{
	int dir = repo_state_dir(repo, "leases", fail);
	char path[64];
	int fd;

	if (dir < 0)
		return -1;
	/* By the descriptor: the directory that we mean, whatever its name leads to. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0 || inotify_add_watch(fd, path, IN_CREATE | IN_DELETE | IN_MOVED_TO) < 0) {
		fail_errno(fail, "watch 'interlock/leases'");
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	close(dir);
	return fd;
}

bool pool_request_came(struct repo *repo, int watch, const char *lease)
{
	struct fail ignored = FAIL_INIT;
	int dir = repo_state_dir(repo, "leases", &ignored);
	char buffer[4096];
	char *name;
	bool came;

	/* What the events say is not needed: the file is there, or it is not. */
	while (read(watch, buffer, sizeof(buffer)) > 0)
		;
	if (dir < 0)
		return false;
	name = mem_printf("%s.release", lease);
	came = faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	free(name);
	close(dir);
	return came;
}
