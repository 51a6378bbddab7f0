/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * shadow: what the verbs of git shadow-commit share.
 */
#ifndef SHADOW_H
#define SHADOW_H

#include "checkpoint.h"
#include "fail.h"
#include "opt.h"
#include "repo.h"
#include "status.h"

#define SHADOW_COMMAND "git shadow-commit"

/* Each takes the verb's own argv (argv[0] is the verb) and returns the exit status. */
int shadow_save(int argc, char **argv);
int shadow_log(int argc, char **argv);
int shadow_show(int argc, char **argv);
int shadow_diff(int argc, char **argv);
int shadow_restore(int argc, char **argv);
int shadow_expire(int argc, char **argv);

/* repo_open(), and a use of the suite in a leased worktree: a time lease begins anew. */
int shadow_open(struct repo *repo, enum repo_need need, struct fail *fail);

/* The chain that --ref names, or this worktree's and branch's; the caller frees. */
int shadow_chain(struct repo *repo, const char *given, char **chain, struct fail *fail);

/* "Key=value" or "Key: value" becomes "Key: value"; Shadow-... and line breaks are refused. */
int shadow_trailer(const char *given, struct argv *trailers, struct fail *fail);

struct progress;

/*
 * From now on a wait that takes long is told of on stderr: "waiting for ...". `progress`
 * (may be NULL) makes room for it.
 */
void shadow_tell_waits(struct repo *repo, struct progress *progress);

/* With -v: which engine reads this repository, and why. */
void shadow_explain_engine(const struct repo *repo);

#endif
