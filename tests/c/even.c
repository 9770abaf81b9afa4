/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs find out whether units cost about the same, and those that do go in fewer chunks. All waits are for that to happen:
 * a single run may see a neighbour, or no helper.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/chunk.h"

enum { UNITS = 1024 };

static const char work;
static volatile double sink; /* what could be stored here cannot be left out */

static void divide(uintptr_t times)
{
	double x = 1;

	for (uintptr_t i = 1; i <= times; i++)
		x += 1.0 / (double)i;
	if (x < 0)
		sink = x;
}

static int even(void *start, void *end, void *arg)
{
	(void)arg;
	divide(8 * ((uintptr_t)end - (uintptr_t)start));
	return KTASK_RETURN_SUCCESS;
}

/* As much in all, nearly everything in the first quarter: whoever begins does the most. */
static int steep(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		divide(i < UNITS / 4 ? 29 : 1);
	return KTASK_RETURN_SUCCESS;
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
	while (cost_recall(&work).even != is_even)
		run(is_even ? even : steep);
}

int main(void)
{
	setenv("KTASK_RETREAT", "off", 1); /* whoever else is on the CPUs: now and then both threads run */
	if (ktask_max_threads() == 1)
		return SKIPPED;
	CHECK(!cost_recall(&work).even);
	until_known_as(true);
	until_known_as(false);
	until_known_as(true);

	/* Two batches: three eighths each, and the rest. By the rule for all other work there are more than seven. */
	for (struct ktask_report r = run(even); r.kr_threads != 2 || r.kr_chunks > 6; r = run(even))
		;
	return 0;
}
