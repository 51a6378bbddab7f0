/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * procid: which process that was, and whether it is still there.
 *
 * A pid alone is never a process: pids are used again, they mean something else
 * in another PID namespace, and nothing on another host. So a record names the
 * pid with its start time (field 22 of /proc/<pid>/stat, ticks since boot), the
 * boot, the host, and the namespaces in which both numbers were read: those of
 * the process that wrote the record, not of the one that it is about.
 *
 * Two processes can share pid and start time inside one clock tick. Hence the
 * answer is for judging a lease whose kernel lock is free already, never instead
 * of that lock, and what cannot be known is PROC_UNKNOWN, which nobody may treat
 * as gone. Nothing here sends a signal.
 */
#ifndef PROCID_H
#define PROCID_H

#include "fail.h"

#include <sys/types.h>

#define PROCID_BOOT_MAX 37
#define PROCID_HOST_MAX 65

struct procid {
	pid_t pid;	  /* 0: none */
	uint64_t start;	  /* ticks since boot */
	uint64_t pid_ns;  /* inode of the PID namespace that `pid` is a number of; 0: unknown */
	uint64_t time_ns; /* of the time namespace that `start` was read in; 0: none */
	char boot[PROCID_BOOT_MAX]; /* /proc/sys/kernel/random/boot_id */
	char host[PROCID_HOST_MAX]; /* host name and a hash of /etc/machine-id, see procid.c */
};

enum proc_state {
	PROC_ALIVE,
	PROC_GONE,    /* also a zombie: it does nothing any more */
	PROC_UNKNOWN, /* another host, another namespace, or a /proc that hides it */
};

/* FAIL_GONE when there is no such process; FAIL_UNSUPPORTED when /proc hides it. */
int procid_of(pid_t pid, struct procid *out, struct fail *fail);

enum proc_state procid_state(const struct procid *id);

/* Is it this process or one of its ancestors, as far as /proc shows? */
bool procid_is_ancestor(const struct procid *id);

/* Were both read here and now, and are they one process? */
bool procid_same(const struct procid *a, const struct procid *b);

/*
 * Would /proc here show what descends from that process? Not when it was started in
 * another PID namespace (unless ours is the first, which shows all) or on another host.
 * What descends from an earlier boot is gone. Nothing known of it (pid 0): true.
 */
bool procid_can_see(const struct procid *id);

/*
 * This process and its ancestors as /proc numbers them, itself first. Returns
 * how many were written; 0 when /proc does not show them.
 */
size_t procid_ancestors(pid_t *out, size_t room);

/* The start time of a process in this boot, by /proc's number; 0 when it cannot be seen. */
uint64_t procid_start(pid_t pid);

/* What all processes here have in common: boot, host, namespaces. pid and start are 0. */
void procid_here(struct procid *out);

#endif
