/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * pathcheck: paths that git might refuse to put into an index.
 *
 * git guards ".git" against file systems that fold case, drop trailing dots and
 * blanks, have short names ("git~1"), streams (".git::$DATA"), or ignore some
 * code points. Those guards are settings; we know none of them, and say of every
 * path that one of them could concern that it is unusual.
 */
#ifndef PATHCHECK_H
#define PATHCHECK_H

#include "prelude.h"

bool path_is_unusual(const char *path, size_t len, bool is_symlink);

/* Relative, with no component that is empty, "." or "..", and no slash behind it. */
bool path_stays_below(const char *path, size_t len);

#endif
