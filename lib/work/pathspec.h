/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pathspec: paths that were typed, or recorded in Shadow-Path, against the
 * paths of trees.
 *
 * A spec is a path from the top of the work tree ("" is everything): it covers
 * that path and what is below it. With glob characters it also covers what it
 * matches as git's pathspecs do, where '*' crosses slashes. Of git's pathspec
 * magic only ":/" and ":(top)" are known here.
 */
#ifndef PATHSPEC_H
#define PATHSPEC_H

#include "fail.h"

struct repo;

/*
 * What was typed in the current directory becomes a spec; the caller frees.
 * FAIL_USAGE for other magic and for what lies outside the work tree.
 */
int pathspec_read(struct repo *repo, const char *given, char **spec, struct fail *fail);

/* The same for text that is from the top already (Shadow-Path). */
int pathspec_recorded(const char *text, char **spec, struct fail *fail);

bool pathspec_covers(const char *spec, const char *path);

/* Is it a path and no pattern? */
bool pathspec_is_literal(const char *spec);

#endif
