/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * install: our hooks into a repository, or into all of a user's; and out again.
 *
 * There are three ways in, and every hook that is there goes on working in each:
 *
 *   config	git 2.54 and newer runs hooks that its settings name, whatever else there is:
 *		hook.interlock-<event>.event and .command in the settings file
 *   beside	an older git, and no core.hooksPath: the hook's name in the hooks directory
 *		becomes a link to our program, and what was there stands beside it as
 *		<hook>.before-interlock, which our program runs after it
 *   folder	an older git, and a core.hooksPath that somebody set: wherever it leads, it
 *		belongs to others (tracked files, a tool that writes it anew, other
 *		repositories). core.hooksPath leads to <state>/hooks then, where each name is
 *		our program, or "chain". The file "former" there says where it led before, and
 *		what stands there when a hook is called is run (hooks/hook.h)
 *
 * One plan brings what is there to what is wanted, whatever that was before: a first
 * install, a second one, one by another git, what a killed one has left, and an uninstall,
 * which wants nothing. Dry runs print the same plan.
 *
 * Crash story. All of it is under the lock "install":
 *   1. installed-was-<n>: a settings file as it is now, without what is ours
 *   2. installed (state "changing"): which settings and places are ours from now on, those
 *	of before included	-> killed: nothing has changed, and nothing is taken from users
 *   3. links and folders, one rename each; a hook of the user's has its second name before
 *	ours takes the first	-> killed: the next install goes on, an uninstall takes back
 *   4. settings files, each by git's own lock and one rename. The lock is a second name of
 *	<file>.interlock	-> killed: the next install or uninstall knows the lock of a
 *				   killed one by that, and removes it
 *   5. what is not wanted any more is taken away
 *   6. installed (state "installed"), or, when nothing is left, no such file
 *
 * An uninstall puts a settings file back as it was, byte for byte, when it is still what
 * the install made of it; else only what is ours is taken out, by git. Without the record
 * (the folder was deleted) ours is known by its names.
 */
#ifndef INSTALL_H
#define INSTALL_H

#include "argv.h"
#include "repo.h"

#define INSTALL_HOOKS 7

/* The hooks that we have, NULL at the end. */
extern const char *const install_hooks[INSTALL_HOOKS + 1];

struct install_wish {
	bool global; /* for all repositories of this user; `repo` may be NULL */
	bool remove; /* want nothing */
	bool chosen; /* `want` was said; else what the record says, else all */
	bool want[INSTALL_HOOKS];
	const char *programs; /* the directory of the hooks' programs, absolute */
};

struct install_plan {
	struct argv steps; /* for people, in the order in which they are done */
	struct argv notes; /* what they should know besides */
	bool want[INSTALL_HOOKS];
	bool idle;	  /* we have no folder here, and there are no steps */
	bool config;	  /* git runs hooks from its settings */
	bool each_ref;	  /* git calls the reference hook once for each ref (before 2.51) */
	char version[32]; /* of git */
	struct install_parts *parts;
};

/*
 * Looks, and plans. `hold`: takes the lock, heals what a killed one left, and keeps the lock until
 * install_release(). Without that nothing is written anywhere.
 */
int install_plan(struct repo *repo, const struct install_wish *wish, bool hold,
		 struct install_plan *plan, struct fail *fail);
int install_apply(struct install_plan *plan, struct fail *fail);
void install_release(struct install_plan *plan);

/* ---- which guards are active ------------------------------------------------------- */

struct install_guard {
	const char *hook;
	bool active;
	bool wanted;   /* somebody installed it here */
	char *via;     /* active: where git finds it */
	char *program; /* active: what is run then, without symbolic links */
	char *why;     /* not active: why git does not run it, and what to do */
};

struct install_look {
	bool installed;	 /* there is a record, for this repository or for this user */
	bool unfinished; /* a killed install has left it half-way */
	struct install_guard guards[INSTALL_HOOKS];
	char *damage;	       /* what is wrong with a record; NULL: nothing */
	struct argv elsewhere; /* linked worktrees with a core.hooksPath that leads past ours */
};

/*
 * What git would run here and now, by its settings and what is on disk; nothing is
 * believed from the record but what was wanted. Writes nothing.
 */
int install_look(struct repo *repo, struct install_look *look, struct fail *fail);
void install_look_release(struct install_look *look);

#endif
