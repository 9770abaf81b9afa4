/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heartbeat.c: when a run calls helpers.
 *
 * Which work is worth one is told by worth.c. As long as nothing is known of it, the caller does it alone until it has
 * lasted as long as a wake would cost: then the wake at most doubles what was spent so far, and a shorter run has
 * paid nothing (heartbeat scheduling: Acar et al., PLDI 2018). What a unit costs is remembered from run to run. When
 * there are few units of unknown cost, each may be long, and waiting for the first may be half of the run: then the
 * helper is called at once. Runs too short for a helper each, in quick succession, earn one together: their lengths
 * add up, and the helper then lingers between them.
 *
 * And when is it not worth keeping? When it mostly waits for what the threads share (ktask_waited): then it goes home,
 * no other takes its place in this run, and the next runs of the same work think twice.
 */
#define _GNU_SOURCE
#include "heartbeat.h"

#include "clock.h"
#include "hot.h"
#include "price.h"
#include "share.h"
#include "thread_local.h"
#include "worth.h"

/* Where helpers only waited the last time, one is tried again if this much is left, and in one run of so many. */
#define TRY_AGAIN_NS 50e6
enum { TRY_AGAIN_RUNS = 16 };

/* What is done before anything is prepared is looked at so many times, while it lasts as long as is known. */
#define AHEAD_PARTS 4.0

/* Runs follow in quick succession when no more than this lies between them: while a helper lingers. */
enum { QUICK_NS = 50000 };

/* Runs of this thread that were too short for a helper, one soon after the other. */
static THREAD_LOCAL struct {
	uint64_t end;	/* of the last one */
	uint64_t spent; /* on all of them */
} short_runs;

const void *run_identity(const struct run *run)
{
	union {
		ktask_thread_func func;
		const void *address;
	} thread_func = { .func = run->ctl.kc_thread_func };

	return run->ctl.kc_identity ? run->ctl.kc_identity : thread_func.address;
}

static const void *known_as(const struct run *run)
{
	return cost_name(run_identity(run), run->plan.few);
}

static bool has_few(const struct ktask_ctl *ctl, const struct ktask_node *nodes, size_t nr_nodes)
{
	size_t least = ctl->kc_min_chunk_size > ctl->kc_align ? ctl->kc_min_chunk_size : ctl->kc_align, size = 0;

	for (size_t i = 0; i < nr_nodes; i++)
		size += nodes[i].kn_task_size;
	return are_few(size, least);
}

HOT void heartbeat_recall(struct run *run, const struct ktask_node *nodes, size_t nr_nodes)
{
	struct plan *plan = &run->plan;

	plan->few = has_few(&run->ctl, nodes, nr_nodes);
	plan->call_ns = run->ctl.kc_call_ns;
	plan->known = cost_known(run_identity(run), plan->few);
	plan->floor_ns = share_floor_ns(plan->call_ns);
}

void heartbeat_prepare(struct run *run)
{
	struct plan *plan = &run->plan;

	/* The microseconds of the clock are as good as dice. */
	plan->reluctant = plan->known.flags & COST_WAITS && plan->begin / 1000 % TRY_AGAIN_RUNS != 0;
	plan->even = false;
}

HOT bool heartbeat_is_quick(const struct run *run)
{
	return clock_since(short_runs.end, run->plan.begin) <= QUICK_NS;
}

HOT size_t heartbeat_ahead(const struct run *run, const struct ktask_node *node)
{
	const struct plan *plan = &run->plan;
	double ns_per_unit = plan->known.ns_per_unit, ns = ns_per_unit * (double)node->kn_task_size, least, chunks;
	size_t min = run->ctl.kc_min_chunk_size;

	/* Sizes that would be refused go the long way. */
	if (ns <= 0 || plan->known.flags & COST_VARIES || node->kn_task_size - 1 >= KTASK_MAX_SIZE ||
	    node->kn_task_size > UINTPTR_MAX - (uintptr_t)node->kn_start || run->ctl.kc_trace || trace_is_on())
		return 0;
	if (worth_none(ns))
		return node->kn_task_size;
	/* In quick succession runs earn a helper together. And where chunks may end is for the cut to say. */
	if (heartbeat_is_quick(run) || pool_is_warm() || ns >= worth_least_known(run, node->kn_task_size, ns) ||
	    run->ctl.kc_iter_func != ktask_iter_range || run->ctl.kc_align > 1)
		return 0;
	least = ns / AHEAD_PARTS > plan->floor_ns ? ns / AHEAD_PARTS : plan->floor_ns;
	chunks = least / ns_per_unit / (double)min;
	return least >= ns || chunks * (double)min >= (double)node->kn_task_size ? node->kn_task_size
										 : ((size_t)chunks + 1) * min;
}

HOT bool heartbeat_is_due(const struct plan *plan, uint64_t now)
{
	return (double)(now - plan->begin) >= worth_least(plan);
}

HOT int heartbeat_why_ahead(const struct run *run, uint64_t now)
{
	if (run->ctl.kc_max_threads == 1)
		return KTASK_WHY_ENOUGH;
	return heartbeat_is_due(&run->plan, now) ? KTASK_WHY_NOT_ASKED : KTASK_WHY_SHORT;
}

/* Where a run was not worth even a helper that waits awake, but would be on most machines, these may be quicker by now. */
static void doubt_warmth(double ns, uint64_t now)
{
	if (ns > USUAL_WARM_NS && price_is_told(now))
		price_doubt_warmth();
}

void heartbeat_end_ahead(const struct run *run, uint64_t now)
{
	const struct plan *plan = &run->plan;
	uint64_t ns = clock_since(plan->begin, now);
	double known = plan->known.ns_per_unit * (double)run->ahead.units;
	bool helper;

	cost_learn(known_as(run), run->ahead.units, ns, plan->known);
	if (worth_none(known)) {
		doubt_warmth((double)ns, now);
		return;
	}
	helper = worth_may_have(run, run->ahead.units);
	if (helper)
		worth_declined(plan, known);
	short_runs.spent = helper ? ns : 0;
	short_runs.end = now;
}

/* The strongest reason counts: at the end of each run, too little is left to call anybody. */
static void because(struct worker *w, int why)
{
	if (why > w->why)
		w->why = why;
}

/* May there be one more helper, and is it worth it: alone, does what is left take longer by more than that much? */
static bool is_worth(struct worker *w, double ns_per_unit, double least_ns)
{
	const struct run *run = w->run;
	const struct plan *plan = w->plan;
	unsigned threads = team_size(&run->team) + 1;
	size_t remaining;

	if (threads >= max_threads(run)) {
		because(w, KTASK_WHY_ENOUGH);
		return false;
	}
	remaining = cut_remaining(&plan->cut);
	if (remaining == 0)
		return false;
	if (plan->reluctant && least_ns < TRY_AGAIN_NS)
		least_ns = TRY_AGAIN_NS;
	if (ns_per_unit > 0) {
		double gain = ns_per_unit * (double)remaining / threads;

		if (gain < least_ns) {
			because(w, plan->reluctant ? KTASK_WHY_WAITED : KTASK_WHY_SHORT);
			return false;
		}
		return true;
	}
	return plan->few;
}

/* Calls a helper. False: there is none to be had. */
static bool call(struct worker *w, double ns_per_unit)
{
	struct run *run = w->run;
	const struct plan *plan = w->plan;
	unsigned turn;
	bool called;

	atomic_store_explicit(&run->ns_per_unit, (float)ns_per_unit, memory_order_relaxed);
	turn = atomic_load_explicit(&run->team.nr_called, memory_order_relaxed) + 1;
	if (turn == 1)
		run->published = *plan;
	w->now = team_call(&run->team, cut_node_in_turn(&plan->cut, turn)); /* what that took is not the next chunk's */
	w->refused = w->now == TEAM_REFUSED;
	called = w->now > TEAM_NONE_IDLE;
	if (!called) {
		because(w, KTASK_WHY_NONE_FREE);
		w->now = clock_ns();
	}
	w->called_at = w->now;
	return called;
}

/*
 * Before it calls a helper that waits awake, the caller claims what it does itself meanwhile: so it need not wait for the
 * lines that the two share, which are on their way to the helper then.
 */
static void claim_ahead(struct worker *caller)
{
	const struct cut *cut = &caller->plan->cut;

	if (cut->nr_cursors > 1 || cut->iter_func)
		return;
	caller->cursor = cut->cursors;
	cut_claim_first(caller->cursor, share_size(caller, 2), &caller->chunk);
	caller->is_ahead = true;
}

/* Only what earlier runs have told is known. */
void heartbeat_begin(struct worker *caller)
{
	struct run *run = caller->run;
	struct plan *plan = &run->plan;
	uint64_t spent = short_runs.spent;
	double ns_per_unit = plan->known.ns_per_unit, least_ns;
	bool warm, called;

	/* Short or long: the first chunk will tell, and it is a small one. */
	if (plan->known.flags & COST_VARIES)
		caller->pace.ns_per_unit = 0;
	if (max_threads(run) == 1) {
		because(caller, KTASK_WHY_ENOUGH);
		return;
	}
	if (ns_per_unit > 0 && worth_none(ns_per_unit * (double)plan->cut.total)) {
		because(caller, KTASK_WHY_SHORT);
		doubt_warmth(ns_per_unit * (double)plan->cut.total, caller->now);
		return;
	}
	/* What was shown in so short a time says little of much more work: the first chunk will tell. */
	if (plan->known.flags & COST_ROUGH && !plan->few)
		ns_per_unit = 0;
	if (caller->now - short_runs.end > QUICK_NS)
		spent = short_runs.spent = 0;
	run->team.hot = spent > 0;
	warm = pool_is_warm();
	if (warm) {
		plan->even = share_in_batches(caller, ns_per_unit);
		least_ns = worth_least_awake(plan);
	} else if (plan->known.flags & COST_VARIES && worth_least(plan) > 0) {
		because(caller, KTASK_WHY_SHORT);
		return;
	} else if ((double)spent > worth_least(plan)) {
		/* Earned together, if another one like them gains anything at all. */
		short_runs.spent = 0;
		least_ns = (double)price_warm_ns();
	} else {
		least_ns = worth_least_known(run, plan->cut.total, ns_per_unit * (double)plan->cut.total);
		/* Memory may deceive: what is not far above the price, and has been so once only, waits for the heartbeat. */
		if (!(plan->known.flags & COST_CONFIRMED))
			least_ns *= 2;
	}
	if (!is_worth(caller, ns_per_unit, least_ns))
		return;
	if (warm)
		claim_ahead(caller);
	called = call(caller, ns_per_unit);
	if (called && !warm)
		price_tried();
	else if (caller->refused)
		price_untried();
}

static void call_if_worth(struct worker *w)
{
	if (is_worth(w, w->pace.ns_per_unit, worth_least(w->plan)))
		call(w, w->pace.ns_per_unit);
}

void heartbeat_join(struct worker *helper)
{
	call_if_worth(helper);
}

void heartbeat(struct worker *w)
{
	/* What others write is looked at last. */
	if (w->now - w->called_at >= price_wake_ns() && team_size(&w->run->team) + 1 < max_threads(w->run))
		call_if_worth(w);
}

void heartbeat_end(struct worker *caller)
{
	struct run *run = caller->run;
	const struct plan *plan = &run->plan;
	unsigned called = atomic_load_explicit(&run->team.nr_called, memory_order_relaxed);
	unsigned retreated = atomic_load_explicit(&run->team.nr_retreated, memory_order_relaxed);
	bool alone = called == 0;
	double known = plan->known.ns_per_unit * (double)plan->cut.total;

	if (caller->pace.units) {
		struct cost cost = cost_measured(caller->pace.units, caller->pace.ns, plan->known);

		if (!alone) {
			cost.flags &= ~(unsigned)COST_WAITS;
			if (max_threads(run) < run->nr_holes)
				cost.flags |= COST_WAITS;
			share_judge(caller, &cost);
		}
		cost_remember(known_as(run), cost, plan->known);
	}
	if (!alone)
		worth_called(plan, known, called > run->team.nr_cancelled + retreated);
	else if (caller->why == KTASK_WHY_SHORT)
		worth_declined(plan, known);
	if (alone && run->nr_holes > 1)
		short_runs.spent += caller->now - plan->begin;
	else if (alone && (double)(caller->now - plan->begin) > worth_least(plan))
		pool_look_again(caller->now);
	short_runs.end = caller->now;
}
