/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "prelude.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 4

/* A job that stands for a tree of 2^depth leaves. */
struct node {
	unsigned depth;
};

static unsigned long leaves[WORKERS]; /* each worker counts for itself */

static struct node *node_new(unsigned depth)
{
	struct node *node = mem_alloc(sizeof(*node));

	node->depth = depth;
	return node;
}

static void grow(struct crew *crew, unsigned worker, void *job)
{
	struct node *node = job;

	assert_true(worker < crew_size(crew));
	if (!node->depth) {
		leaves[worker]++;
	} else {
		crew_add(crew, node_new(node->depth - 1));
		crew_add(crew, node_new(node->depth - 1));
	}
	free(node);
}

static unsigned long count_leaves(void)
{
	unsigned long total = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		total += leaves[i];
	memset(leaves, 0, sizeof(leaves));
	return total;
}

static void test_jobs_add_jobs_and_none_is_lost(UNUSED void **state)
{
	for (unsigned size = 1; size <= WORKERS; size++) {
		struct crew *crew = crew_new(size, grow);

		assert_int_equal(crew_size(crew), size);
		for (int round = 0; round < 50; round++) {
			for (unsigned i = 0; i < 3; i++)
				crew_add(crew, node_new(6));
			crew_run(crew);
			assert_int_equal(count_leaves(), 3 * 64);
		}
		crew_run(crew);
		assert_int_equal(count_leaves(), 0);
		crew_free(crew);
	}
}

static void only_the_caller(UNUSED struct crew *crew, unsigned worker, void *job)
{
	assert_int_equal(worker, 0);
	assert_true(pthread_equal(pthread_self(), *(pthread_t *)job));
}

static void test_a_crew_of_one_is_the_caller(UNUSED void **state)
{
	struct crew *crew = crew_new(1, only_the_caller);
	pthread_t self = pthread_self();

	for (int i = 0; i < 10; i++)
		crew_add(crew, &self);
	crew_run(crew);
	crew_free(crew);
}

static void meet(UNUSED struct crew *crew, UNUSED unsigned worker, void *job)
{
	pthread_barrier_wait(job);
}

/* Hangs, and dies of the alarm, when the jobs run one after the other. */
static void test_jobs_run_side_by_side(UNUSED void **state)
{
	struct crew *crew = crew_new(3, meet);
	pthread_barrier_t barrier;

	alarm(20);
	pthread_barrier_init(&barrier, NULL, 3);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 3; i++)
			crew_add(crew, &barrier);
		crew_run(crew);
	}
	pthread_barrier_destroy(&barrier);
	crew_free(crew);
	alarm(0);
}

/* The same when the jobs come from a job, as in a scan. */
static void meet_below(struct crew *crew, UNUSED unsigned worker, void *job)
{
	pthread_barrier_t **slot = job;

	if (*slot == NULL) {
		for (int i = 1; i <= 3; i++)
			crew_add(crew, slot + i);
		return;
	}
	pthread_barrier_wait(*slot);
}

static void test_added_jobs_run_side_by_side(UNUSED void **state)
{
	struct crew *crew = crew_new(3, meet_below);
	pthread_barrier_t barrier;
	pthread_barrier_t *slots[4] = {NULL, &barrier, &barrier, &barrier};

	alarm(20);
	pthread_barrier_init(&barrier, NULL, 3);
	for (int round = 0; round < 20; round++) {
		crew_add(crew, slots);
		crew_run(crew);
	}
	pthread_barrier_destroy(&barrier);
	crew_free(crew);
	alarm(0);
}

static void look_at_signals(UNUSED struct crew *crew, unsigned worker, void *job)
{
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	assert_int_equal(sigismember(&set, SIGTERM), worker ? 1 : 0);
	pthread_barrier_wait(job);
}

static void test_signals_stay_with_the_caller(UNUSED void **state)
{
	struct crew *crew = crew_new(2, look_at_signals);
	pthread_barrier_t barrier;

	alarm(20);
	pthread_barrier_init(&barrier, NULL, 2);
	crew_add(crew, &barrier);
	crew_add(crew, &barrier);
	crew_run(crew);
	pthread_barrier_destroy(&barrier);
	crew_free(crew);
	alarm(0);
}

static void test_unrun_jobs_and_null_can_be_freed(UNUSED void **state)
{
	struct crew *crew = crew_new(0, grow);

	assert_true(crew_size(crew) >= 1 && crew_size(crew) <= 16);
	crew_add(crew, NULL);
	crew_free(crew);
	crew_free(NULL);
}

static unsigned most_worker, jobs_seen;

static void see_worker(struct crew *crew, unsigned worker, void *job)
{
	unsigned left = (unsigned)(uintptr_t)job;

	jobs_seen++;
	most_worker = worker > most_worker ? worker : most_worker;
	/* Two at a time, as a directory adds its own: with one a thread is never wanted. */
	if (left >= 2) {
		crew_add(crew, (void *)(uintptr_t)1);
		crew_add(crew, (void *)(uintptr_t)(left - 2));
	}
}

static void test_begins_alone(UNUSED void **state)
{
	struct crew *crew = crew_new(WORKERS, see_worker);

	most_worker = jobs_seen = 0;
	crew_begin_alone(crew, 1000);
	crew_add(crew, (void *)(uintptr_t)100);
	crew_run(crew);
	assert_int_equal(most_worker, 0);
	assert_int_equal(jobs_seen, 101);
	crew_free(crew);

	/* And no longer than that. */
	crew = crew_new(WORKERS, grow);
	crew_begin_alone(crew, 10);
	crew_add(crew, node_new(14));
	crew_run(crew);
	assert_int_equal(count_leaves(), 1ul << 14);
	crew_free(crew);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jobs_add_jobs_and_none_is_lost),
		cmocka_unit_test(test_a_crew_of_one_is_the_caller),
		cmocka_unit_test(test_jobs_run_side_by_side),
		cmocka_unit_test(test_added_jobs_run_side_by_side),
		cmocka_unit_test(test_begins_alone),
		cmocka_unit_test(test_signals_stay_with_the_caller),
		cmocka_unit_test(test_unrun_jobs_and_null_can_be_freed),
	};

	return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
