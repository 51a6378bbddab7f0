/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * claim: what the verbs of git worktree-claim share.
 */
#ifndef CLAIM_H
#define CLAIM_H

#include "fail.h"
#include "opt.h"
#include "out.h"
#include "pool.h"
#include "repo.h"
#include "status.h"

#define CLAIM_COMMAND "git worktree-claim"

/* Each takes the verb's own argv (argv[0] is the verb) and returns the exit status. */
int claim_take(int argc, char **argv);
int claim_list(int argc, char **argv);
int claim_release(int argc, char **argv);
int claim_renew(int argc, char **argv);

/* One record of a slot; `rescued` may be NULL. */
void claim_print_slot(struct out *out, const char *template, const struct slot *slot,
		      const char *rescued);

/* What was rescued in a slot, and how to bring it back, on stderr. */
void claim_tell_rescue(const struct salvage *rescue);

/* "--ttl": milliseconds to the seconds of a record; below a second is FAIL_USAGE. */
int claim_ttl(int64_t ms, const char *what, int64_t *seconds, struct fail *fail);

#endif
