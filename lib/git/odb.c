/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "odb.h"

#include "number.h"
#include "recall.h"
#include "repo.h"
#include "treebag.h"

#include <errno.h>
#include <git2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void odb_init(struct odb *odb, struct repo *repo)
{
	*odb = (struct odb){.repo = repo, .cat_file = COPROCESS_INIT, .cat_check = COPROCESS_INIT};
}

void odb_release(struct odb *odb)
{
	coprocess_end(&odb->cat_file);
	coprocess_end(&odb->cat_check);
	git_odb_free(odb->native);
	odb->native = NULL;
	argv_release(&odb->env);
}

static int gone(const struct oid *oid, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];

	return fail_set(fail, FAIL_GONE, "object %s is missing", oid_hex(oid, hex));
}

/* ---- missing? ----------------------------------------------------------------------- */

/*
 * libgit2 and git look for new packs once before they say that an object is missing. A
 * repack that puts a pack in place of the one which that look has found, before it
 * is opened, makes them say so of an object that is there all the time. So they are asked
 * to look again: once more in any case, and on while packs come and go.
 */
#define LOOK_AGAIN_MAX 32

struct packs_seen {
	struct timespec changed;
	unsigned looks;
};

static bool look_again(const struct odb *odb, struct packs_seen *seen)
{
	char *dir;
	struct stat st = {0};
	bool moved;

	if (seen->looks >= LOOK_AGAIN_MAX)
		return false;
	dir = mem_printf("%s/pack/.", odb->repo->object_dir);
	if (stat(dir, &st) < 0)
		st.st_mtim = (struct timespec){0};
	free(dir);
	moved = st.st_mtim.tv_sec != seen->changed.tv_sec ||
		st.st_mtim.tv_nsec != seen->changed.tv_nsec;
	seen->changed = st.st_mtim;
	return !seen->looks++ || moved;
}

/* ---- libgit2 --------------------------------------------------------------------- */

static int native_failed(int error, const struct oid *oid, struct fail *fail)
{
	const git_error *last = git_error_last();
	char hex[OID_HEX_MAX + 1];

	if (error == GIT_ENOTFOUND)
		return gone(oid, fail);
	return fail_set(fail, FAIL_CORRUPT, "read object %s: %s", oid_hex(oid, hex),
			last && last->message ? last->message : "unknown error");
}

static int native_open(struct odb *odb, const struct oid *oid, git_oid *id, struct fail *fail)
{
	int error;

	if (oid->algo != HASH_SHA1)
		return gone(oid, fail);
	memcpy(id->id, oid->raw, GIT_OID_RAWSZ);
	if (odb->native)
		return 0;
	error = git_repository_odb(&odb->native, odb->repo->handle);
	return error < 0 ? native_failed(error, oid, fail) : 0;
}

static int native_type(git_object_t found, const struct oid *oid, enum object_type *type,
		       struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];

	if (found < GIT_OBJECT_COMMIT || found > GIT_OBJECT_TAG)
		return fail_set(fail, FAIL_CORRUPT, "object %s has an unknown type",
				oid_hex(oid, hex));
	*type = (enum object_type)found; /* the same numbers */
	return 0;
}

static bool native_look_again(struct odb *odb, int error, struct packs_seen *seen)
{
	return error == GIT_ENOTFOUND && look_again(odb, seen) && git_odb_refresh(odb->native) == 0;
}

static int native_read(struct odb *odb, const struct oid *oid, enum object_type *type,
		       struct bytes *out, struct fail *fail)
{
	struct packs_seen seen = {.looks = 0};
	git_odb_object *object = NULL;
	git_oid id;
	int error;

	if (native_open(odb, oid, &id, fail) < 0)
		return fail->kind;
	do
		error = git_odb_read(&object, odb->native, &id);
	while (native_look_again(odb, error, &seen));
	if (error < 0)
		return native_failed(error, oid, fail);
	if (native_type(git_odb_object_type(object), oid, type, fail) == 0)
		bytes_add(out, git_odb_object_data(object), git_odb_object_size(object));
	git_odb_object_free(object);
	return fail->kind;
}

static int native_read_header(struct odb *odb, const struct oid *oid, enum object_type *type,
			      uint64_t *size, struct fail *fail)
{
	struct packs_seen seen = {.looks = 0};
	git_object_t found;
	git_oid id;
	size_t len;
	int error;

	if (native_open(odb, oid, &id, fail) < 0)
		return fail->kind;
	do
		error = git_odb_read_header(&len, &found, odb->native, &id);
	while (native_look_again(odb, error, &seen));
	if (error == 0)
		*size = len;
	return error < 0 ? native_failed(error, oid, fail) : native_type(found, oid, type, fail);
}

/* ---- git cat-file ------------------------------------------------------------------ */

static int start(struct odb *odb, struct coprocess *co, const char *mode, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;

	if (co->pid)
		return 0;
	/* The first setting of a variable counts: the owner's come before ours. */
	for (size_t i = 0; i < odb->env.count; i++)
		argv_push(&cmd.env, odb->env.items[i]);
	argv_push(&cmd.env, "GIT_NO_REPLACE_OBJECTS=1");
	repo_git(odb->repo, &cmd);
	argv_push_all(&cmd.argv, "cat-file", mode, NULL);
	coprocess_start(co, &cmd, fail);
	spawn_release(&cmd);
	return fail->kind;
}

/* The co-process is of no use any more: ends it and says how it ended. */
static int broken(struct coprocess *co, const struct oid *oid, const char *what, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	int status = coprocess_end(co);

	return fail_set(fail, FAIL_FATAL, "git cat-file %s (exit status %d) when asked for %s",
			what, status, oid_hex(oid, hex));
}

/* write(2) that reports EPIPE and raises no SIGPIPE, also when that is not blocked. */
static ssize_t write_unsignalled(int fd, const void *data, size_t len)
{
	const struct timespec now = {0, 0};
	sigset_t pipe_set, pending, before;
	bool was_pending;
	ssize_t n;
	int err;

	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
	n = write(fd, data, len);
	err = errno;
	if (n < 0 && err == EPIPE && !was_pending)
		while (sigtimedwait(&pipe_set, NULL, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = err;
	return n;
}

static int ask(struct coprocess *co, const struct oid *oid, struct fail *fail)
{
	char line[OID_HEX_MAX + 2];
	size_t len, done = 0;

	oid_hex(oid, line);
	len = strlen(line);
	line[len++] = '\n';
	while (done < len) {
		ssize_t n = write_unsignalled(co->to, line + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return broken(co, oid, "ended", fail);
		done += (size_t)n;
	}
	return 0;
}

/* Reads what is there, at most `limit` bytes, behind `in`. */
static int take(struct coprocess *co, const struct oid *oid, size_t limit, struct bytes *in,
		struct fail *fail)
{
	ssize_t n;

	bytes_reserve(in, limit);
	do
		n = read(co->from, in->data + in->len, limit);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return broken(co, oid, "ended", fail);
	bytes_truncate(in, in->len + (size_t)n);
	return 0;
}

/*
 * Reads the answer's first line and takes it apart; what came behind it stays
 * in `in`. "<hex> missing", or "<hex> <type> <size>".
 */
static int take_header(struct coprocess *co, const struct oid *oid, struct bytes *in,
		       enum object_type *type, uint64_t *size, struct fail *fail)
{
	struct fail bad_number = FAIL_INIT;
	char hex[OID_HEX_MAX + 1];
	size_t hex_len = strlen(oid_hex(oid, hex));
	const char *rest, *blank;
	char *end;
	int64_t number = 0;

	while (!(end = memchr(in->data, '\n', in->len))) {
		if (in->len > 4096)
			return broken(co, oid, "answered nonsense", fail);
		if (take(co, oid, 16384, in, fail) < 0)
			return fail->kind;
	}
	*end = '\0';
	if (strncmp(in->data, hex, hex_len) != 0 || in->data[hex_len] != ' ')
		return broken(co, oid, "answered nonsense", fail);
	rest = in->data + hex_len + 1;
	if (!strcmp(rest, "missing"))
		return gone(oid, fail);
	blank = strchr(rest, ' ');
	*type = blank ? object_type_parse(rest, (size_t)(blank - rest)) : 0;
	if (!*type ||
	    number_parse(blank + 1, "size", 0, (int64_t)(SIZE_MAX / 4), &number, &bad_number) < 0)
		return broken(co, oid, "answered nonsense", fail);
	*size = (uint64_t)number;
	memmove(in->data, end + 1, in->len - (size_t)(end + 1 - in->data));
	bytes_truncate(in, in->len - (size_t)(end + 1 - in->data));
	return 0;
}

/* Asks one of them, and reads as far as the end of the answer's first line. */
static int consult(struct odb *odb, struct coprocess *co, const char *mode, const struct oid *oid,
		   struct bytes *in, enum object_type *type, uint64_t *size, struct fail *fail)
{
	struct packs_seen seen = {.looks = 0};

	do {
		fail_clear(fail);
		bytes_clear(in);
		if (start(odb, co, mode, fail) == 0 && ask(co, oid, fail) == 0)
			take_header(co, oid, in, type, size, fail);
	} while (fail->kind == FAIL_GONE && look_again(odb, &seen));
	return fail->kind;
}

static int git_read(struct odb *odb, const struct oid *oid, enum object_type *type,
		    struct bytes *out, struct fail *fail)
{
	struct coprocess *co = &odb->cat_file;
	uint64_t size = 0;

	if (consult(odb, co, "--batch", oid, out, type, &size, fail) < 0)
		return fail->kind;
	/* A newline follows the content. Memory grows with what arrives, not with what is said. */
	while (out->len < size + 1) {
		size_t left = (size_t)(size + 1 - out->len);

		if (take(co, oid, size_min(left, size_max(1 << 20, out->len)), out, fail) < 0)
			return fail->kind;
	}
	if (out->len != size + 1 || out->data[size] != '\n')
		return broken(co, oid, "answered nonsense", fail);
	bytes_truncate(out, (size_t)size);
	return 0;
}

static int git_read_header(struct odb *odb, const struct oid *oid, enum object_type *type,
			   uint64_t *size, struct fail *fail)
{
	struct coprocess *co = &odb->cat_check;
	struct bytes in = BYTES_INIT;

	if (consult(odb, co, "--batch-check", oid, &in, type, size, fail) == 0 && in.len)
		broken(co, oid, "answered nonsense", fail);
	bytes_release(&in);
	return fail->kind;
}

/* ---- both ----------------------------------------------------------------------------- */

int odb_read(struct odb *odb, const struct oid *oid, enum object_type *type, struct bytes *out,
	     struct fail *fail)
{
	const struct bytes *held = odb->bag ? treebag_get(odb->bag, oid) : NULL;
	int r;

	bytes_clear(out);
	if (held) {
		*type = OBJECT_TREE;
		bytes_add(out, held->data, held->len);
		return 0;
	}
	if (odb->recall && recall_get(odb->recall, oid, type, out))
		return 0;
	if (odb->repo->engine == ENGINE_NATIVE)
		r = native_read(odb, oid, type, out, fail);
	else
		r = git_read(odb, oid, type, out, fail);
	if (r < 0)
		bytes_clear(out);
	else if (odb->recall)
		recall_saw(odb->recall, oid, *type, out);
	return r;
}

int odb_read_type(struct odb *odb, const struct oid *oid, enum object_type type, struct bytes *out,
		  struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	enum object_type found;

	if (odb_read(odb, oid, &found, out, fail) < 0)
		return fail->kind;
	if (found == type)
		return 0;
	bytes_clear(out);
	return fail_set(fail, FAIL_CORRUPT, "object %s is a %s, not a %s", oid_hex(oid, hex),
			object_type_name(found), object_type_name(type));
}

static int read_header(struct odb *odb, const struct oid *oid, enum object_type *type,
		       uint64_t *size, struct fail *fail)
{
	const struct bytes *held = odb->bag ? treebag_get(odb->bag, oid) : NULL;

	if (held) {
		*type = OBJECT_TREE;
		*size = held->len;
		return 0;
	}
	if (odb->repo->engine == ENGINE_NATIVE)
		return native_read_header(odb, oid, type, size, fail);
	return git_read_header(odb, oid, type, size, fail);
}

int odb_type(struct odb *odb, const struct oid *oid, enum object_type *type, struct fail *fail)
{
	uint64_t size;

	return read_header(odb, oid, type, &size, fail);
}

int odb_size(struct odb *odb, const struct oid *oid, uint64_t *size, struct fail *fail)
{
	enum object_type type;

	return read_header(odb, oid, &type, size, fail);
}
