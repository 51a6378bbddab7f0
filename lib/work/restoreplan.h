/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * restoreplan: the steps of a restore, each in its own file.
 *
 *	restoreplan.c	  which paths, and what stands in the way
 *	restoresession.c  which paths a session has changed alone
 *	restorerules.c	  what the ignore rules protect
 *	restoreplace.c	  look again, prepare contents, put them in place
 *	restoreindex.c	  the index, with --staged
 */
#ifndef RESTOREPLAN_H
#define RESTOREPLAN_H

#include "restore.h"

/* The item of a path, or NULL. Items are sorted. */
struct restore_item *restore_find(const struct restore *restore, const char *path);

/* Adds an item for one difference, kept with a reason when it is not NULL. */
void restore_add(struct restore *restore, const char *path, uint32_t old_mode,
		 const struct oid *old_oid, uint32_t new_mode, const struct oid *new_oid,
		 const char *reason);
void restore_keep(struct restore_item *item, const char *reason);

static inline bool restore_goes(const struct restore_item *item)
{
	return item->result == RESTORE_PLANNED;
}

/* The entry at a path of a tree; mode 0 when there is none. */
int restore_entry(struct odb *odb, const struct oid *tree, const char *path,
		  struct tree_entry *entry, struct fail *fail);

/* Do the paths that were typed cover it? */
bool restore_in_scope(const struct restore *restore, const char *path);

int restore_plan(struct restore *restore, struct fail *fail);
int restore_plan_session(struct restore *restore, struct fail *fail);

/* Keeps deletes of what is ignored by the rules of before or of after. */
int restore_judge_rules(struct restore *restore, struct fail *fail);

/* git in the top of a work tree, whatever the caller's relative variables lead to. */
void restore_git(const struct restore *restore, const char *work_tree, struct spawn *cmd);

/* Looks at what is to be overwritten or deleted: is it what the save holds? */
int restore_verify(struct restore *restore, struct fail *fail);

/* Prepares the contents of the planned writes for which `attributes` is right. */
int restore_stage(struct restore *restore, bool attributes, struct fail *fail);

/* Puts them in place, and deletes. */
int restore_place(struct restore *restore, bool attributes, struct fail *fail);
void restore_prune_directories(struct restore *restore);

/* Waits for git's lock on the index before anything is changed; FAIL_BUSY. */
int restore_index_ready(struct restore *restore, struct fail *fail);
int restore_index(struct restore *restore, struct fail *fail);

#endif
