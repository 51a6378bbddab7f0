/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * chain: a chain of checkpoints and its end: where the next one is added.
 *
 * chain_append() is the only way by which a checkpoint enters a chain. The
 * caller holds the per-ref lock.
 *
 * Beside the ref there is a note, interlock/tips/<chain>: which tip it was, and the
 * objects that the next save will want (recall.h). It is written in place, under the
 * lock, after the swap. Its first line has a checksum and its objects have their ids,
 * so a reader who meets it half-written, or after a writer was killed, sees at most
 * that it is of no use. The ref decides; the note is believed only in what can be
 * checked, and in which tip was the last one when the ref's file is damaged.
 */
#ifndef CHAIN_H
#define CHAIN_H

#include "checkpoint.h"
#include "pack.h"
#include "recall.h"
#include "ref.h"

struct chain {
	struct repo *repo;
	struct odb *odb;
	struct recall *recall; /* what the last save left in its note; odb's while it is open */
	char *name;
	struct oid tip;		/* zero: no checkpoint yet */
	struct checkpoint last; /* of the tip; unset when there is none */
	bool corrupt;		/* the ref's file is damaged; tip is the last good value */
};

#define CHAIN_INIT \
	{ \
		.last = CHECKPOINT_INIT \
	}

/* Reads the tip, healing nothing. A corrupt ref gives the last good value (D19). */
int chain_read(struct repo *repo, struct odb *odb, const char *name, struct chain *chain,
	       struct fail *fail);
/*
 * The base of the newest checkpoint, also when others have put commits on top of it, which are
 * then read. False when there is none, or when that cannot be told.
 */
bool chain_base(const struct chain *chain, struct oid *base);
void chain_release(struct chain *chain);

/* Does an open chain still have the tip that the ref has? If not it is read again. */
int chain_refresh(struct chain *chain, bool *moved, struct fail *fail);

struct chain_entry {
	struct oid tree;
	struct oid base;	     /* zero when HEAD is unborn */
	struct oid index;	     /* commit of the kept index; zero: none */
	struct oid operation;	     /* commit of an unfinished operation; zero: none */
	const char *session;	     /* may be NULL */
	const char *message;	     /* the user's; without trailers */
	const struct argv *trailers; /* the user's, "Key: value"; may be NULL */
	const char *const *paths;    /* Shadow-Path */
	size_t path_count;
	const struct argv *skipped; /* "Shadow-Skipped: ..."; may be NULL */
	int64_t deadline;
};

/*
 * Builds the commit on the chain's tip (cutting a segment when it is time), adds
 * it to `pack`, publishes the pack and swaps the ref. FAIL_NO: somebody outside
 * moved the ref; refresh and try again with a new pack.
 */
int chain_append(struct chain *chain, const struct ref_lock *lock, const struct chain_entry *entry,
		 struct pack *pack, struct oid *commit, struct fail *fail);

/*
 * Writes a value into a ref of ours whose file is damaged (D19): the last good one, which
 * chain_read() gives, or for a pin what the chain says of it. FAIL_NO when it is not
 * damaged any more.
 */
int chain_mend(struct repo *repo, const char *name, const struct oid *value, int64_t deadline,
	       struct fail *fail);

#endif
