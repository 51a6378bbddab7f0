/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * shadowgit: handing a checkpoint to git's own log, show and diff, and the
 * record that --json and -z print for one.
 */
#ifndef SHADOWGIT_H
#define SHADOWGIT_H

#include "argv.h"
#include "bytes.h"
#include "checkpoint.h"
#include "out.h"

/*
 * Puts a graft text (may be empty) in force for every git that is started from now
 * on.
 */
int shadow_set_grafts(const struct bytes *grafts, struct fail *fail);

/* `bytes` become the standard input of every program that is started from now on. */
int shadow_set_input(const struct bytes *bytes, struct fail *fail);

/* Becomes `git <args>` on our own streams. Returns only when that failed. */
int shadow_exec_git(const struct argv *args, struct fail *fail);

/*
 * Is this one of git's options whose value is the next argument? Long options that
 * take "=" only, and those with the value attached, are not.
 */
bool shadow_option_has_value(const char *option);

/* One checkpoint as a record (CONTRACT, log). */
void shadow_record(struct out *out, const struct checkpoint *cp);

#endif
