/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heartbeat.c: when a run calls helpers, and how much a thread takes at once.
 *
 * When is a helper worth calling? It costs its caller wake_ns to wake one that is asleep, and the helper comes
 * answer_ns later; both are measured (price.c). As long as nothing is known of the work, the caller does it alone until it
 * has lasted as long as a wake would cost: then the wake at most doubles what was spent so far, and a shorter run has
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
#include "thread_local.h"

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

/* And what a helper saves has to be worth so many calls. */
#define CALLS_PER_HELPER 80.0

/* Where helpers only waited the last time, one is tried again if this much is left, and in one run of so many. */
#define TRY_AGAIN_NS 50e6
enum { TRY_AGAIN_RUNS = 16 };

/*
 * A caller that wakes a helper loses wake_ns, and so has done half of T of work after (T + wake_ns + answer_ns) / 2: it
 * gains if T is more than wake_ns + answer_ns. By this factor at least, since now and then the helper comes late.
 */
#define MARGIN 1.25

/*
 * By this factor where the last run called one. A helper that is called often answers sooner than one that is called now and
 * then: with one margin for both, runs of some lengths would stay alone because they have been alone.
 */
#define MARGIN_AGAIN 1.2

/* What would be worth a helper on most machines, if not on a busy one. */
#define USUAL_PRICE_NS 30e3

/* What is done before anything is prepared is looked at so many times, while it lasts as long as is known. */
#define AHEAD_PARTS 4.0

/* Who is alone, and will be for a while, takes so much at once: a pause after a retreat, for one, is longer. */
#define ALONE_NS 1e6

/* Runs no longer than this, in all, are cut in batches if their units are even, and show whether they are. */
#define EVEN_NS 500000.0

/* A batch is the last one if less than this would be left for each thread: another claim costs more than it evens out. */
#define REST_NS 1500.0

/* A helper begins later than its caller, who hears of its end later still: by so many times as long as an answer takes. */
#define LATE_ANSWERS 3.0

/* Runs follow in quick succession when no more than this lies between them: while a helper lingers. */
enum { QUICK_NS = 50000 };

/* Runs of this thread that were too short for a helper, one soon after the other. */
static THREAD_LOCAL struct {
	uint64_t end;	/* of the last one */
	uint64_t spent; /* on all of them */
} short_runs;

/* Did the last run of this thread that called a helper, or may have lost by calling none, call one? */
static THREAD_LOCAL bool called_last;

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
	plan->floor_ns = CALLS_PER_CHUNK * (double)plan->call_ns;
	if (plan->floor_ns < FLOOR_NS)
		plan->floor_ns = FLOOR_NS;
}

void heartbeat_prepare(struct run *run)
{
	struct plan *plan = &run->plan;

	/* The microseconds of the clock are as good as dice. */
	plan->reluctant = plan->known.flags & COST_WAITS && plan->begin / 1000 % TRY_AGAIN_RUNS != 0;
	plan->even = false;
}

/* What calls that take long themselves add to the price of a helper, who makes more of them. */
static double calls_price(const struct plan *plan)
{
	return CALLS_PER_HELPER * (double)plan->call_ns;
}

/* What a helper costs that is asleep and takes so long to answer, and one that waits awake. */
static double price_cold(const struct plan *plan, double margin, uint64_t answer_ns)
{
	return margin * (double)(price_wake_ns() + answer_ns) + calls_price(plan);
}

static double price_warm(const struct plan *plan)
{
	return (double)price_warm_ns() + calls_price(plan);
}

/* What is gained by one more helper has to be more than this. */
static double price(const struct plan *plan)
{
	return pool_is_warm() ? price_warm(plan) : price_cold(plan, MARGIN, price_answer_ns());
}

/* Is work so long that it may be worth a wake, if not now? */
static bool is_in_question(const struct plan *plan, double ns)
{
	return ns > USUAL_PRICE_NS + calls_price(plan);
}

/* How much sooner it ends with a helper that takes so long to answer. */
static double gain_ns(const struct plan *plan, double ns, uint64_t answer_ns)
{
	return (ns - price_cold(plan, MARGIN_AGAIN, answer_ns)) / 2;
}

/* If a helper were worth it, could a run of so many units have one? */
static bool may_have_helper(const struct run *run, size_t units)
{
	return run->ctl.kc_max_threads != 1 && run->ctl.kc_min_chunk_size < units &&
	       !(run->plan.known.flags & COST_WAITS) && pool_most_helpers() > 0;
}

/* What a helper that is asleep costs a run of so many units that is known to take so long. */
static double price_for_known(const struct run *run, size_t units, double ns)
{
	const struct plan *plan = &run->plan;

	if (price_on_trial() && is_in_question(plan, ns) && may_have_helper(run, units))
		return ns;
	return called_last ? price_cold(plan, MARGIN_AGAIN, price_again_ns())
			   : price_cold(plan, MARGIN, price_answer_ns());
}

/* A run that was known to take so long has done without a helper since they are so dear. */
static void decline(const struct plan *plan, double ns)
{
	double lost = gain_ns(plan, ns, price_hope_ns());

	if (!is_in_question(plan, ns) || (plan->known.flags & (COST_CONFIRMED | COST_VARIES)) != COST_CONFIRMED)
		return;
	if (lost > 0)
		called_last = false;
	price_doubt(lost);
}

/* Is it not worth even a helper that waits awake? While none does, what is but just worth one is not worth earning one. */
HOT static bool is_too_short(double ns)
{
	double least = (double)price_warm_ns();

	return ns < least || (ns < MARGIN * least && !pool_is_warm());
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
	if (is_too_short(ns))
		return node->kn_task_size;
	/* In quick succession runs earn a helper together. And where chunks may end is for the cut to say. */
	if (heartbeat_is_quick(run) || pool_is_warm() || ns >= price_for_known(run, node->kn_task_size, ns) ||
	    run->ctl.kc_iter_func != ktask_iter_range || run->ctl.kc_align > 1)
		return 0;
	least = ns / AHEAD_PARTS > plan->floor_ns ? ns / AHEAD_PARTS : plan->floor_ns;
	chunks = least / ns_per_unit / (double)min;
	return least >= ns || chunks * (double)min >= (double)node->kn_task_size ? node->kn_task_size
										 : ((size_t)chunks + 1) * min;
}

HOT bool heartbeat_is_due(const struct plan *plan, uint64_t now)
{
	return (double)(now - plan->begin) >= price(plan);
}

HOT int heartbeat_why_ahead(const struct run *run, uint64_t now)
{
	if (run->ctl.kc_max_threads == 1)
		return KTASK_WHY_ENOUGH;
	return heartbeat_is_due(&run->plan, now) ? KTASK_WHY_NOT_ASKED : KTASK_WHY_SHORT;
}

void heartbeat_end_ahead(const struct run *run, uint64_t now)
{
	const struct plan *plan = &run->plan;
	uint64_t ns = clock_since(plan->begin, now);
	double known = plan->known.ns_per_unit * (double)run->ahead.units;
	bool helper;

	cost_learn(known_as(run), run->ahead.units, ns, plan->known);
	if (is_too_short(known)) {
		if (ns > USUAL_WARM_NS && price_is_told(now))
			price_doubt_warmth();
		return;
	}
	helper = may_have_helper(run, run->ahead.units);
	if (helper)
		decline(plan, known);
	short_runs.spent = helper ? ns : 0;
	short_runs.end = now;
}

/* How much more than an equal share w does, for all to end together: what each helper does less. */
static double lead_ns(const struct worker *w, unsigned threads)
{
	double late = LATE_ANSWERS * (double)price_awake_ns() / threads;

	return w->thread == 0 ? late * (threads - 1) : -late;
}

/* The next chunk that w takes from its cursor, as one of so many threads. */
static size_t size_for(const struct worker *w, unsigned threads)
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

size_t heartbeat_size(const struct worker *w)
{
	return size_for(w, team_size(&w->run->team) + 1);
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
	cut_claim_first(caller->cursor, size_for(caller, 2), &caller->chunk);
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
	if (ns_per_unit > 0 && is_too_short(ns_per_unit * (double)plan->cut.total)) {
		because(caller, KTASK_WHY_SHORT);
		if (ns_per_unit * (double)plan->cut.total > USUAL_WARM_NS && price_is_told(caller->now))
			price_doubt_warmth();
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
		plan->even = caller->pace.ns_per_unit > 0 && plan->known.flags & COST_EVEN && ns_per_unit > 0 &&
			     ns_per_unit * (double)plan->cut.total < EVEN_NS;
		least_ns = price_warm(plan);
	} else if (plan->known.flags & COST_VARIES && price(plan) > 0) {
		because(caller, KTASK_WHY_SHORT);
		return;
	} else if ((double)spent > price(plan)) {
		/* Earned together, if another one like them gains anything at all. */
		short_runs.spent = 0;
		least_ns = (double)price_warm_ns();
	} else {
		least_ns = price_for_known(run, plan->cut.total, ns_per_unit * (double)plan->cut.total);
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
	if (is_worth(w, w->pace.ns_per_unit, price(w->plan)))
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

/* Did a unit cost this thread about what it cost the last time? What differs by less is made up for (batch_next). */
static bool is_as_known(const struct worker *w)
{
	return cost_is_as_known(w->pace.units, w->pace.ns, w->plan->known);
}

void heartbeat_leave(const struct worker *helper)
{
	if (helper->plan->known.ns_per_unit > 0 && !is_as_known(helper))
		atomic_store_explicit(&helper->run->uneven, true, memory_order_relaxed);
}

/* What a run with helpers shows of its work. Do they wait for each other? Are units even, or those of one thread dearer? */
static void judge(const struct worker *caller, struct cost *cost)
{
	const struct run *run = caller->run;
	const struct plan *plan = &run->plan;
	double all = cost->ns_per_unit * (double)plan->cut.total;

	cost->flags &= ~(unsigned)COST_WAITS;
	if (max_threads(run) < run->nr_holes)
		cost->flags |= COST_WAITS;
	/* In a long run each thread has had some of all units, unless it was cut in batches. */
	if (plan->known.ns_per_unit == 0 || (all >= EVEN_NS && !plan->even))
		return;
	cost->flags &= ~(unsigned)COST_EVEN;
	if (is_as_known(caller) && !atomic_load_explicit(&run->uneven, memory_order_relaxed))
		cost->flags |= COST_EVEN;
}

bool heartbeat_is_first(const struct plan *plan)
{
	return plan->known.ns_per_unit > 0 && !called_last;
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

		if (!alone)
			judge(caller, &cost);
		cost_remember(known_as(run), cost, plan->known);
	}
	if (!alone)
		called_last = true;
	else if (caller->why == KTASK_WHY_SHORT)
		decline(plan, known);
	if (called > run->team.nr_cancelled + retreated && is_in_question(plan, known))
		price_gained(gain_ns(plan, known, price_again_ns()));
	if (alone && run->nr_holes > 1)
		short_runs.spent += caller->now - plan->begin;
	else if (alone && (double)(caller->now - plan->begin) > price(plan))
		pool_look_again(caller->now);
	short_runs.end = caller->now;
}
