/* SPDX-License-Identifier: BSD-3-Clause */
/* The poll function: called by the caller while a run lasts, told the truth, and obeyed. */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

enum { UNITS = 100000, STOP = -4 };

static pthread_t caller;
static int nr_polls, stop_after;
static size_t last_done;
static atomic_bool polled_enough;
static atomic_uchar done_units[UNITS];
static atomic_size_t nr_done, nr_undone;
static uintptr_t undo_from;

static int look(size_t done, size_t total, void *arg)
{
	CHECK(arg == &nr_polls);
	CHECK(pthread_equal(pthread_self(), caller));
	CHECK(total == UNITS && done <= total && done >= last_done);
	/* All that is finished was given out; only what is given out may be finished. */
	CHECK(nr_done <= UNITS);
	last_done = done;
	if (++nr_polls < stop_after)
		return 0;
	polled_enough = true;
	return STOP;
}

static int work(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		CHECK(atomic_fetch_add(&done_units[i], 1) == 0);
	atomic_fetch_add(&nr_done, (uintptr_t)end - (uintptr_t)start);
	sched_yield();
	return KTASK_RETURN_SUCCESS;
}

/* The caller is still in a chunk, or waits, until it has been polled often enough. */
static int slow(void *start, void *end, void *arg)
{
	int error = work(start, end, arg);

	if (pthread_equal(pthread_self(), caller))
		nanosleep(&(struct timespec){ .tv_nsec = 25000000 }, NULL);
	else
		while (!polled_enough)
			sched_yield();
	return error;
}

static void undo(void *start, void *end, void *arg)
{
	(void)arg;
	CHECK(pthread_equal(pthread_self(), caller));
	CHECK((uintptr_t)start >= undo_from && start < end);
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		CHECK(atomic_fetch_sub(&done_units[i], 1) == 1);
	undo_from = (uintptr_t)end;
	atomic_fetch_add(&nr_undone, (uintptr_t)end - (uintptr_t)start);
}

static void begin(int stop)
{
	caller = pthread_self();
	nr_polls = 0;
	last_done = 0;
	stop_after = stop;
	polled_enough = false;
	nr_done = nr_undone = 0;
	undo_from = 0;
	memset((void *)done_units, 0, sizeof(done_units));
}

/* Chunks are so long that the caller polls after each. */
static void stops(void)
{
	for (size_t threads = 0; threads < 3; threads++) {
		DEFINE_KTASK_CTL(ctl, slow, NULL, UNITS / 20);

		begin(3);
		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_poll_func(&ctl, look, &nr_polls);
		ktask_ctl_set_max_threads(&ctl, threads);
		CHECK(ktask_run(AT(0), UNITS, &ctl) == STOP);
		CHECK(nr_polls == 3);
		CHECK(nr_done == nr_undone);
		for (size_t i = 0; i < UNITS; i++)
			CHECK(done_units[i] == 0);
	}
}

/*
 * The caller has nothing left to do and waits for a helper, whose chunk still lasts a while when the run is stopped:
 * nobody is polled again, and everything is undone.
 */
static atomic_bool helper_came;

static int long_helper(void *start, void *end, void *arg)
{
	int error = work(start, end, arg);

	if (pthread_equal(pthread_self(), caller)) {
		while (!helper_came)
			sched_yield();
	} else {
		helper_came = true;
		while (!polled_enough)
			sched_yield();
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	}
	return error;
}

static void stops_while_waiting(void)
{
	DEFINE_KTASK_CTL(ctl, long_helper, NULL, UNITS / 2);

	begin(4);
	helper_came = false;
	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_poll_func(&ctl, look, &nr_polls);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == STOP);
	CHECK(nr_polls == 4 && last_done == UNITS);
	CHECK(nr_done == UNITS && nr_undone == UNITS);
}

/* One that returns 0 changes nothing. */
static void goes_on(void)
{
	for (int i = 0; i < rounds(50, 5); i++) {
		DEFINE_KTASK_CTL(ctl, work, NULL, 1);

		begin(1 << 30);
		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_poll_func(&ctl, look, &nr_polls);
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(nr_done == UNITS && nr_undone == 0);
	}
}

static void all(void)
{
	stops();
	goes_on();
}

int main(void)
{
	with_each_setting(all);
	use_helpers(3);
	in_child(stops_while_waiting);
	return 0;
}
