/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/*
 * The scan's list of changes, applied to a copy of the index by git, must give
 * the tree that `git add -A` makes in a private copy.
 */
#include "prelude.h"

#include "sandbox.h"

#include "file.h"
#include "hash.h"
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* ---- the work tree ------------------------------------------------------------- */

static struct repo repo;

static void make_dirs(const char *path)
{
	for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
		char *dir = mem_dup(path, (size_t)(slash - path));

		mkdir(dir, 0777);
		free(dir);
	}
}

static void put_bytes(const char *path, const void *data, size_t len)
{
	FILE *f;

	make_dirs(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static void put(const char *path, const char *text)
{
	put_bytes(path, text, strlen(text));
}

static void commit_all(void)
{
	git("add -A");
	git("-c user.name=a -c user.email=a@b commit -q -m x --allow-empty");
}

static void make_repo(const char *config)
{
	struct fail fail = FAIL_INIT;
	struct bytes line = BYTES_INIT;

	sandbox_repo(&sandbox_variants[0], &repo);
	repo_close(&repo);
	if (config) {
		bytes_addf(&line, "config %s", config);
		git(line.data);
	}
	bytes_release(&line);
	put("keep", "keep\n");
	put("dir/a", "a\n");
	put("dir/b", "b\n");
	put("dir/sub/c", "c\n");
	put("run", "#!\n");
	assert_int_equal(chmod("run", 0755), 0);
	assert_int_equal(symlink("keep", "link"), 0);
	commit_all();
	assert_ok(repo_open(&repo, REPO_WORK_TREE, &fail), fail);
	assert_int_equal(repo.engine, ENGINE_NATIVE);
}

/* ---- scanning -------------------------------------------------------------------- */

static int scan_paths(struct scan *scan, struct fail *fail, size_t count, const char *const *paths)
{
	struct scan_options options = {.max_file_size = 1 << 20,
				       .keep_bytes = 1 << 20,
				       .paths = paths,
				       .path_count = count};

	fail_clear(fail);
	return scan_run(&repo, &options, scan, fail);
}

static void scan_all(struct scan *scan)
{
	struct fail fail = FAIL_INIT;

	assert_ok(scan_paths(scan, &fail, 0, NULL), fail);
}

static const struct change *find(const struct scan *scan, const char *path)
{
	for (size_t i = 0; i < scan->change_count; i++)
		if (!strcmp(scan->changes[i].path, path))
			return &scan->changes[i];
	return NULL;
}

static const char *skip_reason(const struct scan *scan, const char *path)
{
	for (size_t i = 0; i < scan->skipped_count; i++)
		if (!strcmp(scan->skipped[i].path, path))
			return scan->skipped[i].reason;
	return "";
}

static void index_info(const struct scan *scan, struct bytes *out)
{
	char hex[OID_HEX_MAX + 1];

	for (int there = 0; there < 2; there++)
		for (size_t i = 0; i < scan->change_count; i++) {
			const struct change *change = &scan->changes[i];

			if (!!change->mode != there)
				continue;
			if (there)
				bytes_addf(out, "%06o %s\t%s", change->mode,
					   oid_hex(&change->oid, hex), change->path);
			else
				bytes_addf(out, "0 %040d\t%s", 0, change->path);
			bytes_addc(out, '\0');
		}
}

static void copy_index(void)
{
	struct bytes data = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct timespec times[2];
	struct stat st;

	assert_int_equal(stat(".git/index", &st), 0);
	assert_ok(file_read(AT_FDCWD, ".git/index", 1 << 24, &data, &fail), fail);
	put_bytes(".git/private", data.data, data.len);
	times[0] = times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, ".git/private", times, 0), 0);
	bytes_release(&data);
}

/* The whole point: our changes on a copy of the index make git's tree. */
static void same_tree_as_git(const struct scan *scan)
{
	struct bytes info = BYTES_INIT;
	struct oid ours, git_s;

	index_info(scan, &info);
	copy_index();
	setenv("GIT_INDEX_FILE", ".git/private", 1);
	git("-c core.safecrlf=false add -A");
	git_s = git_oid_of(HASH_SHA1, "write-tree");
	unsetenv("GIT_INDEX_FILE");
	copy_index();
	setenv("GIT_INDEX_FILE", ".git/private", 1);
	git_feed("update-index -z --index-info", info.data, info.len, NULL);
	ours = git_oid_of(HASH_SHA1, "write-tree --missing-ok");
	unsetenv("GIT_INDEX_FILE");
	assert_oid_equal(&ours, &git_s);
	bytes_release(&info);
}

/* Scans, compares with git, and checks how many changes there were. */
static void agrees(size_t changes)
{
	struct scan scan;

	scan_all(&scan);
	same_tree_as_git(&scan);
	assert_int_equal(scan.change_count, changes);
	for (size_t i = 1; i < scan.change_count; i++)
		assert_true(strcmp(scan.changes[i - 1].path, scan.changes[i].path) < 0);
	scan_release(&scan);
}

static void refused(const char *row)
{
	struct fail fail = FAIL_INIT;
	struct scan scan;

	assert_int_equal(scan_paths(&scan, &fail, 0, NULL), FAIL_ENGINE);
	assert_string_equal(fail.message, row);
	scan_release(&scan);
}

static int set_up(UNUSED void **state)
{
	sandbox_enter();
	return 0;
}

static int tear_down(UNUSED void **state)
{
	sandbox_leave();
	return 0;
}

/* ---- what git add -A does ----------------------------------------------------------- */

static void test_clean(UNUSED void **state)
{
	make_repo(NULL);
	agrees(0);
	repo_close(&repo);
}

static void test_every_kind_of_change(UNUSED void **state)
{
	make_repo(NULL);
	put("keep", "other\n");
	put("new", "new\n");
	put("fresh/er/new", "new\n");
	assert_int_equal(chmod("dir/a", 0755), 0);
	assert_int_equal(chmod("run", 0644), 0);
	assert_int_equal(unlink("dir/b"), 0);
	assert_int_equal(unlink("link"), 0);
	assert_int_equal(symlink("elsewhere", "link"), 0);
	assert_int_equal(symlink("dir", "dir-link"), 0);
	agrees(8);
	repo_close(&repo);
}

static void test_touched_is_no_change(UNUSED void **state)
{
	struct timespec times[2] = {{1, 0}, {1, 0}};
	struct scan scan;

	make_repo(NULL);
	assert_int_equal(utimensat(AT_FDCWD, "keep", times, 0), 0);
	scan_all(&scan);
	assert_int_equal(scan.change_count, 0);
	assert_true(scan.files_hashed >= 1);
	scan_release(&scan);
	repo_close(&repo);
}

static void test_same_second_same_size(UNUSED void **state)
{
	make_repo(NULL);
	for (int i = 0; i < 20; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%04d\n", i);
		put("keep", text);
		git("add keep");
		text[0] = 'x';
		put("keep", text);
		agrees(1);
	}
	repo_close(&repo);
}

static void test_file_and_directory_swaps(UNUSED void **state)
{
	make_repo(NULL);
	assert_int_equal(unlink("keep"), 0);
	put("keep/inner/x", "x\n");
	assert_int_equal(unlink("dir/sub/c"), 0);
	assert_int_equal(rmdir("dir/sub"), 0);
	put("dir/sub", "now a file\n");
	put("dir-x", "sorts between\n");
	assert_int_equal(unlink("link"), 0);
	put("link/x", "x\n");
	agrees(7);
	repo_close(&repo);
}

static void test_a_directory_that_is_now_a_symlink(UNUSED void **state)
{
	make_repo(NULL);
	assert_int_equal(rename("dir", "moved"), 0);
	assert_int_equal(symlink("moved", "dir"), 0);
	agrees(7);
	repo_close(&repo);
}

static void test_intent_to_add(UNUSED void **state)
{
	make_repo(NULL);
	put("ita", "content\n");
	put("gone-ita", "content\n");
	put("dir/empty-ita", "");
	git("add -N ita gone-ita dir/empty-ita");
	assert_int_equal(unlink("gone-ita"), 0);
	agrees(3);
	repo_close(&repo);
}

static void test_conflicts(UNUSED void **state)
{
	static const char info[] = "0 0000000000000000000000000000000000000000\tkeep\n"
				   "0 0000000000000000000000000000000000000000\tdir/a\n"
				   "0 0000000000000000000000000000000000000000\tdir/b\n"
				   "100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 1\tkeep\n"
				   "100755 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 2\tkeep\n"
				   "100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 3\tkeep\n"
				   "100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 1\tdir/a\n"
				   "100755 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 3\tdir/a\n"
				   "100755 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 2\tdir/b\n"
				   "100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 3\tdir/b\n";

	for (int with_mode = 0; with_mode < 2; with_mode++) {
		make_repo(with_mode ? NULL : "core.fileMode false");
		git_feed("update-index --index-info", info, strlen(info), NULL);
		agrees(3);
		assert_int_equal(unlink("dir/a"), 0);
		agrees(3);
		repo_close(&repo);
	}
}

static void test_assume_unchanged_is_not_looked_at(UNUSED void **state)
{
	make_repo(NULL);
	git("update-index --assume-unchanged keep dir/a dir/sub/c");
	put("keep", "changed\n");
	assert_int_equal(unlink("dir/a"), 0);
	assert_int_equal(unlink("dir/sub/c"), 0);
	assert_int_equal(rmdir("dir/sub"), 0);
	agrees(0);
	put("dir/sub", "a file in its place\n");
	refused("assume-unchanged entries");
	repo_close(&repo);
}

static void test_file_mode_off(UNUSED void **state)
{
	make_repo("core.fileMode false");
	assert_int_equal(chmod("run", 0644), 0);
	assert_int_equal(chmod("dir/a", 0755), 0);
	put("new", "x");
	assert_int_equal(chmod("new", 0755), 0);
	agrees(1);
	repo_close(&repo);
}

static void test_ignore_rules(UNUSED void **state)
{
	make_repo(NULL);
	put(".gitignore", "*.o\n/out/\n!keep.o\n");
	put("dir/.gitignore", "!b.o\nsub/\n");
	put("a.o", "x");
	put("keep.o", "x");
	put("out/deep/x", "x");
	put("dir/b.o", "x");
	put("dir/c.o", "x");
	put("dir/sub/new", "an ignored directory with a tracked file\n");
	put("dir/sub/c", "tracked and ignored, changed\n");
	put("dir/sub/deeper/new", "x");
	put(".git/info/exclude", "secret\n");
	put("dir/secret", "x");
	agrees(5);
	repo_close(&repo);
}

static void test_a_symlink_gives_no_ignore_rules(UNUSED void **state)
{
	make_repo(NULL);
	put("rules", "*.o\n");
	assert_int_equal(symlink("../rules", "dir/.gitignore"), 0);
	put("dir/a.o", "x");
	refused("unusual name"); /* git's own guards differ by version about such a link */
	repo_close(&repo);
}

static void test_odd_names(UNUSED void **state)
{
	make_repo(NULL);
	put("new\nline", "x");
	put("\xff\xfe\x01", "x");
	put("-dash", "x");
	put(" blank ", "x");
	put("back\\slash", "x");
	put("dir/Case", "x");
	put("dir/case", "x");
	agrees(7);
	repo_close(&repo);
}

static void test_many_names(UNUSED void **state)
{
	make_repo(NULL);
	for (int i = 0; i < 3000; i++) {
		char path[64];

		snprintf(path, sizeof(path), "many/a-rather-long-name-%d", i * 7919 % 3000);
		put(path, "");
		if (i % 3 == 0) {
			snprintf(path, sizeof(path), "many/d%d/x", i);
			put(path, "");
		}
	}
	agrees(4000);
	commit_all();
	agrees(0);
	git("rm -q -r --cached many");
	agrees(4000);
	repo_close(&repo);
}

/* ---- conversion ---------------------------------------------------------------------- */

static const char *const texts[] = {
	"",	    "plain\n",	    "a\r\nb\r\n", "mixed\r\nlf\n",     "lone\rcr\r\n",
	"\r",	    "a\r\n\x1a",    "\x1a\r\n",	  "$Id: x $\r\n",      "$Id$\n$Id: a\n$\n$Id: b$",
	"\x01\r\n", "\001\002wxyz", "x\r\r\n",	  "tab\t\b\033\f\r\n",
};

static void put_texts(const char *dir)
{
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		snprintf(path, sizeof(path), "%s/t%zu", dir, i);
		put(path, texts[i]);
	}
	snprintf(path, sizeof(path), "%s/nul", dir);
	put_bytes(path, "a\0b\r\n", 5);
}

/* git judges racy files by whole seconds: what is compared here begins early in one. */
static void begin_in_a_second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_nsec > 400000000)
		usleep((useconds_t)(1000000 - now.tv_nsec / 1000 + 20000));
}

static void test_conversion_by_attributes(UNUSED void **state)
{
	static const char *const rules[] = {
		"* text\n",	    "* text=auto\n",   "* -text\n",
		"* eol=crlf\n",	    "* eol=lf\n",      "* text=auto eol=crlf\n",
		"* crlf\n",	    "* -crlf ident\n", "* crlf=input\n",
		"* ident\n",	    "* text ident\n",  "* text=odd crlf\n",
		"* binary\n* eol\n"};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct scan scan;

		begin_in_a_second();
		make_repo(NULL);
		put_texts("old");
		put("dir/.gitattributes", "* -text\n");
		commit_all();
		/* Content that is in the index with its CR LF counts in automatic mode. */
		put(".gitattributes", rules[i]);
		for (size_t k = 0; k < ARRAY_SIZE(texts); k++) {
			char path[64], text[64];

			snprintf(path, sizeof(path), "old/t%zu", k);
			snprintf(text, sizeof(text), "%s-more\r\n", texts[k]);
			put(path, text);
		}
		put_texts("new");
		put_texts("dir");
		scan_all(&scan);
		same_tree_as_git(&scan);
		scan_release(&scan);
		repo_close(&repo);
	}
}

static void test_conversion_by_autocrlf(UNUSED void **state)
{
	static const char *const values[] = {"true", "input", "false"};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct bytes config = BYTES_INIT;
		struct scan scan;

		bytes_addf(&config, "core.autocrlf %s", values[i]);
		make_repo(config.data);
		put_texts("new");
		git("config core.safecrlf true");
		scan_all(&scan);
		same_tree_as_git(&scan);
		scan_release(&scan);
		repo_close(&repo);
		bytes_release(&config);
	}
}

static void test_a_removed_gitattributes(UNUSED void **state)
{
	make_repo(NULL);
	put(".gitattributes", "*.c diff\n");
	put("dir/.gitattributes", "* text\n");
	commit_all();
	assert_int_equal(unlink(".gitattributes"), 0);
	assert_int_equal(unlink("dir/.gitattributes"), 0);
	put("new", "a\r\n");
	put("dir/new", "a\n");
	agrees(4);
	put("dir/new2", "a\r\n");
	refused("missing gitattributes");
	repo_close(&repo);
}

/* ---- rows ------------------------------------------------------------------------------ */

static void row_of(const char *path, const char *text, const char *row)
{
	make_repo(NULL);
	put(path, text);
	refused(row);
	repo_close(&repo);
}

static void filter_row_of(const char *path, const char *text, const char *row)
{
	make_repo("filter.x.clean cat");
	put(path, text);
	refused(row);
	repo_close(&repo);
}

static void test_rows_of_attributes(UNUSED void **state)
{
	filter_row_of(".gitattributes", "*.psd filter=x\n", "filter attribute");
	filter_row_of("fresh/.gitattributes", "a filter=x\n", "filter attribute");
	filter_row_of(".git/info/attributes", "a filter=x\n", "filter attribute");
	row_of("dir/sub/.gitattributes", "a working-tree-encoding=UTF-16\n",
	       "working-tree-encoding attribute");
	make_repo("filter.x.clean cat");
	put(".gitattributes", "a filter=x\n");
	git("add .gitattributes");
	assert_int_equal(unlink(".gitattributes"), 0);
	refused("filter attribute");
	assert_int_equal(symlink("keep", ".gitattributes"), 0);
	refused("gitattributes symlink");
	repo_close(&repo);
}

static void test_a_filter_without_a_driver(UNUSED void **state)
{
	make_repo("filter.x.clean cat");
	put(".gitattributes", "* filter=y\n");
	put("keep", "changed\r\n");
	agrees(2);
	repo_close(&repo);
}

static void test_rows_of_names(UNUSED void **state)
{
	row_of("dir/.GIT", "x", "unusual name");
	row_of("git~1", "x", "unusual name");
	row_of(".git.", "x", "unusual name");
	row_of("x\\.git\\y", "x", "unusual name");
}

static void test_rows_of_repositories(UNUSED void **state)
{
	make_repo(NULL);
	git("init -q nested");
	refused("nested repository");
	put(".gitignore", "nested/\n");
	agrees(1);
	assert_int_equal(rename("nested/.git", "dir/.git"), 0);
	refused("nested repository");
	repo_close(&repo);
	make_repo(NULL);
	git("update-index --skip-worktree keep");
	refused("skip-worktree entries");
	repo_close(&repo);
}

static void commit_in(const char *dir)
{
	char line[256];

	snprintf(line, sizeof(line),
		 "-C %s -c user.name=a -c user.email=a@b commit -q --allow-empty -m x", dir);
	git(line);
}

static void test_submodules(UNUSED void **state)
{
	make_repo(NULL);
	git("init -q dir/mod");
	commit_in("dir/mod");
	git("-c advice.addEmbeddedRepo=false add dir/mod");
	git("-c user.name=a -c user.email=a@b commit -q -m mod");
	put("dir/mod/untracked", "x");
	agrees(0);
	commit_in("dir/mod");
	agrees(1);
	put(".gitmodules", "[submodule \"m\"]\n\tpath = dir/mod\n\turl = x\n");
	agrees(2);
	put(".gitmodules", "[submodule \"m\"]\n\tpath = dir/mod\n\turl = x\n\tignore = all\n");
	refused("submodule");
	assert_int_equal(unlink(".gitmodules"), 0);
	assert_int_equal(rename("dir/mod/.git", ".git/taken"), 0);
	agrees(0);
	assert_int_equal(unlink("dir/mod/untracked"), 0);
	assert_int_equal(rmdir("dir/mod"), 0);
	agrees(1);
	repo_close(&repo);
}

/* ---- what cannot be recorded -------------------------------------------------------------- */

static void put_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void test_special_files_are_listed(UNUSED void **state)
{
	struct scan scan;

	make_repo(NULL);
	assert_int_equal(mkfifo("fifo", 0666), 0);
	put_socket("sock");
	put(".gitignore", "hidden\n");
	git("add .gitignore");
	assert_int_equal(mkfifo("hidden", 0666), 0);
	scan_all(&scan);
	same_tree_as_git(&scan);
	assert_int_equal(scan.change_count, 0);
	assert_int_equal(scan.skipped_count, 2);
	assert_string_equal(skip_reason(&scan, "fifo"), "fifo");
	assert_string_equal(skip_reason(&scan, "sock"), "socket");
	scan_release(&scan);
	/* In a tracked file's place git gives up; the entry stays and is listed. */
	assert_int_equal(unlink("keep"), 0);
	assert_int_equal(mkfifo("keep", 0666), 0);
	scan_all(&scan);
	assert_null(find(&scan, "keep"));
	assert_string_equal(skip_reason(&scan, "keep"), "fifo");
	scan_release(&scan);
	repo_close(&repo);
}

static void test_large_files(UNUSED void **state)
{
	const size_t large = 9 * 1024 * 1024;
	char *data = mem_zalloc(large);
	struct scan_options options = {.max_file_size = 0, .keep_bytes = 1 << 20};
	struct fail fail = FAIL_INIT;
	struct scan scan;

	make_repo(NULL);
	put_bytes("large", data, large);
	put_bytes("keep", data, large);
	scan_all(&scan);
	assert_int_equal(scan.change_count, 0);
	assert_string_equal(skip_reason(&scan, "large"), "too large");
	assert_string_equal(skip_reason(&scan, "keep"), "too large");
	scan_release(&scan);
	assert_ok(scan_run(&repo, &options, &scan, &fail), fail);
	same_tree_as_git(&scan);
	assert_int_equal(scan.change_count, 2);
	assert_false(find(&scan, "large")->has_content);
	assert_int_equal(find(&scan, "large")->size, large);
	scan_release(&scan);
	memcpy(data + large - 10, "a\r\nb", 4);
	put_bytes("large", data, large);
	put(".gitattributes", "* text\n");
	assert_ok(scan_run(&repo, &options, &scan, &fail), fail);
	same_tree_as_git(&scan);
	assert_int_equal(find(&scan, "large")->size, large - 1);
	scan_release(&scan);
	repo_close(&repo);
	free(data);
}

static void test_contents_stay_within_their_budget(UNUSED void **state)
{
	struct scan_options options = {.keep_bytes = 10};
	struct fail fail = FAIL_INIT;
	struct scan scan;
	uint64_t kept = 0;

	make_repo(NULL);
	put("new1", "1234567");
	put("new2", "1234567");
	put("new3", "12345678901");
	put("new4", "123");
	assert_ok(scan_run(&repo, &options, &scan, &fail), fail);
	assert_int_equal(scan.change_count, 4);
	for (size_t i = 0; i < scan.change_count; i++) {
		kept += scan.changes[i].content.len;
		assert_int_equal(scan.changes[i].content.len,
				 scan.changes[i].has_content ? scan.changes[i].size : 0);
	}
	assert_true(kept > 0 && kept <= 10);
	scan_release(&scan);
	repo_close(&repo);
}

/* Root may read everything: what cannot be read needs another user. */
static void as_nobody(void (*check)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(2);
		check();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void check_unreadable(void)
{
	struct fail fail = FAIL_INIT;
	struct scan scan;

	if (scan_paths(&scan, &fail, 0, NULL) < 0 || scan.change_count != 1 ||
	    strcmp(skip_reason(&scan, "keep"), "unreadable") != 0 ||
	    strcmp(skip_reason(&scan, "new"), "unreadable") != 0 ||
	    strcmp(skip_reason(&scan, "dir"), "unreadable") != 0 ||
	    strcmp(skip_reason(&scan, "list/y"), "unreadable") != 0)
		_exit(1);
	_exit(0);
}

static void test_unreadable_is_kept_and_listed(UNUSED void **state)
{
	make_repo(NULL);
	put("list/y", "y\n");
	git("add list");
	put("keep", "changed\n");
	assert_int_equal(chmod("keep", 0), 0);
	put("new", "x");
	assert_int_equal(chmod("new", 0), 0);
	put("open", "x");
	assert_int_equal(chmod("dir", 0), 0);
	assert_int_equal(chmod("list", 0644), 0);
	assert_int_equal(chmod(sandbox_dir, 0755), 0);
	if (!geteuid())
		as_nobody(check_unreadable);
	assert_int_equal(chmod("dir", 0755), 0);
	assert_int_equal(chmod("list", 0755), 0);
	repo_close(&repo);
}

/* ---- named paths ------------------------------------------------------------------------------
 */

static void names(const char *path, size_t changes, const char *reason)
{
	struct fail fail = FAIL_INIT;
	struct scan scan;

	assert_ok(scan_paths(&scan, &fail, 1, &path), fail);
	if (scan.change_count != changes)
		fail_msg("'%s': %zu changes", path, scan.change_count);
	assert_string_equal(skip_reason(&scan, path), reason);
	assert_int_equal(scan.unmatched.count, !changes && !*reason && access(path, F_OK) < 0);
	scan_release(&scan);
}

static void test_named_paths(UNUSED void **state)
{
	make_repo(NULL);
	put("keep", "changed\n");
	put("dir/a", "changed\n");
	put("dir/new", "x");
	put("fresh/one", "x");
	put("fresh/two", "x");
	put(".gitignore", "*.o\nout/\n");
	put("dir/x.o", "x");
	put("out/x", "x");
	assert_int_equal(unlink("dir/sub/c"), 0);
	assert_int_equal(rmdir("dir/sub"), 0);
	names("keep", 1, "");
	names("dir", 3, "");
	names("dir/a", 1, "");
	names("dir/b", 0, "");
	names("dir/new", 1, "");
	names("dir/sub", 1, "");
	names("dir/sub/c", 1, "");
	names("fresh", 2, "");
	names("fresh/two", 1, "");
	names("dir/x.o", 0, "ignored");
	names("out", 0, "ignored");
	names("out/x", 0, "ignored");
	names("nowhere", 0, "");
	names("nowhere/at/all", 0, "");
	repo_close(&repo);
}

static void test_a_named_path_that_changed_its_kind(UNUSED void **state)
{
	struct fail fail = FAIL_INIT;
	const char *path = "keep/x";
	struct scan scan;

	make_repo(NULL);
	assert_int_equal(unlink("keep"), 0);
	put("keep/x", "x");
	put("keep/y", "x");
	assert_ok(scan_paths(&scan, &fail, 1, &path), fail);
	assert_int_equal(scan.change_count, 2);
	assert_int_equal(find(&scan, "keep")->mode, 0);
	assert_int_equal(find(&scan, "keep/x")->mode, 0100644);
	scan_release(&scan);
	names("keep", 3, "");
	assert_int_equal(rename("dir", "old"), 0);
	put("dir", "a file now\n");
	names("dir", 4, "");
	names("dir/a", 1, "");
	repo_close(&repo);
}

static void refuses_path(const char *path, int kind)
{
	struct fail fail = FAIL_INIT;
	struct scan scan;

	assert_int_equal(scan_paths(&scan, &fail, 1, &path), kind);
	scan_release(&scan);
}

static void test_named_paths_that_lead_away(UNUSED void **state)
{
	make_repo("filter.x.clean cat");
	make_dirs("../outside/");
	put("../outside/secret", "secret\n");
	assert_int_equal(symlink("../outside", "out"), 0);
	refuses_path("out/secret", FAIL_UNSUPPORTED);
	refuses_path("../outside/secret", FAIL_UNSUPPORTED);
	refuses_path("/etc/passwd", FAIL_UNSUPPORTED);
	refuses_path("dir/", FAIL_UNSUPPORTED);
	refuses_path(".git/config", FAIL_ENGINE);
	names("out", 1, "");
	git("init -q nested");
	put("nested/x", "x");
	refuses_path("nested/x", FAIL_ENGINE);
	put("dir/.gitattributes", "* filter=x\n");
	refuses_path("dir/a", FAIL_ENGINE);
	names("run", 0, "");
	repo_close(&repo);
}

static void test_overlapping_names(UNUSED void **state)
{
	static const char *const paths[] = {"dir/a", "dir", "dir", "dir/sub/c", "dir-x"};
	struct fail fail = FAIL_INIT;
	struct scan scan;

	make_repo(NULL);
	put("dir/a", "changed\n");
	put("dir/sub/c", "changed\n");
	put("dir-x", "x\n");
	assert_ok(scan_paths(&scan, &fail, ARRAY_SIZE(paths), paths), fail);
	assert_int_equal(scan.change_count, 3);
	scan_release(&scan);
	repo_close(&repo);
}

/* ---- reading again
 * ------------------------------------------------------------------------------- */

static void test_reread(UNUSED void **state)
{
	struct bytes data = BYTES_INIT;
	struct fail fail = FAIL_INIT;
	struct scan scan;

	make_repo(NULL);
	put(".gitattributes", "*.t text ident\n");
	put("x.t", "a\r\n$Id: x $\r\n");
	put("dir/a", "other\r\n");
	assert_int_equal(symlink("x.t", "new-link"), 0);
	scan_all(&scan);
	assert_ok(scan_reread(&repo, find(&scan, "x.t"), &data, &fail), fail);
	assert_string_equal(data.data, "a\n$Id$\n");
	assert_ok(scan_reread(&repo, find(&scan, "dir/a"), &data, &fail), fail);
	assert_string_equal(data.data, "other\r\n");
	assert_ok(scan_reread(&repo, find(&scan, "new-link"), &data, &fail), fail);
	assert_string_equal(data.data, "x.t");
	put("dir/a", "again\n");
	assert_int_equal(scan_reread(&repo, find(&scan, "dir/a"), &data, &fail), FAIL_NO);
	fail_clear(&fail);
	assert_int_equal(unlink("x.t"), 0);
	assert_int_equal(scan_reread(&repo, find(&scan, "x.t"), &data, &fail), FAIL_NO);
	scan_release(&scan);
	repo_close(&repo);
	bytes_release(&data);
}

/* ---- a tree that others work on
 * -------------------------------------------------------------------- */

struct peer {
	pthread_t thread;
	int stop;	      /* atomic */
	unsigned long rounds; /* atomic */
};

static unsigned long peer_rounds(const struct peer *peer)
{
	return __atomic_load_n(&peer->rounds, __ATOMIC_RELAXED);
}

static bool peer_goes_on(struct peer *peer)
{
	__atomic_add_fetch(&peer->rounds, 1, __ATOMIC_RELAXED);
	return !__atomic_load_n(&peer->stop, __ATOMIC_RELAXED);
}

/* Swaps a directory for a symlink to one outside, and back. */
static void *swap_directory(void *arg)
{
	struct peer *peer = arg;

	while (peer_goes_on(peer)) {
		if (rename("dir", ".git/parked") < 0 || symlink("../outside", "dir") < 0 ||
		    unlink("dir") < 0 || rename(".git/parked", "dir") < 0)
			abort();
	}
	return NULL;
}

static void *swap_file(void *arg)
{
	struct peer *peer = arg;

	while (peer_goes_on(peer)) {
		if (symlink("../outside/a", ".git/link") < 0 || rename(".git/link", "keep") < 0 ||
		    symlink("x", ".git/x") < 0 || unlink(".git/x") < 0)
			abort();
		put(".git/file", "changing\n");
		if (rename(".git/file", "keep") < 0)
			abort();
		unlink("keep");
		mkfifo("keep", 0666);
		unlink("keep");
	}
	return NULL;
}

static void under(void *(*act)(void *), int rounds)
{
	struct peer peer = {0};
	struct oid secret;
	struct fail fail = FAIL_INIT;
	unsigned seen = 0;

	make_repo(NULL);
	put("../outside/a", "secret\n");
	put("../outside/b", "secret\n");
	put("../outside/extra", "secret\n");
	object_id(HASH_SHA1, OBJECT_BLOB, "secret\n", 7, &secret);
	alarm(120);
	assert_int_equal(pthread_create(&peer.thread, NULL, act, &peer), 0);
	/* On a busy machine it takes more rounds until the peer gets between. */
	for (int i = 0; i < rounds || !seen || peer_rounds(&peer) <= 10; i++) {
		struct scan scan;

		assert_ok(scan_paths(&scan, &fail, 0, NULL), fail);
		for (size_t k = 0; k < scan.change_count; k++)
			assert_false(oid_equal(&scan.changes[k].oid, &secret));
		seen += scan.change_count > 0;
		scan_release(&scan);
	}
	__atomic_store_n(&peer.stop, 1, __ATOMIC_RELAXED);
	pthread_join(peer.thread, NULL);
	alarm(0);
	repo_close(&repo);
}

static void test_nothing_outside_is_read(UNUSED void **state)
{
	under(swap_directory, 300);
	under(swap_file, 300);
}

static void count_seen(void *arg, uint64_t seen)
{
	uint64_t *last = arg;

	assert_true(seen >= *last);
	*last = seen;
}

static void test_progress(UNUSED void **state)
{
	struct scan_options options = {.progress = count_seen};
	struct fail fail = FAIL_INIT;
	uint64_t last = 0;
	struct scan scan;

	make_repo(NULL);
	options.progress_arg = &last;
	for (int i = 0; i < 600; i++) {
		char path[32];

		snprintf(path, sizeof(path), "d%d/f%d", i % 20, i);
		put(path, "");
	}
	assert_ok(scan_run(&repo, &options, &scan, &fail), fail);
	assert_int_equal(scan.files_seen, 606);
	assert_true(last >= 256 && last <= 606);
	scan_release(&scan);
	repo_close(&repo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_every_kind_of_change),
		cmocka_unit_test(test_touched_is_no_change),
		cmocka_unit_test(test_same_second_same_size),
		cmocka_unit_test(test_file_and_directory_swaps),
		cmocka_unit_test(test_a_directory_that_is_now_a_symlink),
		cmocka_unit_test(test_intent_to_add),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_assume_unchanged_is_not_looked_at),
		cmocka_unit_test(test_file_mode_off),
		cmocka_unit_test(test_ignore_rules),
		cmocka_unit_test(test_a_symlink_gives_no_ignore_rules),
		cmocka_unit_test(test_odd_names),
		cmocka_unit_test(test_many_names),
		cmocka_unit_test(test_conversion_by_attributes),
		cmocka_unit_test(test_conversion_by_autocrlf),
		cmocka_unit_test(test_a_removed_gitattributes),
		cmocka_unit_test(test_rows_of_attributes),
		cmocka_unit_test(test_a_filter_without_a_driver),
		cmocka_unit_test(test_rows_of_names),
		cmocka_unit_test(test_rows_of_repositories),
		cmocka_unit_test(test_submodules),
		cmocka_unit_test(test_special_files_are_listed),
		cmocka_unit_test(test_large_files),
		cmocka_unit_test(test_contents_stay_within_their_budget),
		cmocka_unit_test(test_unreadable_is_kept_and_listed),
		cmocka_unit_test(test_named_paths),
		cmocka_unit_test(test_a_named_path_that_changed_its_kind),
		cmocka_unit_test(test_named_paths_that_lead_away),
		cmocka_unit_test(test_overlapping_names),
		cmocka_unit_test(test_reread),
		cmocka_unit_test(test_nothing_outside_is_read),
		cmocka_unit_test(test_progress),
	};

	return cmocka_run_group_tests_name("scan", tests, set_up, tear_down);
}
