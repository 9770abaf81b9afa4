/* SPDX-License-Identifier: BSD-3-Clause */
/* simulate_traces.c: what the units of a loop cost, for simulate.c. */
#include "simulate.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the shapes: costs in any measure -------------------------------------------------------------------------- */

/* xorshift64*: the same costs on every machine. 0 <= result < 1. */
static double dice(void)
{
	static uint64_t x = UINT64_C(0x9E3779B97F4A7C15);

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return (double)(x * UINT64_C(0x2545F4914F6CDD1D) >> 11) / (double)(UINT64_C(1) << 53);
}

static void even(double *cost, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cost[i] = 1;
}

static void triangle(double *cost, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cost[i] = (double)(i + 1);
}

/* The rows of a picture of the whole set: 48 pixels of each, 256 rounds at most. */
static void mandelbrot(double *cost, size_t n)
{
	enum { PIXELS = 48, ROUNDS = 256 };

	for (size_t i = 0; i < n; i++) {
		double y = -1.25 + 2.5 * ((double)i + 0.5) / (double)n;

		cost[i] = 0;
		for (int k = 0; k < PIXELS; k++) {
			double x = -2 + 2.5 * (k + 0.5) / PIXELS, a = 0, b = 0;
			int rounds = 0;

			while (rounds < ROUNDS && a * a + b * b <= 4) {
				double c = a * a - b * b + x;

				b = 2 * a * b + y;
				a = c;
				rounds++;
			}
			cost[i] += rounds;
		}
	}
}

/* Over three orders of magnitude, each as likely as the others. */
static void random_costs(double *cost, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cost[i] = pow(10, 3 * dice());
}

static void sort(double *cost, size_t n, int (*compare)(const void *, const void *))
{
	random_costs(cost, n);
	qsort(cost, n, sizeof(*cost), compare);
}

static int upwards(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int downwards(const void *a, const void *b)
{
	return upwards(b, a);
}

static void ascending(double *cost, size_t n)
{
	sort(cost, n, upwards);
}

static void descending(double *cost, size_t n)
{
	sort(cost, n, downwards);
}

/* One unit in a thousand costs as much as all the others. */
static void spikes(double *cost, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cost[i] = dice() < 0.001 ? 1000 : 1;
}

/* The last tenth costs a hundred times as much, without a warning. */
static void step(double *cost, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cost[i] = i < n / 10 * 9 ? 1 : 100;
}

/* A tenth in the middle costs a hundred times as much. */
static void burst(double *cost, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cost[i] = i >= n / 10 * 5 && i < n / 10 * 6 ? 100 : 1;
}

/* ---- the traces ------------------------------------------------------------------------------------------------- */

static const struct shape {
	const char *name;
	size_t n;
	void (*costs)(double *cost, size_t n);
} shapes[NR_TRACES] = {
	{ "even", 1000000, even },	    { "triangle", 100000, triangle },	{ "mandelbrot", 16384, mandelbrot },
	{ "random", 500000, random_costs }, { "ascending", 500000, ascending }, { "descending", 500000, descending },
	{ "spikes", 1000000, spikes },	    { "step", 1000000, step },		{ "burst", 1000000, burst },
};

struct trace trace_make(int number, size_t shrink)
{
	const struct shape *shape = &shapes[number];
	struct trace t = { .name = shape->name, .n = shape->n / shrink };
	double sum = 0;

	t.until = malloc((t.n + 1) * sizeof(*t.until));
	if (!t.until) {
		fprintf(stderr, "no memory for a trace of %zu units\n", t.n);
		exit(1);
	}
	shape->costs(t.until, t.n);
	for (size_t i = 0; i < t.n; i++) {
		double cost = t.until[i];

		if (cost > t.longest)
			t.longest = cost;
		t.until[i] = sum;
		sum += cost;
	}
	t.until[t.n] = sum;
	return t;
}

void trace_scale(struct trace *trace, double work_ns)
{
	double factor = work_ns / trace->until[trace->n];

	for (size_t i = 0; i <= trace->n; i++)
		trace->until[i] *= factor;
	trace->longest *= factor;
}

void trace_free(struct trace *trace)
{
	free(trace->until);
}
