/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* ref: reading. The swap is in refswap.c. */
#include "ref.h"

#include "repo.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SYMREF_DEPTH 5 /* git's own limit */

/* ---- loose ------------------------------------------------------------------------ */

/* An old form of symbolic ref, which git still follows: a symbolic link to "refs/...". */
static int read_link(int dir, const char *path, const char *name, char **target, struct fail *fail)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(dir, path, text, sizeof(text) - 1);

	if (n < 0)
		return fail_errno(fail, "read ref '%s'", name);
	text[n] = '\0';
	if (!refname_valid(text))
		return fail_set(fail, FAIL_CORRUPT,
				"ref '%s' is a symbolic link to something that is no ref", name);
	*target = mem_strdup(text);
	return 0;
}

static int read_open_file(int fd, const char *name, struct bytes *out, struct fail *fail)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		fail_errno(fail, "read ref '%s'", name);
	else if (S_ISDIR(st.st_mode))
		fail_set(fail, FAIL_GONE, "ref '%s' does not exist", name);
	else if (!S_ISREG(st.st_mode))
		fail_set(fail, FAIL_CORRUPT, "ref '%s' is not a regular file", name);
	else
		file_read_stat(fd, &st, name, 65536, out, fail);
	close(fd);
	return fail->kind;
}

/* Reads a loose ref's file, or its link; FAIL_GONE when there is none (a directory is none). */
static int read_loose_file(struct repo *repo, const char *name, struct bytes *out, char **target,
			   struct fail *fail)
{
	char *path = refname_per_worktree(name) ? mem_printf("%s/%s", repo->git_dir, name)
						: mem_strdup(name);
	int fd = openat(repo->common_fd, path,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0)
		read_open_file(fd, name, out, fail);
	else if (errno == ENOENT || errno == ENOTDIR)
		fail_set(fail, FAIL_GONE, "ref '%s' does not exist", name);
	else if (errno == ELOOP)
		read_link(repo->common_fd, path, name, target, fail);
	else
		fail_errno(fail, "read ref '%s'", name);
	free(path);
	return fail->kind;
}

static int corrupt(const char *name, struct fail *fail)
{
	return fail_set(fail, FAIL_CORRUPT, "ref '%s' is corrupt: its file holds no id", name);
}

static int parse_loose(const struct repo *repo, const char *name, struct bytes *content,
		       struct oid *oid, char **target, struct fail *fail)
{
	size_t hex = hash_size(repo->algo) * 2;
	const char *text = content->data;

	if (!strncmp(text, "ref:", 4)) {
		text += 4 + strspn(text + 4, " \t\r\n");
		*target = mem_dup(text, strcspn(text, " \t\r\n"));
		/* The name becomes a path: one that leads out of refs/ is not followed. */
		if (refname_valid(*target) || refname_is_root(*target))
			return 0;
		free(*target);
		*target = NULL;
		return corrupt(name, fail);
	}
	if (content->len >= hex && oid_parse(repo->algo, text, hex, oid) &&
	    (!text[hex] || strchr(" \t\r\n", text[hex])))
		return 0;
	return corrupt(name, fail);
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

/* What stands beside refs/ is in no listing; rev-parse would guess at longer names. */
static int read_root_by_git(struct repo *repo, const char *name, struct oid *oid, char **target,
			    struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;

	if (!strcmp(name, "HEAD") && (repo_head_branch(repo, target, fail) < 0 || *target))
		return fail->kind;
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

struct wanted {
	const char *name;
	struct oid *oid;
	char **target;
	bool found;
};

static int take_wanted(void *arg, const char *name, const struct oid *oid, const char *target,
		       UNUSED struct fail *fail)
{
	struct wanted *wanted = arg;

	if (strcmp(name, wanted->name) != 0)
		return 0;
	wanted->found = true;
	*wanted->oid = *oid;
	if (*target)
		*wanted->target = mem_strdup(target);
	return 0;
}

/*
 * git's listing, "<id> NUL <target> NUL <name> LF": the one plumbing command that
 * takes a name as it is. rev-parse would try refs/heads/<name> and others too.
 */
typedef int each_raw(void *arg, const char *name, const struct oid *oid, const char *target,
		     struct fail *fail);

static int take_line(struct repo *repo, char *line, char *end, each_raw *take, void *arg,
		     struct fail *fail)
{
	size_t hex = strlen(line);
	char *target = line + hex + 1;
	char *name = target < end ? target + strlen(target) + 1 : end;
	struct oid oid;

	if (name >= end || !oid_parse(repo->algo, line, hex, &oid))
		return fail_set(fail, FAIL_FATAL, "git for-each-ref: unexpected answer");
	return take(arg, name, &oid, target, fail);
}

static int list_by_git(struct repo *repo, const char *pattern, each_raw *take, void *arg,
		       struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;
	char *line, *end;
	int r;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "for-each-ref", "--format=%(objectname)%00%(symref)%00%(refname)",
		      pattern, NULL);
	r = spawn_capture(&cmd, &answer, fail);
	line = answer.data;
	while (r == 0 && (end = memchr(line, '\n', answer.len - (size_t)(line - answer.data)))) {
		*end = '\0';
		r = take_line(repo, line, end, take, arg, fail);
		line = end + 1;
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return r;
}

static int read_by_git(struct repo *repo, const char *name, struct oid *oid, char **target,
		       struct fail *fail)
{
	struct wanted wanted = {.name = name, .oid = oid, .target = target};

	if (strncmp(name, "refs/", 5) != 0)
		return read_root_by_git(repo, name, oid, target, fail);
	if (list_by_git(repo, name, take_wanted, &wanted, fail) == 0 && !wanted.found)
		fail_set(fail, FAIL_GONE, "ref '%s' does not exist", name);
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
		return read_by_git(repo, name, oid, target, fail);
	if (read_loose_file(repo, name, &content, target, fail) == 0 && !*target)
		parse_loose(repo, name, &content, oid, target, fail);
	bytes_release(&content);
	if (fail->kind != FAIL_GONE || refname_per_worktree(name))
		return fail->kind;
	fail_clear(fail);
	return read_packed(repo, name, oid, fail);
}

int ref_follow(struct repo *repo, const char *name, struct oid *oid, char **leaf, struct fail *fail)
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
	*leaf = at;
	return r;
}

int ref_read(struct repo *repo, const char *name, struct oid *oid, struct fail *fail)
{
	char *leaf = NULL;
	int r = ref_follow(repo, name, oid, &leaf, fail);

	free(leaf);
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

struct visitor {
	ref_visit *visit;
	void *arg;
};

static int visit_line(void *arg, const char *name, const struct oid *oid, UNUSED const char *target,
		      struct fail *fail)
{
	struct visitor *visitor = arg;

	return visitor->visit(visitor->arg, name, oid, fail);
}

int ref_each(struct repo *repo, const char *prefix, ref_visit *visit, void *arg, struct fail *fail)
{
	struct visitor visitor = {visit, arg};

	return list_by_git(repo, prefix, visit_line, &visitor, fail);
}
