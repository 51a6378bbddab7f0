/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "guard.h"

#include <string.h>
#include <strings.h>

/* ---- the lines of reference-transaction ----------------------------------------------- */

static const char *const ours[] = {"refs/shadow/", "refs/shadow-old/", "refs/rescue/"};

bool guard_is_ours(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (len > strlen(ours[i]) && !memcmp(name, ours[i], strlen(ours[i])))
			return true;
	return false;
}

/* One search for what the names have in common is all that a big fetch pays for. */
bool guard_mentions_ours(const char *text, size_t len)
{
	return memmem(text, len, " refs/shadow", 12) || memmem(text, len, " refs/rescue/", 13);
}

bool guard_is_zero(const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (value[i] != '0')
			return false;
	return len > 0;
}

/* Splits at the first space; false when there is none. */
static bool take_word(const char **text, size_t *len, const char **word, size_t *word_len)
{
	const char *space = memchr(*text, ' ', *len);

	if (!space)
		return false;
	*word = *text;
	*word_len = (size_t)(space - *text);
	*text = space + 1;
	*len -= *word_len + 1;
	return true;
}

bool guard_next_line(const char **text, size_t *len, struct guard_line *line)
{
	const char *p = *text, *end = memchr(*text, '\n', *len);
	size_t n = end ? (size_t)(end - *text) : *len;

	if (!*len)
		return false;
	*text += end ? n + 1 : n;
	*len -= end ? n + 1 : n;
	if (take_word(&p, &n, &line->old_value, &line->old_len) &&
	    take_word(&p, &n, &line->new_value, &line->new_len)) {
		line->name = p;
		line->name_len = n;
	} else {
		*line = (struct guard_line){.old_value = "", .new_value = "", .name = ""};
	}
	return true;
}

/* ---- reference-transaction ---------------------------------------------------------------- */

static enum guard_answer delete_of_ours(const struct guard_update *u)
{
	if (u->present == PRESENT_NONE)
		return GUARD_PASS;
	/* pack-refs always says what it expects. */
	if (u->old_given && u->copy == COPY_STAYS)
		return GUARD_PASS;
	if (u->present == PRESENT_UNKNOWN || (u->old_given && u->copy == COPY_UNKNOWN))
		return GUARD_ASK;
	return GUARD_VETO;
}

enum guard_answer guard_ref_update(const struct guard_update *u)
{
	if (u->writer || u->symbolic)
		return GUARD_PASS;
	if (u->deletes)
		return delete_of_ours(u);
	switch (u->present) {
	case PRESENT_NONE: /* nothing can be lost */
	case PRESENT_SAME:
		return GUARD_PASS;
	case PRESENT_UNKNOWN:
		return GUARD_ASK;
	case PRESENT_OTHER:
		break;
	}
	switch (u->descent) {
	case DESCENT_YES:
		return GUARD_PASS;
	case DESCENT_UNKNOWN:
		return GUARD_ASK;
	case DESCENT_NO:
		break;
	}
	return GUARD_VETO;
}

void guard_ref_words(const struct guard_update *u, const char *name, struct bytes *out)
{
	if (guard_ref_update(u) == GUARD_ASK) {
		bytes_addf(out,
			   "'%s' holds saved work, and it could not be judged whether this update "
			   "keeps it; try again, or use 'git cas-ref', which names what it "
			   "expects to find",
			   name);
	} else if (u->deletes) {
		bytes_addf(out,
			   "'%s' holds saved work, and this would delete it; "
			   "'git shadow-commit expire' drops old checkpoints, 'git worktree-reap "
			   "rescued --drop' drops a rescue, and 'git cas-ref --delete %s <old>' "
			   "deletes exactly what you have looked at",
			   name, name);
	} else {
		bytes_addf(out,
			   "'%s' holds saved work, and the new value does not come after the "
			   "present one, so checkpoints would be lost; 'git shadow-commit' adds to "
			   "it, and 'git cas-ref %s <new> <old>' replaces exactly what you have "
			   "looked at",
			   name, name);
	}
}

/* ---- pre-commit ------------------------------------------------------------------------------ */

enum guard_refusal guard_commit(const struct guard_commit *c)
{
	bool shown = c->shown == SHOWN_CURRENT;

	if (!c->slot)
		return REFUSE_NOTHING;
	if (c->shown == SHOWN_OTHER)
		return REFUSE_STALE_LEASE;
	if (c->holder == HOLDER_UNJUDGED && !shown && !c->of_holder)
		return REFUSE_UNJUDGED;
	if (c->holder == HOLDER_PROCESS && !shown && !c->of_holder)
		return REFUSE_NOT_HOLDER;
	if (c->holder == HOLDER_TIME && !shown && !c->own_uid)
		return REFUSE_NOT_OWNER;
	if (c->holder != HOLDER_NONE && c->branch == BRANCH_OFF)
		return REFUSE_OFF_BRANCH;
	return REFUSE_NOTHING;
}

static const char *short_name(const char *ref)
{
	return !strncmp(ref, "refs/heads/", 11) ? ref + 11 : ref;
}

static void add_operation(const struct guard_scene *s, struct bytes *out)
{
	if (!s->operation)
		return;
	bytes_addf(out, "\na %s", s->operation);
	if (s->onto)
		bytes_addf(out, " of '%s'", short_name(s->onto));
	bytes_adds(out, " is under way here; it is left as it is, for whoever began it");
}

static void add_override(const char *with_lease, struct bytes *out)
{
	bytes_adds(out, "\n");
	if (with_lease)
		bytes_addf(
			out,
			"if you belong to that session:  GIT_INTERLOCK_LEASE=%s git commit ...\n",
			with_lease);
	bytes_adds(out, "to commit all the same:  git commit --no-verify ...");
}

void guard_commit_words(enum guard_refusal refusal, const struct guard_scene *s, struct bytes *out)
{
	const char *who = s->who ? s->who : "somebody else";

	switch (refusal) {
	case REFUSE_NOTHING:
		return;
	case REFUSE_STALE_LEASE:
		bytes_addf(out, "lease %s is not the current one of slot '%s'", s->shown, s->slot);
		if (s->lease)
			bytes_addf(out, ", which is held by %s", who);
		bytes_addf(out, "; a lease that has ended may not write there%s",
			   s->lease ? "" : " (git worktree-claim gives you a slot)");
		break;
	case REFUSE_NOT_HOLDER:
		bytes_addf(out,
			   "slot '%s' is held by %s, and this commit does not come from there; two "
			   "sessions in one worktree overwrite each other's work (git "
			   "worktree-claim gives you a slot of your own)",
			   s->slot, who);
		break;
	case REFUSE_NOT_OWNER:
		bytes_addf(out, "slot '%s' is leased by another user (%s)", s->slot, who);
		break;
	case REFUSE_UNJUDGED:
		bytes_addf(out, "it cannot be known who holds slot '%s' (%s)", s->slot,
			   s->who ? s->who : "its record cannot be read");
		break;
	case REFUSE_OFF_BRANCH:
		bytes_addf(out, "slot '%s' was claimed for branch '%s', but HEAD is ", s->slot,
			   short_name(s->branch));
		if (s->head)
			bytes_addf(out, "on '%s'", short_name(s->head));
		else
			bytes_adds(out, "detached");
		if (!s->operation)
			bytes_addf(out, "; 'git switch %s' goes back", short_name(s->branch));
		break;
	}
	add_operation(s, out);
	add_override(refusal == REFUSE_OFF_BRANCH ? NULL : s->lease, out);
}

/* ---- pre-auto-gc ------------------------------------------------------------------------------
 */

enum guard_answer guard_gc(const struct guard_gc *gc)
{
	return gc->saving || gc->birth ? GUARD_VETO : GUARD_PASS;
}

/* ---- automatic saves ----------------------------------------------------------------------------
 */

bool guard_saves(enum guard_after after, bool rebasing)
{
	switch (after) {
	case AFTER_COMMIT:
	case AFTER_MERGE:
		return !rebasing; /* once, when it is through */
	case AFTER_REBASE:
		return true;
	case AFTER_AMEND:
		break;
	}
	return false;
}

static bool contains(const char *text, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++)
		if (!strncasecmp(text + i, word, n))
			return true;
	return false;
}

static void trim(const char **text, size_t *len)
{
	while (*len && strchr(" \t\r", **text)) {
		(*text)++;
		(*len)--;
	}
	while (*len && strchr(" \t\r", (*text)[*len - 1]))
		(*len)--;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && !strncasecmp(text, word, len);
}

/* A line in [interlock]: -1: none of ours or in doubt, else whether saves are off. */
static int read_setting(const char *text, size_t len)
{
	static const char *const no[] = {"false", "no", "off", "0"};
	const char *equals = memchr(text, '=', len);
	const char *key = text, *value;
	size_t key_len, value_len;

	if (!equals)
		return contains(text, len, "autosave") ? 0 : -1;
	key_len = (size_t)(equals - text);
	value = equals + 1;
	value_len = len - key_len - 1;
	trim(&key, &key_len);
	trim(&value, &value_len);
	if (!is_word(key, key_len, "autosave"))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (is_word(value, value_len, no[i]))
			return 1;
	return 0;
}

bool guard_saves_are_off(const char *config, size_t len)
{
	bool within = false, off = false;

	/* Other files may say something else; a continued line may look like another. */
	if (contains(config, len, "include") || contains(config, len, "worktreeconfig") ||
	    contains(config, len, "\\\n"))
		return false;
	while (len) {
		const char *line = config, *end = memchr(config, '\n', len);
		size_t n = end ? (size_t)(end - config) : len;
		int setting;

		config += end ? n + 1 : n;
		len -= end ? n + 1 : n;
		trim(&line, &n);
		if (n && line[0] == '[') {
			within = is_word(line, n, "[interlock]");
			if (!within && contains(line, n, "interlock") && line[n - 1] != ']')
				return false; /* a setting in the line of its section */
			continue;
		}
		setting = within ? read_setting(line, n) : -1;
		if (setting >= 0)
			off = setting;
	}
	return off;
}
