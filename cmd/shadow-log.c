/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git shadow-commit log: the history of a chain, rendered by git. */
#include "shadow.h"

#include "history.h"
#include "name.h"
#include "number.h"
#include "out.h"
#include "ref.h"
#include "shadowgit.h"
#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct log_options {
	const char *session, *ref;
	bool all, json, nul;
	int64_t count;	      /* of records; -1: all */
	struct argv git;      /* handed to git log */
	struct argv choosing; /* the same without -n: which checkpoints they are */
	struct argv paths;
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

/* "-5", "-n 5", "-n5", "--max-count=5" */
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

/* One of git's, with its value. */
static void take_git_option(int argc, char **argv, int *i, struct log_options *o, struct fail *fail)
{
	int first = *i;
	bool counts = count_option(argc, argv, i, &o->count, fail);

	if (!counts && shadow_option_has_value(argv[*i]) && *i + 1 < argc)
		++*i;
	for (int k = first; fail->kind == 0 && k <= *i; k++) {
		argv_push(&o->git, argv[k]);
		if (!counts)
			argv_push(&o->choosing, argv[k]);
	}
}

static int parse_one(int argc, char **argv, int *i, struct log_options *o, struct fail *fail)
{
	const char *arg = argv[*i];
	const char *value = option_value("--session", argc, argv, i, fail);

	if (value)
		o->session = value;
	else if ((value = option_value("--ref", argc, argv, i, fail)))
		o->ref = value;
	else if (!strcmp(arg, "--all"))
		o->all = true;
	else if (!strcmp(arg, "--json"))
		o->json = true;
	else if (!strcmp(arg, "-z"))
		o->nul = true;
	else if (fail->kind == 0)
		take_git_option(argc, argv, i, o, fail);
	return fail->kind;
}

static int parse(int argc, char **argv, struct log_options *o, struct fail *fail)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (parse_one(argc, argv, &i, o, fail) < 0)
			return fail->kind;
	for (i++; i < argc; i++)
		argv_push(&o->paths, argv[i]);
	if (o->session && name_check(o->session, "option --session", fail) < 0)
		return fail->kind;
	if (o->all && o->ref)
		return fail_set(fail, FAIL_USAGE, "--all and --ref exclude each other");
	return 0;
}

/* ---- which checkpoints ------------------------------------------------------------------- */

struct chosen {
	struct oid id;
	int64_t time;
	size_t number; /* in the order in which they were found */
};

struct choice {
	const struct log_options *o;
	struct history history;
	struct oid *tips;
	size_t tip_count, tip_cap;
	struct oidset seen; /* chains of one repository may share checkpoints */
	struct chosen *list;
	size_t count, cap;
	struct out out; /* records that are written as they are found */
	bool writing;
};

static int add_tip(void *arg, UNUSED const char *name, const struct oid *oid,
		   UNUSED struct fail *fail)
{
	struct choice *c = arg;

	MEM_GROW(c->tips, c->tip_cap, c->tip_count + 1);
	c->tips[c->tip_count++] = *oid;
	return 0;
}

static int find_tips(struct repo *repo, struct choice *c, struct fail *fail)
{
	struct oid tip;
	char *chain;

	if (c->o->all)
		return ref_each(repo, "refs/shadow/", add_tip, c, fail);
	if (shadow_chain(repo, c->o->ref, &chain, fail) < 0)
		return fail->kind;
	if (ref_read(repo, chain, &tip, fail) == 0)
		add_tip(c, chain, &tip, fail);
	else if (fail->kind == FAIL_GONE && !c->o->ref)
		fail_clear(fail); /* nothing saved yet: an empty history */
	free(chain);
	return fail->kind;
}

/* Takes one that fits; 1 when no more are wanted. */
static int choose(void *arg, const struct checkpoint *cp, UNUSED struct fail *fail)
{
	struct choice *c = arg;
	bool limited = c->writing && c->o->count >= 0;

	if (limited && c->count >= (size_t)c->o->count)
		return 1;
	if ((c->o->session && (!cp->session || strcmp(cp->session, c->o->session) != 0)) ||
	    !oidset_add(&c->seen, &cp->id))
		return 0;
	MEM_GROW(c->list, c->cap, c->count + 1);
	c->list[c->count] = (struct chosen){.id = cp->id, .time = cp->time, .number = c->count};
	c->count++;
	if (c->writing)
		shadow_record(&c->out, cp);
	return 0;
}

/* The graft file, and the revisions to walk from and to stop at. */
static int push_revisions(struct choice *c, struct argv *args, struct fail *fail)
{
	struct bytes grafts = BYTES_INIT;
	struct argv stops = ARGV_INIT;
	char hex[OID_HEX_MAX + 1];

	for (size_t i = 0; i < c->tip_count && fail->kind == 0; i++) {
		struct oid stop;

		argv_push(args, oid_hex(&c->tips[i], hex));
		if (history_grafts(&c->history, &c->tips[i], c->o->all, &grafts, &stop, fail) ==
			    0 &&
		    !oid_is_zero(&stop))
			argv_pushf(&stops, "^%s", oid_hex(&stop, hex));
	}
	for (size_t i = 0; i < stops.count; i++)
		argv_push(args, stops.items[i]);
	if (fail->kind == 0)
		shadow_set_grafts(&grafts, fail);
	argv_release(&stops);
	bytes_release(&grafts);
	return fail->kind;
}

static void push_paths(const struct log_options *o, struct argv *args)
{
	argv_push(args, "--");
	for (size_t i = 0; i < o->paths.count; i++)
		argv_push(args, o->paths.items[i]);
}

static int take_line(struct choice *c, const char *line, size_t len, struct fail *fail)
{
	size_t width = 2 * hash_size(c->history.odb->repo->algo);
	struct checkpoint cp = CHECKPOINT_INIT;
	struct oid id;
	int r = 0;

	/* --graph draws in front of the id. */
	if (len >= width && oid_parse(c->history.odb->repo->algo, line + len - width, width, &id)) {
		r = checkpoint_read(c->history.odb, &id, &cp, fail);
		if (r == 0)
			r = choose(c, &cp, fail);
	}
	checkpoint_release(&cp);
	return r;
}

/* git says which, by its options and paths. */
static int choose_by_git(struct choice *c, const struct argv *options, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	int r = 0;

	repo_git(c->history.odb->repo, &cmd);
	argv_push_all(&cmd.argv, "-c", "advice.graftFileDeprecated=false", "-c",
		      "log.showSignature=false", "log", "--first-parent", NULL);
	for (size_t i = 0; options && i < options->count; i++)
		argv_push(&cmd.argv, options->items[i]);
	argv_push_all(&cmd.argv, "--format=%H", "--no-patch", "--no-color", NULL);
	if (push_revisions(c, &cmd.argv, fail) < 0)
		goto done;
	push_paths(c->o, &cmd.argv);
	if (spawn_capture(&cmd, &out, fail) < 0)
		goto done;
	for (const char *p = out.data; *p && r == 0;) {
		size_t n = strcspn(p, "\n");

		r = take_line(c, p, n, fail);
		p += n + (p[n] == '\n');
	}
done:
	spawn_release(&cmd);
	bytes_release(&out);
	return fail->kind;
}

static int newer_first(const void *a, const void *b)
{
	const struct chosen *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? 1 : -1;
	return x->number < y->number ? -1 : 1;
}

static int choose_natively(struct choice *c, struct fail *fail)
{
	for (size_t i = 0; i < c->tip_count && fail->kind == 0; i++)
		history_each(&c->history, &c->tips[i], choose, c, fail);
	if (c->tip_count > 1 && c->count)
		qsort(c->list, c->count, sizeof(*c->list), newer_first);
	return fail->kind;
}

/* ---- records and text --------------------------------------------------------------------- */

static int write_chosen(struct choice *c, struct fail *fail)
{
	size_t n = c->count;

	if (c->o->count >= 0 && (uint64_t)c->o->count < n)
		n = (size_t)c->o->count;
	for (size_t i = 0; i < n && fail->kind == 0; i++) {
		struct checkpoint cp = CHECKPOINT_INIT;

		if (checkpoint_read(c->history.odb, &c->list[i].id, &cp, fail) == 0)
			shadow_record(&c->out, &cp);
		checkpoint_release(&cp);
	}
	return fail->kind;
}

static int print_records(struct choice *c, struct fail *fail)
{
	struct fail printing = FAIL_INIT;

	out_open(&c->out, c->o->json ? OUT_JSON : OUT_NUL, STDOUT_FILENO);
	/* Written at once, unless they have to be sorted first. */
	c->writing = c->tip_count == 1;
	if (c->o->choosing.count || c->o->paths.count) {
		c->writing = true;
		choose_by_git(c, &c->o->choosing, fail);
	} else if (choose_natively(c, fail) == 0 && !c->writing) {
		write_chosen(c, fail);
	}
	if (out_close(&c->out, &printing) < 0 && !fail->kind)
		*fail = printing;
	return fail->kind;
}

/* The whole history: git walks it. */
static int show_all(struct choice *c, struct argv *args, struct fail *fail)
{
	argv_push_all(args, "log", "--first-parent", NULL);
	for (size_t i = 0; i < c->o->git.count; i++)
		argv_push(args, c->o->git.items[i]);
	if (push_revisions(c, args, fail) < 0)
		return fail->kind;
	push_paths(c->o, args);
	return shadow_exec_git(args, fail);
}

/*
 * One session's: found here, by their trailers, and handed to git one by one. Each is
 * still shown against the checkpoint before it, whoever made that.
 */
static int show_chosen(struct choice *c, struct argv *args, struct fail *fail)
{
	struct argv unused = ARGV_INIT;
	struct bytes ids = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];

	if (c->o->paths.count)
		choose_by_git(c, NULL, fail);
	else if (choose_natively(c, fail) == 0)
		push_revisions(c, &unused, fail);
	for (size_t i = 0; i < c->count; i++)
		bytes_addf(&ids, "%s\n", oid_hex(&c->list[i].id, hex));
	argv_push_all(args, "log", "--first-parent", NULL);
	for (size_t i = 0; i < c->o->git.count; i++)
		argv_push(args, c->o->git.items[i]);
	/* Behind the user's options: for git a limit like -1 means that it has to walk. */
	argv_push_all(args, "--no-walk=unsorted", "--stdin", NULL);
	push_paths(c->o, args);
	/* With nothing to show git would show HEAD. */
	if (fail->kind == 0 && c->count && shadow_set_input(&ids, fail) == 0)
		shadow_exec_git(args, fail);
	argv_release(&unused);
	bytes_release(&ids);
	return fail->kind;
}

static int show_text(struct choice *c, struct fail *fail)
{
	struct argv args = ARGV_INIT;

	if (c->tip_count && c->o->session)
		show_chosen(c, &args, fail);
	else if (c->tip_count)
		show_all(c, &args, fail);
	argv_release(&args);
	return fail->kind;
}

static int run(const struct log_options *o, struct repo *repo, struct fail *fail)
{
	struct choice choice = {.o = o};
	struct odb odb;

	odb_init(&odb, repo);
	history_init(&choice.history, &odb);
	if (find_tips(repo, &choice, fail) == 0) {
		if (o->json || o->nul)
			print_records(&choice, fail);
		else
			show_text(&choice, fail);
	}
	history_release(&choice.history);
	oidset_release(&choice.seen);
	odb_release(&odb);
	free(choice.tips);
	free(choice.list);
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
		if (shadow_open(&repo, REPO_ANY, &fail) == 0)
			run(&o, &repo, &fail);
		repo_close(&repo);
	}
	argv_release(&o.git);
	argv_release(&o.choosing);
	argv_release(&o.paths);
	return fail.kind ? status_report(SHADOW_COMMAND, &fail) : STATUS_OK;
}
