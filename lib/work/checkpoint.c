/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "checkpoint.h"

#include "history.h"
#include "name.h"
#include "number.h"
#include "quote.h"
#include "ref.h"
#include "spawn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- reading ---------------------------------------------------------------------- */

static char *trailer_text(const struct commit *commit, const char *key)
{
	size_t len;
	const char *value = commit_trailer(commit, key, &len);

	return value ? mem_dup(value, len) : NULL;
}

static void trailer_oid(enum hash_algo algo, const struct commit *commit, const char *key,
			struct oid *oid)
{
	size_t len;
	const char *value = commit_trailer(commit, key, &len);

	if (!value || !oid_parse(algo, value, len, oid))
		oid_zero(algo, oid);
}

static void read_segment(enum hash_algo algo, const struct commit *commit, struct checkpoint *cp)
{
	char *text = trailer_text(commit, "Shadow-Segment");
	char first[OID_HEX_MAX + 1];

	cp->first = cp->id;
	if (text && sscanf(text, "%" SCNd64 " %" SCNd64 " %" SCNd64 " %64s", &cp->segment,
			   &cp->number, &cp->segment_start, first) == 4) {
		if (cp->number > 1 && !oid_parse(algo, first, strlen(first), &cp->first))
			cp->segment = 0;
	} else {
		cp->segment = cp->number = cp->segment_start = 0;
	}
	free(text);
}

static void read_paths(const struct commit *commit, struct checkpoint *cp)
{
	const char *value;
	size_t len;

	for (size_t n = 0; (value = commit_trailer_nth(commit, "Shadow-Path", n, &len)); n++) {
		struct bytes path = BYTES_INIT;
		char *text = mem_dup(value, len);

		if (text[0] != '"' || !unquote_c(text, &path)) {
			bytes_clear(&path);
			bytes_adds(&path, text);
		}
		free(text);
		argv_take(&cp->paths, bytes_take(&path));
	}
}

static void read_skipped(const struct commit *commit, struct checkpoint *cp)
{
	char *count = trailer_text(commit, "Shadow-Skipped-Count");

	cp->skipped_count = count ? strtoull(count, NULL, 10) : 0;
	free(count);
}

int checkpoint_read(struct odb *odb, const struct oid *id, struct checkpoint *out,
		    struct fail *fail)
{
	enum hash_algo algo = odb->repo->algo;
	struct commit commit = {0};

	*out = (struct checkpoint)CHECKPOINT_INIT;
	if (commit_read(odb, id, &commit, fail) < 0)
		return fail->kind;
	out->id = *id;
	out->tree = commit.tree;
	out->time = commit.time;
	out->message = mem_strdup(commit.message);
	out->subject = mem_dup(commit.message, strcspn(commit.message, "\n"));
	read_segment(algo, &commit, out);
	oid_zero(algo, &out->first_parent);
	if (out->number != 1 && commit.parent_count)
		out->first_parent = commit.parents[0];
	trailer_oid(algo, &commit, "Shadow-Previous", &out->previous);
	trailer_oid(algo, &commit, "Shadow-Base", &out->base);
	trailer_oid(algo, &commit, "Shadow-Index", &out->index);
	trailer_oid(algo, &commit, "Shadow-Operation", &out->operation);
	out->session = trailer_text(&commit, "Shadow-Session");
	out->worktree = trailer_text(&commit, "Shadow-Worktree");
	read_paths(&commit, out);
	read_skipped(&commit, out);
	commit_release(&commit);
	return 0;
}

void checkpoint_release(struct checkpoint *cp)
{
	free(cp->session);
	free(cp->worktree);
	free(cp->subject);
	free(cp->message);
	argv_release(&cp->paths);
	*cp = (struct checkpoint)CHECKPOINT_INIT;
}

/* ---- names of chains ------------------------------------------------------------------ */

char *checkpoint_ref_of(const struct repo *repo, const char *branch)
{
	struct bytes out = BYTES_INIT;

	bytes_adds(&out, "refs/shadow/");
	if (repo->worktree_id) {
		bytes_adds(&out, "wt/");
		name_encode(repo->worktree_id, &out);
	} else {
		bytes_adds(&out, "main");
	}
	if (branch) {
		const char *shown = branch;

		if (!strncmp(shown, "refs/heads/", 11))
			shown += 11;
		bytes_adds(&out, "/b/");
		name_encode(shown, &out);
	} else {
		bytes_adds(&out, "/detached");
	}
	return bytes_take(&out);
}

int checkpoint_ref(struct repo *repo, char **name, struct fail *fail)
{
	char *branch = NULL;

	*name = NULL;
	if (repo_head_branch(repo, &branch, fail) == 0)
		*name = checkpoint_ref_of(repo, branch);
	free(branch);
	return fail->kind;
}

int checkpoint_ref_named(const char *given, char **name, struct fail *fail)
{
	static const char *const not_ours[] = {
		"refs/heads/",	 "refs/tags/",	     "refs/remotes/",  "refs/notes/",
		"refs/replace/", "refs/bisect/",     "refs/worktree/", "refs/rewritten/",
		"refs/rescue/",	 "refs/shadow-old/", "refs/stash",     "refs/prefetch/",
	};

	*name = !strncmp(given, "refs/", 5) ? mem_strdup(given)
					    : mem_printf("refs/shadow/%s", given);
	for (size_t i = 0; i < ARRAY_SIZE(not_ours); i++)
		if (!strncmp(*name, not_ours[i], strlen(not_ours[i])))
			fail_set(fail, FAIL_USAGE,
				 "--ref '%s': checkpoints are not kept there; use a name below "
				 "refs/shadow/",
				 given);
	if (fail->kind == 0)
		refname_check(*name, fail);
	if (fail->kind) {
		free(*name);
		*name = NULL;
	}
	return fail->kind;
}

char *checkpoint_pin_name(const char *chain, int64_t seq)
{
	struct bytes out = BYTES_INIT;

	bytes_adds(&out, "refs/shadow-old/");
	if (!strncmp(chain, "refs/shadow/", 12)) {
		bytes_adds(&out, chain + 12);
	} else {
		bytes_adds(&out, "%ref/");
		name_encode(chain, &out);
	}
	bytes_addf(&out, "/%06" PRId64, seq);
	return bytes_take(&out);
}

char *checkpoint_chain_of_pin(const char *pin)
{
	const char *rest = pin + strlen("refs/shadow-old/");
	const char *end = strrchr(pin, '/');
	struct bytes out = BYTES_INIT;

	if (strncmp(rest, "%ref/", 5) != 0)
		return mem_printf("refs/shadow/%.*s", (int)(end - rest), rest);
	for (const char *p = rest + 5; p < end; p++) {
		if (!strncmp(p, "%2F", 3) || !strncmp(p, "%25", 3)) {
			bytes_addc(&out, p[2] == 'F' ? '/' : '%');
			p += 2;
		} else {
			bytes_addc(&out, *p);
		}
	}
	return bytes_take(&out);
}

int checkpoint_worktree_identity(struct repo *repo, char **identity, struct fail *fail)
{
	struct statx st;

	*identity = NULL;
	if (!repo->worktree_id) {
		*identity = mem_strdup("main");
		return 0;
	}
	if (statx(AT_FDCWD, repo->git_dir, AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_INO, &st) < 0)
		return fail_errno(fail, "stat '%s'", repo->git_dir);
	*identity = mem_printf("%s %llu.%lld.%u", repo->worktree_id, (unsigned long long)st.stx_ino,
			       st.stx_mask & STATX_BTIME ? (long long)st.stx_btime.tv_sec : 0LL,
			       st.stx_mask & STATX_BTIME ? st.stx_btime.tv_nsec : 0u);
	return 0;
}

/* ---- naming a checkpoint ------------------------------------------------------------------ */

/* The n-th before the tip; whole segments are stepped over. */
static int resolve_nth(struct odb *odb, const struct oid *tip, int64_t n, struct oid *id,
		       struct fail *fail)
{
	struct history history;
	int64_t left = n;
	int more = 1;

	history_init(&history, odb);
	*id = *tip;
	while (left > 0 && more > 0) {
		struct checkpoint cp = CHECKPOINT_INIT;

		more = checkpoint_read(odb, id, &cp, fail);
		if (more == 0 && cp.segment && left >= cp.number && !oid_equal(&cp.first, &cp.id)) {
			/* Go to the segment's first checkpoint in one step. */
			left -= cp.number - 1;
			*id = cp.first;
			more = 1;
		} else if (more == 0) {
			more = history_before(&history, &cp, id, fail);
			left--;
		}
		checkpoint_release(&cp);
	}
	history_release(&history);
	if (fail->kind == 0 && more == 0)
		fail_set(fail, FAIL_GONE,
			 "there are fewer than %" PRId64 " checkpoints before the tip", n);
	return fail->kind;
}

/*
 * git takes any text for a date: what it does not know is now. So every word has to
 * be one that it knows.
 */
static bool is_date_word(const char *word, size_t len)
{
	static const char *const names[] = {
		"january", "february",	"march",    "april",	"may",	    "june",   "july",
		"august",  "september", "october",  "november", "december", "sunday", "monday",
		"tuesday", "wednesday", "thursday", "friday",	"saturday",
	};
	static const char *const words[] = {
		"ago",	"yesterday", "now",    "today", "noon",	  "midnight", "tea",  "last",
		"am",	"pm",	     "z",      "t",	"utc",	  "gmt",      "st",   "nd",
		"rd",	"th",	     "second", "sec",	"minute", "min",      "hour", "day",
		"week", "month",     "year",   "one",	"two",	  "three",    "four", "five",
		"six",	"seven",     "eight",  "nine",	"ten",	  "seconds",  "secs", "minutes",
		"mins", "hours",     "days",   "weeks", "months", "years",    "the",  "at",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (len >= 3 && len <= strlen(names[i]) && !strncasecmp(word, names[i], len))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (len == strlen(words[i]) && !strncasecmp(word, words[i], len))
			return true;
	return false;
}

static bool is_date(const char *text)
{
	bool any = false;

	for (const char *p = text; *p;) {
		size_t letters = 0;

		while (isalpha((unsigned char)p[letters]))
			letters++;
		if (letters && !is_date_word(p, letters))
			return false;
		if (!letters && !isdigit((unsigned char)*p) && !strchr(" .,:/+-", *p))
			return false;
		any = any || letters || isdigit((unsigned char)*p);
		p += letters ? letters : 1;
	}
	return any;
}

int checkpoint_date(struct repo *repo, const char *text, int64_t *seconds, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;

	if (!is_date(text))
		return fail_set(fail, FAIL_USAGE, "'%s' is not a date", text);
	repo_git(repo, &cmd);
	argv_push(&cmd.argv, "rev-parse");
	argv_pushf(&cmd.argv, "--since=%s", text);
	if (spawn_capture(&cmd, &answer, fail) == 0) {
		bytes_chomp(&answer);
		if (strncmp(answer.data, "--max-age=", 10) != 0)
			fail_set(fail, FAIL_USAGE, "'%s' is not a date", text);
		else
			*seconds = strtoll(answer.data + 10, NULL, 10);
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return fail->kind;
}

/* The newest checkpoint that is not younger than `seconds`. */
static int resolve_time(struct odb *odb, const struct oid *tip, int64_t seconds, struct oid *id,
			struct fail *fail)
{
	struct history history;
	bool found = false;
	int more = 1;

	history_init(&history, odb);
	*id = *tip;
	while (more > 0 && !found) {
		struct checkpoint cp = CHECKPOINT_INIT;

		more = checkpoint_read(odb, id, &cp, fail);
		found = more == 0 && cp.time <= seconds;
		if (more == 0 && !found && cp.segment && cp.segment_start > seconds &&
		    !oid_equal(&cp.first, &cp.id)) {
			*id = cp.first;
			more = 1;
		} else if (more == 0 && !found) {
			more = history_before(&history, &cp, id, fail);
		}
		checkpoint_release(&cp);
	}
	history_release(&history);
	if (fail->kind == 0 && !found)
		fail_set(fail, FAIL_GONE, "there is no checkpoint that old");
	return fail->kind;
}

static int resolve_at(struct odb *odb, const char *chain, const char *inside, struct oid *id,
		      struct fail *fail)
{
	struct oid tip;
	int64_t number;

	if (ref_read(odb->repo, chain, &tip, fail) < 0)
		return fail->kind == FAIL_GONE
			       ? (fail_clear(fail),
				  fail_set(fail, FAIL_GONE, "there is no checkpoint yet ('%s')",
					   chain))
			       : fail->kind;
	if (inside[0] && strspn(inside, "0123456789") == strlen(inside)) {
		if (number_parse(inside, "@{n}", 0, INT64_MAX, &number, fail) < 0)
			return fail->kind;
		return resolve_nth(odb, &tip, number, id, fail);
	}
	if (checkpoint_date(odb->repo, inside, &number, fail) < 0)
		return fail->kind;
	return resolve_time(odb, &tip, number, id, fail);
}

/* An id (full or short), or anything else that git resolves to a commit. */
static int resolve_by_git(struct repo *repo, const char *given, struct oid *id, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;

	repo_git(repo, &cmd);
	argv_push_all(&cmd.argv, "rev-parse", "--verify", "--quiet", "--end-of-options", NULL);
	argv_pushf(&cmd.argv, "%s^{commit}", given);
	if (spawn_capture_any(&cmd, &answer, fail) == 0) {
		bytes_chomp(&answer);
		/* --end-of-options is echoed by some versions. */
		char *hex = strrchr(answer.data, '\n');

		hex = hex ? hex + 1 : answer.data;
		if (cmd.status || !oid_parse(repo->algo, hex, strlen(hex), id))
			fail_set(fail, FAIL_GONE, "there is no checkpoint '%s'", given);
	}
	spawn_release(&cmd);
	bytes_release(&answer);
	return fail->kind;
}

static bool is_commit(struct odb *odb, const char *given, struct oid *id)
{
	struct fail ignored = FAIL_INIT;
	enum object_type type;

	return oid_parse(odb->repo->algo, given, strlen(given), id) &&
	       odb_type(odb, id, &type, &ignored) == 0 && type == OBJECT_COMMIT;
}

int checkpoint_resolve(struct odb *odb, const char *chain, const char *given, struct oid *id,
		       char **found_on, struct fail *fail)
{
	struct repo *repo = odb->repo;
	const char *at = given ? strstr(given, "@{") : NULL;
	size_t len = given ? strlen(given) : 0;
	char *name = NULL, *inside = NULL;
	int r;

	if (found_on)
		*found_on = NULL;
	if (!len)
		return resolve_at(odb, chain, "0", id, fail);
	if (is_commit(odb, given, id))
		return 0;
	if (at && given[len - 1] == '}') {
		name = mem_dup(given, (size_t)(at - given));
		inside = mem_dup(at + 2, len - (size_t)(at - given) - 3);
	} else if (!strncmp(given, "refs/", 5)) {
		name = mem_strdup(given);
		inside = mem_strdup("0");
	}
	if (!name)
		return resolve_by_git(repo, given, id, fail);
	if (*name && strncmp(name, "refs/", 5) != 0)
		r = fail_set(fail, FAIL_GONE, "'%s': name the chain in full (refs/shadow/...)",
			     name);
	else
		r = resolve_at(odb, *name ? name : chain, inside, id, fail);
	if (found_on && *name)
		*found_on = mem_strdup(name);
	free(name);
	free(inside);
	return r;
}
