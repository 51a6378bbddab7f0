/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "poolwatch.h"

#include "pool.h"
#include "poolrequest.h"
#include "watch.h"

#include <unistd.h>

struct watched {
	struct slot *slot;
	int requests;
};

static bool somebody_asked(void *arg)
{
	struct watched *w = arg;

	return pool_request_came(w->slot->repo, w->requests, w->slot->record.lease);
}

/*
 * In the watcher: of all that was open only the locks, the directories and the requests are. So
 * the repository is opened again, from its own directory. Nobody hears what fails here.
 */
static void owner_is_gone(void *arg)
{
	struct watched *w = arg;
	struct slot *slot = w->slot;
	struct fail ignored = FAIL_INIT;
	struct pool_released released;
	struct repo repo;

	if (chdir(slot->repo->common_dir) == 0 && repo_open(&repo, REPO_ANY, &ignored) == 0) {
		const struct pool_release how = {.lease = slot->record.lease,
						 .clean_all = repo.conf.clean_all,
						 .supervised = true};

		slot->repo = &repo;
		pool_release(slot, &how, &released, &ignored);
	}
}

int pool_watch(struct slot *slot, pid_t *pid, struct fail *fail)
{
	struct watched watched = {.slot = slot, .requests = pool_request_watch(slot->repo, fail)};
	const int keep[] = {slot->admin, slot->work, slot->repo->common_fd, slot->repo->state_fd,
			    watched.requests};
	struct watch watch = {.owner = slot->record.owner,
			      .keep = keep,
			      .keep_count = ARRAY_SIZE(keep),
			      .release = owner_is_gone,
			      .wake = &watched.requests,
			      .let_go = somebody_asked,
			      .arg = &watched};

	if (watched.requests < 0)
		return fail->kind;
	watch_start(&watch, pid, fail);
	close(watched.requests);
	return fail->kind;
}
