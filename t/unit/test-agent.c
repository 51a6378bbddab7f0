/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* agent: which event means what, as a table; what is read, and what is refused. */
#include "agent.h"

#include "name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define CC AGENT_CLAUDE_CODE
#define CX AGENT_CODEX

/* ---- event and action ------------------------------------------------------------------------ */

static const struct {
	enum agent_kind agent;
	const char *event, *reason;
	enum agent_action action;
} decisions[] = {
	{CC, "WorktreeCreate", NULL, AGENT_CLAIM},
	{CC, "WorktreeRemove", NULL, AGENT_RELEASE},
	{CC, "UserPromptSubmit", NULL, AGENT_SAVE},
	{CC, "PreToolUse", NULL, AGENT_NOTHING},
	{CC, "PostToolUse", NULL, AGENT_SAVE},
	{CC, "PostToolUseFailure", NULL, AGENT_SAVE},
	{CC, "Stop", NULL, AGENT_SAVE},
	{CC, "StopFailure", NULL, AGENT_SAVE},
	{CC, "SubagentStart", NULL, AGENT_NOTHING},
	{CC, "SubagentStop", NULL, AGENT_SAVE},
	{CC, "SessionStart", NULL, AGENT_NOTHING},
	{CC, "Notification", NULL, AGENT_NOTHING},
	{CC, "SessionEnd", NULL, AGENT_END},
	{CC, "SessionEnd", "other", AGENT_END},
	{CC, "SessionEnd", "logout", AGENT_END},
	{CC, "SessionEnd", "prompt_input_exit", AGENT_END},
	{CC, "SessionEnd", "a reason that is not born yet", AGENT_END},
	/* the process goes on, and is in there */
	{CC, "SessionEnd", "clear", AGENT_SAVE},
	{CC, "SessionEnd", "resume", AGENT_SAVE},
	/* names are names */
	{CC, "posttooluse", NULL, AGENT_NOTHING},
	{CC, "PostToolUse ", NULL, AGENT_NOTHING},
	{CC, "NotBornYet", NULL, AGENT_NOTHING},
	{CX, "Stop", NULL, AGENT_SAVE},
	{CX, "SubagentStop", NULL, AGENT_SAVE},
	{CX, "UserPromptSubmit", NULL, AGENT_SAVE},
	{CX, "PostToolUse", NULL, AGENT_SAVE},
	{CX, "SessionStart", NULL, AGENT_NOTHING},
	{CX, "SessionEnd", "other", AGENT_END},
	/* Codex has no worktree hooks */
	{CX, "WorktreeCreate", NULL, AGENT_NOTHING},
	{CX, "WorktreeRemove", NULL, AGENT_NOTHING},
};

static void each_event_has_its_action(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
		const struct agent_event event = {.event = decisions[i].event,
						  .reason = decisions[i].reason};

		if (agent_decide(decisions[i].agent, &event) != decisions[i].action)
			fail_msg("%s, %s (%s)", agent_kind_name(decisions[i].agent), event.event,
				 event.reason ? event.reason : "no reason");
	}
}

static void agents_have_names(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	enum agent_kind kind;

	assert_int_equal(agent_kind_named("claude-code", &kind, &fail), 0);
	assert_int_equal(kind, CC);
	assert_int_equal(agent_kind_named("codex", &kind, &fail), 0);
	assert_int_equal(kind, CX);
	assert_int_equal(agent_kind_named("claude", &kind, &fail), FAIL_USAGE);
	assert_non_null(strstr(fail.message, "claude-code, codex"));
}

/* ---- fields ---------------------------------------------------------------------------------- */

static void same_text(const char *got, const char *want)
{
	if (!want)
		assert_null(got);
	else if (!got)
		fail_msg("nothing instead of '%s'", want);
	else
		assert_string_equal(got, want);
}

#define EVENT "\"hook_event_name\":\"X\""

static const struct {
	const char *json;
	struct agent_event event;
} fields[] = {
	{"{" EVENT "}", {.event = "X"}},
	{" \n{" EVENT " } ", {.event = "X"}},
	{"{" EVENT ",\"name\":\"a\",\"worktree_name\":\"b\"}", {.event = "X", .name = "a"}},
	{"{" EVENT ",\"worktree_name\":\"b\"}", {.event = "X", .name = "b"}},
	{"{" EVENT ",\"name\":null,\"worktree_name\":\"b\"}", {.event = "X", .name = "b"}},
	/* another type, or nothing in it: not there */
	{"{" EVENT ",\"session_id\":7,\"cwd\":[],\"tool_name\":{},\"reason\":true,\"name\":\"\"}",
	 {.event = "X"}},
	/* no absolute path */
	{"{" EVENT ",\"cwd\":\"here\",\"worktree_path\":\"../x\"}", {.event = "X"}},
	{"{" EVENT ",\"cwd\":\"/a b\",\"worktree_path\":\"/w\"}",
	 {.event = "X", .cwd = "/a b", .worktree = "/w"}},
	/* a NUL is in no path */
	{"{" EVENT ",\"cwd\":\"/a\\u0000b\",\"session_id\":\"s\\u0000\"}", {.event = "X"}},
	/* the file that was written, and only of who writes */
	{"{" EVENT ",\"tool_name\":\"Edit\",\"tool_input\":{\"file_path\":\"/f\"}}",
	 {.event = "X", .tool = "Edit", .file = "/f"}},
	{"{" EVENT ",\"tool_name\":\"NotebookEdit\",\"tool_input\":{\"notebook_path\":\"/n\"}}",
	 {.event = "X", .tool = "NotebookEdit", .file = "/n"}},
	{"{" EVENT ",\"tool_name\":\"Read\",\"tool_input\":{\"file_path\":\"/f\"}}",
	 {.event = "X", .tool = "Read"}},
	{"{" EVENT ",\"tool_name\":\"Write\",\"tool_input\":{\"file_path\":\"f\"}}",
	 {.event = "X", .tool = "Write"}},
	{"{" EVENT ",\"tool_name\":\"Write\",\"tool_input\":\"file_path\"}",
	 {.event = "X", .tool = "Write"}},
	{"{" EVENT ",\"tool_input\":{\"file_path\":\"/f\"}}", {.event = "X"}},
	/* the last of two counts */
	{"{" EVENT ",\"reason\":\"a\",\"reason\":\"b\"}", {.event = "X", .reason = "b"}},
	/* halves of a character */
	{"{" EVENT ",\"reason\":\"a\\ud83d\"}", {.event = "X", .reason = "a\xef\xbf\xbd"}},
	{"{" EVENT ",\"reason\":\"\\uDE80\\ud83d\\u0041\"}",
	 {.event = "X",
	  .reason = "\xef\xbf\xbd\xef\xbf\xbd"
		    "A"}},
	{"{" EVENT ",\"reason\":\"\\ud83d\\ude80\"}", {.event = "X", .reason = "\xf0\x9f\x9a\x80"}},
	{"{" EVENT ",\"reason\":\"\\\\ud83d\"}", {.event = "X", .reason = "\\ud83d"}},
};

static void fields_are_found(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct agent_event *want = &fields[i].event;
		struct fail fail = FAIL_INIT;
		struct agent_event event;

		if (agent_parse(fields[i].json, strlen(fields[i].json), &event, &fail) < 0)
			fail_msg("%s: %s", fields[i].json, fail.message);
		same_text(event.event, want->event);
		same_text(event.session, want->session);
		same_text(event.cwd, want->cwd);
		same_text(event.name, want->name);
		same_text(event.worktree, want->worktree);
		same_text(event.tool, want->tool);
		same_text(event.file, want->file);
		same_text(event.reason, want->reason);
		agent_event_release(&event);
	}
}

static void what_is_no_event_is_refused(UNUSED void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[]",
		"null",
		"7",
		"\"X\"",
		"{\"a\"}",
		"{" EVENT,
		"{" EVENT ",}",
		"{'a':1}",
		"{\"hook_event_name\":7}",
		"{" EVENT ",\"a\":\"\xff\"}",
		"{" EVENT ",\"a\":\"\\ud8\"}",
		"{" EVENT "} x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct fail fail = FAIL_INIT;
		struct agent_event event;

		if (agent_parse(texts[i], strlen(texts[i]), &event, &fail) != FAIL_FATAL)
			fail_msg("taken: %s", texts[i]);
		assert_true(fail.message[0]);
		agent_event_release(&event);
	}
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Writes to a pipe that stays open. */
static int read_from(const void *data, size_t len, struct bytes *out, struct fail *fail)
{
	int ends[2];
	int r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(write(ends[1], data, len), len);
	r = agent_read(ends[0], out, fail);
	close(ends[0]);
	close(ends[1]);
	return r;
}

static void reading_ends_with_the_object(UNUSED void **state)
{
	static const char *const texts[][2] = {
		{"{}", "{}"},
		{" \t\n{ \"a\" : [1, {}] } ", " \t\n{ \"a\" : [1, {}] }"},
		{"{\"a\":\"}\"}{\"b\":1}", "{\"a\":\"}\"}"},
		{"{\"a\":\"\\\"}\"}\n", "{\"a\":\"\\\"}\"}"},
		{"{\"a\":\"\\\\\"}}", "{\"a\":\"\\\\\"}"},
		{"{]", "{]"}, /* the parser's to refuse */
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct bytes out = BYTES_INIT;
		struct fail fail = FAIL_INIT;

		assert_int_equal(read_from(texts[i][0], strlen(texts[i][0]), &out, &fail), 0);
		assert_string_equal(out.data, texts[i][1]);
		bytes_release(&out);
	}
}

static void what_cannot_become_an_object_is_not_read_on(UNUSED void **state)
{
	static const struct {
		const char *data;
		size_t len;
		const char *words;
	} inputs[] = {
		{"hello", 5, "byte 0x68"},     {"[1]", 3, "byte 0x5b"},	   {"\0{}", 3, "byte 0x00"},
		{"\xff\xfe{", 3, "byte 0xff"}, {"\"{}\"", 4, "byte 0x22"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		struct bytes out = BYTES_INIT;
		struct fail fail = FAIL_INIT;

		assert_int_equal(read_from(inputs[i].data, inputs[i].len, &out, &fail), FAIL_FATAL);
		if (!strstr(fail.message, inputs[i].words))
			fail_msg("'%s' without '%s'", fail.message, inputs[i].words);
		bytes_release(&out);
	}
}

static void depth_is_bounded(UNUSED void **state)
{
	struct bytes text = BYTES_INIT, out = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct agent_event event;

	bytes_adds(&text, "{" EVENT ",\"a\":");
	for (int i = 1; i < AGENT_DEPTH_MAX; i++)
		bytes_addc(&text, '[');
	for (int i = 1; i < AGENT_DEPTH_MAX; i++)
		bytes_addc(&text, ']');
	bytes_addc(&text, '}');
	assert_int_equal(read_from(text.data, text.len, &out, &fail), 0);
	assert_int_equal(agent_parse(out.data, out.len, &event, &fail), 0);
	agent_event_release(&event);
	bytes_clear(&out);
	bytes_clear(&text);
	for (int i = 0; i <= AGENT_DEPTH_MAX; i++)
		bytes_adds(&text, "{\"a\":");
	assert_int_equal(read_from(text.data, text.len, &out, &fail), FAIL_FATAL);
	assert_non_null(strstr(fail.message, "deeper than 500"));
	bytes_release(&text);
	bytes_release(&out);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void keys_are_names_whatever_they_come_from(UNUSED void **state)
{
	char *longer = mem_alloc(5001), *longest = mem_alloc(5001);
	const char *const given[] = {
		"a",  "A-b_c.d", "..",	     ".", "-x", "a/b", "a//b", "a@b",  "a@2fb", "a b",
		"\n", "$(id)",	 "\xc3\xa9", "@", "@.", "@.x", "'`\"", longer, longest,
	};
	char *keys[ARRAY_SIZE(given)];
	struct fail fail = FAIL_INIT;

	memset(longer, 'x', 5000);
	memset(longest, 'x', 5000);
	longer[4999] = '\0';
	longest[5000] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		const struct agent_event event = {.session = given[i], .name = given[i]};
		char *prefix = agent_key_prefix(&event), *session = agent_session(&event);

		keys[i] = agent_key(&event);
		if (name_check(keys[i], "key", &fail) < 0 ||
		    name_check(session, "session", &fail) < 0)
			fail_msg("'%s': %s", given[i], fail.message);
		assert_memory_equal(keys[i], prefix, strlen(prefix));
		assert_memory_equal(prefix, session, strlen(session));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(keys[i], keys[j]);
		free(prefix);
		free(session);
	}
	assert_string_equal(keys[0], "a/a");
	assert_string_equal(keys[1], "A-b_c.d/A-b_c.d");
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		free(keys[i]);
	free(longer);
	free(longest);
}

static void a_worktree_without_a_name_is_a_new_one(UNUSED void **state)
{
	const struct agent_event event = {.session = "s"}, nobody = {.name = "n"};
	char *a = agent_key(&event), *b = agent_key(&event), *c = agent_key(&nobody);

	assert_string_not_equal(a, b);
	assert_memory_equal(a, "s/", 2);
	assert_string_equal(c, "@/n");
	assert_null(agent_session(&nobody));
	free(a);
	free(b);
	free(c);
}

static void messages_are_one_line(UNUSED void **state)
{
	struct agent_event event = {.event = "Stop"};
	struct bytes out = BYTES_INIT;

	agent_message(&event, NULL, &out);
	assert_string_equal(out.data, "Stop");
	bytes_clear(&out);
	event.tool = "Edit";
	agent_message(&event, "src/a b.c", &out);
	assert_string_equal(out.data, "Edit src/a b.c");
	bytes_clear(&out);
	event.tool = "x\n\nShadow-Base: y\x1b[31m";
	agent_message(&event, "a\nb", &out);
	assert_null(strpbrk(out.data, "\n\x1b"));
	bytes_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_has_its_action),
		cmocka_unit_test(agents_have_names),
		cmocka_unit_test(fields_are_found),
		cmocka_unit_test(what_is_no_event_is_refused),
		cmocka_unit_test(reading_ends_with_the_object),
		cmocka_unit_test(what_cannot_become_an_object_is_not_read_on),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(keys_are_names_whatever_they_come_from),
		cmocka_unit_test(a_worktree_without_a_name_is_a_new_one),
		cmocka_unit_test(messages_are_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
