/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as the input of git cas-ref --stdin.
 *
 * The first byte chooses between the two forms. Beside the sanitizers' checks:
 * input that comes in pieces gives the same commands as input that comes at
 * once, and a command that was understood, written with NULs, is understood the
 * same.
 */
#include "prelude.h"

#include "bytes.h"
#include "refscript.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : (!a || !*a) && (!b || !*b);
}

static bool same_command(const struct refscript_command *a, const struct refscript_command *b)
{
	return a->verb == b->verb && same(a->ref, b->ref) && same(a->new_value, b->new_value) &&
	       same(a->old_value, b->old_value) && same(a->old_kind, b->old_kind);
}

static void add_field(struct bytes *out, const char *text)
{
	bytes_add(out, text, strlen(text) + 1);
}

static void check_rewritten(const struct refscript_command *command)
{
	struct refscript_command again;
	struct bytes text = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	size_t used;

	/* An empty value means zero in one form, and nothing in the other. */
	if ((command->new_value && !*command->new_value) ||
	    (command->old_value && !*command->old_value))
		return;
	bytes_adds(&text, refscript_verb_name(command->verb));
	if (command->ref)
		bytes_addf(&text, " %s", command->ref);
	bytes_addc(&text, '\0');
	if (command->new_value)
		add_field(&text, command->new_value);
	if (command->old_kind)
		add_field(&text, command->old_kind);
	if (command->old_value)
		add_field(&text, command->old_value);
	else if (command->verb == REFSCRIPT_VERIFY || command->verb == REFSCRIPT_SYMREF_VERIFY)
		add_field(&text, "");
	check(refscript_next(text.data, text.len, true, true, &again, &used, &fail) == 1);
	check(used == text.len && same_command(command, &again));
	refscript_release(&again);
	bytes_release(&text);
}

/* The same command, when the input stops after each of a few lengths first. */
static void check_pieces(const char *text, size_t len, bool nul, size_t step)
{
	struct refscript_command whole, part;
	struct fail fail = FAIL_INIT, ignored = FAIL_INIT;
	size_t used, part_used;
	int r = refscript_next(text, len, nul, true, &whole, &used, &fail);

	for (size_t n = 0; n < len; n += step) {
		int got;

		fail_clear(&ignored);
		got = refscript_next(text, n, nul, false, &part, &part_used, &ignored);
		if (got == 1) {
			check(r == 1 && part_used == used && same_command(&whole, &part));
			refscript_release(&part);
			break;
		}
		if (got < 0) {
			check(r < 0);
			break;
		}
	}
	if (r == 1)
		refscript_release(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool nul = size && (data[0] & 1);
	const char *text = (const char *)data + 1;
	size_t at = 0, len = size ? size - 1 : 0;

	while (size && at < len) {
		struct refscript_command command;
		struct fail fail = FAIL_INIT;
		size_t used;

		check_pieces(text + at, size_min(len - at, 200), nul, 7);
		if (refscript_next(text + at, len - at, nul, true, &command, &used, &fail) != 1) {
			check(fail.kind == FAIL_USAGE && fail.message[0]);
			break;
		}
		check(used > 0 && used <= len - at);
		check_rewritten(&command);
		refscript_release(&command);
		at += used;
	}
	return 0;
}
