/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "shadowgit.h"

#include "file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A file without a name, whose descriptor git inherits: nothing is left behind,
 * however git ends.
 */
static int make_file(const char *name, const struct bytes *content, struct fail *fail)
{
	int fd = memfd_create(name, 0);

	if (fd < 0)
		return fail_errno(fail, "create a file in memory");
	if (file_write_fd(fd, name, content->data, content->len, fail) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0) {
		close(fd);
		return fail->kind ? fail->kind : fail_errno(fail, "rewind a file in memory");
	}
	return fd;
}

int shadow_set_grafts(const struct bytes *grafts, struct fail *fail)
{
	char path[32];
	int fd;

	if (!grafts->len)
		return 0;
	fd = make_file("interlock-grafts", grafts, fail);
	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (access(path, R_OK) < 0 || setenv("GIT_GRAFT_FILE", path, 1) < 0)
		return fail_errno(fail, "hand git the chain's history through '%s'", path);
	return 0;
}

int shadow_set_input(const struct bytes *bytes, struct fail *fail)
{
	int fd = make_file("interlock-input", bytes, fail);
	int r = 0;

	if (fd < 0)
		return fd;
	if (dup2(fd, STDIN_FILENO) < 0)
		r = fail_errno(fail, "set standard input");
	close(fd);
	return r;
}

int shadow_exec_git(const struct argv *args, struct fail *fail)
{
	struct argv all = ARGV_INIT;

	argv_push_all(&all, "git", "-c", "advice.graftFileDeprecated=false", NULL);
	for (size_t i = 0; i < args->count; i++)
		argv_push(&all, args->items[i]);
	fflush(stdout);
	execvp("git", all.items);
	fail_errno(fail, "run git");
	argv_release(&all);
	return fail->kind;
}

bool shadow_option_has_value(const char *option)
{
	static const char *const names[] = {
		"-n",
		"-S",
		"-G",
		"-O",
		"-L",
		"-U",
		"-l",
		"-I",
		"--max-count",
		"--skip",
		"--since",
		"--after",
		"--until",
		"--before",
		"--author",
		"--grep",
		"--committer",
		"--output",
		"--unified",
		"--diff-filter",
		"--skip-to",
		"--rotate-to",
		"--ignore-matching-lines",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(option, names[i]))
			return true;
	return false;
}

static void add_id(struct out *out, const char *key, const struct oid *oid)
{
	char hex[OID_HEX_MAX + 1];

	out_id(out, key, oid_is_zero(oid) ? NULL : oid_hex(oid, hex));
}

/* The message without our trailers, which have keys of their own. */
static size_t user_message(const struct checkpoint *cp)
{
	const char *end = cp->message + strlen(cp->message);
	const char *p = cp->message;

	if (cp->segment)
		for (const char *q; (q = strstr(p, "\n\n")); p = q + 1)
			end = q;
	while (end > cp->message && end[-1] == '\n')
		end--;
	return (size_t)(end - cp->message);
}

void shadow_record(struct out *out, const struct checkpoint *cp)
{
	struct oid parent = cp->number == 1 ? cp->previous : cp->first_parent;

	out_begin(out, NULL);
	add_id(out, "commit", &cp->id);
	add_id(out, "tree", &cp->tree);
	add_id(out, "parent", &parent);
	add_id(out, "base", &cp->base);
	out_text(out, "session", cp->session);
	out_time(out, "time", cp->time);
	out_text_len(out, "message", cp->message, user_message(cp));
	out_number(out, "skipped_count", (int64_t)cp->skipped_count);
	out_end(out);
}
