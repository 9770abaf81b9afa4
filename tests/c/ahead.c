/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A run that is known to be over before a helper that sleeps could come is done before anything is prepared, in a few chunks. It
 * may turn out to be long, or fail in the middle: then it goes on like any other.
 */
#include "check.h"
#include "ktask.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "../../csrc/chunk.h"
#include "../../csrc/clock.h"
#include "../../csrc/price.h"

enum { UNITS = 64, ERROR = 42 };

static const char work;
static _Atomic unsigned char done[UNITS];
static struct ktask_report report;
static size_t failing = UNITS, failed_from, failed_to, max_threads;
static unsigned polls;
static bool slow, stops;
static uint64_t slow_ns = 5000000;

static void wait_until(uint64_t when)
{
	while (clock_ns() < when)
		;
}

/* Out of quick succession, so that a helper sleeps again, if there was one. */
static void rest(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

static int mark(_Atomic unsigned char *start, _Atomic unsigned char *end, void *unused)
{
	size_t from = (size_t)(start - done), to = (size_t)(end - done);

	(void)unused;
	if (from <= failing && failing < to) {
		failed_from = from;
		failed_to = to;
		return ERROR;
	}
	if (slow)
		wait_until(clock_ns() + slow_ns);
	while (start < end)
		atomic_fetch_add(start++, 1);
	return KTASK_RETURN_SUCCESS;
}

static void unmark(_Atomic unsigned char *start, _Atomic unsigned char *end, void *unused)
{
	(void)unused;
	while (start < end)
		atomic_fetch_sub(start++, 1);
}

static int poll(size_t finished, size_t total, void *unused)
{
	(void)unused;
	CHECK(finished <= total && total == UNITS);
	polls++;
	return stops ? ERROR : 0;
}

/* What is known to be just too short for a helper that has to be woken, or a part of that. */
static double short_ns(double part)
{
	return part * 0.9 * (double)(price_wake_ns() + price_answer_ns());
}

/* All units, known to take so long; the least chunk is of so many. */
static int run_known(double ns, size_t min)
{
	static const struct cost unknown;
	struct cost known = { .ns_per_unit = ns / UNITS };
	DEFINE_KTASK_CTL(ctl, mark, NULL, min);

	rest();
	cost_remember(cost_name(&work, are_few(UNITS, min)), known, unknown);
	ktask_ctl_set_identity(&ctl, &work);
	ktask_ctl_set_undo_func(&ctl, unmark);
	report = (struct ktask_report)KTASK_REPORT_INITIALIZER;
	ktask_ctl_set_report(&ctl, &report);
	ktask_ctl_set_poll_func(&ctl, poll, NULL);
	ktask_ctl_set_max_threads(&ctl, max_threads);
	polls = 0;
	return ktask_run((void *)done, UNITS, &ctl);
}

static int run(size_t min)
{
	return run_known(short_ns(1), min);
}

static void check_done(unsigned char times)
{
	for (size_t i = 0; i < UNITS; i++) {
		CHECK(done[i] == times);
		done[i] = 0;
	}
}

static void it_takes_a_chunk_or_a_few(void)
{
	for (size_t min = 1; min <= UNITS; min++) {
		double known_ns = short_ns(1);

		CHECK(run(min) == KTASK_RETURN_SUCCESS);
		check_done(1);
		if ((double)report.kr_ns > known_ns)
			continue; /* the caller was interrupted, which looks like a long run */
		CHECK(report.kr_called == 0 && report.kr_threads == 1 && report.kr_why == KTASK_WHY_SHORT);
		CHECK(report.kr_chunks >= (min <= UNITS / 8 ? 3 : 1) && report.kr_chunks <= 4 &&
		      report.kr_busy_ns == report.kr_ns);
	}
}

/* Wherever it fails. The caller may have been interrupted, and be at work like in any other run. */
static void failures_are_undone(void)
{
	for (failing = 0; failing < UNITS; failing++) {
		CHECK(run(8) == ERROR);
		check_done(0);
		CHECK(report.kr_error == ERROR);
		CHECK(report.kr_error_start == (void *)(done + failed_from));
		CHECK(report.kr_error_end == (void *)(done + failed_to));
		CHECK((report.kr_undone > 0) == (failed_from > 0));
	}
}

/* However short it was known to be. */
static void long_runs_are_shared(void)
{
	slow = true;
	for (double part = 0.125; part <= 1; part *= 2) {
		bool helped = false;

		for (int i = 0; i < 20 && !helped; i++) {
			CHECK(run_known(short_ns(part), 1) == KTASK_RETURN_SUCCESS);
			check_done(1);
			CHECK(report.kr_chunks > 1);
			helped = report.kr_called > 0;
		}
		CHECK(helped || sysconf(_SC_NPROCESSORS_ONLN) == 1);
	}
	slow = false;
}

/* What was done ahead took longer than polls are apart. */
static void long_runs_can_be_stopped(void)
{
	slow_ns = 25000000;
	slow = stops = true;
	CHECK(run(1) == ERROR);
	check_done(0);
	CHECK(polls == 1 && report.kr_chunks == 1 && report.kr_error_start == NULL && report.kr_undone == 1);
	slow = stops = false;
}

/* Where there can be no helper, nothing is learned about what it costs to call one. */
static void one_thread_is_enough(void)
{
	uint64_t wake = price_wake_ns(), answer = price_answer_ns();

	max_threads = 1;
	for (int i = 0; i < 100; i++) {
		CHECK(run(1) == KTASK_RETURN_SUCCESS);
		check_done(1);
		CHECK(report.kr_why == KTASK_WHY_ENOUGH);
	}
	slow = true;
	slow_ns = 1000000;
	CHECK(run(1) == KTASK_RETURN_SUCCESS);
	CHECK(report.kr_why == KTASK_WHY_ENOUGH && report.kr_threads == 1);
	CHECK(price_wake_ns() == wake && price_answer_ns() == answer);
}

int main(void)
{
	it_takes_a_chunk_or_a_few();
	failures_are_undone();
	long_runs_are_shared();
	long_runs_can_be_stopped();
	one_thread_is_enough();
	return 0;
}
