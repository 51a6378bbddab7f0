/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* progress, with a clock that the test moves, into a pipe that it reads. */
#include "prelude.h"

#include "progress.h"

#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t now;

static int64_t test_clock(void)
{
	return now;
}

struct scene {
	struct progress progress;
	int pipe[2];
};

static int scene_setup(void **state)
{
	struct scene *scene = mem_zalloc(sizeof(*scene));
	struct fail fail = FAIL_INIT;

	unsetenv("GIT_PROGRESS_DELAY");
	if (pipe2(scene->pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    progress_init(&scene->progress, PROGRESS_ALWAYS, false, &fail) < 0)
		return -1;
	scene->progress.fd = scene->pipe[1];
	scene->progress.clock = test_clock;
	now = 5000;
	*state = scene;
	return 0;
}

static int scene_teardown(void **state)
{
	struct scene *scene = *state;

	progress_end(&scene->progress);
	close(scene->pipe[0]);
	close(scene->pipe[1]);
	free(scene);
	return 0;
}

static void assert_wrote(struct scene *scene, const char *expected)
{
	char text[1024];
	ssize_t n = read(scene->pipe[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static void short_work_shows_nothing(void **state)
{
	struct scene *scene = *state;

	progress_begin(&scene->progress, "Scanning files", 0);
	progress_update(&scene->progress, 1);
	now += 999;
	progress_update(&scene->progress, 2);
	progress_end(&scene->progress);
	assert_wrote(scene, "");
}

static void long_work_shows_a_line_and_ends_it(void **state)
{
	struct scene *scene = *state;

	progress_begin(&scene->progress, "Scanning files", 0);
	now += 1000;
	progress_update(&scene->progress, 12345);
	assert_wrote(scene, "Scanning files: 12345\r");
	progress_update(&scene->progress, 12346);
	now += 249;
	progress_update(&scene->progress, 12347);
	assert_wrote(scene, "");
	now += 1;
	progress_update(&scene->progress, 12348);
	assert_wrote(scene, "Scanning files: 12348\r");
	progress_update(&scene->progress, 20000);
	progress_end(&scene->progress);
	assert_wrote(scene, "Scanning files: 20000, done.\n");
	progress_end(&scene->progress);
	assert_wrote(scene, "");
}

static void a_total_gives_a_percentage(void **state)
{
	struct scene *scene = *state;

	progress_begin(&scene->progress, "Writing objects", 50);
	now += 1000;
	progress_update(&scene->progress, 21);
	assert_wrote(scene, "Writing objects:  42% (21/50)\r");
	progress_update(&scene->progress, 50);
	progress_end(&scene->progress);
	assert_wrote(scene, "Writing objects: 100% (50/50), done.\n");
}

static void a_shorter_line_covers_the_longer_one(void **state)
{
	struct scene *scene = *state;

	progress_begin(&scene->progress, "Files", 0);
	now += 1000;
	progress_update(&scene->progress, 1000);
	now += 250;
	progress_update(&scene->progress, 7);
	assert_wrote(scene, "Files: 1000\rFiles: 7   \r");
}

static void clear_makes_room_for_a_message(void **state)
{
	struct scene *scene = *state;

	progress_clear(&scene->progress);
	progress_begin(&scene->progress, "Files", 0);
	progress_clear(&scene->progress);
	assert_wrote(scene, "");
	now += 1000;
	progress_update(&scene->progress, 12);
	progress_clear(&scene->progress);
	progress_clear(&scene->progress);
	assert_wrote(scene, "Files: 12\r         \r");
	now += 250;
	progress_update(&scene->progress, 13);
	progress_abort(&scene->progress);
	assert_wrote(scene, "Files: 13\r         \r");
	progress_update(&scene->progress, 14);
	progress_end(&scene->progress);
	assert_wrote(scene, "");
}

static void each_phase_has_its_own_delay(void **state)
{
	struct scene *scene = *state;

	progress_begin(&scene->progress, "One", 0);
	now += 1000;
	progress_update(&scene->progress, 1);
	progress_begin(&scene->progress, "Two", 0);
	progress_update(&scene->progress, 2);
	progress_end(&scene->progress);
	assert_wrote(scene, "One: 1\rOne: 1, done.\n");
}

static void a_closed_stderr_is_survived(void **state)
{
	struct scene *scene = *state;

	scene->progress.fd = -1;
	progress_begin(&scene->progress, "Files", 0);
	now += 1000;
	progress_update(&scene->progress, 1);
	progress_end(&scene->progress);
}

static void the_delay_can_be_set(void **state)
{
	struct scene *scene = *state;
	struct fail fail = FAIL_INIT;

	setenv("GIT_PROGRESS_DELAY", "0", 1);
	assert_int_equal(progress_init(&scene->progress, PROGRESS_ALWAYS, false, &fail), 0);
	assert_int_equal(scene->progress.delay, 0);
	setenv("GIT_PROGRESS_DELAY", "soon", 1);
	assert_int_equal(progress_init(&scene->progress, PROGRESS_ALWAYS, false, &fail),
			 FAIL_USAGE);
	assert_non_null(strstr(fail.message, "GIT_PROGRESS_DELAY"));
	unsetenv("GIT_PROGRESS_DELAY");
}

static bool wanted(enum progress_when when, bool quiet)
{
	struct progress progress;
	struct fail fail = FAIL_INIT;

	assert_int_equal(progress_init(&progress, when, quiet, &fail), 0);
	return progress.wanted;
}

/* Stderr is made a pipe, then a terminal. */
static void who_asked_decides(void **state)
{
	struct scene *scene = *state;
	int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10), main_end, terminal;
	bool pipe_auto, pipe_always, tty_auto, tty_quiet, tty_never, tty_forced;

	assert_int_equal(openpty(&main_end, &terminal, NULL, NULL, NULL), 0);
	dup2(scene->pipe[1], STDERR_FILENO);
	pipe_auto = wanted(PROGRESS_AUTO, false);
	pipe_always = wanted(PROGRESS_ALWAYS, false);
	dup2(terminal, STDERR_FILENO);
	tty_auto = wanted(PROGRESS_AUTO, false);
	tty_quiet = wanted(PROGRESS_AUTO, true);
	tty_never = wanted(PROGRESS_NEVER, false);
	tty_forced = wanted(PROGRESS_ALWAYS, true);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(main_end);
	close(terminal);
	assert_false(pipe_auto);
	assert_true(pipe_always);
	assert_true(tty_auto);
	assert_false(tty_quiet);
	assert_false(tty_never);
	assert_true(tty_forced);
}

static void unwanted_progress_is_silent(void **state)
{
	struct scene *scene = *state;

	scene->progress.wanted = false;
	progress_begin(&scene->progress, "Files", 0);
	now += 5000;
	progress_update(&scene->progress, 1);
	progress_end(&scene->progress);
	assert_wrote(scene, "");
}

#define SCENE_TEST(function) cmocka_unit_test_setup_teardown(function, scene_setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(short_work_shows_nothing),
		SCENE_TEST(long_work_shows_a_line_and_ends_it),
		SCENE_TEST(a_total_gives_a_percentage),
		SCENE_TEST(a_shorter_line_covers_the_longer_one),
		SCENE_TEST(clear_makes_room_for_a_message),
		SCENE_TEST(each_phase_has_its_own_delay),
		SCENE_TEST(a_closed_stderr_is_survived),
		SCENE_TEST(the_delay_can_be_set),
		SCENE_TEST(who_asked_decides),
		SCENE_TEST(unwanted_progress_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
