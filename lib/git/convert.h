/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * convert: from a file's bytes to the blob's, as `git add` does it: line ends
 * (text, crlf, eol, core.autocrlf) and $Id$ (ident). Filters and encodings are
 * none of our business: a repository that has them is git's.
 *
 * libgit2 answers which attributes a path has; what they do is done here,
 * because libgit2's rules differ from git's in corners (a lone CR in the index,
 * a trailing ^Z). Most contents have neither a CR LF nor an "$Id:" and need no
 * answer: they are plain.
 */
#ifndef CONVERT_H
#define CONVERT_H

#include "bytes.h"
#include "fail.h"
#include "index.h"

#include <pthread.h>

struct repo;

/* Would no conversion whatever change these bytes? */
bool convert_is_plain(const char *data, size_t len);

/* What there is to do. */
enum convert_step {
	CONVERT_CRLF = 1, /* CR LF to LF */
	CONVERT_IDENT = 2 /* "$Id: anything$" to "$Id$" */
};

/* Applies the steps in place. */
void convert_apply(unsigned steps, struct bytes *data);

/*
 * Decides the steps for a path with this content. `mutex` serializes libgit2:
 * it is taken here. FAIL_ENGINE when libgit2 cannot tell.
 */
int convert_decide(struct repo *repo, const struct index *index, pthread_mutex_t *mutex,
		   const char *path, const struct bytes *data, unsigned *steps, struct fail *fail);

#endif
