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

/* What was dear is tried again, sooner if it is but a guess. */
static unsigned doubts(uint64_t until)
{
	unsigned n = 0;

	while (price_answer_ns() > until && n < 10000) {
		price_doubt();
		n++;
	}
	return n;
}

static void doubt_grows(void)
{
	unsigned guessed = doubts(25000), measured;

	for (int i = 0; i < 100; i++) {
		price_woke(15000);
		price_answered(i % 2 ? 40000 : 60000);
	}
	measured = doubts(25000);
	CHECK(guessed > 4 && guessed < 20);
	CHECK(measured > 4 * guessed && measured < 200);
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
	price_doubt();
	price_doubt_warmth();
	CHECK(price_wake_ns() == 0 && price_answer_ns() == 0 && price_warm_ns() == warm);
}

int main(void)
{
	in_child(guesses_give_way);
	in_child(or_the_other_way);
	in_child(outliers_say_little);
	in_child(median_stays);
	in_child(doubt_grows);
	in_child(awake_ones_differ);
	in_child(some_are_told);
	in_child(fixed_stays);
	return 0;
}
