/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* install: what git says of its settings, and one settings file edited under git's own lock. */
#include "installparts.h"

#include "clock.h"
#include "erase.h"
#include "file.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONF_MAX (64u << 20)
#define DRAFT ".interlock"
#define HOOKS_PATH "core.hookspath"

/* ---- git's answers ----------------------------------------------------------------- */

/* git without the caller's repository: what is asked names its own. */
static void prepare_git(struct spawn *cmd, const char *git_dir)
{
	argv_push_all(&cmd->env, "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE",
		      "GIT_OBJECT_DIRECTORY", NULL);
	argv_pushf(&cmd->env, "GIT_DIR=%s", git_dir ? git_dir : "/dev/null");
	argv_push_all(&cmd->argv, "git", NULL);
}

int install_git_version(char *text, size_t size, struct fail *fail)
{
	static const char word[] = "git version ";
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	unsigned long major = 0, minor = 0;
	char *end;

	argv_push_all(&cmd.argv, "git", "version", NULL);
	if (spawn_capture(&cmd, &out, fail) == 0 && !strncmp(out.data, word, sizeof(word) - 1)) {
		const char *number = out.data + sizeof(word) - 1;

		snprintf(text, size, "%.*s", (int)strcspn(number, " \n"), number);
		major = strtoul(number, &end, 10);
		if (*end == '.')
			minor = strtoul(end + 1, NULL, 10);
	}
	spawn_release(&cmd);
	bytes_release(&out);
	if (fail->kind == 0 && !major)
		fail_set(fail, FAIL_FATAL, "'git version' gave no version");
	return fail->kind ? -1 : (int)(major * 1000 + minor);
}

static void add_setting(struct install_settings *list, const char *scope, const char *origin,
			char *entry)
{
	char *value = strchr(entry, '\n');

	if (value)
		*value++ = '\0';
	if (!strcmp(scope, "command"))
		return;
	MEM_GROW(list->items, list->cap, list->count + 1);
	list->items[list->count++] =
		(struct install_setting){scope, !strncmp(origin, "file:", 5) ? origin + 5 : origin,
					 entry, value ? value : ""};
}

int install_settings_read(const char *git_dir, struct install_settings *out, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	char *p, *end;

	*out = (struct install_settings){.text = BYTES_INIT};
	prepare_git(&cmd, git_dir);
	argv_push_all(&cmd.argv, "config", "-z", "--show-scope", "--show-origin", "--list", NULL);
	spawn_capture(&cmd, &out->text, fail);
	spawn_release(&cmd);
	p = out->text.data;
	end = p + out->text.len;
	while (fail->kind == 0 && p < end) {
		char *scope = p, *origin = scope + strlen(scope) + 1, *entry;

		if (origin >= end || (entry = origin + strlen(origin) + 1) >= end)
			return fail_set(fail, FAIL_FATAL, "git config gave an incomplete answer");
		p = entry + strlen(entry) + 1;
		add_setting(out, scope, origin, entry);
	}
	return fail->kind;
}

void install_settings_release(struct install_settings *settings)
{
	free(settings->items);
	bytes_release(&settings->text);
	*settings = (struct install_settings){.text = BYTES_INIT};
}

char *install_expand(const char *file, const char *key, const char *raw, struct fail *fail)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes out = BYTES_INIT;
	char *path = NULL;

	if (raw[0] != '~' && raw[0] != '%')
		return mem_strdup(raw);
	prepare_git(&cmd, NULL);
	argv_push_all(&cmd.argv, "config", "-z", "--type=path", "--file", file, "--get", key, NULL);
	spawn_capture(&cmd, &out, fail);
	spawn_release(&cmd);
	if (fail->kind == 0)
		path = mem_strdup(out.data); /* up to the NUL */
	bytes_release(&out);
	return path;
}

/* ---- one file ---------------------------------------------------------------------- */

static int read_conf(const char *path, struct bytes *out, struct stat *st, struct fail *fail)
{
	int fd;

	bytes_clear(out);
	fd = file_open(AT_FDCWD, path, O_RDONLY, NULL, fail);
	if (fd < 0)
		return fail->kind;
	if (fstat(fd, st) < 0)
		fail_errno(fail, "stat '%s'", path);
	else
		file_read_stat(fd, st, path, CONF_MAX, out, fail);
	close(fd);
	return fail->kind;
}

int install_conf_open(struct install_conf *conf, const char *path, struct fail *fail)
{
	char *real = realpath(path, NULL);
	struct fail read = FAIL_INIT;
	struct stat st;

	*conf = (struct install_conf){.now = BYTES_INIT,
				      .was = BYTES_INIT,
				      .next = BYTES_INIT,
				      .mode = 0666,
				      .path = real ? real : mem_strdup(path)};
	if (!real && errno != ENOENT)
		return fail_errno(fail, "find the settings file '%s'", path);
	if (read_conf(conf->path, &conf->now, &st, &read) == 0) {
		conf->there = true;
		conf->mode = st.st_mode & 07777;
	} else if (read.kind != FAIL_GONE) {
		*fail = read;
	}
	return fail->kind;
}

void install_conf_release(struct install_conf *conf)
{
	free(conf->path);
	bytes_release(&conf->now);
	bytes_release(&conf->was);
	bytes_release(&conf->next);
	install_entries_release(&conf->listed);
	install_entries_release(&conf->listed_was);
	install_entries_release(&conf->want);
}

/* ---- editing a copy: git knows its format ------------------------------------------ */

struct copy {
	char dir[PATH_MAX];
	char *file;
};

static int copy_open(struct copy *copy, const struct bytes *content, struct fail *fail)
{
	static const struct file_modes modes = {.file = 0600, .dir = 0700};
	const char *tmp = getenv("TMPDIR");
	int fd;

	copy->file = NULL;
	snprintf(copy->dir, sizeof(copy->dir), "%s/interlock-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(copy->dir))
		return fail_errno(fail, "make a directory in '%s'", tmp && *tmp ? tmp : "/tmp");
	copy->file = mem_printf("%s/config", copy->dir);
	fd = file_open(AT_FDCWD, copy->file, O_WRONLY | O_CREAT | O_EXCL, &modes, fail);
	if (fd >= 0) {
		file_write_fd(fd, copy->file, content->data, content->len, fail);
		close(fd);
	}
	return fail->kind;
}

static void copy_close(struct copy *copy)
{
	struct fail ignored = FAIL_INIT;

	if (copy->file)
		erase_tree(AT_FDCWD, copy->dir, &ignored);
	free(copy->file);
}

static int copy_git(const struct copy *copy, struct bytes *out, struct fail *fail, ...)
	__attribute__((sentinel));

static int copy_git(const struct copy *copy, struct bytes *out, struct fail *fail, ...)
{
	struct spawn cmd = SPAWN_INIT;
	struct bytes ignored = BYTES_INIT;
	const char *arg;
	va_list ap;

	prepare_git(&cmd, NULL);
	argv_push_all(&cmd.argv, "config", "--file", copy->file, NULL);
	va_start(ap, fail);
	while ((arg = va_arg(ap, const char *)))
		argv_push(&cmd.argv, arg);
	va_end(ap);
	spawn_capture(&cmd, out ? out : &ignored, fail);
	spawn_release(&cmd);
	bytes_release(&ignored);
	return fail->kind;
}

static int copy_list(const struct copy *copy, struct install_entries *out, struct fail *fail)
{
	struct bytes text = BYTES_INIT;

	install_entries_release(out);
	copy_git(copy, &text, fail, "-z", "--list", NULL);
	for (char *p = text.data; fail->kind == 0 && p < text.data + text.len;) {
		char *next = p + strlen(p) + 1, *value = strchr(p, '\n');

		if (value)
			*value++ = '\0';
		install_entry_add(out, p, value ? value : "", NULL);
		p = next;
	}
	bytes_release(&text);
	return fail->kind;
}

/* Appended as a section of its own, so that it stands behind whatever the file includes. */
static int copy_append(const struct copy *copy, const struct install_entry *e, struct fail *fail)
{
	struct bytes text = BYTES_INIT, line = BYTES_INIT;
	struct stat st;
	int fd;

	if (read_conf(copy->file, &text, &st, fail) == 0) {
		const char *dot = strrchr(e->key, '.');

		if (text.len && text.data[text.len - 1] != '\n')
			bytes_addc(&line, '\n');
		bytes_addf(&line, "[%.*s]\n\t%s = \"", (int)(dot - e->key), e->key, dot + 1);
		for (const char *p = e->value; *p; p++) {
			if (*p == '"' || *p == '\\')
				bytes_addc(&line, '\\');
			if (*p == '\n')
				bytes_adds(&line, "\\n");
			else
				bytes_addc(&line, *p);
		}
		bytes_adds(&line, "\"\n");
		fd = file_open(AT_FDCWD, copy->file, O_WRONLY | O_APPEND, NULL, fail);
		if (fd >= 0) {
			file_write_fd(fd, copy->file, line.data, line.len, fail);
			close(fd);
		}
	}
	bytes_release(&text);
	bytes_release(&line);
	return fail->kind;
}

static int copy_add(const struct copy *copy, struct install_entry *e,
		    const struct install_entries *listed, struct fail *fail)
{
	const struct install_entry *former;

	if (strcasecmp(e->key, HOOKS_PATH) != 0)
		return copy_git(copy, NULL, fail, "--add", e->key, e->value, NULL);
	former = install_entry_find(listed, e->key, NULL);
	if (!former)
		return copy_append(copy, e, fail);
	/* In its place: a tool that sets it again must not find two values. */
	free(e->former);
	e->former = mem_strdup(former->value);
	return copy_git(copy, NULL, fail, "--fixed-value", "--replace-all", e->key, e->value,
			former->value, NULL);
}

static int copy_remove(const struct copy *copy, const struct install_entry *e, struct fail *fail)
{
	if (e->former)
		return copy_git(copy, NULL, fail, "--fixed-value", "--replace-all", e->key,
				e->former, e->value, NULL);
	return copy_git(copy, NULL, fail, "--fixed-value", "--unset-all", e->key, e->value, NULL);
}

/* ---- what is ours in it ------------------------------------------------------------ */

static bool is_our_hook_key(const char *key)
{
	const char *name = key + 15, *dot;

	if (strncasecmp(key, "hook.interlock-", 15) != 0 || !(dot = strrchr(name, '.')))
		return false;
	for (size_t i = 0; i < INSTALL_HOOKS; i++)
		if (strlen(install_hooks[i]) == (size_t)(dot - name) &&
		    !strncmp(name, install_hooks[i], (size_t)(dot - name)))
			return !strcasecmp(dot, ".event") || !strcasecmp(dot, ".command");
	return false;
}

/* By the record, and by the names that only we use. */
static void find_ours(const struct install_conf *conf, const struct install_conf_record *record,
		      bool (*is_folder)(const void *arg, const char *value), const void *arg,
		      struct install_entries *out)
{
	for (size_t i = 0; i < conf->listed.count; i++) {
		const struct install_entry *e = &conf->listed.items[i], *known = NULL;

		if (install_entry_find(out, e->key, e->value))
			continue;
		if (record)
			known = install_entry_find(&record->entries, e->key, e->value);
		if (known || is_our_hook_key(e->key) ||
		    (!strcasecmp(e->key, HOOKS_PATH) && is_folder(arg, e->value)))
			install_entry_add(out, e->key, e->value, known ? known->former : NULL);
	}
}

static bool is_as_wanted(const struct install_conf *conf, const struct install_entries *ours)
{
	for (size_t i = 0; i < conf->want.count; i++) {
		const struct install_entry *e = &conf->want.items[i], *last;

		last = install_entry_find(&conf->listed, e->key, NULL);
		if (!install_entry_find(&conf->listed, e->key, e->value) ||
		    (!strcasecmp(e->key, HOOKS_PATH) && strcmp(last->value, e->value) != 0))
			return false;
	}
	for (size_t i = 0; i < ours->count; i++)
		if (!install_entry_find(&conf->want, ours->items[i].key, ours->items[i].value))
			return false;
	return true;
}

/*
 * The content without ours, when what is there is still what we made of it; or what it was
 * when the last change began, if that was killed.
 */
static bool read_was(struct install_conf *conf, int state, const struct install_conf_record *record)
{
	struct fail ignored = FAIL_INIT;
	char sum[65];

	if (!record || !record->was || state < 0)
		return false;
	install_sum(conf->now.data, conf->now.len, sum);
	if (strcmp(sum, record->made_sum) != 0 && strcmp(sum, record->from_sum) != 0)
		return false;
	bytes_clear(&conf->was);
	if (file_read(state, record->was, CONF_MAX, &conf->was, &ignored) < 0)
		return false;
	install_sum(conf->was.data, conf->was.len, sum);
	return !strcmp(sum, record->was_sum);
}

static int take_out(struct install_conf *conf, const struct install_entries *ours,
		    struct fail *fail)
{
	struct copy copy;
	struct stat st;

	if (copy_open(&copy, &conf->now, fail) == 0) {
		for (size_t i = 0; i < ours->count && fail->kind == 0; i++)
			copy_remove(&copy, &ours->items[i], fail);
		if (fail->kind == 0)
			read_conf(copy.file, &conf->was, &st, fail);
	}
	copy_close(&copy);
	return fail->kind;
}

static int put_in(struct install_conf *conf, struct fail *fail)
{
	struct install_entries after = {0};
	struct copy copy;
	struct stat st;

	if (copy_open(&copy, &conf->was, fail) == 0 &&
	    copy_list(&copy, &conf->listed_was, fail) == 0) {
		for (size_t i = 0; i < conf->want.count && fail->kind == 0; i++)
			copy_add(&copy, &conf->want.items[i], &conf->listed_was, fail);
		/* git must read what was made of it. */
		if (fail->kind == 0 && copy_list(&copy, &after, fail) == 0 &&
		    read_conf(copy.file, &conf->next, &st, fail) == 0)
			for (size_t i = 0; i < conf->want.count && fail->kind == 0; i++)
				if (!install_entry_find(&after, conf->want.items[i].key,
							conf->want.items[i].value))
					fail_set(fail, FAIL_UNSUPPORTED,
						 "git does not find '%s' in '%s' when it is put "
						 "there; look at the end of that file",
						 conf->want.items[i].key, conf->path);
	}
	copy_close(&copy);
	install_entries_release(&after);
	return fail->kind;
}

int install_conf_plan(struct install_conf *conf, int state,
		      const struct install_conf_record *record,
		      bool (*is_folder)(const void *arg, const char *value), const void *arg,
		      struct fail *fail)
{
	struct install_entries ours = {0};
	struct copy copy = {.file = NULL};

	if (conf->there && copy_open(&copy, &conf->now, fail) == 0)
		copy_list(&copy, &conf->listed, fail);
	copy_close(&copy);
	if (fail->kind)
		return fail_context(fail, "'%s'", conf->path);
	find_ours(conf, record, is_folder, arg, &ours);
	conf->was_there = conf->there && (!record || record->was_there);
	if (is_as_wanted(conf, &ours)) {
		/* Formers are known from the first time. */
		for (size_t i = 0; i < conf->want.count; i++) {
			struct install_entry *e = &conf->want.items[i];
			const struct install_entry *known =
				install_entry_find(&ours, e->key, e->value);

			if (known && known->former && !e->former)
				e->former = mem_strdup(known->former);
		}
	} else {
		conf->changes = true;
		if (!read_was(conf, state, record))
			take_out(conf, &ours, fail);
		if (fail->kind == 0 && conf->want.count)
			put_in(conf, fail);
		else if (fail->kind == 0)
			bytes_add(&conf->next, conf->was.data, conf->was.len);
	}
	install_entries_release(&ours);
	return fail->kind ? fail_context(fail, "'%s'", conf->path) : 0;
}

/* ---- in place ---------------------------------------------------------------------- */

/* Is that lock a second name of a draft of ours? Nobody else works here: we have "install". */
int install_conf_heal(const char *path, struct fail *fail)
{
	char *draft = mem_printf("%s" DRAFT, path), *lock = mem_printf("%s.lock", path);
	struct stat a, b;

	if (lstat(draft, &a) == 0 && S_ISREG(a.st_mode)) {
		if (lstat(lock, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
		    unlink(lock) < 0)
			fail_errno(fail, "remove '%s'", lock);
		if (fail->kind == 0 && unlink(draft) < 0 && errno != ENOENT)
			fail_errno(fail, "remove '%s'", draft);
	}
	free(draft);
	free(lock);
	return fail->kind;
}

static int write_draft(const struct install_conf *conf, const char *draft, struct fail *fail)
{
	const struct file_modes modes = {.file = conf->there ? 0600 : 0666, .dir = 0777};
	int fd = file_open(AT_FDCWD, draft, O_WRONLY | O_CREAT | O_EXCL, &modes, fail);

	if (fd < 0)
		return fail->kind;
	if (conf->there && fchmod(fd, conf->mode) < 0)
		fail_errno(fail, "set the mode of '%s'", draft);
	else if (file_write_fd(fd, draft, conf->next.data, conf->next.len, fail) == 0 &&
		 fsync(fd) < 0)
		fail_errno(fail, "sync '%s'", draft);
	close(fd);
	return fail->kind;
}

static int take_lock(const char *draft, const char *lock, int64_t timeout, struct fail *fail)
{
	int64_t deadline = clock_deadline(timeout);
	struct backoff backoff = BACKOFF_INIT;

	while (link(draft, lock) < 0) {
		if (errno != EEXIST)
			return fail_errno(fail, "make '%s'", lock);
		if (!backoff_wait(&backoff, deadline))
			return fail_set(fail, FAIL_BUSY,
					"somebody holds '%s'; when no git is running, remove it",
					lock);
	}
	return 0;
}

static int check_unchanged(const struct install_conf *conf, struct fail *fail)
{
	struct bytes present = BYTES_INIT;
	struct fail read = FAIL_INIT;
	struct stat st;
	bool there = read_conf(conf->path, &present, &st, &read) == 0;

	if (there ? !conf->there || present.len != conf->now.len ||
			    memcmp(present.data, conf->now.data, present.len) != 0
		  : conf->there || read.kind != FAIL_GONE)
		fail_set(fail, FAIL_BUSY, "'%s' has just been changed by somebody else; try again",
			 conf->path);
	bytes_release(&present);
	return fail->kind;
}

int install_conf_write(const struct install_conf *conf, int64_t timeout, struct fail *fail)
{
	char *draft = mem_printf("%s" DRAFT, conf->path), *lock = mem_printf("%s.lock", conf->path);
	bool locked = false;

	if (install_conf_heal(conf->path, fail) == 0 && write_draft(conf, draft, fail) == 0 &&
	    take_lock(draft, lock, timeout, fail) == 0) {
		locked = true;
		if (check_unchanged(conf, fail) == 0) {
			if (!conf->want.count && !conf->was_there && !conf->next.len) {
				if (unlink(conf->path) < 0)
					fail_errno(fail, "remove '%s'", conf->path);
			} else if (rename(lock, conf->path) < 0) {
				fail_errno(fail, "replace '%s'", conf->path);
			} else {
				locked = false;
			}
		}
	}
	if (locked)
		unlink(lock);
	unlink(draft);
	free(draft);
	free(lock);
	return fail->kind;
}
