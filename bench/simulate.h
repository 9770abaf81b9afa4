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

enum { NR_TRACES = 9 };

/* The trace of that number, with 1/shrink of its units. Exits when there is no memory. */
struct trace trace_make(int number, size_t shrink);

/* All its units together take work_ns from now on. */
void trace_scale(struct trace *trace, double work_ns);
void trace_free(struct trace *trace);

/* ---- on what (simulate.c) --------------------------------------------------------------------------------------- */

struct machine {
	unsigned cpus;
	double line_ns;	  /* a claim holds the cursor's cache line for so long; others queue */
	double chunk_ns;  /* and costs its thread this much more: a call, a look at the clock */
	double steal_ns;  /* taking a task from another thread's queue */
	double wake_ns;	  /* waking a helper costs its caller this much, */
	double answer_ns; /* and the helper comes so long after the call */
};

struct machine machine_of(unsigned cpus);

/* ---- by whom (simulate_ktask.c, simulate_openmp.c, simulate_tbb.c) ---------------------------------------------- */

/* What happens when, on the virtual clock: for each CPU, at most one event is on its way. */
struct simulation {
	const struct trace *trace;
	struct machine machine;
	struct event *events; /* a heap, the next one first */
	unsigned nr_events;
	double line_free;     /* when the cursor's cache line is free again */
	unsigned char *given; /* units that were given out */

	double end; /* of the last chunk */
	size_t chunks;
	bool once; /* no unit was given out twice */
};

/* When a CPU's next event comes. */
void at(struct simulation *s, double time, unsigned cpu);

/* A turn at the cursor's line for a claim that begins then; returns when it ends, with what it costs its thread. */
double claim(struct simulation *s, double time);

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

extern const struct policy policy_ktask;       /* which has seen this work before */
extern const struct policy policy_ktask_first; /* which has not */
extern const struct policy policy_kernel, policy_static, policy_dynamic, policy_dynamic_64, policy_guided, policy_tbb;
extern const struct policy policy_free; /* the limit of all that take units in order: one at a time, at no cost */

struct outcome {
	double makespan; /* ns */
	size_t chunks;
	bool once; /* each unit was given out exactly once */
};

struct outcome simulate(const struct policy *policy, const struct trace *trace, unsigned cpus);

/*
 * No cut can be quicker, in ns: all CPUs work without a pause from the moment when the quickest tree of wakes brings
 * them, and the longest unit takes as long as it takes.
 */
double ideal(const struct trace *trace, unsigned cpus);

#endif
