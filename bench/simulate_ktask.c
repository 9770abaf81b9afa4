/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * simulate_ktask.c: a run of ktask on the virtual clock. The sizes and the claims are made by the library itself
 * (chunk.c); when helpers are called is what heartbeat.c does, told again for this clock.
 */
#include "../csrc/chunk.h"
#include "simulate.h"

#include <stdio.h>
#include <stdlib.h>

enum { FLOOR_NS = 500 };

struct worker {
	struct cursor *cursor;
	struct pace pace;
	double called_at;
	double began; /* its last chunk */
	size_t units; /* that this had; 0: the thread has just come */
	bool called;
};

struct run {
	struct cursor cursors[MAX_SIMULATED_NODES];
	struct cut cut;
	unsigned threads; /* called, the caller included */
	double known;
	struct worker workers[];
};

static struct run *start(const struct simulation *s, double known, const struct numa *numa)
{
	struct run *run = aligned_alloc(64, (sizeof(*run) + s->machine.cpus * sizeof(struct worker) + 63) / 64 * 64);
	struct ktask_node nodes[MAX_SIMULATED_NODES] = { { .kn_task_size = s->trace->n, .kn_nid = NUMA_NO_NODE } };
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, NULL, 1);

	if (!run) {
		fprintf(stderr, "no memory for %u threads\n", s->machine.cpus);
		exit(1);
	}
	for (unsigned i = 0; numa && i < numa->nodes; i++)
		nodes[i] = (struct ktask_node){ (void *)(uintptr_t)numa->first[i], numa->first[i + 1] - numa->first[i],
						(int)i };
	run->cut.cursors = run->cursors;
	cut_init(&run->cut, nodes, numa ? numa->nodes : 1, &ctl);
	for (size_t i = 0; numa && i < run->cut.nr_cursors; i++)
		run->cursors[i].node = run->cursors[i].nid;
	run->threads = 1;
	run->known = known;
	for (unsigned i = 0; i < s->machine.cpus; i++)
		run->workers[i] = (struct worker){ .pace.ns_per_unit = known, .called = i == 0 };
	return run;
}

static double mean_cost(const struct simulation *s)
{
	return s->trace->until[s->trace->n] / (double)s->trace->n;
}

/* The work was seen before: its mean cost is remembered. */
static void *start_known(struct simulation *s)
{
	return start(s, mean_cost(s), NULL);
}

static void *start_first(struct simulation *s)
{
	return start(s, 0, NULL);
}

static void *start_numa(struct simulation *s)
{
	return start(s, mean_cost(s), s->machine.numa);
}

static void *start_numa_first(struct simulation *s)
{
	return start(s, 0, s->machine.numa);
}

/* Like the pool: on that node or the nearest that has room, the caller's if it is all the same. */
static unsigned cpu_for_helper(const struct simulation *s, const struct run *run, int node)
{
	const struct numa *numa = s->machine.numa;
	const int *distance = numa ? numa->distance[node < 0 ? 0 : node] : &(const int){ 0 };
	unsigned best = 0; /* the caller's, which is never to be had */

	for (unsigned cpu = 1; cpu < s->machine.cpus; cpu++)
		if (!run->workers[cpu].called &&
		    (best == 0 || distance[node_of(&s->machine, cpu)] < distance[node_of(&s->machine, best)]))
			best = cpu;
	return best;
}

/* Returns when the thread goes on. */
static double call_if_worth(struct simulation *s, struct run *run, double time, struct worker *w, double prices)
{
	size_t remaining = cut_remaining(&run->cut);
	double ns_per_unit = w->pace.ns_per_unit;
	double price = prices * (2 * s->machine.wake_ns + s->machine.answer_ns);
	unsigned cpu;

	if (run->threads >= s->machine.cpus || remaining == 0)
		return time;
	if (ns_per_unit > 0 ? ns_per_unit * (double)remaining / run->threads < price : s->trace->n > FEW_CHUNKS)
		return time;
	cpu = cpu_for_helper(s, run, cut_node_in_turn(&run->cut, run->threads++));
	run->workers[cpu] = (struct worker){ .pace.ns_per_unit = ns_per_unit, .called = true };
	at(s, time + s->machine.answer_ns, cpu);
	return w->called_at = time + s->machine.wake_ns;
}

static void step(struct simulation *s, void *state, double time, unsigned cpu)
{
	const struct numa *numa = s->machine.numa;
	struct run *run = state;
	struct worker *w = &run->workers[cpu];
	unsigned node = node_of(&s->machine, cpu);
	struct chunk chunk;

	if (w->units) {
		pace_update(&w->pace, w->units, (uint64_t)(time - w->began));
		if (time - w->called_at >= s->machine.wake_ns)
			time = call_if_worth(s, run, time, w, 1);
	} else {
		w->called_at = time;
		time = call_if_worth(s, run, time, w, cpu == 0 ? 2 : 1);
	}
	w->began = time;
	w->cursor = cut_go_on(&run->cut, w->cursor, (int)node, numa ? numa->distance[node] : NULL);
	if (!w->cursor ||
	    !cut_claim(&run->cut, w->cursor,
		       pace_next(&w->pace, &run->cut, w->cursor, run->threads, FLOOR_NS, PACE_TARGET_NS, time), &chunk))
		return;
	w->units = chunk.to - chunk.from;
	do_units(s, claim(s, (size_t)(w->cursor - run->cursors), time), cpu, (uintptr_t)chunk.start,
		 (uintptr_t)chunk.end);
}

const struct policy policy_ktask = { "ktask", start_known, step, NULL, true };
const struct policy policy_ktask_first = { "ktask, first run", start_first, step, NULL, true };
const struct policy policy_ktask_numa = { "ktask_run_numa", start_numa, step, NULL, true };
const struct policy policy_ktask_numa_first = { "ktask_run_numa, first run", start_numa_first, step, NULL, true };
