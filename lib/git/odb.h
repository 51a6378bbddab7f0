/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * odb: reading objects by id, whichever engine the repository has.
 *
 * Native: libgit2's object database. git: one `git cat-file --batch` that stays open, and
 * one `--batch-check` for questions about the type alone. Before an object is said to be
 * missing the packs are looked for again, and on while others put new ones in their place.
 * Neither follows refs/replace: an id is its content.
 *
 * `bag` holds tree objects that exist only in memory so far; they are looked
 * for there first. `recall` holds some that the last save read or wrote; what it
 * knows is not looked for elsewhere, so it tells nothing about whether the object
 * is still stored: odb_type() does not ask it.
 *
 * A co-process that ends or answers nonsense is FAIL_FATAL, never a missing
 * object; the next call starts a new one. Its stderr is ours.
 *
 * Not thread-safe: one thread at a time.
 */
#ifndef ODB_H
#define ODB_H

#include "bytes.h"
#include "fail.h"
#include "oid.h"
#include "spawn.h"

struct repo;
struct git_odb;
struct treebag;
struct recall;

struct odb {
	struct repo *repo;
	struct git_odb *native;	    /* opened at first use */
	struct coprocess cat_file;  /* --batch, started at first use */
	struct coprocess cat_check; /* --batch-check, started at first use */
	struct argv env;       /* more environment for the co-processes (an object directory) */
	struct treebag *bag;   /* may be NULL; not owned */
	struct recall *recall; /* asked before packs are; may be NULL; not owned */
};

void odb_init(struct odb *odb, struct repo *repo);
void odb_release(struct odb *odb);

/* Replaces `out` with the content. FAIL_GONE when there is no such object. */
int odb_read(struct odb *odb, const struct oid *oid, enum object_type *type, struct bytes *out,
	     struct fail *fail);

/* odb_read() that insists on a type; FAIL_CORRUPT for another one. */
int odb_read_type(struct odb *odb, const struct oid *oid, enum object_type type, struct bytes *out,
		  struct fail *fail);

/* How long the content is, without reading it; FAIL_GONE when there is no such object. */
int odb_size(struct odb *odb, const struct oid *oid, uint64_t *size, struct fail *fail);

/* The type only; FAIL_GONE when there is no such object. */
int odb_type(struct odb *odb, const struct oid *oid, enum object_type *type, struct fail *fail);

#endif
