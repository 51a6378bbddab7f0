/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "agent.h"

#include "quote.h"
#include "slot.h"

#include <jansson.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>

/* ---- which agent ----------------------------------------------------------------------------- */

static const char *const kinds[] = {
	[AGENT_CLAUDE_CODE] = "claude-code",
	[AGENT_CODEX] = "codex",
};

int agent_kind_named(const char *name, enum agent_kind *kind, struct fail *fail)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i], name)) {
			*kind = (enum agent_kind)i;
			return 0;
		}
	return fail_set(fail, FAIL_USAGE, "unknown agent '%s' (%s, %s)", name, kinds[0], kinds[1]);
}

const char *agent_kind_name(enum agent_kind kind)
{
	return kinds[kind];
}

/* ---- the fields ------------------------------------------------------------------------------ */

/* A text without a NUL in it, which could be no name of anything; else NULL. */
static char *text_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	if (!text || !*text || strlen(text) != json_string_length(value))
		return NULL;
	return mem_strdup(text);
}

static char *path_of(const json_t *object, const char *key)
{
	char *path = text_of(object, key);

	if (path && path[0] == '/')
		return path;
	free(path);
	return NULL;
}

/*
 * Only of tools that write the file: what another one has merely read may have been
 * changed by somebody else, and a save of that path would say that it was this session.
 */
static char *written_file(const char *tool, const json_t *input)
{
	static const struct {
		const char *tool, *field;
	} writers[] = {
		{"Edit", "file_path"},
		{"MultiEdit", "file_path"},
		{"Write", "file_path"},
		{"NotebookEdit", "notebook_path"},
	};

	for (size_t i = 0; tool && i < ARRAY_SIZE(writers); i++)
		if (!strcmp(writers[i].tool, tool))
			return path_of(input, writers[i].field);
	return NULL;
}

static int take_fields(const json_t *object, struct agent_event *out, struct fail *fail)
{
	out->event = text_of(object, "hook_event_name");
	out->session = text_of(object, "session_id");
	out->cwd = path_of(object, "cwd");
	out->name = text_of(object, "name");
	if (!out->name)
		out->name = text_of(object, "worktree_name");
	out->worktree = path_of(object, "worktree_path");
	out->tool = text_of(object, "tool_name");
	out->file = written_file(out->tool, json_object_get(object, "tool_input"));
	out->reason = text_of(object, "reason");
	if (!out->event)
		return fail_set(fail, FAIL_FATAL,
				"standard input names no event: no 'hook_event_name' in the JSON "
				"object");
	return 0;
}

/* ---- halves of a character ------------------------------------------------------------------- */

/* The four hex digits behind "\u"; negative when it is no such escape. */
static long unit_at(const char *p, const char *end)
{
	char digits[5] = {0};

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	memcpy(digits, p + 2, 4);
	return strspn(digits, "0123456789abcdefABCDEF") == 4 ? strtol(digits, NULL, 16) : -1;
}

static bool is_high(long unit)
{
	return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low(long unit)
{
	return unit >= 0xdc00 && unit < 0xe000;
}

/*
 * An agent that cuts a long tool output in the middle of a character beyond the first 65536
 * writes one half of it, "\ud83d". That is JSON, but no text, and the parser refuses it: such a
 * half becomes U+FFFD, in place. Outside of strings there are no backslashes.
 */
static void mend_halves(char *text, size_t len)
{
	char *end = text + len;

	for (char *p = text; (p = memchr(p, '\\', (size_t)(end - p)));) {
		long unit = unit_at(p, end);

		if (is_high(unit) && is_low(unit_at(p + 6, end))) {
			p += 12;
		} else {
			if (is_high(unit) || is_low(unit))
				memcpy(p + 2, "fffd", 4);
			p += end - p < 2 ? 1 : 2;
		}
	}
}

/* ---- parse ----------------------------------------------------------------------------------- */

int agent_parse(const char *text, size_t len, struct agent_event *out, struct fail *fail)
{
	char *copy = mem_dup(text, len);
	json_error_t error;
	json_t *object;

	*out = (struct agent_event){0};
	mend_halves(copy, len);
	object = json_loadb(copy, len, JSON_ALLOW_NUL, &error);
	free(copy);
	if (!object)
		fail_set(fail, FAIL_FATAL, "standard input is not valid JSON: %s (line %d)",
			 error.text, error.line);
	else if (!json_is_object(object))
		fail_set(fail, FAIL_FATAL, "standard input is no JSON object");
	else
		take_fields(object, out, fail);
	json_decref(object);
	return fail->kind;
}

void agent_event_release(struct agent_event *event)
{
	const char **texts[] = {&event->event,	  &event->session, &event->cwd,	 &event->name,
				&event->worktree, &event->tool,	   &event->file, &event->reason};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		free((char *)*texts[i]);
		*texts[i] = NULL;
	}
}

/* ---- decide ---------------------------------------------------------------------------------- */

#define CLAUDE_CODE (1u << AGENT_CLAUDE_CODE)
#define CODEX (1u << AGENT_CODEX)

static const struct {
	const char *event;
	unsigned agents;
	enum agent_action action;
} rules[] = {
	{"WorktreeCreate", CLAUDE_CODE, AGENT_CLAIM},
	{"WorktreeRemove", CLAUDE_CODE, AGENT_RELEASE},
	{"UserPromptSubmit", CLAUDE_CODE | CODEX, AGENT_SAVE}, /* as it was before the turn */
	{"PostToolUse", CLAUDE_CODE | CODEX, AGENT_SAVE},
	{"PostToolUseFailure", CLAUDE_CODE | CODEX, AGENT_SAVE}, /* it may have come half-way */
	{"Stop", CLAUDE_CODE | CODEX, AGENT_SAVE},
	{"StopFailure", CLAUDE_CODE | CODEX, AGENT_SAVE},
	{"SubagentStop", CLAUDE_CODE | CODEX, AGENT_SAVE},
	{"SessionEnd", CLAUDE_CODE | CODEX, AGENT_END},
};

/*
 * After these the agent goes on, in the directory where it is, as another session: a
 * worktree that was taken from it now would be taken from under it.
 */
static bool goes_on(const char *reason)
{
	return reason && (!strcmp(reason, "clear") || !strcmp(reason, "resume"));
}

enum agent_action agent_decide(enum agent_kind kind, const struct agent_event *event)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (strcmp(rules[i].event, event->event) != 0 || !(rules[i].agents & 1u << kind))
			continue;
		if (rules[i].action == AGENT_END && goes_on(event->reason))
			return AGENT_SAVE;
		return rules[i].action;
	}
	return AGENT_NOTHING;
}

/* ---- names ----------------------------------------------------------------------------------- */

#define SESSION_LEN 72
#define NAME_LEN 120 /* with the session and a '/' it is a name (name.h) */

/*
 * Letters, digits, '.', '_' and '-' stand for themselves, but the first is a letter, a digit or
 * '_'; every other byte is "@" and two hex digits. What gets too long keeps its head, and ends in
 * "@." and a hash of all, which no encoding gives.
 */
static void encode(const char *text, size_t room, struct bytes *out)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_.-";
	const size_t tail = 34;
	size_t start = out->len, cut = 0;
	char digest[SHA256_DIGEST_STRING_LENGTH];

	for (const char *p = text; *p; p++) {
		if (strchr(plain, *p) && (p > text || (*p != '.' && *p != '-')))
			bytes_addc(out, *p);
		else
			bytes_addf(out, "@%02x", (unsigned char)*p);
		if (out->len - start <= room - tail)
			cut = out->len - start;
	}
	if (out->len - start <= room)
		return;
	SHA256Data((const uint8_t *)text, strlen(text), digest);
	bytes_truncate(out, start + cut);
	bytes_addf(out, "@.%.32s", digest);
}

char *agent_session(const struct agent_event *event)
{
	struct bytes out = BYTES_INIT;

	if (!event->session)
		return NULL;
	encode(event->session, SESSION_LEN, &out);
	return bytes_take(&out);
}

char *agent_key_prefix(const struct agent_event *event)
{
	struct bytes out = BYTES_INIT;

	/* A '@' alone is no encoding of anything. */
	if (event->session)
		encode(event->session, SESSION_LEN, &out);
	else
		bytes_addc(&out, '@');
	bytes_addc(&out, '/');
	return bytes_take(&out);
}

char *agent_key(const struct agent_event *event)
{
	struct bytes out = BYTES_INIT;
	char *prefix = agent_key_prefix(event);
	char *name = event->name ? mem_strdup(event->name) : slot_new_id();

	bytes_adds(&out, prefix);
	encode(name, NAME_LEN, &out);
	free(prefix);
	free(name);
	return bytes_take(&out);
}

#define TITLE_MAX 100 /* bytes of a tool's or an event's name */

void agent_message(const struct agent_event *event, const char *path, struct bytes *out)
{
	const char *title = event->tool ? event->tool : event->event;
	size_t len = strlen(title);

	quote_line(title, len < TITLE_MAX ? len : TITLE_MAX, out);
	if (path) {
		bytes_addc(out, ' ');
		quote_c(path, strlen(path), out);
	}
}
