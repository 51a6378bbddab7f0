/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * restore: bring back what a checkpoint holds, losing nothing that is there now.
 *
 *	struct restore restore;
 *
 *	if (restore_prepare(repo, &options, &restore, fail) == 0) {
 *		... tell restore.saved.commit: it undoes what follows ...
 *		restore_act(&restore, fail);
 *	}
 *	... report restore.items, also after a failure ...
 *	restore_release(&restore);
 *
 * restore_prepare() saves the present state, always, and makes the plan: one
 * item for each path that differs between that state and the checkpoint. A path
 * whose present content the save does not hold is `kept`. restore_act() does
 * what the plan says; a dry run is everything but the save and the act.
 *
 * What it never does: overwrite or delete a file that the save did not record as
 * it stands there; delete a file that the ignore rules of before or of after
 * name; go through a symlink; touch a submodule or a nested repository; move
 * HEAD or a branch; write the index (unless `staged`).
 *
 * Crash story:
 *   1. the save (snapshot.h)			-> killed: a checkpoint more
 *   2. the new contents, as `git checkout-index` writes them (filters, line
 *      ends, encodings), go to interlock/tmp/<nonce>/out
 *						-> killed, or failed (a full disk, a
 *						   filter): the work tree is untouched;
 *						   the folder goes as plumb.h tells
 *   3. files go, then come: each by one unlink or one rename, after a last look
 *						-> killed: every path is as before or
 *						   as after, and restoring the save
 *						   of 1 brings all of it back
 *   4. with `staged` git writes the index	-> killed: git's own index.lock
 * When the work tree is on another file system than the repository, a file is
 * copied to ".interlock-<nonce>" in its own directory before the rename: a kill
 * can leave one of those. .gitattributes files go through 2 and 3 first, because
 * they decide what the other contents look like.
 */
#ifndef RESTORE_H
#define RESTORE_H

#include "checkpoint.h"
#include "present.h"
#include "snapshot.h"

enum restore_action {
	RESTORE_WRITE,
	RESTORE_DELETE,
	RESTORE_MODE /* only the executable bit */
};

enum restore_result {
	RESTORE_PLANNED,
	RESTORE_DONE,
	RESTORE_KEPT, /* left alone; `reason` says why */
};

struct restore_item {
	char *path;
	enum restore_action action;
	enum restore_result result;
	const char *reason;	     /* static; NULL unless kept */
	uint32_t old_mode, new_mode; /* 0: nothing there */
	struct oid old_oid, new_oid; /* now, and in the checkpoint */
	struct stat seen;	     /* of the file that was found to be old_oid */
	bool verified;
};

struct restore_options {
	const char *checkpoint; /* as typed; NULL: the tip, or with `session` what was before it */
	const char *undo_session; /* undo only what this session named in its path saves */
	const char *const *paths; /* as typed; NULL: everything */
	size_t path_count;
	bool staged;
	bool dry_run;
	const char *session;			    /* of the safety save; may be NULL */
	void (*progress)(void *arg, uint64_t seen); /* of the safety save's scan */
	void *progress_arg;
};

struct restore {
	struct repo *repo;
	const struct restore_options *options;
	char *chain;
	struct checkpoint target; /* id zero: `undo_session` without a checkpoint */
	struct snapshot saved;	  /* the safety save; commit zero in a dry run */
	struct present looked;	  /* of a dry run */
	struct odb own_odb;
	struct odb *odb;		    /* reads the present tree, too */
	struct oid present;		    /* tree of the work tree as it was found */
	const struct capture_skip *skipped; /* what `present` does not hold */
	size_t skipped_count;
	struct argv specs;	    /* the paths, as pathspec.h has them */
	struct argv notes;	    /* things worth telling */
	struct restore_item *items; /* by path */
	size_t count, cap;
	struct plumb plumb; /* where contents are prepared */
	int top;	    /* of the work tree */
	bool touched;	    /* the work tree may have been changed */
	int signal;	    /* that stopped it; 0: none */
};

/* Release with restore_release(), also after a failure. */
int restore_prepare(struct repo *repo, const struct restore_options *options,
		    struct restore *restore, struct fail *fail);

/*
 * After a failure with `touched` the work tree is half-way between; the failure's
 * message says so and names the undo.
 */
int restore_act(struct restore *restore, struct fail *fail);
void restore_release(struct restore *restore);

#endif
