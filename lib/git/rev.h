/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * rev: what a revision expression names.
 *
 * A full id and the plain name of a ref are resolved here and start no process.
 * Whatever else git understands (v1.0~3, :/words, @{yesterday}, an abbreviated
 * id, a name that could be two refs) is git's to say.
 */
#ifndef REV_H
#define REV_H

#include "fail.h"
#include "oid.h"

struct repo;

/*
 * The id that `text` names. A full id need not exist. FAIL_FATAL when it names
 * nothing, or more than one thing.
 */
int rev_resolve(struct repo *repo, const char *text, struct oid *oid, struct fail *fail);

/* The same, but "", "0" and all zeros of either hash's width are the zero id. */
int rev_resolve_or_none(struct repo *repo, const char *text, struct oid *oid, struct fail *fail);

#endif
