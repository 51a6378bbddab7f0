/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as a file of ignore rules, and any as a path.
 *
 * The input is rules, an 0xfe byte, and a path. Beside the sanitizers' checks:
 * a path that the last rule names is ignored, whatever came before.
 */
#include "prelude.h"

#include "ignore.h"
#include "repo.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool plain(const char *path, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (wildmatch_special(path[i]) || path[i] == '\n' || path[i] == '\r' ||
		    path[i] == ' ')
			return false;
	return len && path[0] != '/' && path[len - 1] != '/';
}

static void last_rule_wins(struct ignore_set *set, const char *rules, size_t rules_len,
			   const char *path, size_t path_len)
{
	size_t len = rules_len + path_len + 2;
	char *text = mem_alloc(len);
	const struct ignore_dir *dir;

	memcpy(text, rules, rules_len);
	memcpy(text + rules_len, "\n/", 2);
	memcpy(text + rules_len + 2, path, path_len);
	dir = ignore_enter(set, ignore_root(set), "", text, len);
	if (!ignore_match(dir, path, path_len, false))
		abort();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char nowhere[] = "/nonexistent";
	struct repo repo = {.work_tree = nowhere, .common_dir = nowhere};
	const uint8_t *split = size ? memchr(data, 0xfe, size) : NULL;
	size_t rules_len = split ? (size_t)(split - data) : size;
	const struct ignore_dir *top, *sub;
	struct fail fail = FAIL_INIT;
	struct ignore_set *set;
	size_t path_len;
	char *rules, *path;

	repo.conf.excludes_file = nowhere;
	if (ignore_open(&repo, &set, &fail) < 0)
		abort();
	rules = mem_dup(data, rules_len);
	path = mem_dup(split ? (const char *)split + 1 : "", split ? size - rules_len - 1 : 0);
	path_len = strlen(path);
	top = ignore_enter(set, ignore_root(set), "", rules, rules_len);
	sub = ignore_enter(set, top, "a", rules, rules_len);
	ignore_match(top, path, path_len, false);
	ignore_match(top, path, path_len, true);
	ignore_match(sub, path, path_len, false);
	wildmatch_path(rules, path, true);
	if (plain(path, path_len))
		last_rule_wins(set, rules, rules_len, path, path_len);
	ignore_free(set);
	free(rules);
	free(path);
	return 0;
}
