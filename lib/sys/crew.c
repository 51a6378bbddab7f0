/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
#include "crew.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#define SIZE_LIMIT 16

struct hand {
	struct crew *crew;
	pthread_t thread;
	unsigned number;
};

struct crew {
	pthread_mutex_t mutex; /* guards everything below it */
	pthread_cond_t change; /* a job came, or the last one ended */
	void **jobs;
	size_t count, cap;
	unsigned size;
	unsigned started; /* threads, the caller's own not counted */
	unsigned idle;	  /* of them, and of the caller, those that wait */
	unsigned busy;
	unsigned alone; /* jobs that the caller still does without help */
	bool running, quit, no_more_threads;
	crew_job *run;
	struct hand hands[SIZE_LIMIT];
};

static unsigned processors(void)
{
	cpu_set_t set;
	int n;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	n = CPU_COUNT(&set);
	return n < 1 ? 1 : (unsigned)n;
}

struct crew *crew_new(unsigned size, crew_job *run)
{
	struct crew *crew = mem_zalloc(sizeof(*crew));

	pthread_mutex_init(&crew->mutex, NULL);
	pthread_cond_init(&crew->change, NULL);
	crew->size = size ? size : processors();
	if (crew->size > SIZE_LIMIT)
		crew->size = SIZE_LIMIT;
	crew->run = run;
	return crew;
}

void crew_begin_alone(struct crew *crew, unsigned jobs)
{
	crew->alone = jobs;
}

unsigned crew_size(const struct crew *crew)
{
	return crew->size;
}

/* Called and left with the mutex held. */
static void do_one(struct crew *crew, unsigned worker)
{
	void *job = crew->jobs[--crew->count];

	crew->busy++;
	crew->alone -= crew->alone > 0;
	pthread_mutex_unlock(&crew->mutex);
	crew->run(crew, worker, job);
	pthread_mutex_lock(&crew->mutex);
	crew->busy--;
	if (!crew->busy && !crew->count)
		pthread_cond_broadcast(&crew->change);
}

static void wait_for_change(struct crew *crew)
{
	crew->idle++;
	pthread_cond_wait(&crew->change, &crew->mutex);
	crew->idle--;
}

static void *hand_main(void *arg)
{
	struct hand *hand = arg;
	struct crew *crew = hand->crew;

	pthread_mutex_lock(&crew->mutex);
	while (!crew->quit) {
		if (crew->running && crew->count)
			do_one(crew, hand->number);
		else
			wait_for_change(crew);
	}
	pthread_mutex_unlock(&crew->mutex);
	return NULL;
}

/* With the mutex held: one more thread when there are jobs for it. */
static void start_one(struct crew *crew)
{
	struct hand *hand;
	sigset_t all, old;
	int err;

	if (crew->alone || crew->no_more_threads || crew->started + 1 >= crew->size)
		return;
	hand = &crew->hands[crew->started];
	hand->crew = crew;
	hand->number = crew->started + 1;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&hand->thread, NULL, hand_main, hand);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		crew->no_more_threads = true;
	else
		crew->started++;
}

void crew_add(struct crew *crew, void *job)
{
	pthread_mutex_lock(&crew->mutex);
	MEM_GROW(crew->jobs, crew->cap, crew->count + 1);
	crew->jobs[crew->count++] = job;
	if (crew->running && crew->idle)
		pthread_cond_signal(&crew->change);
	else if (crew->running && crew->count > 1)
		start_one(crew);
	pthread_mutex_unlock(&crew->mutex);
}

void crew_run(struct crew *crew)
{
	pthread_mutex_lock(&crew->mutex);
	crew->running = true;
	if (crew->idle && crew->count > 1)
		pthread_cond_broadcast(&crew->change);
	for (size_t n = crew->started + 1; n < crew->count && n < crew->size; n++)
		start_one(crew);
	while (crew->count || crew->busy) {
		if (crew->count)
			do_one(crew, 0);
		else
			wait_for_change(crew);
	}
	crew->running = false;
	pthread_mutex_unlock(&crew->mutex);
}

void crew_free(struct crew *crew)
{
	if (!crew)
		return;
	pthread_mutex_lock(&crew->mutex);
	crew->quit = true;
	pthread_cond_broadcast(&crew->change);
	pthread_mutex_unlock(&crew->mutex);
	for (unsigned i = 0; i < crew->started; i++)
		pthread_join(crew->hands[i].thread, NULL);
	pthread_cond_destroy(&crew->change);
	pthread_mutex_destroy(&crew->mutex);
	free(crew->jobs);
	free(crew);
}
