/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * beneath: open a path below a directory, through no symlink at all.
 *
 * Whatever somebody swaps for a symlink meanwhile, the descriptor is of
 * something that lies below `root` by plain names. With openat2(2) this is one
 * system call; where the kernel or a sandbox has none, the path is opened one
 * component at a time.
 */
#ifndef BENEATH_H
#define BENEATH_H

#include "prelude.h"

/*
 * Returns the descriptor, or -1 with errno. `path` is relative, "" is `root`
 * itself. O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK and O_NOCTTY are always added.
 * ELOOP: a symlink stands in the way (with O_PATH a symlink in the last place
 * is opened as such). EXDEV or EINVAL: the path has a ".." or is absolute.
 */
int beneath_open(int root, const char *path, int flags);

/* The way without openat2(2), for tests. */
int beneath_open_steps(int root, const char *path, int flags);

#endif
