/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* installparts: what the files of the room install share; install.h has the story. */
#ifndef INSTALLPARTS_H
#define INSTALLPARTS_H

#include "install.h"

#include "bytes.h"
#include "hookchain.h"
#include "lock.h"

#include <sys/stat.h>

#define INSTALL_ASIDE HOOKCHAIN_ASIDE
#define INSTALL_RECORD "installed"

/* One setting of ours. */
struct install_entry {
	char *key, *value;
	char *former; /* what our value replaced; NULL: nothing */
};

struct install_entries {
	struct install_entry *items;
	size_t count, cap;
};

void install_entry_add(struct install_entries *list, const char *key, const char *value,
		       const char *former);
const struct install_entry *install_entry_find(const struct install_entries *list, const char *key,
					       const char *value);
void install_entries_release(struct install_entries *list);

/* ---- the record -------------------------------------------------------------------- */

/* A settings file that we have put something into. */
struct install_conf_record {
	char *path;
	char *was;	   /* the file in the state folder with its content before; NULL: edited */
	bool was_there;	   /* it existed before */
	char was_sum[65];  /* SHA-256 of its content without ours, ... */
	char from_sum[65]; /* ... when the last change began, ... */
	char made_sum[65]; /* ... and after it */
	struct install_entries entries;
};

struct install_record {
	bool found, changing;
	bool want[INSTALL_HOOKS];
	char *programs;
	struct argv made; /* directories that were not there */
	struct argv folders;
	struct install_conf_record *confs;
	size_t count, cap;
};

int install_record_read(int state, struct install_record *out, struct fail *fail);
void install_record_format(const struct install_record *record, struct bytes *out);
int install_record_parse(const char *text, size_t len, struct install_record *out,
			 struct fail *fail);
struct install_conf_record *install_record_conf(struct install_record *record, const char *path);
struct install_conf_record *install_record_add(struct install_record *record, const char *path);
void install_record_release(struct install_record *record);
void install_sum(const void *data, size_t len, char out[65]);

/* ---- a settings file --------------------------------------------------------------- */

struct install_conf {
	char *path;
	bool there;
	mode_t mode;
	struct bytes now, was, next; /* content: as it is, without ours, as wanted */
	struct install_entries listed, listed_was;
	struct install_entries want;
	bool was_there;
	bool changes;
};

/* Reads the file; `path` is where git would write: symlinks are followed. */
int install_conf_open(struct install_conf *conf, const char *path, struct fail *fail);

/*
 * Computes `next` from `want`. `record`: what the record says about it, or NULL. `is_folder`
 * says whether a value of core.hooksPath leads to a folder of ours.
 */
int install_conf_plan(struct install_conf *conf, int state,
		      const struct install_conf_record *record,
		      bool (*is_folder)(const void *arg, const char *value), const void *arg,
		      struct fail *fail);

/* Puts `next` in place under git's lock. FAIL_BUSY when somebody else has changed it. */
int install_conf_write(const struct install_conf *conf, int64_t timeout, struct fail *fail);

/* Removes the lock and the draft of a killed one. */
int install_conf_heal(const char *path, struct fail *fail);
void install_conf_release(struct install_conf *conf);

/* ---- git's answers ----------------------------------------------------------------- */

/* A setting with where it comes from, as git lists it. */
struct install_setting {
	const char *scope, *origin, *key, *value; /* value "" for a key without '=' */
};

struct install_settings {
	struct bytes text;
	struct install_setting *items;
	size_t count, cap;
};

/* All settings in order, those of the command line left out; `git_dir` NULL: outside of any
 * repository. */
int install_settings_read(const char *git_dir, struct install_settings *out, struct fail *fail);
void install_settings_release(struct install_settings *settings);

/* As git expands a path in a setting ("~/x"). The caller frees. */
char *install_expand(const char *file, const char *key, const char *raw, struct fail *fail);

/* "2.39.5" and 2039; -1 on failure. */
int install_git_version(char *text, size_t size, struct fail *fail);

/* ---- what a plan is made of ---------------------------------------------------------- */

enum act_kind {
	ACT_MAKE,   /* the directory `dir` */
	ACT_ASIDE,  /* `name` gets a second name, `value` */
	ACT_MOVE,   /* `name` is renamed to `value`, which takes the place of what is there */
	ACT_LINK,   /* `name` becomes a symbolic link to `value` */
	ACT_WRITE,  /* `name` holds `value` */
	ACT_REMOVE, /* `name` goes */
	ACT_RMDIR,  /* the directory `dir` goes when it is empty */
};

struct install_act {
	enum act_kind kind;
	char *dir, *name, *value;
};

struct install_acts {
	struct install_act *items;
	size_t count, cap;
};

struct install_parts {
	struct repo *repo;
	const struct install_wish *wish;
	struct file_modes modes;
	char *state_path;
	int state;
	struct lock lock;
	struct install_record old, made;
	struct install_settings settings;
	char *global_folder;
	struct install_conf *confs;
	size_t conf_count, conf_cap;
	struct install_acts before, after; /* around the change of the settings */
	struct argv folders;		   /* that are wanted */
};

void install_act_add(struct install_acts *acts, enum act_kind kind, const char *dir,
		     const char *name, const char *value);
int install_acts_do(const struct install_parts *parts, const struct install_acts *acts,
		    struct fail *fail);
void install_acts_release(struct install_acts *acts);

/* Hooks in the directory `dir`; `wanted`: this is where ours belong. */
void install_plan_beside(struct install_plan *plan, const char *dir, bool wanted);

/* A folder of ours; `former`: where core.hooksPath led; "": to the hooks of each repository. */
void install_plan_folder(struct install_plan *plan, const char *folder, const char *former);
void install_plan_no_folder(struct install_parts *parts, const char *folder);

/* The path in the folder's "former", NULL when there is none. The caller frees. */
char *install_read_former(const char *folder);

/* ---- places ------------------------------------------------------------------------ */

char *install_join(const char *dir, const char *name);

/* Where a link leads, NULL when it is none. The caller frees. */
char *install_read_link(const char *dir, const char *name);
bool install_is_there(const char *dir, const char *name, struct stat *st);

/* Is that the path of our program for a hook, here or (`programs`) where we are now? */
bool install_leads_to(const char *target, const char *hook, const char *programs);

/* Does a value of core.hooksPath lead to a folder of ours? `arg`: the parts of the plan. */
bool install_is_folder(const void *arg, const char *value);

/* Did an install make this directory? */
bool install_is_made(const struct install_record *record, const char *dir);

/* Is <dir>/<name> a link to the program of the hook `hook`? */
bool install_is_ours(const char *dir, const char *name, const char *hook);

/* Where the record and the folders of an install for all of a user's repositories are. */
char *install_global_state(struct fail *fail);

/* The settings file that git config --global writes. */
char *install_global_config(struct fail *fail);

/* What leads to our program as a config hook's command does: quoted for the shell. */
char *install_command(const char *programs, const char *hook);

#endif
