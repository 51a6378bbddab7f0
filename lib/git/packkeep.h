/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * packkeep: one .keep file for all packs of a level.
 *
 * Every .keep of ours of one level says the same, so each is a hard link to
 * <common-dir>/interlock/keep/<level>: a save makes one file less, and whoever
 * lists the pack directory knows our packs' levels by their inode numbers, without
 * opening anything. A .keep that is a file of its own means the same, and is what
 * is made wherever a link cannot be (another file system or owner, too many links,
 * durability = full).
 *
 * Crash story: interlock/keep/<level> appears whole, by rename, before the first
 * link to it. It may be deleted at any time: the next save makes another, and the
 * links to the old one are read again.
 */
#ifndef PACKKEEP_H
#define PACKKEEP_H

#include "packdir.h"

#include <stddef.h>

struct repo;

/* What a .keep of this level says; returns the length. */
#define PACKKEEP_TEXT_MAX 64
size_t packkeep_text(unsigned level, char out[static PACKKEEP_TEXT_MAX]);

/* Opens (making it) the level's file to link from, O_PATH; -1 when there is none to link. */
int packkeep_open(struct repo *repo, unsigned level);

/*
 * Could one of the levels have `enough` packs? Quick, and from outside the lock:
 * "no" is as of now, "yes" has to be looked at again.
 */
int packkeep_crowded(struct repo *repo, int dir, size_t enough, bool *answer, struct fail *fail);

#endif
