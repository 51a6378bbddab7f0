/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * guardlook: the facts for guard.h that a few system calls can tell, without git and
 * without a second process.
 *
 * `common` is an open descriptor of the common directory. All of it reads only. What
 * cannot be told is the answer that proves nothing (false, ..._UNKNOWN).
 */
#ifndef GUARDLOOK_H
#define GUARDLOOK_H

#include "guard.h"

/*
 * Was the git that runs this hook started by one of our own writers? Such a writer
 * keeps a file in interlock/git flocked, and git and its hooks inherit that descriptor
 * (intent.h). A file that is open and not locked by it, or locked by somebody else,
 * shows nothing; a variable could be set by anybody.
 */
bool guard_look_writer(int common);

/* Is one of our descriptors that file (the work lock of a lease)? */
bool guard_look_inherited(int dir, const char *name);

/*
 * Does the loose file of a ref hold `value`, in hex? A value that is packed, or another
 * one, is PRESENT_UNKNOWN: where refs are kept is git's to know.
 */
enum guard_present guard_look_present(int common, const char *name, const char *value, size_t len);

/*
 * Is the delete of a ref that holds `value` only that of its loose copy? It is when
 * packed-refs has the same value, and no packed-refs.new without it is ready: a real
 * delete has written that before it asks the hooks, and nobody else can take out a
 * ref whose lock git holds meanwhile.
 */
enum guard_copy guard_look_copy(int common, const char *name, const char *value, size_t len);

/* Does somebody hold a flock on that file or directory? 1, 0, or -1: it cannot be asked. */
int guard_look_locked(int dir, const char *name, int operation);

/* What keeps a gc from running now. */
void guard_look_gc(int common, struct guard_gc *gc);

#endif
