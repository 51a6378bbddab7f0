/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * doctor: what is broken in a repository or will be, why, and what helps.
 *
 *	struct doctor doctor;
 *
 *	doctor_run(repo, &options, &doctor);
 *	for (... doctor.items ...)
 *	doctor_release(&doctor);
 *
 * Looking writes nothing, takes no lock that anybody has to wait for, and makes no folder. What
 * others are doing at this moment is no finding: a lock whose holder lives, a birth that is under
 * way, a file that is a second old.
 *
 * Each finding is of one kind, from one table (doctor_kinds[]): its id, how bad it is, whether
 * --fix cures it, its cause and its cure. Ours is cured by --fix, as far as it can be proved
 * ours, by those who do it otherwise: intent, reap, birth, chain, mutex, plumb. Somebody
 * else's is named with the command that helps, and never touched. A cure is believed when it was
 * looked for again and was not found: that is what DOCTOR_CURED means.
 *
 * Crash story: --fix has none of its own. Each cure is another room's, and can be done again.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "argv.h"
#include "fail.h"

#include <sys/stat.h>

struct repo;

enum doctor_ill {
	ILL_UNCHECKED,
	/* the place */
	ILL_SETTING,
	ILL_SETTING_UNKNOWN,
	ILL_POOL_DIR,
	ILL_FILE_SYSTEM,
	ILL_OVERLAY,
	ILL_FLOCK,
	ILL_STATE_FOLDER,
	ILL_LEDGER_CLOSED,
	ILL_LEDGER_DAMAGED,
	ILL_LEDGER_NEWER,
	/* worktrees */
	ILL_HALF_BORN,
	ILL_ORPHANED,
	ILL_DESYNCED,
	ILL_REMOVAL,
	ILL_SLOT_MOVED,
	ILL_SLOT_RENAMED,
	ILL_SLOT_COPY,
	ILL_SLOT_VANISHED,
	ILL_VANISHED_MANY,
	ILL_SLOT_UNJUDGED,
	ILL_SLOT_UNLOCKED,
	ILL_LEASE_RECORD,
	ILL_GIT_HALF_BORN,
	ILL_GIT_VANISHED,
	ILL_GIT_MOVED,
	ILL_GIT_DAMAGED,
	/* locks */
	ILL_SWAP_LOCK,
	ILL_INSTALL_LOCK,
	ILL_SLOT_LOCK,
	ILL_LOCK_LEFT,
	ILL_LOCK_HELD,
	/* refs */
	ILL_REF_DAMAGED,
	ILL_REF_LOST,
	ILL_REF_DANGLING,
	ILL_GIT_REF_DAMAGED,
	/* what was left */
	ILL_INTENT_LEFT,
	ILL_BIRTH_LEFT,
	ILL_TRASH_LEFT,
	ILL_LEASE_LEFT,
	ILL_RUN_LEFT,
	ILL_TMP_LEFT,
	ILL_DRAFT_LEFT,
	ILL_PACK_LEFT,
	/* hooks */
	ILL_HOOKS_RECORD,
	ILL_HOOKS_UNFINISHED,
	ILL_HOOK_INACTIVE,
	ILL_HOOK_ELSEWHERE,
	ILL_HOOK_PROGRAM,
	ILL_HOOK_OTHER_BUILD,
	ILL_HOOK_CHAINED,
	ILL_COUNT
};

enum doctor_level {
	DOCTOR_NOTE,	/* good to know; nothing fails because of it */
	DOCTOR_PROBLEM, /* something fails, or protects less than it should */
};

struct doctor_kind {
	const char *id; /* for programs: it stays what it is */
	enum doctor_level level;
	bool ours; /* --fix cures it */
	/* {subject}, {path} and {detail} stand for what the finding says. */
	const char *cause, *cure;
};
extern const struct doctor_kind doctor_kinds[ILL_COUNT];

enum doctor_result {
	DOCTOR_FOUND,  /* nobody has tried to cure it */
	DOCTOR_CURED,  /* it was there, and is not any more */
	DOCTOR_FAILED, /* --fix cures such a thing, and has not */
};

struct doctor_finding {
	enum doctor_ill ill;
	enum doctor_level level;
	bool fixable;
	char *subject; /* what it is about: a slot, a ref, a hook, a file below the common directory
			*/
	char *path;    /* absolute; NULL: it has none */
	char *detail;  /* NULL: nothing more to say */
	char *cause, *cure;
	enum doctor_result result;
	char *why; /* DOCTOR_FAILED: what stood in the way, when it is known */
};

struct doctor_options {
	bool fix;
	const struct argv *places; /* where moved slots may be, besides; may be NULL */
	const char *programs;	   /* the directory of our hooks' programs; NULL: not known */
};

struct doctor {
	struct doctor_finding
		*items; /* problems, notes, what was cured; each in the order of the kinds */
	size_t count, cap;
	size_t problems; /* that remain; notes are not counted */
	size_t cured, failed;
	/* What was looked at. */
	size_t slots, worktrees, refs, locks, events, hooks;
	bool hooks_wanted;
	char file_system[16]; /* of the repository: "ext4", "0x1234" */
};

/*
 * With options->fix it cures, and looks again. What cannot be looked at is a finding, no failure.
 * `repo` is best opened with REPO_TOLERANT.
 */
void doctor_run(struct repo *repo, const struct doctor_options *options, struct doctor *out);
void doctor_release(struct doctor *doctor);

/*
 * Pure: a text of the table with its words put in. `shell`: {path} is quoted for a shell, else
 * for people. The caller frees.
 */
char *doctor_words(const char *text, const struct doctor_finding *finding, bool shell);

#endif
