/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * simulate_openmp.c: what cuts from the front of one range by a formula: the kernel's ktask, OpenMP's schedules, and
 * single units for free.
 */
#include "simulate.h"

#include <stdio.h>
#include <stdlib.h>

struct range {
	size_t next;
	size_t size; /* of each chunk; 0: guided */
};

static struct range *range(size_t size)
{
	struct range *r = malloc(sizeof(*r));

	if (!r) {
		fprintf(stderr, "no memory for a range\n");
		exit(1);
	}
	*r = (struct range){ .size = size };
	return r;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Four chunks for each thread, all of a size. */
static void *start_kernel(struct simulation *s)
{
	size_t size = s->trace->n / (4 * (size_t)s->machine.cpus);

	return range(size ? size : 1);
}

static void *start_1(struct simulation *s)
{
	(void)s;
	return range(1);
}

static void *start_64(struct simulation *s)
{
	(void)s;
	return range(64);
}

/* Guided: an equal share of what remains, rounded up, as libgomp does. */
static void *start_0(struct simulation *s)
{
	(void)s;
	return range(0);
}

static void take(struct simulation *s, struct range *r, double time, unsigned cpu)
{
	size_t from = r->next, left = s->trace->n - from;
	size_t size = r->size ? r->size : (left + s->machine.cpus - 1) / s->machine.cpus;

	r->next += least(size, left);
	do_units(s, time, cpu, from, r->next);
}

static void step(struct simulation *s, void *state, double time, unsigned cpu)
{
	struct range *r = state;

	if (r->next < s->trace->n)
		take(s, r, claim(s, 0, time), cpu);
}

/* The nearest that an order of units allows, when nobody knows what the next one costs and claims cost nothing. */
static void step_free(struct simulation *s, void *state, double time, unsigned cpu)
{
	struct range *r = state;

	if (r->next < s->trace->n)
		take(s, r, time, cpu);
}

/* One equal part for each thread. next is the thread that has not had its own yet; they come in order. */
static void step_static(struct simulation *s, void *state, double time, unsigned cpu)
{
	struct range *r = state;
	size_t n = s->trace->n, cpus = s->machine.cpus;

	if (cpu == r->next) {
		r->next++;
		do_units(s, time + s->machine.chunk_ns, cpu, n * cpu / cpus, n * (cpu + 1) / cpus);
	}
}

const struct policy policy_kernel = { "kernel, 4 per thread", start_kernel, step, NULL, false };
const struct policy policy_static = { "OpenMP static", start_0, step_static, NULL, false };
const struct policy policy_dynamic = { "OpenMP dynamic,1", start_1, step, NULL, false };
const struct policy policy_dynamic_64 = { "OpenMP dynamic,64", start_64, step, NULL, false };
const struct policy policy_guided = { "OpenMP guided", start_0, step, NULL, false };
const struct policy policy_free = { "single units, free", start_1, step_free, NULL, false };
