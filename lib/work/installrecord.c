/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: the record of what was put where, as text. */
#include "installparts.h"

#include <jansson.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_WORD "interlock-installed "
#define RECORD_MAX (1u << 20)

const char *const install_hooks[INSTALL_HOOKS + 1] = {
	"reference-transaction", "pre-commit", "post-checkout",
	"post-commit",		 "post-merge", "post-rewrite",
	"pre-auto-gc",		 NULL};

void install_sum(const void *data, size_t len, char out[65])
{
	SHA256Data(data, len, out);
}

/* ---- settings of ours -------------------------------------------------------------- */

void install_entry_add(struct install_entries *list, const char *key, const char *value,
		       const char *former)
{
	MEM_GROW(list->items, list->cap, list->count + 1);
	list->items[list->count++] = (struct install_entry){mem_strdup(key), mem_strdup(value),
							    former ? mem_strdup(former) : NULL};
}

/* Sections and variables in either case; our hooks' names are in lower case. */
const struct install_entry *install_entry_find(const struct install_entries *list, const char *key,
					       const char *value)
{
	for (size_t i = list->count; i-- > 0;)
		if (!strcasecmp(list->items[i].key, key) &&
		    (!value || !strcmp(list->items[i].value, value)))
			return &list->items[i];
	return NULL;
}

void install_entries_release(struct install_entries *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].key);
		free(list->items[i].value);
		free(list->items[i].former);
	}
	free(list->items);
	*list = (struct install_entries){0};
}

/* ---- the record -------------------------------------------------------------------- */

struct install_conf_record *install_record_conf(struct install_record *record, const char *path)
{
	for (size_t i = 0; i < record->count; i++)
		if (!strcmp(record->confs[i].path, path))
			return &record->confs[i];
	return NULL;
}

struct install_conf_record *install_record_add(struct install_record *record, const char *path)
{
	MEM_GROW(record->confs, record->cap, record->count + 1);
	record->confs[record->count] = (struct install_conf_record){.path = mem_strdup(path)};
	return &record->confs[record->count++];
}

void install_record_release(struct install_record *record)
{
	for (size_t i = 0; i < record->count; i++) {
		free(record->confs[i].path);
		free(record->confs[i].was);
		install_entries_release(&record->confs[i].entries);
	}
	free(record->confs);
	free(record->programs);
	argv_release(&record->made);
	argv_release(&record->folders);
	*record = (struct install_record){0};
}

/* Paths and values are bytes: what is no UTF-8 is {"hex":"..."}. */
static json_t *put_text(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();
	struct bytes hex = BYTES_INIT;

	if (!value) {
		for (const char *p = text; *p; p++)
			bytes_addf(&hex, "%02x", (unsigned char)*p);
		value = json_pack("{ss}", "hex", hex.data);
		bytes_release(&hex);
	}
	if (!value)
		abort();
	return value;
}

static char *unhex(const char *hex)
{
	size_t len = strlen(hex);
	struct bytes text = BYTES_INIT;

	if (len % 2 || strspn(hex, "0123456789abcdef") != len)
		return NULL;
	for (; *hex; hex += 2) {
		char pair[3] = {hex[0], hex[1], '\0'};

		bytes_addc(&text, (int)strtoul(pair, NULL, 16));
	}
	return bytes_take(&text);
}

static char *get_text(const json_t *value)
{
	const json_t *hex = json_object_get(value, "hex");

	if (json_is_string(hex))
		return unhex(json_string_value(hex));
	return json_is_string(value) ? mem_strdup(json_string_value(value)) : NULL;
}

static json_t *put_list(const struct argv *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, put_text(list->items[i]));
	return array;
}

static json_t *put_conf(const struct install_conf_record *conf)
{
	json_t *object = json_object(), *entries = json_array();

	for (size_t i = 0; i < conf->entries.count; i++) {
		const struct install_entry *e = &conf->entries.items[i];
		json_t *entry = json_object();

		json_object_set_new(entry, "key", put_text(e->key));
		json_object_set_new(entry, "value", put_text(e->value));
		json_object_set_new(entry, "former", put_text(e->former));
		json_array_append_new(entries, entry);
	}
	json_object_set_new(object, "path", put_text(conf->path));
	json_object_set_new(object, "was", put_text(conf->was));
	json_object_set_new(object, "was_there", json_boolean(conf->was_there));
	json_object_set_new(object, "was_sum", json_string(conf->was_sum));
	json_object_set_new(object, "from_sum", json_string(conf->from_sum));
	json_object_set_new(object, "made_sum", json_string(conf->made_sum));
	json_object_set_new(object, "entries", entries);
	return object;
}

void install_record_format(const struct install_record *record, struct bytes *out)
{
	json_t *object = json_object(), *hooks = json_array(), *confs = json_array();
	char *text;

	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		if (record->want[i])
			json_array_append_new(hooks, json_string(install_hooks[i]));
	for (size_t i = 0; i < record->count; i++)
		json_array_append_new(confs, put_conf(&record->confs[i]));
	json_object_set_new(object, "state",
			    json_string(record->changing ? "changing" : "installed"));
	json_object_set_new(object, "hooks", hooks);
	json_object_set_new(object, "programs", put_text(record->programs));
	json_object_set_new(object, "made", put_list(&record->made));
	json_object_set_new(object, "folders", put_list(&record->folders));
	json_object_set_new(object, "settings", confs);
	text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!text)
		abort();
	bytes_addf(out, RECORD_WORD "1 %s\n", text);
	free(text);
	json_decref(object);
}

static bool get_list(const json_t *array, struct argv *out)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		char *text = get_text(json_array_get(array, i));

		if (!text)
			return false;
		argv_take(out, text);
	}
	return json_is_array(array);
}

static bool get_entry(const json_t *object, struct install_entries *out)
{
	char *key = get_text(json_object_get(object, "key"));
	char *value = get_text(json_object_get(object, "value"));
	char *former = get_text(json_object_get(object, "former"));
	bool good = key && value && strchr(key, '.') && key[0] != '-';

	if (good)
		install_entry_add(out, key, value, former);
	free(key);
	free(value);
	free(former);
	return good;
}

static bool get_sum(const json_t *value, char out[65])
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) > 64)
		return false;
	memcpy(out, text, strlen(text) + 1);
	return true;
}

static bool get_conf(const json_t *object, struct install_record *record)
{
	const json_t *entries = json_object_get(object, "entries");
	char *path = get_text(json_object_get(object, "path"));
	struct install_conf_record *conf;
	bool good = path && path[0] == '/' && json_is_array(entries);

	if (good) {
		conf = install_record_add(record, path);
		conf->was = get_text(json_object_get(object, "was"));
		conf->was_there = json_is_true(json_object_get(object, "was_there"));
		good = (!conf->was || !strchr(conf->was, '/')) &&
		       get_sum(json_object_get(object, "was_sum"), conf->was_sum) &&
		       get_sum(json_object_get(object, "from_sum"), conf->from_sum) &&
		       get_sum(json_object_get(object, "made_sum"), conf->made_sum);
		for (size_t i = 0; good && i < json_array_size(entries); i++)
			good = get_entry(json_array_get(entries, i), &conf->entries);
	}
	free(path);
	return good;
}

static bool get_hooks(const json_t *array, struct install_record *out)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *name = json_string_value(json_array_get(array, i));

		for (size_t h = 0; name && h < INSTALL_HOOKS; h++)
			if (!strcmp(name, install_hooks[h]))
				out->want[h] = true;
	}
	return json_is_array(array);
}

static bool get_record(const json_t *object, struct install_record *out)
{
	const char *state = json_string_value(json_object_get(object, "state"));
	const json_t *confs = json_object_get(object, "settings");
	bool good;

	out->changing = state && !strcmp(state, "changing");
	out->programs = get_text(json_object_get(object, "programs"));
	good = state && json_is_array(confs) && get_hooks(json_object_get(object, "hooks"), out) &&
	       get_list(json_object_get(object, "made"), &out->made) &&
	       get_list(json_object_get(object, "folders"), &out->folders);
	for (size_t i = 0; good && i < json_array_size(confs); i++)
		good = get_conf(json_array_get(confs, i), out);
	return good;
}

int install_record_parse(const char *text, size_t len, struct install_record *out,
			 struct fail *fail)
{
	static const size_t word = sizeof(RECORD_WORD) - 1;
	json_t *object;
	bool good;

	*out = (struct install_record){0};
	if (len < word || memcmp(text, RECORD_WORD, word) != 0)
		return fail_set(fail, FAIL_CORRUPT, "that is no record of an install");
	if (len < word + 2 || memcmp(text + word, "1 ", 2) != 0)
		return fail_set(fail, FAIL_UNSUPPORTED,
				"a record of an install of another version");
	object = json_loadb(text + word + 2, len - word - 2, JSON_REJECT_DUPLICATES, NULL);
	good = json_is_object(object) && get_record(object, out);
	json_decref(object);
	out->found = good;
	return good ? 0 : fail_set(fail, FAIL_CORRUPT, "the record of an install makes no sense");
}

int install_record_read(int state, struct install_record *out, struct fail *fail)
{
	struct bytes text = BYTES_INIT;
	struct fail read = FAIL_INIT;

	*out = (struct install_record){0};
	if (state < 0 || file_read(state, INSTALL_RECORD, RECORD_MAX, &text, &read) == FAIL_GONE)
		goto done;
	if (read.kind)
		*fail = read;
	else
		install_record_parse(text.data, text.len, out, fail);
	if (fail->kind == FAIL_CORRUPT) {
		struct fail why = *fail;

		fail_clear(fail);
		fail_set(fail, FAIL_CORRUPT,
			 "'interlock/%s': %s; when it is removed, what is ours is known by its "
			 "names",
			 INSTALL_RECORD, why.message);
	} else if (fail->kind) {
		fail_context(fail, "'interlock/%s'", INSTALL_RECORD);
	}
done:
	bytes_release(&text);
	return fail->kind;
}
