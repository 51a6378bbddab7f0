/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "refscript.h"

#include "bytes.h"
#include "quote.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* What may follow a verb, in this order. */
enum field {
	FIELD_END,
	FIELD_REF,
	FIELD_NEW,
	FIELD_OLD, /* may not be left out */
	FIELD_OLD_MAYBE,
	FIELD_OLD_KIND, /* "ref" or "oid"; may not be left out here */
};

struct verb {
	const char *name;
	enum field fields[5];
};

static const struct verb verbs[] = {
	[REFSCRIPT_UPDATE] = {"update", {FIELD_REF, FIELD_NEW, FIELD_OLD}},
	[REFSCRIPT_CREATE] = {"create", {FIELD_REF, FIELD_NEW}},
	[REFSCRIPT_DELETE] = {"delete", {FIELD_REF, FIELD_OLD}},
	[REFSCRIPT_VERIFY] = {"verify", {FIELD_REF, FIELD_OLD_MAYBE}},
	[REFSCRIPT_SYMREF_UPDATE] = {"symref-update",
				     {FIELD_REF, FIELD_NEW, FIELD_OLD_KIND, FIELD_OLD}},
	[REFSCRIPT_SYMREF_CREATE] = {"symref-create", {FIELD_REF, FIELD_NEW}},
	[REFSCRIPT_SYMREF_DELETE] = {"symref-delete", {FIELD_REF, FIELD_OLD}},
	[REFSCRIPT_SYMREF_VERIFY] = {"symref-verify", {FIELD_REF, FIELD_OLD_MAYBE}},
	[REFSCRIPT_OPTION] = {"option", {FIELD_REF}},
	[REFSCRIPT_START] = {"start", {FIELD_END}},
	[REFSCRIPT_PREPARE] = {"prepare", {FIELD_END}},
	[REFSCRIPT_COMMIT] = {"commit", {FIELD_END}},
	[REFSCRIPT_ABORT] = {"abort", {FIELD_END}},
};

const char *refscript_verb_name(enum refscript_verb verb)
{
	return verbs[verb].name;
}

void refscript_release(struct refscript_command *command)
{
	free(command->ref);
	free(command->new_value);
	free(command->old_value);
	free(command->old_kind);
	*command = (struct refscript_command){0};
}

/* The input: one line without its LF, or all that there is under `nul`. */
struct reader {
	const char *at, *end;
	bool nul;
	bool starved; /* under `nul`: the input ends inside a field */
	const struct verb *verb;
	const char *line;
	size_t line_len;
};

static int refuse(const struct reader *r, const char *why, struct fail *fail)
{
	size_t n = size_min(r->line_len, 200);

	return fail_set(fail, FAIL_USAGE, "standard input: %s: '%.*s'", why, (int)n, r->line);
}

static int missing(const struct reader *r, enum field field, struct fail *fail)
{
	const char *what = field == FIELD_REF	? "the name is missing"
			   : field == FIELD_NEW ? "the new value is missing"
						: "the old value is missing (there is no blind "
						  "write here)";

	return refuse(r, what, fail);
}

/* A word up to the next blank, or a C-quoted string. */
static int take_word(struct reader *r, char **out, struct fail *fail)
{
	struct bytes word = BYTES_INIT;
	const char *start = r->at;
	char *copy, *rest;

	if (r->at < r->end && *r->at == '"') {
		copy = mem_dup(r->at, (size_t)(r->end - r->at));
		rest = (char *)unquote_c(copy, &word);
		r->at = rest ? start + (rest - copy) : NULL;
		free(copy);
		/* A NUL inside would cut the name short without a word. */
		if (!r->at || strlen(word.data) != word.len ||
		    (r->at < r->end && !isspace((unsigned char)*r->at))) {
			bytes_release(&word);
			return refuse(r, "badly quoted", fail);
		}
	} else {
		while (r->at < r->end && !isspace((unsigned char)*r->at))
			r->at++;
		bytes_add(&word, start, (size_t)(r->at - start));
	}
	*out = bytes_take(&word);
	return 0;
}

/* A field behind its SP; *out stays NULL when the line ends before it. */
static int take_quoted_field(struct reader *r, char **out, struct fail *fail)
{
	if (r->at == r->end)
		return 0;
	if (*r->at != ' ')
		return refuse(r, "expected a single space between fields", fail);
	r->at++;
	return take_word(r, out, fail);
}

/* A field up to its NUL; *out stays NULL when it is empty. */
static int take_nul_field(struct reader *r, char **out)
{
	const char *end = memchr(r->at, '\0', (size_t)(r->end - r->at));

	if (!end) {
		r->starved = true;
		return 0;
	}
	if (end > r->at)
		*out = mem_dup(r->at, (size_t)(end - r->at));
	r->at = end + 1;
	return 0;
}

/* The name follows its verb and one SP, in both forms. */
static int take_name(struct reader *r, struct refscript_command *command, struct fail *fail)
{
	if (!r->nul) {
		if (take_quoted_field(r, &command->ref, fail) < 0)
			return fail->kind;
	} else if (r->at < r->end && *r->at == ' ') {
		r->at++;
		take_nul_field(r, &command->ref);
		if (r->starved)
			return 0;
	}
	if (!command->ref || !*command->ref)
		return missing(r, FIELD_REF, fail);
	return 0;
}

static int take_value(struct reader *r, enum field field, char **out, struct fail *fail)
{
	if (r->nul)
		take_nul_field(r, out);
	else if (take_quoted_field(r, out, fail) < 0)
		return fail->kind;
	if (*out || r->starved || field == FIELD_OLD_MAYBE)
		return 0;
	return missing(r, field, fail);
}

static int take_field(struct reader *r, enum field field, struct refscript_command *command,
		      struct fail *fail)
{
	switch (field) {
	case FIELD_REF:
		return take_name(r, command, fail);
	case FIELD_NEW:
		return take_value(r, field, &command->new_value, fail);
	case FIELD_OLD_KIND:
		if (take_value(r, field, &command->old_kind, fail) < 0 || r->starved)
			return fail->kind;
		if (strcmp(command->old_kind, "ref") != 0 && strcmp(command->old_kind, "oid") != 0)
			return refuse(r, "expected ref or oid before the old value", fail);
		return 0;
	case FIELD_OLD:
	case FIELD_OLD_MAYBE:
		return take_value(r, field, &command->old_value, fail);
	case FIELD_END:
		break;
	}
	return 0;
}

static const struct verb *find_verb(const struct reader *r)
{
	size_t len = 0, room = (size_t)(r->end - r->at);

	while (len < room && r->at[len] && r->at[len] != ' ')
		len++;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strlen(verbs[i].name) == len && !memcmp(verbs[i].name, r->at, len))
			return &verbs[i];
	return NULL;
}

static int parse(struct reader *r, struct refscript_command *command, struct fail *fail)
{
	if (!r->line_len)
		return refuse(r, "an empty command", fail);
	if (!r->nul && memchr(r->line, '\0', r->line_len))
		return refuse(r, "a NUL byte (is -z missing?)", fail);
	if (isspace((unsigned char)*r->at))
		return refuse(r, "a blank before the command", fail);
	r->verb = find_verb(r);
	if (!r->verb)
		return refuse(r, "unknown command", fail);
	command->verb = (enum refscript_verb)(r->verb - verbs);
	r->at += strlen(r->verb->name);
	for (const enum field *f = r->verb->fields; *f != FIELD_END && !r->starved; f++)
		if (take_field(r, *f, command, fail) < 0)
			return fail->kind;
	if (r->verb->fields[0] == FIELD_END && r->nul) {
		if (r->at < r->end && *r->at)
			return refuse(r, "extra input", fail);
		r->at++;
	}
	if (!r->nul && r->at != r->end)
		return refuse(r, "extra input", fail);
	return 0;
}

int refscript_next(const char *text, size_t len, bool nul, bool eof,
		   struct refscript_command *command, size_t *used, struct fail *fail)
{
	const char *end = memchr(text, nul ? '\0' : '\n', len);
	struct reader r = {.at = text, .end = nul ? text + len : end, .nul = nul, .line = text};

	*command = (struct refscript_command){0};
	*used = 0;
	r.line_len = end ? (size_t)(end - text) : len;
	if (!end)
		r.starved = true;
	else
		parse(&r, command, fail);
	if (fail->kind == 0 && r.starved) {
		refscript_release(command);
		if (!eof || !len)
			return 0;
		return refuse(&r, "the last command is incomplete", fail);
	}
	if (fail->kind) {
		refscript_release(command);
		return fail->kind;
	}
	*used = (size_t)(r.at - text) + !nul;
	return 1;
}
