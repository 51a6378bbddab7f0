/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * hold: stay until somebody lets go of us.
 *
 * For --hold: whoever started us keeps the other end of our standard input open.
 * When it closes it, or dies, we read the end of file; what it writes is ignored.
 */
#ifndef HOLD_H
#define HOLD_H

#include "shield.h"

/*
 * Blocks until `fd` has come to its end (`sig` is 0 then), a signal of the shield has
 * come (`sig` names it), or the descriptor `wake` (-1: none) is readable (`woken`). Raises the
 * shield when it is down, and leaves it up: what follows is done in peace until shield_lower().
 */
int hold_until_closed(int fd, int wake, struct shield *shield, int *sig, bool *woken,
		      struct fail *fail);

#endif
