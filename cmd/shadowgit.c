/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "shadowgit.h"

#include "capture.h"
#include "file.h"
#include "tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The grafts in a file without a name, whose descriptor git inherits: nothing is
 * left behind, however git ends.
 */
static int set_grafts(const struct bytes *grafts, struct fail *fail)
{
	char path[32];
	int fd;

	if (!grafts->len)
		return 0;
	fd = memfd_create("interlock-grafts", 0);
	if (fd < 0)
		return fail_errno(fail, "create a graft file");
	if (file_write_fd(fd, "graft file", grafts->data, grafts->len, fail) < 0)
		return fail->kind;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (setenv("GIT_GRAFT_FILE", path, 1) < 0)
		return fail_errno(fail, "set GIT_GRAFT_FILE");
	return 0;
}

int shadow_exec_git(const struct argv *args, const struct bytes *grafts, struct fail *fail)
{
	struct argv all = ARGV_INIT;

	if (set_grafts(grafts, fail) < 0)
		return fail->kind;
	argv_push_all(&all, "git", "-c", "advice.graftFileDeprecated=false", NULL);
	for (size_t i = 0; i < args->count; i++)
		argv_push(&all, args->items[i]);
	fflush(stdout);
	execvp("git", all.items);
	fail_errno(fail, "run git");
	argv_release(&all);
	return fail->kind;
}

void shadow_session_filter(const char *session, struct argv *args)
{
	struct bytes pattern = BYTES_INIT;

	bytes_adds(&pattern, "--grep=^Shadow-Session: ");
	/* A session id has no other byte that a basic expression takes for itself. */
	for (const char *p = session; *p; p++)
		bytes_addf(&pattern, *p == '.' ? "\\%c" : "%c", *p);
	bytes_addc(&pattern, '$');
	argv_push_all(args, "--basic-regexp", "--all-match", pattern.data, NULL);
	bytes_release(&pattern);
}

static void add_id(struct out *out, const char *key, const struct oid *oid)
{
	char hex[OID_HEX_MAX + 1];

	out_id(out, key, oid_is_zero(oid) ? NULL : oid_hex(oid, hex));
}

/* The message without our trailers, which have keys of their own. */
static size_t user_message(const char *message)
{
	const char *end = message + strlen(message);
	const char *p = message;

	for (const char *q; (q = strstr(p, "\n\n")); p = q + 1)
		end = q;
	return (size_t)(end - message);
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
	out_text_len(out, "message", cp->message,
		     cp->segment ? user_message(cp->message) : strlen(cp->message));
	out_number(out, "skipped_count", (int64_t)cp->skipped_count);
	out_end(out);
}

static int entry_at(struct odb *odb, const struct oid *tree, const char *path,
		    struct tree_entry *entry, struct fail *fail)
{
	struct fail miss = FAIL_INIT;
	int r = oid_is_zero(tree) ? FAIL_GONE : tree_lookup(odb, tree, path, entry, &miss);

	if (r == FAIL_GONE) {
		*entry = (struct tree_entry){0};
		return 0;
	}
	if (r < 0)
		*fail = miss;
	return r;
}

int shadow_path_differs(struct odb *odb, const struct oid *a, const struct oid *b, const char *path,
			bool *differs, struct fail *fail)
{
	struct tree_entry x, y;
	char *full;

	if (!odb->repo->prefix)
		full = mem_strdup(path);
	else if (capture_literal_path(odb->repo, path, &full, fail) < 0)
		return fail->kind == FAIL_ENGINE ? (fail->kind = FAIL_USAGE) : fail->kind;
	if (!*full)
		*differs = !oid_equal(a, b);
	else if (entry_at(odb, a, full, &x, fail) == 0 && entry_at(odb, b, full, &y, fail) == 0)
		*differs = x.mode != y.mode || !oid_equal(&x.oid, &y.oid);
	free(full);
	return fail->kind;
}
