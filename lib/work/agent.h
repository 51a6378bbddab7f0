/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * agent: what a coding agent's hook says, and what is to be done about it.
 *
 *	struct bytes text = BYTES_INIT;
 *	struct agent_event event;
 *
 *	if (agent_read(STDIN_FILENO, &text, fail) == 0 &&
 *	    agent_parse(text.data, text.len, &event, fail) == 0)
 *		switch (agent_decide(AGENT_CLAUDE_CODE, &event)) ...
 *	agent_event_release(&event);
 *
 * An agent starts its hook's command and writes one JSON object to its standard input. It does
 * not always close that afterwards, so reading ends with the object, not with the file.
 * The fields are those that the agents' own documentation names (autumn 2026); one that
 * is missing, null or of another type is not there, and unknown ones are passed over:
 * agents add fields with each release.
 *
 * agent_parse() and agent_decide() look at nothing but their arguments.
 */
#ifndef AGENT_H
#define AGENT_H

#include "bytes.h"
#include "fail.h"

enum agent_kind {
	AGENT_CLAUDE_CODE,
	AGENT_CODEX,
};

/* "claude-code", "codex"; FAIL_USAGE names them. */
int agent_kind_named(const char *name, enum agent_kind *kind, struct fail *fail);
const char *agent_kind_name(enum agent_kind kind);

/* What is not said is NULL. */
struct agent_event {
	const char *event;    /* hook_event_name; never NULL after a parse */
	const char *session;  /* session_id */
	const char *cwd;      /* absolute */
	const char *name;     /* name, or worktree_name: what the agent calls a new worktree */
	const char *worktree; /* worktree_path; absolute */
	const char *tool;     /* tool_name */
	const char *file;   /* the file that this tool has written, when it writes one; absolute */
	const char *reason; /* why the session ends */
};

enum agent_action {
	AGENT_NOTHING,
	AGENT_SAVE,
	AGENT_CLAIM,   /* a worktree for the agent */
	AGENT_RELEASE, /* of that worktree */
	AGENT_END,     /* save, and release what the session has claimed */
};

#define AGENT_INPUT_MAX (64u << 20)
#define AGENT_DEPTH_MAX 500
#define AGENT_PATIENCE_MS 5000 /* of silence inside the object */

/* One JSON object from `fd`, and not a byte that comes after the read that ended it. FAIL_FATAL. */
int agent_read(int fd, struct bytes *out, struct fail *fail);

/* FAIL_FATAL for what is no JSON object with an event's name. Release also after a failure. */
int agent_parse(const char *text, size_t len, struct agent_event *out, struct fail *fail);
void agent_event_release(struct agent_event *event);

enum agent_action agent_decide(enum agent_kind kind, const struct agent_event *event);

/*
 * The name under which the session saves (NULL when it has none), the part in front that all
 * keys of its leases have ("<session>/"), and the key of one: injective, and valid names
 * (name.h) whatever the agent calls them. A worktree without a name gets a new one. The
 * caller frees.
 */
char *agent_session(const struct agent_event *event);
char *agent_key_prefix(const struct agent_event *event);
char *agent_key(const struct agent_event *event);

/* What a checkpoint is about: "Edit src/a.c", "Bash", "Stop"; `path` may be NULL. */
void agent_message(const struct agent_event *event, const char *path, struct bytes *out);

#endif
