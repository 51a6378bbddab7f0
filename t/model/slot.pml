/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * The lock protocol of one slot, for an exhaustive check (requirement F8).
 *
 * A name (worktrees/<id>) leads to an inode or to nothing. A lock is the kernel's: on
 * the inode, ended by unlock and by death. Birth is a rename to a name that must be
 * free; removal a rename away from it, under the lock; afterwards somebody may give
 * birth under the same name again, while waiters still have the old inode open.
 *
 * Modelled:
 *	claimer	opens the name (or gives birth), waits for the lock, compares, looks at the
 *		record, writes it, works, releases. May die at each step
 *	holder	what a claimer is while it works; its child keeps the work lock only, and
 *		works on for a while after the claimer's death
 *	waiter	a claimer that is blocked in the lock
 *	reaper	tries the lock without waiting, compares, looks at the record and who is
 *		inside; gives the slot back, or removes it. May die at each step
 * Work in a slot is work in the worktree that belongs to its inode.
 *
 * Checked:
 *	one	no two processes believe that they own the slot under one name
 *	live	a worktree is never taken, cleaned or removed while a lease's process or
 *		its child works in it
 *	named	who owns a slot owns what its name leads to
 *	progress (as valid end states)	when all is quiet nobody waits for ever
 *
 * NO_IDENTITY is the mutant without the comparison after the lock; NO_INSIDE the one that
 * does not ask who is inside; NO_LOCK the one that believes the record alone.
 */
#define INODES 4
#ifndef CLAIMERS
#define CLAIMERS 2
#endif
#define REAPERS 2
#define NONE 255

#ifdef NO_IDENTITY
#define IS_NAMED(i) true
#else
#define IS_NAMED(i) (name == i)
#endif

#ifdef NO_INSIDE
#define IS_EMPTY(i) true
#else
#define IS_EMPTY(i) (inside[i] == 0)
#endif

#ifdef NO_LOCK
#define MAY_LOCK(i) true
#else
#define MAY_LOCK(i) (holder[i] == NONE)
#endif

/* slot_judge(), as far as it matters here: free, or orphaned. */
#define IS_LEFT(i) \
	(record[i] != FREE && owner[i] != NONE && dead[owner[i]] && IS_EMPTY(i))

mtype = { FREE, CLAIMING, LEASED };

byte name = NONE;		/* the inode that the name leads to */
byte born = 0;			/* inodes given out; each once: somebody has it open */
byte holder[INODES];		/* whose lock it is; NONE */
mtype record[INODES];
byte owner[INODES];		/* the claimer that the record names; NONE */
byte inside[INODES];		/* live processes of a lease that work in its worktree */
bool dead[CLAIMERS];		/* what /proc says of the claimer */
byte owns = 0;			/* processes that believe they own the slot by its name */

/* The kernel ends it with its holder's death, too. */
inline unlock(i, me)
{
	if
	:: holder[i] == me -> holder[i] = NONE
	:: else
	fi
}

inline begin_to_own(i)
{
	owns++;
	assert(owns == 1);	/* one */
	assert(name == i);	/* named */
	assert(inside[i] == 0)	/* live */
}

proctype claimer(byte me)
{
	byte i = NONE;
	bool taken = false;

	do
	:: taken -> break
	:: atomic { !taken && name != NONE -> i = name }; /* opened: now it may be renamed away */
		if				/* waits in the kernel */
		:: atomic { MAY_LOCK(i) -> holder[i] = me }
		fi;
		if				/* compared, and only then looked at */
		:: !IS_NAMED(i)
		:: IS_NAMED(i) -> taken = (record[i] == FREE || IS_LEFT(i))
		fi;
		if
		:: taken
		:: !taken -> atomic { unlock(i, me) }
		fi
	:: atomic { !taken && name == NONE && born < INODES ->
		/* birth: built and locked elsewhere, renamed to a name that must be free */
		i = born;
		born++;
		holder[i] = me;
		record[i] = CLAIMING;
		owner[i] = me;
		name = i;
		taken = true
	   }
	:: !taken && name == NONE && born == INODES -> goto end
	od;

	atomic { begin_to_own(i) };
	if
	:: record[i] = CLAIMING; owner[i] = me
	:: goto die
	fi;
	if
	:: atomic { record[i] = LEASED; inside[i]++ } /* the command, its own work lock */
	:: goto die
	fi;
	if
	:: atomic { inside[i]--; record[i] = FREE; owner[i] = NONE };
	   atomic { owns--; unlock(i, me) }
	:: atomic { owns--; dead[me] = true; unlock(i, me) }; /* SIGKILL: a child works on */
	   inside[i]--
	fi;
	goto end;
die:
	atomic { owns--; dead[me] = true; unlock(i, me) };
end:
	skip
}

proctype reaper(byte me)
{
	byte i;
	bool act = false;

	if
	:: atomic { name != NONE -> i = name }
	:: atomic { name == NONE -> goto end }
	fi;
	if		/* never waits: the lock is the proof of death, and the election */
	:: atomic { MAY_LOCK(i) -> holder[i] = me }
	:: atomic { !MAY_LOCK(i) -> goto end }
	fi;
	if
	:: !IS_NAMED(i)
	:: IS_NAMED(i) -> act = (record[i] == FREE || IS_LEFT(i))
	fi;
	if
	:: !act -> goto let_go
	:: act -> atomic { begin_to_own(i) }
	fi;
	if
	:: assert(inside[i] == 0); record[i] = FREE; owner[i] = NONE; owns-- /* cleaned */
	/* removed: renamed away, and the lock is still ours, on what has no name any more */
	:: atomic { assert(inside[i] == 0); name = NONE; owns-- }
	:: owns-- /* killed: the record stays, the lock goes */
	fi;
let_go:
	atomic { unlock(i, me) };
end:
	skip
}

init {
	byte n;

	atomic {
		n = 0;
		do
		:: n < INODES -> holder[n] = NONE; record[n] = FREE; owner[n] = NONE; n++
		:: else -> break
		od;
		name = 0;
		born = 1; /* one free slot */
		n = 0;
		do
		:: n < CLAIMERS -> run claimer(n); n++
		:: else -> break
		od;
		n = 0;
		do
		:: n < REAPERS -> run reaper(CLAIMERS + n); n++
		:: else -> break
		od
	}
}
