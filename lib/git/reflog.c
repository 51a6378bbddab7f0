/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "reflog.h"

#include "commit.h"
#include "file.h"
#include "repo.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool kept(const struct repo *repo, const char *name)
{
	int setting = repo->conf.log_all_ref_updates;

	if (setting < 0)
		setting = !repo->bare;
	if (setting == 2)
		return true;
	return setting == 1 &&
	       (!strncmp(name, "refs/heads/", 11) || !strncmp(name, "refs/remotes/", 13) ||
		!strncmp(name, "refs/notes/", 11) || !strcmp(name, "HEAD"));
}

bool reflog_clear_dirs(int dir, const char *path)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int fd;

	if (unlinkat(dir, path, AT_REMOVEDIR) == 0)
		return true;
	fd = errno == ENOTEMPTY || errno == EEXIST ? file_open_dir(dir, path, &ignored) : -1;
	if (fd >= 0) {
		file_each_name(fd, &names, &ignored);
		for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1)
			reflog_clear_dirs(fd, p);
		close(fd);
	}
	bytes_release(&names);
	return unlinkat(dir, path, AT_REMOVEDIR) == 0;
}

static int create(struct repo *repo, struct reflog *log, struct fail *fail)
{
	int flags = O_WRONLY | O_APPEND | O_CREAT | O_EXCL;
	char *parent = mem_dup(log->path, (size_t)(strrchr(log->path, '/') - log->path));
	int fd = -1;

	if (file_make_dirs(repo->common_fd, parent, &repo->modes, fail) == 0)
		fd = file_open(repo->common_fd, log->path, flags, &repo->modes, fail);
	log->created = fd >= 0;
	log->fd = fd >= 0 ? fd : -1;
	free(parent);
	return fail->kind;
}

/* Opens the log that is there; FAIL_GONE when there is none. */
static int open_existing(struct repo *repo, struct reflog *log, struct fail *fail)
{
	int dir = repo->common_fd;
	int fd = file_open(dir, log->path, O_WRONLY | O_APPEND, NULL, fail);

	/* An empty directory is what refs below this name have left. */
	if (fd == FAIL_CORRUPT && reflog_clear_dirs(dir, log->path)) {
		fail_clear(fail);
		return fail_set(fail, FAIL_GONE, "no reflog '%s'", log->path);
	}
	if (fd >= 0)
		log->fd = fd;
	return fail->kind;
}

int reflog_open(struct repo *repo, const char *name, bool force, struct reflog *log,
		struct fail *fail)
{
	*log = (struct reflog)REFLOG_INIT;
	log->dir = repo->common_fd;
	log->path = strcmp(name, "HEAD") ? mem_printf("logs/%s", name)
					 : mem_printf("%s/logs/HEAD", repo->git_dir);
	if (open_existing(repo, log, fail) == FAIL_GONE) {
		fail_clear(fail);
		if (force || kept(repo, name))
			create(repo, log, fail);
	}
	if (fail->kind == 0 && log->fd >= 0) {
		log->end = lseek(log->fd, 0, SEEK_END);
		if (log->end < 0)
			fail_errno(fail, "seek in '%s'", log->path);
	}
	return fail->kind;
}

/* As git: runs of blanks become one, none at the ends. */
static void add_reason(const char *reason, struct bytes *line)
{
	bool blank = true;
	size_t start;

	bytes_addc(line, '\t');
	start = line->len;
	for (const char *p = reason; *p; p++) {
		bool now = isspace((unsigned char)*p);

		if (!now || !blank)
			bytes_addc(line, now ? ' ' : *p);
		blank = now;
	}
	if (line->len > start && line->data[line->len - 1] == ' ')
		bytes_truncate(line, line->len - 1);
	if (line->len == start)
		bytes_truncate(line, start - 1);
}

int reflog_append(struct repo *repo, struct reflog *log, const struct oid *old_oid,
		  const struct oid *new_oid, const char *reason, struct fail *fail)
{
	char old_hex[OID_HEX_MAX + 1], new_hex[OID_HEX_MAX + 1];
	struct bytes line = BYTES_INIT;

	if (log->fd < 0)
		return 0;
	bytes_addf(&line, "%s %s ", oid_hex(old_oid, old_hex), oid_hex(new_oid, new_hex));
	if (commit_committer(repo, &line, fail) == 0) {
		if (reason)
			add_reason(reason, &line);
		bytes_addc(&line, '\n');
		file_write_fd(log->fd, log->path, line.data, line.len, fail);
	}
	bytes_release(&line);
	return fail->kind;
}

void reflog_close(struct reflog *log, bool keep)
{
	if (log->fd >= 0) {
		/* A torn line would spoil the next one: it goes, as far as the disk allows. */
		if (!keep && ftruncate(log->fd, log->end) == 0 && log->created)
			unlinkat(log->dir, log->path, 0);
		close(log->fd);
	}
	free(log->path);
	*log = (struct reflog)REFLOG_INIT;
}
