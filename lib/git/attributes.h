/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * attributes: does a gitattributes(5) file say anything that changes contents?
 *
 * This does not match patterns. It looks for the attributes' names, so that a
 * repository without them is read with no attribute machinery at all, and one
 * with filters is left to git. When in doubt it says that there is something.
 */
#ifndef ATTRIBUTES_H
#define ATTRIBUTES_H

#include "argv.h"
#include "fail.h"

struct repo;

enum attribute_use {
	ATTRIBUTE_CONVERT = 1,	/* text, crlf, eol or ident: lib/git/convert does it */
	ATTRIBUTE_FILTER = 2,	/* filter: only git runs filters */
	ATTRIBUTE_ENCODING = 4, /* working-tree-encoding: only git */
	ATTRIBUTE_ODD = 8,	/* a line or file that git and libgit2 may read in two ways */
};

/*
 * The uses in one file. Settings that switch something off ("-text") are none,
 * and so is a filter that is not among `drivers` (repo->conf.filters; NULL: any
 * name counts).
 */
unsigned attributes_in(const char *text, size_t len, const struct argv *drivers);

/*
 * The uses in the sources outside the work tree: the system's file,
 * core.attributesFile or its default, and $GIT_COMMON_DIR/info/attributes.
 */
int attributes_outside(struct repo *repo, unsigned *uses, struct fail *fail);

/* FAIL_ENGINE when `uses` has something that only git does; 0 otherwise. */
int attributes_judge(unsigned uses, struct fail *fail);

#endif
