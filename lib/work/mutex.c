/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "mutex.h"

#include "kin.h"
#include "name.h"
#include "proc.h"
#include "quote.h"
#include "repo.h"
#include "slot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RECORD_WORD "interlock-run "
#define RECORD_MAX 65536
#define ID_LEN 32
#define CREATE_MS 1000 /* far longer than anybody asks after a lock */
#define TRIES 3

/* ---- the record of a run --------------------------------------------------------------- */

static json_t *text_value(const char *text)
{
	struct bytes line = BYTES_INIT;
	json_t *value = json_string(text);

	if (!value) { /* no UTF-8: it is for people only */
		quote_line(text, strlen(text), &line);
		value = json_stringn(line.data, line.len);
		bytes_release(&line);
	}
	if (!value)
		abort();
	return value;
}

void mutex_run_format(const struct mutex_run *run, struct bytes *out)
{
	json_t *object = json_object();
	char *text;

	json_object_set_new(object, "mutex", json_string(run->mutex));
	json_object_set_new(object, "run", json_string(run->id));
	json_object_set_new(object, "pid", json_integer(run->pid));
	json_object_set_new(object, "since", json_integer(run->since));
	json_object_set_new(object, "command", text_value(run->command));
	text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!text)
		abort();
	bytes_addf(out, RECORD_WORD "1 %s\n", text);
	free(text);
	json_decref(object);
}

static char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? mem_strdup(text) : NULL;
}

static bool get_number(const json_t *object, const char *key, int64_t low, int64_t high,
		       int64_t *out)
{
	const json_t *value = json_object_get(object, key);

	*out = json_integer_value(value);
	return json_is_integer(value) && *out >= low && *out <= high;
}

static bool read_object(const json_t *object, struct mutex_run *out)
{
	struct fail ignored = FAIL_INIT;
	int64_t pid;

	out->mutex = get_text(object, "mutex");
	out->id = get_text(object, "run");
	out->command = get_text(object, "command");
	if (!get_number(object, "pid", 1, INT32_MAX, &pid) ||
	    !get_number(object, "since", 0, INT64_MAX, &out->since))
		return false;
	out->pid = (pid_t)pid;
	return out->mutex && name_check(out->mutex, "mutex", &ignored) == 0 && out->id &&
	       slot_id_valid(out->id) && out->command;
}

int mutex_run_parse(const char *text, size_t len, struct mutex_run *out, struct fail *fail)
{
	static const size_t word = sizeof(RECORD_WORD) - 1;
	json_t *object;
	bool good;

	*out = (struct mutex_run){0};
	if (len < word || memcmp(text, RECORD_WORD, word) != 0)
		return fail_set(fail, FAIL_CORRUPT, "that is no record of a run");
	if (len < word + 2 || memcmp(text + word, "1 ", 2) != 0)
		return fail_set(fail, FAIL_UNSUPPORTED, "a record of a run of another version");
	object = json_loadb(text + word + 2, len - word - 2, JSON_REJECT_DUPLICATES, NULL);
	good = json_is_object(object) && read_object(object, out);
	json_decref(object);
	return good ? 0 : fail_set(fail, FAIL_CORRUPT, "the record of a run makes no sense");
}

void mutex_run_release(struct mutex_run *run)
{
	free(run->mutex);
	free(run->id);
	free(run->command);
	*run = (struct mutex_run){0};
}

/* ---- the files of runs ------------------------------------------------------------------ */

/* Is it "<encoded name>.<id>"? */
static bool is_of(const char *file, const char *encoded)
{
	size_t len = strlen(encoded);

	return !strncmp(file, encoded, len) && file[len] == '.' && slot_id_valid(file + len + 1);
}

/* Ids begin with the time, so the last one is the newest. */
static const char *id_of(const char *file)
{
	return file + strlen(file) - ID_LEN;
}

static bool is_run(const char *file)
{
	size_t len = strlen(file);

	return len > ID_LEN + 1 && id_of(file)[-1] == '.' && slot_id_valid(id_of(file));
}

/* Its descriptor when it is locked; else, or when it cannot be judged, a failure. */
static int open_live(int runs, const char *file, struct fail *fail)
{
	int fd = file_open(runs, file, O_RDONLY, NULL, fail);

	if (fd < 0)
		return fd;
	if (lock_probe_open(fd, fail) == FAIL_BUSY) {
		fail_clear(fail);
		return fd;
	}
	close(fd);
	return fail->kind ? fail->kind : fail_set(fail, FAIL_GONE, "the run is over");
}

/* The newest run of that name that is under way; "" when there is none. */
static int find_live(int runs, const char *encoded, struct bytes *found, struct fail *fail)
{
	struct bytes names = BYTES_INIT;

	bytes_clear(found);
	if (file_each_name(runs, &names, fail) < 0)
		goto done;
	for (char *file = names.data; file < names.data + names.len; file += strlen(file) + 1) {
		struct fail judged = FAIL_INIT;
		int fd;

		if (!is_of(file, encoded) ||
		    (found->len && strcmp(id_of(file), id_of(found->data)) < 0))
			continue;
		fd = open_live(runs, file, &judged);
		if (fd < 0)
			continue;
		close(fd);
		bytes_clear(found);
		bytes_adds(found, file);
	}
done:
	bytes_release(&names);
	return fail->kind;
}

static int read_run(int runs, const char *file, struct mutex_run *run, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	*run = (struct mutex_run){0};
	if (file_read(runs, file, RECORD_MAX, &text, fail) == 0)
		mutex_run_parse(text.data, text.len, run, fail);
	bytes_release(&text);
	return fail->kind;
}

int mutex_look(struct repo *repo, struct mutex_runs *out, struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	/* Only looked into: it is made by who runs something. */
	int runs = openat(repo->common_fd, "interlock/runs",
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	*out = (struct mutex_runs){0};
	if (runs < 0)
		return 0;
	file_each_name(runs, &names, fail);
	for (char *file = names.data; file < names.data + names.len; file += strlen(file) + 1) {
		struct fail judged = FAIL_INIT;
		struct mutex_run run;
		int fd = is_run(file) ? open_live(runs, file, &judged) : -1;

		if (fd < 0)
			continue;
		close(fd);
		if (read_run(runs, file, &run, &judged) == 0) {
			MEM_GROW(out->items, out->cap, out->count + 1);
			out->items[out->count++] = run;
		} else {
			mutex_run_release(&run);
		}
	}
	bytes_release(&names);
	close(runs);
	return fail->kind;
}

/* Does nobody hold the mutex, who may be about to lock a new file of it? */
static bool mutex_is_free(int locks, const char *lock)
{
	enum lock_state state = locks < 0 ? LOCK_ABSENT : lock_look(locks, lock);

	return state == LOCK_ABSENT || state == LOCK_FREE;
}

/* Is it there, and nobody's? One that is gone has ended as it should. */
static bool is_left(int runs, const char *file)
{
	return lock_look(runs, file) == LOCK_FREE;
}

static bool sweep_run(struct repo *repo, int locks, int runs, const char *file, bool dry_run)
{
	char *lock = mem_printf("mutex-%.*s", (int)(strlen(file) - ID_LEN - 1), file);
	struct fail ignored = FAIL_INIT;
	struct lock held = LOCK_INIT;
	bool left = false;

	if (dry_run)
		left = mutex_is_free(locks, lock) && is_left(runs, file);
	else if (locks >= 0 && lock_take(&held, locks, lock, LOCK_EXCLUSIVE, 0, NULL, &repo->modes,
					 &ignored) == 0)
		left = is_left(runs, file) && unlinkat(runs, file, 0) == 0;
	lock_drop(&held);
	free(lock);
	return left;
}

int mutex_sweep(struct repo *repo, bool dry_run, void (*visit)(void *arg, const char *file),
		void *arg, struct fail *fail)
{
	const int how = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	int runs = openat(repo->common_fd, "interlock/runs", how);
	int locks = openat(repo->common_fd, "interlock/locks", how);
	struct bytes names = BYTES_INIT;

	if (runs >= 0)
		file_each_name(runs, &names, fail);
	for (char *file = names.data; file < names.data + names.len; file += strlen(file) + 1)
		if (is_run(file) && sweep_run(repo, locks, runs, file, dry_run))
			visit(arg, file);
	bytes_release(&names);
	if (runs >= 0)
		close(runs);
	if (locks >= 0)
		close(locks);
	return fail->kind;
}

void mutex_runs_release(struct mutex_runs *runs)
{
	for (size_t i = 0; i < runs->count; i++)
		mutex_run_release(&runs->items[i]);
	free(runs->items);
	*runs = (struct mutex_runs){0};
}

/* ---- who holds it -------------------------------------------------------------------------- */

struct place {
	struct repo *repo;
	const struct mutex_wish *wish;
	int locks, runs;
	char *encoded; /* the mutex's name */
	char *lock;    /* the lock's file */
};

static void add_span(int64_t seconds, struct bytes *out)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds >= 3600)
		bytes_addf(out, "%" PRId64 "h%02dm", seconds / 3600, (int)(seconds / 60 % 60));
	else if (seconds >= 60)
		bytes_addf(out, "%" PRId64 "m%02ds", seconds / 60, (int)(seconds % 60));
	else
		bytes_addf(out, "%" PRId64 "s", seconds);
}

static void describe_run(const struct mutex_run *run, struct bytes *out)
{
	char when[32];

	clock_rfc3339(run->since, when);
	bytes_addf(out, "(%s), since %s, for ", run->command, when);
	add_span((int64_t)time(NULL) - run->since, out);
}

/*
 * The peer, for people: who has the lock, or whoever goes on with the work of a supervisor
 * that is gone (`left`). False: nobody is known by a record.
 */
static bool describe(const struct place *at, bool left, struct bytes *out)
{
	struct fail ignored = FAIL_INIT;
	struct bytes file = BYTES_INIT;
	struct mutex_run run = {0};
	struct stat st;
	pid_t pid = fstatat(at->locks, at->lock, &st, AT_SYMLINK_NOFOLLOW) == 0 && !left
			    ? kin_holder(&st)
			    : 0;
	bool known = find_live(at->runs, at->encoded, &file, &ignored) == 0 && file.len &&
		     read_run(at->runs, file.data, &run, &ignored) == 0;

	if (known && left) {
		char *path = mem_printf("%s/interlock/runs/%s", at->repo->common_dir, file.data);

		proc_describe_opener(path, out);
		bytes_adds(out, ", left by the run ");
		free(path);
	} else if (known) {
		/* By the number that it has here; its record knows the one that it has there. */
		bytes_addf(out, "pid %d ", (int)(pid ? pid : run.pid));
	} else if (pid) {
		proc_describe(pid, out);
	} else {
		bytes_adds(out, "a process that cannot be seen from here");
	}
	if (known)
		describe_run(&run, out);
	mutex_run_release(&run);
	bytes_release(&file);
	return known;
}

static void tell(void *arg, UNUSED const char *what)
{
	const struct place *at = arg;
	struct bytes whom = BYTES_INIT;

	if (at->wish->waiting) {
		bytes_addf(&whom, "mutex '%s', held by ", at->wish->name);
		describe(at, false, &whom);
		at->wish->waiting(at->wish->arg, whom.data);
	}
	bytes_release(&whom);
}

static int busy(const struct place *at, const char *whom, struct fail *fail)
{
	fail_clear(fail);
	return fail_set(fail, FAIL_BUSY, "mutex '%s' is held by %s", at->wish->name, whom);
}

/*
 * Somebody has the lock: do we descend from that run? When the holder can be seen from
 * here and is no ancestor, what we may have inherited is from another run.
 */
static bool is_within(const struct place *at)
{
	struct fail ignored = FAIL_INIT;
	struct bytes file = BYTES_INIT;
	struct stat lock, run;
	bool within = false;

	if (fstatat(at->locks, at->lock, &lock, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (kin_holds(&lock, at->lock))
		return true;
	if (!kin_holder(&lock) && find_live(at->runs, at->encoded, &file, &ignored) == 0 &&
	    file.len && fstatat(at->runs, file.data, &run, AT_SYMLINK_NOFOLLOW) == 0)
		within = kin_inherited(&run, file.data);
	bytes_release(&file);
	return within;
}

/* ---- taking it ---------------------------------------------------------------------------- */

/* The lock, or `nested`. */
static int take_lock(const struct place *at, struct mutex *mutex, struct fail *fail)
{
	const struct waiting waiting = {.tell = tell, .arg = (void *)at};
	struct bytes whom = BYTES_INIT;

	/* It may end just when we ask who it is. */
	for (int tries = 0; tries < TRIES; tries++) {
		bool known;

		fail_clear(fail);
		if (lock_take(&mutex->lock, at->locks, at->lock, LOCK_EXCLUSIVE,
			      tries ? at->wish->deadline : 0, &waiting, &at->repo->modes,
			      fail) != FAIL_BUSY)
			break;
		if (!tries && is_within(at)) {
			fail_clear(fail);
			mutex->nested = true;
			break;
		}
		bytes_clear(&whom);
		known = describe(at, false, &whom);
		busy(at, whom.data, fail);
		if (known && !clock_left(at->wish->deadline))
			break;
	}
	bytes_release(&whom);
	return fail->kind;
}

/* A run whose supervisor is gone, and which is not ours: it must be over. */
static int see_to_run(const struct place *at, const char *file, struct fail *fail)
{
	struct bytes whom = BYTES_INIT;
	struct stat st;
	int fd = file_open(at->runs, file, O_RDONLY, NULL, fail);
	int r;

	if (fd < 0)
		return fail->kind;
	if (fstat(fd, &st) == 0 && kin_inherited(&st, file)) {
		close(fd);
		return 0;
	}
	r = lock_probe_open(fd, fail);
	if (r == FAIL_BUSY) {
		describe(at, true, &whom);
		fail_clear(fail);
		if (clock_left(at->wish->deadline) && at->wish->waiting) {
			struct bytes line = BYTES_INIT;

			bytes_addf(&line, "mutex '%s', held by %s", at->wish->name, whom.data);
			at->wish->waiting(at->wish->arg, line.data);
			bytes_release(&line);
		}
		r = lock_take_open(fd, file, at->wish->deadline, fail);
	}
	if (r == 0 && unlinkat(at->runs, file, 0) < 0)
		fail_errno(fail, "remove '%s'", file);
	else if (r == FAIL_BUSY)
		busy(at, whom.data, fail);
	close(fd);
	bytes_release(&whom);
	return fail->kind;
}

static int see_to_old_runs(const struct place *at, struct fail *fail)
{
	struct bytes names = BYTES_INIT;

	file_each_name(at->runs, &names, fail);
	for (char *file = names.data; file < names.data + names.len && fail->kind == 0;
	     file += strlen(file) + 1)
		if (is_of(file, at->encoded))
			see_to_run(at, file, fail);
	bytes_release(&names);
	return fail->kind;
}

static int begin_run(const struct place *at, struct mutex *mutex, struct fail *fail)
{
	struct mutex_run run = {.mutex = (char *)at->wish->name,
				.pid = getpid(),
				.since = (int64_t)time(NULL),
				.command = (char *)at->wish->command};
	struct bytes text = BYTES_INIT;

	run.id = mutex->id = slot_new_id();
	mutex->file = mem_printf("%s.%s", at->encoded, mutex->id);
	mutex->work =
		file_open(at->runs, mutex->file, O_RDWR | O_CREAT | O_EXCL, &at->repo->modes, fail);
	mutex_run_format(&run, &text);
	if (mutex->work >= 0 &&
	    lock_take_open(mutex->work, mutex->file, clock_deadline(CREATE_MS), fail) == 0)
		file_write_fd(mutex->work, mutex->file, text.data, text.len, fail);
	bytes_release(&text);
	return fail->kind;
}

int mutex_take(struct repo *repo, const struct mutex_wish *wish, struct mutex *mutex,
	       struct fail *fail)
{
	struct place at = {.repo = repo, .wish = wish, .locks = -1};
	struct bytes encoded = BYTES_INIT;

	*mutex = (struct mutex)MUTEX_INIT;
	name_encode(wish->name, &encoded);
	at.encoded = encoded.data;
	at.lock = mem_printf("mutex-%s", at.encoded);
	at.locks = repo_state_dir(repo, "locks", fail);
	if (at.locks >= 0)
		at.runs = mutex->runs = repo_state_dir(repo, "runs", fail);
	if (fail->kind == 0 && take_lock(&at, mutex, fail) == 0 && !mutex->nested &&
	    see_to_old_runs(&at, fail) == 0)
		begin_run(&at, mutex, fail);
	if (at.locks >= 0)
		close(at.locks);
	if (fail->kind)
		mutex_drop(mutex);
	free(at.lock);
	bytes_release(&encoded);
	return fail->kind;
}

void mutex_drop(struct mutex *mutex)
{
	struct fail ignored = FAIL_INIT;
	int fd;

	if (mutex->work >= 0) {
		close(mutex->work);
		/* What could not be ended has it still: then the run is not over. */
		fd = open_live(mutex->runs, mutex->file, &ignored);
		if (fd >= 0)
			close(fd);
		else
			unlinkat(mutex->runs, mutex->file, 0);
	}
	lock_drop(&mutex->lock);
	if (mutex->runs >= 0)
		close(mutex->runs);
	free(mutex->file);
	free(mutex->id);
	*mutex = (struct mutex)MUTEX_INIT;
}
