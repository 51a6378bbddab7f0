/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * doctor: can it work at all where it is: settings, file systems, locks, our folder, the
 * ledger.
 */
#include "doctorparts.h"

#include "birth.h"
#include "ledger.h"
#include "ledgerread.h"
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- settings ------------------------------------------------------------------------ */

static void look_at_settings(struct doctor_view *view)
{
	const struct argv *bad = &view->repo->conf.malformed;
	const struct argv *unknown = &view->repo->conf.unknown;

	for (size_t i = 0; i < bad->count; i++) {
		const char *text = bad->items[i];
		size_t skip = strncmp(text, "config ", 7) ? 0 : 7;
		char *subject = mem_dup(text + skip, strcspn(text + skip, ":"));

		doctor_add(view->doctor, ILL_SETTING, subject, NULL, mem_strdup(text));
		free(subject);
	}
	for (size_t i = 0; i < unknown->count; i++)
		if (!i || strcmp(unknown->items[i], unknown->items[i - 1]) != 0)
			doctor_add(view->doctor, ILL_SETTING_UNKNOWN, unknown->items[i], NULL,
				   NULL);
}

/* ---- file systems ------------------------------------------------------------------------ */

/* statfs(2) and the kernel's magic.h; where flock(2) is emulated, or is not the same everywhere. */
static const struct {
	uint32_t type;
	const char *name;
	bool remote, stacked;
} file_systems[] = {
	{0x6969, "nfs", true, false},		{0x517b, "smb", true, false},
	{0xfe534d42, "smb2", true, false},	{0xff534d42, "cifs", true, false},
	{0x01021997, "9p", true, false},	{0x65735546, "fuse", true, false},
	{0x00c36400, "ceph", true, false},	{0x5346414f, "afs", true, false},
	{0x6b414653, "kafs", true, false},	{0x73757245, "coda", true, false},
	{0x0bd00bd0, "lustre", true, false},	{0x47504653, "gpfs", true, false},
	{0x786f4256, "vboxsf", true, false},	{0x7461636f, "ocfs2", true, false},
	{0x01161970, "gfs2", true, false},	{0x794c7630, "overlay", false, true},
	{0xef53, "ext4", false, false},		{0x9123683e, "btrfs", false, false},
	{0x58465342, "xfs", false, false},	{0x01021994, "tmpfs", false, false},
	{0xf2f52010, "f2fs", false, false},	{0x2fc12fc1, "zfs", false, false},
	{0xca451a4e, "bcachefs", false, false},
};

static void name_file_system(uint32_t type, char *out, size_t size)
{
	snprintf(out, size, "0x%" PRIx32, type);
	for (size_t i = 0; i < ARRAY_SIZE(file_systems); i++)
		if (file_systems[i].type == type)
			snprintf(out, size, "%s", file_systems[i].name);
}

/*
 * Two descriptions of one directory: the second must not get what the first has. Nobody of ours
 * locks these directories, and a lock leaves no trace.
 */
static void try_locks(struct doctor_view *view, const char *subject, const char *path)
{
	int a = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int b = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (a >= 0 && b >= 0) {
		if (flock(a, LOCK_EX | LOCK_NB) < 0) {
			/* Somebody else's may be on it; that it is refused is all we want to see.
			 */
			if (errno != EWOULDBLOCK)
				doctor_add(view->doctor, ILL_FLOCK, subject, path,
					   mem_printf("flock: %s", strerror(errno)));
		} else if (flock(b, LOCK_EX | LOCK_NB) == 0) {
			doctor_add(view->doctor, ILL_FLOCK, subject, path,
				   mem_strdup("two open files can both have it"));
		}
	}
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
}

static void look_at_file_system(struct doctor_view *view, const char *subject, const char *path,
				char *name, size_t size)
{
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return;
	name_file_system((uint32_t)fs.f_type, name, size);
	for (size_t i = 0; i < ARRAY_SIZE(file_systems); i++) {
		if (file_systems[i].type != (uint32_t)fs.f_type)
			continue;
		if (file_systems[i].remote)
			doctor_add(view->doctor, ILL_FILE_SYSTEM, subject, path, mem_strdup(name));
		else if (file_systems[i].stacked)
			doctor_add(view->doctor, ILL_OVERLAY, subject, path, NULL);
	}
	try_locks(view, subject, path);
}

/* ---- where slots are born ------------------------------------------------------------------ */

/* What is there of a path. The caller frees. */
static char *nearest(const char *path)
{
	char *at = mem_strdup(path), *slash;
	struct stat st;

	while (stat(at, &st) < 0 && (slash = strrchr(at, '/')) && slash != at)
		*slash = '\0';
	return at;
}

static bool on_one_file_system(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev;
}

static void look_at_pool(struct doctor_view *view)
{
	const char *set = view->repo->conf.pool_dir;
	char *dir = set ? mem_strdup(set) : birth_default_path(view->repo);
	struct fail why = FAIL_INIT;
	char name[16], *at;

	if (!dir)
		return;
	at = nearest(dir);
	/* What nobody has set is of no interest before there is one. */
	if ((set || !strcmp(at, dir)) && birth_check_dir(view->repo, dir, &why) < 0)
		doctor_add(view->doctor, ILL_POOL_DIR, set ? "interlock.poolDir" : "pool", dir,
			   mem_strdup(why.message));
	if (!on_one_file_system(at, view->repo->common_dir))
		look_at_file_system(view, "pool", at, name, sizeof(name));
	free(at);
	free(dir);
}

/* ---- our folder ------------------------------------------------------------------------------ */

static void bad_folder(struct doctor_view *view, const char *name, const char *why)
{
	char *path = doctor_path(view->repo, name);

	doctor_add(view->doctor, ILL_STATE_FOLDER, name, path, mem_strdup(why));
	free(path);
}

/* False when there is nothing to look into. */
static bool is_good_folder(struct doctor_view *view, const char *name)
{
	struct stat st;

	if (fstatat(view->repo->common_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		bad_folder(view, name,
			   S_ISLNK(st.st_mode) ? "it is a symbolic link" : "it is no directory");
	else if (faccessat(view->repo->common_fd, name, R_OK | W_OK | X_OK, AT_EACCESS) < 0)
		bad_folder(view, name, strerror(errno));
	else
		return true;
	return false;
}

/* What stands where a lock should be. */
static void look_at_lock_files(struct doctor_view *view)
{
	struct fail ignored = FAIL_INIT;
	struct bytes names = BYTES_INIT;
	int dir = doctor_open(view->repo, "interlock/locks");

	if (dir < 0)
		return;
	file_each_name(dir, &names, &ignored);
	for (char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		char *name = mem_printf("interlock/locks/%s", p);
		struct stat st;

		if (fstatat(dir, p, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
			bad_folder(view, name, "it is no regular file");
		free(name);
	}
	bytes_release(&names);
	close(dir);
}

static void look_at_folder(struct doctor_view *view)
{
	static const char *const folders[] = {"locks", "leases", "git",	 "tips", "keep",
					      "cache", "tmp",	 "runs", "aside"};

	if (!is_good_folder(view, "interlock"))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		char *name = mem_printf("interlock/%s", folders[i]);

		is_good_folder(view, name);
		free(name);
	}
	look_at_lock_files(view);
}

/* ---- the ledger --------------------------------------------------------------------------------
 */

static char *count_lines(uint64_t count)
{
	return mem_printf("%" PRIu64 " line%s", count, count == 1 ? " is" : "s are");
}

/* Is nobody writing just now? Then a last line without its end is a torn one. */
static bool is_at_rest(const struct repo *repo)
{
	int dir = doctor_open(repo, "interlock/locks");
	enum lock_state state;

	if (dir < 0)
		return true;
	state = lock_look(dir, "ledger");
	close(dir);
	return state == LOCK_ABSENT || state == LOCK_FREE;
}

static void look_at_writing(struct doctor_view *view, const char *path)
{
	struct fail fail = FAIL_INIT;
	int fd = file_open(view->repo->common_fd, "interlock/" LEDGER_FILE, O_WRONLY | O_APPEND,
			   NULL, &fail);

	if (fd >= 0)
		close(fd);
	else if (fail.kind != FAIL_GONE)
		doctor_add(view->doctor, ILL_LEDGER_CLOSED, "ledger", path,
			   mem_strdup(fail.message));
}

static void look_at_ledger(struct doctor_view *view)
{
	struct ledger_reader reader;
	struct ledger_line line;
	struct fail fail = FAIL_INIT;
	char *path = doctor_path(view->repo, "interlock/" LEDGER_FILE);
	bool rest = is_at_rest(view->repo);

	if (ledger_read_open(view->repo, &reader, &fail) == 0) {
		while (ledger_read(&reader, &line, &fail) > 0) {
			ledger_line_release(&line);
			view->doctor->events++;
		}
		if (rest)
			ledger_read_end(&reader);
	}
	if (reader.damaged)
		doctor_add(view->doctor, ILL_LEDGER_DAMAGED, "ledger", path,
			   count_lines(reader.damaged));
	if (reader.newer)
		doctor_add(view->doctor, ILL_LEDGER_NEWER, "ledger", path,
			   count_lines(reader.newer));
	ledger_read_close(&reader);
	look_at_writing(view, path);
	free(path);
}

int doctor_place(struct doctor_view *view, UNUSED struct fail *fail)
{
	struct doctor *doctor = view->doctor;

	look_at_settings(view);
	look_at_file_system(view, "repository", view->repo->common_dir, doctor->file_system,
			    sizeof(doctor->file_system));
	look_at_pool(view);
	look_at_folder(view);
	look_at_ledger(view);
	return 0;
}
