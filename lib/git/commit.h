/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * commit: the text of a commit object, ours and anybody's.
 */
#ifndef COMMIT_H
#define COMMIT_H

#include "bytes.h"
#include "fail.h"
#include "odb.h"
#include "oid.h"

struct repo;

struct commit {
	struct oid tree;
	struct oid *parents;
	size_t parent_count, parent_cap;
	int64_t time;  /* committer's, seconds since the epoch */
	char *message; /* without headers; caller frees with commit_release() */
};

int commit_parse(enum hash_algo algo, const struct bytes *content, struct commit *out,
		 struct fail *fail);
int commit_read(struct odb *odb, const struct oid *oid, struct commit *out, struct fail *fail);
void commit_release(struct commit *commit);

/*
 * The value of the last trailer `key` in the message's trailer block; NULL when
 * there is none. The value points into the message; its length in `len`.
 */
const char *commit_trailer(const struct commit *commit, const char *key, size_t *len);

/* The n-th value of a trailer that may occur more than once; NULL past the end. */
const char *commit_trailer_nth(const struct commit *commit, const char *key, size_t n, size_t *len);

/*
 * Writes the text of a commit object. Author and committer come from
 * GIT_AUTHOR_* and GIT_COMMITTER_*, user.*, or the suite's own name when
 * nothing is configured: a checkpoint never fails for want of an identity.
 */
int commit_format(struct repo *repo, const struct oid *tree, const struct oid *parents,
		  size_t parent_count, const char *message, struct bytes *out, struct fail *fail);

/* Appends "name <email> seconds zone" as the committer line has it (also for reflogs). */
int commit_committer(struct repo *repo, struct bytes *out, struct fail *fail);

/* The fixed commit with an empty tree at which every segment starts. */
void commit_segment_root(enum hash_algo algo, struct bytes *content, struct oid *oid);

#endif
