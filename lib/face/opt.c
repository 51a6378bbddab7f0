/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "opt.h"

#include "bytes.h"
#include "number.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_BASE 10000  /* --no-<name> of option i is NO_BASE + i */
#define LONG_BASE 1000 /* --<name> of option i is LONG_BASE + i */
#define USAGE_COLUMN 26

static bool takes_value(const struct opt *opt)
{
	return opt->kind >= OPT_KIND_STRING;
}

static void print_option(const struct opt *opt, FILE *out)
{
	struct bytes line = BYTES_INIT;

	bytes_adds(&line, "    ");
	if (opt->letter)
		bytes_addf(&line, "-%c%s", opt->letter, opt->name ? ", " : "");
	if (opt->name)
		bytes_addf(&line, "--%s%s", opt->kind == OPT_KIND_TRISTATE ? "[no-]" : "",
			   opt->name);
	if (takes_value(opt))
		bytes_addf(&line, " <%s>", opt->value);
	if (line.len < USAGE_COLUMN)
		fprintf(out, "%-*s%s\n", USAGE_COLUMN, line.data, opt->help);
	else
		fprintf(out, "%s\n%*s%s\n", line.data, USAGE_COLUMN, "", opt->help);
	bytes_release(&line);
}

void opt_usage(const struct opt_spec *spec, void *stream)
{
	const char *lead = "usage:";

	for (const char *const *line = spec->synopsis; *line; line++) {
		fprintf(stream, "%s %s\n", lead, *line);
		lead = "   or:";
	}
	fputc('\n', stream);
	for (const struct opt *opt = spec->options; opt->kind != OPT_KIND_END; opt++)
		print_option(opt, stream);
}

static void add_long(struct option *list, size_t *n, const char *name, int has_arg, int val)
{
	list[*n].name = name;
	list[*n].has_arg = has_arg;
	list[*n].flag = NULL;
	list[*n].val = val;
	(*n)++;
}

/* getopt's two tables for ours; `negated` keeps the --no- names. */
static struct option *long_table(const struct opt_spec *spec, struct bytes *letters,
				 struct argv *negated)
{
	size_t count = 0, n = 0;
	struct option *list;

	while (spec->options[count].kind != OPT_KIND_END)
		count++;
	list = mem_array(2 * count + 2, sizeof(*list));
	bytes_adds(letters, spec->stop_at_argument ? "+:h" : ":h");
	for (size_t i = 0; i < count; i++) {
		const struct opt *opt = &spec->options[i];

		if (opt->letter)
			bytes_addf(letters, "%c%s", opt->letter, takes_value(opt) ? ":" : "");
		if (opt->name)
			add_long(list, &n, opt->name,
				 takes_value(opt) ? required_argument : no_argument,
				 LONG_BASE + (int)i);
		if (opt->kind == OPT_KIND_TRISTATE) {
			argv_pushf(negated, "no-%s", opt->name);
			add_long(list, &n, negated->items[negated->count - 1], no_argument,
				 NO_BASE + (int)i);
		}
	}
	add_long(list, &n, "help", no_argument, 'h');
	return list;
}

static int store(const struct opt *opt, bool negated, const char *value, struct fail *fail)
{
	char what[64];

	if (opt->name)
		snprintf(what, sizeof(what), "option --%s", opt->name);
	else
		snprintf(what, sizeof(what), "option -%c", opt->letter);
	switch (opt->kind) {
	case OPT_KIND_FLAG:
		*(bool *)opt->into = true;
		return 0;
	case OPT_KIND_TRISTATE:
		*(int *)opt->into = !negated;
		return 0;
	case OPT_KIND_COUNT:
		++*(int *)opt->into;
		return 0;
	case OPT_KIND_STRING:
		*(const char **)opt->into = value;
		return 0;
	case OPT_KIND_LIST:
		argv_push(opt->into, value);
		return 0;
	case OPT_KIND_DURATION:
		return duration_parse(value, what, opt->into, fail);
	case OPT_KIND_NUMBER:
		return number_parse(value, what, 0, INT64_MAX, opt->into, fail);
	case OPT_KIND_END:
		break;
	}
	return 0;
}

static const struct opt *find(const struct opt_spec *spec, int val, bool *negated)
{
	*negated = val >= NO_BASE;
	if (val >= NO_BASE)
		return &spec->options[val - NO_BASE];
	if (val >= LONG_BASE)
		return &spec->options[val - LONG_BASE];
	for (const struct opt *opt = spec->options; opt->kind != OPT_KIND_END; opt++)
		if (opt->letter == val)
			return opt;
	return NULL;
}

static int refuse(char **argv, int val, struct fail *fail)
{
	const char *text = optind > 0 ? argv[optind - 1] : "";

	if (val == ':')
		return fail_set(fail, FAIL_USAGE, "option '%s' needs a value", text);
	if (optopt && optopt < LONG_BASE)
		return fail_set(fail, FAIL_USAGE, "unknown option '-%c'", optopt);
	return fail_set(fail, FAIL_USAGE, "unknown or ambiguous option '%s'", text);
}

/*
 * Where "--" stood. getopt moves it before the arguments, so it is looked for in
 * the original order: the first "--" that is not the value of an option is the
 * one getopt stopped at, and everything behind it stays at the end.
 */
static void find_dashes(char **argv, int argc, struct opt_args *args)
{
	args->dashes = optind > 1 && !strcmp(argv[optind - 1], "--");
	args->items = argv + optind;
	args->count = argc - optind;
	args->dash_at = 0;
}

/* Arguments before "--", which getopt would mix with those behind it. */
static int count_before_dashes(const struct opt_args *args, char *const *original, int argc)
{
	int behind = 0;

	if (!args->dashes)
		return args->count;
	for (int i = argc - 1; i > 0 && behind < args->count; i--, behind++)
		if (!strcmp(original[i], "--") &&
		    !(behind < args->count && original[i] == args->items[args->count - 1 - behind]))
			break;
	return args->count - behind;
}

int opt_parse(const struct opt_spec *spec, int argc, char **argv, struct opt_args *args,
	      struct fail *fail)
{
	struct bytes letters = BYTES_INIT;
	struct argv negated = ARGV_INIT;
	struct option *list = long_table(spec, &letters, &negated);
	char **original = mem_dup(argv, sizeof(*argv) * (size_t)(argc + 1));
	int result = OPT_OK;
	int val;

	opterr = 0;
	optind = 0; /* glibc: start over, also with another table */
	while (result == OPT_OK && (val = getopt_long(argc, argv, letters.data, list, NULL)) >= 0) {
		bool no;
		const struct opt *opt;

		if (val == 'h') {
			opt_usage(spec, stdout);
			result = OPT_HELP;
		} else if (val == '?' || val == ':') {
			result = refuse(argv, val, fail);
		} else if ((opt = find(spec, val, &no))) {
			result = store(opt, no, optarg, fail);
		}
	}
	find_dashes(argv, argc, args);
	args->dash_at = count_before_dashes(args, original, argc);
	free(original);
	free(list);
	argv_release(&negated);
	bytes_release(&letters);
	return result;
}
