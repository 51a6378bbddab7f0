/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "scan.h"

#include "attributes.h"
#include "content.h"
#include "convert.h"
#include "hash.h"
#include "repo.h"
#include "statcache.h"
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Larger files are hashed without having them in memory. */
#define WHOLE_LIMIT ((uint64_t)8 * 1024 * 1024)
#define TRIES 3

/* One job of the second crew run: a few candidates. */
#define BATCH_COUNT 8
#define BATCH_BYTES ((uint64_t)4 * 1024 * 1024)

/* ---- candidates: read, convert, hash ------------------------------------------------ */

/* The second half of a scan: what the jobs share. */
struct settling {
	struct walk *walk;
	bool convert; /* some attribute, or core.autocrlf, asks for text conversion */
	struct converter converter;
	uint64_t kept; /* atomic; bytes of contents that stay in memory */
	struct batch *batches;
	size_t batch_count, batch_cap;
	struct candidate **candidates;
	size_t candidate_count;
};

struct batch {
	struct walk_job job;
	struct settling *settling;
	size_t first, count;
};

/* Where a candidate's reading stands. */
struct reading {
	struct settling *settling;
	struct walk_part *part;
	const struct candidate *candidate;
	struct content content;
	struct oid oid; /* of the converted content */
	uint64_t size;	/* of the converted content */
	bool in_memory; /* content.data is the converted content */
	mode_t mode;
};

static bool below_missing_attributes(const struct walk *walk, const char *path)
{
	for (size_t i = 0; i < walk->missing_attributes.count; i++) {
		const char *dir = walk->missing_attributes.items[i];

		if (!strncmp(path, dir, strlen(dir)))
			return true;
	}
	return false;
}

/* Converts what was read; false after a failure. */
static bool convert(struct reading *reading)
{
	struct walk *walk = reading->settling->walk;
	const char *path = reading->candidate->path;
	struct fail fail = FAIL_INIT;
	unsigned steps;

	if (below_missing_attributes(walk, path))
		fail_set(&fail, FAIL_ENGINE, "missing gitattributes");
	else
		converter_decide(&reading->settling->converter, path, &reading->content.data,
				 &steps, &fail);
	if (fail.kind) {
		walk_fail(walk, &fail);
		return false;
	}
	convert_apply(steps, &reading->content.data);
	return true;
}

static void remember(struct reading *reading, bool plain)
{
	const struct walk *walk = reading->settling->walk;

	if (walk->options->cache && (plain || !reading->settling->convert))
		statcache_add(walk->options->cache, reading->candidate->path,
			      reading->candidate->path_len, &reading->content.st, &reading->oid,
			      plain);
}

/* How one try went. */
enum outcome {
	DONE,
	AGAIN,	 /* it changed while it was read */
	DROPPED, /* skipped, or a failure: already recorded */
	VANISHED
};

static bool is_plain(const struct bytes *data)
{
	return convert_is_plain(data->data, data->len);
}

/* A file that fits into memory. */
static enum outcome read_whole(struct reading *reading)
{
	struct content *content = &reading->content;
	enum hash_algo algo = reading->settling->walk->repo->algo;
	bool plain;

	if (!content_fill(content))
		return AGAIN;
	plain = is_plain(&content->data);
	if (!plain && reading->settling->convert && !convert(reading))
		return DROPPED;
	object_id(algo, OBJECT_BLOB, content->data.data, content->data.len, &reading->oid);
	reading->size = content->data.len;
	reading->in_memory = true;
	remember(reading, plain);
	return DONE;
}

/*
 * A large one: its bytes are hashed from the file. Where conversion could
 * matter there is no way around having it in memory.
 */
static enum outcome read_large(struct reading *reading)
{
	struct content *content = &reading->content;

	if (reading->settling->convert)
		return read_whole(reading);
	if (!content_hash(content, reading->settling->walk->repo->algo, &reading->oid))
		return AGAIN;
	reading->size = (uint64_t)content->st.st_size;
	remember(reading, false);
	return DONE;
}

static enum outcome read_link(struct reading *reading)
{
	const struct bytes *data = &reading->content.data;

	object_id(reading->settling->walk->repo->algo, OBJECT_BLOB, data->data, data->len,
		  &reading->oid);
	reading->size = data->len;
	reading->in_memory = true;
	remember(reading, true);
	return DONE;
}

static enum outcome drop(struct reading *reading, const char *reason)
{
	walk_add_skipped(reading->part, reading->candidate->path, reading->candidate->path_len,
			 reason);
	return DROPPED;
}

static enum outcome try_once(struct reading *reading)
{
	const struct scan_options *options = reading->settling->walk->options;
	struct content *content = &reading->content;
	struct walk *walk = reading->settling->walk;
	struct fail fail = FAIL_INIT;

	reading->in_memory = false;
	switch (content_open(content, walk->root, reading->candidate->path)) {
	case CONTENT_FILE:
		if (options->max_file_size &&
		    (uint64_t)content->st.st_size > options->max_file_size)
			return drop(reading, "too large");
		reading->mode = content->st.st_mode;
		return (uint64_t)content->st.st_size > WHOLE_LIMIT ? read_large(reading)
								   : read_whole(reading);
	case CONTENT_LINK:
		reading->mode = content->st.st_mode;
		return read_link(reading);
	case CONTENT_GONE:
		return VANISHED;
	case CONTENT_SKIP:
		return drop(reading, content->reason);
	case CONTENT_FAIL:
		break;
	}
	fail_errno(&fail, "read '%s'", reading->candidate->path);
	walk_fail(walk, &fail);
	return DROPPED;
}

/* May these bytes stay in memory until the checkpoint is written? */
static bool keep(struct settling *settling, uint64_t size)
{
	uint64_t limit = settling->walk->options->keep_bytes;

	if (size > limit)
		return false;
	if (__atomic_add_fetch(&settling->kept, size, __ATOMIC_RELAXED) <= limit)
		return true;
	__atomic_sub_fetch(&settling->kept, size, __ATOMIC_RELAXED);
	return false;
}

static void record(struct reading *reading)
{
	const struct candidate *candidate = reading->candidate;
	uint32_t mode = walk_tree_mode(reading->settling->walk, reading->mode, candidate->entry);
	struct change *change;

	if (walk_same_as_index(candidate->entry, mode, &reading->oid))
		return;
	change = walk_add_change(reading->part, candidate->path, candidate->path_len);
	change->mode = mode;
	change->oid = reading->oid;
	change->size = reading->size;
	if (reading->in_memory && keep(reading->settling, reading->size)) {
		bytes_add(&change->content, reading->content.data.data, reading->content.data.len);
		change->has_content = true;
	}
}

static void settle(struct reading *reading)
{
	enum outcome outcome = AGAIN;

	reading->part->hashed++;
	for (int i = 0; i < TRIES && outcome == AGAIN; i++)
		outcome = try_once(reading);
	if (outcome == DONE)
		record(reading);
	else if (outcome == AGAIN)
		drop(reading, reading->content.reason);
	else if (outcome == VANISHED && reading->candidate->entry)
		walk_add_gone(reading->settling->walk, reading->part, reading->candidate->entry);
}

/* Its bytes' id was remembered, and nothing converts bytes here. */
static void settle_known(struct walk_part *part, const struct candidate *candidate)
{
	struct change *change;

	if (walk_same_as_index(candidate->entry, candidate->mode, &candidate->raw))
		return;
	change = walk_add_change(part, candidate->path, candidate->path_len);
	change->mode = candidate->mode;
	change->oid = candidate->raw;
	change->size = candidate->size;
}

static void settle_batch(struct walk *walk, unsigned worker, struct walk_job *job)
{
	struct batch *batch = (struct batch *)job;
	struct settling *settling = batch->settling;
	struct reading reading = {
		.settling = settling, .part = &walk->parts[worker], .content = CONTENT_INIT};

	for (size_t i = 0; i < batch->count && !walk_stopped(walk); i++) {
		reading.candidate = settling->candidates[batch->first + i];
		settle(&reading);
	}
	content_release(&reading.content);
}

/* What has to be read; the others are settled at once. */
static void collect(struct settling *settling)
{
	struct walk *walk = settling->walk;
	size_t total = 0;

	for (unsigned i = 0; i < walk->part_count; i++)
		total += walk->parts[i].candidate_count;
	settling->candidates = mem_array(total, sizeof(*settling->candidates));
	for (unsigned i = 0; i < walk->part_count; i++)
		for (size_t k = 0; k < walk->parts[i].candidate_count; k++) {
			struct candidate *candidate = &walk->parts[i].candidates[k];

			if (candidate->known && !settling->convert)
				settle_known(&walk->parts[0], candidate);
			else
				settling->candidates[settling->candidate_count++] = candidate;
		}
}

static void cut_batches(struct settling *settling)
{
	struct batch *batch = NULL;
	uint64_t bytes = 0;

	for (size_t i = 0; i < settling->candidate_count; i++) {
		if (!batch || batch->count == BATCH_COUNT || bytes > BATCH_BYTES) {
			MEM_GROW(settling->batches, settling->batch_cap, settling->batch_count + 1);
			batch = &settling->batches[settling->batch_count++];
			*batch =
				(struct batch){.job = {.run = settle_batch, .walk = settling->walk},
					       .settling = settling,
					       .first = i};
			bytes = 0;
		}
		batch->count++;
		bytes += settling->candidates[i]->size;
	}
}

static int settle_candidates(struct walk *walk)
{
	struct settling settling = {.walk = walk};

	settling.convert = walk->repo->conf.autocrlf || (walk->uses & ATTRIBUTE_CONVERT);
	converter_init(&settling.converter, walk->repo, walk->index);
	collect(&settling);
	cut_batches(&settling);
	for (size_t i = 0; i < settling.batch_count; i++)
		crew_add(walk->crew, &settling.batches[i].job);
	crew_run(walk->crew);
	converter_release(&settling.converter);
	free(settling.candidates);
	free(settling.batches);
	return walk->fail->kind;
}

/* ---- the result ------------------------------------------------------------------------ */

static int compare_changes(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

static int compare_skipped(const void *a, const void *b)
{
	return strcmp(((const struct skipped *)a)->path, ((const struct skipped *)b)->path);
}

static void release_change(struct change *change)
{
	free(change->path);
	bytes_release(&change->content);
}

/* Moves what the threads found into the result. */
static void gather(struct walk *walk, struct scan *out)
{
	for (unsigned i = 0; i < walk->part_count; i++) {
		struct walk_part *part = &walk->parts[i];

		MEM_GROW(out->changes, out->change_cap, out->change_count + part->change_count);
		if (part->change_count)
			memcpy(out->changes + out->change_count, part->changes,
			       part->change_count * sizeof(*part->changes));
		out->change_count += part->change_count;
		part->change_count = 0;
		MEM_GROW(out->skipped, out->skipped_cap, out->skipped_count + part->skipped_count);
		if (part->skipped_count)
			memcpy(out->skipped + out->skipped_count, part->skipped,
			       part->skipped_count * sizeof(*part->skipped));
		out->skipped_count += part->skipped_count;
		part->skipped_count = 0;
		out->files_seen += part->seen;
		out->files_hashed += part->hashed;
	}
	out->unmatched = walk->unmatched;
	walk->unmatched = (struct argv)ARGV_INIT;
}

/* Named paths can overlap: each path stays once. */
static void sort_result(struct scan *out)
{
	size_t n = 0;

	if (out->change_count)
		qsort(out->changes, out->change_count, sizeof(*out->changes), compare_changes);
	for (size_t i = 0; i < out->change_count; i++) {
		if (n && !compare_changes(&out->changes[n - 1], &out->changes[i]))
			release_change(&out->changes[i]);
		else
			out->changes[n++] = out->changes[i];
	}
	out->change_count = n;
	if (out->skipped_count)
		qsort(out->skipped, out->skipped_count, sizeof(*out->skipped), compare_skipped);
	n = 0;
	for (size_t i = 0; i < out->skipped_count; i++) {
		if (n && !compare_skipped(&out->skipped[n - 1], &out->skipped[i]))
			free(out->skipped[i].path);
		else
			out->skipped[n++] = out->skipped[i];
	}
	out->skipped_count = n;
}

int scan_run(struct repo *repo, const struct scan_options *options, struct scan *out,
	     struct fail *fail)
{
	struct walk walk;

	*out = (struct scan){0};
	if (!repo->handle)
		return fail_set(fail, FAIL_ENGINE, "%s", repo->engine_reason);
	if (index_open(&out->index, repo->index_path, repo->algo, fail) < 0)
		return fail->kind;
	if (out->index.skip_worktree_count)
		return fail_set(fail, FAIL_ENGINE, "skip-worktree entries");
	if (walk_open(&walk, repo, options, &out->index, fail) == 0 && walk_run(&walk) == 0 &&
	    settle_candidates(&walk) == 0) {
		gather(&walk, out);
		sort_result(out);
		if (options->cache && !options->paths)
			statcache_forget_unseen(options->cache);
	}
	walk_close(&walk);
	return fail->kind;
}

void scan_release(struct scan *scan)
{
	for (size_t i = 0; i < scan->change_count; i++)
		release_change(&scan->changes[i]);
	for (size_t i = 0; i < scan->skipped_count; i++)
		free(scan->skipped[i].path);
	free(scan->changes);
	free(scan->skipped);
	argv_release(&scan->unmatched);
	index_close(&scan->index);
	*scan = (struct scan){0};
}

/* ---- reading once more --------------------------------------------------------------------- */

/* Which conversion was applied needs no asking: it is the one that gives the id. */
static bool matches(const struct change *change, enum hash_algo algo, const struct bytes *data,
		    struct bytes *out)
{
	static const unsigned steps[] = {0, CONVERT_CRLF, CONVERT_IDENT,
					 CONVERT_CRLF | CONVERT_IDENT};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct oid oid;

		bytes_clear(out);
		bytes_add(out, data->data, data->len);
		convert_apply(steps[i], out);
		object_id(algo, OBJECT_BLOB, out->data, out->len, &oid);
		if (oid_equal(&oid, &change->oid))
			return true;
		if (is_plain(data))
			break;
	}
	return false;
}

int scan_reread(struct repo *repo, const struct change *change, struct bytes *out,
		struct fail *fail)
{
	struct content content = CONTENT_INIT;
	enum content_kind kind;
	int root = open(repo->work_tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return fail_errno(fail, "open '%s'", repo->work_tree);
	kind = content_open(&content, root, change->path);
	if (kind == CONTENT_FAIL)
		fail_errno(fail, "read '%s'", change->path);
	else if (kind == CONTENT_SKIP && !strcmp(content.reason, "unreadable"))
		fail_set(fail, FAIL_FATAL, "'%s' cannot be read any more", change->path);
	else if ((kind != CONTENT_FILE && kind != CONTENT_LINK) ||
		 S_ISLNK(change->mode) != (kind == CONTENT_LINK) ||
		 (kind == CONTENT_FILE && !content_fill(&content)) ||
		 !matches(change, repo->algo, &content.data, out))
		fail_set(fail, FAIL_NO, "'%s' changed meanwhile", change->path);
	content_release(&content);
	close(root);
	return fail->kind;
}
