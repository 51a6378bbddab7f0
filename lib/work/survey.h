/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * survey: what there is right now, for one screen: slots, runs under a mutex, and what
 * checkpoints and rescues take.
 *
 * It only looks: no lasting lock is taken, nothing is written and nothing is healed. What it
 * tells of a slot is slot_judge()'s answer, as everywhere.
 */
#ifndef SURVEY_H
#define SURVEY_H

#include "mutex.h"
#include "slot.h"

/* How many paths differ in a slot: -1 when nobody asked, or it cannot be known. */
#define SURVEY_UNKNOWN -1

struct survey {
	struct slots slots;
	int64_t *dirty; /* one for each slot */
	struct mutex_runs runs;
	uint64_t chains;      /* refs below refs/shadow/ */
	uint64_t pins;	      /* refs below refs/shadow-old/: segments that are over */
	uint64_t rescues;     /* refs below refs/rescue/ */
	uint64_t packs;	      /* of ours */
	uint64_t pack_bytes;  /* on disk, without their indexes */
	uint64_t ledger_size; /* with what was set aside of it */
};

/* Release with survey_release(), also after a failure. */
int survey_look(struct repo *repo, struct survey *out, struct fail *fail);
void survey_release(struct survey *survey);

#endif
