/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * checkpoint: where checkpoints live, what one says about itself, and how one
 * is named.
 *
 * A chain is a ref below refs/shadow/ (CONTRACT, "Where"):
 *
 *	refs/shadow/main/b/<branch>	 the main worktree on a branch
 *	refs/shadow/main/detached	 the main worktree with a detached HEAD
 *	refs/shadow/wt/<id>/b/<branch>	 a linked worktree
 *
 * with <branch> and <id> encoded by name_encode(), so that no shadow ref can be
 * a directory of another one.
 *
 * A chain is cut into segments of interlock.segmentMax checkpoints or a day. The first
 * parent of a segment's first checkpoint is the fixed segment root; the last
 * checkpoint of the segment before is named by its Shadow-Previous trailer and
 * kept alive by a pin, refs/shadow-old/<chain>/<seq>. Every checkpoint says
 * where it stands: "Shadow-Segment: <seq> <n> <start> <first>" is the segment's
 * number, its own number in it (from 1), the segment's first second, and the
 * id of the segment's first checkpoint ("-" in that one). So a walk over whole
 * segments reads one commit per segment.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "commit.h"
#include "fail.h"
#include "odb.h"
#include "repo.h"

#define SEGMENT_SECONDS 86400

/* What a checkpoint's commit says. Ids that it does not name are zero. */
struct checkpoint {
	struct oid id;
	struct oid tree;
	struct oid first_parent; /* zero at the start of a segment */
	struct oid previous;	 /* Shadow-Previous: the tip of the segment before */
	struct oid base;	 /* the commit that HEAD named; zero when it was unborn */
	struct oid index;	 /* Shadow-Index: the commit that keeps the staged content */
	struct oid operation;	 /* Shadow-Operation: the commit that keeps an unfinished one */
	struct oid first;	 /* first checkpoint of the segment; its own id in that one */
	char *session;		 /* NULL when none was given */
	char *worktree;		 /* Shadow-Worktree: which birth of which worktree */
	char *subject;		 /* first line of the message */
	char *message;		 /* all of it */
	struct argv paths;	 /* Shadow-Path, unquoted */
	uint64_t skipped_count;
	int64_t time;
	int64_t segment;       /* 0: not one of ours (no Shadow-Segment) */
	int64_t number;	       /* in its segment, from 1 */
	int64_t segment_start; /* seconds */
};

#define CHECKPOINT_INIT \
	{ \
		.paths = ARGV_INIT \
	}

/* Reads one. A commit that is none of ours gives segment 0. Release with checkpoint_release(). */
int checkpoint_read(struct odb *odb, const struct oid *id, struct checkpoint *out,
		    struct fail *fail);
void checkpoint_release(struct checkpoint *cp);

/* The chain of this worktree and branch; the caller frees. */
int checkpoint_ref(struct repo *repo, char **name, struct fail *fail);

/* The chain of this worktree and that branch ("refs/heads/x"; NULL: detached); the caller frees. */
char *checkpoint_ref_of(const struct repo *repo, const char *branch);

/*
 * A chain given with --ref: "refs/..." in full, or the part behind refs/shadow/.
 * FAIL_USAGE for what is not a ref or belongs to people (heads, tags, remotes ...).
 */
int checkpoint_ref_named(const char *given, char **name, struct fail *fail);

/*
 * "refs/shadow-old/<chain>/<seq>", with "%ref/<encoded name>" for a chain outside
 * refs/shadow/; the caller frees.
 */
char *checkpoint_pin_name(const char *chain, int64_t seq);

/* The chain that a pin belongs to; the caller frees. */
char *checkpoint_chain_of_pin(const char *pin);

/* "main", or "<id> <inode>.<birth seconds>.<nanoseconds>" of the admin directory; caller frees. */
int checkpoint_worktree_identity(struct repo *repo, char **identity, struct fail *fail);

/*
 * Resolves what people type, on the chain `chain`: NULL or "" is the tip, "@{n}",
 * "@{<time>}", "<ref>", "<ref>@{n}", a full or abbreviated id. `found_on` (may be
 * NULL) gets the chain when the name said one. FAIL_GONE when there is no such checkpoint.
 */
int checkpoint_resolve(struct odb *odb, const char *chain, const char *given, struct oid *id,
		       char **found_on, struct fail *fail);

/* Seconds since the epoch for what git takes as a date; FAIL_USAGE for what it does not. */
int checkpoint_date(struct repo *repo, const char *text, int64_t *seconds, struct fail *fail);

#endif
