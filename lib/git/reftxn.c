/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "reftxn.h"

#include "refgit.h"
#include "repo.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STDERR_LIMIT (1u << 20)

/* ---- talking to git --------------------------------------------------------------------- */

/* Sends all of it; a git that has ended already is noticed by its missing answer. */
static void send_text(struct ref_txn *txn, const void *data, size_t len)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	struct fail ignored = FAIL_INIT;

	sigaction(SIGPIPE, &ignore, &before);
	file_write_fd(txn->git.to, "git update-ref", data, len, &ignored);
	sigaction(SIGPIPE, &before, NULL);
}

/* Reads up to `want`, which ends in LF; false when git closed its output before. */
static bool read_until(struct ref_txn *txn, const char *want)
{
	struct bytes got = BYTES_INIT;
	bool seen = false;
	char c;

	/* Byte by byte: what follows belongs to the next answer. */
	while (!seen) {
		ssize_t n = read(txn->git.from, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		bytes_addc(&got, c);
		if (c == '\n') {
			seen = !strcmp(got.data, want);
			bytes_clear(&got);
		}
	}
	bytes_release(&got);
	return seen;
}

static void read_stderr(struct ref_txn *txn, struct bytes *out)
{
	struct fail ignored = FAIL_INIT;

	if (txn->err >= 0 && lseek(txn->err, 0, SEEK_SET) == 0)
		file_read_fd(txn->err, "stderr", STDERR_LIMIT, out, &ignored);
}

static int start_git(struct ref_txn *txn, const struct ref_txn_options *options, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;

	repo_git_with_hooks(txn->repo, &cmd);
	refgit_settings(txn->repo, &cmd, options->deadline);
	argv_push(&cmd.argv, "update-ref");
	if (options->create_reflog)
		argv_push(&cmd.argv, "--create-reflog");
	if (options->reason && *options->reason)
		argv_push_all(&cmd.argv, "-m", options->reason, NULL);
	argv_push_all(&cmd.argv, "--stdin", "-z", NULL);
	if (txn->err < 0)
		txn->err = memfd_create("git-update-ref", MFD_CLOEXEC);
	if (txn->err < 0 || ftruncate(txn->err, 0) < 0 || lseek(txn->err, 0, SEEK_SET) < 0) {
		fail_errno(fail, "keep the output of git update-ref");
	} else {
		cmd.stderr_fd = txn->err;
		coprocess_start(&txn->git, &cmd, fail);
	}
	spawn_release(&cmd);
	return fail->kind;
}

/* ---- the edits in git's words -------------------------------------------------------------- */

static void add_field(struct bytes *out, const char *text)
{
	bytes_add(out, text, strlen(text) + 1);
}

static void add_edit(const struct ref_edit *edit, struct bytes *out)
{
	char hex[OID_HEX_MAX + 1];
	bool both_zero = oid_is_zero(&edit->old_oid) && oid_is_zero(&edit->new_oid);

	if (edit->no_deref)
		add_field(out, "option no-deref");
	if (edit->kind == REF_EDIT_SYMREF) {
		bytes_addf(out, "%s %s", edit->verb, edit->name);
		bytes_addc(out, '\0');
		for (size_t i = 0; i < ARRAY_SIZE(edit->fields) && edit->fields[i]; i++)
			add_field(out, edit->fields[i]);
		return;
	}
	if (edit->kind == REF_EDIT_VERIFY || both_zero)
		bytes_addf(out, "verify %s", edit->name);
	else if (oid_is_zero(&edit->new_oid))
		bytes_addf(out, "delete %s", edit->name);
	else
		bytes_addf(out, "update %s", edit->name);
	bytes_addc(out, '\0');
	if (edit->kind == REF_EDIT_SWAP && !oid_is_zero(&edit->new_oid))
		add_field(out, oid_hex(&edit->new_oid, hex));
	add_field(out, oid_hex(&edit->old_oid, hex));
}

static bool deletes(const struct ref_edit *edit)
{
	return edit->kind == REF_EDIT_SYMREF ||
	       (edit->kind == REF_EDIT_SWAP && oid_is_zero(&edit->new_oid));
}

static void add_locks(const struct ref_edit *edit, struct refgit_locks *locks)
{
	struct oid zero;

	oid_zero(locks->repo->algo, &zero);
	refgit_expect(locks, edit->name, edit->kind == REF_EDIT_SWAP ? &edit->new_oid : &zero,
		      edit->kind == REF_EDIT_SYMREF || edit->no_deref);
}

/* ---- who lost ------------------------------------------------------------------------------ */

struct present {
	char *name;
	struct oid oid;
};

struct listing {
	struct present *refs; /* sorted by name */
	size_t count, cap;
};

static int take_present(void *arg, const char *name, const struct oid *oid,
			UNUSED struct fail *fail)
{
	struct listing *list = arg;

	MEM_GROW(list->refs, list->cap, list->count + 1);
	list->refs[list->count].name = mem_strdup(name);
	list->refs[list->count++].oid = *oid;
	return 0;
}

static int compare_present(const void *key, const void *item)
{
	return strcmp(key, ((const struct present *)item)->name);
}

static void release_listing(struct listing *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->refs[i].name);
	free(list->refs);
}

/* What a ref holds now; zero when it does not exist. */
static int read_now(struct repo *repo, const struct listing *list, const char *name,
		    struct oid *now, struct fail *fail)
{
	const struct present *found;

	if (repo->refs_by_git && !strncmp(name, "refs/", 5)) {
		found = list->count ? bsearch(name, list->refs, list->count, sizeof(*list->refs),
					      compare_present)
				    : NULL;
		if (found)
			*now = found->oid;
		else
			oid_zero(repo->algo, now);
		return 0;
	}
	if (ref_read(repo, name, now, fail) == FAIL_GONE) {
		fail_clear(fail);
		oid_zero(repo->algo, now);
	}
	return fail->kind;
}

/* A symbolic ref that does not point where it should: fills `now`, true. */
static bool target_differs(struct repo *repo, const struct ref_edit *edit, struct bytes *now)
{
	struct fail ignored = FAIL_INIT;
	struct oid oid;
	char hex[OID_HEX_MAX + 1];
	char *target = NULL;
	bool differs;

	ref_read_raw(repo, edit->name, &oid, &target, &ignored);
	differs = !target || strcmp(target, edit->target) != 0;
	if (target)
		bytes_addf(now, "ref:%s", target);
	else
		bytes_adds(now, oid_hex(&oid, hex));
	free(target);
	return differs;
}

/* Tells of every edit whose expectation is not met; their number, or a failure. */
static int tell_lost(struct repo *repo, const struct ref_edit *edits, size_t count,
		     const struct ref_txn_options *options, struct fail *fail)
{
	struct listing list = {0};
	char hex[OID_HEX_MAX + 1];
	int lost = 0;

	/* One listing: reading them one by one would be a process each. */
	if (repo->refs_by_git)
		ref_each(repo, "refs/", take_present, &list, fail);
	for (size_t i = 0; i < count && fail->kind == 0; i++) {
		const struct ref_edit *edit = &edits[i];
		struct bytes now = BYTES_INIT;
		bool differs = false;
		struct oid oid;

		if (edit->kind == REF_EDIT_SYMREF) {
			differs = edit->target && target_differs(repo, edit, &now);
		} else if (read_now(repo, &list, edit->name, &oid, fail) == 0) {
			differs = !oid_equal(&oid, &edit->old_oid);
			bytes_adds(&now, oid_hex(&oid, hex));
		}
		if (differs) {
			lost++;
			if (options->lost)
				options->lost(options->lost_arg, edit->name, now.data);
		}
		bytes_release(&now);
	}
	release_listing(&list);
	return fail->kind ? fail->kind : lost;
}

/* ---- preparing ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The per-ref locks of our own refs, in order, so that two batches cannot wait in a ring. */
static int take_flocks(struct ref_txn *txn, const struct ref_edit *edits, size_t count,
		       int64_t deadline, struct fail *fail)
{
	const char **names = mem_array(count, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (refname_is_ours(edits[i].name))
			names[n++] = edits[i].name;
	qsort(names, n, sizeof(*names), compare_names);
	txn->locks = mem_array(n, sizeof(*txn->locks));
	for (size_t i = 0; i < n && fail->kind == 0; i++)
		if ((!i || strcmp(names[i], names[i - 1]) != 0) &&
		    ref_lock_take(txn->repo, names[i], deadline, &txn->locks[txn->lock_count],
				  fail) == 0)
			txn->lock_count++;
	free(names);
	return fail->kind;
}

/* A lock that a dead swap of ours left would look like our own by now. */
static int heal_ours(struct repo *repo, const struct ref_edit *edits, size_t count,
		     struct fail *fail)
{
	for (size_t i = 0; i < count && fail->kind == 0; i++)
		if (refname_is_ours(edits[i].name))
			ref_lock_heal(repo, edits[i].name, fail);
	return fail->kind;
}

/*
 * git has ended without preparing. Returns 0 when another try makes sense. As
 * with a single ref this is decided by looking, never by git's words.
 */
static int judge(struct ref_txn *txn, int status, const struct refgit_locks *locks,
		 const struct ref_edit *edits, size_t count, const struct ref_txn_options *options,
		 const char **in_way, struct fail *fail)
{
	struct bytes words = BYTES_INIT;
	int lost = tell_lost(txn->repo, edits, count, options, fail);

	*in_way = NULL;
	if (lost > 0)
		fail_set(fail, FAIL_NO, "%d of %zu refs %s something else", lost, count,
			 lost == 1 ? "holds" : "hold");
	if (fail->kind == 0 && status <= 128)
		*in_way = refgit_first_in_way(locks);
	if (*in_way && !clock_left(options->deadline))
		refgit_busy(txn->repo, *in_way, fail);
	if (fail->kind == 0 && !*in_way && status <= 128 && refgit_room_vanished(locks) &&
	    txn->vanished++ < REFGIT_VANISHED_TRIES)
		return 0;
	if (fail->kind == 0 && !*in_way) {
		read_stderr(txn, &words);
		if (status > 128)
			bytes_addf(&words, "\ngit update-ref was killed by signal %d",
				   status - 128);
		refgit_words(words.data, fail);
	}
	bytes_release(&words);
	return fail->kind;
}

static int prepare_under_intent(struct ref_txn *txn, const struct bytes *text,
				const struct refgit_locks *locks, const struct ref_edit *edits,
				size_t count, const struct ref_txn_options *options,
				struct fail *fail)
{
	struct backoff backoff = BACKOFF_INIT;

	backoff.since = clock_ms(); /* git waits, too */
	for (;;) {
		const char *in_way;
		int status;

		if (start_git(txn, options, fail) < 0)
			return fail->kind;
		send_text(txn, text->data, text->len);
		if (read_until(txn, "prepare: ok\n"))
			return 0;
		status = coprocess_end(&txn->git);
		if (judge(txn, status, locks, edits, count, options, &in_way, fail) < 0) {
			if (status > 128)
				git_intent_leave(&txn->intent);
			return fail->kind;
		}
		if (in_way &&
		    refgit_make_way(txn->repo, in_way, NULL, &backoff, options->deadline, fail) < 0)
			return fail->kind;
	}
}

int ref_txn_prepare(struct repo *repo, const struct ref_edit *edits, size_t count,
		    const struct ref_txn_options *options, struct ref_txn *txn, struct fail *fail)
{
	struct refgit_locks locks;
	struct bytes text = BYTES_INIT;
	bool any_delete = false;

	*txn = (struct ref_txn)REF_TXN_INIT;
	txn->repo = repo;
	txn->chatter = options->chatter;
	refgit_locks_init(&locks, repo);
	add_field(&text, "start");
	for (size_t i = 0; i < count; i++) {
		add_locks(&edits[i], &locks);
		add_edit(&edits[i], &text);
		any_delete = any_delete || deletes(&edits[i]);
	}
	if (any_delete)
		refgit_expect_delete(&locks);
	add_field(&text, "prepare");
	if ((options->locked || take_flocks(txn, edits, count, options->deadline, fail) == 0) &&
	    heal_ours(repo, edits, count, fail) == 0 &&
	    git_intent_begin(repo, &locks.intent, &txn->intent, fail) == 0)
		prepare_under_intent(txn, &text, &locks, edits, count, options, fail);
	if (fail->kind) {
		txn->chatter = NULL; /* what there is to say is in the message */
		ref_txn_abort(txn);
	}
	refgit_locks_release(&locks);
	bytes_release(&text);
	return fail->kind;
}

/* ---- ending -------------------------------------------------------------------------------------
 */

static void release(struct ref_txn *txn)
{
	struct bytes *chatter = txn->chatter;

	if (chatter)
		read_stderr(txn, chatter);
	git_intent_end(&txn->intent);
	for (size_t i = txn->lock_count; i-- > 0;)
		ref_lock_drop(&txn->locks[i]);
	free(txn->locks);
	if (txn->err >= 0)
		close(txn->err);
	*txn = (struct ref_txn)REF_TXN_INIT;
}

int ref_txn_commit(struct ref_txn *txn, struct fail *fail)
{
	struct bytes words = BYTES_INIT;
	bool done;
	int status;

	send_text(txn, "commit", sizeof("commit"));
	done = read_until(txn, "commit: ok\n");
	status = coprocess_end(&txn->git);
	if (!done) {
		read_stderr(txn, &words);
		refgit_words(words.data, fail);
		fail->kind = FAIL_UNKNOWN;
		fail_context(fail, "the transaction may have been made in part");
		txn->chatter = NULL;
		if (status > 128)
			git_intent_leave(&txn->intent);
	}
	if (done)
		refgit_sync(txn->repo, fail);
	bytes_release(&words);
	release(txn);
	return fail->kind;
}

void ref_txn_abort(struct ref_txn *txn)
{
	/* At the end of its input git gives up what it has prepared. */
	coprocess_end(&txn->git);
	release(txn);
}
