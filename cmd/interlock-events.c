/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock events: what the ledger has, and what comes to it. */
#include "interlock.h"

#include "checkpoint.h"
#include "ledgerread.h"
#include "number.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct command {
	const char *since;
	bool follow, json;
	int64_t from; /* seconds */
	struct opt_args args;
};

static const char *const synopsis[] = {
	"git interlock events [--follow] [--since <time>] [--json]",
	NULL,
};

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_FLAG('f', "follow", &o->follow, "go on with what comes"),
		OPT_STRING(0, "since", &o->since, "time", "no older ones: a duration, or a date"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r == OPT_OK && o->args.count)
		return fail_set(fail, FAIL_USAGE, "events takes no arguments");
	return r;
}

/* A duration of ours, or whatever git takes for a date. */
static int read_since(struct command *o, struct repo *repo, struct fail *fail)
{
	struct fail not_ours = FAIL_INIT;
	int64_t ms;

	o->from = INT64_MIN;
	if (!o->since)
		return 0;
	if (duration_parse(o->since, "--since", &ms, &not_ours) < 0)
		return checkpoint_date(repo, o->since, &o->from, fail);
	if (ms != DURATION_NEVER)
		o->from = (int64_t)time(NULL) - ms / 1000;
	return 0;
}

/* ---- one event ----------------------------------------------------------------------------- */

/* In this order, also in a line that was written before one of them was. */
static const char *const keys[] = {"time", "event", "slot",    "lease", "mutex",
				   "pid",  "ref",   "session", "reason"};

static bool is_key(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return !strcmp(key, "v");
}

static void print_value(struct out *out, const char *key, const json_t *value)
{
	if (json_is_string(value))
		out_text_len(out, key, json_string_value(value), json_string_length(value));
	else if (json_is_integer(value))
		out_number(out, key, json_integer_value(value));
	else if (json_is_boolean(value))
		out_bool(out, key, json_is_true(value));
	else
		out_null(out, key);
}

static void print_event(struct out *out, const struct ledger_line *line)
{
	const char *key;
	json_t *value;

	out_begin(out, "{time} {event<15} {pid<8}[ {slot}][ {mutex}][ {ref}][: {reason}]\n");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		print_value(out, keys[i], json_object_get(line->object, keys[i]));
	/* What a later version adds. */
	json_object_foreach(line->object, key, value) if (!is_key(key))
		print_value(out, key, value);
	out_end(out);
}

/* ---- act ------------------------------------------------------------------------------------- */

struct told {
	uint64_t damaged, newer;
};

/* What was passed over since the last time. */
static void tell_damage(const struct ledger_reader *reader, struct told *told)
{
	if (reader->damaged > told->damaged)
		status_say("warning: %" PRIu64 " line(s) of the ledger passed over: torn or "
			   "corrupt",
			   reader->damaged - told->damaged);
	if (reader->newer > told->newer)
		status_say("warning: %" PRIu64 " line(s) of the ledger passed over: written by "
			   "another version",
			   reader->newer - told->newer);
	*told = (struct told){.damaged = reader->damaged, .newer = reader->newer};
}

static int print_all(const struct command *o, struct ledger_reader *reader, struct out *out,
		     struct fail *fail)
{
	struct ledger_line line;
	int r;

	while ((r = ledger_read(reader, &line, fail)) > 0) {
		if (line.when >= o->from)
			print_event(out, &line);
		ledger_line_release(&line);
		if (out->fail.kind)
			break;
	}
	out_flush(out);
	return r < 0 ? r : 0;
}

/* Until somebody ends us, or closes what we write to. */
static int follow(const struct command *o, struct ledger_reader *reader, struct out *out,
		  struct told *told, struct fail *fail)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.fd = STDOUT_FILENO}};

	while (out->fail.kind == 0) {
		fds[0].fd = ledger_watch(reader, fail);
		if (fds[0].fd < 0 || print_all(o, reader, out, fail) < 0)
			return fail->kind;
		tell_damage(reader, told);
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return fail_errno(fail, "wait for events");
		if (fds[1].revents)
			break;
	}
	return 0;
}

static int events(struct command *o, struct repo *repo, struct fail *fail)
{
	struct fail printing = FAIL_INIT;
	struct ledger_reader reader;
	struct told told = {0};
	struct out out;

	out_open(&out, o->json ? OUT_JSON : OUT_TEXT, STDOUT_FILENO);
	if (ledger_read_open(repo, &reader, fail) == 0 && print_all(o, &reader, &out, fail) == 0 &&
	    o->follow)
		follow(o, &reader, &out, &told, fail);
	if (!o->follow)
		ledger_read_end(&reader);
	tell_damage(&reader, &told);
	ledger_read_close(&reader);
	if (out_close(&out, &printing) < 0 && fail->kind == 0)
		*fail = printing;
	return fail->kind;
}

int interlock_events(int argc, char **argv)
{
	struct command o = {0};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0 && read_since(&o, &repo, &fail) == 0)
			events(&o, &repo, &fail);
		repo_close(&repo);
	}
	return fail.kind ? status_report(INTERLOCK_COMMAND " events", &fail) : STATUS_OK;
}
