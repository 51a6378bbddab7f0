/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as the record of an install.
 *
 * Beside the sanitizers' checks: what is refused says why; what is taken has settings files with
 * absolute paths, copies that are files of the state folder and keys that are no options, and is
 * itself again when it is written and read.
 */
#include "prelude.h"

#include "installparts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_record(const struct install_record *record)
{
	for (size_t i = 0; i < record->count; i++) {
		const struct install_conf_record *conf = &record->confs[i];

		check(conf->path[0] == '/' && (!conf->was || !strchr(conf->was, '/')));
		for (size_t k = 0; k < conf->entries.count; k++)
			check(conf->entries.items[k].key[0] != '-' &&
			      strchr(conf->entries.items[k].key, '.'));
	}
}

static void try_record(const char *text, size_t len)
{
	struct bytes once = BYTES_INIT, twice = BYTES_INIT;
	struct install_record record, again;
	struct fail fail = FAIL_INIT;

	if (install_record_parse(text, len, &record, &fail) < 0) {
		check((fail.kind == FAIL_CORRUPT || fail.kind == FAIL_UNSUPPORTED) &&
		      fail.message[0]);
	} else {
		check_record(&record);
		install_record_format(&record, &once);
		check(install_record_parse(once.data, once.len, &again, &fail) == 0);
		install_record_format(&again, &twice);
		check(!strcmp(once.data, twice.data));
		install_record_release(&again);
	}
	install_record_release(&record);
	bytes_release(&once);
	bytes_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = BYTES_INIT;

	if (!size)
		return 0;
	if (data[0] % 2)
		bytes_adds(&text, "interlock-installed 1 ");
	bytes_add(&text, data + 1, size - 1);
	try_record(text.data, text.len);
	bytes_release(&text);
	return 0;
}
