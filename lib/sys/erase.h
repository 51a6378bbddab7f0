/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * erase: remove a directory with all that is below it, and nothing else.
 *
 * No symlink is followed and no mount point is entered: what somebody has mounted
 * inside stays, and the directories that lead to it. Directories that their owner
 * may not write are made writable first (package caches are kept that way).
 * Trees deeper than we have descriptors are taken apart from the top.
 */
#ifndef ERASE_H
#define ERASE_H

#include "fail.h"

/*
 * Removes the directory (or file) `name` in `dir`. One that is not there is fine.
 * What cannot be removed is named in `fail`; all the rest is gone.
 */
int erase_tree(int dir, const char *name, struct fail *fail);

/* Removes what is in the open directory, except the entry `keep` (NULL: none) at its top. */
int erase_inside(int dir, const char *keep, struct fail *fail);

#endif
