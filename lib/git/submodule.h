/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * submodule: work in a submodule that the superproject's tree cannot hold.
 *
 * A tree holds the commit that a submodule is at. What is changed or untracked inside
 * stands in no object of either repository: whoever records the superproject has to
 * say so. git is asked, with one `git status` on exactly the submodules that are
 * populated: it runs another one in each of them, as it does for the user. A setting
 * of the user's that hides them there (submodule.<name>.ignore) counts here as well.
 * A repository without submodules pays for one pass over the index's entries.
 *
 *	submodules_in_index(&index, NULL, &paths);
 *	submodules_dirty(repo, &paths, &dirty, &unreadable, fail);
 */
#ifndef SUBMODULE_H
#define SUBMODULE_H

#include "argv.h"
#include "fail.h"
#include "index.h"

struct repo;

/* Pushes the paths of all gitlinks in an open index; only those at or below `under` if set. */
void submodules_in_index(const struct index *index, const struct argv *under, struct argv *paths);

/*
 * The same for an index that only git reads, or for pathspecs (relative to the current
 * directory; count 0: everything).
 */
int submodules_by_git(struct repo *repo, const char *const *pathspecs, size_t count,
		      struct argv *paths, struct fail *fail);

/*
 * Which of these have uncommitted changes of their own, and in which git cannot tell.
 * Those that are not populated have none.
 */
int submodules_dirty(struct repo *repo, const struct argv *paths, struct argv *dirty,
		     struct argv *unreadable, struct fail *fail);

#endif
