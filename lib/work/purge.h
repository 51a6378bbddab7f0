/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * purge: what is left of us in a repository goes: checkpoints, rescues, our folder.
 *
 * Refused while a slot is there or something runs under a mutex. No object is deleted here:
 * our packs are let go of, and git's own gc takes what nothing reaches, with its own grace.
 *
 * Crash story. Under the "objects" lock, so that no save is under way:
 *   1. each ref below refs/shadow/, refs/shadow-old/ and refs/rescue/ is deleted, by a swap
 *	under its lock		-> killed: some are gone; the next purge goes on
 *   2. the .keep of each of our packs	-> killed: some packs are git's now, as all will be
 *   3. the folder interlock	-> killed: what is left of it means nothing by itself
 */
#ifndef PURGE_H
#define PURGE_H

#include "argv.h"
#include "repo.h"

/* FAIL_NO while a slot is there, FAIL_BUSY while something runs under a mutex. */
int purge_check(struct repo *repo, struct fail *fail);

/* Fills `steps`, one line for each thing that goes; nothing is changed unless `act`. */
int purge_repository(struct repo *repo, bool act, struct argv *steps, struct fail *fail);

#endif
