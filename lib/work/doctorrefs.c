/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * doctor: refs whose files hold no id (a power loss), and refs of ours whose commit is not there.
 *
 * A damaged ref of ours does not stop a save (D19): it goes on from the last good value. Until
 * then git passes over the ref with a warning, so that nothing but our packs keeps what it names.
 */
#include "doctorparts.h"

#include "chain.h"
#include "odb.h"
#include "ref.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the last good value ---------------------------------------------------------------- */

struct after {
	const char *pin;
	struct oid oid;
	bool found;
};

/* Pins come sorted: the first one behind ours. */
static int take_after(void *arg, const char *name, const struct oid *oid, UNUSED struct fail *fail)
{
	struct after *after = arg;

	if (after->found || strcmp(name, after->pin) <= 0)
		return 0;
	after->found = true;
	after->oid = *oid;
	return 0;
}

/* The segment behind a pin begins with a checkpoint that names what the pin held. */
static int pin_value(struct repo *repo, struct odb *odb, const char *pin, struct oid *value,
		     struct fail *fail)
{
	struct checkpoint last = CHECKPOINT_INIT, first = CHECKPOINT_INIT, own = CHECKPOINT_INIT;
	char *prefix = mem_dup(pin, (size_t)(strrchr(pin, '/') + 1 - pin));
	char *chain = checkpoint_chain_of_pin(pin);
	struct after after = {.pin = pin};
	int64_t segment = strtoll(strrchr(pin, '/') + 1, NULL, 10);

	oid_zero(repo->algo, value);
	if (ref_each(repo, prefix, take_after, &after, fail) == 0 && !after.found && chain)
		after.found = ref_read(repo, chain, &after.oid, fail) == 0;
	if (after.found && checkpoint_read(odb, &after.oid, &last, fail) == 0 && last.segment &&
	    checkpoint_read(odb, &last.first, &first, fail) == 0 && !oid_is_zero(&first.previous) &&
	    checkpoint_read(odb, &first.previous, &own, fail) == 0 && own.segment == segment)
		*value = first.previous;
	checkpoint_release(&last);
	checkpoint_release(&first);
	checkpoint_release(&own);
	free(prefix);
	free(chain);
	return fail->kind;
}

/* Zero: nothing is known. */
static void last_good(struct repo *repo, const char *name, struct oid *value)
{
	struct chain chain = CHAIN_INIT;
	struct fail fail = FAIL_INIT;
	struct odb odb;

	odb_init(&odb, repo);
	oid_zero(repo->algo, value);
	if (!strncmp(name, "refs/shadow-old/", 16)) {
		if (pin_value(repo, &odb, name, value, &fail) < 0)
			oid_zero(repo->algo, value);
	} else {
		if (chain_read(repo, &odb, name, &chain, &fail) == 0 && chain.corrupt)
			*value = chain.tip;
		chain_release(&chain);
	}
	odb_release(&odb);
}

/* ---- files that hold no id -------------------------------------------------------------- */

static char *say_damage(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return mem_strdup("is no regular file");
	if (!st->st_size)
		return mem_strdup("is empty");
	return mem_strdup("holds no id");
}

static void add_ours(struct doctor_view *view, const char *name, const char *path,
		     const struct stat *st)
{
	struct doctor *doctor = view->doctor;
	char hex[OID_HEX_MAX + 1];
	char *damage = say_damage(st);
	struct oid value;

	last_good(view->repo, name, &value);
	if (oid_is_zero(&value)) {
		doctor_add(doctor, ILL_REF_LOST, name, path, damage);
		return;
	}
	doctor_add(doctor, ILL_REF_DAMAGED, name, path,
		   mem_printf("%s; its last good value is %s", damage, oid_hex(&value, hex)));
	free(damage);
}

/* The last id in its reflog, for a hint; NULL: there is none. */
static char *last_in_log(const struct repo *repo, const char *name)
{
	char *path = mem_printf("logs/%s", name), *found = NULL;
	struct bytes text = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	size_t hex = 2 * hash_size(repo->algo);
	struct oid oid;
	char *line;

	if (file_read(repo->common_fd, path, (size_t)64 << 20, &text, &ignored) == 0) {
		bytes_chomp(&text);
		line = strrchr(text.data, '\n');
		line = line ? line + 1 : text.data;
		if (strlen(line) > 2 * hex + 1 && oid_parse(repo->algo, line + hex + 1, hex, &oid))
			found = mem_dup(line + hex + 1, hex);
	}
	bytes_release(&text);
	free(path);
	return found;
}

static void add_others(struct doctor_view *view, const char *name, const char *path,
		       const struct stat *st)
{
	struct doctor_finding *finding =
		doctor_add(view->doctor, ILL_GIT_REF_DAMAGED, name, path, say_damage(st));
	char *last = last_in_log(view->repo, name);

	/* git can write no ref over what it cannot read. */
	if (last) {
		char *file = doctor_shell(path), *ref = doctor_shell(name);

		finding->cure = mem_printf("rm %s; git update-ref %s %s (the last value in its "
					   "reflog)",
					   file, ref, last);
		free(file);
		free(ref);
	}
	free(last);
}

static void look_at_file(struct doctor_view *view, int dir, const char *file, const char *name)
{
	struct fail fail = FAIL_INIT;
	char *target = NULL, *path;
	struct stat st;
	struct oid oid;

	if (!refname_valid(name) || refname_per_worktree(name) ||
	    ref_read_raw(view->repo, name, &oid, &target, &fail) != FAIL_CORRUPT) {
		free(target);
		return;
	}
	path = doctor_path(view->repo, name);
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		;
	else if (refname_is_ours(name))
		add_ours(view, name, path, &st);
	else
		add_others(view, name, path, &st);
	free(path);
}

static void look_below(struct doctor_view *view, int dir, const char *below)
{
	int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = own < 0 ? NULL : fdopendir(own);
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		char *name = mem_printf("%s/%s", below, entry->d_name);
		int sub = entry->d_name[0] != '.' &&
					  (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)
				  ? openat(dir, entry->d_name,
					   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
				  : -1;

		if (sub >= 0) {
			look_below(view, sub, name);
			close(sub);
		} else if (entry->d_name[0] != '.' && entry->d_type != DT_DIR) {
			look_at_file(view, dir, entry->d_name, name);
		}
		free(name);
	}
	if (stream)
		closedir(stream);
	else if (own >= 0)
		close(own);
}

/* ---- refs of ours that can be read ------------------------------------------------------- */

struct visit {
	struct doctor_view *view;
	struct odb odb;
};

static int look_at_target(void *arg, const char *name, const struct oid *oid,
			  UNUSED struct fail *fail)
{
	struct visit *visit = arg;
	struct fail why = FAIL_INIT;
	enum object_type type;
	char hex[OID_HEX_MAX + 1];

	visit->view->doctor->refs++;
	if (odb_type(&visit->odb, oid, &type, &why) == FAIL_GONE)
		doctor_add(visit->view->doctor, ILL_REF_DANGLING, name, NULL,
			   mem_strdup(oid_hex(oid, hex)));
	return 0;
}

static int look_at_targets(struct doctor_view *view, struct fail *fail)
{
	static const char *const ours[] = {"refs/shadow/", "refs/shadow-old/", "refs/rescue/"};
	struct visit visit = {.view = view};

	odb_init(&visit.odb, view->repo);
	for (size_t i = 0; fail->kind == 0 && i < ARRAY_SIZE(ours); i++)
		ref_each(view->repo, ours[i], look_at_target, &visit, fail);
	odb_release(&visit.odb);
	return fail->kind;
}

int doctor_refs(struct doctor_view *view, struct fail *fail)
{
	int refs = view->repo->refs_by_git ? -1 : doctor_open(view->repo, "refs");

	if (refs >= 0) {
		look_below(view, refs, "refs");
		close(refs);
	}
	return look_at_targets(view, fail);
}

/* ---- curing ---------------------------------------------------------------------------------- */

int doctor_cure_ref(struct doctor_view *view, const struct doctor_finding *finding,
		    struct fail *fail)
{
	struct oid value;

	last_good(view->repo, finding->subject, &value);
	if (oid_is_zero(&value))
		return fail_set(fail, FAIL_GONE, "its last good value is not known any more");
	return chain_mend(view->repo, finding->subject, &value, clock_deadline(0), fail);
}
