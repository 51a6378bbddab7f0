/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* ref: reading. The swap is in refswap.c. */
#include "ref.h"

#include "repo.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SYMREF_DEPTH 5 /* git's own limit */

/* ---- loose ------------------------------------------------------------------------ */

/* Reads a loose ref's file; FAIL_GONE when there is none (a directory is none). */
static int read_loose_file(struct repo *repo, const char *name, struct bytes *out,
			   struct fail *fail)
{
	char *path = refname_per_worktree(name) ? mem_printf("%s/%s", repo->git_dir, name)
						: mem_strdup(name);
	struct stat st;
	int fd = openat(repo->common_fd, path,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	free(path);
	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return fail_set(fail, FAIL_GONE, "ref '%s' does not exist", name);
		if (errno == ELOOP)
			return fail_set(fail, FAIL_CORRUPT, "ref '%s' is a symbolic link", name);
		return fail_errno(fail, "read ref '%s'", name);
	}
	if (fstat(fd, &st) < 0)
		fail_errno(fail, "read ref '%s'", name);
	else if (S_ISDIR(st.st_mode))
		fail_set(fail, FAIL_GONE, "ref '%s' does not exist", name);
	else if (!S_ISREG(st.st_mode))
		fail_set(fail, FAIL_CORRUPT, "ref '%s' is not a regular file", name);
	else
		file_read_fd(fd, name, 65536, out, fail);
	close(fd);
	return fail->kind;
}

static int parse_loose(const struct repo *repo, const char *name, struct bytes *content,
		       struct oid *oid, char **target, struct fail *fail)
{
	size_t hex = hash_size(repo->algo) * 2;
	const char *text = content->data;

	if (!strncmp(text, "ref:", 4)) {
		text += 4 + strspn(text + 4, " \t");
		*target = mem_dup(text, strcspn(text, " \t\r\n"));
		return 0;
	}
	if (content->len >= hex && oid_parse(repo->algo, text, hex, oid) &&
	    (!text[hex] || strchr(" \t\r\n", text[hex])))
		return 0;
	return fail_set(fail, FAIL_CORRUPT, "ref '%s' is corrupt: its file holds no id", name);
}

/* ---- packed ------------------------------------------------------------------------- */

struct packed_refs {
	char *map;
	size_t len;
	bool sorted;
};

static int packed_open(struct repo *repo, struct packed_refs *packed, struct fail *fail)
{
	struct stat st;
	int fd;

	*packed = (struct packed_refs){0};
	/* A symlink is followed here, as git does: shared checkouts are made that way. */
	fd = openat(repo->common_fd, "packed-refs", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : fail_errno(fail, "open packed-refs");
	if (fstat(fd, &st) < 0)
		fail_errno(fail, "stat packed-refs");
	else if (st.st_size > 0) {
		packed->len = (size_t)st.st_size;
		packed->map = mmap(NULL, packed->len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (packed->map == MAP_FAILED) {
			packed->map = NULL;
			fail_errno(fail, "map packed-refs");
		}
	}
	close(fd);
	if (packed->map && packed->map[0] == '#') {
		const char *end = memchr(packed->map, '\n', packed->len);
		size_t line = end ? (size_t)(end - packed->map) : packed->len;

		packed->sorted = memmem(packed->map, line, " sorted ", 8) ||
				 (line >= 7 && !memcmp(packed->map + line - 7, " sorted", 7));
	}
	return fail->kind;
}

static void packed_close(struct packed_refs *packed)
{
	if (packed->map)
		munmap(packed->map, packed->len);
}

static const char *line_end(const struct packed_refs *packed, const char *at)
{
	const char *end = packed->map + packed->len;
	const char *lf = memchr(at, '\n', (size_t)(end - at));

	return lf ? lf + 1 : end;
}

/* Compares the name in the line at `at` with `name`; lines that are no refs come first. */
static int compare_line(const struct packed_refs *packed, const char *at, size_t hex,
			const char *name)
{
	const char *end = line_end(packed, at);
	size_t len = (size_t)(end - at);
	size_t n;
	int r;

	if (len && at[len - 1] == '\n')
		len--;
	if (*at == '#' || *at == '^' || len <= hex + 1)
		return -1;
	at += hex + 1;
	len -= hex + 1;
	n = strlen(name);
	r = memcmp(at, name, size_min(len, n));
	return r ? r : len < n ? -1 : len > n;
}

/* The start of the line that holds `p`, not counting "^" lines. */
static const char *line_start(const struct packed_refs *packed, const char *p)
{
	for (;;) {
		while (p > packed->map && p[-1] != '\n')
			p--;
		if (p == packed->map || *p != '^')
			return p;
		p--;
	}
}

static const char *next_line(const struct packed_refs *packed, const char *at)
{
	const char *end = packed->map + packed->len;

	at = line_end(packed, at);
	while (at < end && *at == '^')
		at = line_end(packed, at);
	return at;
}

/* The first ref line whose name is >= `name`, or the end. */
static const char *packed_lower_bound(const struct packed_refs *packed, size_t hex,
				      const char *name)
{
	const char *low = packed->map, *high = packed->map + packed->len;

	while (low < high) {
		const char *at = line_start(packed, low + (high - low) / 2);

		if (compare_line(packed, at, hex, name) < 0)
			low = next_line(packed, at);
		else
			high = at;
	}
	return low;
}

/* The line that holds exactly `name`, or NULL. */
static const char *packed_find(const struct packed_refs *packed, size_t hex, const char *name)
{
	const char *end = packed->map + packed->len;
	const char *at;

	if (!packed->map)
		return NULL;
	if (packed->sorted) {
		at = packed_lower_bound(packed, hex, name);
		return at < end && compare_line(packed, at, hex, name) == 0 ? at : NULL;
	}
	for (at = packed->map; at < end; at = line_end(packed, at))
		if (compare_line(packed, at, hex, name) == 0)
			return at;
	return NULL;
}

/* A packed ref below the directory `name`, or NULL. */
static const char *packed_below(const struct packed_refs *packed, size_t hex, const char *name)
{
	char *dir = mem_printf("%s/", name);
	const char *end = packed->map + packed->len;
	const char *at = packed->map;
	size_t n = strlen(dir);

	if (packed->map && packed->sorted)
		at = packed_lower_bound(packed, hex, dir);
	for (; at && at < end; at = line_end(packed, at)) {
		bool below = (size_t)(end - at) > hex + 1 + n && !memcmp(at + hex + 1, dir, n);

		if (below || packed->sorted) {
			at = below ? at : NULL;
			break;
		}
	}
	free(dir);
	return at && at < end ? at : NULL;
}

static int read_packed(struct repo *repo, const char *name, struct oid *oid, struct fail *fail)
{
	size_t hex = hash_size(repo->algo) * 2;
	struct packed_refs packed;
	const char *at;

	if (packed_open(repo, &packed, fail) < 0)
		return fail->kind;
	at = packed_find(&packed, hex, name);
	if (!at)
		fail_set(fail, FAIL_GONE, "ref '%s' does not exist", name);
	else if (!oid_parse(repo->algo, at, hex, oid))
		fail_set(fail, FAIL_CORRUPT, "packed-refs holds no id for '%s'", name);
	packed_close(&packed);
	return fail->kind;
}

/* ---- by git --------------------------------------------------------------------------- */

/* Symbolic refs are resolved by git itself, so `target` stays NULL. */
static int read_by_git(struct repo *repo, const char *name, struct oid *oid, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "rev-parse", "--verify", "--quiet", "--end-of-options", name,
		      NULL);
	if (spawn_capture_any(&cmd, &answer, fail) == 0) {
		bytes_chomp(&answer);
		if (cmd.status == 1)
			fail_set(fail, FAIL_GONE, "ref '%s' does not exist", name);
		else if (cmd.status || !oid_parse(repo->algo, answer.data, answer.len, oid))
			fail_set(fail, FAIL_FATAL, "git cannot read ref '%s'", name);
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return fail->kind;
}

/* ---- the room's front ------------------------------------------------------------------- */

int ref_read_raw(struct repo *repo, const char *name, struct oid *oid, char **target,
		 struct fail *fail)
{
	struct bytes content = BYTES_INIT;

	*target = NULL;
	oid_zero(repo->algo, oid);
	if (repo->refs_by_git)
		return read_by_git(repo, name, oid, fail);
	if (read_loose_file(repo, name, &content, fail) == 0)
		parse_loose(repo, name, &content, oid, target, fail);
	bytes_release(&content);
	if (fail->kind != FAIL_GONE || refname_per_worktree(name))
		return fail->kind;
	fail_clear(fail);
	return read_packed(repo, name, oid, fail);
}

int ref_read(struct repo *repo, const char *name, struct oid *oid, struct fail *fail)
{
	char *at = mem_strdup(name);
	char *target = NULL;
	int r = 0;

	for (int depth = 0; depth <= SYMREF_DEPTH; depth++) {
		r = ref_read_raw(repo, at, oid, &target, fail);
		if (r < 0 || !target)
			break;
		free(at);
		at = target;
		target = NULL;
		if (depth == SYMREF_DEPTH)
			r = fail_set(fail, FAIL_CORRUPT, "ref '%s': too many symbolic refs", name);
	}
	free(at);
	return r;
}

/* An ancestor directory of `name` that is itself a packed ref. */
static int parent_in_the_way(const struct packed_refs *packed, size_t hex, const char *name,
			     struct fail *fail)
{
	const char *slash = strchr(name + 5, '/');

	for (; slash; slash = strchr(slash + 1, '/')) {
		char *parent = mem_dup(name, (size_t)(slash - name));

		if (packed_find(packed, hex, parent))
			fail_set(fail, FAIL_FATAL, "cannot create ref '%s': '%s' exists", name,
				 parent);
		free(parent);
		if (fail->kind)
			break;
	}
	return fail->kind;
}

int ref_check_room(struct repo *repo, const char *name, struct fail *fail)
{
	size_t hex = hash_size(repo->algo) * 2;
	struct packed_refs packed;
	const char *child;

	if (packed_open(repo, &packed, fail) < 0)
		return fail->kind;
	child = packed_below(&packed, hex, name);
	if (child)
		fail_set(fail, FAIL_FATAL, "cannot create ref '%s': '%.*s' exists", name,
			 (int)(line_end(&packed, child) - child - (ssize_t)hex - 2),
			 child + hex + 1);
	else
		parent_in_the_way(&packed, hex, name, fail);
	packed_close(&packed);
	return fail->kind;
}

int ref_each(struct repo *repo, const char *prefix, ref_visit *visit, void *arg, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;
	int r;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "for-each-ref", "--format=%(objectname) %(refname)", prefix, NULL);
	r = spawn_capture(&cmd, &answer, fail);
	for (char *line = answer.data, *end; r == 0 && (end = strchr(line, '\n')); line = end + 1) {
		size_t hex = strcspn(line, " ");
		struct oid oid;

		*end = '\0';
		if (!oid_parse(repo->algo, line, hex, &oid))
			r = fail_set(fail, FAIL_FATAL, "git for-each-ref: unexpected answer");
		else
			r = visit(arg, line + hex + 1, &oid, fail);
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return r;
}
