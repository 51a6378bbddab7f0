/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * brood: the children of this process, with those that fell to it.
 *
 * A subreaper (PR_SET_CHILD_SUBREAPER) becomes the parent of every descendant
 * whose own parent has died, whatever session, group or open files it has. So
 * as long as one descendant lives, one of them is in the list of our children.
 *
 * A child that has not been waited for cannot lose its pid to another process:
 * these are the only pids that may be signalled by number.
 */
#ifndef BROOD_H
#define BROOD_H

#include "bytes.h"
#include "fail.h"

struct brood {
	pid_t *pids;
	size_t count, cap;
};

#define BROOD_INIT \
	{ \
		0 \
	}

/*
 * Replaces the list by all children, living ones and zombies. FAIL_UNSUPPORTED
 * when there is no /proc to read them from.
 */
int brood_list(struct brood *out, struct fail *fail);

bool brood_has(const struct brood *brood, pid_t pid);
void brood_add(struct brood *brood, pid_t pid);
void brood_release(struct brood *brood);

/* "pid 812 (make), pid 813 (cc1) and 3 more", safe for a terminal. */
void brood_describe(const struct brood *brood, struct bytes *out);

#endif
