/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * refscript: the language of `git update-ref --stdin`, read as it comes in.
 *
 *	update SP <ref> SP <new> SP <old> LF		<ref>, <new> and <old> may be
 *	create SP <ref> SP <new> LF			C-quoted
 *	delete SP <ref> SP <old> LF
 *	verify SP <ref> [SP <old>] LF
 *	option SP no-deref LF
 *	start LF  prepare LF  commit LF  abort LF
 *	symref-update SP <ref> SP <target> [SP (ref SP <old> | oid SP <old>)] LF
 *	symref-create SP <ref> SP <target> LF
 *	symref-delete SP <ref> SP <old> LF
 *	symref-verify SP <ref> [SP <old>] LF
 *
 * and with `nul` the same words, each field but the verb's own SP ended by NUL,
 * nothing quoted, and an empty field meaning "not given".
 *
 * Stricter than git in one thing: an update or delete without <old> is refused.
 * Pure: bytes in, one command out; nothing is looked up.
 */
#ifndef REFSCRIPT_H
#define REFSCRIPT_H

#include "fail.h"

enum refscript_verb {
	REFSCRIPT_UPDATE,
	REFSCRIPT_CREATE,
	REFSCRIPT_DELETE,
	REFSCRIPT_VERIFY,
	REFSCRIPT_SYMREF_UPDATE,
	REFSCRIPT_SYMREF_CREATE,
	REFSCRIPT_SYMREF_DELETE,
	REFSCRIPT_SYMREF_VERIFY,
	REFSCRIPT_OPTION,
	REFSCRIPT_START,
	REFSCRIPT_PREPARE,
	REFSCRIPT_COMMIT,
	REFSCRIPT_ABORT,
};

/* Strings that were not given are NULL. Release with refscript_release(). */
struct refscript_command {
	enum refscript_verb verb;
	char *ref;
	char *new_value; /* an expression; for symref verbs the new target */
	char *old_value; /* an expression; for symref verbs the old target or id */
	char *old_kind;	 /* symref-update: "ref" or "oid" */
};

/*
 * Takes the first command of `text` (`len` bytes; a NUL behind them is not
 * needed). 1: `command` is filled and `used` bytes are done with. 0: more input
 * is needed; at `eof` with bytes left that is FAIL_USAGE. FAIL_USAGE names the
 * offending line.
 */
int refscript_next(const char *text, size_t len, bool nul, bool eof,
		   struct refscript_command *command, size_t *used, struct fail *fail);

void refscript_release(struct refscript_command *command);

const char *refscript_verb_name(enum refscript_verb verb);

#endif
