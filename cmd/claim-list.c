/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* git worktree-claim list: the slots, for people and for programs. */
#include "claim.h"

#include "name.h"
#include "quote.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct command {
	const char *pool;
	bool json, nul;
	struct opt_args args;
};

static const char *const synopsis[] = {
	"git worktree-claim list [--pool <name>] [--json|-z]",
	NULL,
};

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_STRING(0, "pool", &o->pool, "name", "only this pool"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_FLAG('z', NULL, &o->nul, "fields end with NUL"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r != OPT_OK)
		return r;
	if (o->args.count)
		return fail_set(fail, FAIL_USAGE, "list takes no arguments");
	if (o->json && o->nul)
		return fail_set(fail, FAIL_USAGE, "--json and -z exclude each other");
	return o->pool ? name_check(o->pool, "option --pool", fail) : 0;
}

/* ---- for people ---------------------------------------------------------------------- */

/* "3h", "12m", "5d": the largest unit that is at least one. */
static char *short_span(int64_t seconds)
{
	static const struct {
		int64_t size;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (seconds >= units[i].size)
			return mem_printf("%lld%c", (long long)(seconds / units[i].size),
					  units[i].unit);
	return mem_printf("%llds", (long long)(seconds < 0 ? 0 : seconds));
}

static char *user_name(int64_t uid)
{
	struct passwd *user = getpwuid((uid_t)uid);

	return user ? mem_strdup(user->pw_name) : mem_printf("uid %lld", (long long)uid);
}

/* A person's lease: whose, and how long still. */
static void add_time_left(const struct slot_record *record, struct bytes *text)
{
	char *user = user_name(record->uid);
	char *span = record->expires == INT64_MAX
			     ? mem_strdup("no end")
			     : short_span(record->expires - (int64_t)time(NULL));

	bytes_addf(text, "%s, %s%s", user, span, record->expires == INT64_MAX ? "" : " left");
	free(user);
	free(span);
}

/* What a person asks of a slot: who has it, and how long still. */
static char *holder_text(const struct slot *slot)
{
	const struct slot_record *record = &slot->record;
	struct bytes text = BYTES_INIT;

	if (slot->state == STATE_FREE || slot->state == STATE_FOREIGN)
		return mem_strdup("");
	if (slot->state == STATE_LEASED)
		add_time_left(record, &text);
	else
		bytes_adds(&text, slot->who ? slot->who : "");
	if (record->key)
		bytes_addf(&text, "%skey %s", text.len ? ", " : "", record->key);
	return bytes_take(&text);
}

struct row {
	char *cell[5]; /* slot, state, age, branch or base, holder */
	const char *path;
};

static void fill_row(const struct slot *slot, struct row *row)
{
	const struct slot_record *record = &slot->record;

	row->cell[0] = mem_strdup(slot->name);
	row->cell[1] = mem_strdup(slot_state_name(slot->state));
	row->cell[2] =
		record->since ? short_span((int64_t)time(NULL) - record->since) : mem_strdup("-");
	if (record->branch)
		row->cell[3] = mem_strdup(record->branch +
					  (strncmp(record->branch, "refs/heads/", 11) ? 0 : 11));
	else
		row->cell[3] = record->base ? mem_printf("(%.10s)", record->base) : mem_strdup("-");
	row->cell[4] = holder_text(slot);
	row->path = slot->path ? slot->path : "-";
}

static void print_table(const struct slots *slots)
{
	static const char *const heads[] = {"SLOT", "STATE", "AGE", "BRANCH", "HOLDER"};
	struct row *rows = mem_array(slots->count + 1, sizeof(*rows));
	int width[5];

	for (int c = 0; c < 5; c++)
		width[c] = (int)strlen(heads[c]);
	for (size_t i = 0; i < slots->count; i++) {
		fill_row(&slots->items[i], &rows[i]);
		for (int c = 0; c < 5; c++)
			if ((int)strlen(rows[i].cell[c]) > width[c])
				width[c] = (int)strlen(rows[i].cell[c]);
	}
	if (slots->count)
		printf("%-*s  %-*s  %*s  %-*s  %-*s  PATH\n", width[0], heads[0], width[1],
		       heads[1], width[2], heads[2], width[3], heads[3], width[4], heads[4]);
	for (size_t i = 0; i < slots->count; i++) {
		struct bytes path = BYTES_INIT;

		quote_line(rows[i].path, strlen(rows[i].path), &path);
		printf("%-*s  %-*s  %*s  %-*s  %-*s  %s\n", width[0], rows[i].cell[0], width[1],
		       rows[i].cell[1], width[2], rows[i].cell[2], width[3], rows[i].cell[3],
		       width[4], rows[i].cell[4], path.data);
		bytes_release(&path);
		for (int c = 0; c < 5; c++)
			free(rows[i].cell[c]);
	}
	free(rows);
}

/* ---- act ---------------------------------------------------------------------------------- */

static int print(const struct command *o, const struct slots *slots, struct fail *fail)
{
	struct out out;

	if (!o->json && !o->nul) {
		print_table(slots);
		return 0;
	}
	out_open(&out, o->json ? OUT_JSON : OUT_NUL, STDOUT_FILENO);
	for (size_t i = 0; i < slots->count; i++)
		claim_print_slot(&out, NULL, &slots->items[i], NULL);
	return out_close(&out, fail);
}

int claim_list(int argc, char **argv)
{
	struct command o = {0};
	struct fail fail = FAIL_INIT;
	struct slots slots = {0};
	struct repo repo;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0 &&
		    slots_look(&repo, o.pool, false, &slots, &fail) == 0)
			print(&o, &slots, &fail);
		slots_release(&slots);
		repo_close(&repo);
	}
	return fail.kind ? status_report(CLAIM_COMMAND, &fail) : STATUS_OK;
}
