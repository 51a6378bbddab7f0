/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * reference-transaction: no checkpoint and no rescue is lost to a write that did not look.
 *
 * git calls it for every transaction, in each of its states, with all refs of it on
 * standard input. Only "prepared" is looked at: then git holds its locks, so that what is
 * read stays as it is until the answer. (Newer gits also call it as "preparing", before
 * their locks are taken: too early to know anything.) What is no ref of ours, what one of
 * our own writers does, and what pack-refs does ends here.
 */
#include "hook.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum guard_answer judge_line(int common, const struct guard_line *line, bool writer)
{
	char *name = mem_dup(line->name, line->name_len);
	struct guard_update update = {
		.writer = writer,
		.symbolic = !strncmp(line->old_value, "ref:", 4) ||
			    !strncmp(line->new_value, "ref:", 4),
		.deletes = guard_is_zero(line->new_value, line->new_len),
		.old_given = !guard_is_zero(line->old_value, line->old_len),
	};

	if (!writer && update.deletes)
		update.copy = guard_look_copy(common, name, line->old_value, line->old_len);
	else if (!writer)
		update.present = guard_look_present(common, name, line->new_value, line->new_len);
	free(name);
	/* That a ref is in no packed-refs may mean that its refs are kept elsewhere. */
	if (update.copy == COPY_NONE)
		update.copy = COPY_UNKNOWN;
	return guard_ref_update(&update);
}

static enum guard_answer judge(const struct hook *hook)
{
	enum guard_answer answer = GUARD_PASS;
	const char *text = hook->input;
	size_t len = hook->input_len;
	struct guard_line line;
	bool writer = false;
	int common = -1;

	while (answer == GUARD_PASS && guard_next_line(&text, &len, &line)) {
		if (!guard_is_ours(line.name, line.name_len))
			continue;
		if (common < 0) {
			if (!hook_place(NULL, &common))
				return GUARD_ASK;
			writer = guard_look_writer(common);
			if (writer)
				break;
		}
		answer = judge_line(common, &line, writer);
	}
	if (common >= 0)
		close(common);
	return answer;
}

int main(UNUSED int argc, char **argv)
{
	struct hook hook;

	hook_begin(&hook, "reference-transaction", argv);
	if (!argv[0] || !argv[1] || strcmp(argv[1], "prepared") != 0 || !hook_read(&hook) ||
	    !guard_mentions_ours(hook.input, hook.input_len) || judge(&hook) == GUARD_PASS)
		return hook_pass(&hook);
	return hook_ask(&hook, HOOK_BLOCKS);
}
