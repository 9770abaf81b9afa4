/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worth.c: is a helper worth to a run what it costs?
 *
 * One that is asleep costs its caller wake_ns, and comes answer_ns later; one that waits awake costs next to nothing.
 * Both are measured (price.c). A caller that wakes a helper loses wake_ns, and so has done half of T of work after
 * (T + wake_ns + answer_ns) / 2: it gains if T is more than wake_ns + answer_ns.
 *
 * A helper that is called often answers sooner than one that is called now and then. So runs may stay alone because they have been
 * alone: the margin is lower for a thread whose last run called one, and runs that do without pay for trials (price.c).
 */
#define _GNU_SOURCE
#include "worth.h"

#include "hot.h"
#include "price.h"
#include "thread_local.h"

/* By how much it has to be more, since now and then the helper comes late; and the same where the last run called one. */
#define MARGIN	     1.25
#define MARGIN_AGAIN 1.2

/* What would be worth a helper on most machines, if not on a busy one. */
#define USUAL_PRICE_NS 30e3

/* With a helper the thread function is called more often, so what it saves has to be worth so many calls. */
#define CALLS_PER_HELPER 80.0

/* Did the last run of this thread that called a helper, or may have lost by calling none, call one? */
static THREAD_LOCAL bool called_last;

static double calls_price(const struct plan *plan)
{
	return CALLS_PER_HELPER * (double)plan->call_ns;
}

/* Of a helper that is asleep and takes so long to answer. */
static double asleep_price(const struct plan *plan, double margin, uint64_t answer_ns)
{
	return margin * (double)(price_wake_ns() + answer_ns) + calls_price(plan);
}

/* While none waits awake, what is but just worth one is not worth earning one. */
HOT bool worth_none(double ns)
{
	double least = (double)price_warm_ns();

	return ns < least || (ns < MARGIN * least && !pool_is_warm());
}

double worth_least_awake(const struct plan *plan)
{
	return (double)price_warm_ns() + calls_price(plan);
}

HOT double worth_least(const struct plan *plan)
{
	return pool_is_warm() ? worth_least_awake(plan) : asleep_price(plan, MARGIN, price_answer_ns());
}

/* Is work so long that it may be worth a wake, if not now? */
static bool is_in_question(const struct plan *plan, double ns)
{
	return ns > USUAL_PRICE_NS + calls_price(plan);
}

HOT bool worth_may_have(const struct run *run, size_t units)
{
	return run->ctl.kc_max_threads != 1 && run->ctl.kc_min_chunk_size < units &&
	       !(run->plan.known.flags & COST_WAITS) && pool_most_helpers() > 0;
}

HOT double worth_least_known(const struct run *run, size_t units, double ns)
{
	const struct plan *plan = &run->plan;

	if (price_on_trial() && is_in_question(plan, ns) && worth_may_have(run, units))
		return ns;
	return called_last ? asleep_price(plan, MARGIN_AGAIN, price_again_ns())
			   : asleep_price(plan, MARGIN, price_answer_ns());
}

/* How much sooner it ends with a helper that takes so long to answer. */
static double gain_ns(const struct plan *plan, double ns, uint64_t answer_ns)
{
	return (ns - asleep_price(plan, MARGIN_AGAIN, answer_ns)) / 2;
}

void worth_called(const struct plan *plan, double ns, bool came)
{
	called_last = true;
	if (came && is_in_question(plan, ns))
		price_gained(gain_ns(plan, ns, price_again_ns()));
}

HOT void worth_declined(const struct plan *plan, double ns)
{
	double lost = gain_ns(plan, ns, price_hope_ns());

	if (!is_in_question(plan, ns) || (plan->known.flags & (COST_CONFIRMED | COST_VARIES)) != COST_CONFIRMED)
		return;
	if (lost > 0)
		called_last = false;
	price_doubt(lost);
}

bool worth_is_first(const struct plan *plan)
{
	return plan->known.ns_per_unit > 0 && !called_last;
}
