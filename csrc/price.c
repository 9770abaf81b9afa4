/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * price.c: what it costs to call a helper. Each figure is a word of its own, read and written with relaxed order: of two
 * threads that measure at the same time one may be lost, and nobody minds.
 */
#include "price.h"

#include "hot.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Guesses, until something is measured; about a virtual machine's. */
enum { FIRST_WAKE_NS = 15000, FIRST_ANSWER_NS = 50000, LONGEST_NS = 1000000 };

/*
 * What calling a helper that lingers costs in all, to and fro, and sharing the work: so many cache lines that travel, each in
 * the time in which it answers, and the instructions.
 */
enum { WARM_NS = 1200, WARM_ANSWERS = 10, USUAL_AWAKE_NS = (USUAL_WARM_NS - WARM_NS) / WARM_ANSWERS };

/* The first measurement counts as much as the guess, the next a third, and so on down to one of so many. */
enum { FIRST_TRUST = 2, MOST_WAKES = 8, MOST_ANSWERS = 16 };

/*
 * Runs that find the price too high cannot tell what it is now. A trial does: so many calls, whatever the price. It is paid by
 * what was gained by calls before, and by what such runs may lose; so trials cost no more than calls are worth. They are many
 * calls in a row, since on a virtual machine a helper that is seldom called may take 0.2 ms to answer, time and again: as long
 * as the host runs both CPUs by turns on one of its own, which it stops after some twenty such calls.
 */
enum { TRIAL_CALLS = 32 };

/*
 * What may be hoped is at first the guess. Each trial brings it nearer, by one in so many, to what helpers take indeed; each run
 * that does without makes it better again, by one in so many times the trust in what is known.
 */
enum { FADES = 8, GROWS = 512 };

/* A doubt of those that wait awake makes so many times less of the price. */
enum { DOUBT_AWAKE = 256 };

static struct {
	_Atomic uint32_t wake_ns;
	_Atomic uint32_t answer_ns;
	_Atomic uint32_t last_ns; /* what the last answer took; LONGEST_NS: there was none */
	_Atomic uint32_t hope_ns; /* what an answer may take, at best */
	_Atomic uint32_t awake_ns;
	_Atomic uint32_t wake_trust;   /* how much the mean counts against one measurement */
	_Atomic uint32_t answer_trust; /* the same for the median */
	_Atomic uint32_t saved_ns;     /* for the next trial, */
	_Atomic uint32_t trial;	       /* and calls that are left of this one */
	_Atomic bool fixed;
} price = {
	.wake_ns = FIRST_WAKE_NS,
	.answer_ns = FIRST_ANSWER_NS,
	.last_ns = FIRST_ANSWER_NS,
	.hope_ns = FIRST_ANSWER_NS,
	.saved_ns = TRIAL_CALLS * FIRST_WAKE_NS,
	.awake_ns = USUAL_AWAKE_NS,
	.wake_trust = FIRST_TRUST,
	.answer_trust = FIRST_TRUST,
};

static uint32_t get(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void set(_Atomic uint32_t *word, uint32_t value)
{
	if (!atomic_load_explicit(&price.fixed, memory_order_relaxed))
		atomic_store_explicit(word, value, memory_order_relaxed);
}

HOT uint64_t price_wake_ns(void)
{
	return get(&price.wake_ns);
}

HOT uint64_t price_answer_ns(void)
{
	return get(&price.answer_ns);
}

/* Neither is ever worse than what is usual. */
static uint64_t at_most_usual(uint32_t ns)
{
	uint32_t answer = get(&price.answer_ns);

	return ns < answer ? ns : answer;
}

uint64_t price_again_ns(void)
{
	return at_most_usual(get(&price.last_ns));
}

uint64_t price_hope_ns(void)
{
	return at_most_usual(get(&price.hope_ns));
}

HOT uint64_t price_warm_ns(void)
{
	return WARM_NS + WARM_ANSWERS * get(&price.awake_ns);
}

HOT uint64_t price_awake_ns(void)
{
	return get(&price.awake_ns);
}

/* How much what is known counts against the measurement that is made now; from now on it counts more. */
static uint32_t trust_once_more(_Atomic uint32_t *trust, uint32_t most)
{
	uint32_t now = get(trust);

	if (now < most)
		set(trust, now + 1);
	return now;
}

/* A running average. One that is out of all proportion, since the host took the CPU meanwhile, says little. */
void price_woke(uint64_t ns)
{
	int64_t old = (int64_t)get(&price.wake_ns), most = 4 * old + 1000;
	int64_t now = ns < (uint64_t)most ? (int64_t)ns : most;

	set(&price.wake_ns, (uint32_t)(old + (now - old) / trust_once_more(&price.wake_trust, MOST_WAKES)));
}

/*
 * The median, by a step up or down for each measurement: how late the late ones are does not matter, since a run does
 * not wait for them. Who was sent home before it came was later than that, no matter how much.
 */
static void step_answer(bool up)
{
	uint32_t old = get(&price.answer_ns), step = old / trust_once_more(&price.answer_trust, MOST_ANSWERS) + 1;

	if (up ? old < LONGEST_NS : old > step)
		set(&price.answer_ns, up ? old + step : old - step);
}

void price_answered(uint64_t ns)
{
	set(&price.last_ns, ns < LONGEST_NS ? (uint32_t)ns : LONGEST_NS);
	step_answer(ns > price_answer_ns());
}

void price_unanswered(uint64_t ns)
{
	if (ns > get(&price.last_ns))
		set(&price.last_ns, LONGEST_NS);
	if (ns > price_answer_ns())
		step_answer(true);
}

/* By small steps, as one may be late for reasons of its own; but what is much too low is tried again and again in vain. */
void price_answered_awake(uint64_t ns)
{
	uint32_t old = get(&price.awake_ns), step = old / 32 + 1;

	if (ns > 2 * old)
		set(&price.awake_ns, old + old / 4 + 1);
	else if (ns > old + 2 * step)
		set(&price.awake_ns, old + step);
	else if (ns + 2 * step < old)
		set(&price.awake_ns, old - step);
}

/* What a trial costs that shows nothing new: the wakes. A second at most. */
static double trial_ns(void)
{
	double ns = (double)TRIAL_CALLS * get(&price.wake_ns);

	return ns < 1e9 ? ns : 1e9;
}

static void save(double ns)
{
	double saved = get(&price.saved_ns) + ns;

	if (get(&price.saved_ns) < trial_ns())
		set(&price.saved_ns, (uint32_t)(saved < trial_ns() ? saved : trial_ns()) + 1);
}

void price_gained(double ns)
{
	if (ns > 0)
		save(ns);
}

void price_doubt(double lost_ns)
{
	uint32_t hope = get(&price.hope_ns), step = hope / (GROWS * get(&price.answer_trust)) + 1;

	set(&price.hope_ns, hope > step ? hope - step : 0);
	if (lost_ns <= 0)
		return;
	if (get(&price.saved_ns) + lost_ns < trial_ns()) {
		save(lost_ns);
	} else {
		set(&price.saved_ns, 0);
		set(&price.trial, TRIAL_CALLS);
	}
}

bool price_on_trial(void)
{
	return get(&price.trial) > 0;
}

/* Also where it was cut short, since no helper may be had: who wants their CPUs may be there for long. */
static void end_trial(void)
{
	set(&price.trial, 0);
	set(&price.hope_ns, (uint32_t)((price_hope_ns() * (FADES - 1) + price_again_ns()) / FADES));
}

void price_tried(void)
{
	uint32_t trial = get(&price.trial);

	if (trial > 1)
		set(&price.trial, trial - 1);
	else if (trial)
		end_trial();
}

void price_untried(void)
{
	if (price_on_trial())
		end_trial();
}

void price_doubt_warmth(void)
{
	uint32_t awake = get(&price.awake_ns);

	if (awake > USUAL_AWAKE_NS)
		set(&price.awake_ns, awake - awake / DOUBT_AWAKE - 1);
}

void price_fix(uint32_t wake_ns)
{
	atomic_store_explicit(&price.fixed, true, memory_order_relaxed);
	atomic_store_explicit(&price.wake_ns, wake_ns, memory_order_relaxed);
	atomic_store_explicit(&price.answer_ns, wake_ns, memory_order_relaxed);
	atomic_store_explicit(&price.last_ns, wake_ns, memory_order_relaxed);
	atomic_store_explicit(&price.trial, 0, memory_order_relaxed);
}
