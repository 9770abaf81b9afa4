/* SPDX-License-Identifier: BSD-3-Clause */
/* What price.c makes of measurements, each scene in a process of its own, since the figures are a process's. */
#include "check.h"

#include "../../csrc/price.h"

/* Good guesses or bad, a few measurements are enough: nobody has to make dozens of dear calls first. */
static void guesses_give_way(void)
{
	for (int i = 0; i < 8; i++) {
		price_woke(4000);
		price_answered(12000);
	}
	CHECK(price_wake_ns() < 6000);
	CHECK(price_answer_ns() < 15000);
}

static void or_the_other_way(void)
{
	for (int i = 0; i < 16; i++) {
		price_woke(60000);
		price_answered(200000);
	}
	CHECK(price_wake_ns() > 40000);
	CHECK(price_answer_ns() > 150000);
}

/* One wake in which the host took the CPU away does not make wakes dear. */
static void outliers_say_little(void)
{
	uint64_t before;

	for (int i = 0; i < 100; i++)
		price_woke(10000);
	before = price_wake_ns();
	price_woke(1000000000);
	CHECK(price_wake_ns() < 2 * before);
	for (int i = 0; i < 100; i++)
		price_answered(20000);
	before = price_answer_ns();
	price_answered(1000000000);
	price_unanswered(1000000000);
	CHECK(price_answer_ns() < before + before / 4);
	price_unanswered(1); /* it may have been about to come */
	CHECK(price_answer_ns() < before + before / 4);
}

/* As many answers come before the median as after it. */
static void median_stays(void)
{
	for (int i = 0; i < 400; i++)
		price_answered(i % 2 ? 20000 : 500000);
	CHECK(price_answer_ns() >= 20000 && price_answer_ns() < 500000);
}

/* How many runs that may have lost so much there are until there is a trial. */
static unsigned doubts(double lost_ns)
{
	unsigned n = 0;

	while (!price_on_trial()) {
		price_doubt(lost_ns);
		n++;
	}
	return n;
}

/* How many calls it is. None is answered: 0. */
static unsigned trial(uint64_t answer_ns)
{
	unsigned n = 0;

	for (; price_on_trial(); n++) {
		if (answer_ns)
			price_answered(answer_ns);
		else
			price_unanswered(1000000);
		price_tried();
	}
	return n;
}

/* The first one is for nothing. From then on a trial costs no more than what may have been lost without. */
static void what_is_lost_pays_for_trials(void)
{
	for (int i = 0; i < 100; i++)
		price_woke(15000);
	CHECK(doubts(1000) == 1 && trial(50000) > 25); /* it takes so many for the host to notice */
	for (int lost = 20000; lost > 200; lost /= 2) {
		unsigned runs = doubts(lost), calls = trial(50000);

		CHECK(runs * (lost + 1) >= calls * 15000 && (runs - 1) * lost <= calls * 15000);
	}
}

static void and_so_does_what_is_gained(void)
{
	trial(doubts(1000));
	price_gained(1e6);
	CHECK(doubts(1000) == 1);
	trial(50000);
	price_gained(-1e6);
	CHECK(doubts(1000) > 100);
	trial(50000);
	for (int i = 0; i < 10; i++)
		price_gained(10e3);
	CHECK(doubts(1000) > 100);
}

/* One that cannot go on since no helper may be had is in vain. */
static void no_trial_where_none_may_be_had(void)
{
	uint64_t before = price_hope_ns();

	for (int i = 0; i < 100; i++)
		price_unanswered(1000000);
	price_untried(); /* there was no trial */
	CHECK(price_hope_ns() == before);
	doubts(1000);
	price_untried();
	CHECK(!price_on_trial() && price_hope_ns() > before + 10000);
	CHECK(doubts(1000) > 100);
}

static void hope_fades_in_vain(void)
{
	uint64_t before = price_hope_ns();

	for (int i = 0; i < 5; i++) {
		doubts(10000);
		trial(0);
		CHECK(price_answer_ns() > 100000 && price_again_ns() > 100000);
		CHECK(price_hope_ns() > before + (price_again_ns() - before) / 10);
		CHECK(price_hope_ns() < before + (price_again_ns() - before) / 6);
		before = price_hope_ns();
	}
}

static void hope_grows(void)
{
	uint64_t before = price_hope_ns();
	int guessed = 0, measured = 0;

	for (; price_hope_ns() > before / 2; guessed++)
		price_doubt(0);
	for (int i = 0; i < 100; i++)
		price_answered(i % 2 ? 1000 : 900000);
	for (; price_hope_ns() > before / 4; measured++)
		price_doubt(-1000);
	CHECK(!price_on_trial());
	CHECK(guessed > 500 && measured > 4 * guessed && measured < 10000);
	for (int i = 0; i < 1000000; i++)
		price_doubt(0);
	CHECK(price_hope_ns() < 10);
}

/* Runs that would gain nothing as things are, and next to nothing if they were a little better, come to a trial as well. */
static void whatever_the_run_there_is_a_trial(void)
{
	for (int i = 0; i < 100; i++)
		price_answered(50000);
	trial(doubts(1000));
	for (int runs = 0; !price_on_trial(); runs++) {
		price_doubt((35000.0 - (double)price_hope_ns()) / 2);
		CHECK(runs < 20000);
	}
}

static void what_is_hoped_may_come_true(void)
{
	for (int i = 0; i < 100; i++)
		price_unanswered(1000000);
	CHECK(price_answer_ns() > 900000);
	doubts(10000);
	CHECK(trial(40000) > 25);
	CHECK(price_answer_ns() > 80000); /* a median takes its time */
	CHECK(price_again_ns() == 40000 && price_hope_ns() <= 50000);
	price_unanswered(30000); /* it had not had the time */
	CHECK(price_again_ns() == 40000);
	price_answered(60000);
	CHECK(price_again_ns() == 60000);
	for (int i = 0; i < 100; i++)
		price_answered(10000);
	CHECK(price_hope_ns() == price_answer_ns() && price_answer_ns() < 11000);
	price_answered(30000);
	CHECK(price_again_ns() == price_answer_ns());
}

static void answered_awake(uint64_t ns, int times)
{
	for (int i = 0; i < times; i++)
		price_answered_awake(ns);
}

/* Some one in eight is told, whatever the clock's steps. */
static void some_are_told(void)
{
	for (uint64_t step = 1; step < 2000; step++) {
		int told = 0;

		for (uint64_t i = 1; i <= 8000; i++)
			told += price_is_told(UINT64_C(123456789012345) + i * step);
		CHECK(told > 250 && told < 2000);
	}
}

static void awake_ones_differ(void)
{
	answered_awake(300, 200);
	CHECK(price_warm_ns() > 3000 && price_warm_ns() < 6000);
	CHECK(price_answer_ns() == 50000);
	for (int i = 0; i < 1000; i++)
		price_doubt_warmth();
	CHECK(price_warm_ns() <= USUAL_WARM_NS);
	answered_awake(20, 200);
	CHECK(price_warm_ns() < USUAL_WARM_NS);
	CHECK(price_awake_ns() > 10 && price_awake_ns() < 30);
	/* What is much too low is noticed within a few answers; and one that is late for reasons of its own counts as one. */
	answered_awake(5000, 1);
	CHECK(price_awake_ns() < 40);
	answered_awake(300, 12);
	CHECK(price_awake_ns() > 140 && price_awake_ns() < 300);
}

static void fixed_stays(void)
{
	uint64_t warm = price_warm_ns();

	price_fix(0);
	price_woke(1000);
	price_answered(1000);
	price_unanswered(1000);
	price_answered_awake(100000);
	price_doubt(1000000);
	price_doubt_warmth();
	CHECK(!price_on_trial() && price_again_ns() == 0);
	CHECK(price_wake_ns() == 0 && price_answer_ns() == 0 && price_warm_ns() == warm);
}

int main(void)
{
	in_child(guesses_give_way);
	in_child(or_the_other_way);
	in_child(outliers_say_little);
	in_child(median_stays);
	in_child(what_is_lost_pays_for_trials);
	in_child(and_so_does_what_is_gained);
	in_child(no_trial_where_none_may_be_had);
	in_child(hope_fades_in_vain);
	in_child(hope_grows);
	in_child(whatever_the_run_there_is_a_trial);
	in_child(what_is_hoped_may_come_true);
	in_child(awake_ones_differ);
	in_child(some_are_told);
	in_child(fixed_stays);
	return 0;
}
