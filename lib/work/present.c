/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "present.h"

#include "commit.h"

#include <stdlib.h>

int present_look(struct repo *repo, void (*progress)(void *arg, uint64_t seen), void *progress_arg,
		 struct present *present, struct fail *fail)
{
	struct capture_options options = {
		.head_tree = *oid_empty_tree(repo->algo),
		.progress = progress,
		.progress_arg = progress_arg,
	};
	struct commit commit = {0};
	struct oid head;
	struct odb odb;

	odb_init(&odb, repo);
	if (repo_head_commit(repo, &head, fail) == 0 && !oid_is_zero(&head) &&
	    commit_read(&odb, &head, &commit, fail) == 0)
		options.head_tree = commit.tree;
	commit_release(&commit);
	odb_release(&odb);
	return fail->kind ? fail->kind : capture_run(repo, &options, &present->capture, fail);
}

/* The pack room writes wherever the repository's new objects go: to our folder. */
static int write_aside(struct present *present, const char *folder, const struct oid *have,
		       size_t have_count, struct fail *fail)
{
	struct capture *capture = &present->capture;
	struct repo aside = *capture->repo;
	struct pack *pack = NULL;

	aside.object_dir = mem_printf("%s/objects", folder);
	if (pack_begin(&aside, &pack, fail) == 0 &&
	    capture_pack(capture, &capture->tree, have, have_count, pack, fail) == 0)
		pack_publish(pack, fail);
	pack_free(pack);
	free(aside.object_dir);
	return fail->kind;
}

int present_share(struct present *present, const struct oid *have, size_t have_count,
		  struct fail *fail)
{
	struct plumb *plumb = &present->capture.plumb;

	if (!plumb->dir) {
		plumb = &present->plumb;
		if (plumb_begin(present->capture.repo, plumb, fail) < 0)
			return fail->kind;
	}
	present->env = &plumb->env;
	return write_aside(present, plumb->dir, have, have_count, fail);
}

void present_release(struct present *present)
{
	if (present->capture.repo)
		capture_release(&present->capture);
	plumb_end(&present->plumb);
	present->env = NULL;
}
