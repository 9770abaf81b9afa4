/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Short runs one after the other, with a helper that waits awake: their caller has claimed its first chunk when it calls. Each
 * unit is done once, and undone once where the helper fails, which may be before the caller has begun: a timer holds it up
 * now and then, wherever it is. All waits are for that to happen: a single run may have no helper.
 */
#include "check.h"
#include "ktask.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/time.h>
#include <time.h>

enum { UNITS = 2000, ROUNDS = 500, FAILURES = 20000, ERROR = 42 };

static unsigned char done[UNITS];
static const char even, failing;
static volatile double sink;

static int work(unsigned char *start, unsigned char *end, const bool *fails)
{
	double x = 1;

	if (*fails && ktask_thread() != 0)
		return ERROR;
	for (; start < end; start++) {
		(*start)++;
		for (int i = 1; i < 4; i++)
			x += 1.0 / i;
	}
	if (x < 0)
		sink = x;
	return KTASK_RETURN_SUCCESS;
}

static void undo(unsigned char *start, unsigned char *end, const bool *unused)
{
	(void)unused;
	while (start < end)
		(*start++)--;
}

/* With a report: helpers that came, and the chunks of all. */
static struct ktask_report run(bool fails, size_t align)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, work, &fails, 1);

	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_align(&ctl, align);
	ktask_ctl_set_identity(&ctl, fails ? &failing : &even);
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(done, UNITS, &ctl) == report.kr_error);
	CHECK(report.kr_error == 0 || (fails && report.kr_error == ERROR));
	for (size_t i = 0; i < UNITS; i++) {
		CHECK(done[i] == (report.kr_error ? 0 : 1));
		done[i] = 0;
	}
	return report;
}

/* Helpers have no part in signals. */
static void hold_up(int unused)
{
	struct timespec begin, now;

	(void)unused;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < 10000);
}

int main(void)
{
	const struct itimerval often = { { .tv_usec = 50 }, { .tv_usec = 50 } };

	use_helpers(1);
	for (int helped = 0; helped < ROUNDS;)
		helped += run(false, (size_t)helped % 2 * 64).kr_threads > 1;
	signal(SIGALRM, hold_up);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int failed = 0; failed < FAILURES;)
		failed += run(true, 0).kr_error != 0;
	return 0;
}
