/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs about as long as a helper's price: one calls a helper rather if the last one did, or while helpers are on trial. How long
 * each takes is what is remembered; none does anything.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/chunk.h"
#include "../../csrc/price.h"

#include <time.h>

enum { UNITS = 1024 };

static const char work;

static int work_for(void *start, void *end, void *ns)
{
	(void)start, (void)end;
	if (*(long *)ns)
		nanosleep(&(struct timespec){ 0, *(long *)ns }, NULL);
	return KTASK_RETURN_SUCCESS;
}

/*
 * Does a run call a helper that is known to take so long, whatever its chunks take? No helper lingers any more from the last
 * one, or is on its way home.
 */
static bool calls_in(double ns, unsigned flags, long chunk_ns)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, work_for, &chunk_ns, 1);

	nanosleep(&(struct timespec){ 0, 200000 }, NULL);
	cost_remember(cost_name(&work, false), (struct cost){ ns / UNITS, COST_CONFIRMED | flags }, (struct cost){ 0 });
	ktask_ctl_set_identity(&ctl, &work);
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(NULL, UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	return report.kr_called > 0;
}

static bool calls(double ns, unsigned flags)
{
	return calls_in(ns, flags, 0);
}

static bool called_last(void)
{
	return cost_recall(cost_name(&work, false)).flags & COST_CALLED;
}

/* Between the two margins. Where it should be called it is in the end; and nobody holds these runs up for seconds. */
static void who_was_called_is_called_again(void)
{
	const double price = 2e9;

	price_fix(1000000000);
	while (!calls(1.3 * price, 0))
		;
	CHECK(called_last());
	CHECK(!calls(1.22 * price, 0) && !called_last());
	CHECK(!calls(1.15 * price, COST_CALLED) && !called_last());
	CHECK(!calls(20e3, COST_CALLED) && called_last()); /* nobody would call one for that */
	while (!calls(1.22 * price, COST_CALLED))
		;
	CHECK(called_last());
}

/* How late helpers are that are called now and then says nothing of those that are called often. */
static void the_first_is_not_measured(void)
{
	const long chunk_ns[] = { 0, 100000 }; /* none answers in time, or each does */
	uint64_t before;

	for (int i = 0; i < 2; i++) {
		for (int measured = 0; measured < 100; measured++)
			price_answered(5000); /* none is as quick */
		before = price_answer_ns();
		for (int run = 0; run < 20; run++) {
			calls_in(1e9, 0, chunk_ns[i]);
			CHECK(price_answer_ns() == before);
		}
		while (price_answer_ns() == before)
			calls_in(1e9, COST_CALLED, chunk_ns[i]);
	}
}

/* The runs' own price is much too high for them. */
static void expensive(void)
{
	for (int i = 0; i < 200; i++)
		price_unanswered(1000000);
}

static void a_trial_whatever_the_price(void)
{
	bool called = false;

	expensive();
	price_doubt(1e9);
	CHECK(price_on_trial());
	for (int i = 0; i < 50; i++)
		calls(10e3, 0);
	CHECK(price_on_trial()); /* they were too short to tell */
	for (int tried = 0; price_on_trial(); tried++) {
		called |= calls(100e3, 0);
		CHECK(tried < 1000);
	}
	CHECK(called);
}

static void runs_that_lose_lead_to_a_trial(void)
{
	expensive();
	for (int i = 0; !price_on_trial(); i++) {
		calls(200e3, 0);
		CHECK(i < 1000);
	}
}

int main(void)
{
	setenv("KTASK_RETREAT", "off", 1); /* whoever else is on the CPUs */
	if (ktask_max_threads() == 1)
		return SKIPPED;
	in_child(who_was_called_is_called_again);
	in_child(the_first_is_not_measured);
	in_child(a_trial_whatever_the_price);
	in_child(runs_that_lose_lead_to_a_trial);
	return 0;
}
