/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* slotlook: between slot.c and slotlook.c; everybody else includes slot.h. */
#ifndef SLOTLOOK_H
#define SLOTLOOK_H

#include "inside.h"
#include "slot.h"

/*
 * Opens it and looks, but does not ask who is inside. As slot_look(). `dir` is the open
 * folder "worktrees", or -1.
 */
int slotlook_open(struct repo *repo, int dir, const char *id, struct slot *out, struct fail *fail);

/* Looks again at everything but who is inside, at an open slot. */
void slotlook_records(struct slot *slot);

/* The question about a slot, its answer as a fact. */
void slotlook_question(struct slot *slot, struct inside_question *question);
void slotlook_question_release(struct inside_question *question);
void slotlook_inside(struct slot *slot, const struct inside *inside, bool spare_ancestors);

#endif
