/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Failures one after the other, in an order that the test dictates: the first is the result, later ones change nothing,
 * and no chunk begins after it. A helper that is gone has handed in its result: ktask_describe tells.
 */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { UNITS = 1000, HELPER_FAILS = 11, CALLER_FAILS = 22 };

static pthread_t caller;
static int caller_result;
static atomic_int nr_calls;
static atomic_bool caller_began, helper_began, helper_may_fail;
static uintptr_t caller_start, caller_end; /* its one finished chunk */
static int nr_undone;

static void wait_until_helpers_are_gone(void)
{
	char text[1 << 16];

	do {
		sched_yield();
		CHECK(ktask_describe(text, sizeof(text)) < sizeof(text));
	} while (!strstr(text, "\"running_helpers\": 0,"));
}

static void begin(void)
{
	caller = pthread_self();
	nr_calls = 0;
	caller_began = helper_began = helper_may_fail = false;
	caller_start = caller_end = 0;
	nr_undone = 0;
}

/* What the caller finished is all that ever is. */
static void undo(void *start, void *end, void *arg)
{
	(void)arg;
	CHECK(pthread_equal(pthread_self(), caller));
	CHECK(start == AT(caller_start) && end == AT(caller_end));
	nr_undone++;
}

/* The helper fails while the caller is in its first chunk, which then fails too, or not. */
static int during_a_chunk(void *start, void *end, void *arg)
{
	(void)arg;
	atomic_fetch_add(&nr_calls, 1);
	if (!pthread_equal(pthread_self(), caller)) {
		while (!caller_began)
			sched_yield();
		helper_began = true;
		return HELPER_FAILS;
	}
	caller_start = (uintptr_t)start;
	caller_end = (uintptr_t)end;
	caller_began = true;
	while (!helper_began)
		sched_yield();
	wait_until_helpers_are_gone();
	return caller_result;
}

static void check_during_a_chunk(int result)
{
	DEFINE_KTASK_CTL(ctl, during_a_chunk, NULL, UNITS / 8);

	begin();
	caller_result = result;
	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_max_threads(&ctl, 2);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == HELPER_FAILS);
	CHECK(nr_calls == 2);
	CHECK(nr_undone == (result ? 0 : 1));
}

/* The helper fails while the caller is claiming its second chunk: claimed, it is neither begun nor undone. */
static int before_a_claim(void *start, void *end, void *arg)
{
	(void)arg;
	atomic_fetch_add(&nr_calls, 1);
	if (!pthread_equal(pthread_self(), caller)) {
		helper_began = true;
		while (!helper_may_fail)
			sched_yield();
		return HELPER_FAILS;
	}
	CHECK(caller_end == 0);
	caller_start = (uintptr_t)start;
	caller_end = (uintptr_t)end;
	caller_began = true;
	while (!helper_began)
		sched_yield();
	return KTASK_RETURN_SUCCESS;
}

static void *during_a_claim(void *position, size_t size)
{
	if (pthread_equal(pthread_self(), caller) && caller_began) {
		helper_may_fail = true;
		wait_until_helpers_are_gone();
	}
	return AT((uintptr_t)position + size);
}

static void check_during_a_claim(void)
{
	DEFINE_KTASK_CTL(ctl, before_a_claim, NULL, UNITS / 8);

	begin();
	ktask_ctl_set_iter_func(&ctl, during_a_claim);
	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_max_threads(&ctl, 2);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == HELPER_FAILS);
	CHECK(nr_calls == 2);
	CHECK(nr_undone == 1);
}

int main(void)
{
	use_helpers(4); /* the one of the last run may not be back yet when the next one calls */
	for (int i = 0; i < rounds(500, 20); i++) {
		check_during_a_chunk(KTASK_RETURN_SUCCESS);
		check_during_a_chunk(CALLER_FAILS);
		check_during_a_claim();
	}
	return 0;
}
