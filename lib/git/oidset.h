/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * oidset: a set of object ids.
 *
 *	struct oidset seen = OIDSET_INIT;
 *
 *	if (oidset_add(&seen, &oid))
 *		...first time...
 *	oidset_release(&seen);
 */
#ifndef OIDSET_H
#define OIDSET_H

#include "oid.h"

struct oidset {
	struct oid *slots; /* algo 0: free */
	size_t slot_count; /* 0 or a power of two */
	size_t count;
};

#define OIDSET_INIT \
	{ \
		0 \
	}

bool oidset_add(struct oidset *set, const struct oid *oid); /* false: it was there */
bool oidset_has(const struct oidset *set, const struct oid *oid);
void oidset_release(struct oidset *set);

#endif
