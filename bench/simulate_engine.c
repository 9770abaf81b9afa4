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

double claim(struct simulation *s, double time)
{
	if (s->line_free < time)
		s->line_free = time;
	s->line_free += s->machine.line_ns;
	return s->line_free + s->machine.chunk_ns;
}

void do_units(struct simulation *s, double time, unsigned cpu, size_t from, size_t to)
{
	double end = time + s->trace->until[to] - s->trace->until[from];

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

double ideal(const struct trace *trace, unsigned cpus)
{
	struct machine m = machine_of(cpus);
	double *arrival = allocate(cpus, sizeof(*arrival)), sum = trace->until[trace->n], end = INFINITY;

	arrivals(&m, arrival);
	/* The first k CPUs share the work, if the next one comes too late to help. */
	for (unsigned k = 0; k < cpus && arrival[k] < end; k++) {
		sum += arrival[k];
		end = sum / (k + 1);
	}
	free(arrival);
	return end > trace->longest ? end : trace->longest;
}

struct outcome simulate(const struct policy *policy, const struct trace *trace, unsigned cpus)
{
	struct simulation s = { .trace = trace, .machine = machine_of(cpus), .once = true };
	double *arrival = allocate(cpus, sizeof(*arrival));
	struct outcome outcome;
	void *state;

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
	outcome = (struct outcome){ .makespan = s.end, .chunks = s.chunks, .once = s.once };
	if (policy->stop)
		policy->stop(state, cpus);
	else
		free(state);
	free(s.given);
	free(s.events);
	free(arrival);
	return outcome;
}
