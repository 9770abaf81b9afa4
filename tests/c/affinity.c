/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that may use one CPU only runs alone, and keeps nobody else from having helpers. What it may use can change at
 * any time.
 */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

static int nothing(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	return KTASK_RETURN_SUCCESS;
}

/* A task of few units of a kind never seen before calls helpers at once, if there are any. */
static unsigned helpers_called(const void *identity)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);

	ktask_ctl_set_identity(&ctl, identity);
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(AT(0), 16, &ctl) == KTASK_RETURN_SUCCESS);
	return report.kr_called;
}

static cpu_set_t all, one;

static void confine(const cpu_set_t *set)
{
	CHECK(sched_setaffinity(0, sizeof(*set), set) == 0);
}

static const char identities[1000];

/* A thread of its own: for one it has just worked for, a helper that is still awake does not look again. */
static void *confined_thread(void *unused)
{
	confine(&one);
	CHECK(helpers_called(&identities[1]) == 0);
	return unused;
}

static void first_run_confined(void)
{
	pthread_t thread;

	confine(&one);
	CHECK(helpers_called(&identities[0]) == 0);
	confine(&all);
	/* One that cannot be had at this moment can be sooner or later, or the test takes too long. */
	for (size_t i = 2; helpers_called(&identities[i]) == 0; i = i + 1 < sizeof(identities) ? i + 1 : 2)
		;
	CHECK(pthread_create(&thread, NULL, confined_thread, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

/* The first run that could use helpers is that of a confined thread, but not the first of all. */
static void second_run_confined(void)
{
	DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);

	CHECK(ktask_run(AT(0), 1, &ctl) == KTASK_RETURN_SUCCESS);
	first_run_confined();
}

/* While the caller is at work, another thread changes where it may run, again and again. */
static pthread_t runner;
static atomic_bool over;

static void *keep_changing(void *unused)
{
	while (!over) {
		CHECK(pthread_setaffinity_np(runner, sizeof(one), &one) == 0);
		sched_yield();
		CHECK(pthread_setaffinity_np(runner, sizeof(all), &all) == 0);
		sched_yield();
	}
	return unused;
}

static int count(void *start, void *end, void *n)
{
	sched_yield();
	atomic_fetch_add((atomic_size_t *)n, (uintptr_t)end - (uintptr_t)start);
	return KTASK_RETURN_SUCCESS;
}

static void changed_in_mid_run(void)
{
	pthread_t thread;

	runner = pthread_self();
	CHECK(pthread_create(&thread, NULL, keep_changing, NULL) == 0);
	for (int i = 0; i < rounds(500, 20); i++) {
		atomic_size_t n = 0;
		DEFINE_KTASK_CTL(ctl, count, &n, 1);

		CHECK(ktask_run(AT(0), 200, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(n == 200);
	}
	over = true;
	CHECK(pthread_join(thread, NULL) == 0);
}

int main(void)
{
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	if (CPU_COUNT(&all) < 2)
		return SKIPPED;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	in_child(first_run_confined);
	in_child(second_run_confined);
	in_child(changed_in_mid_run);
	use_helpers(3);
	in_child(changed_in_mid_run);
	return 0;
}
