/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs find out whether units cost about the same, and those that do go in fewer chunks. All waits are for that to happen:
 * a single run may see a neighbour, or no helper.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/chunk.h"

#include <time.h>

enum { UNITS = 1024, RUN_NS = 30000 };

static const char work;
#define NAME cost_name(&work, false)
static uintptr_t times;	     /* divisions that take as long as a unit is to take */
static volatile double sink; /* what could be stored here cannot be left out */

static void divide(uintptr_t n)
{
	double x = 1;

	for (uintptr_t i = 1; i <= n; i++)
		x += 1.0 / (double)i;
	if (x < 0)
		sink = x;
}

static int even(void *start, void *end, void *arg)
{
	(void)arg;
	divide(times * ((uintptr_t)end - (uintptr_t)start));
	return KTASK_RETURN_SUCCESS;
}

/* As much in all, nearly everything in the first quarter: whoever begins does the most. */
static int steep(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		divide(i < UNITS / 4 ? 4 * times : times / 8);
	return KTASK_RETURN_SUCCESS;
}

static void calibrate(void)
{
	struct timespec begin, end;
	double best = 1e9;

	for (int i = 0; i < 20; i++) {
		double ns;

		clock_gettime(CLOCK_MONOTONIC, &begin);
		divide(10000);
		clock_gettime(CLOCK_MONOTONIC, &end);
		ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
		best = ns < best ? ns : best;
	}
	times = (uintptr_t)(RUN_NS / (best / 10000) / UNITS) + 1;
}

static struct ktask_report run(ktask_thread_func func)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, func, NULL, 1);

	ktask_ctl_set_identity(&ctl, &work);
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(NULL, UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	return report;
}

static void until_known_as(bool is_even)
{
	while (!(cost_recall(NAME).flags & COST_EVEN) == is_even)
		run(is_even ? even : steep);
}

static size_t first; /* units in the first chunk of a run */

static int noting_the_first(void *start, void *end, void *arg)
{
	if (!start)
		first = (size_t)(uintptr_t)end;
	return even(start, end, arg);
}

/* Also with a helper awake, and when units were even lately: a cost that may be another this time is no measure of a batch. */
static void what_varies_begins_small(void)
{
	const struct cost varies = { 1e9,
				     COST_VARIES | COST_EVEN }; /* what is remembered differs from it, so it is news */

	for (bool called = false; !called;) {
		struct cost cost;

		run(even);
		cost = cost_recall(NAME);
		cost.flags |= COST_VARIES | COST_EVEN;
		cost_remember(NAME, cost, varies);
		called = run(noting_the_first).kr_called > 0 && cost_recall(NAME).flags & COST_VARIES;
		CHECK(first <= UNITS / 16);
	}
}

int main(void)
{
	setenv("KTASK_RETREAT", "off", 1); /* whoever else is on the CPUs: now and then both threads run */
	if (ktask_max_threads() == 1)
		return SKIPPED;
	calibrate();
	CHECK(!(cost_recall(NAME).flags & COST_EVEN));
	until_known_as(true);
	until_known_as(false);
	until_known_as(true);
	/* Two batches: seven sixteenths each, and what is left. By the rule for other work it is more. */
	for (struct ktask_report r = run(even); r.kr_threads != 2 || r.kr_chunks > 6; r = run(even))
		;
	what_varies_begins_small();
	return 0;
}
