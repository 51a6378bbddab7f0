/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "rev.h"

#include "ref.h"
#include "repo.h"
#include "spawn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_git(struct repo *repo, const char *text, struct oid *oid, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;

	/* Newer gits take an id with more digits than an id has for its beginning. */
	if (strlen(text) > 2 * hash_size(repo->algo) &&
	    strspn(text, "0123456789abcdefABCDEF") == strlen(text))
		return fail_set(fail, FAIL_FATAL, "'%s' is not a revision here", text);
	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "rev-parse", "--verify", "--quiet", "--end-of-options", text,
		      NULL);
	if (spawn_capture_any(&cmd, &answer, fail) == 0) {
		bytes_chomp(&answer);
		if (cmd.status || !oid_parse(repo->algo, answer.data, answer.len, oid))
			fail_set(fail, FAIL_FATAL, "'%s' is not a revision here", text);
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return fail->kind;
}

/* Reads a ref if it is there. False when it is not; a damaged one is a failure. */
static bool found(struct repo *repo, const char *name, struct oid *oid, struct fail *fail)
{
	int r = ref_read(repo, name, oid, fail);

	if (r == FAIL_GONE)
		fail_clear(fail);
	return r == 0;
}

/*
 * A word, by git's rules for short names, when exactly one of them matches: the
 * warning that a word is ambiguous, and which one it is then, are left to git.
 */
static bool short_name(struct repo *repo, const char *word, struct oid *oid, struct fail *fail)
{
	static const char *const rules[][2] = {{"refs/", ""},
					       {"refs/tags/", ""},
					       {"refs/heads/", ""},
					       {"refs/remotes/", ""},
					       {"refs/remotes/", "/HEAD"}};
	char *path = mem_printf("%s/%s", repo->git_dir, word);
	unsigned matches = access(path, F_OK) == 0 ? 2 : 0; /* git would read that file */

	free(path);
	for (size_t i = 0; i < ARRAY_SIZE(rules) && matches < 2 && fail->kind == 0; i++) {
		char *name = mem_printf("%s%s%s", rules[i][0], word, rules[i][1]);
		struct oid one;

		if (refname_valid(name) && found(repo, name, &one, fail)) {
			*oid = one;
			matches++;
		}
		free(name);
	}
	return fail->kind == 0 && matches == 1;
}

/* Nothing but a name: no ~ ^ : @{ or the like. */
static bool is_word(const char *text)
{
	char *name = mem_printf("refs/heads/%s", text);
	bool plain = refname_valid(name) && strcmp(text, "@") != 0 && text[0] != '-';

	free(name);
	return plain;
}

int rev_resolve(struct repo *repo, const char *text, struct oid *oid, struct fail *fail)
{
	if (oid_parse(repo->algo, text, strlen(text), oid))
		return 0;
	if (!repo->refs_by_git && is_word(text)) {
		bool full = refname_valid(text) || refname_is_root(text);

		if (full ? found(repo, text, oid, fail) : short_name(repo, text, oid, fail))
			return 0;
		if (fail->kind)
			return fail->kind;
	}
	return by_git(repo, text, oid, fail);
}

int rev_resolve_or_none(struct repo *repo, const char *text, struct oid *oid, struct fail *fail)
{
	size_t len = strlen(text);
	bool zeros = strspn(text, "0") == len;

	if (zeros &&
	    (len < 2 || len == 2 * hash_size(HASH_SHA1) || len == 2 * hash_size(HASH_SHA256))) {
		oid_zero(repo->algo, oid);
		return 0;
	}
	return rev_resolve(repo, text, oid, fail);
}
