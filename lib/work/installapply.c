/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: a plan is carried out; the crash story is in install.h. */
#include "installparts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAS "installed-was-"

static char *free_was(const struct install_parts *parts)
{
	struct stat st;

	for (unsigned i = 1;; i++) {
		char *name = mem_printf(WAS "%u", i);

		if (fstatat(parts->state, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return name;
		free(name);
	}
}

/* Its content may be secret: as readable as the file itself. */
static int keep_was(struct install_parts *parts, const struct install_conf *conf,
		    struct install_conf_record *record, struct fail *fail)
{
	struct file_modes modes = {.file = conf->mode & 0666, .dir = 0777};

	record->was = free_was(parts);
	return file_replace(parts->state, record->was, conf->was.data, conf->was.len, &modes, true,
			    fail);
}

static void add_entries(struct install_conf_record *to, const struct install_entries *from)
{
	for (size_t i = 0; i < from->count; i++)
		if (!install_entry_find(&to->entries, from->items[i].key, from->items[i].value))
			install_entry_add(&to->entries, from->items[i].key, from->items[i].value,
					  from->items[i].former);
}

static int record_conf(struct install_parts *parts, const struct install_conf *conf,
		       struct fail *fail)
{
	const struct install_conf_record *old = install_record_conf(&parts->old, conf->path);
	struct install_conf_record *made;

	if (!conf->want.count && !old && !conf->changes)
		return 0;
	made = install_record_add(&parts->made, conf->path);
	add_entries(made, &conf->want);
	made->was_there = conf->was_there;
	if (!conf->changes) {
		made->was = old && old->was ? mem_strdup(old->was) : NULL;
		if (old) {
			memcpy(made->was_sum, old->was_sum, sizeof(made->was_sum));
			memcpy(made->from_sum, old->from_sum, sizeof(made->from_sum));
			memcpy(made->made_sum, old->made_sum, sizeof(made->made_sum));
		}
		return 0;
	}
	install_sum(conf->was.data, conf->was.len, made->was_sum);
	install_sum(conf->now.data, conf->now.len, made->from_sum);
	install_sum(conf->next.data, conf->next.len, made->made_sum);
	return keep_was(parts, conf, made, fail);
}

static int write_record(struct install_parts *parts, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	install_record_format(&parts->made, &text);
	file_replace(parts->state, INSTALL_RECORD, text.data, text.len, &parts->modes, true, fail);
	bytes_release(&text);
	return fail->kind;
}

/* What may be ours from now on: what is wanted, and what was until now. */
static int record_intent(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	struct install_record *made = &parts->made;

	memcpy(made->want, plan->want, sizeof(made->want));
	made->changing = true;
	made->programs = mem_strdup(parts->wish->programs);
	for (size_t i = 0; i < parts->conf_count && fail->kind == 0; i++)
		record_conf(parts, &parts->confs[i], fail);
	for (size_t i = 0; i < made->count; i++) {
		const struct install_conf_record *old =
			install_record_conf(&parts->old, made->confs[i].path);

		if (old)
			add_entries(&made->confs[i], &old->entries);
	}
	for (size_t i = 0; i < parts->folders.count; i++)
		argv_push(&made->folders, parts->folders.items[i]);
	for (size_t i = 0; i < parts->old.folders.count; i++)
		argv_push(&made->folders, parts->old.folders.items[i]);
	for (size_t i = 0; i < parts->old.made.count; i++)
		if (!install_is_made(made, parts->old.made.items[i]))
			argv_push(&made->made, parts->old.made.items[i]);
	return fail->kind ? fail->kind : write_record(parts, fail);
}

/* The record without what is gone. */
static int record_end(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	struct install_record *made = &parts->made;
	size_t kept = 0;

	made->changing = false;
	for (size_t i = 0; i < made->count; i++) {
		struct install_conf_record *record = &made->confs[i];
		const struct install_conf *conf = NULL;

		for (size_t c = 0; c < parts->conf_count; c++)
			if (!strcmp(parts->confs[c].path, record->path))
				conf = &parts->confs[c];
		install_entries_release(&record->entries);
		if (conf)
			add_entries(record, &conf->want);
		if (record->entries.count) {
			struct install_conf_record whole = *record;

			*record = made->confs[kept];
			made->confs[kept++] = whole;
		}
	}
	for (size_t i = kept; i < made->count; i++) {
		free(made->confs[i].path);
		free(made->confs[i].was);
	}
	made->count = kept;
	argv_release(&made->folders);
	for (size_t i = 0; i < parts->folders.count; i++)
		argv_push(&made->folders, parts->folders.items[i]);
	if (!parts->wish->remove)
		return write_record(parts, fail);
	if (unlinkat(parts->state, INSTALL_RECORD, 0) < 0 && errno != ENOENT)
		fail_errno(fail, "remove '%s/" INSTALL_RECORD "'", parts->state_path);
	return fail->kind;
}

static void sweep_was(struct install_parts *parts)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;

	file_each_name(parts->state, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		bool used = strncmp(p, WAS, sizeof(WAS) - 1) != 0;

		for (size_t i = 0; i < parts->made.count && !parts->wish->remove && !used; i++)
			used = parts->made.confs[i].was && !strcmp(parts->made.confs[i].was, p);
		if (!used)
			unlinkat(parts->state, p, 0);
	}
	bytes_release(&names);
}

static bool is_recorded(const struct install_plan *plan)
{
	const struct install_parts *parts = plan->parts;

	if (parts->wish->remove)
		return !parts->old.found;
	return parts->old.found && !parts->old.changing && parts->old.programs &&
	       !strcmp(parts->old.programs, parts->wish->programs) &&
	       !memcmp(parts->old.want, plan->want, sizeof(plan->want));
}

int install_apply(struct install_plan *plan, struct fail *fail)
{
	struct install_parts *parts = plan->parts;
	int64_t timeout = parts->repo ? parts->repo->conf.lock_timeout : 10000;

	if (!plan->steps.count && is_recorded(plan))
		return 0;
	if (record_intent(plan, fail) < 0 || install_acts_do(parts, &parts->before, fail) < 0)
		return fail->kind;
	for (size_t i = 0; i < parts->conf_count && fail->kind == 0; i++)
		if (parts->confs[i].changes)
			install_conf_write(&parts->confs[i], timeout, fail);
	if (fail->kind == 0 && install_acts_do(parts, &parts->after, fail) == 0 &&
	    record_end(plan, fail) == 0)
		sweep_was(parts);
	return fail->kind;
}
