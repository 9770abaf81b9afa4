/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * run.c: one call from start to end.
 *
 *   1. The caller checks what it was given. What is known to be over before anybody could help is done now, ahead of all
 *      that follows. For the rest it prepares the cut (chunk.c).
 *   2. It starts on chunks at once, like every thread that will join it: claim, call the thread function, again.
 *   3. Now and then it looks whether what is left is worth a helper, and calls one (pool.c). A helper that comes looks
 *      the same way before it starts: so a large team grows as a tree, and a small run never pays for one.
 *   4. When nothing is left to claim, or after a failure, threads leave. The caller sends home those helpers that have
 *      not come yet and waits for the others.
 *   5. If the run failed, the caller undoes what was finished (undo.c). What happened is told (record.c).
 */
#define _GNU_SOURCE
#include "clock.h"
#include "ctl.h"
#include "facts.h"
#include "heartbeat.h"
#include "hot.h"
#include "prefetch.h"
#include "probes.h"
#include "record.h"
#include "share.h"
#include "thread_local.h"
#include "worth.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

/* The poll function is called this far apart. */
enum { POLL_NS = 20000000 };

/* A helper that has waited so long, and two fifths of its time, goes home: of two that share a lock, each waits half. */
enum { WAITED_NS = 100000 };

/* What this thread works on, in the innermost run. */
static THREAD_LOCAL struct worker *current;

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

/* Is this the child of a fork that happened during the run, and its helpers, with their chunks, not here? */
static bool orphaned(const struct run *run, const struct plan *plan)
{
	return plan->forks != pool_forks() && team_size(&run->team) > 0;
}

/* ---- chunks ----------------------------------------------------------------------------------------------------- */

/* Moves w to where there is work left. False: there is none. */
static bool find_work(struct worker *w)
{
	const int *distance = w->node < 0 ? NULL : pool_topology()->nodes[w->node].distance;

	w->cursor = cut_go_on(&w->plan->cut, w->cursor, w->node, distance);
	return w->cursor != NULL;
}

static void poll(struct worker *caller)
{
	struct run *run = caller->run;
	const struct plan *plan = &run->plan;
	int stop;

	if (!run->ctl.kc_poll_func || failed(run) || caller->now - caller->polled < POLL_NS)
		return;
	stop = run->ctl.kc_poll_func(plan->cut.total - cut_remaining(&plan->cut), plan->cut.total,
				     run->ctl.kc_poll_arg);
	if (stop)
		fail(run, stop, NULL);
	caller->polled = caller->now = clock_ns();
}

/* One by one: to clear it all and then set some takes as long as a claim. */
static void begin_work(struct worker *w, struct run *run, const struct plan *plan, int thread, int node, uint64_t now)
{
	w->run = run;
	w->plan = plan;
	w->thread = thread;
	w->node = node;
	w->cursor = NULL;
	w->is_ahead = false;
	w->pace.ns_per_unit = 0;
	w->pace.last = w->pace.units = 0;
	w->pace.ns = 0;
	w->chunks = 0;
	w->waited = 0;
	w->joined = w->now = w->called_at = w->polled = now;
	w->why = 0;
	w->refused = false;
	w->tid = is_traced(plan) ? pool_tid() : 0;
}

static team_work help;

static int do_chunk(struct worker *w, const struct chunk *chunk)
{
	const struct plan *plan = w->plan;
	uint64_t begin = w->now;
	int cpu = is_traced(plan) ? sched_getcpu() : -1;
	unsigned forks = pool_forks();
	int result;

	PROBE3(chunk__begin, w->run, chunk->start, chunk->end);
	result = plan->thread_func(chunk->start, chunk->end, plan->func_arg);
	if (w->thread != 0) {
		if (forks != pool_forks())
			exit(0); /* the child of a helper: the run's memory is nobody's here */
		team_check(&w->run->team, help);
	}
	PROBE2(chunk__end, w->run, result);
	w->now = clock_ns();
	w->chunks++;
	pace_update(&w->pace, chunk->to - chunk->from, clock_since(begin, w->now));
	if (is_traced(plan))
		record_chunk(w, chunk, begin, cpu, result);
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
	const struct plan *plan = w->plan;
	struct worker *outer = current;
	struct chunk *chunk = &w->chunk;

	current = w;

	while (w->is_ahead || (!failed(run) && !orphaned(run, plan) && find_work(w))) {
		int result;

		if (w->thread != 0 && plan->shares_lock && pool_makes_way(w->thread - 1, &w->now))
			break;
		if (!w->is_ahead && !cut_claim(&plan->cut, w->cursor, share_size(w, team_size(&run->team) + 1), chunk))
			continue;
		w->is_ahead = false;
		if (failed(run)) { /* while this thread was claiming */
			holes_add(&run->holes, chunk);
			break;
		}
		result = do_chunk(w, chunk);
		if (result != KTASK_RETURN_SUCCESS) {
			fail(run, result, chunk);
			holes_add(&run->holes, chunk);
			break;
		}
		if (only_waits(w)) {
			atomic_fetch_sub_explicit(&run->max_threads, 1, memory_order_relaxed);
			break;
		}
		if (w->thread == 0)
			poll(w);
		else if (pool_is_overfull(w->now) || pool_wants_back(w->thread - 1, w->now))
			break;
		heartbeat(w);
	}
	current = outer;
}

/* A thread function has ended its helper. The pool does the rest (helper_ends). */
static void fail_ended(void *helper)
{
	struct worker *w = helper;

	fail(w->run, -ECANCELED, &w->chunk);
	holes_add(&w->run->holes, &w->chunk);
}

/* What a helper does for the run that it was called to. */
static void help(struct team *team, int helper, int node, uint64_t now)
{
	struct run *run = (struct run *)team;
	struct plan plan;
	struct worker w;

	__builtin_prefetch(&run->team.here);
	prefetch_to_write(&run->cursor.next);
	prefetch_all_to_read(&run->published, &run->chunks);
	plan = run->published;
	begin_work(&w, run, &plan, helper + 1, node, now);
	w.pace.ns_per_unit = (double)atomic_load_explicit(&run->ns_per_unit, memory_order_relaxed);
	heartbeat_join(&w);
	pthread_cleanup_push(fail_ended, &w);
	work(&w);
	pthread_cleanup_pop(0);
	if (w.chunks)
		share_leave(&w);
	if (w.chunks && plan.reports) {
		atomic_fetch_add_explicit(&run->chunks, w.chunks, memory_order_relaxed);
		atomic_fetch_add_explicit(&run->threads, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&run->busy_ns, w.pace.ns, memory_order_relaxed);
	}
	if (plan.trace)
		record_all(&w, KTASK_EVENT_STAY, w.joined, clock_ns(), 0);
}

/* ---- the call --------------------------------------------------------------------------------------------------- */

static unsigned count_threads(const struct run *run)
{
	size_t max = (size_t)pool_most_helpers() + 1;

	if (run->ctl.kc_max_threads && max > run->ctl.kc_max_threads)
		max = run->ctl.kc_max_threads;
	return (unsigned)(max < run->nr_chunks ? max : run->nr_chunks);
}

/* Looks after the run until the last helper is gone. */
static void wait_for_helpers(struct worker *caller)
{
	while (!orphaned(caller->run, caller->plan) && !team_gather(&caller->run->team, POLL_NS)) {
		caller->now = clock_ns();
		poll(caller);
	}
}

/*
 * The caller ends in the middle of the run: its thread function or one of its other functions calls pthread_exit() or
 * is cancelled, or belongs to an interpreter that ends and lets nobody in again. With its stack goes the team, so not
 * before the helpers are gone.
 */
static void abandon(void *arg)
{
	struct run *run = arg;

	fail(run, -ECANCELED, NULL);
	while (!orphaned(run, &run->plan) && !team_gather(&run->team, POLL_NS))
		;
	if (run->team.trace)
		trace_leave();
}

/* -1 where it makes no difference. The topology is there once a node was named (check_nodes), but not before. */
static int node_of_caller(const struct cut *cut)
{
	int cpu;

	for (size_t i = 0; cut->nr_cursors > 1 && i < cut->nr_cursors; i++)
		if (cut->cursors[i].node >= 0)
			return pool_topology()->nr_nodes > 1 ? topology_here(pool_topology(), &cpu) : -1;
	return -1;
}

/* What a run begins with; all that could be refused has been. */
static void prepare(struct run *run, struct chunk *holes)
{
	struct plan *plan = &run->plan;

	run->holes.chunk = holes;
	run->chunk_failed = false;
	atomic_init(&run->holes.nr, 0);
	atomic_init(&run->error, 0);
	atomic_init(&run->chunks, 0);
	atomic_init(&run->threads, 0);
	atomic_init(&run->busy_ns, 0);
	atomic_init(&run->uneven, false);
	atomic_init(&run->max_threads, run->nr_holes);
	atomic_init(&run->ns_per_unit, 0);
	team_init(&run->team, help, run->nr_holes - 1);
	run->team.shares_lock = plan->shares_lock = run->ctl.kc_shares_lock != 0;
	run->team.first = worth_is_first(plan);
	plan->trace = run->ahead.chunks ? NULL : trace_enter(); /* of half a run nothing is recorded */
	run->team.trace = plan->trace;
	plan->own_trace = run->ctl.kc_trace;
	plan->forks = run->team.forks;
	plan->thread_func = run->ctl.kc_thread_func;
	plan->func_arg = run->ctl.kc_func_arg;
	plan->polls = run->ctl.kc_poll_func != NULL;
	plan->reports = run->ctl.kc_report != NULL;
	run->team.run = is_traced(plan) ? trace_number() : 0;
}

/* What was done ahead is done as if it were by this worker. There is one node. */
static void catch_up(struct worker *caller)
{
	struct run *run = caller->run;
	const struct ahead *ahead = &run->ahead;

	cut_claim(&run->plan.cut, run->plan.cut.cursors, ahead->units, &caller->chunk);
	caller->chunks = ahead->chunks;
	caller->now = ahead->now;
	pace_update(&caller->pace, ahead->units, ahead->now - run->plan.begin);
	if (ahead->error != KTASK_RETURN_SUCCESS) {
		cut_claim(&run->plan.cut, run->plan.cut.cursors, ahead->failed, &caller->chunk);
		fail(run, ahead->error, &caller->chunk);
		holes_add(&run->holes, &caller->chunk);
		return;
	}
	if (max_threads(run) == 1)
		caller->why = KTASK_WHY_ENOUGH;
	poll(caller);
	heartbeat(caller);
}

static int run_cut(struct run *run)
{
	struct chunk holes[run->nr_holes];
	struct worker caller;
	size_t undone = 0;
	int error;

	prepare(run, holes);
	begin_work(&caller, run, &run->plan, 0, node_of_caller(&run->plan.cut), run->plan.begin);
	caller.pace.ns_per_unit = run->plan.known.ns_per_unit;
	if (!run->ahead.chunks)
		PROBE3(run__begin, run, run->ctl.kc_thread_func, run->plan.cut.total);
	pthread_cleanup_push(abandon, run);
	if (run->ahead.chunks)
		catch_up(&caller);
	else
		heartbeat_begin(&caller);
	work(&caller);
	wait_for_helpers(&caller);
	pthread_cleanup_pop(0);
	if (orphaned(run, &run->plan)) { /* no telling what the helpers had finished when they were left behind */
		atomic_store_explicit(&run->error, -ECHILD, memory_order_relaxed);
		run->chunk_failed = false;
		run->ctl.kc_undo_func = NULL;
	}

	error = atomic_load_explicit(&run->error, memory_order_relaxed);
	if (error && run->ctl.kc_undo_func)
		undone = undo_finished(&run->plan.cut, &run->holes, &run->ctl);
	if (error || atomic_load_explicit(&run->team.nr_called, memory_order_relaxed))
		caller.now = clock_ns(); /* else since its last chunk next to nothing has happened */
	if (!error)
		heartbeat_end(&caller);
	if (run->ctl.kc_report)
		record_report(&caller, undone);
	if (run->plan.trace) {
		record_all(&caller, KTASK_EVENT_RUN, run->plan.begin, caller.now, error);
		trace_leave();
	}
	PROBE2(run__end, run, error);
	return error;
}

/* A run that is known to be over before anybody could help, chunk after chunk. False: it is not, or there is something to undo. */
static bool is_over_ahead(struct run *run, const struct ktask_node *node, size_t size)
{
	const struct ktask_ctl *ctl = &run->ctl;
	struct ahead *ahead = &run->ahead;
	void *start = node->kn_start, *end;

	PROBE3(run__begin, run, ctl->kc_thread_func, node->kn_task_size);
	for (;;) {
		size_t left = node->kn_task_size - ahead->units;

		if (size > left)
			size = left;
		end = ctl->kc_iter_func(start, size);
		ahead->error = ctl->kc_thread_func(start, end, ctl->kc_func_arg);
		ahead->now = clock_ns();
		ahead->chunks++;
		if (ahead->error != KTASK_RETURN_SUCCESS) {
			ahead->failed = size;
			if (ahead->units)
				return false;
			break;
		}
		ahead->units += size;
		if (size == left) {
			heartbeat_end_ahead(run, ahead->now);
			break;
		}
		if (heartbeat_is_due(&run->plan, ahead->now))
			return false;
		start = end;
	}
	PROBE2(run__end, run, ahead->error);
	if (ctl->kc_report)
		record_ahead(run, node, end);
	return true;
}

/* Any other run. */
static __attribute__((noinline)) int run_prepared(struct run *run, struct ktask_node *nodes, size_t nr_nodes)
{
	struct cursor cursors[nr_nodes > 1 ? nr_nodes : 1];
	struct cut *cut = &run->plan.cut;
	int error;

	/* The helper of the last run may still have what is written before it can begin again. */
	if (heartbeat_is_quick(run)) {
		pool_prefetch();
		prefetch_to_write(&run->team);
		prefetch_to_write(&run->team.here);
		prefetch_all_to_write(&run->published, &run->chunks);
	}
	cut->cursors = nr_nodes > 1 ? cursors : &run->cursor;
	error = cut_init(cut, nodes, nr_nodes, &run->ctl);
	if (error)
		return error;
	for (size_t i = 0; i < cut->nr_cursors; i++)
		if (cut->cursors[i].nid != NUMA_NO_NODE)
			cut->cursors[i].node = topology_of_nid(pool_topology(), cut->cursors[i].nid);
	run->nr_chunks = cut_nr_chunks(cut);
	run->nr_holes = run->nr_chunks ? count_threads(run) : 1;
	heartbeat_prepare(run);
	error = run_cut(run);
	cut_destroy(cut);
	return error;
}

HOT int ktask_run_numa(struct ktask_node *nodes, size_t nr_nodes, struct ktask_ctl *ctl)
{
	struct run run;
	int error;

	if (not_gathered)
		look_for_left((uintptr_t)&run, sizeof(run));
	error = take_ctl(&run.ctl, ctl);
	if (!error)
		error = check_nodes(nodes, nr_nodes);
	if (error)
		return error;
	heartbeat_recall(&run, nodes, nr_nodes);
	run.plan.begin = clock_ns();
	run.ahead = (struct ahead){ 0 };
	if (nr_nodes == 1) {
		size_t size = heartbeat_ahead(&run, &nodes[0]);

		if (size && is_over_ahead(&run, &nodes[0], size))
			return run.ahead.error;
	}
	return run_prepared(&run, nodes, nr_nodes);
}

HOT int ktask_run(void *start, size_t task_size, struct ktask_ctl *ctl)
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

int ktask_refresh(void)
{
	if (pool_start())
		facts_refresh(NULL);
	return 0;
}
