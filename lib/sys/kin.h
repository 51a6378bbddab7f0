/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * kin: does somebody from whom we descend hold that lock?
 *
 * A command that runs under a lock may start what wants the same lock, and must not
 * wait for its own ancestor. Both answers are the kernel's: which open files a
 * process has, and which of them carry a flock (/proc/<pid>/fdinfo). No name, no
 * variable and no recorded pid is asked, and "no" is the answer where the kernel shows
 * nothing: then the lock is somebody else's.
 */
#ifndef KIN_H
#define KIN_H

#include "prelude.h"

#include <sys/stat.h>

/*
 * Does an ancestor of this process have a flock on the file `file`, whose name (without its
 * folder) is `name`?
 */
bool kin_holds(const struct stat *file, const char *name);

/*
 * Did we inherit a descriptor of that file that carries its flock? That outlives the
 * ancestor, and shows also what has left its ancestors' PID namespace.
 */
bool kin_inherited(const struct stat *file, const char *name);

/*
 * The process that has a flock on it, as /proc numbers it; 0 when it cannot be told.
 * For messages: it may have ended meanwhile.
 */
pid_t kin_holder(const struct stat *file);

#endif
