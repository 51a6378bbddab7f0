/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * sandbox: a throw-away directory that is HOME and current directory, and real
 * git to run in it.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "repo.h"
#include "spawn.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define assert_ok(call, fail) \
	do { \
		if ((call) < 0) \
			fail_msg("%s: %s", #call, (fail).message); \
	} while (0)

static char sandbox_dir[64];

static inline void sandbox_environment(void)
{
	static const char *const drop[] = {"GIT_DIR",
					   "GIT_WORK_TREE",
					   "GIT_INDEX_FILE",
					   "GIT_OBJECT_DIRECTORY",
					   "GIT_CONFIG_GLOBAL",
					   "GIT_CONFIG_SYSTEM",
					   "GIT_CONFIG_COUNT",
					   "GIT_AUTHOR_NAME",
					   "GIT_AUTHOR_EMAIL",
					   "GIT_AUTHOR_DATE",
					   "GIT_COMMITTER_NAME",
					   "GIT_COMMITTER_EMAIL",
					   "XDG_CONFIG_HOME",
					   "GIT_COMMITTER_DATE"};

	for (size_t i = 0; i < ARRAY_SIZE(drop); i++)
		unsetenv(drop[i]);
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	setenv("HOME", sandbox_dir, 1);
}

static inline void sandbox_enter(void)
{
	strcpy(sandbox_dir, "/tmp/interlock-unit-XXXXXX");
	assert_non_null(mkdtemp(sandbox_dir));
	assert_int_equal(chdir(sandbox_dir), 0);
	sandbox_environment();
}

static inline int sandbox_remove(const char *path, UNUSED const struct stat *st, UNUSED int flag,
				 UNUSED struct FTW *ftw)
{
	return remove(path);
}

static inline void sandbox_leave(void)
{
	assert_int_equal(chdir("/"), 0);
	nftw(sandbox_dir, sandbox_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs git with the arguments of `line` (split at blanks) and this input; appends its output. */
static inline void git_feed(const char *line, const void *input, size_t len, struct bytes *out)
{
	struct spawn cmd = SPAWN_INIT;
	struct fail fail = FAIL_INIT;
	struct bytes ignored = BYTES_INIT;
	char *copy = strdup(line), *save = NULL;

	argv_push(&cmd.argv, "git");
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv_push(&cmd.argv, word);
	cmd.input = input;
	cmd.input_len = len;
	assert_ok(spawn_capture(&cmd, out ? out : &ignored, &fail), fail);
	spawn_release(&cmd);
	bytes_release(&ignored);
	free(copy);
}

static inline void git(const char *line)
{
	git_feed(line, NULL, 0, NULL);
}

/* The first word of what git prints, as an id. */
static inline struct oid git_oid_feed(enum hash_algo algo, const char *line, const void *input,
				      size_t len)
{
	struct bytes out = BYTES_INIT;
	struct oid oid;

	git_feed(line, input, len, &out);
	if (!oid_parse(algo, out.data, strcspn(out.data, " \n"), &oid))
		fail_msg("git %s: not an id: %s", line, out.data);
	bytes_release(&out);
	return oid;
}

static inline struct oid git_oid_of(enum hash_algo algo, const char *line)
{
	return git_oid_feed(algo, line, NULL, 0);
}

static inline void assert_oid_equal(const struct oid *a, const struct oid *b)
{
	char left[OID_HEX_MAX + 1], right[OID_HEX_MAX + 1];

	assert_string_equal(oid_hex(a, left), oid_hex(b, right));
}

/* What the tests run over: both engines and both hashes. */
struct variant {
	enum hash_algo algo;
	enum engine engine;
};

static const struct variant sandbox_variants[] = {
	{HASH_SHA1, ENGINE_NATIVE},
	{HASH_SHA1, ENGINE_GIT},
	{HASH_SHA256, ENGINE_GIT},
};

/* A new repository in a directory of its own, opened, and the current directory. */
static inline void sandbox_repo(const struct variant *v, struct repo *repo)
{
	struct fail fail = FAIL_INIT;
	static unsigned count;
	char name[32];

	assert_int_equal(chdir(sandbox_dir), 0);
	snprintf(name, sizeof(name), "repo-%u", count++);
	assert_int_equal(mkdir(name, 0777), 0);
	assert_int_equal(chdir(name), 0);
	git(v->algo == HASH_SHA256 ? "init -q --object-format=sha256" : "init -q");
	if (v->engine == ENGINE_GIT)
		setenv("GIT_INTERLOCK_ENGINE", "git", 1);
	assert_ok(repo_open(repo, REPO_ANY, &fail), fail);
	unsetenv("GIT_INTERLOCK_ENGINE");
	assert_int_equal(repo->engine, v->engine);
	assert_int_equal(repo->algo, v->algo);
}

#endif
