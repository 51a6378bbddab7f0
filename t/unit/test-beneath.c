/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include "sandbox.h"

#include "beneath.h"

#include <errno.h>
#include <fcntl.h>

typedef int opener(int root, const char *path, int flags);

/* Both ways, openat2(2) and by steps, must agree about everything. */
static opener *const openers[] = {beneath_open, beneath_open_steps};

static int root;

static int set_up(UNUSED void **state)
{
	FILE *f;

	sandbox_enter();
	assert_int_equal(mkdir("outside", 0777), 0);
	assert_int_equal(mkdir("top", 0777), 0);
	assert_int_equal(mkdir("top/a", 0777), 0);
	assert_int_equal(mkdir("top/a/b", 0777), 0);
	f = fopen("top/a/b/file", "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(symlink("b", "top/a/link"), 0);
	assert_int_equal(symlink("../outside", "top/out"), 0);
	assert_int_equal(symlink("b/file", "top/a/file-link"), 0);
	assert_int_equal(mkfifo("top/fifo", 0666), 0);
	root = open("top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	return 0;
}

static int tear_down(UNUSED void **state)
{
	close(root);
	sandbox_leave();
	return 0;
}

static void opens(const char *path, int flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(openers); i++) {
		int fd = openers[i](root, path, flags);

		if (fd < 0)
			fail_msg("%s by way %zu: %s", path, i, strerror(errno));
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		close(fd);
	}
}

static void refuses(const char *path, int flags, int err)
{
	for (size_t i = 0; i < ARRAY_SIZE(openers); i++) {
		int fd = openers[i](root, path, flags);
		int got = errno;

		assert_int_equal(fd, -1);
		if (got != err)
			fail_msg("%s by way %zu: %s", path, i, strerror(got));
	}
}

static void test_plain_names_open(UNUSED void **state)
{
	opens("", O_RDONLY | O_DIRECTORY);
	opens("", O_PATH | O_DIRECTORY);
	opens("a", O_RDONLY | O_DIRECTORY);
	opens("a/b/file", O_RDONLY);
	opens("a/b", O_PATH | O_DIRECTORY);
	opens("fifo", O_RDONLY);
	refuses("a/none", O_RDONLY, ENOENT);
	refuses("none/file", O_RDONLY, ENOENT);
	refuses("a/b/file/x", O_RDONLY, ENOTDIR);
	refuses("a/b/file", O_RDONLY | O_DIRECTORY, ENOTDIR);
}

static void test_no_symlink_is_followed(UNUSED void **state)
{
	refuses("a/file-link", O_RDONLY, ELOOP);
	refuses("a/link/file", O_RDONLY, ELOOP);
	refuses("out/x", O_RDONLY, ELOOP);
	refuses("out", O_RDONLY | O_DIRECTORY, ELOOP);
	refuses("out", O_PATH | O_DIRECTORY, ELOOP);
}

static void test_a_symlink_itself_can_be_had(UNUSED void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(openers); i++) {
		int fd = openers[i](root, "out", O_PATH);
		char target[32];

		assert_true(fd >= 0);
		assert_int_equal(readlinkat(fd, "", target, sizeof(target)), 10);
		assert_memory_equal(target, "../outside", 10);
		close(fd);
	}
}

static void test_nothing_leads_out(UNUSED void **state)
{
	char *path = mem_printf("%s/outside", sandbox_dir);

	for (size_t i = 0; i < ARRAY_SIZE(openers); i++) {
		assert_int_equal(openers[i](root, "../outside", O_RDONLY), -1);
		assert_int_equal(openers[i](root, "a/../../outside", O_RDONLY), -1);
		assert_int_equal(openers[i](root, path, O_RDONLY), -1);
		assert_int_equal(openers[i](root, "/", O_RDONLY), -1);
	}
	free(path);
}

static int descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_no_descriptor_stays_open(UNUSED void **state)
{
	int before = descriptors();

	opens("a/b/file", O_RDONLY);
	refuses("a/b/none", O_RDONLY, ENOENT);
	refuses("a/link/file", O_RDONLY, ELOOP);
	beneath_open_steps(root, "a/../b", O_RDONLY);
	assert_int_equal(descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_names_open),
		cmocka_unit_test(test_no_symlink_is_followed),
		cmocka_unit_test(test_a_symlink_itself_can_be_had),
		cmocka_unit_test(test_nothing_leads_out),
		cmocka_unit_test(test_no_descriptor_stays_open),
	};

	return cmocka_run_group_tests_name("beneath", tests, set_up, tear_down);
}
