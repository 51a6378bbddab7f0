/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * newborn: a slot opened and locked by its id, without asking who is inside: for
 * tests of births, which know.
 */
#ifndef NEWBORN_H
#define NEWBORN_H

#include "birth.h"

#include <string.h>
#include <sys/file.h>

/* Release with slot_close(), also after a failure. FAIL_BUSY when somebody has its lock. */
static inline int newborn_open(struct repo *repo, const char *id, struct slot *out,
			       struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	*out = (struct slot){.repo = repo, .admin = -1, .work = -1};
	out->admin = worktree_open_admin(repo, id, fail);
	if (out->admin < 0)
		return out->admin;
	if (flock(out->admin, LOCK_EX | LOCK_NB) < 0)
		return fail_set(fail, FAIL_BUSY, "slot '%s' is locked", id);
	out->locked = true;
	out->id = mem_strdup(id);
	out->name = mem_strdup(id);
	if (file_read(out->admin, "interlock", SLOT_TEXT_MAX, &text, fail) == 0 &&
	    slot_birth_parse(text.data, text.len, &out->birth, fail) == 0)
		out->path = mem_strdup(out->birth.path);
	bytes_clear(&text);
	if (fail->kind == 0 && file_read(out->admin, "locked", SLOT_TEXT_MAX, &text, fail) == 0)
		slot_record_parse(text.data, text.len, &out->record, fail);
	bytes_release(&text);
	return fail->kind;
}

#endif
