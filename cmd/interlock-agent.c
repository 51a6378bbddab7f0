/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * git interlock agent-hook <agent>: what an agent's hooks call.
 *
 * Who holds the worktree of a WorktreeCreate: the agent's process, with a watcher
 * (poolwatch.h), as with `git worktree-claim --owner-pid`. The hook itself is over in a moment,
 * and so is the shell that the agent started it with. A lease by time would keep the
 * worktree of a killed agent for a day, or take that of one which thinks for longer; the
 * end of the process is what is meant, and the kernel tells it: the agent is the one who
 * talks with us (otherend.h). Its commits pass the pre-commit guard, because they
 * descend from it, and so do its hooks. Where it cannot be found (it is in another container, or
 * /proc is hidden) the lease is one by time, interlock.ttl, which each save renews.
 *
 * Exit statuses. For an agent 2 means "no, do not go on"; it is never given. Anything
 * else but 0 is shown to the user and stops nothing, except that a WorktreeCreate has failed.
 * Hence what fails here fails aloud.
 *
 * What is started from here has neither our input nor our output: an agent waits for the end of
 * file on both (keep_streams()).
 *
 * SessionEnd has a second with some agents, one and a half with others, and what it takes to
 * rescue a worktree depends on what is in it. So a child does it, in a session of its own, and
 * we wait for it no longer than END_WAIT_MS. Crash story: a child that is killed leaves
 * what any killed save and release leave (snapshot.h, poolrelease.c). One that finds the
 * agent still at work inside leaves the slot to the watcher, which comes next.
 */
#include "interlock.h"

#include "agent.h"
#include "clock.h"
#include "file.h"
#include "ledger.h"
#include "name.h"
#include "otherend.h"
#include "pool.h"
#include "poolwatch.h"
#include "shield.h"
#include "snapshot.h"
#include "worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_WAIT_MS 700

struct command {
	const char *pool;
	int64_t owner_pid;
	enum agent_kind kind;
	struct agent_event event;
	int answer; /* our standard output; 1 is /dev/null by then */
};

static const char *const synopsis[] = {
	"git interlock agent-hook [--pool <name>] [--owner-pid <pid>] <agent>",
	NULL,
};

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	struct opt_args args;
	const struct opt table[] = {
		OPT_STRING(0, "pool", &o->pool, "name",
			   "which pool its worktrees are from (default 'default')"),
		OPT_NUMBER("owner-pid", &o->owner_pid,
			   "the agent's process, where it is not found"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &args, fail);

	if (r != OPT_OK)
		return r;
	if (args.count != 1)
		return fail_set(fail, FAIL_USAGE, "the name of one agent is needed");
	if (name_check(o->pool, "option --pool", fail) < 0)
		return fail->kind;
	if (o->owner_pid == 0 || o->owner_pid > INT32_MAX)
		return fail_set(fail, FAIL_USAGE, "option --owner-pid: %" PRId64 " is no process",
				o->owner_pid);
	return agent_kind_named(args.items[0], &o->kind, fail);
}

/*
 * From now on 1 and 2 are /dev/null, for all that is started; what we say ourselves goes
 * where it always went.
 */
static int keep_streams(struct command *o, struct fail *fail)
{
	/* One that was closed is there for reading only (status_open_streams()). */
	bool heard = (fcntl(STDERR_FILENO, F_GETFL) & O_ACCMODE) != O_RDONLY;
	int error = heard ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	FILE *talk = error < 0 ? fopen("/dev/null", "we") : fdopen(error, "we");

	o->answer = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (o->answer < 0 || null < 0 || !talk)
		return fail_errno(fail, "keep the standard streams");
	setvbuf(talk, NULL, _IONBF, 0);
	stderr = talk;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return fail_errno(fail, "open /dev/null");
	close(null);
	return 0;
}

/* ---- where ----------------------------------------------------------------------------------- */

/*
 * Into the directory that the agent works in. Variables of git that we were started with are
 * about the directory that we were started in.
 */
static int enter(const char *path, struct fail *fail)
{
	struct stat here, there;
	int dir;

	if (!path)
		return 0;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 && (errno == ENOENT || errno == ENOTDIR))
		return fail_set(fail, FAIL_GONE, "there is no directory '%s'", path);
	if (dir < 0)
		return fail_errno(fail, "open '%s'", path);
	if (stat(".", &here) < 0 || fstat(dir, &there) < 0 || here.st_dev != there.st_dev ||
	    here.st_ino != there.st_ino)
		worktree_leave_for(dir, fail);
	close(dir);
	return fail->kind;
}

/* Is there anything here that git would look at? An agent is often started where there is not. */
static bool near_repository(void)
{
	char *path = getcwd(NULL, 0);
	bool found = getenv("GIT_DIR") != NULL;

	for (size_t len = path ? strlen(path) : 0; len && !found;) {
		char *git = mem_printf("%.*s/.git", (int)len, path);

		found = faccessat(AT_FDCWD, git, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
		free(git);
		while (len && path[len - 1] != '/')
			len--;
		while (len && path[len - 1] == '/')
			len--;
	}
	if (!found)
		found = faccessat(AT_FDCWD, "/.git", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	free(path);
	return found;
}

/*
 * For what only saves: true when there is something to open; else there is nothing to save,
 * which is no failure: no directory, no repository.
 */
static bool go_to_save(const struct command *o, struct fail *fail)
{
	if (enter(o->event.cwd, fail) == FAIL_GONE) {
		fail_clear(fail);
		return false;
	}
	return fail->kind == 0 && near_repository();
}

/* ---- save ------------------------------------------------------------------------------------ */

/* Where the file really is; NULL when its directory is gone. The caller frees. */
static char *real_path(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *dir = slash == file ? mem_strdup("/") : mem_dup(file, (size_t)(slash - file));
	char *real = realpath(dir, NULL);
	char *path = NULL;

	if (real && slash[1])
		path = mem_printf("%s/%s", strcmp(real, "/") != 0 ? real : "", slash + 1);
	free(real);
	free(dir);
	return path;
}

/* What is behind the directory in the path; NULL when it is not below it. */
static const char *below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && path[len] == '/' ? path + len + 1 : NULL;
}

/*
 * The file is not in this work tree. When it is in another one of the same repository (a
 * subagent's), that is the one to save.
 */
static const char *look_in_others(struct repo *repo, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = mem_dup(path, (size_t)(slash - path));
	char *common = mem_strdup(repo->common_dir), *back = mem_strdup(repo->work_tree);
	struct fail ignored = FAIL_INIT;
	const char *rest = NULL;
	struct repo other;

	if (enter(dir, &ignored) == 0 && near_repository()) {
		if (repo_open(&other, REPO_WORK_TREE, &ignored) == 0 &&
		    !strcmp(other.common_dir, common))
			rest = below(path, other.work_tree);
		if (!rest)
			repo_close(&other);
	}
	if (rest) {
		repo_close(repo);
		*repo = other;
	} else {
		fail_clear(&ignored);
		enter(back, &ignored);
	}
	free(dir);
	free(common);
	free(back);
	return rest;
}

static void log_failure(struct repo *repo, const char *chain, const char *session,
			const struct fail *fail)
{
	struct fail ignored = FAIL_INIT;
	struct ledger_event event = {
		.event = "save-failed", .ref = chain, .session = session, .reason = fail->message};

	ledger_append(repo, &event, LEDGER_WAIT, &ignored);
}

/*
 * A pathspec for that file and no other. One without special characters is given as a
 * path, which the native engine takes.
 */
static char *spec_of(const struct repo *repo, const char *file)
{
	static const char special[] = "*?[\\";
	struct bytes spec = BYTES_INIT;

	if (file[0] != ':' && !strpbrk(file, special)) {
		bytes_addf(&spec, "%s/%s", repo->work_tree, file);
		return bytes_take(&spec);
	}
	bytes_adds(&spec, ":(top)");
	for (const char *p = file; *p; p++) {
		if (strchr(special, *p))
			bytes_addc(&spec, '\\');
		bytes_addc(&spec, *p);
	}
	return bytes_take(&spec);
}

static int save_paths(const struct command *o, struct repo *repo, const char *file,
		      struct fail *fail)
{
	char *session = agent_session(&o->event);
	char *spec = file ? spec_of(repo, file) : NULL;
	struct bytes message = BYTES_INIT;
	struct argv trailers = ARGV_INIT;
	struct snapshot saved = {0};
	struct snapshot_options options = {
		.session = session ? session : repo->conf.session,
		.trailers = &trailers,
		.paths = spec ? (const char *const *)&spec : NULL,
		.path_count = spec != NULL,
	};

	agent_message(&o->event, file, &message);
	argv_pushf(&trailers, "Agent: %s", agent_kind_name(o->kind));
	options.message = message.data;
	if (snapshot_save(repo, &options, &saved, fail) < 0 && !file)
		log_failure(repo, saved.chain, options.session, fail);
	snapshot_release(&saved);
	argv_release(&trailers);
	bytes_release(&message);
	free(session);
	free(spec);
	return fail->kind;
}

/*
 * A tool that says which file it wrote pays for that file only, and the checkpoint says
 * that this session wrote it. One that is gone again, or is in a nested repository, cannot be
 * saved by itself.
 */
static int save_here(const struct command *o, struct repo *repo, const char *file,
		     struct fail *fail)
{
	struct fail alone = FAIL_INIT;

	if (file && save_paths(o, repo, file, &alone) == 0)
		return 0;
	return save_paths(o, repo, NULL, fail);
}

static int save_in(const struct command *o, struct repo *repo, struct fail *fail)
{
	char *path = o->event.file ? real_path(o->event.file) : NULL;
	const char *file = path ? below(path, repo->work_tree) : NULL;

	if (path && !file)
		file = look_in_others(repo, path);
	/* It is used, whether there is something to save or not. */
	pool_touch(repo);
	if (repo->conf.auto_save)
		save_here(o, repo, file, fail);
	free(path);
	return fail->kind;
}

static int save(const struct command *o, struct fail *fail)
{
	struct repo repo;

	if (!go_to_save(o, fail))
		return fail->kind;
	/* Without a work tree there is nothing to save either. */
	if (repo_open(&repo, REPO_ANY, fail) == 0 && repo.work_tree && repo.prefix)
		save_in(o, &repo, fail);
	repo_close(&repo);
	return fail->kind;
}

/* ---- WorktreeCreate -------------------------------------------------------------------------- */

static void say_waiting(UNUSED void *arg, const char *whom)
{
	status_say("waiting: %s", whom);
}

static void say_warning(UNUSED void *arg, const char *line)
{
	status_say("warning: %s", line);
}

/* In seconds, as a record has it. */
static int64_t seconds_of(int64_t ms)
{
	return ms == INT64_MAX ? INT64_MAX : ms < 1000 ? 1 : ms / 1000;
}

static void choose_holder(pid_t agent, const struct repo *repo, struct pool_claim *wish)
{
	struct fail ignored = FAIL_INIT;
	struct procid id;

	wish->kind = agent > 0 && procid_of(agent, &id, &ignored) == 0 ? LEASE_OWNER : LEASE_TIME;
	wish->owner = agent;
	wish->ttl = seconds_of(repo->conf.ttl);
	/* Only the same session knows the key: its own lease goes on. */
	wish->resume = wish->kind == LEASE_TIME;
}

/* The path is told when it is held; a slot that nobody can hold goes back. */
static int hold_and_print(const struct command *o, struct pool_claimed *claimed, struct fail *fail)
{
	struct slot *slot = &claimed->slot;
	pid_t watcher;
	char *line;

	if (slot->record.kind == LEASE_OWNER && !claimed->again &&
	    pool_watch(slot, &watcher, fail) < 0) {
		const struct pool_release how = {.lease = slot->record.lease, .supervised = true};
		struct pool_released released;
		struct fail ignored = FAIL_INIT;

		pool_release(slot, &how, &released, &ignored);
		pool_released_release(&released);
		return fail->kind;
	}
	line = mem_printf("%s\n", slot->path);
	file_write_fd(o->answer, "standard output", line, strlen(line), fail);
	free(line);
	return fail->kind;
}

static int claim(const struct command *o, pid_t agent, struct fail *fail)
{
	struct bytes chatter = BYTES_INIT;
	char *key;
	struct pool_claimed claimed = {.slot = {.admin = -1, .work = -1}};
	struct pool_claim wish = {
		.pool = o->pool,
		.waiting = say_waiting,
		.warn = say_warning,
		.chatter = &chatter,
	};
	struct repo repo;
	int64_t patience;

	if (enter(o->event.cwd, fail) < 0)
		return fail->kind;
	wish.key = key = agent_key(&o->event);
	if (repo_open(&repo, REPO_ANY, fail) == 0 &&
	    pool_base(&repo, NULL, NULL, &wish.base, fail) == 0 &&
	    pool_patience(&repo.conf, -1, NULL, &patience, fail) == 0) {
		choose_holder(agent, &repo, &wish);
		wish.max = repo.conf.pool_max;
		wish.clean_all = repo.conf.clean_all;
		wish.deadline = patience ? clock_deadline(patience) : 0;
		if (pool_claim(&repo, &wish, &claimed, fail) == 0)
			hold_and_print(o, &claimed, fail);
		fwrite(chatter.data, 1, chatter.len, stderr);
		pool_claimed_release(&claimed);
	}
	repo_close(&repo);
	bytes_release(&chatter);
	free(key);
	return fail->kind;
}

/* ---- WorktreeRemove -------------------------------------------------------------------------- */

static bool has_key_of(const struct slot *slot, const char *prefix)
{
	return slot->record.key && !strncmp(slot->record.key, prefix, strlen(prefix));
}

/* The record may be another session's by now: slots are used again. */
static int check_owner(const struct command *o, const struct slot *slot, struct fail *fail)
{
	char *prefix = agent_key_prefix(&o->event);
	struct bytes who = BYTES_INIT;

	if (!(o->event.session && has_key_of(slot, prefix)) &&
	    !(slot->record.kind == LEASE_OWNER && slot_is_callers(slot))) {
		slot_describe_holder(slot, &who);
		fail_set(fail, FAIL_NO, "slot '%s' is not this session's: it is %s%s%s", slot->name,
			 slot_state_name(slot->state), who.len ? " by " : "",
			 who.len ? who.data : "");
	}
	bytes_release(&who);
	free(prefix);
	return fail->kind;
}

static void tell_released(const struct slot *slot, const struct pool_released *released)
{
	if (released->rescue.ref)
		status_say(
			"slot %s: its work is in %s; git shadow-commit restore %s brings it back",
			slot->name, released->rescue.ref, released->rescue.ref);
	if (released->branch)
		status_say("slot %s: branch %s, %" PRIu64
			   " commit(s) on it that the base does not have",
			   slot->name, released->branch + 11, released->ahead);
}

static int release(struct slot *slot, struct fail *fail)
{
	const struct pool_release how = {.lease = slot->record.lease,
					 .clean_all = slot->repo->conf.clean_all};
	struct pool_released released;

	if (pool_release(slot, &how, &released, fail) == 0)
		tell_released(slot, &released);
	pool_released_release(&released);
	return fail->kind;
}

/* What is not there any more is removed; what is no slot is not ours to remove. */
static void not_found(const char *path, struct fail *fail)
{
	if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		fail_clear(fail);
	else
		fail->kind = FAIL_NO;
}

static int remove_here(const struct command *o, struct fail *fail)
{
	struct slot slot = {.admin = -1, .work = -1};
	struct repo repo;

	if (repo_open(&repo, REPO_ANY, fail) == 0) {
		if (slot_find(&repo, o->event.worktree, &slot, fail) == FAIL_GONE)
			not_found(o->event.worktree, fail);
		else if (fail->kind == 0 && slot.state != STATE_FREE &&
			 check_owner(o, &slot, fail) == 0)
			release(&slot, fail);
	}
	slot_close(&slot);
	repo_close(&repo);
	return fail->kind;
}

static int remove_worktree(const struct command *o, struct fail *fail)
{
	if (!o->event.worktree)
		return fail_set(fail, FAIL_FATAL, "standard input names no 'worktree_path'");
	if (enter(o->event.cwd, fail) == 0 && near_repository())
		return remove_here(o, fail);
	/* The directory that the agent is in may be gone, or belong to no repository. */
	fail_clear(fail);
	if (enter(o->event.worktree, fail) == FAIL_GONE)
		fail_clear(fail); /* there is nothing left to remove */
	else if (fail->kind == 0)
		remove_here(o, fail);
	return fail->kind;
}

/* ---- SessionEnd ------------------------------------------------------------------------------ */

/* One that cannot be given back now stays held by the agent's process, and goes with it. */
static int release_here(const struct command *o, struct fail *fail)
{
	char *prefix = agent_key_prefix(&o->event);
	struct slots slots = {0};
	struct repo repo;

	if (repo_open(&repo, REPO_ANY, fail) == 0 &&
	    slots_look(&repo, NULL, false, &slots, fail) == 0)
		for (size_t i = 0; i < slots.count; i++) {
			struct fail one = FAIL_INIT;

			if (has_key_of(&slots.items[i], prefix) &&
			    slots.items[i].record.phase == SLOT_LEASED &&
			    release(&slots.items[i], &one) < 0 && fail->kind == 0)
				*fail = one;
		}
	slots_release(&slots);
	repo_close(&repo);
	free(prefix);
	return fail->kind;
}

static void end_session(const struct command *o, struct fail *fail)
{
	struct fail releasing = FAIL_INIT;

	save(o, fail);
	/* Also when the directory is gone that the session was in: we are somewhere. */
	if (o->event.session && near_repository())
		release_here(o, &releasing);
	if (fail->kind == 0)
		*fail = releasing;
}

/* Holds open nothing of the agent's, which waits for the end of what it reads. */
static int let_go_of_all_but(int report)
{
	const int kept = STDERR_FILENO + 1;

	if (report != kept && dup3(report, kept, O_CLOEXEC) < 0)
		return report;
	close_range((unsigned)kept + 1, ~0U, 0);
	stderr = fopen("/dev/null", "we");
	return kept;
}

/* In the child: what it has to say goes through the pipe, as long as somebody listens. */
static void end_in_child(const struct command *o, int report)
{
	struct fail fail = FAIL_INIT;
	struct shield shield = SHIELD_INIT;
	struct fail ignored = FAIL_INIT;
	ssize_t written;

	setsid();
	signal(SIGPIPE, SIG_IGN);
	report = let_go_of_all_but(report);
	shield_raise(&shield, &ignored);
	end_session(o, &fail);
	written = write(report, &fail, sizeof(fail));
	_exit(written < 0);
}

/* The child's failure; none when its time is over before it is done. */
static int hear(int from, struct fail *fail)
{
	int64_t deadline = clock_deadline(END_WAIT_MS);
	struct pollfd poll_fd = {.fd = from, .events = POLLIN};
	struct fail told;
	int r;

	do
		r = poll(&poll_fd, 1, (int)clock_left(deadline));
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return 0;
	if (read(from, &told, sizeof(told)) == sizeof(told))
		*fail = told;
	else
		fail_set(fail, FAIL_FATAL,
			 "the end of the session was cut short; what it claimed is given back by "
			 "git worktree-reap");
	return fail->kind;
}

static int end(const struct command *o, struct fail *fail)
{
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(fail, "pipe");
	child = fork();
	if (child == 0) {
		close(ends[0]);
		end_in_child(o, ends[1]);
	}
	close(ends[1]);
	if (child < 0)
		fail_errno(fail, "fork");
	else
		hear(ends[0], fail);
	close(ends[0]);
	return fail->kind;
}

/* ---- the hook -------------------------------------------------------------------------------- */

static int act(const struct command *o, pid_t agent, struct fail *fail)
{
	switch (agent_decide(o->kind, &o->event)) {
	case AGENT_SAVE:
		return save(o, fail);
	case AGENT_CLAIM:
		return claim(o, agent, fail);
	case AGENT_RELEASE:
		return remove_worktree(o, fail);
	case AGENT_END:
		return end(o, fail);
	case AGENT_NOTHING:
		break;
	}
	return 0;
}

static int hear_event(struct command *o, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	if (agent_read(STDIN_FILENO, &text, fail) == 0)
		agent_parse(text.data, text.len, &o->event, fail);
	bytes_release(&text);
	return fail->kind;
}

int interlock_agent(int argc, char **argv)
{
	struct command o = {.pool = "default", .owner_pid = -1, .answer = -1};
	struct fail fail = FAIL_INIT;
	int r = parse(argc, argv, &o, &fail);
	pid_t agent = 0;

	if (r == OPT_HELP)
		return STATUS_OK;
	if (r == OPT_OK && hear_event(&o, &fail) == 0) {
		if (agent_decide(o.kind, &o.event) == AGENT_CLAIM)
			agent = o.owner_pid > 0 ? (pid_t)o.owner_pid : otherend_ancestor();
		if (keep_streams(&o, &fail) == 0)
			act(&o, agent, &fail);
	}
	agent_event_release(&o.event);
	return fail.kind ? status_report(INTERLOCK_COMMAND, &fail) : STATUS_OK;
}
