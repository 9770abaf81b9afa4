/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that may use one CPU only runs alone, and keeps nobody else from having helpers. */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>

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

static const char identities[3];

/* A thread of its own: for one it has just worked for, a helper that is still awake does not look again. */
static void *confined_thread(void *unused)
{
	confine(&one);
	CHECK(helpers_called(&identities[2]) == 0);
	return unused;
}

static void first_run_confined(void)
{
	pthread_t thread;

	confine(&one);
	CHECK(helpers_called(&identities[0]) == 0);
	confine(&all);
	CHECK(helpers_called(&identities[1]) > 0);
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

int main(void)
{
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	if (CPU_COUNT(&all) < 2)
		return SKIPPED;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	in_child(first_run_confined);
	in_child(second_run_confined);
	return 0;
}
