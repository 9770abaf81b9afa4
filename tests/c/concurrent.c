/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads run tasks at once: each gets its own result, and all together never have more helpers than allowed. */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { CALLERS = 8, UNITS = 50 };

static int helpers_allowed;
static atomic_int helpers_at_work;
static _Thread_local int is_caller;

struct task {
	int number;
	atomic_int sum, undone;
};

static int add(void *start, void *end, struct task *task)
{
	int error = KTASK_RETURN_SUCCESS;

	if (!is_caller)
		CHECK(atomic_fetch_add(&helpers_at_work, 1) < helpers_allowed);
	sched_yield();
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		if (task->number % 4 == 3 && i == UNITS / 2)
			error = task->number;
	if (!error)
		for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
			atomic_fetch_add(&task->sum, (int)i);
	if (!is_caller)
		atomic_fetch_sub(&helpers_at_work, 1);
	return error;
}

static void take_off(void *start, void *end, struct task *task)
{
	CHECK(is_caller);
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_sub(&task->sum, (int)i);
}

static void *call(void *arg)
{
	int first = *(int *)arg;

	is_caller = 1;
	for (int i = 0; i < rounds(400, 20); i++) {
		struct task task = { .number = first + i };
		DEFINE_KTASK_CTL(ctl, add, &task, 1);
		int error;

		ktask_ctl_set_undo_func(&ctl, take_off);
		error = ktask_run(AT(0), UNITS, &ctl);
		if (task.number % 4 == 3)
			CHECK(error == task.number && task.sum == 0);
		else
			CHECK(error == 0 && task.sum == UNITS * (UNITS - 1) / 2);
	}
	return NULL;
}

static void all(void)
{
	const char *helpers = getenv("KTASK_HELPERS");
	pthread_t thread[CALLERS];
	int first[CALLERS];

	helpers_allowed = helpers ? atoi(helpers) : (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
	for (int i = 0; i < CALLERS; i++) {
		first[i] = i * 1000;
		CHECK(pthread_create(&thread[i], NULL, call, &first[i]) == 0);
	}
	for (int i = 0; i < CALLERS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	CHECK(helpers_at_work == 0);
}

/* The very first runs, of parts that are on any node: some start the pool while others read what it takes. */
static void *first_run(void *unused)
{
	struct task task = { .number = 0 };
	struct ktask_node parts[] = {
		{ .kn_start = AT(0), .kn_task_size = UNITS / 2, .kn_nid = NUMA_NO_NODE },
		{ .kn_start = AT(UNITS / 2), .kn_task_size = UNITS - UNITS / 2, .kn_nid = NUMA_NO_NODE },
	};
	DEFINE_KTASK_CTL(ctl, add, &task, 1);

	is_caller = 1;
	CHECK(ktask_run_numa(parts, 2, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(task.sum == UNITS * (UNITS - 1) / 2);
	return unused;
}

static void first_runs(void)
{
	in_threads(CALLERS, first_run);
}

int main(void)
{
	with_each_setting(all);
	helpers_allowed = 2;
	use_helpers(helpers_allowed);
	for (int i = 0; i < rounds(40, 4); i++)
		in_child(first_runs);
	return 0;
}
