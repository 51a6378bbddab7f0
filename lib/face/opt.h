/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * opt: an option table becomes a filled struct and a usage text.
 *
 *	struct save_options { bool strict; const char *message; ... } o = {...};
 *	const struct opt table[] = {
 *		OPT_STRING('m', "message", &o.message, "message", "what the checkpoint is about"),
 *		OPT_FLAG(0, "strict", &o.strict, "exit 3 when something could not be recorded"),
 *		OPT_END,
 *	};
 *	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
 *
 *	switch (opt_parse(&spec, argc, argv, &args, &fail)) ...
 *
 * getopt_long(3) does the parsing: long options may be abbreviated, options may
 * follow arguments, "--" ends them. -h prints the usage to standard output.
 */
#ifndef OPT_H
#define OPT_H

#include "argv.h"
#include "fail.h"

enum opt_kind {
	OPT_KIND_END,
	OPT_KIND_FLAG,	   /* bool: true */
	OPT_KIND_TRISTATE, /* int: 1 for --x, 0 for --no-x */
	OPT_KIND_COUNT,	   /* int: one more each time */
	OPT_KIND_STRING,   /* const char *: points into argv */
	OPT_KIND_LIST,	   /* struct argv: every value */
	OPT_KIND_DURATION, /* int64_t milliseconds */
	OPT_KIND_NUMBER,   /* int64_t, 0 or more */
};

struct opt {
	enum opt_kind kind;
	char letter; /* 0: none */
	const char *name;
	void *into;
	const char *value; /* name of the value in the usage text */
	const char *help;
};

#define OPT_FLAG(l, n, v, h) \
	{ \
		OPT_KIND_FLAG, l, n, v, NULL, h \
	}
#define OPT_TRISTATE(n, v, h) \
	{ \
		OPT_KIND_TRISTATE, 0, n, v, NULL, h \
	}
#define OPT_COUNT(l, n, v, h) \
	{ \
		OPT_KIND_COUNT, l, n, v, NULL, h \
	}
#define OPT_STRING(l, n, v, a, h) \
	{ \
		OPT_KIND_STRING, l, n, v, a, h \
	}
#define OPT_LIST(l, n, v, a, h) \
	{ \
		OPT_KIND_LIST, l, n, v, a, h \
	}
#define OPT_DURATION(n, v, h) \
	{ \
		OPT_KIND_DURATION, 0, n, v, "duration", h \
	}
#define OPT_NUMBER(n, v, h) \
	{ \
		OPT_KIND_NUMBER, 0, n, v, "n", h \
	}
#define OPT_END \
	{ \
		.kind = OPT_KIND_END \
	}

struct opt_spec {
	const char *const *synopsis; /* "git cas-ref <ref> <new> <old>", ...; NULL ends */
	const struct opt *options;
	bool stop_at_argument; /* the first argument ends the options (a subcommand's own follow) */
};

struct opt_args {
	char **items; /* the arguments that are no options; points into argv */
	int count;
	bool dashes; /* "--" stood before items[dash_at] */
	int dash_at; /* how many items came before "--" */
};

enum opt_result {
	OPT_OK,
	OPT_HELP
};

/* argv[0] is the command's name. OPT_HELP: the usage was printed, exit 0. FAIL_USAGE otherwise. */
int opt_parse(const struct opt_spec *spec, int argc, char **argv, struct opt_args *args,
	      struct fail *fail);

/* Writes the usage text to the stream. */
void opt_usage(const struct opt_spec *spec, void *stream);

#endif
