/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* doctorparts: what the files of the room doctor share. */
#ifndef DOCTORPARTS_H
#define DOCTORPARTS_H

#include "doctor.h"
#include "repo.h"
#include "slot.h"

/* What was found is one file's affair; what the others need of it is here. */
struct doctor_view {
	struct repo *repo;
	const struct doctor_options *options;
	struct doctor *doctor;
	struct slots slots; /* all linked worktrees, foreign ones too */
	bool healed, swept; /* by an earlier cure, for all findings of the kind */
};

/*
 * Adds one. `subject` and `path` (NULL: none) are copied, the detail is taken over
 * (NULL: none). Returns it, for who knows better than the table; not for longer than until
 * the next one.
 */
struct doctor_finding *doctor_add(struct doctor *doctor, enum doctor_ill ill, const char *subject,
				  const char *path, char *detail);

/* The way to say a path in a command. */
char *doctor_shell(const char *path);

/* Seconds since a file was last written; never less than 0. One from the future is old. */
int64_t doctor_age(const struct stat *st);
char *doctor_span(int64_t seconds); /* "3h"; the caller frees */

/* <common-dir>/<below>; the caller frees. */
char *doctor_path(const struct repo *repo, const char *below);

/* An existing folder of ours, or -1: nothing is made. */
int doctor_open(const struct repo *repo, const char *below);

/* How old something must be before nobody can be at it any more, seconds. */
#define DOCTOR_YOUNG 2	  /* git holds a lock for milliseconds */
#define DOCTOR_BIRTH 60	  /* a `git worktree add`: it says nothing while it works */
#define DOCTOR_DRAFT 3600 /* a file that is written and renamed */
#define DOCTOR_LONG 600	  /* a lock that somebody holds */

/* The checks. Each looks, and goes on where it can. */
int doctor_place(struct doctor_view *view, struct fail *fail);
int doctor_slots(struct doctor_view *view, struct fail *fail);
int doctor_locks(struct doctor_view *view, struct fail *fail);
int doctor_refs(struct doctor_view *view, struct fail *fail);
int doctor_left(struct doctor_view *view, struct fail *fail);
int doctor_hooks(struct doctor_view *view, struct fail *fail);

/* The cures: of one finding, or (what sweeps does it once for all) of its kind. */
int doctor_cure_slot(struct doctor_view *view, const struct doctor_finding *finding,
		     struct fail *fail);
int doctor_cure_lock(struct doctor_view *view, const struct doctor_finding *finding,
		     struct fail *fail);
int doctor_cure_ref(struct doctor_view *view, const struct doctor_finding *finding,
		    struct fail *fail);
int doctor_cure_left(struct doctor_view *view, const struct doctor_finding *finding,
		     struct fail *fail);

#endif
