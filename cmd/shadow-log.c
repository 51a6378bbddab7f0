/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit log: the history of a chain, rendered by git. */
#include "shadow.h"

#include "history.h"
#include "name.h"
#include "number.h"
#include "out.h"
#include "ref.h"
#include "shadowgit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct log_options {
	const char *session, *ref;
	bool all, json, nul;
	int64_t count;	 /* of records with --json and -z; -1: all */
	struct argv git; /* handed to git log */
	struct argv paths;
	bool dashes;
};

static const char usage[] =
	"usage: git shadow-commit log [--session <id>] [--ref <ref> | --all] [--json|-z]\n"
	"                             [<git-log options>] [-- <path>...]\n\n"
	"    --session <id>        only checkpoints of this session\n"
	"    --ref <ref>           the history of this chain\n"
	"    --all                 every chain of the repository\n"
	"    --json                one JSON object per checkpoint\n"
	"    -z                    NUL-terminated fields\n";

/* The value of "--name value" or "--name=value"; NULL when `arg` is another option. */
static const char *option_value(const char *name, int argc, char **argv, int *i, struct fail *fail)
{
	size_t n = strlen(name);

	if (!strncmp(argv[*i], name, n) && argv[*i][n] == '=')
		return argv[*i] + n + 1;
	if (strcmp(argv[*i], name) != 0)
		return NULL;
	if (*i + 1 == argc) {
		fail_set(fail, FAIL_USAGE, "option '%s' needs a value", name);
		return NULL;
	}
	return argv[++*i];
}

/* "-5", "-n 5", "-n5", "--max-count=5": the only option of git's that records know too. */
static bool count_option(int argc, char **argv, int *i, int64_t *count, struct fail *fail)
{
	const char *value = option_value("--max-count", argc, argv, i, fail);

	if (!value)
		value = option_value("-n", argc, argv, i, fail);
	if (!value && !strncmp(argv[*i], "-n", 2) && argv[*i][2])
		value = argv[*i] + 2;
	if (!value && argv[*i][0] == '-' && argv[*i][1] >= '0' && argv[*i][1] <= '9')
		value = argv[*i] + 1;
	if (value)
		number_parse(value, "-n", 0, INT64_MAX, count, fail);
	return value != NULL;
}

static int parse_one(int argc, char **argv, int *i, struct log_options *o, struct fail *fail)
{
	const char *arg = argv[*i];
	const char *value = option_value("--session", argc, argv, i, fail);
	int first = *i;
	int64_t count = -1;

	if (value) {
		o->session = value;
	} else if ((value = option_value("--ref", argc, argv, i, fail))) {
		o->ref = value;
	} else if (!strcmp(arg, "--all")) {
		o->all = true;
	} else if (!strcmp(arg, "--json")) {
		o->json = true;
	} else if (!strcmp(arg, "-z")) {
		o->nul = true;
	} else {
		if (count_option(argc, argv, i, &count, fail))
			o->count = count;
		for (int k = first; fail->kind == 0 && k <= *i; k++)
			argv_push(&o->git, argv[k]);
	}
	return fail->kind;
}

static int parse(int argc, char **argv, struct log_options *o, struct fail *fail)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (parse_one(argc, argv, &i, o, fail) < 0)
			return fail->kind;
	o->dashes = i < argc;
	for (i++; i < argc; i++)
		argv_push(&o->paths, argv[i]);
	if (o->session && name_check(o->session, "session id", fail) < 0)
		return fail->kind;
	if (o->all && o->ref)
		return fail_set(fail, FAIL_USAGE, "--all and --ref exclude each other");
	if ((o->json || o->nul) && o->git.count > (o->count >= 0 ? 2u : 0u))
		return fail_set(
			fail, FAIL_USAGE,
			"with --json or -z only -n, --session, --ref, --all and paths can be "
			"given, not '%s'",
			o->git.items[0]);
	return 0;
}

/* ---- records ---------------------------------------------------------------------------- */

struct records {
	const struct log_options *o;
	struct odb *odb;
	struct out out;
	int64_t left;
	struct checkpoint newer; /* waits until its predecessor is known, to judge its paths */
	bool has_newer;
};

static void copy_for_later(struct records *r, const struct checkpoint *cp)
{
	r->newer = *cp;
	r->newer.session = cp->session ? mem_strdup(cp->session) : NULL;
	r->newer.worktree = NULL;
	r->newer.subject = mem_strdup(cp->subject);
	r->newer.message = mem_strdup(cp->message);
	r->newer.paths = (struct argv)ARGV_INIT;
	r->has_newer = true;
}

static int touches(struct records *r, const struct oid *before, bool *touched, struct fail *fail)
{
	*touched = !r->o->paths.count;
	for (size_t i = 0; i < r->o->paths.count && !*touched; i++)
		if (shadow_path_differs(r->odb, before, &r->newer.tree, r->o->paths.items[i],
					touched, fail) < 0)
			return fail->kind;
	return 0;
}

/* Writes the one that waits; `before` is the tree of its predecessor. */
static int flush(struct records *r, const struct oid *before, struct fail *fail)
{
	bool touched;

	if (!r->has_newer || touches(r, before, &touched, fail) < 0)
		return fail->kind;
	if (touched && r->left != 0) {
		shadow_record(&r->out, &r->newer);
		r->left -= r->left > 0;
	}
	checkpoint_release(&r->newer);
	r->has_newer = false;
	return 0;
}

static int take(void *arg, const struct checkpoint *cp, struct fail *fail)
{
	struct records *r = arg;
	bool wanted = !r->o->session || (cp->session && !strcmp(cp->session, r->o->session));

	if (flush(r, &cp->tree, fail) < 0)
		return fail->kind;
	if (r->left == 0)
		return 1;
	if (wanted)
		copy_for_later(r, cp);
	return 0;
}

/* The predecessor of a chain's first checkpoint is its base. */
static int flush_last(struct records *r, struct fail *fail)
{
	struct commit base = {0};
	struct oid tree;

	oid_zero(r->odb->repo->algo, &tree);
	if (r->has_newer && r->o->paths.count && !oid_is_zero(&r->newer.base) &&
	    commit_read(r->odb, &r->newer.base, &base, fail) == 0)
		tree = base.tree;
	commit_release(&base);
	return fail->kind ? fail->kind : flush(r, &tree, fail);
}

/* ---- tips ---------------------------------------------------------------------------------- */

struct tips {
	struct oid *ids;
	size_t count, cap;
};

static int add_tip(void *arg, UNUSED const char *name, const struct oid *oid,
		   UNUSED struct fail *fail)
{
	struct tips *tips = arg;

	MEM_GROW(tips->ids, tips->cap, tips->count + 1);
	tips->ids[tips->count++] = *oid;
	return 0;
}

static int find_tips(struct repo *repo, const struct log_options *o, struct tips *tips,
		     struct fail *fail)
{
	struct oid tip;
	char *chain;

	if (o->all)
		return ref_each(repo, "refs/shadow/", add_tip, tips, fail);
	if (shadow_chain(repo, o->ref, &chain, fail) < 0)
		return fail->kind;
	if (ref_read(repo, chain, &tip, fail) == 0)
		add_tip(tips, chain, &tip, fail);
	else if (fail->kind == FAIL_GONE && !o->ref)
		fail_clear(fail); /* nothing saved yet: an empty history */
	free(chain);
	return fail->kind;
}

static int print_records(struct odb *odb, const struct log_options *o, const struct tips *tips,
			 struct fail *fail)
{
	struct records records = {.o = o, .odb = odb, .left = o->count};

	out_open(&records.out, o->json ? OUT_JSON : OUT_NUL, STDOUT_FILENO);
	for (size_t i = 0; i < tips->count && fail->kind == 0; i++)
		if (history_each(odb, &tips->ids[i], take, &records, fail) == 0)
			flush_last(&records, fail);
	checkpoint_release(&records.newer);
	return out_close(&records.out, fail);
}

static int run_git_log(struct odb *odb, const struct log_options *o, const struct tips *tips,
		       struct fail *fail)
{
	struct bytes grafts = BYTES_INIT;
	struct argv args = ARGV_INIT, stops = ARGV_INIT;
	char hex[OID_HEX_MAX + 1];

	argv_push_all(&args, "log", "--first-parent", NULL);
	if (o->session)
		shadow_session_filter(o->session, &args);
	for (size_t i = 0; i < o->git.count; i++)
		argv_push(&args, o->git.items[i]);
	for (size_t i = 0; i < tips->count && fail->kind == 0; i++) {
		struct oid stop;

		argv_push(&args, oid_hex(&tips->ids[i], hex));
		if (history_grafts(odb, &tips->ids[i], &grafts, &stop, fail) == 0 &&
		    !oid_is_zero(&stop))
			argv_pushf(&stops, "^%s", oid_hex(&stop, hex));
	}
	for (size_t i = 0; i < stops.count; i++)
		argv_push(&args, stops.items[i]);
	argv_push(&args, "--");
	for (size_t i = 0; i < o->paths.count; i++)
		argv_push(&args, o->paths.items[i]);
	if (fail->kind == 0)
		shadow_exec_git(&args, &grafts, fail);
	argv_release(&args);
	argv_release(&stops);
	bytes_release(&grafts);
	return fail->kind;
}

static int run(const struct log_options *o, struct repo *repo, struct fail *fail)
{
	struct tips tips = {0};
	struct odb odb;

	odb_init(&odb, repo);
	if (find_tips(repo, o, &tips, fail) == 0) {
		if (o->json || o->nul)
			print_records(&odb, o, &tips, fail);
		else if (tips.count)
			run_git_log(&odb, o, &tips, fail);
	}
	odb_release(&odb);
	free(tips.ids);
	return fail->kind;
}

int shadow_log(int argc, char **argv)
{
	struct log_options o = {.count = -1};
	struct fail fail = FAIL_INIT;
	struct repo repo;

	if (argc > 1 && !strcmp(argv[1], "-h")) {
		fputs(usage, stdout);
		return STATUS_OK;
	}
	if (parse(argc, argv, &o, &fail) == 0) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0)
			run(&o, &repo, &fail);
		repo_close(&repo);
	}
	argv_release(&o.git);
	argv_release(&o.paths);
	return fail.kind ? status_report(SHADOW_COMMAND, &fail) : STATUS_OK;
}
