/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * run.c: one call from start to end.
 *
 *   1. The caller checks what it was given and prepares the cut (chunk.c).
 *   2. It starts on chunks at once, like every thread that will join it: claim, call the thread function, again.
 *   3. Now and then it looks whether what is left is worth a helper, and calls one (pool.c). A helper that comes looks
 *      the same way before it starts: so a large team grows as a tree, and a small run never pays for one.
 *   4. When nothing is left to claim, or after a failure, threads leave. The caller sends home those helpers that have
 *      not come yet and waits for the others.
 *   5. If the run failed, the caller undoes what was finished (undo.c).
 *
 * When is a helper worth calling? It costs its caller wake_ns to wake one that is asleep, and the helper comes
 * answer_ns later; the pool measures both. As long as nothing is known of the work, the caller does it alone until it
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
#include "chunk.h"
#include "clock.h"
#include "ctl.h"
#include "pool.h"
#include "thread_local.h"
#include "trace.h"
#include "undo.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

/* The poll function is called this far apart. */
enum { POLL_NS = 20000000 };

/*
 * A chunk should take about this long: long beside a claim (0.03 µs), short beside what a user calls at once. Not less
 * than the floor, even at the end: that much difference between threads no longer shows. And a caller that is still
 * alone cuts no finer than it has use for: it looks after each chunk whether to call a helper.
 */
#define TARGET_NS 250000.0
#define FLOOR_NS  1000.0
#define ALONE_NS  5000.0

/* A chunk is at least this many times as long as the call of the thread function itself. */
#define CALLS_PER_CHUNK 20.0

/* A helper that has waited so long, and two fifths of its time, goes home: of two that share a lock, each waits half. */
enum { WAITED_NS = 100000 };

/* Where helpers only waited the last time, one is tried again if this much is left, and in one run of so many. */
#define TRY_AGAIN_NS 50e6
enum { TRY_AGAIN_RUNS = 16 };

/* What would be worth a helper on most machines, if not on a busy one. */
#define USUAL_PRICE_NS 100e3

/* A task of unknown cost with no more chunks than this is taken to have long ones. */
enum { FEW_CHUNKS = 64 };

/* What calling a helper costs that lingers: a cache line to and fro, and then as much again to share the work. */
enum { WARM_NS = 2500 };

/* Runs follow in quick succession when no more than this lies between them: while a helper lingers. */
enum { QUICK_NS = 50000 };

struct run {
	/* Read by all, written before the first helper is called. */
	struct team team; /* the first member: the team of a run is the run */
	struct ktask_ctl ctl;
	struct cut cut;
	size_t nr_chunks;
	unsigned nr_holes; /* room for so many: the threads there may be at first */
	struct cost known; /* from earlier runs */
	bool reluctant;
	double floor_ns;
	uint64_t begin;
	struct holes holes;

	/* The first failure in time. Who brings error from 0 to its value writes the chunk. */
	_Alignas(64) _Atomic int error;
	bool chunk_failed;
	struct chunk failed;

	/* Written once for each thread, when it leaves. */
	_Alignas(64) _Atomic size_t chunks;
	_Atomic unsigned threads;

	/* Threads there may be, the caller included; one less for each helper that went home because it waited. */
	_Atomic unsigned max_threads;

	/* What a unit costs, in ns, for helpers to begin with; 0: not known yet. */
	_Atomic float ns_per_unit;
};

/* One thread at work on a run. */
struct worker {
	struct run *run;
	int thread; /* 0: the caller; n: helper n - 1 */
	int node;   /* whose CPUs it runs on; -1: not known, any */
	struct cursor *cursor;
	struct pace pace;
	size_t chunks;
	uint64_t joined;
	uint64_t waited;    /* ktask_waited() */
	uint64_t now;	    /* the end of its last chunk */
	uint64_t called_at; /* when it last called a helper */
	uint64_t polled;
};

/* What this thread works on, in the innermost run. */
static THREAD_LOCAL struct worker *current;

/* Runs of this thread that were too short for a helper, one soon after the other. */
static THREAD_LOCAL struct {
	uint64_t end;	/* of the last one */
	uint64_t spent; /* on all of them */
} short_runs;

static void fail(struct run *run, int error, const struct chunk *chunk)
{
	int none = 0;

	/* Relaxed: what was done before is published when this thread leaves the team, also the chunk. */
	if (!atomic_compare_exchange_strong_explicit(&run->error, &none, error, memory_order_relaxed,
						     memory_order_relaxed))
		return;
	run->chunk_failed = chunk != NULL;
	if (chunk)
		run->failed = *chunk;
}

static bool failed(const struct run *run)
{
	return atomic_load_explicit(&run->error, memory_order_relaxed) != 0;
}

static unsigned max_threads(const struct run *run)
{
	return atomic_load_explicit(&run->max_threads, memory_order_relaxed);
}

/* Is this the child of a fork that happened during the run, and its helpers, with their chunks, not here? */
static bool orphaned(const struct run *run)
{
	return run->team.forks != pool_forks() && team_size(&run->team) > 0;
}

/* ---- helpers ---------------------------------------------------------------------------------------------------- */

/* The node where the next helper is needed most: each cursor in turn, as the kernel's does. -1: any. */
static int node_for_helper(struct run *run)
{
	unsigned turn = atomic_load_explicit(&run->team.nr_called, memory_order_relaxed) + 1;

	for (size_t i = 0; i < run->cut.nr_cursors; i++) {
		const struct cursor *c = &run->cut.cursors[(turn + i) % run->cut.nr_cursors];

		if (cursor_remaining(c))
			return c->node;
	}
	return -1;
}

/* What is gained by one more helper has to be more than this. */
static double price(const struct run *run)
{
	double wake = pool_is_warm() ? WARM_NS : 2.0 * (double)pool_wake_ns() + (double)pool_answer_ns();

	return wake + 4 * (run->floor_ns - FLOOR_NS);
}

/* Calls a helper if one may be had and is worth it: alone, what is left takes longer by more than that much. */
static void call_if_worth(struct worker *w, double ns_per_unit, double least_ns)
{
	struct run *run = w->run;
	unsigned threads = team_size(&run->team) + 1;
	size_t remaining;

	if (threads >= max_threads(run))
		return;
	remaining = cut_remaining(&run->cut);
	if (remaining == 0)
		return;
	if (run->reluctant && least_ns < TRY_AGAIN_NS)
		least_ns = TRY_AGAIN_NS;
	if (ns_per_unit > 0) {
		double gain = ns_per_unit * (double)remaining / threads;

		if (gain < least_ns) {
			if (gain > USUAL_PRICE_NS && !run->reluctant)
				pool_doubt_answers();
			return;
		}
	} else if (run->nr_chunks > FEW_CHUNKS) {
		return;
	}
	atomic_store_explicit(&run->ns_per_unit, (float)ns_per_unit, memory_order_relaxed);
	team_call(&run->team, node_for_helper(run));
	w->called_at = w->now = clock_ns(); /* what that took is not the next chunk's */
}

/* Before the caller's first chunk: only what earlier runs have told is known. */
static void call_at_once(struct worker *caller)
{
	struct run *run = caller->run;
	uint64_t spent = short_runs.spent;

	if (max_threads(run) == 1)
		return;
	if (run->known.ns_per_unit > 0 && run->known.ns_per_unit * (double)run->cut.total < WARM_NS)
		return;
	if (caller->now - short_runs.end > QUICK_NS)
		spent = short_runs.spent = 0;
	run->team.hot = spent > 0;
	if (pool_is_warm()) {
		call_if_worth(caller, caller->pace.ns_per_unit, price(run));
	} else if ((double)spent > price(run)) {
		/* Earned together, if another one like them gains anything at all. */
		short_runs.spent = 0;
		call_if_worth(caller, caller->pace.ns_per_unit, WARM_NS);
	} else {
		/* Memory may deceive: what is not far above the price waits for the heartbeat. */
		call_if_worth(caller, caller->pace.ns_per_unit, 2 * price(run));
	}
}

static void heartbeat(struct worker *w)
{
	if (team_size(&w->run->team) + 1 < max_threads(w->run) && w->now - w->called_at >= pool_wake_ns())
		call_if_worth(w, w->pace.ns_per_unit, price(w->run));
}

/* ---- chunks ----------------------------------------------------------------------------------------------------- */

/* Moves w to a cursor with work left, the nearest to its node, unless it is on one. False: there is none. */
static bool find_work(struct worker *w)
{
	const struct cut *cut = &w->run->cut;
	const struct topology *t = pool_topology();
	int best = 0;

	if (w->cursor && cursor_remaining(w->cursor))
		return true;
	w->cursor = NULL;
	for (size_t i = 0; i < cut->nr_cursors; i++) {
		struct cursor *c = &cut->cursors[i];
		int distance = w->node < 0 || c->node < 0 ? 0
			       : w->node == c->node	  ? 0
							  : t->nodes[w->node].distance[c->node];

		if (cursor_remaining(c) && (!w->cursor || distance < best)) {
			w->cursor = c;
			best = distance;
		}
	}
	return w->cursor != NULL;
}

static size_t next_size(const struct worker *w)
{
	const struct run *run = w->run;
	size_t remaining = cursor_remaining(w->cursor);
	size_t threads = team_size(&run->team) + 1;
	double floor = run->floor_ns, target = TARGET_NS;

	if (max_threads(run) == 1) {
		if (!run->ctl.kc_poll_func)
			return remaining; /* nobody to share with, nobody to ask */
		floor = target;
	} else if (threads == 1) {
		floor = floor < ALONE_NS ? ALONE_NS : floor;
		if (w->pace.ns_per_unit > 0 && w->pace.ns_per_unit * (double)remaining <= floor)
			return remaining;
		target = floor + (double)(w->now - run->begin); /* at most twice as late as it could be */
	}
	if (run->cut.nr_cursors > 1) {
		/* This node's share of them. */
		size_t all = cut_remaining(&run->cut); /* less than remaining, even 0, where others have just claimed */

		if (all > remaining)
			threads = (size_t)((double)threads * (double)remaining / (double)all) + 1;
	}
	return pace_next(&w->pace, run->cut.quantum, remaining, threads, floor,
			 target < TARGET_NS ? target : TARGET_NS);
}

static void poll(struct worker *caller)
{
	struct run *run = caller->run;
	int stop;

	if (!run->ctl.kc_poll_func || failed(run) || caller->now - caller->polled < POLL_NS)
		return;
	stop = run->ctl.kc_poll_func(run->cut.total - cut_remaining(&run->cut), run->cut.total, run->ctl.kc_poll_arg);
	if (stop)
		fail(run, stop, NULL);
	caller->polled = caller->now = clock_ns();
}

static int do_chunk(struct worker *w, const struct chunk *chunk)
{
	struct run *run = w->run;
	uint64_t begin = w->now;
	int cpu = run->ctl.kc_trace ? sched_getcpu() : -1;
	int result = run->ctl.kc_thread_func(chunk->start, chunk->end, run->ctl.kc_func_arg);

	w->now = clock_ns();
	w->chunks++;
	pace_update(&w->pace, chunk->to - chunk->from, w->now - begin);
	if (run->ctl.kc_trace)
		trace_add(run->ctl.kc_trace, &(struct ktask_event){
						     .ke_begin = begin,
						     .ke_end = w->now,
						     .ke_start = chunk->start,
						     .ke_units = chunk->to - chunk->from,
						     .ke_thread = w->thread,
						     .ke_cpu = cpu,
						     .ke_nid = chunk->cursor->nid,
						     .ke_result = result,
					     });
	return result;
}

/* Does this helper do little else than wait for the others? */
static bool only_waits(const struct worker *w)
{
	return w->thread != 0 && w->waited > WAITED_NS && w->waited > (w->now - w->joined) / 5 * 2;
}

void ktask_waited(uint64_t ns)
{
	if (current)
		current->waited += ns;
}

/* Chunk after chunk, until none is left or the run has failed. */
static void work(struct worker *w)
{
	struct run *run = w->run;
	struct worker *outer = current;
	struct chunk chunk;

	current = w;

	while (!failed(run) && !orphaned(run) && find_work(w)) {
		int result;

		if (!cut_claim(&run->cut, w->cursor, next_size(w), &chunk))
			continue;
		if (failed(run)) { /* while this thread was claiming */
			holes_add(&run->holes, &chunk);
			break;
		}
		result = do_chunk(w, &chunk);
		if (result != KTASK_RETURN_SUCCESS) {
			fail(run, result, &chunk);
			holes_add(&run->holes, &chunk);
			break;
		}
		if (only_waits(w)) {
			atomic_fetch_sub_explicit(&run->max_threads, 1, memory_order_relaxed);
			break;
		}
		if (w->thread == 0)
			poll(w);
		heartbeat(w);
	}
	current = outer;
	if (w->chunks) {
		atomic_fetch_add_explicit(&run->chunks, w->chunks, memory_order_relaxed);
		atomic_fetch_add_explicit(&run->threads, 1, memory_order_relaxed);
	}
}

/* What a helper does for the run that it was called to. */
static void help(struct team *team, int helper, int node)
{
	struct run *run = (struct run *)team;
	struct worker w = { .run = run, .thread = helper + 1, .node = node, .now = clock_ns() };

	w.joined = w.called_at = w.now;
	w.pace.ns_per_unit = (double)atomic_load_explicit(&run->ns_per_unit, memory_order_relaxed);
	call_if_worth(&w, w.pace.ns_per_unit, price(run));
	work(&w);
}

/* ---- the call --------------------------------------------------------------------------------------------------- */

static unsigned count_threads(const struct run *run)
{
	size_t max = (size_t)pool_most_helpers() + 1;

	if (run->ctl.kc_max_threads && max > run->ctl.kc_max_threads)
		max = run->ctl.kc_max_threads;
	return (unsigned)(max < run->nr_chunks ? max : run->nr_chunks);
}

static const void *identity(const struct run *run)
{
	union {
		ktask_thread_func func;
		const void *address;
	} thread_func = { .func = run->ctl.kc_thread_func };

	return run->ctl.kc_identity ? run->ctl.kc_identity : thread_func.address;
}

/* Looks after the run until the last helper is gone. */
static void wait_for_helpers(struct worker *caller)
{
	while (!orphaned(caller->run) && !team_gather(&caller->run->team, POLL_NS)) {
		caller->now = clock_ns();
		poll(caller);
	}
}

static void remember(struct worker *caller)
{
	struct run *run = caller->run;
	bool alone = atomic_load_explicit(&run->team.nr_called, memory_order_relaxed) == 0;
	struct cost cost = { .helpers_wait = alone ? run->known.helpers_wait : max_threads(run) < run->nr_holes };

	if (caller->pace.units) {
		cost.ns_per_unit = (double)caller->pace.ns / (double)caller->pace.units;
		cost_remember(identity(run), cost);
	}
	if (alone && run->nr_holes > 1)
		short_runs.spent += caller->now - run->begin;
	short_runs.end = alone ? caller->now : clock_ns();
}

static void report(const struct run *run, size_t undone)
{
	struct ktask_report r = {
		.kr_struct_size = run->ctl.kc_report->kr_struct_size,
		.kr_ns = clock_ns() - run->begin,
		.kr_chunks = atomic_load_explicit(&run->chunks, memory_order_relaxed),
		.kr_undone = undone,
		.kr_threads = atomic_load_explicit(&run->threads, memory_order_relaxed),
		.kr_called = atomic_load_explicit(&run->team.nr_called, memory_order_relaxed),
		.kr_cancelled = run->team.nr_cancelled,
		.kr_willed = run->team.nr_willed,
		.kr_error = atomic_load_explicit(&run->error, memory_order_relaxed),
		.kr_error_nid = run->chunk_failed ? run->failed.cursor->nid : NUMA_NO_NODE,
		.kr_error_start = run->chunk_failed ? run->failed.start : NULL,
		.kr_error_end = run->chunk_failed ? run->failed.end : NULL,
	};

	memcpy(run->ctl.kc_report, &r, r.kr_struct_size < sizeof(r) ? r.kr_struct_size : sizeof(r));
}

/* -1 where it makes no difference. */
static int node_of_caller(const struct run *run)
{
	int cpu;

	return run->cut.nr_cursors > 1 && pool_topology()->nr_nodes > 1 ? topology_here(pool_topology(), &cpu) : -1;
}

/* What a run begins with; all that could be refused has been. */
static void prepare(struct run *run, struct chunk *holes)
{
	run->known = cost_recall(identity(run));
	/* The microseconds of the clock are as good as dice. */
	run->reluctant = run->known.helpers_wait && run->begin / 1000 % TRY_AGAIN_RUNS != 0;
	run->floor_ns = CALLS_PER_CHUNK * (double)run->ctl.kc_call_ns;
	if (run->floor_ns < FLOOR_NS)
		run->floor_ns = FLOOR_NS;
	run->holes.chunk = holes;
	run->chunk_failed = false;
	atomic_init(&run->holes.nr, 0);
	atomic_init(&run->error, 0);
	atomic_init(&run->chunks, 0);
	atomic_init(&run->threads, 0);
	atomic_init(&run->max_threads, run->nr_holes);
	atomic_init(&run->ns_per_unit, 0);
	team_init(&run->team, help, run->nr_holes - 1);
}

static int run_cut(struct run *run)
{
	struct chunk holes[run->nr_holes];
	struct worker caller = {
		.run = run,
		.thread = 0,
		.node = node_of_caller(run),
		.joined = run->begin,
		.now = run->begin,
		.called_at = run->begin,
		.polled = run->begin,
	};
	size_t undone = 0;
	int error;

	prepare(run, holes);
	caller.pace.ns_per_unit = run->known.ns_per_unit;
	call_at_once(&caller);
	work(&caller);
	wait_for_helpers(&caller);
	if (orphaned(run)) { /* no telling what the helpers had finished when they were left behind */
		atomic_store_explicit(&run->error, -ECHILD, memory_order_relaxed);
		run->chunk_failed = false;
		run->ctl.kc_undo_func = NULL;
	}

	error = atomic_load_explicit(&run->error, memory_order_relaxed);
	if (error == 0)
		remember(&caller);
	else if (run->ctl.kc_undo_func)
		undone = undo_finished(&run->cut, &run->holes, &run->ctl);
	if (run->ctl.kc_report)
		report(run, undone);
	return error;
}

int ktask_run_numa(struct ktask_node *nodes, size_t nr_nodes, struct ktask_ctl *ctl)
{
	struct run run;
	int error = take_ctl(&run.ctl, ctl);

	if (!error)
		error = check_nodes(nodes, nr_nodes);
	if (error)
		return error;

	struct cursor cursors[nr_nodes ? nr_nodes : 1];

	run.begin = clock_ns();
	run.cut.cursors = cursors;
	error = cut_init(&run.cut, nodes, nr_nodes, &run.ctl);
	if (error)
		return error;
	for (size_t i = 0; i < run.cut.nr_cursors; i++)
		if (cursors[i].nid != NUMA_NO_NODE)
			cursors[i].node = topology_of_nid(pool_topology(), cursors[i].nid);
	run.nr_chunks = cut_nr_chunks(&run.cut);
	run.nr_holes = run.nr_chunks ? count_threads(&run) : 1;
	error = run_cut(&run);
	cut_destroy(&run.cut);
	return error;
}

int ktask_run(void *start, size_t task_size, struct ktask_ctl *ctl)
{
	/* On the caller's node first: that is where a team without a node calls its helpers. */
	struct ktask_node node = { .kn_start = start, .kn_task_size = task_size, .kn_nid = NUMA_NO_NODE };

	return ktask_run_numa(&node, 1, ctl);
}

void *ktask_iter_range(void *position, size_t size)
{
	return (void *)((uintptr_t)position + size);
}

int ktask_init(void)
{
	if (pool_start())
		pool_bring_up();
	return 0;
}
