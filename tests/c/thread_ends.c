/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread function ends its thread, by pthread_exit() or cancellation. A helper's end fails the run, which is undone,
 * and another helper takes its place; a caller's end takes the helpers' with it.
 */
#include "check.h"
#include "ktask.h"
#include "library.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { UNITS = 64 };

static pthread_t caller;
static bool caller_ends, cancelled;
static atomic_int here, nr_left;
static atomic_bool ended;
static atomic_int state[UNITS];

static void count(void *n)
{
	atomic_fetch_add((atomic_int *)n, 1);
}

static void end_thread(void)
{
	pthread_cleanup_push(count, &nr_left);
	if (cancelled) {
		pthread_cancel(pthread_self());
		pthread_testcancel();
	} else {
		pthread_exit(NULL);
	}
	pthread_cleanup_pop(0);
}

/* The first two chunks are done by the caller and a helper at the same time; one of the two never ends. */
static int meet_and_end(void *start, void *end, void *arg)
{
	bool is_caller = pthread_equal(pthread_self(), caller);

	(void)arg;
	atomic_fetch_add(&here, 1);
	while (here < 2)
		sched_yield();
	if (is_caller == caller_ends && !atomic_exchange(&ended, true))
		end_thread();
	/* So that its end, and not the lack of work, is what the others meet. */
	while (!nr_left)
		sched_yield();
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		state[i] = 1;
	return KTASK_RETURN_SUCCESS;
}

static void undo(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++) {
		CHECK(state[i] == 1);
		state[i] = 0;
	}
}

static void begin(void)
{
	caller = pthread_self();
	here = nr_left = 0;
	ended = false;
	memset((void *)state, 0, sizeof(state));
}

static void a_helper(void)
{
	caller_ends = false;
	for (int i = 0; i < rounds(40, 5); i++) {
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		DEFINE_KTASK_CTL(ctl, meet_and_end, NULL, 1);

		begin();
		cancelled = i % 2;
		ktask_ctl_set_identity(&ctl, &state[i % UNITS]);
		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_report(&ctl, &report);
		CHECK(ktask_run(AT(0), UNITS, &ctl) == -ECANCELED);
		CHECK(report.kr_error_start < report.kr_error_end);
		for (int j = 0; j < UNITS; j++)
			CHECK(state[j] == 0);
		check_library();
	}
}

static void *call(void *unused)
{
	DEFINE_KTASK_CTL(ctl, meet_and_end, NULL, 1);

	begin();
	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_run(AT(0), UNITS, &ctl);
	CHECK(!"reached");
	return unused;
}

static void a_caller(void)
{
	caller_ends = true;
	for (int i = 0; i < rounds(40, 5); i++) {
		pthread_t thread;

		cancelled = i % 2;
		CHECK(pthread_create(&thread, NULL, call, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(nr_left == 1);
		check_library();
	}
}

int main(void)
{
	use_helpers(7);
	in_child(a_helper);
	in_child(a_caller);
	return 0;
}
