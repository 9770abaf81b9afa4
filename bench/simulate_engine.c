/* SPDX-License-Identifier: BSD-3-Clause */
/* simulate_engine.c: the virtual clock, and the bound that no cut can beat. */
#include "simulate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Measured with two CPUs: a contended claim 31 ns, with what goes with it some 80; a wake 13 us, answered after 60 us.
 * On larger machines the line travels farther; 100 ns is an assumption, about what it takes between two sockets.
 */
struct machine machine_of(unsigned cpus)
{
	return (struct machine){
		.cpus = cpus,
		.line_ns = cpus <= 8 ? 31 : 100,
		.chunk_ns = 50,
		.steal_ns = 200,
		.wake_ns = 13000,
		.answer_ns = 60000,
	};
}

struct event {
	double time;
	unsigned cpu;
};

static bool before(struct event a, struct event b)
{
	return a.time < b.time || (a.time == b.time && a.cpu < b.cpu);
}

void at(struct simulation *s, double time, unsigned cpu)
{
	struct event e = { time, cpu };
	unsigned i = s->nr_events++;

	for (; i > 0 && before(e, s->events[(i - 1) / 2]); i = (i - 1) / 2)
		s->events[i] = s->events[(i - 1) / 2];
	s->events[i] = e;
}

static struct event next_event(struct simulation *s)
{
	struct event first = s->events[0], last = s->events[--s->nr_events];
	unsigned i = 0, child;

	while ((child = 2 * i + 1) < s->nr_events) {
		if (child + 1 < s->nr_events && before(s->events[child + 1], s->events[child]))
			child++;
		if (!before(s->events[child], last))
			break;
		s->events[i] = s->events[child];
		i = child;
	}
	s->events[i] = last;
	return first;
}

double claim(struct simulation *s, size_t cursor, double time)
{
	double *line_free = &s->line_free[cursor];

	if (*line_free < time)
		*line_free = time;
	*line_free += s->machine.line_ns;
	return *line_free + s->machine.chunk_ns;
}

/* When [from, to), begun at time, is done by cpu: what lies on each node by itself. */
static double end_of(struct simulation *s, double time, unsigned cpu, size_t from, size_t to)
{
	const struct numa *numa = s->machine.numa;
	const double *until = s->trace->until;

	if (!numa)
		return time + until[to] - until[from];
	for (unsigned node = 0, here = node_of(&s->machine, cpu); node < numa->nodes; node++) {
		size_t a = from > numa->first[node] ? from : numa->first[node];
		size_t b = to < numa->first[node + 1] ? to : numa->first[node + 1];

		if (a >= b)
			continue;
		time += far(numa, here, node) * (until[b] - until[a]);
		s->hops += (numa->distance[here][node] / 10.0 - 1) * (double)(b - a);
		s->local += node == here ? b - a : 0;
	}
	return time;
}

void do_units(struct simulation *s, double time, unsigned cpu, size_t from, size_t to)
{
	double end = end_of(s, time, cpu, from, to);

	for (size_t i = from; i < to; i++)
		if (s->given[i]++)
			s->once = false;
	s->chunks++;
	if (s->end < end)
		s->end = end;
	at(s, end, cpu);
}

static void *allocate(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		fprintf(stderr, "no memory for %zu times %zu bytes\n", n, size);
		exit(1);
	}
	return p;
}

/* When each CPU can be there at the earliest: who is there wakes one after the other. In the order of the CPUs. */
static void arrivals(const struct machine *m, double *arrival)
{
	double *free_at = allocate(m->cpus, sizeof(*free_at));
	unsigned here = 1;

	for (arrival[0] = 0; here < m->cpus; here++) {
		unsigned caller = 0; /* who is free first */

		for (unsigned i = 0; i < here; i++)
			if (free_at[i] < free_at[caller])
				caller = i;
		arrival[here] = free_at[here] = free_at[caller] + m->answer_ns;
		free_at[caller] += m->wake_ns;
	}
	free(free_at);
}

/*
 * The bound. Take any node for the pole, and let each unit be worth its cost at home divided by far(its node, pole). In a
 * ns, a CPU of node j makes 1 / far(j, pole) of that at home, and with units of node i 1 / (far(j, i) * far(i, pole)),
 * which is no more: (1 + a)(1 + b) >= 1 + a + b, and no way to the pole is shorter by i. So it takes at least the time in
 * which all CPUs make all that worth, if those who come first are the nearest to the pole. The pole at which this is
 * longest tells most. With one node, or without a pole (-1), worth is cost.
 */
static double bound(const struct trace *trace, const struct machine *m, const double *arrival, int pole)
{
	const struct numa *numa = pole < 0 ? NULL : m->numa;
	unsigned nodes = numa ? numa->nodes : 1, k = 0;
	double sum = numa ? 0 : trace->until[trace->n], speed = 0, end = INFINITY;

	for (unsigned node = 0; numa && node < nodes; node++)
		sum += (trace->until[numa->first[node + 1]] - trace->until[numa->first[node]]) / far(numa, node, pole);
	/* The first k CPUs, from the pole on, share the work, if the next one comes too late to help. */
	for (int distance = 10; k < m->cpus; distance++)
		for (unsigned cpu = 0; cpu < m->cpus; cpu++) {
			unsigned node = numa ? node_of(m, cpu) : 0;

			if (numa ? numa->distance[node][pole] != distance : distance != 10)
				continue;
			if (arrival[k] >= end)
				return end;
			sum += arrival[k++] / (numa ? far(numa, node, pole) : 1);
			speed += 1 / (numa ? far(numa, node, pole) : 1);
			end = sum / speed;
		}
	return end;
}

double ideal(const struct trace *trace, unsigned cpus, const struct numa *numa)
{
	struct machine m = machine_of(cpus);
	double *arrival = allocate(cpus, sizeof(*arrival)), most = trace->longest;

	m.numa = numa;
	arrivals(&m, arrival);
	for (int pole = -1; pole < (numa ? (int)numa->nodes : 0); pole++)
		most = fmax(most, bound(trace, &m, arrival, pole));
	free(arrival);
	return most;
}

struct outcome simulate(const struct policy *policy, const struct trace *trace, unsigned cpus, const struct numa *numa)
{
	struct simulation s = { .trace = trace, .machine = machine_of(cpus), .once = true };
	double *arrival = allocate(cpus, sizeof(*arrival));
	struct outcome outcome;
	void *state;

	s.machine.numa = numa;
	s.line_free = allocate(MAX_SIMULATED_NODES, sizeof(*s.line_free));
	s.events = allocate(cpus, sizeof(*s.events));
	s.given = allocate(trace->n, 1);
	arrivals(&s.machine, arrival);
	state = policy->start(&s);
	for (unsigned cpu = 0; cpu < (policy->calls ? 1 : cpus); cpu++)
		at(&s, arrival[cpu], cpu);
	while (s.nr_events) {
		struct event e = next_event(&s);

		policy->step(&s, state, e.time, e.cpu);
	}
	for (size_t i = 0; i < trace->n; i++)
		if (!s.given[i])
			s.once = false;
	outcome = (struct outcome){
		.makespan = s.end,
		.chunks = s.chunks,
		.local = (double)s.local / (double)trace->n,
		.hops = s.hops / (double)trace->n,
		.once = s.once,
	};
	if (policy->stop)
		policy->stop(state, cpus);
	else
		free(state);
	free(s.given);
	free(s.events);
	free(s.line_free);
	free(arrival);
	return outcome;
}
