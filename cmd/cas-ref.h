/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * cas-ref: what the forms of `git cas-ref` share.
 */
#ifndef CAS_REF_H
#define CAS_REF_H

#include "fail.h"
#include "oid.h"
#include "opt.h"
#include "ref.h"
#include "repo.h"

struct cas_ref {
	/* options */
	const char *reason;
	bool create_reflog;
	bool no_deref;
	bool remove;
	bool update;
	bool from_stdin;
	bool nul;
	bool quiet;
	int verbose;
	int64_t timeout; /* ms; -1: the setting's */
	int64_t tries;
	int64_t refusal; /* --update: the status of our own refusals; 0: the usual ones */

	struct repo repo;
};

/*
 * A ref as the caller named it. Symbolic refs are followed unless --no-deref.
 * Release with target_release(), also after a failure.
 */
struct target {
	const char *name;
	char *leaf;    /* where it ends; equals name when it is not symbolic */
	struct oid at; /* what it holds; zero when it does not exist */
};

int target_find(struct cas_ref *cas, const char *name, struct target *target, struct fail *fail);
void target_release(struct target *target);

/* FAIL_USAGE unless it is a full name: refs/... or HEAD and the like. */
int target_check_name(const char *name, struct fail *fail);

/* The object must exist, and be a commit where git wants one. */
int target_check_value(struct cas_ref *cas, const char *name, const struct oid *oid,
		       struct fail *fail);

/* Fills the swap's constant part. */
struct ref_swap cas_ref_swap(struct cas_ref *cas, const struct target *target,
			     const struct oid *old_oid, const struct oid *new_oid);

/* Each runs one form and returns the exit status. */
int cas_ref_update(struct cas_ref *cas, const char *name, char **command);
int cas_ref_stdin(struct cas_ref *cas);

/* Reports a failure on stderr and returns its exit status. */
int cas_ref_report(const struct cas_ref *cas, struct fail *fail);

/* What hooks said, as they said it. */
void cas_ref_chatter(struct bytes *chatter);

#endif
