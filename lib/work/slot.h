/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * slot: a place in the pool: what it is, what is recorded of it, what state it is in.
 *
 * A slot is a linked worktree of ours. Its name is "<pool>-<n>", which is also the
 * id of its admin directory, A = <common-dir>/worktrees/<id> (the pool's name encoded
 * by name_encode()). On disk there are:
 *
 *   A itself		its flock is the slot's lock. It is held by whoever changes
 *			the slot: the supervisor of a lease by process for as long
 *			as the lease lasts; claim, release, renew and reap for
 *			a moment. A directory cannot be unlinked under its
 *			holder, and the lock survives a rename of it
 *   A/interlock	what the slot was born as (struct slot_birth): version, path,
 *			device and inode of the worktree's directory, birth id, and
 *			the config.worktree of its birth. Written once
 *   A/locked		the reason with which git holds it locked, which is the
 *			record: "interlock 1 " and one JSON object (struct
 *			slot_record). Replaced by rename, under the slot's lock
 *   interlock/leases/<lease id>
 *			the same record once more. One file per lease, so no run
 *			touches another's; deleted when the lease has ended
 *   interlock/leases/<lease id>.work
 *			the lease's work lock: empty, flocked by the claimer, its
 *			descriptor inherited by the wrapped command and all its
 *			children. A file of its own, because a record is replaced by
 *			rename and a lock must stay the file that it is
 *
 * What is asked in which order (CONTRACT section 4): the kernel lock; when that
 * is free, the record; and then who is inside. slot_judge() is the only place
 * where a state is decided: claim, list, reap, status and doctor go through it.
 *
 * A/locked is the record that counts. When it is gone or garbage (unlocked by hand),
 * interlock/leases/ is asked. That the two differ in what a renewal or a step of a claim
 * changes is the trace of a killed writer, and the later end of the lease counts; that
 * they differ in whose lease it is makes the slot `desynced`, and the answer that
 * protects more wins.
 */
#ifndef SLOT_H
#define SLOT_H

#include "lock.h"
#include "procid.h"
#include "worktree.h"

enum slot_phase {
	SLOT_BIRTH, /* published, not populated yet */
	SLOT_FREE,
	SLOT_CLAIMING, /* chosen; being brought to its base */
	SLOT_LEASED,
	SLOT_RELEASING, /* the lease is over; being rescued and cleaned */
};

enum lease_kind {
	LEASE_NONE,
	LEASE_COMMAND, /* the supervisor of a wrapped command */
	LEASE_HOLD,    /* until its standard input ends */
	LEASE_OWNER,   /* a watcher of --owner-pid */
	LEASE_TIME,    /* a person's: until `expires` */
};

struct slot_record {
	enum slot_phase phase;
	char *slot;  /* name of the slot that it is about; set by slot_record_parse() only */
	char *lease; /* id, never used twice; NULL when free */
	enum lease_kind kind;
	char *key;    /* --key, or NULL */
	char *branch; /* "refs/heads/x" of -b or -B; NULL: detached */
	char *base; /* commit in hex that the slot was brought to; NULL before its birth is done */
	int64_t since;	 /* seconds; when this lease began */
	int64_t expires; /* seconds; LEASE_TIME only, else 0; INT64_MAX: never */
	int64_t ttl;	 /* seconds by which a use renews it */
	int64_t uid;	 /* who took it */
	/*
	 * The process that it is bound to. While claiming or releasing: the one that does
	 * it, of whatever kind the lease is. For LEASE_TIME: the one that took it, which
	 * decides nothing, but tells where the lease was taken.
	 */
	struct procid owner;
	char *command; /* what that process is, for people */
	/* Who was inside already when the lease began: does not belong to it. */
	struct procid *before;
	size_t before_count;
	/*
	 * The lease whose work may still be in the slot, when a claim has begun another and
	 * has not rescued it yet. A rescue is named after that.
	 */
	char *left_by;
};

/* Whose work is in the slot; NULL: nobody's. */
const char *slot_work_of(const struct slot_record *record);

#define SLOT_BEFORE_MAX 32 /* more are not remembered, and count as inside */

struct slot_birth {
	char *born; /* birth id */
	char *pool;
	int64_t number;
	char *path;		    /* absolute */
	uint64_t dev, ino;	    /* of the worktree's directory */
	char boot[PROCID_BOOT_MAX]; /* in which dev was true; "": this one, when it is written */
	char *config;		    /* its config.worktree at birth; NULL: it had none */
	char *sparse;		    /* its info/sparse-checkout at birth; NULL: it had none */
};

/* Longest config.worktree and sparse-checkout that a birth record takes; the birth refuses longer
 * ones. */
#define SLOT_CONFIG_MAX 65536
#define SLOT_SPARSE_MAX (384 * 1024)
/* Longest text of either record. */
#define SLOT_TEXT_MAX (1024 * 1024)

/* "<pool>-<number>", and the id that belongs to it. The caller frees. */
char *slot_name_of(const char *pool, int64_t number);
char *slot_id_of(const char *pool, int64_t number);

/* ---- the state, decided ------------------------------------------------------ */

enum slot_state {
	STATE_FREE,
	STATE_HELD,
	STATE_LEASED,
	STATE_EXPIRED,
	STATE_ORPHANED,
	STATE_OCCUPIED,
	STATE_HALF_BORN,
	STATE_VANISHED,
	STATE_DESYNCED,
	STATE_FOREIGN,
	STATE_UNKNOWN,
};
const char *slot_state_name(enum slot_state state); /* "half-born", ... */

/* What was seen. The enums are in an order from safest to most surprising. */
struct slot_facts {
	enum {
		SLOT_NOT_OURS, /* neither A/interlock nor a reason of ours */
		SLOT_OURS,
		SLOT_UNJUDGED /* ours, but a file of it is missing, broken, unreadable or newer */
	} birth;
	enum {
		REASON_OURS,  /* "interlock 1 {...}" */
		REASON_NONE,  /* git does not hold it locked */
		REASON_HUMAN, /* somebody else's words */
		REASON_NEWER, /* "interlock <other version>" */
		REASON_BROKEN /* ours once, unreadable now */
	} reason;
	enum {
		TREE_OK,
		TREE_GONE,
		TREE_OTHER,	/* another directory, a symlink or a file is there */
		TREE_UNREADABLE /* it cannot be judged */
	} tree;
	enum lock_state lock; /* of the admin dir, which is there: never LOCK_ABSENT */
	enum slot_phase phase;
	enum lease_kind kind;
	enum {
		OWNER_NONE,
		OWNER_ALIVE,
		OWNER_GONE,
		OWNER_UNKNOWN
	} owner;
	bool time_left; /* LEASE_TIME: it has not run out */
	bool disagree;	/* A/locked and the lease's own file contradict each other */
	enum {
		INSIDE_NOBODY,
		INSIDE_SOMEBODY,
		INSIDE_UNKNOWN,
		INSIDE_NOT_ASKED
	} inside;
};

/* Pure. With INSIDE_NOT_ASKED it answers as if somebody might be inside. */
enum slot_state slot_judge(const struct slot_facts *facts);

/* Does the answer depend on who is inside? Only then /proc is read. Pure. */
bool slot_needs_inside(const struct slot_facts *facts);

/* ---- a slot, opened ---------------------------------------------------------- */

struct slot {
	struct repo *repo; /* of the caller: for common_dir and settings */
	char *name;	   /* "<pool>-<n>" with the pool's name as given; for foreign ones the id */
	char *id;	   /* admin directory's name */
	char *path;
	int admin;   /* descriptor of A, carries the flock; -1 */
	bool locked; /* we hold that flock */
	int work;    /* descriptor of interlock/leases/<lease>.work, locked by us; -1 */
	struct slot_birth birth;
	struct slot_record record;
	struct slot_facts facts;
	enum slot_state state;
	char *who; /* for messages: who holds it or is inside; NULL */
	/* With its lock free: the process whose end may change the state; pid 0: nobody is known.
	 */
	struct procid blocker;
};

/*
 * Opens A and looks: facts, record, state. Takes no lasting lock (the flock is
 * asked with a shared attempt that is given back at once). FAIL_GONE when there is no such admin
 * directory. Release with slot_close(), also after a failure.
 */
int slot_look(struct repo *repo, const char *id, struct slot *out, struct fail *fail);

/*
 * Is that the directory that the slot was born with? Device and inode; after a
 * reboot the inode, because some file systems number their devices anew.
 */
bool slot_born_as(const struct slot_birth *birth, const struct stat *st);

/*
 * Opens the worktree's directory for who is going to change something in it: FAIL_CORRUPT, and
 * nothing was touched, when it is not the one that the slot was born with.
 */
int slot_open_tree(const struct slot *slot, struct fail *fail);

/*
 * Asks who is inside, sets facts.inside, `who` and the state. What was inside before
 * the lease began does not count, nor a process that has nothing of the slot but the
 * work lock; `spare_ancestors`: nor do the caller's own (for a release from inside).
 */
void slot_ask_inside(struct slot *slot, bool spare_ancestors);

/*
 * Appends who has it, and since when: "pid 812 (make test), since 2026-11-21T06:33:11Z". When its
 * lock is held and no record says by whom, whom the kernel names. Nothing when nobody has it.
 */
void slot_describe_holder(const struct slot *slot, struct bytes *out);

/* Remembers in the record who sits in the slot now: a lease is about to begin. */
void slot_note_before(struct slot *slot);

/*
 * Takes the slot's lock, without waiting past `deadline`, and looks again: A is
 * still the directory that the name leads to, the record is what it is now.
 * FAIL_BUSY, naming the holder; FAIL_GONE when A was renamed away meanwhile.
 */
int slot_lock(struct slot *slot, int64_t deadline, struct fail *fail);
void slot_unlock(struct slot *slot);
void slot_close(struct slot *slot);

/* Is it one of that pool? Without its birth record it is known by its id, "<pool>-<digits>". */
bool slot_in_pool(const struct slot *slot, const char *pool);

/*
 * All of the pool (NULL: of every pool), also half-born ones; by pool and number. One
 * pass over /proc for all. `admin` stays open while descriptors are plenty, else it is
 * -1 and slot_lock() opens it again.
 */
struct slots {
	struct slot *items;
	size_t count;
};
int slots_look(struct repo *repo, const char *pool, bool foreign, struct slots *out,
	       struct fail *fail);
void slots_release(struct slots *slots);

/*
 * The slot that `given` names: its name, its id, its path or any path inside it;
 * NULL: the one of the current directory. FAIL_GONE.
 */
int slot_find(struct repo *repo, const char *given, struct slot *out, struct fail *fail);

/* ---- writing the record ------------------------------------------------------- */

/*
 * Under the slot's lock. Writes the lease's own file first (when it has one), then
 * A/locked. Killed in between: a lease file that A/locked does not name; nobody
 * was told of that lease, and reap sweeps it. A lease by process that begins gets its
 * work lock, locked, in `work`.
 */
int slot_write(struct slot *slot, struct fail *fail);

/*
 * The same for a record that was there before, and is to be again: what was tried with the
 * slot came to nothing. No lease begins, so no work lock is taken.
 */
int slot_write_back(struct slot *slot, struct fail *fail);

/* Removes the files of a lease that has ended. */
void slot_drop_lease_file(struct repo *repo, const char *lease);

/*
 * "interlock 1 {...}" with a line feed, and back: one line of ASCII, its keys always in the
 * same order. Parsing takes any order and unknown keys. FAIL_NO when these are somebody
 * else's words, FAIL_UNSUPPORTED for another version, FAIL_CORRUPT when ours make no sense.
 * Release `out` also after a failure. A text that is not UTF-8 is {"hex":"..."}.
 */
void slot_record_format(const struct slot_record *record, const char *slot_name, struct bytes *out);
int slot_record_parse(const char *text, size_t len, struct slot_record *out, struct fail *fail);
void slot_record_release(struct slot_record *record);

/* "interlock-birth 1 {...}", in the same way. */
void slot_birth_format(const struct slot_birth *birth, struct bytes *out);
int slot_birth_parse(const char *text, size_t len, struct slot_birth *out, struct fail *fail);
void slot_birth_release(struct slot_birth *birth);

/*
 * A lease id or birth id: 48 bits of time and 80 random bits, in 32 hex digits. The
 * caller frees.
 */
char *slot_new_id(void);
bool slot_id_valid(const char *id);

/* Is this lease the caller's: GIT_INTERLOCK_LEASE, an ancestor that owns it, or a
   time lease of its uid (CONTRACT, release)? */
bool slot_is_callers(const struct slot *slot);

#endif
