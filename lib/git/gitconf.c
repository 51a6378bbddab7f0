/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "gitconf.h"

#include "name.h"
#include "number.h"
#include "repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MIB ((int64_t)1024 * 1024)

int gitconf_init(struct gitconf *conf, UNUSED struct fail *fail)
{
	*conf = (struct gitconf){
		.lock_timeout = 10000,
		.max_file_size = 100 * MIB,
		.max_snapshot_bytes = 2048 * MIB,
		.segment_max = 256,
		.claim_timeout = 120000,
		.task_cap = DURATION_NEVER,
		.ttl = (int64_t)24 * 3600 * 1000,
		.deadline = INT64_MAX,
		.grace = 5000,
		.run_deadline = (int64_t)3600 * 1000,
		.ledger_keep = (int64_t)30 * 24 * 3600 * 1000,
		.log_all_ref_updates = -1,
		.auto_save = true,
		.file_mode = true,
		.trust_ctime = true,
	};
	return 0;
}

static void set_string(char **field, const char *value)
{
	free(*field);
	*field = value ? mem_strdup(value) : NULL;
}

static int take_engine(char **engine, const char *value, const char *what, struct fail *fail)
{
	if (strcmp(value, "auto") && strcmp(value, "native") && strcmp(value, "git"))
		return fail_set(fail, FAIL_USAGE, "%s: '%s' is not auto, native or git", what,
				value);
	set_string(engine, value);
	return 0;
}

/* One rule; the empty one forgets those before it, as other lists of git's have it. */
static void take_noise(struct argv *noise, const char *value)
{
	if (*value)
		argv_push(noise, value);
	else
		argv_release(noise);
}

static int take_durability(bool *durable, const char *value, const char *what, struct fail *fail)
{
	if (strcmp(value, "process") && strcmp(value, "full"))
		return fail_set(fail, FAIL_USAGE, "%s: '%s' is not process or full", what, value);
	*durable = !strcmp(value, "full");
	return 0;
}

static int take_clean(bool *all, const char *value, const char *what, struct fail *fail)
{
	if (strcmp(value, "keep-ignored") && strcmp(value, "all"))
		return fail_set(fail, FAIL_USAGE, "%s: '%s' is not keep-ignored or all", what,
				value);
	*all = !strcmp(value, "all");
	return 0;
}

/* One setting of the pool's. 0: it was one; 1: it is none of them. */
static int take_pool(struct gitconf *conf, const char *name, const char *value, const char *what,
		     struct fail *fail)
{
	if (!strcmp(name, "poolmax"))
		return number_parse(value, what, 0, 1 << 20, &conf->pool_max, fail);
	if (!strcmp(name, "claimtimeout")) {
		conf->claim_timeout_from = !strncmp(what, "config", 6)
						   ? "config interlock.claimTimeout"
						   : "GIT_INTERLOCK_CLAIM_TIMEOUT";
		return duration_parse(value, what, &conf->claim_timeout, fail);
	}
	if (!strcmp(name, "taskcap"))
		return duration_parse(value, what, &conf->task_cap, fail);
	if (!strcmp(name, "ttl"))
		return duration_parse(value, what, &conf->ttl, fail);
	if (!strcmp(name, "deadline"))
		return duration_parse(value, what, &conf->deadline, fail);
	if (!strcmp(name, "grace"))
		return duration_parse(value, what, &conf->grace, fail);
	if (!strcmp(name, "lockworktrees"))
		return bool_parse(value, what, &conf->lock_worktrees, fail);
	if (!strcmp(name, "autosave"))
		return bool_parse(value, what, &conf->auto_save, fail);
	if (!strcmp(name, "clean"))
		return take_clean(&conf->clean_all, value, what, fail);
	if (strcmp(name, "pooldir") != 0)
		return 1;
	if (value[0] != '/')
		return fail_set(fail, FAIL_USAGE, "%s: '%s' is not an absolute path", what, value);
	set_string(&conf->pool_dir, value);
	return 0;
}

/*
 * One setting of ours, from config or environment; `name` is the config's, in lower case.
 * 1: there is none of that name.
 */
static int take_own(struct gitconf *conf, const char *name, const char *value, const char *what,
		    struct fail *fail)
{
	if (!strcmp(name, "locktimeout"))
		return duration_parse(value, what, &conf->lock_timeout, fail);
	if (!strcmp(name, "maxfilesize"))
		return size_parse(value, what, &conf->max_file_size, fail);
	if (!strcmp(name, "maxsnapshotbytes"))
		return size_parse(value, what, &conf->max_snapshot_bytes, fail);
	if (!strcmp(name, "allowhome"))
		return bool_parse(value, what, &conf->allow_home, fail);
	if (!strcmp(name, "durability"))
		return take_durability(&conf->durable, value, what, fail);
	if (!strcmp(name, "engine"))
		return take_engine(&conf->engine, value, what, fail);
	if (!strcmp(name, "segmentmax"))
		return number_parse(value, what, 1, 1 << 20, &conf->segment_max, fail);
	if (!strcmp(name, "rundeadline"))
		return duration_parse(value, what, &conf->run_deadline, fail);
	if (!strcmp(name, "ledgerkeep"))
		return duration_parse(value, what, &conf->ledger_keep, fail);
	if (!strcmp(name, "noise")) {
		take_noise(&conf->noise, value);
		return 0;
	}
	if (!strcmp(name, "session")) {
		if (name_check(value, what, fail) < 0)
			return fail->kind;
		set_string(&conf->session, value);
		return 0;
	}
	return take_pool(conf, name, value, what, fail);
}

/*
 * The same; who only looks at the repository goes on with the default, and says so. A name that
 * nothing of ours has may be a newer program's, and stops nobody.
 */
static int take_own_of(struct repo *repo, const char *name, const char *value, const char *what,
		       struct fail *fail)
{
	int taken = take_own(&repo->conf, name, value, what, fail);

	if (taken < 0 && repo->tolerant) {
		argv_push(&repo->conf.malformed, fail->message);
		fail_clear(fail);
	} else if (taken > 0 && repo->tolerant) {
		argv_take(&repo->conf.unknown, mem_printf("interlock.%s", name));
	}
	return fail->kind;
}

/* Is a boolean of git's set to `wanted`? A value that is no boolean is git's to judge. */
static bool git_bool_is(struct repo *repo, const char *key, const char *value, bool wanted)
{
	struct fail ignored = FAIL_INIT;
	bool set = true;

	if (value && bool_parse(value, key, &set, &ignored) < 0)
		repo_use_git(repo, key);
	return set == wanted;
}

/* git's rule: umask/false is private, group/true, all/world/everybody, or an octal mode. */
static void take_shared_repository(struct repo *repo, const char *value)
{
	struct fail ignored = FAIL_INIT;
	bool on = true;
	char *end;
	unsigned long mode;

	repo->modes.extra = 0;
	if (value && !strcmp(value, "umask"))
		return;
	if (!value || !strcmp(value, "group"))
		repo->modes.extra = 0660;
	else if (!strcmp(value, "all") || !strcmp(value, "world") || !strcmp(value, "everybody"))
		repo->modes.extra = 0664;
	else if ((mode = strtoul(value, &end, 8)) > 7 && !*end)
		repo->modes.extra = (mode_t)mode & 0666;
	else if (!*end && mode == 1)
		repo->modes.extra = 0660;
	else if (!*end && mode == 2)
		repo->modes.extra = 0664;
	else if (bool_parse(value, "core.sharedRepository", &on, &ignored) == 0 && on)
		repo->modes.extra = 0660;
	if (repo->modes.extra)
		repo_use_git(repo, "core.sharedRepository");
}

/* A path of git's config: "~/" is the home; other forms are git's to expand. */
static void take_path(struct repo *repo, char **field, const char *key, const char *value)
{
	const char *home = getenv("HOME");

	set_string(field, value);
	if (!value || value[0] == '/')
		return;
	if (!strncmp(value, "~/", 2) && home) {
		free(*field);
		*field = mem_printf("%s/%s", home, value + 2);
	} else if (*value) {
		repo_use_git(repo, key);
	}
}

static void take_core(struct repo *repo, const char *name, const char *value)
{
	struct gitconf *conf = &repo->conf;

	if (!strcmp(name, "autocrlf"))
		conf->autocrlf = !value || !strcasecmp(value, "input") ||
				 git_bool_is(repo, "core.autocrlf", value, true);
	else if (!strcmp(name, "filemode"))
		conf->file_mode = git_bool_is(repo, "core.fileMode", value, true);
	else if (!strcmp(name, "trustctime"))
		conf->trust_ctime = git_bool_is(repo, "core.trustctime", value, true);
	else if (!strcmp(name, "checkstat"))
		conf->check_stat_minimal = value && !strcasecmp(value, "minimal");
	else if (!strcmp(name, "excludesfile"))
		take_path(repo, &conf->excludes_file, "core.excludesFile", value);
	else if (!strcmp(name, "attributesfile"))
		take_path(repo, &conf->attributes_file, "core.attributesFile", value);
	else if (!strcmp(name, "hookspath"))
		set_string(&conf->hooks_path, value);
	else if (!strcmp(name, "sharedrepository"))
		take_shared_repository(repo, value);
	else if (!strcmp(name, "logallrefupdates"))
		conf->log_all_ref_updates =
			value && !strcasecmp(value, "always")
				? 2
				: git_bool_is(repo, "core.logAllRefUpdates", value, true);
	else if (!strcmp(name, "symlinks") && git_bool_is(repo, "core.symlinks", value, false))
		repo_use_git(repo, "core.symlinks=false");
	else if (!strcmp(name, "ignorecase") && git_bool_is(repo, "core.ignoreCase", value, true))
		repo_use_git(repo, "core.ignoreCase=true");
	else if (!strcmp(name, "sparsecheckout")) {
		repo->sparse = git_bool_is(repo, "core.sparseCheckout", value, true);
		if (repo->sparse)
			repo_use_git(repo, "sparse checkout");
	} else if (!strcmp(name, "worktree"))
		repo_use_git(repo, "core.worktree");
	else if (!strncmp(name, "fsync", 5)) {
		conf->fsync_set = true;
		repo_use_git(repo, "core.fsync");
	}
}

static void take_extension(struct repo *repo, const char *name, const char *value)
{
	/* What is known to leave the form of refs alone; for anything else git writes them. */
	static const char *const harmless[] = {"objectformat",	    "worktreeconfig",
					       "relativeworktrees", "preciousobjects",
					       "partialclone",	    "compatobjectformat"};
	char reason[64];

	if (!strcmp(name, "preciousobjects"))
		repo->conf.precious_objects =
			git_bool_is(repo, "extensions.preciousObjects", value, true);
	if (!strcmp(name, "noop") || !strcmp(name, "noop-v1"))
		return;
	if (!strcmp(name, "refstorage")) {
		if (!value || strcmp(value, "files") != 0)
			repo->refs_by_git = true;
		repo_use_git(repo, value && !strcmp(value, "reftable") ? "reftable"
								       : "extensions.refStorage");
		return;
	}
	if (!strcmp(name, "objectformat")) {
		if (!value || strcmp(value, "sha1") != 0)
			repo_use_git(repo, value && !strcmp(value, "sha256")
						   ? "sha256"
						   : "extensions.objectFormat");
		return;
	}
	if (!strcmp(name, "worktreeconfig"))
		repo->conf.worktree_config =
			git_bool_is(repo, "extensions.worktreeConfig", value, true);
	if (!strcmp(name, "relativeworktrees"))
		repo->conf.relative_extension =
			git_bool_is(repo, "extensions.relativeWorktrees", value, true);
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
		if (!strcmp(name, harmless[i])) {
			snprintf(reason, sizeof(reason), "extensions.%s", name);
			repo_use_git(repo,
				     !strcmp(name, "partialclone") ? "partial clone" : reason);
			return;
		}
	repo->refs_by_git = true;
	snprintf(reason, sizeof(reason), "extensions.%.40s", name);
	repo_use_git(repo, reason);
}

static bool ends_with(const char *text, const char *tail)
{
	size_t n = strlen(text), t = strlen(tail);

	return n >= t && !strcmp(text + n - t, tail);
}

/*
 * "hook.<name>.event" and ".command": git 2.54 and newer run them. An empty event takes back
 * those before it, which is git's to know.
 */
static void take_hook(struct gitconf *conf, const char *name, const char *value)
{
	const char *dot = strrchr(name, '.');
	char *hook = dot ? mem_dup(name, (size_t)(dot - name)) : NULL;

	if (dot && !strcmp(dot, ".command")) {
		argv_push(&conf->hook_commands, hook);
		argv_push(&conf->hook_commands, value ? value : "");
	} else if (dot && !strcmp(dot, ".event")) {
		if (value && !strcmp(value, "reference-transaction"))
			argv_push(&conf->transaction_hooks, hook);
		argv_push(&conf->config_hooks, hook);
	}
	free(hook);
}

/* "filter.<name>.clean", ".process" and ".required" make a driver of the name. */
static void take_filter(struct gitconf *conf, const char *name)
{
	const char *dot = strrchr(name, '.');

	if (dot &&
	    (!strcmp(dot, ".clean") || !strcmp(dot, ".process") || !strcmp(dot, ".required")))
		argv_take(&conf->filters, mem_dup(name, (size_t)(dot - name)));
}

/* "includeIf.<condition>.path": libgit2 passes over the conditions that it does not know. */
static void take_include(struct repo *repo, const char *condition)
{
	static const char *const known[] = {"gitdir:", "gitdir/i:", "onbranch:"};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strncmp(condition, known[i], strlen(known[i])))
			return;
	repo_use_git(repo, "includeIf");
}

int gitconf_take(struct repo *repo, const char *key, const char *value, struct fail *fail)
{
	struct gitconf *conf = &repo->conf;
	char what[128];

	if (!strncmp(key, "interlock.", 10)) {
		snprintf(what, sizeof(what), "config %.100s", key);
		return take_own_of(repo, key + 10, value ? value : "true", what, fail);
	}
	if (!strncmp(key, "core.", 5))
		take_core(repo, key + 5, value);
	else if (!strncmp(key, "extensions.", 11))
		take_extension(repo, key + 11, value);
	else if (!strncmp(key, "filter.", 7))
		take_filter(conf, key + 7);
	else if (!strncmp(key, "hook.", 5))
		take_hook(conf, key + 5, value);
	else if (!strcmp(key, "worktree.userelativepaths"))
		conf->relative_worktrees =
			git_bool_is(repo, "worktree.useRelativePaths", value, true);
	else if (!strcmp(key, "user.name"))
		set_string(&conf->user_name, value);
	else if (!strcmp(key, "user.email"))
		set_string(&conf->user_email, value);
	else if (!strcmp(key, "author.name"))
		set_string(&conf->author_name, value);
	else if (!strcmp(key, "author.email"))
		set_string(&conf->author_email, value);
	else if (!strcmp(key, "committer.name"))
		set_string(&conf->committer_name, value);
	else if (!strcmp(key, "committer.email"))
		set_string(&conf->committer_email, value);
	else if (!strncmp(key, "includeif.", 10))
		take_include(repo, key + 10);
	else if (!strcmp(key, "attr.tree"))
		repo_use_git(repo, "attr.tree");
	else if (!strncmp(key, "remote.", 7) &&
		 (ends_with(key, ".promisor") || ends_with(key, ".partialclonefilter")))
		repo_use_git(repo, "partial clone");
	else if (!strcmp(key, "safe.barerepository"))
		repo_use_git(repo, "safe.bareRepository");
	else if (!strncmp(key, "submodule.", 10) && ends_with(key, ".ignore"))
		repo_use_git(repo, "submodule.ignore");
	else if (!strcmp(key, "diff.ignoresubmodules"))
		repo_use_git(repo, "diff.ignoreSubmodules");
	return 0;
}

/* The variable holds the whole list, one rule on a line. */
static void finish_noise(struct gitconf *conf)
{
	const char *p = getenv("GIT_INTERLOCK_NOISE");

	if (!p)
		return;
	argv_release(&conf->noise);
	while (*p) {
		size_t len = strcspn(p, "\n");

		if (len)
			argv_take(&conf->noise, mem_dup(p, len));
		p += len + (p[len] == '\n');
	}
}

int gitconf_finish(struct repo *repo, struct fail *fail)
{
	static const struct {
		const char *variable, *name;
	} own[] = {
		{"GIT_INTERLOCK_LOCK_TIMEOUT", "locktimeout"},
		{"GIT_INTERLOCK_MAX_FILE_SIZE", "maxfilesize"},
		{"GIT_INTERLOCK_MAX_SNAPSHOT_BYTES", "maxsnapshotbytes"},
		{"GIT_INTERLOCK_ALLOW_HOME", "allowhome"},
		{"GIT_INTERLOCK_DURABILITY", "durability"},
		{"GIT_INTERLOCK_ENGINE", "engine"},
		{"GIT_INTERLOCK_SESSION", "session"},
		{"GIT_INTERLOCK_POOL_DIR", "pooldir"},
		{"GIT_INTERLOCK_POOL_MAX", "poolmax"},
		{"GIT_INTERLOCK_CLAIM_TIMEOUT", "claimtimeout"},
		{"GIT_INTERLOCK_TASK_CAP", "taskcap"},
		{"GIT_INTERLOCK_TTL", "ttl"},
		{"GIT_INTERLOCK_DEADLINE", "deadline"},
		{"GIT_INTERLOCK_GRACE", "grace"},
		{"GIT_INTERLOCK_CLEAN", "clean"},
		{"GIT_INTERLOCK_RUN_DEADLINE", "rundeadline"},
		{"GIT_INTERLOCK_LEDGER_KEEP", "ledgerkeep"},
		{"GIT_INTERLOCK_AUTO_SAVE", "autosave"},
		{"GIT_INTERLOCK_LOCK_WORKTREES", "lockworktrees"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		const char *value = getenv(own[i].variable);

		if (value && take_own_of(repo, own[i].name, value, own[i].variable, fail) < 0)
			return fail->kind;
	}
	finish_noise(&repo->conf);
	return 0;
}

void gitconf_release(struct gitconf *conf)
{
	char *fields[] = {conf->session,	 conf->user_name,     conf->user_email,
			  conf->author_name,	 conf->author_email,  conf->committer_name,
			  conf->committer_email, conf->excludes_file, conf->attributes_file,
			  conf->hooks_path,	 conf->engine,	      conf->pool_dir};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		free(fields[i]);
	argv_release(&conf->noise);
	argv_release(&conf->filters);
	argv_release(&conf->config_hooks);
	argv_release(&conf->transaction_hooks);
	argv_release(&conf->hook_commands);
	argv_release(&conf->malformed);
	argv_release(&conf->unknown);
	memset(conf, 0, sizeof(*conf));
}
