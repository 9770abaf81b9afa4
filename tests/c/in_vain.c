/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helpers that do not shorten runs are not called for a while. Here that is so since the thread function does one unit at a
 * time, whichever thread has it; elsewhere a host may run two CPUs as one.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/clock.h"
#include "../../csrc/pool_private.h"
#include "../../csrc/retreat.h"

#include <stdatomic.h>

enum { UNITS = 16, UNIT_NS = 20000, MOST_RUNS = 3000 };

static atomic_flag busy = ATOMIC_FLAG_INIT;

static int one_at_a_time(void *start, void *end, void *unused)
{
	(void)unused;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++) {
		uint64_t begin;

		while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
			;
		begin = clock_ns();
		while (clock_ns() - begin < UNIT_NS)
			;
		atomic_flag_clear_explicit(&busy, memory_order_release);
	}
	return KTASK_RETURN_SUCCESS;
}

static void run(size_t max_threads)
{
	DEFINE_KTASK_CTL(ctl, one_at_a_time, NULL, 1);

	ktask_ctl_set_max_threads(&ctl, max_threads);
	CHECK(ktask_run(NULL, UNITS, &ctl) == 0);
}

/* Once or twice is chance, and so is what a run that paid lies between. */
static void three_in_succession(void)
{
	CHECK(!pool_in_vain() && !pool_in_vain());
	pool_paid();
	CHECK(!pool_in_vain() && !pool_in_vain());
	CHECK(retreat_pause_ns() == 0);
	CHECK(pool_in_vain());
	CHECK(retreat_pause_ns() > 0);
	CHECK(retreat_forbids(0));
	CHECK(!pool_in_vain());
	pool_paid();
}

/* And a run that took as long as without helpers counts, whatever else keeps them away: here nothing does. */
static void such_runs_count(void)
{
	unsigned n = 0;

	do {
		run(1);
		run(1);
		run(0);
	} while (atomic_load_explicit(&pool.in_vain, memory_order_relaxed) == 0 && ++n < MOST_RUNS);
	CHECK(n < MOST_RUNS);
}

static void apart(void (*scene)(void), const char *retreat)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		setenv("KTASK_RETREAT", retreat, 1);
		if (ktask_max_threads() < 2)
			_exit(SKIPPED);
		scene();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	if (WEXITSTATUS(status))
		exit(WEXITSTATUS(status));
}

int main(void)
{
	apart(three_in_succession, "on");
	apart(such_runs_count, "off");
	return 0;
}
