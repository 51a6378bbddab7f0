/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * convert: from a file's bytes to the blob's, as `git add` does it: line ends
 * (text, crlf, eol, core.autocrlf) and $Id$ (ident). Filters and encodings are
 * none of our business: a repository that has them is git's.
 *
 * libgit2 answers which attributes a path has; what they do is done here, because libgit2's rules
 * differ from git's in corners (a lone CR in the index, a trailing ^Z). Most contents have neither
 * a CR LF nor an "$Id:" and need no answer: they are plain.
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
 * Asks for attributes. libgit2 lays the work tree's .gitattributes over the
 * index's, where git takes the index's only for a file that is missing: so it
 * is given a handle of its own, whose index is empty.
 */
struct converter {
	struct repo *repo;
	const struct index *index;
	struct git_repository *handle; /* opened at first use */
	pthread_mutex_t mutex;	       /* one thread at a time in libgit2 */
};

void converter_init(struct converter *converter, struct repo *repo, const struct index *index);
void converter_release(struct converter *converter);

/*
 * Decides the steps for a path with this content. Thread-safe. FAIL_ENGINE when
 * libgit2 cannot tell.
 */
int converter_decide(struct converter *converter, const char *path, const struct bytes *data,
		     unsigned *steps, struct fail *fail);

#endif
