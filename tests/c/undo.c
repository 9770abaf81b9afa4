/* SPDX-License-Identifier: BSD-3-Clause */
/* A run that fails undoes exactly what was finished, in order; all sets of failing units of small tasks are tried. */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MAX_UNITS = 8, BASE = 100, ERROR = 1000 };

enum state { UNTOUCHED, FINISHED, FAILED, UNDONE };

static _Atomic enum state state[MAX_UNITS];
static unsigned failing;   /* a bit for each unit */
static atomic_uint errors; /* of the units whose chunks have failed */
static pthread_t caller;
static size_t undo_from; /* nothing below is undone from now on */
static size_t nr_undo_calls;

static size_t unit(void *position)
{
	return (uintptr_t)position - BASE;
}

static int finish_or_fail(void *start, void *end, void *arg)
{
	unsigned bad = 0;

	(void)arg;
	sched_yield();
	for (size_t i = unit(start); i < unit(end); i++)
		bad |= failing & 1u << i;
	for (size_t i = unit(start); i < unit(end); i++) {
		CHECK(state[i] == UNTOUCHED);
		state[i] = bad ? FAILED : FINISHED;
	}
	if (!bad)
		return KTASK_RETURN_SUCCESS;
	atomic_fetch_or(&errors, 1u << unit(start));
	return ERROR + (int)unit(start);
}

static void undo(void *start, void *end, void *arg)
{
	CHECK(arg == state);
	CHECK(pthread_equal(pthread_self(), caller));
	CHECK(unit(start) >= undo_from && start < end);
	for (size_t i = unit(start); i < unit(end); i++) {
		CHECK(state[i] == FINISHED);
		state[i] = UNDONE;
	}
	undo_from = unit(end);
	nr_undo_calls++;
}

static void *step(void *position, size_t size)
{
	return AT((uintptr_t)position + size);
}

static void try(size_t nr_units, size_t first_node, struct ktask_ctl *ctl)
{
	struct ktask_node nodes[3] = { { AT(BASE), first_node, NUMA_NO_NODE },
				       { AT(BASE + first_node), 0, NUMA_NO_NODE },
				       { AT(BASE + first_node), nr_units - first_node, 0 } };
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	int error;

	ktask_ctl_set_report(ctl, &report);
	for (size_t i = 0; i < nr_units; i++)
		state[i] = UNTOUCHED;
	errors = 0;
	undo_from = 0;
	nr_undo_calls = 0;
	error = ktask_run_numa(nodes, 3, ctl);
	CHECK(failing ? error >= ERROR && errors & 1u << (error - ERROR) : error == 0);
	for (size_t i = 0; i < nr_units; i++)
		CHECK(failing ? state[i] != FINISHED : state[i] == FINISHED);
	CHECK(failing || nr_undo_calls == 0);
	CHECK(report.kr_undone == nr_undo_calls);
}

static void all_failures(void)
{
	size_t max = (size_t)rounds(MAX_UNITS, 4);

	caller = pthread_self();
	for (size_t n = 1; n <= max; n++)
		for (failing = 0; failing < 1u << n; failing++)
			for (size_t variant = 0; variant < 16; variant++) {
				DEFINE_KTASK_CTL(ctl, finish_or_fail, state, variant / 8 + 1);

				ktask_ctl_set_undo_func(&ctl, undo);
				ktask_ctl_set_max_threads(&ctl, variant % 4);
				if (variant & 4)
					ktask_ctl_set_iter_func(&ctl, step);
				try(n, n / (variant % 3 + 1), &ctl);
			}
}

/* Without an undo function there is nothing to call, and the error is the same. */
static void no_undo_function(void)
{
	DEFINE_KTASK_CTL(ctl, finish_or_fail, NULL, 1);

	failing = 1u << 3;
	memset((void *)state, 0, sizeof(state));
	errors = 0;
	CHECK(ktask_run(AT(BASE), MAX_UNITS, &ctl) == ERROR + 3 || errors != 1u << 3);
}

static void all(void)
{
	all_failures();
	no_undo_function();
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
