/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* tidy_settings(): what git would obey in a slot, put back before any git runs there. */
#include "tidy.h"

#include "aside.h"
#include "beneath.h"
#include "file.h"
#include "operation.h"
#include "refname.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_MAX ((size_t)64 << 20)

static const struct file_modes *modes(const struct slot *slot)
{
	return &slot->repo->modes;
}

/* ---- locks ---------------------------------------------------------------------------- */

static bool is_lock(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && !strcmp(name + n - 5, ".lock");
}

/* Whoever made them is dead: the slot's lock is ours, and nobody is inside. */
static int remove_locks(int dir, const char *const *folders, size_t count, struct fail *fail)
{
	struct bytes names = BYTES_INIT;

	file_each_name(dir, &names, fail);
	for (char *p = names.data; fail->kind == 0 && p < names.data + names.len;
	     p += strlen(p) + 1) {
		bool folder = false;
		int sub;

		if (is_lock(p) && unlinkat(dir, p, 0) < 0 && errno != ENOENT && errno != EISDIR)
			fail_errno(fail, "remove '%s'", p);
		for (size_t i = 0; i < count; i++)
			folder = folder || !strcmp(p, folders[i]);
		sub = folder || !count
			      ? openat(dir, p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
			      : -1;
		if (sub >= 0) {
			remove_locks(sub, NULL, 0, fail);
			close(sub);
		}
	}
	bytes_release(&names);
	return fail->kind;
}

/* ---- one file ---------------------------------------------------------------------------- */

/* Moves it to where salvage finds it, beside what is there already. */
static int move_to_found(struct slot *slot, const char *name, struct fail *fail)
{
	const char *last = strrchr(name, '/');

	last = last ? last + 1 : name;
	if (file_make_dirs(slot->admin, OPERATION_FOUND, modes(slot), fail) < 0)
		return fail->kind;
	for (unsigned n = 1;; n++) {
		char *place = n == 1 ? mem_printf(OPERATION_FOUND "/%s", last)
				     : mem_printf(OPERATION_FOUND "/%s~%u", last, n);
		int free_name = faccessat(slot->admin, place, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
		int r = free_name ? renameat(slot->admin, name, slot->admin, place) : 0;

		if (r < 0)
			fail_errno(fail, "move '%s' of slot '%s'", name, slot->name);
		free(place);
		if (free_name)
			return fail->kind;
	}
}

/* The file is what it was at birth (NULL: not there). `now` gets what it is, if that is readable.
 */
static int put_back(struct slot *slot, const char *name, const char *at_birth, struct bytes *now,
		    struct fail *fail)
{
	struct bytes content = BYTES_INIT;
	struct fail read = FAIL_INIT;
	int r = file_read(slot->admin, name, SETTINGS_MAX, &content, &read);
	bool same = at_birth ? r == 0 && content.len == strlen(at_birth) &&
				       !memcmp(content.data, at_birth, content.len)
			     : r == FAIL_GONE;

	if (!same && r == 0 && now)
		bytes_add(now, content.data, content.len);
	bytes_release(&content);
	if (same)
		return 0;
	if (r != FAIL_GONE && move_to_found(slot, name, fail) < 0)
		return fail->kind;
	if (!at_birth)
		return 0;
	if (strchr(name, '/') && file_make_dirs(slot->admin, "info", modes(slot), fail) < 0)
		return fail->kind;
	return file_replace(slot->admin, name, at_birth, strlen(at_birth), modes(slot),
			    slot->repo->conf.durable, fail);
}

/* ---- where git finds the repository ---------------------------------------------------------- */

/* Does the path lead to the directory that is open as `fd`? */
static bool leads_to(int dir, const char *path, int fd)
{
	struct stat there, here;

	return fstatat(dir, path, &there, 0) == 0 && fstat(fd, &here) == 0 &&
	       there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

static int check_commondir(struct slot *slot, struct fail *fail)
{
	struct bytes text = BYTES_INIT;
	struct fail read = FAIL_INIT;
	bool right = file_read(slot->admin, "commondir", 65536, &text, &read) == 0;

	bytes_chomp(&text);
	right = right && strlen(text.data) == text.len &&
		leads_to(slot->admin, text.data, slot->repo->common_fd);
	bytes_release(&text);
	if (right)
		return 0;
	if (read.kind != FAIL_GONE && move_to_found(slot, "commondir", fail) < 0)
		return fail->kind;
	return file_replace(slot->admin, "commondir", "../..\n", 6, modes(slot), false, fail);
}

/* The .git at the slot's top: a file that leads to the admin directory, nothing else. */
static int check_dot_git(struct slot *slot, const char *lease, struct fail *fail)
{
	struct bytes text = BYTES_INIT;
	struct fail read = FAIL_INIT;
	int top = slot_open_tree(slot, fail);
	bool right;

	if (top < 0)
		return top;
	right = file_read(top, ".git", 65536, &text, &read) == 0 &&
		!strncmp(text.data, "gitdir: ", 8);
	bytes_chomp(&text);
	right = right && strlen(text.data) == text.len && leads_to(top, text.data + 8, slot->admin);
	if (!right &&
	    (read.kind == FAIL_GONE || aside_path(slot, lease, ".git", NULL, fail) == 0)) {
		bytes_clear(&text);
		bytes_addf(&text, "gitdir: %s/worktrees/%s\n", slot->repo->common_dir, slot->id);
		file_replace(top, ".git", text.data, text.len, modes(slot), false, fail);
	}
	bytes_release(&text);
	close(top);
	return fail->kind;
}

/* ---- HEAD
 * ---------------------------------------------------------------------------------------- */

/* Nothing that git would take for a HEAD is touched here, whatever it names. */
static bool is_head(enum hash_algo algo, struct bytes *text)
{
	struct oid oid;

	bytes_chomp(text);
	if (!strncmp(text->data, "ref:", 4))
		return refname_valid(text->data + 4 + strspn(text->data + 4, " \t")) ||
		       !strcmp(text->data, "ref: refs/heads/.invalid"); /* reftable's */
	return oid_parse(algo, text->data, text->len, &oid);
}

static int check_head(struct slot *slot, struct fail *fail)
{
	enum hash_algo algo = slot->repo->algo;
	char hex[OID_HEX_MAX + 2];
	struct bytes text = BYTES_INIT;
	struct fail read = FAIL_INIT;
	bool right =
		file_read(slot->admin, "HEAD", 65536, &text, &read) == 0 && is_head(algo, &text);
	const char *base = slot->record.base;
	struct stat st;
	struct oid oid;

	bytes_release(&text);
	if (right)
		return 0;
	if (fstatat(slot->admin, "reftable", &st, AT_SYMLINK_NOFOLLOW) == 0)
		bytes_adds(&text, "ref: refs/heads/.invalid\n");
	else if (operation_last_head(slot->admin, algo, &oid) ||
		 (base && oid_parse(algo, base, strlen(base), &oid)))
		bytes_addf(&text, "%s\n", oid_hex(&oid, hex));
	else
		return fail_set(fail, FAIL_CORRUPT,
				"HEAD of slot '%s' is damaged, and nothing says where it was",
				slot->name);
	if (read.kind == FAIL_GONE || move_to_found(slot, "HEAD", fail) == 0)
		file_replace(slot->admin, "HEAD", text.data, text.len, modes(slot),
			     slot->repo->conf.durable, fail);
	bytes_release(&text);
	return fail->kind;
}

/* ---- the room's front
 * ------------------------------------------------------------------------------- */

int tidy_locks(const struct slot *slot, struct fail *fail)
{
	static const char *const folders[] = {"info", "logs", "refs", "reftable"};

	return remove_locks(slot->admin, folders, ARRAY_SIZE(folders), fail);
}

int tidy_settings(struct slot *slot, struct bytes *changed, struct fail *fail)
{
	const char *lease = slot->record.lease ? slot->record.lease : slot->birth.born;

	if (tidy_locks(slot, fail) < 0 || check_commondir(slot, fail) < 0 ||
	    put_back(slot, "config.worktree", slot->birth.config, changed, fail) < 0 ||
	    put_back(slot, "info/sparse-checkout", slot->birth.sparse, NULL, fail) < 0 ||
	    check_head(slot, fail) < 0 || check_dot_git(slot, lease ? lease : "unleased", fail) < 0)
		return fail_context(fail, "put back the settings of slot '%s'", slot->name);
	return 0;
}
