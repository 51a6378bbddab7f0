/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * number: strict parsing of what people type.
 *
 * Nothing here guesses: trailing bytes, signs, blanks, overflow and the empty
 * string are refused. A refusal is FAIL_USAGE and names `what` (the option,
 * variable or setting that the text came from).
 */
#ifndef NUMBER_H
#define NUMBER_H

#include "fail.h"

#define DURATION_NEVER INT64_MAX

/* A decimal number from `low` to `high`. */
int number_parse(const char *text, const char *what, int64_t low, int64_t high, int64_t *out,
		 struct fail *fail);

/*
 * A duration in milliseconds: "500ms", "30s", "10m", "8h", "2d", "1w", a bare
 * number of seconds, "0", or "never" (DURATION_NEVER).
 */
int duration_parse(const char *text, const char *what, int64_t *ms, struct fail *fail);

/* A size in bytes with an optional k, m or g (powers of 1024), as git config has them. */
int size_parse(const char *text, const char *what, int64_t *bytes, struct fail *fail);

/* git's spellings: true yes on 1 / false no off 0 and the empty string. */
int bool_parse(const char *text, const char *what, bool *out, struct fail *fail);

#endif
