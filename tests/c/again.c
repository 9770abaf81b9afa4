/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs about as long as a helper's price: one calls a helper rather if the last one did, or while helpers are on trial. How long
 * each takes is what is remembered of its work, not what it does.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/chunk.h"
#include "../../csrc/pool.h"
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
static bool calls_in(double ns, long chunk_ns)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, work_for, &chunk_ns, 1);

	do
		nanosleep(&(struct timespec){ 0, 200000 }, NULL);
	while (pool_is_warm());
	cost_remember(cost_name(&work, false), (struct cost){ ns / UNITS, COST_CONFIRMED }, (struct cost){ 0 });
	ktask_ctl_set_identity(&ctl, &work);
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(NULL, UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	return report.kr_called > 0;
}

static bool calls(double ns)
{
	return calls_in(ns, 0);
}

/* Is done until it is: others may have the CPUs, or a seat. */
static void call_one(double ns)
{
	while (!calls(ns))
		;
}

/* Between the two margins. Nobody holds these runs up for seconds. */
static void who_was_called_is_called_again(void)
{
	const double price = 2e9;

	price_fix(1000000000);
	CHECK(!calls(1.22 * price));
	call_one(1.3 * price);
	call_one(1.22 * price);
	CHECK(!calls(20e3) && !calls(0.55 * price)); /* would call none however soon it came, so they do not count */
	call_one(1.22 * price);
	CHECK(!calls(1.15 * price));
	CHECK(!calls(1.22 * price));
}

/* How late helpers are that are called now and then says nothing of those that are called often. */
static void the_first_is_not_measured(long chunk_ns)
{
	uint64_t before;

	CHECK(ktask_init() == 0); /* nor is a thread that has just been made */
	for (int i = 0; i < 100; i++)
		price_answered(5000); /* none is as quick */
	before = price_answer_ns();
	while (!calls_in(1e9, chunk_ns))
		;
	CHECK(price_answer_ns() == before);
	while (price_answer_ns() == before)
		calls_in(1e9, chunk_ns);
}

static void none_answers_in_time(void)
{
	the_first_is_not_measured(0);
}

static void each_answers(void)
{
	the_first_is_not_measured(100000);
}

/* The price is much too high, and nothing is saved for a trial. */
static void expensive(void)
{
	price_doubt(1e9);
	price_untried();
	for (int i = 0; i < 200; i++)
		price_unanswered(1000000);
}

static void a_trial_whatever_the_price(void)
{
	expensive();
	do {
		price_doubt(1e9);
		for (int i = 0; i < 50; i++)
			calls(10e3);
	} while (!price_on_trial()); /* they are too short to tell */
	for (bool called = false; !called; price_doubt(1e9))
		while (price_on_trial())
			called |= calls(100e3);
}

static void runs_that_lose_lead_to_a_trial(void)
{
	expensive();
	calls(200e3);
	CHECK(!price_on_trial());
	for (int i = 0; !price_on_trial(); i++) {
		calls(200e3);
		CHECK(i < 1000);
	}
}

static void and_so_do_runs_that_gain(void)
{
	expensive();
	for (int i = 0; !price_on_trial(); i++) {
		calls_in(10e6, 100000); /* in which a helper has time to come */
		price_doubt(1000);
		CHECK(i < 100);
	}
}

int main(void)
{
	setenv("KTASK_RETREAT", "off", 1); /* whoever else is on the CPUs */
	unsetenv("KTASK_WAKE_NS");
	if (ktask_max_threads() == 1)
		return SKIPPED;
	in_child(who_was_called_is_called_again);
	in_child(none_answers_in_time);
	in_child(each_answers);
	in_child(a_trial_whatever_the_price);
	in_child(runs_that_lose_lead_to_a_trial);
	in_child(and_so_do_runs_that_gain);
	return 0;
}
