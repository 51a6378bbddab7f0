/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * gitconf: the settings that govern us, read once into a struct.
 *
 * Order: command line option (the command overwrites the field) > environment
 * GIT_INTERLOCK_* > interlock.* in git config > default. A malformed value is
 * FAIL_USAGE that names its source; it is never replaced by a default.
 */
#ifndef GITCONF_H
#define GITCONF_H

#include "argv.h"
#include "fail.h"

struct repo;

struct gitconf {
	/* interlock.* */
	int64_t lock_timeout;	    /* ms; lockTimeout / GIT_INTERLOCK_LOCK_TIMEOUT, 10s */
	int64_t max_file_size;	    /* bytes; maxFileSize / GIT_INTERLOCK_MAX_FILE_SIZE, 100 MiB */
	int64_t max_snapshot_bytes; /* bytes; maxSnapshotBytes / GIT_INTERLOCK_MAX_SNAPSHOT_BYTES, 2
				       GiB */
	bool allow_home;	    /* allowHome / GIT_INTERLOCK_ALLOW_HOME: save in $HOME or / */
	bool durable;		    /* durability = process | full / GIT_INTERLOCK_DURABILITY */
	char *session;		    /* session / GIT_INTERLOCK_SESSION, or NULL */
	struct argv noise;   /* noise / GIT_INTERLOCK_NOISE: ignore rules for files of a harness */
	int64_t segment_max; /* segmentMax, 256: checkpoints in one segment of a chain */
	char *pool_dir;	     /* poolDir / GIT_INTERLOCK_POOL_DIR, or NULL */
	int64_t pool_max;    /* poolMax / GIT_INTERLOCK_POOL_MAX: slots in a pool; 0: no limit */
	int64_t claim_timeout;		/* ms; claimTimeout / GIT_INTERLOCK_CLAIM_TIMEOUT, 120s */
	const char *claim_timeout_from; /* which of them said so; NULL: the default */
	int64_t task_cap; /* ms that the caller may live: GIT_INTERLOCK_TASK_CAP; never */
	int64_t ttl;	  /* ms; ttl / GIT_INTERLOCK_TTL, 24h: a person's lease */
	int64_t deadline; /* ms; deadline / GIT_INTERLOCK_DEADLINE, never: for a wrapped command */
	int64_t grace; /* ms; grace / GIT_INTERLOCK_GRACE, 5s: before what a command left is killed
			*/
	int64_t run_deadline; /* ms; runDeadline / GIT_INTERLOCK_RUN_DEADLINE, 60m */
	int64_t ledger_keep;  /* ms; ledgerKeep / GIT_INTERLOCK_LEDGER_KEEP, 30d */
	bool clean_all;	      /* clean = keep-ignored | all / GIT_INTERLOCK_CLEAN */
	bool lock_worktrees;  /* lockWorktrees / GIT_INTERLOCK_LOCK_WORKTREES: what git adds stays
			       locked */
	bool auto_save; /* autoSave / GIT_INTERLOCK_AUTO_SAVE, true: the hooks save checkpoints */

	/* git's own, as git would see them */
	char *user_name; /* NULL when unset */
	char *user_email;
	char *author_name, *author_email, *committer_name, *committer_email;
	int log_all_ref_updates;       /* -1 unset, 0 no, 1 yes, 2 always */
	bool autocrlf;		       /* true or input */
	char *excludes_file;	       /* core.excludesFile, expanded; NULL when unset */
	char *attributes_file;	       /* core.attributesFile, expanded; NULL when unset */
	bool file_mode;		       /* core.fileMode */
	bool trust_ctime;	       /* core.trustctime */
	bool check_stat_minimal;       /* core.checkStat = minimal */
	bool fsync_set;		       /* core.fsync or core.fsyncMethod: git writes the refs */
	char *hooks_path;	       /* core.hooksPath; NULL when unset */
	bool worktree_config;	       /* extensions.worktreeConfig */
	bool relative_extension;       /* extensions.relativeWorktrees */
	bool relative_worktrees;       /* worktree.useRelativePaths */
	bool precious_objects;	       /* extensions.preciousObjects: no object may be deleted */
	struct argv filters;	       /* names of filter drivers that do something on the way in */
	struct argv config_hooks;      /* names of all config-based hooks (git 2.54+) */
	struct argv transaction_hooks; /* those of the event reference-transaction */
	struct argv hook_commands; /* of all: a name, its command, the next name; the last wins */
	char *engine; /* interlock.engine / GIT_INTERLOCK_ENGINE: auto, native, git; NULL */

	/* Malformed values that REPO_TOLERANT has passed over: why, and where they stand. */
	struct argv malformed;
	struct argv unknown; /* and keys interlock.* that are no setting of ours */
};

/* The defaults, and what the environment says. */
int gitconf_init(struct gitconf *conf, struct fail *fail);

/*
 * Takes one setting of git's config; `key` in its canonical form (section and
 * variable in lower case). Later calls win. Settings that only git can honour
 * are reported through repo_row(). NULL value: a key without '='.
 */
int gitconf_take(struct repo *repo, const char *key, const char *value, struct fail *fail);

/* Lays the environment's settings over the config's; called last. */
int gitconf_finish(struct repo *repo, struct fail *fail);
void gitconf_release(struct gitconf *conf);

#endif
