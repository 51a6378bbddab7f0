/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * name: the names that people give to sessions, slots, mutexes and keys, and
 * how a name becomes one component of a ref or of a file name.
 *
 * A given name is [A-Za-z0-9._@/-], at most NAME_MAX_GIVEN bytes, does not
 * start with '-', and has no empty, "." or ".." component.
 *
 * name_encode() is injective: '%' and '/' become %25 and %2F, so that no name
 * can be a directory of another one. A result over NAME_MAX_ENCODED bytes keeps
 * its head and ends in "%~" and the hash of the whole name ("%~" cannot come
 * from encoding, so a short name is never mistaken for a long one).
 */
#ifndef NAME_H
#define NAME_H

#include "bytes.h"
#include "fail.h"

#define NAME_MAX_GIVEN 200
#define NAME_MAX_ENCODED 180

/* FAIL_USAGE when `name` is not a given name; `what` says which ("session id"). */
int name_check(const char *name, const char *what, struct fail *fail);

/* Appends the encoded form of any byte string (a branch name, a ref name). */
void name_encode(const char *name, struct bytes *out);

#endif
