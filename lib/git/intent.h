/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * intent: what a writer of refs says on disk before it takes git's locks, so that
 * the locks of a killed writer can be told from everybody else's.
 *
 * Two kinds, for the two ways in which a ref is written.
 *
 * linked: interlock/locks/<key>.intent, written under the per-ref flock <key>. It
 *	holds the new value, and git's lock files are made by link(2) from it. A
 *	lock that is one inode with an intent whose flock is free is ours, and its
 *	owner is dead: that is proof, and such a lock is removed at once.
 *
 * by git: interlock/git/<nonce>, a file that its writer keeps flocked; git and the
 *	hooks that git runs inherit the descriptor. It lists the locks that git is
 *	going to take and what each may hold:
 *
 *		"interlock-git-writer 1" LF { <path> NUL <content> NUL }
 *
 *	<content> is an id in hex (the lock holds that id, or a beginning of it), ""
 *	(it is empty) or "*" (anything). When the flock is free, all of them are dead, and
 *	a listed lock that
 *	  - is a regular file of the same owner, younger than the intent,
 *	  - has been as it is for a second (git holds a lock for milliseconds, or
 *	    keeps the file open),
 *	  - is open in no process (the kernel grants a write lease on it), and
 *	  - holds what was meant
 *	is what they left. It is removed. Any other lock is somebody else's.
 *
 * Crash story of the healer: it removes locks first and the intent last; killed
 * in between, the next one does it again.
 */
#ifndef INTENT_H
#define INTENT_H

#include "bytes.h"
#include "fail.h"
#include "lock.h"
#include "oid.h"

#include <sys/stat.h>

struct repo;

/*
 * Writes the linked intent of `ref` in `dir` (interlock/locks), whose per-ref
 * flock the caller holds, after healing what a dead holder left under that name.
 */
int intent_write(struct repo *repo, int dir, const char *file, const char *ref,
		 const struct oid *value, struct fail *fail);

/* Removes what a dead holder of that flock left: its locks, then its intent. */
int intent_heal(struct repo *repo, int dir, const char *file, const char *ref, struct fail *fail);

/* An intent of the other kind. */
struct git_intent {
	struct lock flock;
	int dir; /* interlock/git */
	char *file;
};

#define GIT_INTENT_INIT \
	{ \
		.flock = LOCK_INIT, .dir = -1 \
	}

/* Adds one lock to the list of a git intent. `content`: see above. */
void git_intent_add(struct bytes *text, const char *path, const char *content);

/*
 * Sweeps what dead writers left, then writes and flocks an intent. From here on
 * children inherit the flock; git_intent_end() removes the intent, and
 * git_intent_leave() leaves it to be healed (git was killed).
 */
int git_intent_begin(struct repo *repo, const struct bytes *text, struct git_intent *intent,
		     struct fail *fail);
void git_intent_end(struct git_intent *intent);
void git_intent_leave(struct git_intent *intent);

/*
 * Removes what dead writers of either kind left and nobody has met yet: the lock of a ref
 * that no later run names, or packed-refs.lock, which stands in the way of git's own
 * pack-refs. What has a living holder is passed over. `wait`: a second, when something
 * is too young to judge.
 */
void intents_heal(struct repo *repo, bool wait);

/*
 * A lock stands in the way: removes it if it can be proved to be a dead writer's
 * of ours. `own_key` is the key of a per-ref flock that the caller holds, or NULL.
 * True when it is gone.
 */
bool intent_clear(struct repo *repo, const char *path, const char *own_key);

/*
 * The intents that there are, to ask whose a lock is: nothing is healed, made or
 * changed by it. Release with intents_release(), also after a failure.
 */
struct intents {
	struct repo *repo;
	struct intent_seen *items;
	size_t count, cap;
};

enum intent_owner {
	INTENT_OTHERS, /* no writer of ours has said that it would take it */
	INTENT_ALIVE,  /* one has, and may be at it */
	INTENT_DEAD,   /* a dead one's of ours, proved: intents_heal() removes it */
};

int intents_look(struct repo *repo, struct intents *out, struct fail *fail);
enum intent_owner intents_ask(const struct intents *intents, const char *path,
			      const struct stat *st);

/* Has somebody the file open, as far as the kernel tells us? */
bool intent_is_open(const char *path);

/* Those of dead writers, whether a lock is left or not: "locks/<key>.intent", "git/<nonce>". */
void intents_each_dead(const struct intents *intents, void (*visit)(void *arg, const char *file),
		       void *arg);
void intents_release(struct intents *intents);

/* Appends who of ours holds the lock at `path`; nothing when it is not known. */
void intent_describe(struct repo *repo, const char *path, struct bytes *out);

#endif
