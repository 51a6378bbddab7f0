/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git interlock status: who holds what, on one screen. */
#include "interlock.h"

#include "clock.h"
#include "install.h"
#include "ledgerread.h"
#include "quote.h"
#include "survey.h"

#include <bsd/stdlib.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct command {
	bool watch, json;
	struct screen screen;
	struct opt_args args;
};

static const char *const synopsis[] = {
	"git interlock status [--watch] [--[no-]color] [--json]",
	NULL,
};

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_FLAG('w', "watch", &o->watch, "show it again whenever something happens"),
		OPT_TRISTATE("color", &o->screen.color, "in colour (default: on a terminal)"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r != OPT_OK)
		return r;
	if (o->args.count)
		return fail_set(fail, FAIL_USAGE, "status takes no arguments");
	if (o->watch && o->json)
		return fail_set(fail, FAIL_USAGE,
				"--watch is for people; programs have 'git interlock events "
				"--follow --json'");
	return screen_look(&o->screen, fail);
}

/* ---- tables ------------------------------------------------------------------------------ */

#define CELLS 6

struct column {
	const char *head; /* NULL: no more */
	bool right;
	size_t least; /* it is not made narrower than that */
};

struct table {
	const struct column *columns;
	struct row {
		char *cell[CELLS];
		const char *color; /* of the second cell; NULL: none */
	} * rows;
	size_t count, cap;
};

/* The caller fills the cells with what it hands over. */
static struct row *add_row(struct table *table)
{
	MEM_GROW(table->rows, table->cap, table->count + 1);
	table->rows[table->count] = (struct row){0};
	return &table->rows[table->count++];
}

/* What came from a repository, on one line that no terminal obeys. */
static char *safe(const char *text)
{
	struct bytes line = BYTES_INIT;

	quote_line(text ? text : "-", text ? strlen(text) : 1, &line);
	return bytes_take(&line);
}

static size_t widest(const struct table *table, size_t column)
{
	size_t width = strlen(table->columns[column].head);

	for (size_t i = 0; i < table->count; i++)
		width = size_max(width, strlen(table->rows[i].cell[column]));
	return width;
}

/*
 * Makes it fit: of the columns that may be narrower, the widest one gives way, a column at a
 * time. On a screen that is too small for the rest, the lines are cut.
 */
static void fit(const struct table *table, size_t columns, size_t room, size_t *widths)
{
	size_t total = 2 * columns;

	for (size_t c = 0; c < columns; c++)
		total += widths[c] = widest(table, c);
	while (total > room) {
		size_t give = columns;

		for (size_t c = 0; c < columns; c++)
			if (table->columns[c].least && widths[c] > table->columns[c].least &&
			    (give == columns || widths[c] > widths[give]))
				give = c;
		if (give == columns)
			return;
		widths[give]--;
		total--;
	}
}

/* One cell in its width; a text that is cut ends in "..". */
static void add_cell(struct bytes *line, const char *text, size_t width, bool right,
		     const char *color)
{
	size_t len = strlen(text), shown = size_min(len, width);
	bool cut = len > width && width > 2;

	bytes_adds(line, "  ");
	if (right)
		bytes_addf(line, "%*s", (int)(width - shown), "");
	bytes_addf(line, "%s%.*s%s%s", color ? color : "", (int)(cut ? shown - 2 : shown), text,
		   cut ? ".." : "", color ? "\033[m" : "");
	if (!right)
		bytes_addf(line, "%*s", (int)(width - shown), "");
}

static void put_line(struct bytes *screen, struct bytes *line)
{
	while (line->len && line->data[line->len - 1] == ' ')
		bytes_truncate(line, line->len - 1);
	bytes_add(screen, line->data, line->len);
	bytes_addc(screen, '\n');
	bytes_clear(line);
}

static void draw_table(const struct command *o, struct table *table, struct bytes *screen)
{
	struct bytes line = BYTES_INIT;
	size_t columns = 0, widths[CELLS];

	while (columns < CELLS && table->columns[columns].head)
		columns++;
	fit(table, columns, o->screen.width, widths);
	for (size_t c = 0; c < columns; c++)
		add_cell(&line, table->columns[c].head, widths[c], table->columns[c].right, NULL);
	put_line(screen, &line);
	for (size_t i = 0; i < table->count; i++) {
		for (size_t c = 0; c < columns; c++)
			add_cell(&line, table->rows[i].cell[c], widths[c], table->columns[c].right,
				 c == 1 && o->screen.color > 0 ? table->rows[i].color : NULL);
		put_line(screen, &line);
		for (size_t c = 0; c < columns; c++)
			free(table->rows[i].cell[c]);
	}
	free(table->rows);
	bytes_release(&line);
}

/* ---- what stands in them -------------------------------------------------------------------- */

/* "3h", "12m", "5d": the largest unit that is at least one. */
static char *span(int64_t seconds)
{
	static const struct {
		int64_t size;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (seconds >= units[i].size)
			return mem_printf("%" PRId64 "%c", seconds / units[i].size, units[i].unit);
	return mem_printf("%" PRId64 "s", seconds < 0 ? 0 : seconds);
}

static char *age(int64_t since)
{
	return since ? span((int64_t)time(NULL) - since) : mem_strdup("-");
}

static char *size_text(uint64_t bytes)
{
	char text[8];

	if (humanize_number(text, sizeof(text), (int64_t)bytes, "B", HN_AUTOSCALE,
			    HN_DECIMAL | HN_NOSPACE) < 0)
		return mem_printf("%" PRIu64 "B", bytes);
	return mem_strdup(text);
}

/* Green: at work; yellow: somebody should look; red: it needs somebody. */
static const char *color_of(enum slot_state state)
{
	switch (state) {
	case STATE_HELD:
	case STATE_LEASED:
		return "\033[32m";
	case STATE_EXPIRED:
	case STATE_ORPHANED:
	case STATE_OCCUPIED:
	case STATE_HALF_BORN:
		return "\033[33m";
	case STATE_VANISHED:
	case STATE_DESYNCED:
	case STATE_UNKNOWN:
		return "\033[31m";
	default:
		return NULL;
	}
}

static const char *branch_of(const struct slot *slot)
{
	const char *ref = slot->record.branch;

	return ref && !strncmp(ref, "refs/heads/", 11) ? ref + 11 : ref;
}

static char *holder_of(const struct slot *slot)
{
	const struct slot_record *record = &slot->record;
	struct bytes text = BYTES_INIT;

	if (slot->state == STATE_LEASED) {
		struct passwd *user = getpwuid((uid_t)record->uid);

		if (user)
			bytes_adds(&text, user->pw_name);
		else
			bytes_addf(&text, "uid %" PRId64, record->uid);
		if (record->expires != INT64_MAX) {
			char *left = span(record->expires - (int64_t)time(NULL));

			bytes_addf(&text, ", %s left", left);
			free(left);
		}
	} else if (slot->state != STATE_FREE && slot->who) {
		bytes_adds(&text, slot->who);
	}
	if (record->key && slot->state != STATE_FREE)
		bytes_addf(&text, "%skey %s", text.len ? ", " : "", record->key);
	return bytes_take(&text);
}

static void draw_slots(const struct command *o, const struct survey *survey, struct bytes *screen)
{
	static const struct column columns[CELLS] = {
		{"SLOT", false, 10}, {"STATE", false, 0},  {"AGE", true, 0},
		{"DIRTY", true, 0},  {"BRANCH", false, 8}, {"HOLDER", false, 12},
	};
	struct table table = {.columns = columns};

	for (size_t i = 0; i < survey->slots.count; i++) {
		const struct slot *slot = &survey->slots.items[i];
		struct row *row = add_row(&table);
		char *holder = holder_of(slot);

		row->cell[0] = safe(slot->name);
		row->cell[1] = mem_strdup(slot_state_name(slot->state));
		row->cell[2] = age(slot->record.since);
		row->cell[3] = survey->dirty[i] == SURVEY_UNKNOWN
				       ? mem_strdup("?")
				       : mem_printf("%" PRId64, survey->dirty[i]);
		row->cell[4] = !branch_of(slot) && slot->record.base
				       ? mem_printf("(%.10s)", slot->record.base)
				       : safe(branch_of(slot));
		row->cell[5] = safe(holder);
		row->color = color_of(slot->state);
		free(holder);
	}
	if (table.count)
		draw_table(o, &table, screen);
	else
		bytes_adds(screen, "  no slots\n");
}

static void draw_runs(const struct command *o, const struct survey *survey, struct bytes *screen)
{
	static const struct column columns[CELLS] = {
		{"MUTEX", false, 10}, {"PID", true, 0}, {"AGE", true, 0}, {"COMMAND", false, 12}};
	struct table table = {.columns = columns};

	if (!survey->runs.count)
		return;
	bytes_addc(screen, '\n');
	for (size_t i = 0; i < survey->runs.count; i++) {
		const struct mutex_run *run = &survey->runs.items[i];
		struct row *row = add_row(&table);

		row->cell[0] = safe(run->mutex);
		row->cell[1] = mem_printf("%d", (int)run->pid);
		row->cell[2] = age(run->since);
		row->cell[3] = safe(run->command);
	}
	draw_table(o, &table, screen);
}

static void draw_store(const struct survey *survey, struct bytes *screen)
{
	char *packs = size_text(survey->pack_bytes), *ledger = size_text(survey->ledger_size);

	bytes_addf(screen, "\n  checkpoints  %" PRIu64 " chain(s), %" PRIu64 " older segment(s)\n",
		   survey->chains, survey->pins);
	bytes_addf(screen, "  rescues      %" PRIu64 "%s\n", survey->rescues,
		   survey->rescues ? "  (git worktree-reap rescued)" : "");
	bytes_addf(screen, "  on disk      %s in %" PRIu64 " pack(s), ledger %s\n", packs,
		   survey->packs, ledger);
	free(packs);
	free(ledger);
}

static void draw_line(const struct command *o, const char *head, char *text, struct bytes *screen)
{
	char *line = safe(text);

	bytes_addf(screen, "  %-13s", head);
	screen_fold(&o->screen, 15, line, screen);
	free(line);
	free(text);
}

/* Those that are out for one reason, on one line; it stands where the first of them is. */
static void draw_inactive(const struct command *o, const struct install_look *look, size_t first,
			  struct bytes *screen)
{
	const struct install_guard *guard = &look->guards[first];
	struct bytes names = BYTES_INIT;

	if (guard->active)
		return;
	for (size_t i = 0; i < INSTALL_HOOKS; i++) {
		const struct install_guard *other = &look->guards[i];

		if (other->active || strcmp(other->why, guard->why) != 0)
			continue;
		if (i < first) {
			bytes_release(&names);
			return;
		}
		bytes_addf(&names, "%s%s", names.len ? ", " : "", other->hook);
	}
	draw_line(o, guard->wanted ? "bypassed" : "not active",
		  mem_printf("%s: %s", names.data, guard->why), screen);
	bytes_release(&names);
}

/* All of it on one line when all is well; else who is out, and why. */
static void draw_guards(const struct command *o, const struct install_look *look,
			struct bytes *screen)
{
	size_t active = 0;

	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		active += look->guards[i].active;
	if (look->damage)
		draw_line(o, "damaged", mem_strdup(look->damage), screen);
	if (!active && !look->installed) {
		draw_line(o, "guards", mem_strdup("none installed  (git interlock install)"),
			  screen);
		return;
	}
	draw_line(o, "guards", mem_printf("%zu of %d hooks active", active, INSTALL_HOOKS), screen);
	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		draw_inactive(o, look, i, screen);
	for (size_t i = 0; i < look->elsewhere.count; i++)
		draw_line(o, "bypassed", mem_strdup(look->elsewhere.items[i]), screen);
	if (look->unfinished)
		draw_line(
			o, "",
			mem_strdup("an install was interrupted; run 'git interlock install' again"),
			screen);
}

static void draw(const struct command *o, const struct survey *survey,
		 const struct install_look *look, struct bytes *screen)
{
	draw_slots(o, survey, screen);
	draw_runs(o, survey, screen);
	draw_store(survey, screen);
	draw_guards(o, look, screen);
}

/* ---- for programs -----------------------------------------------------------------------------
 */

static void print_slot(struct out *out, const struct slot *slot, int64_t dirty)
{
	char *holder = holder_of(slot);

	out_begin(out, NULL);
	out_text(out, "kind", "slot");
	out_text(out, "slot", slot->name);
	out_path(out, "path", slot->path);
	out_text(out, "state", slot_state_name(slot->state));
	out_text(out, "lease", slot->record.lease);
	out_text(out, "branch", branch_of(slot));
	out_text(out, "owner", *holder ? holder : NULL);
	if (slot->record.since)
		out_time(out, "since", slot->record.since);
	else
		out_null(out, "since");
	if (dirty != SURVEY_UNKNOWN)
		out_number(out, "dirty", dirty);
	else
		out_null(out, "dirty");
	out_end(out);
	free(holder);
}

static void print_guards(struct out *out, const struct install_look *look)
{
	for (size_t i = 0; i < INSTALL_HOOKS; i++) {
		const struct install_guard *guard = &look->guards[i];

		out_begin(out, NULL);
		out_text(out, "kind", "guard");
		out_text(out, "hook", guard->hook);
		out_bool(out, "active", guard->active);
		out_bool(out, "installed", guard->wanted);
		out_path(out, "via", guard->via);
		out_text(out, "reason", guard->why);
		out_end(out);
	}
}

static int print_json(const struct survey *survey, const struct install_look *look,
		      struct fail *fail)
{
	struct out out;

	out_open(&out, OUT_JSON, STDOUT_FILENO);
	for (size_t i = 0; i < survey->slots.count; i++)
		print_slot(&out, &survey->slots.items[i], survey->dirty[i]);
	for (size_t i = 0; i < survey->runs.count; i++) {
		const struct mutex_run *run = &survey->runs.items[i];

		out_begin(&out, NULL);
		out_text(&out, "kind", "run");
		out_text(&out, "mutex", run->mutex);
		out_text(&out, "run", run->id);
		out_number(&out, "pid", run->pid);
		out_time(&out, "since", run->since);
		out_text(&out, "command", run->command);
		out_end(&out);
	}
	out_begin(&out, NULL);
	out_text(&out, "kind", "store");
	out_number(&out, "chains", (int64_t)survey->chains);
	out_number(&out, "pins", (int64_t)survey->pins);
	out_number(&out, "rescues", (int64_t)survey->rescues);
	out_number(&out, "packs", (int64_t)survey->packs);
	out_number(&out, "pack_bytes", (int64_t)survey->pack_bytes);
	out_number(&out, "ledger_bytes", (int64_t)survey->ledger_size);
	out_end(&out);
	print_guards(&out, look);
	return out_close(&out, fail);
}

/* ---- act ------------------------------------------------------------------------------------- */

static int show(const struct command *o, struct repo *repo, struct fail *fail)
{
	struct bytes screen = BYTES_INIT;
	struct install_look look = {0};
	struct survey survey;

	if (survey_look(repo, &survey, fail) == 0 && install_look(repo, &look, fail) == 0 &&
	    o->json) {
		print_json(&survey, &look, fail);
	} else if (fail->kind == 0) {
		/* At the top of a cleared screen, in one write, so that nothing flickers. */
		if (o->watch && isatty(STDOUT_FILENO))
			bytes_adds(&screen, "\033[H\033[2J");
		draw(o, &survey, &look, &screen);
		if (o->watch && !isatty(STDOUT_FILENO))
			bytes_addc(&screen, '\n');
		fwrite(screen.data, 1, screen.len, stdout);
		fflush(stdout);
	}
	survey_release(&survey);
	install_look_release(&look);
	bytes_release(&screen);
	return fail->kind;
}

#define AGES_MS 60000 /* ages are shown in minutes and more */
#define SETTLE_MS 500 /* an event is written under the lock of what it tells of */

/*
 * Again with each event of the ledger, which has all that changes a slot, and once more
 * when its writer has let go of the slot; and each minute, because what is shown are ages.
 */
static int watch(struct command *o, struct repo *repo, struct fail *fail)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.fd = STDOUT_FILENO}};
	struct ledger_reader reader;
	int woken = 0;

	ledger_read_open(repo, &reader, fail);
	while (fail->kind == 0 && !ferror(stdout)) {
		fds[0].fd = ledger_watch(&reader, fail);
		if (fds[0].fd < 0 || screen_look(&o->screen, fail) < 0 || show(o, repo, fail) < 0)
			break;
		woken = poll(fds, ARRAY_SIZE(fds), woken > 0 ? SETTLE_MS : AGES_MS);
		if (woken < 0 && errno != EINTR)
			fail_errno(fail, "wait for events");
		if (fds[1].revents)
			break;
	}
	ledger_read_close(&reader);
	return fail->kind;
}

int interlock_status(int argc, char **argv)
{
	struct command o = {.screen = {.color = -1}};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0)
			o.watch ? watch(&o, &repo, &fail) : show(&o, &repo, &fail);
		repo_close(&repo);
	}
	return fail.kind ? status_report(INTERLOCK_COMMAND " status", &fail) : STATUS_OK;
}
