/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "doctorparts.h"

#include "ledger.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- findings ------------------------------------------------------------------------- */

struct doctor_finding *doctor_add(struct doctor *doctor, enum doctor_ill ill, const char *subject,
				  const char *path, char *detail)
{
	const struct doctor_kind *kind = &doctor_kinds[ill];
	struct doctor_finding *finding;

	MEM_GROW(doctor->items, doctor->cap, doctor->count + 1);
	finding = &doctor->items[doctor->count++];
	*finding = (struct doctor_finding){.ill = ill,
					   .level = kind->level,
					   .fixable = kind->ours,
					   .subject = mem_strdup(subject),
					   .path = path ? mem_strdup(path) : NULL,
					   .detail = detail};
	return finding;
}

static void release_finding(struct doctor_finding *finding)
{
	char *texts[] = {finding->subject, finding->path, finding->detail,
			 finding->cause,   finding->cure, finding->why};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
}

void doctor_release(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->count; i++)
		release_finding(&doctor->items[i]);
	free(doctor->items);
	*doctor = (struct doctor){0};
}

int64_t doctor_age(const struct stat *st)
{
	int64_t age = (int64_t)time(NULL) - st->st_mtim.tv_sec;

	/* A clock that is some seconds off makes nothing old. */
	return age < -60 ? INT32_MAX : age < 0 ? 0 : age;
}

char *doctor_span(int64_t seconds)
{
	static const struct {
		int64_t size;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};

	if (seconds >= INT32_MAX)
		return mem_strdup("an unknown time");
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (seconds >= units[i].size)
			return mem_printf("%" PRId64 "%c", seconds / units[i].size, units[i].unit);
	return mem_printf("%" PRId64 "s", seconds);
}

char *doctor_path(const struct repo *repo, const char *below)
{
	return mem_printf("%s/%s", repo->common_dir, below);
}

int doctor_open(const struct repo *repo, const char *below)
{
	return openat(repo->common_fd, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* ---- looking --------------------------------------------------------------------------- */

/* What is to be done first, what was done last. */
static int rank(const struct doctor_finding *finding)
{
	if (finding->result == DOCTOR_CURED)
		return 2;
	return finding->level == DOCTOR_PROBLEM ? 0 : 1;
}

static int compare_findings(const void *a, const void *b)
{
	const struct doctor_finding *x = a, *y = b;
	int by_subject = strcmp(x->subject, y->subject);

	if (rank(x) != rank(y))
		return rank(x) - rank(y);
	if (x->ill != y->ill)
		return x->ill < y->ill ? -1 : 1;
	return by_subject ? by_subject : strcmp(x->path ? x->path : "", y->path ? y->path : "");
}

static void look(struct repo *repo, const struct doctor_options *options, struct doctor *out)
{
	static const struct {
		int (*run)(struct doctor_view *, struct fail *);
		const char *what;
	} checks[] = {
		{doctor_place, "place"}, {doctor_slots, "worktrees"}, {doctor_locks, "locks"},
		{doctor_refs, "refs"},	 {doctor_left, "left-overs"}, {doctor_hooks, "hooks"},
	};
	struct doctor_view view = {.repo = repo, .options = options, .doctor = out};

	*out = (struct doctor){0};
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct fail fail = FAIL_INIT;

		if (checks[i].run(&view, &fail) < 0)
			doctor_add(out, ILL_UNCHECKED, checks[i].what, NULL,
				   mem_strdup(fail.message));
	}
	slots_release(&view.slots);
	if (out->count)
		qsort(out->items, out->count, sizeof(*out->items), compare_findings);
}

/* ---- curing -------------------------------------------------------------------------------- */

static int cure_one(struct doctor_view *view, const struct doctor_finding *finding,
		    struct fail *fail)
{
	switch (finding->ill) {
	case ILL_HALF_BORN:
	case ILL_ORPHANED:
	case ILL_DESYNCED:
	case ILL_REMOVAL:
	case ILL_SLOT_MOVED:
	case ILL_SLOT_UNLOCKED:
		return doctor_cure_slot(view, finding, fail);
	case ILL_SWAP_LOCK:
	case ILL_INTENT_LEFT:
	case ILL_INSTALL_LOCK:
	case ILL_SLOT_LOCK:
		return doctor_cure_lock(view, finding, fail);
	case ILL_REF_DAMAGED:
		return doctor_cure_ref(view, finding, fail);
	case ILL_BIRTH_LEFT:
	case ILL_TRASH_LEFT:
	case ILL_LEASE_LEFT:
	case ILL_RUN_LEFT:
	case ILL_TMP_LEFT:
	case ILL_DRAFT_LEFT:
	case ILL_PACK_LEFT:
		return doctor_cure_left(view, finding, fail);
	default:
		return 0;
	}
}

static void cure(struct repo *repo, const struct doctor_options *options, struct doctor *found)
{
	struct doctor_view view = {.repo = repo, .options = options, .doctor = found};

	for (size_t i = 0; i < found->count; i++) {
		struct fail fail = FAIL_INIT;

		if (found->items[i].fixable && cure_one(&view, &found->items[i], &fail) < 0)
			found->items[i].why = mem_strdup(fail.message);
	}
	slots_release(&view.slots);
}

static void log_cure(struct repo *repo, const struct doctor_finding *finding)
{
	struct fail ignored = FAIL_INIT;
	char *reason = mem_printf("%s: %s", doctor_kinds[finding->ill].id, finding->subject);
	struct ledger_event event = {.event = "doctor-cured", .reason = reason};

	ledger_append(repo, &event, LEDGER_WAIT, &ignored);
	free(reason);
}

static const struct doctor_finding *find_again(const struct doctor *doctor,
					       const struct doctor_finding *finding)
{
	for (size_t i = 0; i < doctor->count; i++)
		if (doctor->items[i].ill == finding->ill &&
		    !strcmp(doctor->items[i].subject, finding->subject))
			return &doctor->items[i];
	return NULL;
}

static struct doctor_finding *push(struct doctor *doctor, struct doctor_finding *finding)
{
	MEM_GROW(doctor->items, doctor->cap, doctor->count + 1);
	doctor->items[doctor->count] = *finding;
	*finding = (struct doctor_finding){0};
	return &doctor->items[doctor->count++];
}

/* What is there now is told as it is now; of what is not any more it is told that it was cured. */
static void merge(struct repo *repo, struct doctor *before, struct doctor *after)
{
	size_t still = after->count;

	for (size_t i = 0; i < still; i++) {
		const struct doctor_finding *was = find_again(before, &after->items[i]);

		if (!was || !was->fixable)
			continue;
		after->items[i].result = DOCTOR_FAILED;
		if (was->why)
			after->items[i].why = mem_strdup(was->why);
	}
	for (size_t i = 0; i < before->count; i++) {
		struct doctor_finding *was = &before->items[i];

		/* Somebody else's that has gone meanwhile is no merit of ours. */
		if (!was->fixable || find_again(after, was))
			continue;
		was->result = DOCTOR_CURED;
		log_cure(repo, was);
		push(after, was);
	}
	if (after->count)
		qsort(after->items, after->count, sizeof(*after->items), compare_findings);
	doctor_release(before);
	*before = *after;
	*after = (struct doctor){0};
}

/* ---- the room's front -------------------------------------------------------------------- */

static bool any_is_curable(const struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->count; i++)
		if (doctor->items[i].fixable)
			return true;
	return false;
}

static void tell(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->count; i++) {
		struct doctor_finding *finding = &doctor->items[i];
		const struct doctor_kind *kind = &doctor_kinds[finding->ill];

		finding->cause = doctor_words(kind->cause, finding, false);
		if (!finding->cure)
			finding->cure = doctor_words(kind->cure, finding, true);
		doctor->cured += finding->result == DOCTOR_CURED;
		doctor->failed += finding->result == DOCTOR_FAILED;
		doctor->problems +=
			finding->level == DOCTOR_PROBLEM && finding->result != DOCTOR_CURED;
	}
}

void doctor_run(struct repo *repo, const struct doctor_options *options, struct doctor *out)
{
	struct doctor after;

	look(repo, options, out);
	if (options->fix && any_is_curable(out)) {
		cure(repo, options, out);
		look(repo, options, &after);
		merge(repo, out, &after);
	}
	tell(out);
}
