/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "history.h"

#include "ref.h"

/*
 * Commits of others in a row. An outsider makes some thirty a second, and a ref that was set
 * to somebody's branch has that branch's whole history behind it: reading so many of them
 * takes a tenth of a second.
 */
#define FOREIGN_MAX 10000

void history_init(struct history *history, struct odb *odb)
{
	*history = (struct history){.odb = odb};
}

void history_release(struct history *history)
{
	oidset_release(&history->pinned);
	oidset_release(&history->grafted);
}

static int add_pin(void *arg, UNUSED const char *name, const struct oid *oid,
		   UNUSED struct fail *fail)
{
	struct history *history = arg;

	oidset_add(&history->pinned, oid);
	return 0;
}

static int is_pinned(struct history *history, const struct oid *id, struct fail *fail)
{
	if (!history->pins_read &&
	    ref_each(history->odb->repo, "refs/shadow-old/", add_pin, history, fail) < 0)
		return fail->kind;
	history->pins_read = true;
	return oidset_has(&history->pinned, id);
}

int history_nearest(struct odb *odb, const struct oid *from, struct checkpoint *out,
		    struct fail *fail)
{
	struct oid id = *from;

	for (int i = 0; i < FOREIGN_MAX && !oid_is_zero(&id); i++) {
		checkpoint_release(out);
		if (checkpoint_read(odb, &id, out, fail) < 0)
			return fail->kind;
		if (out->segment)
			return 1;
		id = out->first_parent;
	}
	return 0;
}

/*
 * Is there a checkpoint among the next first parents from `from` on? They are read once for
 * all commits of others in a row: the way is known to lead there from the next one, too.
 */
static int leads_to_checkpoint(struct history *history, const struct checkpoint *foreign,
			       struct fail *fail)
{
	struct checkpoint nearest = CHECKPOINT_INIT;
	int found = history->led && oid_equal(&history->next, &foreign->id);

	if (!found)
		found = history_nearest(history->odb, &foreign->first_parent, &nearest, fail);
	checkpoint_release(&nearest);
	if (found < 0)
		return found;
	history->led = found > 0;
	history->next = foreign->first_parent;
	return found;
}

int history_before(struct history *history, const struct checkpoint *cp, struct oid *id,
		   struct fail *fail)
{
	*id = cp->segment && cp->number == 1 ? cp->previous : cp->first_parent;
	if (oid_is_zero(id))
		return 0;
	if (!cp->segment)
		return leads_to_checkpoint(history, cp, fail);
	return cp->number > 1 ? 1 : is_pinned(history, id, fail);
}

int history_each(struct history *history, const struct oid *tip, history_visit *visit, void *arg,
		 struct fail *fail)
{
	struct oid id = *tip;
	int more = !oid_is_zero(tip);

	while (more > 0) {
		struct checkpoint cp = CHECKPOINT_INIT;

		more = checkpoint_read(history->odb, &id, &cp, fail);
		if (more == 0)
			more = visit(arg, &cp, fail);
		if (more == 0)
			more = history_before(history, &cp, &id, fail);
		else if (more > 0)
			more = 0;
		checkpoint_release(&cp);
	}
	return fail->kind;
}

/* ---- for git ---------------------------------------------------------------------------- */

static void add_graft(struct history *history, const struct oid *id, const struct oid *parent,
		      struct bytes *grafts)
{
	char hex[OID_HEX_MAX + 1];

	if (!oidset_add(&history->grafted, id))
		return;
	bytes_adds(grafts, oid_hex(id, hex));
	if (parent && !oid_is_zero(parent))
		bytes_addf(grafts, " %s", oid_hex(parent, hex));
	bytes_addc(grafts, '\n');
}

/*
 * The first of all follows its base, so that its own changes are seen. The walk
 * stops there: the base has no parents for it, so that nothing else is hidden.
 */
static int graft_start(struct history *history, const struct checkpoint *first, bool all_chains,
		       struct bytes *grafts, struct oid *stop, struct fail *fail)
{
	struct checkpoint base = CHECKPOINT_INIT;

	add_graft(history, &first->id, &first->base, grafts);
	if (oid_is_zero(&first->base) ||
	    checkpoint_read(history->odb, &first->base, &base, fail) < 0)
		return fail->kind;
	if (!base.segment)
		add_graft(history, &first->base, NULL, grafts);
	if (!base.segment || !all_chains)
		*stop = first->base;
	checkpoint_release(&base);
	return 0;
}

/* One segment, from any checkpoint in it; 1 and the end of the one before in `id`. */
static int graft_segment(struct history *history, const struct checkpoint *cp, bool all_chains,
			 struct bytes *grafts, struct oid *stop, struct oid *id, struct fail *fail)
{
	struct checkpoint first = CHECKPOINT_INIT;
	int more = checkpoint_read(history->odb, &cp->first, &first, fail);

	if (more == 0)
		more = history_before(history, &first, id, fail);
	if (more > 0)
		add_graft(history, &first.id, id, grafts);
	else if (more == 0)
		more = graft_start(history, &first, all_chains, grafts, stop, fail);
	checkpoint_release(&first);
	return more;
}

int history_grafts(struct history *history, const struct oid *tip, bool all_chains,
		   struct bytes *grafts, struct oid *stop, struct fail *fail)
{
	struct oid id = *tip;
	int more = !oid_is_zero(tip);

	oid_zero(history->odb->repo->algo, stop);
	while (more > 0) {
		struct checkpoint cp = CHECKPOINT_INIT;

		more = checkpoint_read(history->odb, &id, &cp, fail);
		if (more == 0 && cp.segment) {
			more = graft_segment(history, &cp, all_chains, grafts, stop, &id, fail);
		} else if (more == 0) {
			more = history_before(history, &cp, &id, fail);
			/* Nothing of ours behind it: for git it stands alone. */
			if (more == 0)
				add_graft(history, &cp.id, NULL, grafts);
		}
		checkpoint_release(&cp);
	}
	return fail->kind;
}
