/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * reftxn: several refs at once, all or none, through `git update-ref --stdin`.
 *
 *	struct ref_txn txn = REF_TXN_INIT;
 *
 *	if (ref_txn_prepare(repo, edits, count, &options, &txn, fail) == 0)
 *		ref_txn_commit(&txn, fail);		// or ref_txn_abort(&txn)
 *	ref_txn_abort(&txn);				// no-op when it is done
 *
 * git checks and locks everything in prepare and writes in commit. A lock that
 * somebody else holds is waited for until the deadline: git is started again.
 *
 * Our per-ref flocks are taken, in the order of their names, for refs of our own
 * namespaces only (every writer of those takes that lock); for all other refs
 * git's own locks exclude everybody, and a batch of ten thousand needs no more.
 *
 * Crash story:
 *   prepare: killed -> git gets a SIGTERM and removes its locks; killed with it,
 *		it leaves locks that the git intent tells (intent.h).
 *   commit: git writes one ref after the other. Killed in between, some refs are
 *		new and some old: git has no journal. What was not written is left
 *		locked until it is healed; FAIL_UNKNOWN is what a survivor reports.
 */
#ifndef REFTXN_H
#define REFTXN_H

#include "intent.h"
#include "ref.h"
#include "spawn.h"

enum ref_edit_kind {
	REF_EDIT_SWAP,	 /* from old_oid to new_oid; zero new_oid: delete */
	REF_EDIT_VERIFY, /* holds old_oid */
	REF_EDIT_SYMREF, /* a symref command of newer gits, passed on as it is */
};

struct ref_edit {
	enum ref_edit_kind kind;
	const char *name;
	struct oid old_oid; /* zero: must not exist */
	struct oid new_oid;
	bool no_deref;
	/* REF_EDIT_SYMREF only */
	const char *verb;
	const char *fields[3]; /* what follows the name; NULL: not given */
	const char *target;    /* the target that is expected, where one is; else NULL */
};

/* Called for each ref that did not hold what was expected; `now` is an id or "ref:<target>". */
typedef void ref_txn_lost(void *arg, const char *name, const char *now);

struct ref_txn_options {
	const char *reason; /* for the reflogs; may be NULL */
	bool create_reflog;
	bool locked; /* the caller holds the per-ref locks of our own refs among the edits */
	int64_t deadline;
	ref_txn_lost *lost;
	void *lost_arg;
	struct bytes *chatter; /* gets what the user's hooks said; may be NULL */
};

struct ref_txn {
	struct repo *repo;
	struct bytes *chatter;
	struct coprocess git;
	struct git_intent intent;
	struct ref_lock *locks;
	size_t lock_count;
	unsigned vanished; /* tries that pack-refs made fail (refgit_room_vanished()) */
	int err;	   /* a file in memory that holds git's stderr */
};

#define REF_TXN_INIT \
	{ \
		.git = COPROCESS_INIT, .intent = GIT_INTENT_INIT, .err = -1 \
	}

/*
 * Checks and locks every edit. FAIL_NO: some refs hold something else, `lost` was
 * called for each. FAIL_BUSY: a lock stayed held. FAIL_FATAL: git refused, in its
 * own words. After a failure nothing is held.
 */
int ref_txn_prepare(struct repo *repo, const struct ref_edit *edits, size_t count,
		    const struct ref_txn_options *options, struct ref_txn *txn, struct fail *fail);

/* Writes what was prepared. FAIL_UNKNOWN when git did not say that it is done. */
int ref_txn_commit(struct ref_txn *txn, struct fail *fail);

/* Gives everything back. */
void ref_txn_abort(struct ref_txn *txn);

#endif
