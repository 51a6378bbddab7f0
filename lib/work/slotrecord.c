/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * The two records of a slot as text: a word, a version, one JSON object.
 *
 * What is read may have been edited by hand, cut short, or written by a version
 * that is not born yet. Each field is checked before anybody acts on it; one that
 * makes no sense makes the whole record broken. Numbers that need 64 bits without
 * a sign are decimal strings: JSON readers round large numbers.
 */
#include "slot.h"

#include "name.h"
#include "oid.h"
#include "refname.h"

#include <bsd/stdlib.h>
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORD_WORD "interlock "
#define BIRTH_WORD "interlock-birth "
#define COMMAND_MAX 400 /* bytes of a command that are kept; it is for people only */
#define ID_LEN 32

static const char *const phases[] = {
	[SLOT_BIRTH] = "birth",	  [SLOT_FREE] = "free",		  [SLOT_CLAIMING] = "claiming",
	[SLOT_LEASED] = "leased", [SLOT_RELEASING] = "releasing",
};
static const char *const kinds[] = {
	[LEASE_NONE] = "none",	 [LEASE_COMMAND] = "command", [LEASE_HOLD] = "hold",
	[LEASE_OWNER] = "owner", [LEASE_TIME] = "time",
};

/* ---- names and ids ------------------------------------------------------------- */

char *slot_name_of(const char *pool, int64_t number)
{
	return mem_printf("%s-%" PRId64, pool, number);
}

char *slot_id_of(const char *pool, int64_t number)
{
	struct bytes id = BYTES_INIT;

	name_encode(pool, &id);
	bytes_addf(&id, "-%" PRId64, number);
	return bytes_take(&id);
}

char *slot_new_id(void)
{
	struct bytes id = BYTES_INIT;
	struct timespec now;
	uint8_t noise[10];

	clock_gettime(CLOCK_REALTIME, &now);
	arc4random_buf(noise, sizeof(noise));
	bytes_addf(&id, "%012" PRIx64,
		   ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) &
			   UINT64_C(0xffffffffffff));
	for (size_t i = 0; i < sizeof(noise); i++)
		bytes_addf(&id, "%02x", noise[i]);
	return bytes_take(&id);
}

static bool is_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

bool slot_id_valid(const char *id)
{
	return is_hex(id, ID_LEN);
}

/* ---- writing ------------------------------------------------------------------- */

static json_t *hex_value(const char *text)
{
	struct bytes hex = BYTES_INIT;
	json_t *value;

	for (const char *p = text; *p; p++)
		bytes_addf(&hex, "%02x", (unsigned char)*p);
	value = json_pack("{ss}", "hex", hex.data);
	bytes_release(&hex);
	return value;
}

static void put(json_t *object, const char *key, json_t *value)
{
	if (!value || json_object_set_new(object, key, value) < 0)
		abort(); /* out of memory, as in mem_alloc() */
}

static void put_text(json_t *object, const char *key, const char *text)
{
	json_t *value = text ? json_string(text) : json_null();

	put(object, key, value ? value : hex_value(text));
}

static void put_number(json_t *object, const char *key, int64_t number)
{
	put(object, key, json_integer(number));
}

static void put_wide(json_t *object, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	put(object, key, json_string(text));
}

/* A command line may be long; cut it where no UTF-8 sequence is split. */
static void put_command(json_t *object, const char *command)
{
	char cut[COMMAND_MAX + 1];
	size_t len = command ? strnlen(command, COMMAND_MAX + 1) : 0;

	if (len <= COMMAND_MAX) {
		put_text(object, "command", command);
		return;
	}
	len = COMMAND_MAX;
	while (len && ((unsigned char)command[len] & 0xc0) == 0x80)
		len--;
	memcpy(cut, command, len);
	cut[len] = '\0';
	put_text(object, "command", cut);
}

static json_t *process_value(const struct procid *process)
{
	json_t *object;

	if (!process->pid)
		return json_null();
	object = json_object();
	put_number(object, "pid", process->pid);
	put_wide(object, "start", process->start);
	put_wide(object, "pid_ns", process->pid_ns);
	put_wide(object, "time_ns", process->time_ns);
	put_text(object, "boot", process->boot);
	put_text(object, "host", process->host);
	return object;
}

static json_t *before_value(const struct slot_record *record)
{
	size_t count = size_min(record->before_count, SLOT_BEFORE_MAX);
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(array, process_value(&record->before[i])) < 0)
			abort();
	return array;
}

static void put_line(const char *word, json_t *object, struct bytes *out)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);

	if (!text)
		abort();
	bytes_addf(out, "%s1 %s\n", word, text);
	free(text);
	json_decref(object);
}

void slot_record_format(const struct slot_record *record, const char *slot_name, struct bytes *out)
{
	json_t *object = json_object();

	put_text(object, "slot", slot_name);
	put_text(object, "phase", phases[record->phase]);
	put_text(object, "lease", record->lease);
	put_text(object, "kind", kinds[record->kind]);
	put_text(object, "key", record->key);
	put_text(object, "branch", record->branch);
	put_text(object, "base", record->base);
	put_number(object, "since", record->since);
	put_number(object, "expires", record->expires);
	put_number(object, "ttl", record->ttl);
	put_number(object, "uid", record->uid);
	put(object, "owner", process_value(&record->owner));
	put_command(object, record->command);
	put(object, "before", before_value(record));
	put_text(object, "left_by", record->left_by);
	put_line(RECORD_WORD, object, out);
}

void slot_birth_format(const struct slot_birth *birth, struct bytes *out)
{
	json_t *object = json_object();
	struct procid here;

	procid_here(&here);
	put_text(object, "born", birth->born);
	put_text(object, "pool", birth->pool);
	put_number(object, "number", birth->number);
	put_text(object, "path", birth->path);
	put_wide(object, "dev", birth->dev);
	put_wide(object, "ino", birth->ino);
	put_text(object, "boot", birth->boot[0] ? birth->boot : here.boot);
	put_text(object, "config", birth->config);
	put_text(object, "sparse", birth->sparse);
	put_line(BIRTH_WORD, object, out);
}

/* ---- reading ------------------------------------------------------------------- */

/* An object being read; `bad` becomes the first key that makes no sense. */
struct reader {
	const json_t *object;
	const char *bad;
};

static void blame(struct reader *r, const char *key)
{
	if (!r->bad)
		r->bad = key;
}

static char *unhex(const char *hex)
{
	size_t len = strlen(hex) / 2;
	char *text;

	if (!is_hex(hex, len * 2))
		return NULL;
	text = mem_zalloc(len + 1);
	for (size_t i = 0; i < len; i++) {
		char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		text[i] = (char)strtoul(pair, NULL, 16);
		if (!text[i]) { /* a NUL would cut it short */
			free(text);
			return NULL;
		}
	}
	return text;
}

/* A text that may be missing or null; the caller frees. */
static char *get_text(struct reader *r, const char *key)
{
	const json_t *value = json_object_get(r->object, key);
	const json_t *hex = json_object_get(value, "hex");
	char *text = NULL;

	if (!value || json_is_null(value))
		return NULL;
	if (json_is_string(value))
		text = mem_strdup(json_string_value(value));
	else if (json_is_string(hex))
		text = unhex(json_string_value(hex));
	if (!text)
		blame(r, key);
	return text;
}

static char *need_text(struct reader *r, const char *key)
{
	char *text = get_text(r, key);

	if (!text)
		blame(r, key);
	return text;
}

static int64_t get_number(struct reader *r, const char *key, int64_t low, int64_t high)
{
	const json_t *value = json_object_get(r->object, key);
	int64_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= low && number <= high)
		return number;
	blame(r, key);
	return low;
}

static uint64_t get_wide(struct reader *r, const char *key)
{
	const char *text = json_string_value(json_object_get(r->object, key));
	uint64_t number = 0;

	if (!text || !*text || (text[0] == '0' && text[1]))
		goto bad;
	for (; *text; text++)
		if (!isdigit((unsigned char)*text) ||
		    __builtin_mul_overflow(number, (uint64_t)10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
			goto bad;
	return number;
bad:
	blame(r, key);
	return 0;
}

/* The place of a word in a table; 0 when it has none. */
static size_t get_word(struct reader *r, const char *key, const char *const *words, size_t count)
{
	const char *text = json_string_value(json_object_get(r->object, key));

	for (size_t i = 0; text && i < count; i++)
		if (!strcmp(text, words[i]))
			return i;
	blame(r, key);
	return 0;
}

static void get_short(struct reader *r, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(r->object, key));
	size_t len = text ? strlen(text) : size;

	if (len >= size) {
		blame(r, key);
		return;
	}
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)text[i])) {
			blame(r, key);
			return;
		}
	memcpy(out, text, len + 1);
}

static void read_process(struct reader *r, const char *key, const json_t *value, struct procid *out)
{
	struct reader process = {.object = value};

	out->pid = (pid_t)get_number(&process, "pid", 1, INT_MAX);
	out->start = get_wide(&process, "start");
	out->pid_ns = get_wide(&process, "pid_ns");
	out->time_ns = get_wide(&process, "time_ns");
	get_short(&process, "boot", out->boot, sizeof(out->boot));
	get_short(&process, "host", out->host, sizeof(out->host));
	if (process.bad)
		blame(r, key);
}

static void get_owner(struct reader *r, struct procid *out)
{
	const json_t *value = json_object_get(r->object, "owner");

	if (value && !json_is_null(value))
		read_process(r, "owner", value, out);
}

static void get_before(struct reader *r, struct slot_record *out)
{
	const json_t *array = json_object_get(r->object, "before");
	size_t count = json_array_size(array);

	if (!array)
		return;
	if (!json_is_array(array) || count > SLOT_BEFORE_MAX) {
		blame(r, "before");
		return;
	}
	out->before = mem_array(count + 1, sizeof(*out->before));
	out->before_count = count;
	for (size_t i = 0; i < count; i++)
		read_process(r, "before", json_array_get(array, i), &out->before[i]);
}

static bool is_name(const char *text)
{
	struct fail ignored = FAIL_INIT;

	return name_check(text, "name", &ignored) == 0;
}

static bool is_commit_id(const char *text)
{
	return is_hex(text, hash_size(HASH_SHA1) * 2) || is_hex(text, hash_size(HASH_SHA256) * 2);
}

/* Absolute, and made of plain names only: nothing that leads out or back. */
static bool is_plain_path(const char *path)
{
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return false;
	for (const char *p = path; *p;) {
		size_t len = strcspn(++p, "/");

		if (!len || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += len;
	}
	return true;
}

static void judge_record(struct reader *r, const struct slot_record *record)
{
	if (record->slot && !is_name(record->slot))
		blame(r, "slot");
	if (record->lease && !slot_id_valid(record->lease))
		blame(r, "lease");
	if (record->left_by && !slot_id_valid(record->left_by))
		blame(r, "left_by");
	if (!record->lease != (record->kind == LEASE_NONE))
		blame(r, "kind");
	/* A newborn may be born for a lease; one that is free has none; all others have. */
	if (record->phase != SLOT_BIRTH && !record->lease != (record->phase == SLOT_FREE))
		blame(r, "lease");
	if (record->phase == SLOT_LEASED && record->kind == LEASE_TIME && !record->expires)
		blame(r, "expires");
	/* Who claims or releases is known, also for a lease that then counts by time. */
	if (record->phase != SLOT_FREE && record->phase != SLOT_BIRTH && !record->owner.pid &&
	    (record->phase != SLOT_LEASED || record->kind != LEASE_TIME))
		blame(r, "owner");
	if (record->key && !is_name(record->key))
		blame(r, "key");
	if (record->branch &&
	    (strncmp(record->branch, "refs/heads/", 11) != 0 || !refname_valid(record->branch)))
		blame(r, "branch");
	if (record->base && !is_commit_id(record->base))
		blame(r, "base");
	if (record->command && strlen(record->command) > COMMAND_MAX)
		blame(r, "command");
}

static void read_record(struct reader *r, struct slot_record *out)
{
	out->slot = need_text(r, "slot");
	out->phase = (enum slot_phase)get_word(r, "phase", phases, ARRAY_SIZE(phases));
	out->lease = get_text(r, "lease");
	out->kind = (enum lease_kind)get_word(r, "kind", kinds, ARRAY_SIZE(kinds));
	out->key = get_text(r, "key");
	out->branch = get_text(r, "branch");
	out->base = get_text(r, "base");
	out->since = get_number(r, "since", 0, INT64_MAX);
	out->expires = get_number(r, "expires", 0, INT64_MAX);
	out->ttl = get_number(r, "ttl", 0, INT64_MAX);
	out->uid = get_number(r, "uid", 0, UINT32_MAX);
	get_owner(r, &out->owner);
	out->command = get_text(r, "command");
	get_before(r, out);
	out->left_by = get_text(r, "left_by");
	judge_record(r, out);
}

static void read_birth(struct reader *r, struct slot_birth *out)
{
	out->born = need_text(r, "born");
	out->pool = need_text(r, "pool");
	out->number = get_number(r, "number", 1, INT32_MAX);
	out->path = need_text(r, "path");
	out->dev = get_wide(r, "dev");
	out->ino = get_wide(r, "ino");
	get_short(r, "boot", out->boot, sizeof(out->boot));
	out->config = get_text(r, "config");
	out->sparse = get_text(r, "sparse");
	if (out->born && !slot_id_valid(out->born))
		blame(r, "born");
	if (out->pool && !is_name(out->pool))
		blame(r, "pool");
	if (out->path && !is_plain_path(out->path))
		blame(r, "path");
	if (out->config && strlen(out->config) > SLOT_CONFIG_MAX)
		blame(r, "config");
	if (out->sparse && strlen(out->sparse) > SLOT_SPARSE_MAX)
		blame(r, "sparse");
}

/*
 * Finds the object behind "<word><version> ". FAIL_NO when the text does not begin
 * like one of ours at all.
 */
static int open_line(const char *word, const char *text, size_t len, json_t **object,
		     struct fail *fail)
{
	size_t at = strlen(word), digits = 0;
	json_error_t error;

	if (len < at || memcmp(text, word, at) != 0)
		return fail_set(fail, FAIL_NO, "not a record of interlock's");
	while (at + digits < len && isdigit((unsigned char)text[at + digits]))
		digits++;
	if (!digits)
		return fail_set(fail, FAIL_NO, "not a record of interlock's");
	if (digits != 1 || text[at] != '1')
		return fail_set(fail, FAIL_UNSUPPORTED,
				"a record of version %.*s, which this interlock does not know",
				(int)size_min(digits, 20), text + at);
	at++;
	if (len > SLOT_TEXT_MAX || at == len || text[at] != ' ')
		return fail_set(fail, FAIL_CORRUPT, "a record that makes no sense");
	*object = json_loadb(text + at, len - at, JSON_REJECT_DUPLICATES, &error);
	if (!*object)
		return fail_set(fail, FAIL_CORRUPT, "a record that is no JSON: %s", error.text);
	if (!json_is_object(*object)) {
		json_decref(*object);
		return fail_set(fail, FAIL_CORRUPT, "a record that is no JSON object");
	}
	return 0;
}

static int close_line(json_t *object, const struct reader *r, struct fail *fail)
{
	json_decref(object);
	return r->bad ? fail_set(fail, FAIL_CORRUPT, "a record with a bad '%s'", r->bad) : 0;
}

int slot_record_parse(const char *text, size_t len, struct slot_record *out, struct fail *fail)
{
	struct reader r = {0};
	json_t *object;

	memset(out, 0, sizeof(*out));
	if (open_line(RECORD_WORD, text, len, &object, fail) < 0)
		return fail->kind;
	r.object = object;
	read_record(&r, out);
	return close_line(object, &r, fail);
}

int slot_birth_parse(const char *text, size_t len, struct slot_birth *out, struct fail *fail)
{
	struct reader r = {0};
	json_t *object;

	memset(out, 0, sizeof(*out));
	if (open_line(BIRTH_WORD, text, len, &object, fail) < 0)
		return fail->kind;
	r.object = object;
	read_birth(&r, out);
	return close_line(object, &r, fail);
}

const char *slot_work_of(const struct slot_record *record)
{
	return record->left_by ? record->left_by : record->lease;
}

void slot_record_release(struct slot_record *record)
{
	free(record->slot);
	free(record->lease);
	free(record->key);
	free(record->branch);
	free(record->base);
	free(record->command);
	free(record->before);
	free(record->left_by);
	memset(record, 0, sizeof(*record));
}

void slot_birth_release(struct slot_birth *birth)
{
	free(birth->born);
	free(birth->pool);
	free(birth->path);
	free(birth->config);
	free(birth->sparse);
	memset(birth, 0, sizeof(*birth));
}
