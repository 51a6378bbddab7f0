/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as the record of a lease, and as the birth record of a slot.
 *
 * The first byte chooses: as they are, or behind the words of one of the two. Beside the
 * sanitizers' checks: what was taken is written, and then read back, as itself; what
 * was refused says why, and by a kind that callers know.
 */
#include "prelude.h"

#include "bytes.h"
#include "slot.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(const struct fail *fail)
{
	check(fail->kind == FAIL_NO || fail->kind == FAIL_UNSUPPORTED ||
	      fail->kind == FAIL_CORRUPT);
	check(fail->message[0]);
}

static void try_record(const char *text, size_t len)
{
	struct bytes once = BYTES_INIT, twice = BYTES_INIT;
	struct slot_record record, again;
	struct fail fail = FAIL_INIT;

	if (slot_record_parse(text, len, &record, &fail) < 0) {
		check_refusal(&fail);
	} else {
		check(record.slot && (!record.lease || slot_id_valid(record.lease)));
		slot_record_format(&record, record.slot, &once);
		check(slot_record_parse(once.data, once.len, &again, &fail) == 0);
		slot_record_format(&again, again.slot, &twice);
		check(!strcmp(once.data, twice.data));
		slot_record_release(&again);
	}
	slot_record_release(&record);
	bytes_release(&once);
	bytes_release(&twice);
}

static void try_birth(const char *text, size_t len)
{
	struct bytes once = BYTES_INIT, twice = BYTES_INIT;
	struct slot_birth birth, again;
	struct fail fail = FAIL_INIT;

	if (slot_birth_parse(text, len, &birth, &fail) < 0) {
		check_refusal(&fail);
	} else {
		check(birth.path[0] == '/' && !strstr(birth.path, "/../"));
		slot_birth_format(&birth, &once);
		check(slot_birth_parse(once.data, once.len, &again, &fail) == 0);
		slot_birth_format(&again, &twice);
		check(!strcmp(once.data, twice.data));
		slot_birth_release(&again);
	}
	slot_birth_release(&birth);
	bytes_release(&once);
	bytes_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const words[] = {"", "interlock 1 ", "interlock-birth 1 "};
	struct bytes text = BYTES_INIT;

	if (!size)
		return 0;
	bytes_adds(&text, words[data[0] % ARRAY_SIZE(words)]);
	bytes_add(&text, data + 1, size - 1);
	try_record(text.data, text.len);
	try_birth(text.data, text.len);
	bytes_release(&text);
	return 0;
}
