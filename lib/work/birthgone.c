/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* birth: what did not come to life, and what is to go. */
#include "birthparts.h"

#include "erase.h"

#include <bsd/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- looking --------------------------------------------------------------------- */

bool birth_same_dir(int fd, int dir, const char *name)
{
	struct stat open_dir, named;

	return fstat(fd, &open_dir) == 0 && fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       open_dir.st_dev == named.st_dev && open_dir.st_ino == named.st_ino;
}

int birth_read_record(int admin, struct slot_birth *out, struct fail *fail)
{
	struct bytes text = BYTES_INIT;
	char *id = NULL;

	memset(out, 0, sizeof(*out));
	if (file_read(admin, BIRTH_RECORD, SLOT_TEXT_MAX, &text, fail) == 0 &&
	    slot_birth_parse(text.data, text.len, out, fail) == 0) {
		id = slot_id_of(out->pool, out->number);
		/* Edited to lead elsewhere? Then nothing that it says is used. */
		if (strcmp(strrchr(out->path, '/') + 1, id) != 0)
			fail_set(fail, FAIL_CORRUPT, "the birth record of '%s' names '%s'", id,
				 out->path);
	}
	free(id);
	bytes_release(&text);
	return fail->kind;
}

int birth_open_parent(const struct slot_birth *birth, const char **name, struct fail *fail)
{
	const char *slash = strrchr(birth->path, '/');
	char *parent = slash == birth->path ? mem_strdup("/")
					    : mem_dup(birth->path, (size_t)(slash - birth->path));
	int fd = file_open_dir(AT_FDCWD, parent, fail);

	*name = slash + 1;
	free(parent);
	return fd;
}

int birth_open_tree(const struct slot_birth *birth, int parent, const char *name, struct fail *fail)
{
	struct stat st;
	int fd = file_open_dir(parent, name, fail);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		fail_errno(fail, "stat '%s'", birth->path);
	else if (!slot_born_as(birth, &st))
		fail_set(fail, FAIL_CORRUPT,
			 "'%s' is not the directory that was born there; nothing was touched",
			 birth->path);
	if (fail->kind) {
		close(fd);
		return fail->kind;
	}
	return fd;
}

/* ---- what did not come to life ------------------------------------------------------ */

/* Does it hold nothing but the .git file that we wrote? */
static bool is_bare_newborn(int tree)
{
	struct bytes names = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	bool bare = true;

	if (file_each_name(tree, &names, &ignored) < 0)
		bare = false;
	for (const char *p = names.data; bare && p < names.data + names.len; p += strlen(p) + 1)
		bare = !strcmp(p, ".git");
	bytes_release(&names);
	return bare;
}

/* `known`: its inode is in the record, and must be that. */
static int remove_newborn(const struct slot_birth *birth, int parent, const char *name, bool known,
			  struct fail *fail)
{
	int tree = known ? birth_open_tree(birth, parent, name, fail)
			 : file_open_dir(parent, name, fail);

	if (tree == FAIL_GONE || tree == FAIL_CORRUPT)
		fail_clear(fail); /* somebody else's by now, if anybody's */
	if (tree < 0)
		return fail->kind;
	if (is_bare_newborn(tree)) {
		unlinkat(tree, ".git", 0);
		if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT &&
		    errno != ENOTEMPTY && errno != EEXIST)
			fail_errno(fail, "remove '%s'", birth->path);
	}
	close(tree);
	return fail->kind;
}

static int remove_newborns(const struct slot_birth *birth, struct fail *fail)
{
	char *early = mem_printf("%s%s", BIRTH_TREE, birth->born);
	const char *name;
	int parent = birth_open_parent(birth, &name, fail);

	if (parent == FAIL_GONE || parent == FAIL_CORRUPT) {
		fail_clear(fail); /* then nothing of ours is in it */
	} else if (parent >= 0) {
		/* Nobody else has a name with this birth id. */
		remove_newborn(birth, parent, early, birth->ino != 0, fail);
		if (fail->kind == 0 && birth->ino)
			remove_newborn(birth, parent, name, true, fail);
		close(parent);
	}
	free(early);
	return fail->kind;
}

/* What was made for the pool goes again, unless there is something in it. */
static void remove_made(int admin, const struct slot_birth *birth)
{
	struct bytes made = BYTES_INIT;
	struct fail ignored = FAIL_INIT;
	char *dir = mem_strdup(birth->path), *slash;

	if (file_read(admin, BIRTH_MADE, PATH_MAX, &made, &ignored) == 0 && made.len &&
	    !strncmp(dir, made.data, made.len) && dir[made.len] == '/')
		while ((slash = strrchr(dir, '/')) && (size_t)(slash - dir) >= made.len) {
			*slash = '\0';
			if (rmdir(dir) < 0)
				break;
		}
	free(dir);
	bytes_release(&made);
}

/* Empties an admin directory that git does not see; the record goes last. */
static int erase_admin(int parent, const char *name, int admin, struct fail *fail)
{
	if (erase_inside(admin, BIRTH_RECORD, fail) < 0)
		return fail->kind;
	if (unlinkat(admin, BIRTH_RECORD, 0) < 0 && errno != ENOENT)
		return fail_errno(fail, "remove '%s/" BIRTH_RECORD "'", name);
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return fail_errno(fail, "remove '%s'", name);
	return 0;
}

int birth_unmake(struct repo *repo, int stage, const char *born, struct fail *fail)
{
	char *name = mem_printf("%s%s", BIRTH_STAGE, born);
	struct slot_birth birth;

	/* Without a record there is no worktree yet. */
	if (birth_read_record(stage, &birth, fail) < 0)
		fail_clear(fail);
	else if (!strcmp(birth.born, born) && remove_newborns(&birth, fail) == 0)
		remove_made(stage, &birth);
	if (fail->kind == 0)
		erase_admin(repo->state_fd, name, stage, fail);
	slot_birth_release(&birth);
	free(name);
	return fail->kind;
}

/* ---- what is to go --------------------------------------------------------------------- */

/* Trash of one slot: what is left of its worktree, then of its admin directory. */
static int erase_trash(struct repo *repo, int admin, const char *born, struct fail *fail)
{
	char *admin_name = mem_printf("%s%s", BIRTH_TRASH, born);
	char *tree_name = mem_printf("%s%s", BIRTH_TREE_TRASH, born);
	struct fail unread = FAIL_INIT;
	struct slot_birth birth;
	const char *name;
	int parent = -1, tree = -1;

	if (birth_read_record(admin, &birth, &unread) == 0 && !strcmp(birth.born, born))
		parent = birth_open_parent(&birth, &name, &unread);
	if (parent >= 0)
		tree = birth_open_tree(&birth, parent, tree_name, &unread);
	if (tree >= 0) {
		close(tree);
		erase_tree(parent, tree_name, fail);
	}
	if (parent >= 0) {
		close(parent);
		remove_made(admin, &birth);
	}
	if (fail->kind == 0)
		erase_admin(repo->state_fd, admin_name, admin, fail);
	slot_birth_release(&birth);
	free(admin_name);
	free(tree_name);
	return fail->kind;
}

/* Keeps nothing of the caller's: no terminal, no pipe, no directory, no other lock. */
static void become_nobody(int *state, int *admin)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	/* Out of each other's way first. */
	*state = fcntl(*state, F_DUPFD, 16);
	*admin = fcntl(*admin, F_DUPFD, 16);
	if (*state < 0 || *admin < 0 || dup2(*state, 3) < 0 || dup2(*admin, 4) < 0)
		_exit(1);
	*state = 3;
	*admin = 4;
	closefrom(5);
	if (chdir("/") < 0)
		_exit(1);
}

/*
 * In a grandchild, whose lock on the admin directory (it is inherited) says that
 * somebody is at it. The caller closes its own descriptor.
 */
static int erase_trash_apart(struct repo *repo, int admin, const char *born, struct fail *fail)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return erase_trash(repo, admin, born, fail);
	if (child == 0) {
		struct repo own = *repo;
		pid_t grandchild = fork();

		if (grandchild)
			_exit(grandchild < 0);
		become_nobody(&own.state_fd, &admin);
		erase_trash(&own, admin, born, fail);
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return erase_trash(repo, admin, born, fail);
	return 0;
}

/* Step a. A worktree that is not there any more is no failure. */
static int retire_tree(const struct slot *slot, struct fail *fail)
{
	char *trash = mem_printf("%s%s", BIRTH_TREE_TRASH, slot->birth.born);
	const char *name;
	int parent = birth_open_parent(&slot->birth, &name, fail);
	int tree = parent < 0 ? parent : birth_open_tree(&slot->birth, parent, name, fail);

	if (tree == FAIL_GONE)
		fail_clear(fail);
	else if (tree >= 0 && renameat2(parent, name, parent, trash, RENAME_NOREPLACE) < 0)
		fail_errno(fail, "rename '%s'", slot->birth.path);
	else if (tree >= 0 && !birth_same_dir(tree, parent, trash)) {
		/* Something else was put there between the look and the rename. */
		renameat2(parent, trash, parent, name, RENAME_NOREPLACE);
		fail_set(fail, FAIL_CORRUPT, "'%s' was replaced meanwhile; nothing was removed",
			 slot->birth.path);
	}
	if (tree >= 0)
		close(tree);
	if (parent >= 0)
		close(parent);
	free(trash);
	return fail->kind;
}

bool birth_removal_began(const struct slot *slot)
{
	struct fail ignored = FAIL_INIT;
	const char *name;
	char *trash;
	int parent, tree = -1;

	if (!slot->birth.born || !slot->birth.path)
		return false;
	parent = birth_open_parent(&slot->birth, &name, &ignored);
	if (parent < 0)
		return false;
	trash = mem_printf("%s%s", BIRTH_TREE_TRASH, slot->birth.born);
	tree = birth_open_tree(&slot->birth, parent, trash, &ignored);
	if (tree >= 0)
		close(tree);
	close(parent);
	free(trash);
	return tree >= 0;
}

/* The worktree comes back when its admin directory stays. */
static void restore_tree(const struct slot *slot)
{
	char *trash = mem_printf("%s%s", BIRTH_TREE_TRASH, slot->birth.born);
	struct fail ignored = FAIL_INIT;
	const char *name;
	int parent = birth_open_parent(&slot->birth, &name, &ignored);

	if (parent >= 0) {
		renameat2(parent, trash, parent, name, RENAME_NOREPLACE);
		close(parent);
	}
	free(trash);
}

/* Step b. */
static int retire_admin(const struct slot *slot, struct fail *fail)
{
	struct repo *repo = slot->repo;
	char *trash = mem_printf("%s%s", BIRTH_TRASH, slot->birth.born);
	int dir = file_open_dir(repo->common_fd, "worktrees", fail);

	if (dir >= 0) {
		if (!birth_same_dir(slot->admin, dir, slot->id))
			fail_set(fail, FAIL_GONE, "slot '%s' has gone meanwhile", slot->name);
		else if (renameat2(dir, slot->id, repo->state_fd, trash, RENAME_NOREPLACE) < 0)
			fail_errno(fail, "rename 'worktrees/%s'", slot->id);
		close(dir);
	}
	/* As git does: no empty directory is left. */
	if (fail->kind == 0)
		unlinkat(repo->common_fd, "worktrees", AT_REMOVEDIR);
	free(trash);
	return fail->kind;
}

static int need_state_dir(struct repo *repo, struct fail *fail)
{
	int locks = repo_state_dir(repo, "locks", fail);

	if (locks >= 0)
		close(locks);
	return fail->kind;
}

int birth_remove(struct slot *slot, struct fail *fail)
{
	if (!slot->locked || slot->admin < 0 || !slot->birth.born)
		return fail_set(fail, FAIL_FATAL, "slot '%s' is not locked, and not removed",
				slot->name);
	if (need_state_dir(slot->repo, fail) < 0 || retire_tree(slot, fail) < 0)
		return fail->kind;
	if (retire_admin(slot, fail) < 0) {
		restore_tree(slot);
		return fail->kind;
	}
	if (erase_trash_apart(slot->repo, slot->admin, slot->birth.born, fail) < 0)
		fail_context(fail, "slot '%s' is gone, but not all of its files", slot->name);
	/* Not LOCK_UN: that would free it for the one who is erasing. */
	close(slot->admin);
	slot->admin = -1;
	slot->locked = false;
	return fail->kind;
}

/* ---- sweeping ------------------------------------------------------------------------------ */

/*
 * Its lock says whether somebody is at it. After the lock the name is looked up
 * again: a maker may have published it, or another sweeper may have been here.
 */
static int sweep_one(struct repo *repo, const char *name, bool dry_run, bool *swept,
		     struct fail *fail)
{
	bool stage = !strncmp(name, BIRTH_STAGE, strlen(BIRTH_STAGE));
	const char *born = strchr(name, '-') + 1;
	int fd = file_open_dir(repo->state_fd, name, fail);

	*swept = false;
	if (fd == FAIL_GONE) {
		fail_clear(fail);
		return 0;
	}
	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			fail_errno(fail, "lock 'interlock/%s'", name);
	} else if (birth_same_dir(fd, repo->state_fd, name)) {
		*swept = true;
		if (!dry_run && stage)
			birth_unmake(repo, fd, born, fail);
		else if (!dry_run)
			erase_trash_apart(repo, fd, born, fail);
	}
	close(fd);
	return fail->kind;
}

static bool is_debris(const char *name)
{
	static const char *const kinds[] = {BIRTH_STAGE, BIRTH_TRASH};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t n = strlen(kinds[i]);

		if (!strncmp(name, kinds[i], n) && slot_id_valid(name + n))
			return true;
	}
	return false;
}

int birth_sweep(struct repo *repo, bool dry_run, size_t *swept, struct fail *fail)
{
	struct bytes names = BYTES_INIT;
	struct stat st;

	*swept = 0;
	/* Nothing was ever born here: a look leaves no directory behind. */
	if (repo->state_fd < 0 && fstatat(repo->common_fd, "interlock", &st, 0) < 0 &&
	    errno == ENOENT)
		return 0;
	if (need_state_dir(repo, fail) < 0)
		return fail->kind;
	file_each_name(repo->state_fd, &names, fail);
	for (const char *p = names.data; p < names.data + names.len; p += strlen(p) + 1) {
		struct fail one = FAIL_INIT;
		bool done;

		if (!is_debris(p))
			continue;
		/* One that fails is reported, and the sweep goes on. */
		if (sweep_one(repo, p, dry_run, &done, &one) < 0)
			fail_set(fail, one.kind, "%s", one.message);
		*swept += done;
	}
	bytes_release(&names);
	return fail->kind;
}
