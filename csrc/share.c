/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * share.c: how much of a run a thread takes at once.
 *
 * As a rule chunks grow and shrink with what is left (pace_next). Short runs of even units, with a helper that waits
 * awake, are cut in batches instead (batch_next): that takes fewer claims, and each thread has the same units run after
 * run. Whether units are even is judged by each thread at the end of a run, from what they cost it.
 */
#define _GNU_SOURCE
#include "share.h"

#include "clock.h"
#include "price.h"

/* Less than this is not worth a claim and a look at the clock, and as a difference between threads does not show. */
#define FLOOR_NS 500.0

/*
 * A chunk is at least this many times as long as the call of the thread function itself. Where that is dear, in an
 * interpreter, what the function does first is dear as well: a dozen of NumPy's calls on slices, say, take ten times as long.
 */
#define CALLS_PER_CHUNK 60.0

/*
 * It takes at most this many where the threads share a lock: they find it taken now and then, and are woken late. For 10^7
 * exponentials by NumPy, in Python, chunks of 0.25 ms are a tenth slower.
 */
#define CALLS_PER_TARGET 600.0

/* Who is alone, and will be for a while, takes so much at once: a pause after a retreat, for one, is longer. */
#define ALONE_NS 1e6

/* Runs no longer than this, in all, are cut in batches if their units are even, and show whether they are. */
#define EVEN_NS 500000.0

/* A batch is the last one if less than this would be left for each thread: another claim costs more than it evens out. */
#define REST_NS 1500.0

/* A helper begins later than its caller, who hears of its end later still: by so many times as long as an answer takes. */
#define LATE_ANSWERS 3.0

double share_floor_ns(uint64_t call_ns)
{
	double ns = CALLS_PER_CHUNK * (double)call_ns;

	return ns < FLOOR_NS ? FLOOR_NS : ns;
}

bool share_in_batches(const struct worker *caller, double ns_per_unit)
{
	const struct plan *plan = caller->plan;

	return caller->pace.ns_per_unit > 0 && plan->known.flags & COST_EVEN && ns_per_unit > 0 &&
	       ns_per_unit * (double)plan->cut.total < EVEN_NS;
}

/* How much more than an equal share w does, for all to end together: what each helper does less. */
static double lead_ns(const struct worker *w, unsigned threads)
{
	double late = LATE_ANSWERS * (double)price_awake_ns() / threads;

	return w->thread == 0 ? late * (threads - 1) : -late;
}

size_t share_size(const struct worker *w, unsigned threads)
{
	const struct run *run = w->run;
	const struct plan *plan = w->plan;
	double floor = plan->floor_ns;
	double target = plan->shares_lock ? CALLS_PER_TARGET * (double)plan->call_ns : PACE_TARGET_NS;

	if (max_threads(run) == 1) {
		if (!plan->polls)
			return cursor_remaining(w->cursor); /* nobody to share with, nobody to ask */
		floor = floor > PACE_TARGET_NS ? floor : PACE_TARGET_NS;
	} else if (threads == 1 && w->refused) {
		floor = floor > ALONE_NS ? floor : ALONE_NS;
	}
	if (plan->even && threads == max_threads(run) && w->pace.ns_per_unit * (double)plan->cut.total < EVEN_NS)
		return batch_next(&w->pace, &plan->cut, w->cursor, threads, floor > REST_NS ? floor : REST_NS,
				  lead_ns(w, threads));
	if (target < PACE_TARGET_NS)
		target = PACE_TARGET_NS;
	return pace_next(&w->pace, &plan->cut, w->cursor, threads, floor, target,
			 (double)clock_since(plan->begin, w->now));
}

/* Did a unit cost this thread about what it cost the last time? What differs by less is made up for (batch_next). */
static bool is_as_known(const struct worker *w)
{
	return cost_is_as_known(w->pace.units, w->pace.ns, w->plan->known);
}

void share_leave(const struct worker *helper)
{
	if (helper->plan->known.ns_per_unit > 0 && !is_as_known(helper))
		atomic_store_explicit(&helper->run->uneven, true, memory_order_relaxed);
}

void share_judge(const struct worker *caller, struct cost *cost)
{
	const struct plan *plan = caller->plan;
	double all = cost->ns_per_unit * (double)plan->cut.total;

	/* In a long run each thread has had some of all units, unless it was cut in batches. */
	if (plan->known.ns_per_unit == 0 || (all >= EVEN_NS && !plan->even))
		return;
	cost->flags &= ~(unsigned)COST_EVEN;
	if (is_as_known(caller) && !atomic_load_explicit(&caller->run->uneven, memory_order_relaxed))
		cost->flags |= COST_EVEN;
}
