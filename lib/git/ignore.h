/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * ignore: gitignore(5), without libgit2, for many threads.
 *
 * Rules come from (weakest first) core.excludesFile, $GIT_COMMON_DIR/info/exclude,
 * and the .gitignore of each directory from the top down. A directory's rules
 * are read once, when the scan enters it; they are immutable afterwards and may
 * be asked by any thread.
 *
 *	const struct ignore_dir *top, *src;
 *	struct ignore_set *set;
 *
 *	if (ignore_open(repo, &set, fail) < 0)
 *		return fail->kind;
 *	top = ignore_enter(set, ignore_root(set), "", text, text_len);
 *	src = ignore_enter(set, top, "src", NULL, 0);
 *	if (ignore_match(src, "src/a.o", 7, false)) ...
 *	ignore_free(set);
 *
 * A path below an ignored directory is ignored whatever its own rules say; the
 * caller knows that and does not ask.
 *
 * core.ignoreCase is taken for false.
 */
#ifndef IGNORE_H
#define IGNORE_H

#include "fail.h"
#include "wildmatch.h"

struct repo;
struct ignore_dir;
struct ignore_set; /* owns all ignore_dirs of one scan */

/*
 * Reads the global rules. Files that do not exist or may not be read count as
 * empty, as they do for git; anything else that keeps us from reading one is a
 * failure. Release everything at once with ignore_free(), also after a failure
 * (*set is then NULL).
 */
int ignore_open(struct repo *repo, struct ignore_set **set, struct fail *fail);
/* A set without any rules, for rules of another kind in the same language. */
struct ignore_set *ignore_open_empty(void);
void ignore_free(struct ignore_set *set);

/* The rules that hold at the top, before the top's own .gitignore. */
const struct ignore_dir *ignore_root(const struct ignore_set *set);

/*
 * The rules that hold inside the directory `path` ("" for the top, "a/b" below;
 * no trailing slash): the parent's and the content of its .gitignore. With no
 * .gitignore (text NULL), or one without rules, the parent itself is returned.
 * Nothing is kept of `path` and `text`. Thread-safe.
 */
const struct ignore_dir *ignore_enter(struct ignore_set *set, const struct ignore_dir *parent,
				      const char *path, const char *text, size_t text_len);

/*
 * Is `path` (relative to the work tree, no trailing slash) ignored by the rules
 * that hold in its directory? Thread-safe.
 */
bool ignore_match(const struct ignore_dir *dir, const char *path, size_t len, bool is_dir);

/*
 * Why git versions disagree about the rules that hold here, or NULL: then only
 * the installed git can say what is ignored (FAIL_ENGINE). Two such rules are
 * known: a run of stars behind other bytes, as in "foo**" + "/bar" (git before
 * 2.52 took it for a "**" of its own), and a file over 100 MiB (git before 2.46
 * read it).
 */
const char *ignore_doubt(const struct ignore_dir *dir);

#endif
