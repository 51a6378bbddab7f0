/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * wildmatch: does a path match a shell pattern, read as git reads it?
 *
 * '*' and '?' and brackets stop at '/'. "**" that is a whole component ("**" at
 * the start or behind '/', and in front of '/' or the end) spans directories,
 * none included; any other run of stars is one '*'. Brackets have ranges,
 * escapes, '!' and '^', and the ASCII classes; a bracket that does not end and
 * a class that does not exist match nothing.
 *
 * Time is polynomial whatever the pattern: at most two places are remembered to
 * go back to, the last '*' and the last "**".
 */
#ifndef WILDMATCH_H
#define WILDMATCH_H

#include "prelude.h"

bool wildmatch_path(const char *pattern, const char *text, bool fold_case);

/* The same for text and pattern that do not end in NUL; neither may hold one. */
bool wildmatch_span(const char *pattern, size_t pattern_len, const char *text, size_t text_len,
		    bool fold_case);

/* Is `c` one of * ? [ \ ? */
bool wildmatch_special(char c);

#endif
