/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * ignore: gitignore(5), without libgit2, for many threads.
 *
 * Rules come from (weakest first) core.excludesFile, $GIT_COMMON_DIR/info/exclude,
 * and the .gitignore of each directory from the top down. A directory's rules
 * are read once, when the scan enters it; the set is immutable afterwards and
 * may be asked by any thread.
 *
 *	struct ignore_dir *top = ignore_top(repo, fail);
 *	struct ignore_dir *sub = ignore_enter(top, "src", 3, text, text_len);
 *	if (ignore_match(sub, "src/a.o", 7, false)) ...
 *
 * A path below an ignored directory is ignored whatever its own rules say; the
 * caller knows that and does not ask.
 */
#ifndef IGNORE_H
#define IGNORE_H

#include "fail.h"

struct repo;
struct ignore_dir;
struct ignore_set; /* owns all ignore_dirs of one scan */

/* Reads the global rules. Release everything at once with ignore_free(). */
int ignore_open(struct repo *repo, struct ignore_set **set, struct fail *fail);
void ignore_free(struct ignore_set *set);

/* The rules that hold at the top, before the top's own .gitignore. */
const struct ignore_dir *ignore_root(struct ignore_set *set);

/*
 * The rules that hold inside the directory `path` ("" for the top, "a/b" below;
 * no trailing slash): the parent's and the content of its .gitignore. With no
 * .gitignore (text NULL) the parent itself is returned. Thread-safe.
 */
const struct ignore_dir *ignore_enter(struct ignore_set *set, const struct ignore_dir *parent,
				      const char *path, const char *text, size_t text_len);

/* Is `path` (relative to the work tree) ignored by the rules that hold in its directory? */
bool ignore_match(const struct ignore_dir *dir, const char *path, size_t len, bool is_dir);

/* git's wildmatch with WM_PATHNAME: '*' and '?' stop at '/', "**" does not. */
bool wildmatch_path(const char *pattern, const char *text, bool fold_case);

#endif
