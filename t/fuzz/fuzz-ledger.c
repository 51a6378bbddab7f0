/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as a line of the ledger, and as the record of a run under a mutex.
 *
 * The first byte chooses: as they are, with the checksum put right (which a fuzzer does
 * not find by itself), or as a record. What was refused is refused by a kind that callers
 * know; a record that was taken is written, and read back as itself.
 */
#include "prelude.h"

#include "bytes.h"
#include "ledgerread.h"
#include "mutex.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(const struct fail *fail)
{
	check(fail->kind == FAIL_UNSUPPORTED || fail->kind == FAIL_CORRUPT);
	check(fail->message[0]);
}

static void try_line(const char *text, size_t len)
{
	struct ledger_line line;
	struct fail fail = FAIL_INIT;

	if (ledger_parse(text, len, &line, &fail) < 0) {
		check_refusal(&fail);
		return;
	}
	check(line.object != NULL);
	ledger_line_release(&line);
}

static void try_object(const char *text, size_t len)
{
	struct bytes line = BYTES_INIT;

	bytes_addf(&line, "1 %08lx ", crc32(0, (const Bytef *)text, (uInt)len));
	bytes_add(&line, text, len);
	try_line(line.data, line.len);
	bytes_release(&line);
}

static void try_run(const char *text, size_t len)
{
	struct bytes once = BYTES_INIT, twice = BYTES_INIT;
	struct mutex_run run, again;
	struct fail fail = FAIL_INIT;

	if (mutex_run_parse(text, len, &run, &fail) < 0) {
		check_refusal(&fail);
	} else {
		mutex_run_format(&run, &once);
		check(mutex_run_parse(once.data, once.len, &again, &fail) == 0);
		mutex_run_format(&again, &twice);
		check(!strcmp(once.data, twice.data));
		mutex_run_release(&again);
	}
	mutex_run_release(&run);
	bytes_release(&once);
	bytes_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (!size)
		return 0;
	if (data[0] % 3 == 0)
		try_line(text, size - 1);
	else if (data[0] % 3 == 1)
		try_object(text, size - 1);
	else
		try_run(text, size - 1);
	return 0;
}
