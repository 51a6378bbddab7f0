/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "reap-rescued.h"

#include "aside.h"
#include "checkpoint.h"
#include "clock.h"
#include "ledger.h"
#include "opt.h"
#include "out.h"
#include "ref.h"
#include "status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RESCUE_PREFIX "refs/rescue/"

struct command {
	bool json, nul, quiet;
	struct argv drop;
	int64_t older_than; /* ms; -1: not given */
	struct opt_args args;
};

struct rescue {
	char *ref;
	struct oid oid;
	struct checkpoint cp;
	bool read; /* cp was */
};

struct rescues {
	struct rescue *items;
	size_t count, cap;
};

static const char *const synopsis[] = {
	"git worktree-reap rescued [--json|-z]",
	"git worktree-reap rescued --drop <ref>...",
	"git worktree-reap rescued --older-than <duration>",
	NULL,
};

static int parse(int argc, char **argv, struct command *o, struct fail *fail)
{
	const struct opt table[] = {
		OPT_LIST(0, "drop", &o->drop, "ref", "forget this rescue (may be repeated)"),
		OPT_DURATION("older-than", &o->older_than, "forget those that are older"),
		OPT_FLAG(0, "json", &o->json, "print JSON objects"),
		OPT_FLAG('z', NULL, &o->nul, "fields end with NUL"),
		OPT_FLAG('q', "quiet", &o->quiet, "print only errors"),
		OPT_END,
	};
	const struct opt_spec spec = {.synopsis = synopsis, .options = table};
	int r = opt_parse(&spec, argc, argv, &o->args, fail);

	if (r != OPT_OK)
		return r;
	if (o->args.count)
		return fail_set(fail, FAIL_USAGE, "unexpected argument '%s'", o->args.items[0]);
	if (o->json && o->nul)
		return fail_set(fail, FAIL_USAGE, "--json and -z exclude each other");
	if (o->drop.count && o->older_than >= 0)
		return fail_set(fail, FAIL_USAGE, "--drop and --older-than exclude each other");
	return 0;
}

/* ---- what there is ------------------------------------------------------------------------ */

static int take_ref(void *arg, const char *name, const struct oid *oid, UNUSED struct fail *fail)
{
	struct rescues *all = arg;
	struct rescue *rescue;

	MEM_GROW(all->items, all->cap, all->count + 1);
	rescue = &all->items[all->count++];
	*rescue = (struct rescue){.ref = mem_strdup(name), .oid = *oid, .cp = CHECKPOINT_INIT};
	return 0;
}

/* One that cannot be read is listed all the same: it is what somebody looks for. */
static void read_rescues(struct repo *repo, struct rescues *all)
{
	struct odb odb;

	odb_init(&odb, repo);
	for (size_t i = 0; i < all->count; i++) {
		struct fail ignored = FAIL_INIT;
		struct rescue *rescue = &all->items[i];

		rescue->read = checkpoint_read(&odb, &rescue->oid, &rescue->cp, &ignored) == 0;
	}
	odb_release(&odb);
}

static void release_rescues(struct rescues *all)
{
	for (size_t i = 0; i < all->count; i++) {
		free(all->items[i].ref);
		checkpoint_release(&all->items[i].cp);
	}
	free(all->items);
}

/* "<slot>/<lease>" behind the prefix; the slot's part is up to the last slash. */
static char *slot_of(const char *ref)
{
	const char *rest = ref + strlen(RESCUE_PREFIX);
	const char *slash = strrchr(rest, '/');

	return slash ? mem_dup(rest, (size_t)(slash - rest)) : mem_strdup(rest);
}

static int print(const struct command *o, const struct rescues *all, struct fail *fail)
{
	char hex[OID_HEX_MAX + 1];
	struct out out;

	out_open(&out, o->json ? OUT_JSON : o->nul ? OUT_NUL : OUT_TEXT, STDOUT_FILENO);
	for (size_t i = 0; i < all->count; i++) {
		const struct rescue *rescue = &all->items[i];
		const char *slash = strrchr(rescue->ref, '/');
		char *slot = slot_of(rescue->ref);

		out_begin(&out, "{time} {ref} {message}\n");
		out_text(&out, "ref", rescue->ref);
		out_text(&out, "slot", slot);
		out_text(&out, "lease", slash + 1);
		out_id(&out, "commit", oid_hex(&rescue->oid, hex));
		if (rescue->read)
			out_time(&out, "time", rescue->cp.time);
		else
			out_null(&out, "time");
		out_text(&out, "message", rescue->read ? rescue->cp.subject : NULL);
		out_end(&out);
		free(slot);
	}
	return out_close(&out, fail);
}

/* ---- forgetting ------------------------------------------------------------------------------ */

static int forget_ref(struct repo *repo, const char *name, const struct oid *oid, struct fail *fail)
{
	int64_t deadline = clock_deadline(repo->conf.lock_timeout);
	struct ref_lock lock = REF_LOCK_INIT;
	struct ref_swap swap = {.name = name, .old_oid = *oid, .deadline = deadline};
	struct fail ignored = FAIL_INIT;
	struct ledger_event line = {.event = "rescue-dropped", .ref = name};
	struct oid now;

	oid_zero(repo->algo, &swap.new_oid);
	if (ref_lock_take(repo, name, deadline, &lock, fail) == 0 &&
	    ref_swap(repo, &lock, &swap, &now, fail) == FAIL_NO) {
		fail_clear(fail);
		fail_set(fail, FAIL_NO, "rescue '%s' changed meanwhile; it was kept", name);
	}
	ref_lock_drop(&lock);
	if (fail->kind == 0)
		ledger_append(repo, &line, LEDGER_WAIT, &ignored);
	return fail->kind;
}

/* Killed after the ref: what was set aside stays, and its path says whose it was. */
static int drop_one(struct repo *repo, const char *name, const struct oid *oid, struct fail *fail)
{
	struct fail unread = FAIL_INIT;
	struct commit rescue = {0};
	struct odb odb;
	bool read;

	odb_init(&odb, repo);
	read = commit_read(&odb, oid, &rescue, &unread) == 0;
	if (forget_ref(repo, name, oid, fail) == 0)
		aside_drop(repo, read ? &rescue : NULL, strrchr(name, '/') + 1, fail);
	commit_release(&rescue);
	odb_release(&odb);
	return fail->kind;
}

static int drop_named(const struct command *o, struct repo *repo, struct fail *fail)
{
	for (size_t i = 0; i < o->drop.count; i++) {
		const char *name = o->drop.items[i];
		struct oid oid;

		if (strncmp(name, RESCUE_PREFIX, strlen(RESCUE_PREFIX)) != 0 ||
		    !refname_valid(name))
			return fail_set(fail, FAIL_USAGE, "'%s' is not a ref below %s", name,
					RESCUE_PREFIX);
		if (ref_read(repo, name, &oid, fail) == FAIL_GONE)
			fail->kind = FAIL_NO;
		if (fail->kind || drop_one(repo, name, &oid, fail) < 0)
			return fail->kind;
	}
	return 0;
}

static int drop_old(const struct command *o, struct repo *repo, const struct rescues *all,
		    struct fail *fail)
{
	int64_t limit = (int64_t)time(NULL) - o->older_than / 1000;
	size_t dropped = 0;

	if (o->older_than == INT64_MAX)
		return 0;
	for (size_t i = 0; i < all->count; i++) {
		const struct rescue *rescue = &all->items[i];

		if (!rescue->read || rescue->cp.time >= limit)
			continue;
		if (drop_one(repo, rescue->ref, &rescue->oid, fail) < 0)
			return fail->kind;
		dropped++;
	}
	if (!o->quiet)
		status_say("%zu rescue(s) forgotten", dropped);
	return 0;
}

/* ---- the verb ----------------------------------------------------------------------------------
 */

static int act(const struct command *o, struct repo *repo, struct fail *fail)
{
	struct rescues all = {0};

	if (o->drop.count)
		return drop_named(o, repo, fail);
	if (ref_each(repo, RESCUE_PREFIX, take_ref, &all, fail) == 0) {
		read_rescues(repo, &all);
		if (o->older_than >= 0)
			drop_old(o, repo, &all, fail);
		else
			print(o, &all, fail);
	}
	release_rescues(&all);
	return fail->kind;
}

int reap_rescued(int argc, char **argv)
{
	struct command o = {.older_than = -1};
	struct fail fail = FAIL_INIT;
	struct repo repo;
	int r = parse(argc, argv, &o, &fail);

	if (r == OPT_OK) {
		if (repo_open(&repo, REPO_ANY, &fail) == 0)
			act(&o, &repo, &fail);
		repo_close(&repo);
	}
	argv_release(&o.drop);
	return fail.kind ? status_report(REAP_COMMAND, &fail) : STATUS_OK;
}
