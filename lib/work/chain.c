/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "chain.h"

#include "beneath.h"
#include "hash.h"
#include "history.h"
#include "name.h"
#include "quote.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* ---- the note of the last tip ------------------------------------------------------- */

/*
 * The header; "<id of the tip> <its pack> <length of the rest> <CRC-32 of the line up to
 * here>"; and the rest, which is recall's. The length tells it from what a longer note
 * before it has left behind.
 */
#define NOTE_HEADER "interlock-tip 2\n"
#define NOTE_LIMIT ((size_t)4 << 20)

static uint32_t checksum(const char *text, size_t len)
{
	return (uint32_t)crc32_z(0, (const Bytef *)text, len);
}

static char *note_name(const char *chain)
{
	struct bytes name = BYTES_INIT;

	name_encode(chain, &name);
	return bytes_take(&name);
}

/* A note that cannot be written costs a repair later, never a checkpoint: no failure. */
static void write_note(struct chain *chain, const struct oid *tip, const char *pack)
{
	struct fail ignored = FAIL_INIT;
	struct bytes text = BYTES_INIT, rest = BYTES_INIT;
	char hex[OID_HEX_MAX + 1];
	char *name = note_name(chain->name);
	int dir = repo_state_dir(chain->repo, "tips", &ignored);

	recall_write(chain->recall, &rest);
	bytes_addf(&text, NOTE_HEADER "%s %s %zu", oid_hex(tip, hex), pack, rest.len);
	bytes_addf(&text, " %08x\n", checksum(text.data, text.len));
	bytes_add(&text, rest.data, rest.len);
	if (dir >= 0) {
		file_overwrite(dir, name, text.data, text.len, &chain->repo->modes,
			       chain->repo->conf.durable, &ignored);
		close(dir);
	}
	bytes_release(&text);
	bytes_release(&rest);
	free(name);
}

struct note {
	struct bytes text;
	struct oid tip;
	char pack[80];
	const char *rest;
	size_t rest_len;
};

static bool parse_note(enum hash_algo algo, struct note *note)
{
	const size_t head = strlen(NOTE_HEADER), hex = 2 * hash_size(algo);
	const char *line = note->text.data + head;
	const char *eol, *sum;
	char *end;

	if (note->text.len < head + hex || memcmp(note->text.data, NOTE_HEADER, head) != 0)
		return false;
	eol = strchr(line, '\n');
	sum = eol ? memrchr(line, ' ', (size_t)(eol - line)) : NULL;
	if (!sum ||
	    strtoul(sum + 1, &end, 16) !=
		    checksum(note->text.data, (size_t)(sum - note->text.data)) ||
	    end != eol || sscanf(line, "%*64s %79s %9zu", note->pack, &note->rest_len) != 2 ||
	    line[hex] != ' ' || !oid_parse(algo, line, hex, &note->tip))
		return false;
	note->rest = eol + 1;
	note->rest_len =
		size_min(note->rest_len, note->text.len - (size_t)(note->rest - note->text.data));
	return true;
}

static bool read_note(struct chain *chain, struct note *note)
{
	struct fail ignored = FAIL_INIT;
	char *name = note_name(chain->name);
	char *path = mem_printf("interlock/tips/%s", name);
	int fd = beneath_open(chain->repo->common_fd, path, O_RDONLY);
	bool found = false;

	*note = (struct note){.text = BYTES_INIT};
	if (fd >= 0) {
		found = file_read_fd(fd, path, NOTE_LIMIT, &note->text, &ignored) == 0 &&
			parse_note(chain->repo->algo, note);
		close(fd);
	}
	free(path);
	free(name);
	return found;
}

/*
 * Takes in the objects of the note while the pack of its tip is there: a tip that was
 * lost has to be missed. A pack that was merged meanwhile costs some time, once.
 */
static void read_recall(struct chain *chain)
{
	struct note note;
	char *idx;

	if (read_note(chain, &note)) {
		idx = mem_printf("%s/pack/%s.idx", chain->repo->object_dir, note.pack);
		if (access(idx, F_OK) == 0)
			recall_load(chain->recall, note.rest, note.rest_len);
		free(idx);
	}
	bytes_release(&note.text);
}

/* ---- reading -------------------------------------------------------------------------- */

struct newest_pin {
	struct oid oid;
	bool found;
};

static int take_pin(void *arg, UNUSED const char *name, const struct oid *oid,
		    UNUSED struct fail *fail)
{
	struct newest_pin *newest = arg;

	newest->oid = *oid; /* pins come sorted by their number */
	newest->found = true;
	return 0;
}

/* The last good value of a ref whose file is damaged: the note, else the newest pin. */
static int recover_tip(struct chain *chain, struct fail *fail)
{
	struct newest_pin newest = {.found = false};
	enum object_type type;
	struct fail lookup = FAIL_INIT;
	struct note note;
	char *pin, *slash;
	bool found = read_note(chain, &note);

	chain->corrupt = true;
	bytes_release(&note.text);
	chain->tip = note.tip;
	if (found && odb_type(chain->odb, &chain->tip, &type, &lookup) == 0 &&
	    type == OBJECT_COMMIT)
		return 0;
	oid_zero(chain->repo->algo, &chain->tip);
	pin = checkpoint_pin_name(chain->name, 0);
	slash = strrchr(pin, '/');
	slash[1] = '\0';
	if (ref_each(chain->repo, pin, take_pin, &newest, fail) == 0 && newest.found)
		chain->tip = newest.oid;
	free(pin);
	return fail->kind;
}

static int read_tip(struct chain *chain, struct oid *tip, struct fail *fail)
{
	int r = ref_read(chain->repo, chain->name, tip, fail);

	if (r == FAIL_GONE) {
		fail_clear(fail);
		oid_zero(chain->repo->algo, tip);
	}
	return fail->kind;
}

static int read_last(struct chain *chain, struct fail *fail)
{
	checkpoint_release(&chain->last);
	oid_zero(chain->repo->algo, &chain->last.tree);
	oid_zero(chain->repo->algo, &chain->last.base);
	oid_zero(chain->repo->algo, &chain->last.index);
	oid_zero(chain->repo->algo, &chain->last.operation);
	if (oid_is_zero(&chain->tip))
		return 0;
	read_recall(chain);
	return checkpoint_read(chain->odb, &chain->tip, &chain->last, fail);
}

int chain_read(struct repo *repo, struct odb *odb, const char *name, struct chain *chain,
	       struct fail *fail)
{
	*chain = (struct chain)CHAIN_INIT;
	chain->repo = repo;
	chain->odb = odb;
	chain->name = mem_strdup(name);
	chain->recall = odb->recall = recall_new(repo->algo);
	if (read_tip(chain, &chain->tip, fail) == FAIL_CORRUPT && refname_is_ours(name)) {
		fail_clear(fail);
		recover_tip(chain, fail);
	}
	return fail->kind ? fail->kind : read_last(chain, fail);
}

int chain_refresh(struct chain *chain, bool *moved, struct fail *fail)
{
	struct oid tip;

	*moved = false;
	if (read_tip(chain, &tip, fail) == FAIL_CORRUPT && chain->corrupt) {
		fail_clear(fail); /* still as damaged as we found it */
		return 0;
	}
	if (fail->kind)
		return fail->kind;
	*moved = !oid_equal(&tip, &chain->tip);
	chain->corrupt = false;
	if (!*moved)
		return 0;
	chain->tip = tip;
	return read_last(chain, fail);
}

bool chain_base(const struct chain *chain, struct oid *base)
{
	struct checkpoint nearest = CHECKPOINT_INIT;
	struct fail ignored = FAIL_INIT;
	bool found = chain->last.segment > 0;

	*base = chain->last.base;
	if (!found && !oid_is_zero(&chain->tip) &&
	    history_nearest(chain->odb, &chain->last.first_parent, &nearest, &ignored) > 0) {
		*base = nearest.base;
		found = true;
	}
	checkpoint_release(&nearest);
	return found;
}

void chain_release(struct chain *chain)
{
	checkpoint_release(&chain->last);
	if (chain->odb)
		chain->odb->recall = NULL;
	recall_free(chain->recall);
	free(chain->name);
	*chain = (struct chain)CHAIN_INIT;
}

/* ---- appending -------------------------------------------------------------------------- */

struct place {
	int64_t segment, number, start;
	bool cut; /* the tip's segment ends: pin it */
};

static struct place next_place(const struct chain *chain, int64_t now)
{
	const struct checkpoint *last = &chain->last;

	if (oid_is_zero(&chain->tip))
		return (struct place){1, 1, now, false};
	if (last->segment && last->number < chain->repo->conf.segment_max &&
	    now - last->segment_start < SEGMENT_SECONDS)
		return (struct place){last->segment, last->number + 1, last->segment_start, false};
	return (struct place){last->segment + 1, 1, now, true};
}

static int take_number(void *arg, const char *name, UNUSED const struct oid *oid,
		       UNUSED struct fail *fail)
{
	int64_t *highest = arg;
	int64_t number = strtoll(strrchr(name, '/') + 1, NULL, 10);

	if (number > *highest)
		*highest = number;
	return 0;
}

/* The number behind all pins of the chain, and at least `seq` + 1. */
static int64_t next_pin(struct chain *chain, int64_t seq, struct fail *fail)
{
	int64_t highest = seq;
	char *prefix = checkpoint_pin_name(chain->name, 0);

	strrchr(prefix, '/')[1] = '\0';
	ref_each(chain->repo, prefix, take_number, &highest, fail);
	free(prefix);
	return highest + 1;
}

/*
 * Pins the tip as the end of its segment, before the chain moves on. A number
 * that another pin has (an older chain of this name) is passed over.
 */
static int pin_tip(struct chain *chain, int64_t deadline, struct fail *fail)
{
	int64_t seq = chain->last.segment;
	bool pinned = false;

	while (!pinned && fail->kind == 0) {
		char *name = checkpoint_pin_name(chain->name, seq);
		struct ref_lock lock = REF_LOCK_INIT;
		struct oid now;
		struct ref_swap swap = {.name = name, .new_oid = chain->tip, .deadline = deadline};

		oid_zero(chain->repo->algo, &swap.old_oid);
		if (ref_lock_take(chain->repo, name, deadline, &lock, fail) == 0)
			ref_swap(chain->repo, &lock, &swap, &now, fail);
		pinned = fail->kind == 0;
		if (fail->kind == FAIL_NO) {
			fail_clear(fail);
			pinned = oid_equal(&now, &chain->tip);
		}
		ref_lock_drop(&lock);
		free(name);
		/* Not one by one: outside writers can have made hundreds. */
		if (!pinned && fail->kind == 0)
			seq = next_pin(chain, seq, fail);
	}
	return fail->kind;
}

static void push_all(struct argv *list, const struct argv *more)
{
	for (size_t i = 0; more && i < more->count; i++)
		argv_push(list, more->items[i]);
}

static void add_trailers(const struct chain *chain, const struct chain_entry *entry,
			 const struct place *place, const char *worktree, struct argv *out)
{
	char hex[OID_HEX_MAX + 1];

	push_all(out, entry->trailers);
	if (entry->session)
		argv_pushf(out, "Shadow-Session: %s", entry->session);
	if (!oid_is_zero(&entry->base))
		argv_pushf(out, "Shadow-Base: %s", oid_hex(&entry->base, hex));
	argv_pushf(out, "Shadow-Worktree: %s", worktree);
	for (size_t i = 0; i < entry->path_count; i++) {
		struct bytes path = BYTES_INIT;

		bytes_adds(&path, "Shadow-Path: ");
		quote_c(entry->paths[i], strlen(entry->paths[i]), &path);
		argv_take(out, bytes_take(&path));
	}
	if (!oid_is_zero(&entry->index))
		argv_pushf(out, "Shadow-Index: %s", oid_hex(&entry->index, hex));
	if (!oid_is_zero(&entry->operation))
		argv_pushf(out, "Shadow-Operation: %s", oid_hex(&entry->operation, hex));
	push_all(out, entry->skipped);
	if (place->cut)
		argv_pushf(out, "Shadow-Previous: %s", oid_hex(&chain->tip, hex));
	argv_pushf(out, "Shadow-Segment: %" PRId64 " %" PRId64 " %" PRId64 " %s", place->segment,
		   place->number, place->start,
		   place->number == 1 ? "-" : oid_hex(&chain->last.first, hex));
}

/* First parent: the chain. Then the base when it is new to the segment, the index, the operation.
 */
static size_t choose_parents(const struct chain *chain, const struct chain_entry *entry,
			     const struct place *place, const struct oid *root,
			     struct oid parents[4])
{
	size_t n = 0;

	parents[n++] = place->number == 1 ? *root : chain->tip;
	if (!oid_is_zero(&entry->base) &&
	    (place->number == 1 || !oid_equal(&entry->base, &chain->last.base)))
		parents[n++] = entry->base;
	if (!oid_is_zero(&entry->index))
		parents[n++] = entry->index;
	if (!oid_is_zero(&entry->operation))
		parents[n++] = entry->operation;
	return n;
}

static int add_segment_root(enum hash_algo algo, struct pack *pack, struct oid *root,
			    struct fail *fail)
{
	struct bytes content = BYTES_INIT;
	int r;

	commit_segment_root(algo, &content, root);
	r = pack_add(pack, root, OBJECT_COMMIT, content.data, content.len, fail);
	if (r == 0)
		r = pack_add(pack, oid_empty_tree(algo), OBJECT_TREE, "", 0, fail);
	bytes_release(&content);
	return r;
}

static int build_commit(struct chain *chain, const struct chain_entry *entry,
			const struct place *place, struct pack *pack, struct oid *commit,
			struct fail *fail)
{
	enum hash_algo algo = chain->repo->algo;
	struct bytes message = BYTES_INIT, content = BYTES_INIT;
	struct argv trailers = ARGV_INIT;
	struct oid parents[4], root;
	char *worktree = NULL;
	size_t n;

	oid_zero(algo, &root);
	if (checkpoint_worktree_identity(chain->repo, &worktree, fail) < 0 ||
	    (place->number == 1 && add_segment_root(algo, pack, &root, fail) < 0))
		goto done;
	add_trailers(chain, entry, place, worktree, &trailers);
	n = choose_parents(chain, entry, place, &root, parents);
	if (commit_message(entry->message, &trailers, &message, fail) < 0 ||
	    commit_format(chain->repo, &entry->tree, parents, n, message.data, &content, fail) < 0)
		goto done;
	object_id(algo, OBJECT_COMMIT, content.data, content.len, commit);
	pack_add(pack, commit, OBJECT_COMMIT, content.data, content.len, fail);
	recall_put(chain->recall, commit, OBJECT_COMMIT, content.data, content.len);
done:
	free(worktree);
	argv_release(&trailers);
	bytes_release(&message);
	bytes_release(&content);
	return fail->kind;
}

int chain_append(struct chain *chain, const struct ref_lock *lock, const struct chain_entry *entry,
		 struct pack *pack, struct oid *commit, struct fail *fail)
{
	struct place place = next_place(chain, (int64_t)time(NULL));
	struct ref_swap swap = {.name = chain->name,
				.old_oid = chain->tip,
				.deadline = entry->deadline,
				.mend = chain->corrupt,
				.reason = "shadow-commit: checkpoint"};
	struct oid now;

	if (place.cut && pin_tip(chain, entry->deadline, fail) < 0)
		return fail->kind;
	if (build_commit(chain, entry, &place, pack, commit, fail) < 0 ||
	    pack_publish(pack, fail) < 0)
		return fail->kind;
	swap.new_oid = *commit;
	if (ref_swap(chain->repo, lock, &swap, &now, fail) < 0)
		return fail->kind;
	write_note(chain, commit, pack_base(pack));
	return 0;
}

/* ---- mending ------------------------------------------------------------------------------ */

int chain_mend(struct repo *repo, const char *name, const struct oid *value, int64_t deadline,
	       struct fail *fail)
{
	struct ref_lock lock = REF_LOCK_INIT;
	struct ref_swap swap = {.name = name,
				.old_oid = *value,
				.new_oid = *value,
				.mend = true,
				.reason = "interlock: the last good value",
				.deadline = deadline};
	struct fail read = FAIL_INIT;
	struct oid now;

	if (ref_lock_take(repo, name, deadline, &lock, fail) < 0)
		return fail->kind;
	if (ref_read(repo, name, &now, &read) != FAIL_CORRUPT)
		fail_set(fail, FAIL_NO, "ref '%s' is not damaged any more", name);
	else
		ref_swap(repo, &lock, &swap, &now, fail);
	ref_lock_drop(&lock);
	return fail->kind;
}
