/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "recall.h"

#include "hash.h"

#include <stdlib.h>
#include <string.h>

#define OBJECT_LIMIT ((size_t)32 << 10)
#define IDLE_LIMIT 8 /* saves in a row that did not want it */

/*
 * The text: for each object a line "<id> <type> <'t' or 's'> <idle> <length>", its
 * content, and a line feed. 't' is one that a save made for its tip, 's' one that
 * was seen elsewhere.
 */
struct object {
	struct oid oid;
	enum object_type type;
	bool of_tip;
	bool fresh; /* of this run, not of the loaded text */
	bool wanted;
	unsigned idle;
	const char *data;
	size_t len;
};

struct recall {
	enum hash_algo algo;
	struct bytes text;	/* as loaded */
	struct object *objects; /* the loaded ones, then those of this run */
	size_t count, cap;
	size_t total; /* bytes of this run's */
};

struct recall *recall_new(enum hash_algo algo)
{
	struct recall *recall = mem_zalloc(sizeof(*recall));

	recall->algo = algo;
	bytes_init(&recall->text);
	return recall;
}

void recall_free(struct recall *recall)
{
	if (!recall)
		return;
	for (size_t i = 0; i < recall->count; i++)
		if (recall->objects[i].fresh)
			free((char *)recall->objects[i].data);
	free(recall->objects);
	bytes_release(&recall->text);
	free(recall);
}

static struct object *find(const struct recall *recall, const struct oid *oid)
{
	for (size_t i = recall->count; i-- > 0;)
		if (oid_equal(&recall->objects[i].oid, oid))
			return &recall->objects[i];
	return NULL;
}

static struct object *add(struct recall *recall)
{
	MEM_GROW(recall->objects, recall->cap, recall->count + 1);
	return &recall->objects[recall->count++];
}

/* ---- reading -------------------------------------------------------------------------- */

static void drop_loaded(struct recall *recall)
{
	size_t kept = 0;

	for (size_t i = 0; i < recall->count; i++)
		if (recall->objects[i].fresh)
			recall->objects[kept++] = recall->objects[i];
	recall->count = kept;
	bytes_clear(&recall->text);
}

/* A line's fields behind the id: " <type> <'t' or 's'> <idle> <length>". */
static bool take_fields(const char *at, struct object *object)
{
	char *end;

	if (at[0] != ' ' || (at[1] != '0' + OBJECT_COMMIT && at[1] != '0' + OBJECT_TREE) ||
	    at[2] != ' ' || (at[3] != 't' && at[3] != 's') || at[4] != ' ')
		return false;
	object->type = (enum object_type)(at[1] - '0');
	object->of_tip = at[3] == 't';
	object->idle = (unsigned)strtoul(at + 5, &end, 10);
	if (*end != ' ')
		return false;
	object->len = strtoul(end + 1, &end, 10);
	return *end == '\n';
}

/* One object from the text; returns what follows it, or NULL where it is not as it should be. */
static const char *take(struct recall *recall, const char *at, const char *end)
{
	size_t hex = hash_size(recall->algo) * 2;
	const char *eol = memchr(at, '\n', (size_t)(end - at));
	struct object object = {0};

	if (!eol || (size_t)(eol - at) < hex || !oid_parse(recall->algo, at, hex, &object.oid) ||
	    !take_fields(at + hex, &object))
		return NULL;
	object.data = eol + 1;
	if (object.len >= (size_t)(end - object.data) || object.data[object.len] != '\n')
		return NULL;
	if (!find(recall, &object.oid))
		*add(recall) = object;
	return object.data + object.len + 1;
}

void recall_load(struct recall *recall, const char *text, size_t len)
{
	const char *at, *end;

	drop_loaded(recall);
	bytes_add(&recall->text, text, len);
	at = recall->text.data;
	end = at + recall->text.len;
	while (at && at < end)
		at = take(recall, at, end);
}

bool recall_get(struct recall *recall, const struct oid *oid, enum object_type *type,
		struct bytes *out)
{
	struct object *object = find(recall, oid);
	struct oid id;

	if (!object)
		return false;
	if (!object->wanted && !object->fresh) {
		object_id(recall->algo, object->type, object->data, object->len, &id);
		if (!oid_equal(&id, oid)) {
			oid_zero(recall->algo, &object->oid);
			return false;
		}
	}
	object->wanted = true;
	*type = object->type;
	bytes_clear(out);
	bytes_add(out, object->data, object->len);
	return true;
}

/* ---- what is kept --------------------------------------------------------------------- */

static void keep(struct recall *recall, const struct oid *oid, enum object_type type,
		 const void *data, size_t len, bool of_tip)
{
	struct object *object = find(recall, oid);

	if (object && (object->fresh || !of_tip)) {
		object->of_tip = object->of_tip || of_tip;
		object->wanted = true;
		return;
	}
	if (len > OBJECT_LIMIT || recall->total + len > RECALL_MAX)
		return;
	if (object) /* the loaded one of the same content gives way */
		oid_zero(recall->algo, &object->oid);
	recall->total += len;
	*add(recall) = (struct object){.oid = *oid,
				       .type = type,
				       .of_tip = of_tip,
				       .fresh = true,
				       .wanted = true,
				       .data = mem_dup(data, len),
				       .len = len};
}

void recall_saw(struct recall *recall, const struct oid *oid, enum object_type type,
		const struct bytes *content)
{
	if (type == OBJECT_COMMIT || type == OBJECT_TREE)
		keep(recall, oid, type, content->data, content->len, false);
}

void recall_put(struct recall *recall, const struct oid *oid, enum object_type type,
		const void *data, size_t len)
{
	keep(recall, oid, type, data, len, true);
}

/* ---- writing -------------------------------------------------------------------------- */

static void write_object(const struct object *object, unsigned idle, struct bytes *out)
{
	char hex[OID_HEX_MAX + 1];

	if (oid_is_zero(&object->oid) || out->len + object->len + 2 * sizeof(hex) > RECALL_MAX)
		return;
	bytes_addf(out, "%s %u %c %u %zu\n", oid_hex(&object->oid, hex), (unsigned)object->type,
		   object->of_tip ? 't' : 's', idle, object->len);
	bytes_add(out, object->data, object->len);
	bytes_addc(out, '\n');
}

/* The likeliest first: what is beyond the limit is left out. */
void recall_write(const struct recall *recall, struct bytes *out)
{
	for (size_t i = recall->count; i-- > 0;)
		if (recall->objects[i].fresh)
			write_object(&recall->objects[i], 0, out);
	for (size_t i = 0; i < recall->count; i++)
		if (!recall->objects[i].fresh && recall->objects[i].wanted &&
		    !recall->objects[i].of_tip)
			write_object(&recall->objects[i], 0, out);
	for (size_t i = 0; i < recall->count; i++)
		if (!recall->objects[i].fresh && !recall->objects[i].wanted &&
		    recall->objects[i].idle < IDLE_LIMIT)
			write_object(&recall->objects[i], recall->objects[i].idle + 1, out);
}
