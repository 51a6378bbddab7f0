/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * birth: a worktree that appears whole, and goes whole.
 *
 * Crash story (B = the birth id; S = interlock/birth-B, at the depth of worktrees/<id>, so
 * that "../.." leads to the common directory from both; W = the worktree's directory, in
 * the pool's directory P; W' = P/.interlock-newborn-B):
 *   1. mkdir S, flock S			-> killed: an unlocked S; whoever
 *						   sweeps gets its lock, and removes it
 *   2. S/commondir, S/config.worktree, S/info/sparse-checkout, S/HEAD (detached at
 *      the base), S/logs			-> killed: as 1
 *   3. S/interlock (the birth record, without an inode yet: W' is told by its name),
 *      mkdir P (S/interlock-made says so), mkdir W', S/interlock (with the device and
 *      inode of W'), W'/.git, S/gitdir, S/locked, renameat2(W', W, NOREPLACE)
 *						-> killed: as 1; W' or W goes too when
 *						   it is that inode and holds nothing
 *						   but that .git file; then P, if empty
 *   4. renameat2(S, worktrees/<id>, NOREPLACE)	-> from here git sees it: locked,
 *						   complete, on a commit. Killed:
 *						   half-born; its flock is free
 *   5. population: git read-tree -u under the slot's lock, as child in our process
 *      group that dies with us		-> killed: half-born, the next claim
 *						   finishes it
 *   6. confirmed: HEAD resolves, the index loads
 *   7. the branch, if one was asked for: HEAD is attached, then everybody's HEAD
 *      is read again; somebody else has it too: detach, FAIL_BUSY naming them. A
 *      plain `git checkout` in the same instant is detected, not prevented
 *						-> killed: half-born, maybe on its branch;
 *						   who finishes it detaches it first. A
 *						   branch that was made stays, at the base;
 *						   git's lock on it is healed by who wants
 *						   that branch next (intent.h)
 *   8. the record says free or leased
 * A failure before 4 removes S, W', W and P. After 4 the caller removes by the mirror image:
 *   a. rename W to P/.interlock-trash-B (device and inode checked, before and after), so
 *      that nothing is half deleted under a name that means something
 *   b. rename worktrees/<id> to interlock/trash-B, rmdir worktrees/ if that is empty
 *						-> killed after a: vanished, with its
 *						   directory still beside it: the next
 *						   reap does b
 *   c. delete both, and P if a birth made it and nothing else is in it, in a process of
 *      its own that nobody waits for and that keeps the flock
 *						-> killed: trash whose lock is free,
 *						   swept by the next reap. The record
 *						   in it, which leads to the rest, is
 *						   deleted last
 *
 * A stage or trash is swept by who gets its flock and then still finds it under its name;
 * a maker that loses its stage that way begins again under another name.
 *
 * Cost: one git process for the population; the rest is some dozens of system calls.
 * Where refs are not plain files, one more process writes HEAD.
 */
#ifndef BIRTH_H
#define BIRTH_H

#include "slot.h"

struct birth_plan {
	const char *pool;
	int64_t number;
	const char *dir;	/* directory of the pool, absolute; made if missing */
	const struct oid *base; /* commit */
	struct slot_record
		record; /* lease that the newborn begins with; phase is set here. Not owned */
};

/*
 * Steps 1 to 4: no git works on files here, so that it can be done under a lock that
 * others wait for. The newborn is `out`, its lock held, its phase SLOT_BIRTH. FAIL_NO when
 * the number, the id or the path is taken (try the next number); any other failure leaves
 * nothing. FAIL_UNSUPPORTED: the file system cannot rename without replacing.
 */
int birth_make(struct repo *repo, const struct birth_plan *plan, struct slot *out,
	       struct fail *fail);

/*
 * Steps 5 and 6 on a newborn or half-born slot whose lock the caller holds and in which
 * nobody is. What stands in the way of a file of the base is written over. A failure
 * carries git's own words; birth_remove() then leaves nothing.
 */
int birth_populate(struct slot *slot, const struct oid *base, struct fail *fail);

/*
 * Step 7 in a slot whose lock the caller holds and which is clean on `base`. `create`:
 * the branch must not exist, and is made at the base, with upstream settings untouched. FAIL_NO:
 * it exists (create), or does not (not create). FAIL_BUSY: checked out elsewhere, naming where.
 */
int birth_attach(struct slot *slot, const char *branch, bool create, struct fail *fail);

/*
 * Removes a slot whose lock the caller holds: a to c. Its work must have been
 * rescued. With a vanished worktree only b and c. The lock is gone afterwards.
 * FAIL_CORRUPT when something else stands where its worktree was born (a symlink,
 * another directory): nothing was touched, and the lock is still held.
 */
int birth_remove(struct slot *slot, struct fail *fail);

/* Is a vanished slot one whose removal was killed after step a? birth_remove() finishes it. */
bool birth_removal_began(const struct slot *slot);

/* Where slots of a pool live when nothing is set; FAIL_UNSUPPORTED says what to set. */
int birth_default_dir(struct repo *repo, char **dir, struct fail *fail);

/* The same as a path only, whatever is there; NULL: nothing says where. The caller frees. */
char *birth_default_path(const struct repo *repo);

/* Could a slot be born in `dir`? The failure says why not. Nothing is made. */
int birth_check_dir(struct repo *repo, const char *dir, struct fail *fail);

/*
 * A worktree that is not where it was born, because it or the repository was moved, and whose links
 * lead nowhere. It is known by device and inode, in the folder in which it was born, where
 * pools are now, where git thinks it is, or in one of `places` (directories, or the
 * worktree itself; may be NULL). Its .git file must lead to an admin directory of its id: to
 * this one, or to one that is not there any more. One that leads to another
 * repository's belongs to that one, of which this one is a copy: `theirs` gets its path.
 * Where it is goes to `path`; the caller frees both. False when it is not found.
 */
struct argv;
bool birth_find_moved(const struct slot *slot, const struct argv *places, char **path,
		      char **theirs);

/*
 * Under the slot's lock: the slot is where birth_find_moved() has found it, from now on. FAIL_NO
 * when the directory there has not the name of the slot.
 *   1. W/.git leads here		-> killed: found again, as before
 *   2. A/gitdir leads to W		-> killed: as 1
 *   3. A/interlock, the birth record, says where it is
 */
int birth_settle(struct slot *slot, const char *path, struct fail *fail);

/*
 * Removes what dead births and removals left (steps 1 to 3 and c); counts them. One that
 * fails is told, and the sweep goes on. Big trash is deleted as in c.
 */
int birth_sweep(struct repo *repo, bool dry_run, size_t *swept, struct fail *fail);

#endif
