/* SPDX-License-Identifier: BSD-3-Clause */
/* battery.h: runs of all kinds, whose outcomes are checked to the unit, for a machine where something does not work. */
#ifndef BATTERY_H
#define BATTERY_H

#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <stdatomic.h>

enum { BATTERY_UNITS = 60, BATTERY_ERROR = 6 };

struct battery {
	int fails_at; /* -1: nowhere */
	int nests;
	atomic_int done[BATTERY_UNITS];
};

static inline int battery_count(void *start, void *end, void *n)
{
	atomic_fetch_add((atomic_int *)n, (int)((uintptr_t)end - (uintptr_t)start));
	return KTASK_RETURN_SUCCESS;
}

static inline int battery_work(void *start, void *end, void *arg)
{
	struct battery *b = arg;

	sched_yield();
	if (b->fails_at >= 0 && start <= AT(b->fails_at) && end > AT(b->fails_at))
		return BATTERY_ERROR;
	if (b->nests) {
		atomic_int n = 0;
		DEFINE_KTASK_CTL(ctl, battery_count, &n, 1);

		CHECK(ktask_run(AT(0), 10, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(n == 10);
	}
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add(&b->done[i], 1);
	return KTASK_RETURN_SUCCESS;
}

static inline void battery_undo(void *start, void *end, void *arg)
{
	struct battery *b = arg;

	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_sub(&b->done[i], 1);
}

static inline void *battery_step(void *position, size_t size)
{
	return AT((uintptr_t)position + size);
}

/* Returns how many threads took part at most. */
static inline unsigned run_battery(int nr_rounds)
{
	unsigned threads = 0;

	for (int i = 0; i < nr_rounds; i++) {
		struct battery b = { .fails_at = i % 4 == 3 ? i % BATTERY_UNITS : -1, .nests = i % 3 == 2 };
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		DEFINE_KTASK_CTL(ctl, battery_work, &b, 1);

		ktask_ctl_set_undo_func(&ctl, battery_undo);
		ktask_ctl_set_report(&ctl, &report);
		if (i % 2)
			ktask_ctl_set_iter_func(&ctl, battery_step);
		CHECK(ktask_run(AT(0), BATTERY_UNITS, &ctl) == (b.fails_at < 0 ? 0 : BATTERY_ERROR));
		for (int j = 0; j < BATTERY_UNITS; j++)
			CHECK(b.done[j] == (b.fails_at < 0));
		if (threads < report.kr_threads)
			threads = report.kr_threads;
	}
	return threads;
}

#endif
