/* SPDX-License-Identifier: BSD-3-Clause */
/* price.h: what it costs to call a helper, in ns, as measured when one is. For the whole process; any thread may ask and tell. */
#ifndef KTASK_PRICE_H
#define KTASK_PRICE_H

#include <stdbool.h>
#include <stdint.h>

/* What it costs to wake one, and how long that one takes to answer: a mean, and a median. */
uint64_t price_wake_ns(void);
uint64_t price_answer_ns(void);

/* How long it takes where the last run has called one, too: no longer than that one took. And how long it may take, at best. */
uint64_t price_again_ns(void);
uint64_t price_hope_ns(void);

/*
 * What a run has to last for the call of a helper that waits awake to gain: from how long such helpers take to answer.
 * USUAL_WARM_NS is what that comes to on most machines, and is assumed at first.
 */
enum { USUAL_WARM_NS = 2000 };
uint64_t price_warm_ns(void);

/* How long it takes to answer: about as long as a cache line to get there. */
uint64_t price_awake_ns(void);

/* Measured: a wake took its caller so long. */
void price_woke(uint64_t ns);

/* A helper answered after so long; one that was awake; or it had not yet answered. */
void price_answered(uint64_t ns);
void price_answered_awake(uint64_t ns);
void price_unanswered(uint64_t ns);

/*
 * A run has gained so much by calling one; or it did without since they are so slow to answer, and has lost so much if one would
 * have answered as soon as may be hoped (0 or less: nothing). These pay for trials, in which helpers are called whatever the
 * price. Each such call is told; or that none may be had, which ends the trial.
 */
void price_gained(double ns);
void price_doubt(double lost_ns);
bool price_on_trial(void);
void price_tried(void);
void price_untried(void);

/* A run did without one that waits awake since these are so slow: what was measured of them counts a little less each time. */
void price_doubt_warmth(void);

/*
 * Is it told now? Of helpers that wait awake there is something to tell in each of many short runs, and all of these begin
 * with a look at what is known, which waits for who has written it: so one in eight does. The dice are made of any time.
 */
static inline bool price_is_told(uint64_t now)
{
	return now * UINT64_C(0x9E3779B97F4A7C15) >> 61 == 0;
}

/* KTASK_WAKE_NS: from now on a wake, and an answer, cost that, whatever is measured. */
void price_fix(uint32_t wake_ns);

#endif
