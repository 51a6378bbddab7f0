/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "wildmatch.h"

#include <string.h>

typedef unsigned char byte;

/* A match under way. Where a star could have taken more is where we go back to. */
struct wild {
	const byte *pattern, *p, *p_end;
	const byte *t, *t_end;
	const byte *star_p, *star_t; /* behind the last '*', and what it has taken up to */
	const byte *deep_p, *deep_t; /* behind the last "**" and its slash, the same */
	bool fold_case;
};

enum verdict {
	MATCHED,  /* one token, go on */
	MISSED,	  /* go back to a star */
	WON,	  /* whatever follows matches */
	HOPELESS, /* no star can help */
};

static bool is_lower(byte c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_upper(byte c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_digit(byte c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(byte c)
{
	return is_lower(c) || is_upper(c) || is_digit(c);
}

static byte fold(const struct wild *w, byte c)
{
	return w->fold_case && is_upper(c) ? (byte)(c + ('a' - 'A')) : c;
}

bool wildmatch_special(char c)
{
	return c == '*' || c == '?' || c == '[' || c == '\\';
}

enum class {
	CLASS_ALNUM,
	CLASS_ALPHA,
	CLASS_BLANK,
	CLASS_CNTRL,
	CLASS_DIGIT,
	CLASS_GRAPH,
	CLASS_LOWER,
	CLASS_PRINT,
	CLASS_PUNCT,
	CLASS_SPACE,
	CLASS_UPPER,
	CLASS_XDIGIT,
	CLASS_COUNT
};

static const char class_names[CLASS_COUNT][8] = {
	"alnum", "alpha", "blank", "cntrl", "digit", "graph",
	"lower", "print", "punct", "space", "upper", "xdigit",
};

/* git's own tables: ASCII whatever the locale, and vertical tab is no space. */
static bool in_class(enum class class, byte c, bool fold_case)
{
	switch (class) {
	case CLASS_ALNUM:
		return is_alnum(c);
	case CLASS_ALPHA:
		return is_lower(c) || is_upper(c);
	case CLASS_BLANK:
		return c == ' ' || c == '\t';
	case CLASS_CNTRL:
		return c < 0x20 || c == 0x7f;
	case CLASS_DIGIT:
		return is_digit(c);
	case CLASS_GRAPH:
		return c > 0x20 && c < 0x7f;
	case CLASS_LOWER:
		return is_lower(c);
	case CLASS_PRINT:
		return c >= 0x20 && c < 0x7f;
	case CLASS_PUNCT:
		return c > 0x20 && c < 0x7f && !is_alnum(c);
	case CLASS_SPACE:
		return c == ' ' || c == '\t' || c == '\n' || c == '\r';
	case CLASS_UPPER:
		return is_upper(c) || (fold_case && is_lower(c));
	case CLASS_XDIGIT:
		return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
	case CLASS_COUNT:
		break;
	}
	return false;
}

static bool find_class(const byte *name, size_t len, enum class *out)
{
	for (size_t i = 0; i < CLASS_COUNT; i++)
		if (strlen(class_names[i]) == len && !memcmp(class_names[i], name, len)) {
			*out = (enum class)i;
			return true;
		}
	return false;
}

/* A bracket under way; `prev` is what a following '-' starts its range from, 0 for nothing. */
struct bracket {
	byte c; /* the byte of the text */
	byte prev;
	bool hit;
};

static bool in_range(const struct wild *w, byte c, byte low, byte high)
{
	if (c >= low && c <= high)
		return true;
	if (!w->fold_case || !is_lower(c))
		return false;
	c = (byte)(c - ('a' - 'A'));
	return c >= low && c <= high;
}

/*
 * "[:name:]" at w->p. MISSED when it is a plain '[' after all: the first ']'
 * has no ':' in front of it.
 */
static enum verdict bracket_class(struct wild *w, struct bracket *b)
{
	const byte *name = w->p + 2;
	const byte *end = memchr(name, ']', (size_t)(w->p_end - name));
	enum class class;

	if (!end)
		return HOPELESS;
	if (end == name || end[-1] != ':')
		return MISSED;
	if (!find_class(name, (size_t)(end - 1 - name), &class))
		return HOPELESS;
	b->hit |= in_class(class, b->c, w->fold_case);
	b->prev = 0;
	w->p = end + 1;
	return MATCHED;
}

/* One element of a bracket at w->p, which is below w->p_end. */
static enum verdict bracket_element(struct wild *w, struct bracket *b)
{
	const byte *p = w->p;
	size_t left = (size_t)(w->p_end - p);
	bool range = *p == '-' && b->prev && left > 1 && p[1] != ']';

	if (*p == '[' && left > 1 && p[1] == ':') {
		enum verdict verdict = bracket_class(w, b);

		if (verdict != MISSED)
			return verdict;
	}
	if (range)
		p++;
	if (*p == '\\' && ++p == w->p_end)
		return HOPELESS;
	b->hit |= range ? in_range(w, b->c, b->prev, *p) : b->c == *p;
	b->prev = range ? 0 : *p;
	w->p = p + 1;
	return MATCHED;
}

/* w->p is behind the '['. A ']' that comes first stands for itself. */
static enum verdict match_bracket(struct wild *w)
{
	struct bracket b = {.c = fold(w, *w->t)};
	bool negated = w->p < w->p_end && (*w->p == '!' || *w->p == '^');

	if (negated)
		w->p++;
	do {
		if (w->p == w->p_end || bracket_element(w, &b) == HOPELESS)
			return HOPELESS;
	} while (w->p == w->p_end || *w->p != ']');
	w->p++;
	if (b.hit == negated || *w->t == '/')
		return MISSED;
	w->t++;
	return MATCHED;
}

static enum verdict match_byte(struct wild *w, byte c)
{
	if (fold(w, *w->t) != c)
		return MISSED;
	if (c == '/')
		w->star_p = NULL; /* a star cannot give up the slash behind it */
	w->t++;
	return MATCHED;
}

static const byte *next_slash(const struct wild *w, const byte *from)
{
	return memchr(from, '/', (size_t)(w->t_end - from));
}

/* A run of stars that ends at w->p and is not "**" as a component. */
static enum verdict match_star(struct wild *w)
{
	const byte *slash;

	if (w->p < w->p_end && *w->p != '/') {
		w->star_p = w->p;
		w->star_t = w->t;
		return MATCHED;
	}
	slash = next_slash(w, w->t);
	if (w->p == w->p_end)
		return slash ? MISSED : WON;
	if (!slash)
		return HOPELESS;
	w->t = slash;
	return MATCHED;
}

/* Lets the last "**" take one more component. */
static enum verdict deepen(struct wild *w)
{
	const byte *slash = w->deep_p ? next_slash(w, w->deep_t) : NULL;

	if (!slash)
		return HOPELESS;
	w->star_p = NULL;
	w->p = w->deep_p;
	w->t = w->deep_t = slash + 1;
	return MATCHED;
}

static enum verdict match_stars(struct wild *w)
{
	const byte *run = w->p;
	bool deep, escaped;

	while (w->p < w->p_end && *w->p == '*')
		w->p++;
	escaped = w->p_end - w->p > 1 && w->p[0] == '\\' && w->p[1] == '/';
	deep = w->p - run > 1 && (run == w->pattern || run[-1] == '/') &&
	       (w->p == w->p_end || *w->p == '/' || escaped);
	if (!deep)
		return match_star(w);
	if (w->p == w->p_end)
		return WON;
	/*
	 * Components between two slashes match one for one, so the first place
	 * where the rest fits ends as early as any: an older "**" need not be
	 * remembered. Behind "**" an escaped slash wants at least one directory.
	 */
	w->deep_p = w->p + (escaped ? 2 : 1);
	w->deep_t = w->t;
	if (escaped)
		return deepen(w);
	w->star_p = NULL;
	w->p = w->deep_p;
	return MATCHED;
}

static enum verdict match_token(struct wild *w)
{
	if (w->p == w->p_end)
		return w->t == w->t_end ? WON : MISSED;
	if (*w->p == '*')
		return match_stars(w);
	if (w->t == w->t_end)
		return HOPELESS; /* starting later leaves even less text */
	switch (*w->p++) {
	case '?':
		return *w->t++ == '/' ? MISSED : MATCHED;
	case '[':
		return match_bracket(w);
	case '\\':
		return w->p == w->p_end ? HOPELESS : match_byte(w, *w->p++);
	default:
		return match_byte(w, fold(w, w->p[-1]));
	}
}

/* Lets the last star take one more byte, or the last "**" one more component. */
static enum verdict go_back(struct wild *w)
{
	if (w->star_p && w->star_t < w->t_end && *w->star_t != '/') {
		w->p = w->star_p;
		w->t = ++w->star_t;
		return MATCHED;
	}
	return deepen(w);
}

bool wildmatch_span(const char *pattern, size_t pattern_len, const char *text, size_t text_len,
		    bool fold_case)
{
	struct wild w = {
		.pattern = (const byte *)pattern,
		.p = (const byte *)pattern,
		.p_end = (const byte *)pattern + pattern_len,
		.t = (const byte *)text,
		.t_end = (const byte *)text + text_len,
		.fold_case = fold_case,
	};

	for (;;) {
		enum verdict verdict = match_token(&w);

		if (verdict == MISSED)
			verdict = go_back(&w);
		if (verdict == WON || verdict == HOPELESS)
			return verdict == WON;
	}
}

bool wildmatch_path(const char *pattern, const char *text, bool fold_case)
{
	return wildmatch_span(pattern, strlen(pattern), text, strlen(text), fold_case);
}
