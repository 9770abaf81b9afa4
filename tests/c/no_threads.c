/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the system refuses threads, runs go on with those there are, down to none. The library is linked so that its
 * pthread_create is the one below.
 */
#include "check.h"
#include "ktask.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { UNITS = 100, ERROR = 6 };

static atomic_int nr_attempts;
static int nr_allowed;
static atomic_int done[UNITS];

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*func)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*func)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*func)(void *), void *arg)
{
	if (atomic_fetch_add(&nr_attempts, 1) >= nr_allowed)
		return EAGAIN;
	return __real_pthread_create(thread, attr, func, arg);
}

static int work(void *start, void *end, void *fails)
{
	sched_yield();
	if (fails && start <= AT(UNITS / 2) && end > AT(UNITS / 2))
		return ERROR;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add(&done[i], 1);
	return KTASK_RETURN_SUCCESS;
}

static void undo(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_sub(&done[i], 1);
}

static void all(void)
{
	CHECK(ktask_init() == 0);
	for (int i = 0; i < rounds(200, 10); i++) {
		void *fails = i % 4 == 3 ? &nr_allowed : NULL;
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		DEFINE_KTASK_CTL(ctl, work, fails, 1);

		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_report(&ctl, &report);
		CHECK(ktask_run(AT(0), UNITS, &ctl) == (fails ? ERROR : 0));
		CHECK((int)report.kr_threads <= nr_allowed + 1);
		for (int j = 0; j < UNITS; j++)
			CHECK(atomic_exchange(&done[j], 0) == !fails);
	}
	CHECK(nr_attempts > 0);
}

int main(void)
{
	use_helpers(7);
	for (nr_allowed = 0; nr_allowed < 9; nr_allowed++)
		in_child(all);
	return 0;
}
