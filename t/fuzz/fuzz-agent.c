/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as what an agent sends to its hook.
 *
 * Beside the sanitizers' checks: what is refused says why; what was taken has an event, paths
 * that are absolute, names that are valid, and a message of one line. What was read from a
 * file ends with the object, and is parsed as the whole input is.
 */
#include "prelude.h"

#include "agent.h"
#include "name.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_path(const char *path)
{
	check(!path || path[0] == '/');
}

static void check_names(const struct agent_event *event)
{
	char *key = agent_key(event), *prefix = agent_key_prefix(event),
	     *session = agent_session(event);
	struct bytes message = BYTES_INIT;
	struct fail fail = FAIL_INIT;

	check(name_check(key, "key", &fail) == 0);
	check(!strncmp(key, prefix, strlen(prefix)));
	check(!session || name_check(session, "session", &fail) == 0);
	agent_message(event, event->file, &message);
	check(message.len && !strpbrk(message.data, "\n\r\033"));
	bytes_release(&message);
	free(key);
	free(prefix);
	free(session);
}

static void try_text(const char *text, size_t len)
{
	struct fail fail = FAIL_INIT;
	struct agent_event event;

	if (agent_parse(text, len, &event, &fail) < 0) {
		check(fail.kind == FAIL_FATAL && fail.message[0]);
	} else {
		check(event.event && *event.event);
		check_path(event.cwd);
		check_path(event.worktree);
		check_path(event.file);
		agent_decide(AGENT_CLAUDE_CODE, &event);
		agent_decide(AGENT_CODEX, &event);
		check_names(&event);
	}
	agent_event_release(&event);
}

static void try_file(const uint8_t *data, size_t size)
{
	static int file = -1;
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;

	if (file < 0)
		file = memfd_create("input", MFD_CLOEXEC);
	check(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size &&
	      lseek(file, 0, SEEK_SET) == 0);
	if (agent_read(file, &text, &fail) < 0) {
		check(fail.kind == FAIL_FATAL && fail.message[0]);
	} else {
		check(text.len <= size && !memcmp(text.data, data, text.len));
		check(strchr("}]", text.data[text.len - 1]) != NULL);
		try_text(text.data, text.len);
	}
	bytes_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_text((const char *)data, size);
	try_file(data, size);
	return 0;
}
