/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * guard: what each hook decides, as pure functions from what was seen to an answer.
 *
 * The hooks' small programs (hooks/) and their slow path (git interlock hook) ask the
 * same functions. The program passes what it can show to be harmless with a few system
 * calls, and hands all else to the slow path: GUARD_ASK. The slow path has every fact,
 * so there is no GUARD_ASK left.
 *
 * These two files, and guardlook.[ch], see the base floor only: the programs are linked
 * with nothing else.
 */
#ifndef GUARD_H
#define GUARD_H

#include "bytes.h"

enum guard_answer {
	GUARD_PASS,
	GUARD_ASK, /* a fact is missing */
	GUARD_VETO,
};

/* ---- reference-transaction ------------------------------------------------------------ */

/* One line of the hook's input: "<old> SP <new> SP <ref> LF". Nothing is copied. */
struct guard_line {
	const char *old_value, *new_value, *name;
	size_t old_len, new_len, name_len;
};

/*
 * Takes the next line from `*text` of `*len` bytes. False at the end; a line that is none
 * of these gives an empty name: what we do not know is not ours (G3).
 */
bool guard_next_line(const char **text, size_t *len, struct guard_line *line);

/* refs/shadow/, refs/shadow-old/, refs/rescue/: the same as refname_is_ours(). */
bool guard_is_ours(const char *name, size_t len);

/* False: no line of this input is about such a ref. (True may be wrong.) */
bool guard_mentions_ours(const char *text, size_t len);

/* Nothing but zeros: git's word for no value. */
bool guard_is_zero(const char *value, size_t len);

struct guard_update {
	bool writer;   /* an inherited descriptor shows that we wrote it (intent.h) */
	bool symbolic; /* "ref:..." on either side */
	bool deletes;
	bool old_given; /* in a delete: what is expected to be there */
	enum guard_present {
		PRESENT_UNKNOWN,
		PRESENT_NONE,
		PRESENT_SAME, /* the new value is there already */
		PRESENT_OTHER,
	} present;
	/*
	 * In a delete: does the same value stay behind in packed-refs? Then it is pack-refs,
	 * which removes the loose copy of what it has packed.
	 */
	enum guard_copy {
		COPY_UNKNOWN,
		COPY_STAYS,
		COPY_NONE,
	} copy;
	/* In an update: does the present value stand on the new one's own line? */
	enum guard_descent {
		DESCENT_UNKNOWN,
		DESCENT_YES,
		DESCENT_NO,
	} descent;
};

enum guard_answer guard_ref_update(const struct guard_update *update);

/* What a veto says; `name` is shown as it is when it is plain ASCII. */
void guard_ref_words(const struct guard_update *update, const char *name, struct bytes *out);

/* ---- pre-commit ------------------------------------------------------------------------- */

struct guard_commit {
	bool slot; /* of ours, and not taken over by a human's lock */
	enum guard_shown {
		SHOWN_NONE, /* no GIT_INTERLOCK_LEASE in the environment */
		SHOWN_CURRENT,
		SHOWN_OTHER,
	} shown;
	enum guard_holder {
		HOLDER_NONE, /* nobody: free, run out, or its owner is gone with all its children */
		HOLDER_PROCESS,
		HOLDER_TIME,
		HOLDER_UNJUDGED, /* somebody may: the record cannot be read */
	} holder;
	bool of_holder; /* descends from the process that holds it, or has its work lock */
	bool own_uid;
	enum guard_branch {
		BRANCH_ANY, /* the claim was for no branch */
		BRANCH_ON,
		BRANCH_OFF,
	} branch;
};

enum guard_refusal {
	REFUSE_NOTHING,
	REFUSE_STALE_LEASE,
	REFUSE_NOT_HOLDER,
	REFUSE_NOT_OWNER,
	REFUSE_UNJUDGED,
	REFUSE_OFF_BRANCH,
};

enum guard_refusal guard_commit(const struct guard_commit *commit);

/* For the words of a refusal; all but `slot` may be NULL. */
struct guard_scene {
	const char *slot;
	const char *who;       /* "pid 812 (codex)", "uid 1000 until ..." */
	const char *lease;     /* the current one */
	const char *shown;     /* the one in the environment */
	const char *branch;    /* "refs/heads/x" that the claim was for */
	const char *head;      /* "refs/heads/y" that HEAD is on; NULL: detached */
	const char *operation; /* "rebase", ... that is under way there */
	const char *onto;      /* "refs/heads/z" that the operation is about */
};
void guard_commit_words(enum guard_refusal refusal, const struct guard_scene *scene,
			struct bytes *out);

/* ---- pre-auto-gc -------------------------------------------------------------------------- */

struct guard_gc {
	bool saving; /* objects of a checkpoint are being written */
	bool birth;  /* a worktree is being made that git cannot see yet */
	bool unjudged;
};

/* GUARD_VETO: not now. What cannot be asked defers nothing (G5): objects of ours are kept anyway.
 */
enum guard_answer guard_gc(const struct guard_gc *gc);

/* ---- automatic saves ----------------------------------------------------------------------- */

enum guard_after {
	AFTER_COMMIT,
	AFTER_MERGE,
	AFTER_REBASE, /* post-rewrite, its first argument "rebase" */
	AFTER_AMEND,  /* post-rewrite for anything else: post-commit has been there */
};

/* Is it time for a checkpoint? `rebasing`: a rebase is under way in this worktree. */
bool guard_saves(enum guard_after after, bool rebasing);

/*
 * Does the text of a repository's own config file switch interlock.autoSave off, beyond
 * doubt? A wrong no costs time only: whoever is asked next reads the settings as git does.
 */
bool guard_saves_are_off(const char *config, size_t len);

#endif
