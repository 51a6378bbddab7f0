/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * Any bytes as an index file.
 *
 * Whatever is read as an index has sorted names that stay below the work tree,
 * and all that its entries and cache-tree point at can be read.
 */
#include "prelude.h"

#include "index.h"
#include "pathcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned touch_tree(const struct index *index, const struct index_tree *tree)
{
	unsigned sum = (unsigned char)tree->name[tree->name_len];

	if (tree->entry_count > (int64_t)index->count || (tree->entry_count >= 0) != !!tree->oid)
		abort();
	if (tree->oid)
		sum += tree->oid[hash_size(index->algo) - 1];
	for (uint32_t i = 0; i < tree->subtree_count; i++)
		sum += touch_tree(index, &tree->subtrees[i]);
	return sum;
}

static void check(const struct index *index)
{
	for (uint32_t i = 0; i < index->count; i++) {
		const struct index_entry *e = &index->entries[i];

		if (strlen(e->name) != e->name_len || !path_stays_below(e->name, e->name_len))
			abort();
		if (i && strcmp(e[-1].name, e->name) > 0)
			abort();
		if (index_find(index, e->name, e->name_len) > e)
			abort();
		if (e->stat + 40 != e->oid || e->oid[hash_size(index->algo) - 1] > 255)
			abort();
	}
	if (index->tree)
		touch_tree(index, index->tree);
}

static void try_as(enum hash_algo algo, const char *path)
{
	struct fail fail = FAIL_INIT;
	struct index index;

	if (index_open(&index, path, algo, &fail) == 0)
		check(&index);
	else if (fail.kind != FAIL_CORRUPT && fail.kind != FAIL_ENGINE)
		abort();
	index_close(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("index", MFD_CLOEXEC);
	char path[32];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	try_as(HASH_SHA1, path);
	try_as(HASH_SHA256, path);
	close(fd);
	return 0;
}
