/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "survey.h"

#include "crew.h"
#include "hash.h"
#include "ledger.h"
#include "packdir.h"
#include "ref.h"
#include "repo.h"
#include "spawn.h"
#include "worktree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- how dirty a slot is ---------------------------------------------------------------- */

/* Entries of `git status --porcelain=v1 -z`: a rename has a second path. */
static int64_t count_entries(const struct bytes *answer)
{
	const char *p = answer->data, *end = p + answer->len;
	int64_t count = 0;

	while (p < end) {
		bool renamed = p[0] == 'R' || p[0] == 'C';

		p += strlen(p) + 1;
		if (renamed && p < end)
			p += strlen(p) + 1;
		count++;
	}
	return count;
}

/*
 * Asked of git, which is told to write nothing and to run none of the user's hooks. A slot
 * that is busy (its index is being written) may not answer: that is no number.
 */
static int64_t count_dirty(struct repo *repo, const struct slot *slot)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes answer = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	int64_t count = SURVEY_UNKNOWN;

	if (slot->facts.tree != TREE_OK || slot->state == STATE_HALF_BORN)
		return SURVEY_UNKNOWN;
	repo_git(repo, &cmd);
	worktree_forget_env(&cmd.env);
	argv_push_all(&cmd.argv, "status", "--porcelain=v1", "-z", "--untracked-files=all",
		      "--ignore-submodules=none", NULL);
	cmd.cwd = slot->path;
	cmd.stderr_to_null = true;
	if (spawn_capture(&cmd, &answer, &ignored) == 0)
		count = count_entries(&answer);
	spawn_release(&cmd);
	bytes_release(&answer);
	return count;
}

/* One slot's question; the slots are asked at once, a few at a time. */
struct asking {
	struct repo *repo;
	const struct slot *slot;
	int64_t *count;
};

#define ASKED_AT_ONCE 4 /* each waits for a git, which waits for the disk */

static void ask(UNUSED struct crew *crew, UNUSED unsigned worker, void *job)
{
	struct asking *asking = job;

	*asking->count = count_dirty(asking->repo, asking->slot);
}

static void count_all_dirty(struct repo *repo, struct survey *out)
{
	size_t count = out->slots.count;
	struct asking *asking = mem_array(count + 1, sizeof(*asking));
	struct crew *crew = crew_new(ASKED_AT_ONCE, ask);

	out->dirty = mem_array(count + 1, sizeof(*out->dirty));
	for (size_t i = 0; i < count; i++) {
		asking[i] = (struct asking){repo, &out->slots.items[i], &out->dirty[i]};
		crew_add(crew, &asking[i]);
	}
	crew_run(crew);
	crew_free(crew);
	free(asking);
}

/* ---- refs, packs, the ledger ----------------------------------------------------------------- */

static int count_ref(void *arg, UNUSED const char *name, UNUSED const struct oid *oid,
		     UNUSED struct fail *fail)
{
	uint64_t *count = arg;

	(*count)++;
	return 0;
}

static int count_packs(struct repo *repo, struct survey *out, struct fail *fail)
{
	struct packdir packs = PACKDIR_INIT;
	char *path = mem_printf("%s/pack", repo->object_dir);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	free(path);
	if (dir < 0)
		return 0;
	if (packdir_list(&packs, dir, 2 * hash_size(repo->algo), 1, fail) == 0 &&
	    packdir_stat(&packs, dir, fail) == 0)
		for (size_t i = 0; i < packs.count; i++) {
			out->packs += packs.packs[i].has_pack;
			out->pack_bytes += packs.packs[i].size;
		}
	packdir_release(&packs);
	close(dir);
	return fail->kind;
}

static uint64_t size_of(const struct repo *repo, const char *path)
{
	struct stat st;

	return fstatat(repo->common_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size
									     : 0;
}

int survey_look(struct repo *repo, struct survey *out, struct fail *fail)
{
	*out = (struct survey){0};
	if (slots_look(repo, NULL, false, &out->slots, fail) < 0 ||
	    mutex_look(repo, &out->runs, fail) < 0 ||
	    ref_each(repo, "refs/shadow/", count_ref, &out->chains, fail) < 0 ||
	    ref_each(repo, "refs/shadow-old/", count_ref, &out->pins, fail) < 0 ||
	    ref_each(repo, "refs/rescue/", count_ref, &out->rescues, fail) < 0 ||
	    count_packs(repo, out, fail) < 0)
		return fail->kind;
	count_all_dirty(repo, out);
	out->ledger_size =
		size_of(repo, "interlock/" LEDGER_FILE) + size_of(repo, "interlock/" LEDGER_OLD);
	return 0;
}

void survey_release(struct survey *survey)
{
	slots_release(&survey->slots);
	mutex_runs_release(&survey->runs);
	free(survey->dirty);
	survey->dirty = NULL;
}
