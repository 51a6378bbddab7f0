/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock doctor: what is broken or will be, why, and what helps. */
#include "interlock.h"

#include "doctor.h"
#include "install.h"
#include "quote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	bool fix, json;
	struct screen screen;
	struct opt_args args;
	struct argv places;
	char *programs;
};

static const char *const synopsis[] = {
	"git interlock doctor [--fix] [--[no-]color] [--json] [<path>...]",
	NULL,
};

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_FLAG(0, "fix", &o->fix, "cure what is ours"),
		OPT_TRISTATE("color", &o->screen.color, "in colour (default: on a terminal)"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r != OPT_OK)
		return r;
	/* Where moved slots are: a typing error should not look like "not found there". */
	for (int i = 0; i < o->args.count; i++) {
		if (access(o->args.items[i], F_OK) < 0)
			return fail_errno(fail, "look into '%s'", o->args.items[i]);
		argv_push(&o->places, o->args.items[i]);
	}
	return screen_look(&o->screen, fail);
}

/* ---- for people --------------------------------------------------------------------------- */

static const char *head_of(const struct doctor_finding *finding)
{
	if (finding->result == DOCTOR_CURED)
		return "cured";
	return finding->level == DOCTOR_PROBLEM ? "problem" : "note";
}

/* Green: it is over; red: it needs somebody; yellow: somebody should know. */
static const char *color_of(const struct doctor_finding *finding)
{
	if (finding->result == DOCTOR_CURED)
		return "\033[32m";
	return finding->level == DOCTOR_PROBLEM ? "\033[31m" : "\033[33m";
}

/* What came from a repository, so that no terminal obeys it. */
static void add_text(const struct command *o, const char *head, const char *text,
		     struct bytes *screen)
{
	struct bytes line = BYTES_INIT;

	quote_line(text, strlen(text), &line);
	bytes_addf(screen, "           %-6s", head);
	screen_fold(&o->screen, 17, line.data, screen);
	bytes_release(&line);
}

/* For people a thing is told once, of all that have it: seven hooks that are led past. */
static bool is_told_with(const struct doctor_finding *a, const struct doctor_finding *b)
{
	return a->ill == b->ill && a->level == b->level && a->result == b->result &&
	       !strcmp(a->cause, b->cause) && !strcmp(a->cure, b->cure) && !a->why && !b->why;
}

/* Draws the first of `count` findings, with those that follow and are told with it; how many. */
static size_t draw_findings(const struct command *o, const struct doctor_finding *finding,
			    size_t count, struct bytes *screen)
{
	const char *id = doctor_kinds[finding->ill].id;
	bool color = o->screen.color > 0;
	struct bytes line = BYTES_INIT;
	size_t told = 0;

	for (; told < count && is_told_with(finding, &finding[told]); told++) {
		bytes_adds(&line, told ? ", " : "");
		quote_line(finding[told].subject, strlen(finding[told].subject), &line);
	}
	if (!told) { /* it says why it could not be cured */
		quote_line(finding->subject, strlen(finding->subject), &line);
		told = 1;
	}
	bytes_addf(screen, "  %s%-7s%s  %s  ", color ? color_of(finding) : "", head_of(finding),
		   color ? "\033[m" : "", id);
	screen_fold(&o->screen, 13 + strlen(id), line.data, screen);
	add_text(o, "cause", finding->cause, screen);
	if (finding->why)
		add_text(o, "tried", finding->why, screen);
	if (finding->result != DOCTOR_CURED)
		add_text(o, "cure", finding->cure, screen);
	bytes_addc(screen, '\n');
	bytes_release(&line);
	return told;
}

static void add_count(struct bytes *out, size_t count, const char *one, const char *many)
{
	bytes_addf(out, "%s%zu %s", out->len ? ", " : "", count, count == 1 ? one : many);
}

static void add_looked(const struct doctor *doctor, struct bytes *line)
{
	struct bytes text = BYTES_INIT;

	add_count(&text, doctor->slots, "slot", "slots");
	add_count(&text, doctor->worktrees, "other worktree", "other worktrees");
	add_count(&text, doctor->refs, "ref of ours", "refs of ours");
	add_count(&text, doctor->locks, "lock", "locks");
	add_count(&text, doctor->events, "event", "events");
	bytes_addf(line, "looked at %s; ", text.data);
	if (doctor->hooks || doctor->hooks_wanted)
		bytes_addf(line, "%zu of %d hooks active", doctor->hooks, INSTALL_HOOKS);
	else
		bytes_adds(line, "no hooks installed");
	bytes_addf(line, "; locks hold on %s", doctor->file_system);
	bytes_release(&text);
}

/* The last line: all is well, or what is left to do. */
static void draw_end(const struct command *o, const struct doctor *doctor, struct bytes *screen)
{
	struct bytes line = BYTES_INIT;
	size_t notes = 0, curable = 0;

	for (size_t i = 0; i < doctor->count; i++) {
		const struct doctor_finding *finding = &doctor->items[i];

		notes += finding->level == DOCTOR_NOTE && finding->result != DOCTOR_CURED;
		curable += finding->fixable && finding->result == DOCTOR_FOUND;
	}
	if (!doctor->count) {
		bytes_adds(&line, "healthy: ");
		add_looked(doctor, &line);
	} else {
		add_count(&line, doctor->problems, "problem", "problems");
		add_count(&line, notes, "note", "notes");
		if (o->fix)
			add_count(&line, doctor->cured, "cured", "cured");
		else if (curable)
			bytes_addf(&line, "; 'git interlock doctor --fix' cures %zu of them",
				   curable);
	}
	bytes_adds(screen, "  ");
	screen_fold(&o->screen, 2, line.data, screen);
	bytes_release(&line);
}

static int draw(const struct command *o, const struct doctor *doctor, struct fail *fail)
{
	struct bytes screen = BYTES_INIT;

	for (size_t i = 0; i < doctor->count;)
		i += draw_findings(o, &doctor->items[i], doctor->count - i, &screen);
	draw_end(o, doctor, &screen);
	if (fwrite(screen.data, 1, screen.len, stdout) != screen.len)
		fail_errno(fail, "write");
	bytes_release(&screen);
	return fail->kind;
}

/* ---- for programs -----------------------------------------------------------------------------
 */

static int print_json(const struct doctor *doctor, struct fail *fail)
{
	static const char *const results[] = {"found", "cured", "failed"};
	struct out out;

	out_open(&out, OUT_JSON, STDOUT_FILENO);
	for (size_t i = 0; i < doctor->count; i++) {
		const struct doctor_finding *finding = &doctor->items[i];

		out_begin(&out, NULL);
		out_text(&out, "id", doctor_kinds[finding->ill].id);
		out_text(&out, "severity", finding->level == DOCTOR_PROBLEM ? "problem" : "note");
		out_path(&out, "subject", finding->subject);
		out_path(&out, "path", finding->path);
		out_text(&out, "cause", finding->cause);
		out_text(&out, "cure", finding->cure);
		out_bool(&out, "fixable", finding->fixable);
		out_text(&out, "result", results[finding->result]);
		out_text(&out, "reason", finding->why);
		out_end(&out);
	}
	return out_close(&out, fail);
}

/* ---- act ------------------------------------------------------------------------------- */

/* The status: is anything left that somebody has to see to? */
static int act(struct command *o, struct repo *repo, struct fail *fail)
{
	const struct doctor_options options = {
		.fix = o->fix, .places = &o->places, .programs = o->programs};
	struct doctor doctor;
	int status;

	doctor_run(repo, &options, &doctor);
	if (o->json)
		print_json(&doctor, fail);
	else
		draw(o, &doctor, fail);
	status = doctor.problems ? STATUS_NO : STATUS_OK;
	doctor_release(&doctor);
	return status;
}

int interlock_doctor(int argc, char **argv)
{
	struct command o = {.screen = {.color = -1}};
	struct fail fail = FAIL_INIT;
	int status = STATUS_OK;
	struct repo repo;

	if (parse(argc, argv, &o, &fail) == OPT_OK) {
		o.programs = interlock_programs();
		if (repo_open(&repo, REPO_TOLERANT, &fail) == 0)
			status = act(&o, &repo, &fail);
		repo_close(&repo);
	}
	argv_release(&o.places);
	free(o.programs);
	return fail.kind ? status_report(INTERLOCK_COMMAND " doctor", &fail) : status;
}
