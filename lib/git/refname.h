/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * refname: what can be the name of a ref, and which refs are whose.
 */
#ifndef REFNAME_H
#define REFNAME_H

#include "fail.h"

/* As git check-ref-format, for names under refs/. */
bool refname_valid(const char *name);

/* The same; FAIL_USAGE when `name` cannot be a ref under refs/. */
int refname_check(const char *name, struct fail *fail);

/* HEAD, ORIG_HEAD, ...: what git keeps beside refs/. */
bool refname_is_root(const char *name);

/* HEAD and other names outside refs/, refs/bisect, refs/worktree, refs/rewritten. */
bool refname_per_worktree(const char *name);

/* refs/shadow/, refs/shadow-old/ and refs/rescue/: only the suite writes there. */
bool refname_is_ours(const char *name);

#endif
