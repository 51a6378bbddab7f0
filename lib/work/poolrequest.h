/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * poolrequest: asking the watcher of a lease to let go.
 *
 * The watcher of --owner-pid, and --hold, keep a slot's lock. Nobody signals a pid
 * that was read from a record, so a release asks on disk: the file
 * interlock/leases/<lease>.release appears, the watcher's inotify watch tells it,
 * it compares the name with its own lease and ends. The releaser waits for the lock.
 */
#ifndef POOLREQUEST_H
#define POOLREQUEST_H

#include "repo.h"

int pool_request_release(struct repo *repo, const char *lease, struct fail *fail);
void pool_request_drop(struct repo *repo, const char *lease);

/* For the watcher: a descriptor that becomes readable when something appears there... */
int pool_request_watch(struct repo *repo, struct fail *fail);

/* ...and whether it was for this lease. Reads the descriptor empty. */
bool pool_request_came(struct repo *repo, int watch, const char *lease);

#endif
