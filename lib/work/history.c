/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "history.h"

/* 1: read; 0: it is gone, because its segment was dropped. */
static int read_if_there(struct odb *odb, const struct oid *id, struct checkpoint *cp,
			 struct fail *fail)
{
	int r = checkpoint_read(odb, id, cp, fail);

	if (r == FAIL_GONE) {
		fail_clear(fail);
		return 0;
	}
	return r < 0 ? r : 1;
}

int history_each(struct odb *odb, const struct oid *tip, history_visit *visit, void *arg,
		 struct fail *fail)
{
	struct oid id = *tip;
	int more = !oid_is_zero(tip);

	while (more > 0) {
		struct checkpoint cp = CHECKPOINT_INIT;

		more = read_if_there(odb, &id, &cp, fail);
		if (more > 0) {
			more = visit(arg, &cp, fail);
			more = more < 0 ? more : more > 0 ? 0 : checkpoint_before(&cp, &id);
		}
		checkpoint_release(&cp);
	}
	return fail->kind;
}

static void add_hex(struct bytes *line, const struct oid *oid)
{
	char hex[OID_HEX_MAX + 1];

	if (!oid_is_zero(oid))
		bytes_addf(line, " %s", oid_hex(oid, hex));
}

/*
 * The graft of one segment's first checkpoint. `base` of a later segment is no
 * parent here: a first-parent walk does not need it.
 */
static void add_graft(const struct checkpoint *first, bool has_previous, struct bytes *grafts)
{
	char hex[OID_HEX_MAX + 1];

	bytes_adds(grafts, oid_hex(&first->id, hex));
	add_hex(grafts, has_previous ? &first->previous : &first->base);
	bytes_addc(grafts, '\n');
}

static bool exists(struct odb *odb, const struct oid *id)
{
	struct fail ignored = FAIL_INIT;
	enum object_type type;

	return !oid_is_zero(id) && odb_type(odb, id, &type, &ignored) == 0;
}

int history_grafts(struct odb *odb, const struct oid *tip, struct bytes *grafts, struct oid *stop,
		   struct fail *fail)
{
	struct oid id = *tip;
	bool more = !oid_is_zero(tip);

	oid_zero(odb->repo->algo, stop);
	while (more) {
		struct checkpoint cp = CHECKPOINT_INIT, first = CHECKPOINT_INIT;

		more = false;
		if (read_if_there(odb, &id, &cp, fail) > 0 && cp.segment &&
		    read_if_there(odb, &cp.first, &first, fail) > 0) {
			more = exists(odb, &first.previous);
			add_graft(&first, more, grafts);
			if (more)
				id = first.previous;
			else
				*stop = first.base;
		}
		checkpoint_release(&cp);
		checkpoint_release(&first);
	}
	return fail->kind;
}
