/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * present: the work tree as it is now, as a tree, with nothing written to the
 * repository: for a diff against it and for a dry run.
 *
 *	struct present present = PRESENT_INIT;
 *
 *	present_look(repo, NULL, NULL, &present, fail)	-> present.capture
 *	present_share(&present, &other_tree, 1, fail)	-> present.env
 *	present_release(&present);
 *
 * After present_share() a git that is run with present.env reads the tree. What it
 * needs lies in plumb's private folder (plumb.h tells what becomes of it after a
 * kill), and goes with present_release().
 */
#ifndef PRESENT_H
#define PRESENT_H

#include "capture.h"

struct present {
	struct capture capture; /* .tree, .skipped, and .odb, which reads the tree */
	struct plumb plumb;	/* of the native engine */
	const struct argv *env;
};

#define PRESENT_INIT \
	{ \
		.capture = {.plumb = PLUMB_INIT}, .plumb = PLUMB_INIT \
	}

/* What a save would record. Release with present_release(), also after a failure. */
int present_look(struct repo *repo, void (*progress)(void *arg, uint64_t seen), void *progress_arg,
		 struct present *present, struct fail *fail);

/*
 * Brings the objects that stand in none of the trees `have` to where git finds them.
 * FAIL_NO when a file has changed since: look again. At most
 * interlock.maxSnapshotBytes, as for a save.
 */
int present_share(struct present *present, const struct oid *have, size_t have_count,
		  struct fail *fail);

void present_release(struct present *present);

#endif
