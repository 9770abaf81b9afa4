/* SPDX-License-Identifier: BSD-3-Clause */
/* simulate.h: loops of known costs, cut by ktask's own chunk.c and by models of its peers, on a virtual clock. */
#ifndef SIMULATE_H
#define SIMULATE_H

#include <stdbool.h>
#include <stddef.h>

/* ---- what is run (simulate_traces.c) ---------------------------------------------------------------------------- */

/* What each unit of a loop costs: until[i] is the sum, in ns, of those before unit i. */
struct trace {
	const char *name;
	size_t n;
	double *until;
	double longest;
};

enum { NR_TRACES = 9, MAX_SIMULATED_NODES = 64 };

/* The trace of that number, with 1/shrink of its units. Exits when there is no memory. */
struct trace trace_make(int number, size_t shrink);

/* All its units together take work_ns from now on. */
void trace_scale(struct trace *trace, double work_ns);
void trace_free(struct trace *trace);

/* ---- on what (simulate.c) --------------------------------------------------------------------------------------- */

/* Nodes with as many CPUs each, and the units that lie on each. */
struct numa {
	unsigned nodes;
	size_t first[MAX_SIMULATED_NODES + 1];			/* unit of each node; then, how many there are */
	int distance[MAX_SIMULATED_NODES][MAX_SIMULATED_NODES]; /* as in a SLIT: 10 is local */
	double memory; /* this part of what a unit costs at home grows with the distance */
};

struct machine {
	unsigned cpus;
	const struct numa *numa; /* NULL: one node */
	double line_ns;		 /* a claim holds the cursor's cache line for so long; others queue */
	double chunk_ns;	 /* and costs its thread this much more: a call, a look at the clock */
	double steal_ns;	 /* taking a task from another thread's queue */
	double wake_ns;		 /* waking a helper costs its caller this much, */
	double answer_ns;	 /* and the helper comes so long after the call */
};

struct machine machine_of(unsigned cpus);

/* A square mesh of nodes, 10 more for each step. Node 0 has heavy times as many of the n units as each of the others. */
void numa_mesh(struct numa *numa, unsigned nodes, size_t n, double heavy);

/* The node of a CPU. */
unsigned node_of(const struct machine *machine, unsigned cpu);

/* How many times as much as at home a unit costs. */
double far(const struct numa *numa, unsigned cpu_node, unsigned unit_node);

/* ---- by whom (simulate_ktask.c, simulate_openmp.c, simulate_tbb.c) ---------------------------------------------- */

/* What happens when, on the virtual clock: for each CPU, at most one event is on its way. */
struct simulation {
	const struct trace *trace;
	struct machine machine;
	struct event *events; /* a heap, the next one first */
	unsigned nr_events;
	double *line_free;    /* when the cache line of each cursor is free again */
	unsigned char *given; /* units that were given out */

	double end; /* of the last chunk */
	size_t chunks;
	size_t local; /* units done on their own node */
	double hops;  /* distance over 10, less 1, of each unit */
	bool once;    /* no unit was given out twice */
};

/* When a CPU's next event comes. */
void at(struct simulation *s, double time, unsigned cpu);

/* A turn at a cursor's line for a claim that begins then; returns when it ends, with what it costs its thread. */
double claim(struct simulation *s, size_t cursor, double time);

/* The CPU does [from, to) from then on, and its next event is the end of it. */
void do_units(struct simulation *s, double time, unsigned cpu, size_t from, size_t to);

/*
 * A way to cut. start prepares a simulation and returns what step gets, which stop frees. step is what a CPU does when
 * it has come, and whenever it has finished a chunk.
 */
struct policy {
	const char *name;
	void *(*start)(struct simulation *s);
	void (*step)(struct simulation *s, void *state, double time, unsigned cpu);
	void (*stop)(void *state, unsigned cpus); /* NULL: free() */
	bool calls; /* its step calls each helper; otherwise they come as soon as any tree of wakes could bring them */
};

extern const struct policy policy_ktask;			       /* which has seen this work before */
extern const struct policy policy_ktask_first;			       /* which has not */
extern const struct policy policy_ktask_numa, policy_ktask_numa_first; /* with a cursor for each node */
extern const struct policy policy_static_by_node; /* one equal part of its node's units for each thread */
extern const struct policy policy_kernel, policy_static, policy_dynamic, policy_dynamic_64, policy_guided, policy_tbb;
extern const struct policy policy_free; /* the limit of all that take units in order: one at a time, at no cost */

struct outcome {
	double makespan; /* ns */
	size_t chunks;
	double local; /* share of the units */
	double hops;  /* of a unit, on average */
	bool once;    /* each unit was given out exactly once */
};

/* On machine_of(cpus), with these nodes (NULL: one). */
struct outcome simulate(const struct policy *policy, const struct trace *trace, unsigned cpus, const struct numa *numa);

/*
 * No cut can be quicker, in ns: all CPUs work without a pause from the moment when the quickest tree of wakes brings
 * them, and the longest unit takes as long as it takes. On nodes, see simulate_engine.c.
 */
double ideal(const struct trace *trace, unsigned cpus, const struct numa *numa);

#endif
