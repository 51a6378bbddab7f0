/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "proc.h"

#include "file.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void proc_command(pid_t pid, struct bytes *out)
{
	struct fail ignored = FAIL_INIT;
	struct bytes comm = BYTES_INIT;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (file_read(AT_FDCWD, path, 4096, &comm, &ignored) == 0) {
		bytes_chomp(&comm);
		bytes_add(out, comm.data, comm.len);
	}
	bytes_release(&comm);
}

void proc_describe(pid_t pid, struct bytes *out)
{
	struct bytes comm = BYTES_INIT;

	proc_command(pid, &comm);
	bytes_addf(out, "pid %d", (int)pid);
	if (comm.len)
		bytes_addf(out, " (%s)", comm.data);
	bytes_release(&comm);
}

static bool has_open(int proc_fd, const struct stat *wanted)
{
	DIR *dir = fdopendir(proc_fd);
	struct dirent *entry;
	bool found = false;

	if (!dir) {
		close(proc_fd);
		return false;
	}
	while (!found && (entry = readdir(dir))) {
		struct stat st;

		found = isdigit((unsigned char)entry->d_name[0]) &&
			fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
			st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
	}
	closedir(dir);
	return found;
}

pid_t proc_find_opener(const char *path)
{
	struct stat wanted;
	struct dirent *entry;
	pid_t found = 0;
	DIR *proc;

	if (lstat(path, &wanted) < 0 || !S_ISREG(wanted.st_mode) || !(proc = opendir("/proc")))
		return 0;
	while (!found && (entry = readdir(proc))) {
		char fd_dir[300];
		int fd;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(fd_dir, sizeof(fd_dir), "%s/fd", entry->d_name);
		fd = openat(dirfd(proc), fd_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && has_open(fd, &wanted))
			found = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	closedir(proc);
	return found;
}

bool proc_describe_opener(const char *path, struct bytes *out)
{
	pid_t pid = proc_find_opener(path);

	if (pid)
		proc_describe(pid, out);
	else
		bytes_adds(out, "nobody who can be seen");
	return pid;
}
