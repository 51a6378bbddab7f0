/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * commit: the text of a commit object, ours and anybody's.
 *
 * Trailers are read from the message's last paragraph only, and only when every
 * line of it is "Key: value" or the indented continuation of one. Ours are
 * written there by commit_message(), so that what a user's message says further
 * up is never taken for ours.
 */
#ifndef COMMIT_H
#define COMMIT_H

#include "argv.h"
#include "bytes.h"
#include "fail.h"
#include "odb.h"
#include "oid.h"

struct repo;

struct commit {
	struct oid tree;
	struct oid *parents;
	size_t parent_count, parent_cap;
	int64_t time;  /* committer's, seconds since the epoch; 0 when the line makes no sense */
	char *message; /* without headers, up to a NUL */
};

/* FAIL_CORRUPT when it is no commit. Release with commit_release(), also after a failure. */
int commit_parse(enum hash_algo algo, const struct bytes *content, struct commit *out,
		 struct fail *fail);
int commit_read(struct odb *odb, const struct oid *oid, struct commit *out, struct fail *fail);
void commit_release(struct commit *commit);

/*
 * The value of the last trailer `key` (in any case) in the message's trailer
 * block, without the blanks around it; NULL when there is none. The value points
 * into the message, continuation lines included; its length in `len`.
 */
const char *commit_trailer(const struct commit *commit, const char *key, size_t *len);

/* The n-th value of a trailer that may occur more than once; NULL past the end. */
const char *commit_trailer_nth(const struct commit *commit, const char *key, size_t n, size_t *len);

/*
 * Appends the user's message with "Key: value" trailers in its last paragraph. A
 * trailer block at the end of the user's message is continued, as git
 * interpret-trailers does, unless it has a key that begins with "Shadow-": then
 * ours get a paragraph of their own behind it. FAIL_USAGE for a trailer that is
 * not one line of this form. With no trailers the message stays as it is.
 */
int commit_message(const char *message, const struct argv *trailers, struct bytes *out,
		   struct fail *fail);

/*
 * Appends the text of a commit object. Author and committer come from
 * GIT_AUTHOR_* and GIT_COMMITTER_*, author.*, committer.* and user.*, or are the
 * suite's own when nothing usable is configured: a checkpoint never fails for
 * want of an identity. A date in the environment that git does not understand is
 * FAIL_USAGE. A message that is not empty ends in a newline.
 */
int commit_format(struct repo *repo, const struct oid *tree, const struct oid *parents,
		  size_t parent_count, const char *message, struct bytes *out, struct fail *fail);

/* Appends "name <email> seconds zone" as the committer line has it (also for reflogs). */
int commit_committer(struct repo *repo, struct bytes *out, struct fail *fail);

/*
 * The fixed commit with an empty tree at which every segment starts: the same id
 * everywhere. Replaces `content`.
 */
void commit_segment_root(enum hash_algo algo, struct bytes *content, struct oid *oid);

#endif
