/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * git cas-ref --stdin: the language of git update-ref --stdin (refscript.h), in
 * which every write says what it expects.
 *
 * Commands are collected until the transaction is prepared or committed, by word
 * or at the end of the input; then git checks and locks all of them (reftxn.h).
 * Answers come as git gives them, so that a program can hold a conversation.
 */
#include "cas-ref.h"

#include "clock.h"
#include "refscript.h"
#include "reftxn.h"
#include "rev.h"
#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum state {
	OPEN,	  /* commands without "start": committed at the end */
	STARTED,  /* given up at the end, unless committed */
	PREPARED, /* can only be closed */
	CLOSED
};

struct session {
	struct cas_ref *cas;
	enum state state;
	bool no_deref; /* for the next command */
	struct ref_edit *edits;
	size_t count, cap;
	struct ref_txn txn;
	struct bytes chatter;
};

/* ---- edits ------------------------------------------------------------------------------- */

static void clear_edits(struct session *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct ref_edit *edit = &s->edits[i];

		free((char *)edit->name);
		for (size_t k = 0; k < ARRAY_SIZE(edit->fields); k++)
			free((char *)edit->fields[k]);
	}
	s->count = 0;
}

/* git refuses two commands for one ref; so do we, before anything is asked of it. */
static int compare_edits(const void *a, const void *b)
{
	return strcmp(((const struct ref_edit *)a)->name, ((const struct ref_edit *)b)->name);
}

static int check_twice(struct session *s, struct fail *fail)
{
	if (s->count)
		qsort(s->edits, s->count, sizeof(*s->edits), compare_edits);
	for (size_t i = 1; i < s->count; i++)
		if (!compare_edits(&s->edits[i], &s->edits[i - 1]))
			return fail_set(fail, FAIL_USAGE,
					"standard input: more than one command for ref '%s'",
					s->edits[i].name);
	return 0;
}

static int resolve(struct session *s, const struct refscript_command *command, const char *text,
		   struct oid *oid, struct fail *fail)
{
	oid_zero(s->cas->repo.algo, oid);
	if (text && rev_resolve_or_none(&s->cas->repo, text, oid, fail) < 0)
		fail_context(fail, "%s %s", refscript_verb_name(command->verb), command->ref);
	return fail->kind;
}

static int refuse_zero(const struct refscript_command *command, const char *what, struct fail *fail)
{
	return fail_set(fail, FAIL_USAGE, "standard input: %s %s: the %s value is zero",
			refscript_verb_name(command->verb), command->ref, what);
}

static int fill_plain(struct session *s, const struct refscript_command *command,
		      struct ref_edit *edit, struct fail *fail)
{
	edit->kind = command->verb == REFSCRIPT_VERIFY ? REF_EDIT_VERIFY : REF_EDIT_SWAP;
	if (resolve(s, command, command->new_value, &edit->new_oid, fail) < 0 ||
	    resolve(s, command, command->old_value, &edit->old_oid, fail) < 0)
		return fail->kind;
	if (command->verb == REFSCRIPT_CREATE && oid_is_zero(&edit->new_oid))
		return refuse_zero(command, "new", fail);
	if (command->verb == REFSCRIPT_DELETE && oid_is_zero(&edit->old_oid))
		return refuse_zero(command, "old", fail);
	return 0;
}

/* git itself says what is wrong with a target. */
static void fill_symref(struct refscript_command *command, struct ref_edit *edit)
{
	size_t n = 0;

	edit->kind = REF_EDIT_SYMREF;
	edit->verb = refscript_verb_name(command->verb);
	if (command->new_value)
		edit->fields[n++] = mem_strdup(command->new_value);
	if (command->old_kind)
		edit->fields[n++] = mem_strdup(command->old_kind);
	if (command->old_value || command->verb == REFSCRIPT_SYMREF_VERIFY)
		edit->fields[n++] = mem_strdup(command->old_value ? command->old_value : "");
	if (command->old_value && (!command->old_kind || !strcmp(command->old_kind, "ref")))
		edit->target = edit->fields[n - 1];
}

static int add_edit(struct session *s, struct refscript_command *command, struct fail *fail)
{
	struct ref_edit *edit;

	if (target_check_name(command->ref, fail) < 0)
		return fail->kind;
	MEM_GROW(s->edits, s->cap, s->count + 1);
	edit = &s->edits[s->count];
	*edit = (struct ref_edit){.no_deref = s->no_deref};
	s->no_deref = false;
	if (command->verb >= REFSCRIPT_SYMREF_UPDATE && command->verb <= REFSCRIPT_SYMREF_VERIFY)
		fill_symref(command, edit);
	else if (fill_plain(s, command, edit, fail) < 0)
		return fail->kind;
	edit->name = command->ref;
	command->ref = NULL;
	s->count++;
	return 0;
}

/* ---- transactions ------------------------------------------------------------------------- */

static void tell_lost(UNUSED void *arg, const char *name, const char *now)
{
	printf("%s %s\n", name, now);
}

static int prepare(struct session *s, struct fail *fail)
{
	struct ref_txn_options options = {
		.reason = s->cas->reason,
		.create_reflog = s->cas->create_reflog,
		.deadline = clock_deadline(s->cas->timeout),
		.lost = tell_lost,
		.chatter = &s->chatter,
	};

	if (check_twice(s, fail) == 0)
		ref_txn_prepare(&s->cas->repo, s->edits, s->count, &options, &s->txn, fail);
	return fail->kind;
}

static int commit(struct session *s, struct fail *fail)
{
	if (s->state != PREPARED && prepare(s, fail) < 0)
		return fail->kind;
	ref_txn_commit(&s->txn, fail);
	cas_ref_chatter(&s->chatter);
	clear_edits(s);
	return fail->kind;
}

static void give_up(struct session *s)
{
	ref_txn_abort(&s->txn);
	cas_ref_chatter(&s->chatter);
	clear_edits(s);
}

static int answer(const char *word, struct fail *fail)
{
	printf("%s: ok\n", word);
	return fflush(stdout) == 0 ? 0 : fail_errno(fail, "write to standard output");
}

static int misplaced(enum refscript_verb verb, const char *why, struct fail *fail)
{
	return fail_set(fail, FAIL_USAGE, "standard input: %s: %s", refscript_verb_name(verb), why);
}

/* git's rules for what may come when. */
static int check_order(const struct session *s, enum refscript_verb verb, struct fail *fail)
{
	if (s->state == STARTED && verb == REFSCRIPT_START)
		return misplaced(verb, "the transaction has been started already", fail);
	if (s->state == PREPARED && verb != REFSCRIPT_COMMIT && verb != REFSCRIPT_ABORT)
		return misplaced(verb, "a prepared transaction can only be closed", fail);
	if (s->state == CLOSED && verb != REFSCRIPT_START)
		return misplaced(verb, "the transaction is closed", fail);
	return 0;
}

static int set_option(struct session *s, const char *name, struct fail *fail)
{
	if (strcmp(name, "no-deref") != 0)
		return fail_set(fail, FAIL_USAGE, "standard input: unknown option '%s'", name);
	s->no_deref = true;
	return 0;
}

static int execute(struct session *s, struct refscript_command *command, struct fail *fail)
{
	enum refscript_verb verb = command->verb;

	if (check_order(s, verb, fail) < 0)
		return fail->kind;
	switch (verb) {
	case REFSCRIPT_OPTION:
		return set_option(s, command->ref, fail);
	case REFSCRIPT_START:
		s->state = STARTED;
		break;
	case REFSCRIPT_PREPARE:
		if (prepare(s, fail) < 0)
			return fail->kind;
		s->state = PREPARED;
		break;
	case REFSCRIPT_COMMIT:
		if (commit(s, fail) < 0)
			return fail->kind;
		s->state = CLOSED;
		break;
	case REFSCRIPT_ABORT:
		give_up(s);
		s->state = CLOSED;
		break;
	default:
		return add_edit(s, command, fail);
	}
	return answer(refscript_verb_name(verb), fail);
}

/* ---- the input --------------------------------------------------------------------------------
 */

/* Executes every whole command in `input`, and takes it out. */
static int execute_all(struct session *s, struct bytes *input, bool eof, struct fail *fail)
{
	size_t at = 0, used;
	int r;

	do {
		struct refscript_command command;

		r = refscript_next(input->data + at, input->len - at, s->cas->nul, eof, &command,
				   &used, fail);
		if (r == 1) {
			r = execute(s, &command, fail) < 0 ? fail->kind : 1;
			refscript_release(&command);
			at += used;
		}
	} while (r == 1);
	memmove(input->data, input->data + at, input->len - at);
	bytes_truncate(input, input->len - at);
	return fail->kind;
}

static int read_all(struct session *s, struct fail *fail)
{
	struct bytes input = BYTES_INIT;
	ssize_t n = 1;

	while (n > 0 && fail->kind == 0) {
		bytes_reserve(&input, 65536);
		n = read(STDIN_FILENO, input.data + input.len, 65536);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n < 0) {
			fail_errno(fail, "read standard input");
			break;
		}
		bytes_truncate(&input, input.len + (size_t)n);
		execute_all(s, &input, n == 0, fail);
	}
	bytes_release(&input);
	return fail->kind;
}

int cas_ref_stdin(struct cas_ref *cas)
{
	struct fail fail = FAIL_INIT;
	struct session s = {.cas = cas, .txn = REF_TXN_INIT, .chatter = BYTES_INIT};

	if (read_all(&s, &fail) == 0 && s.state == OPEN && s.count)
		commit(&s, &fail);
	give_up(&s);
	free(s.edits);
	bytes_release(&s.chatter);
	return fail.kind ? cas_ref_report(cas, &fail) : STATUS_OK;
}
