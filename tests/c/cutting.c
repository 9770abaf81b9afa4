/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loops of known costs are cut well, on many CPUs: by the library's own chunk.c, on the virtual clock of the simulator
 * in bench/, so that what comes out is the same on every machine.
 */
#include "../../bench/simulate.h"
#include "check.h"

enum { SHRINK = 10 }; /* a tenth of the units */

static const struct policy *const ktask[] = { &policy_ktask, &policy_ktask_first };

static double ratio(const struct policy *policy, const struct trace *trace, unsigned cpus)
{
	return simulate(policy, trace, cpus, NULL).makespan / ideal(trace, cpus, NULL);
}

/* However it is cut, each unit is given out once, and no makespan is below the bound. */
static void each_unit_once(const struct trace *trace)
{
	static const struct policy *const all[] = {
		&policy_ktask,	    &policy_ktask_first, &policy_kernel, &policy_static, &policy_dynamic,
		&policy_dynamic_64, &policy_guided,	 &policy_tbb,	 &policy_free,
	};

	for (size_t p = 0; p < sizeof(all) / sizeof(all[0]); p++)
		for (unsigned cpus = 1; cpus <= 1024; cpus *= 4) {
			struct outcome o = simulate(all[p], trace, cpus, NULL);

			CHECK(o.once);
			CHECK(o.makespan >= ideal(trace, cpus, NULL) * 0.999999);
		}
}

/*
 * Where units can be shared out evenly at all, and the nearest to it that taking them in order allows is what single
 * units would get for free.
 */
static void near_the_ideal(struct trace *trace)
{
	for (size_t p = 0; p < 2; p++)
		for (unsigned cpus = 2; cpus <= 64; cpus *= 2) {
			double free;

			trace_scale(trace, 100e6 * cpus);
			free = ratio(&policy_free, trace, cpus);
			CHECK(ratio(ktask[p], trace, cpus) <= (cpus == 2 ? 1.02 : 1.05) * free);
		}
}

/* Few claims where they are not needed: 10^6 units of 40 ns, with 5 ns of trouble for each at most. */
static void even_loops_cost_little(const struct trace *even)
{
	for (size_t p = 0; p < 2; p++)
		for (unsigned cpus = 2; cpus <= 64; cpus *= 2) {
			struct machine m = machine_of(cpus);
			struct outcome o = simulate(ktask[p], even, cpus, NULL);

			CHECK((double)o.chunks * (m.line_ns + m.chunk_ns) <= 5 * (double)even->n);
			CHECK(cpus > 2 || o.chunks <= 400);
		}
}

/*
 * Nodes of 16 CPUs: their units are done at home where each has as many, and when one of them has twice as many the
 * others come to its help, the near ones most. What that help costs more is in the ideal.
 */
static void on_nodes(struct trace *trace)
{
	static const struct policy *const by_node[] = { &policy_ktask_numa, &policy_ktask_numa_first };
	enum { CPUS = 16 };
	struct numa numa;

	for (unsigned nodes = 2; nodes <= MAX_SIMULATED_NODES; nodes *= 2) {
		unsigned cpus = CPUS * nodes;

		trace_scale(trace, 100e6 * cpus);
		for (int heavy = 1; heavy <= 2; heavy++) {
			struct outcome o, one_cursor;
			double least;

			numa_mesh(&numa, nodes, trace->n, heavy);
			least = ideal(trace, cpus, &numa);
			one_cursor = simulate(&policy_ktask, trace, cpus, &numa);
			for (size_t p = 0; p < 2; p++) {
				o = simulate(by_node[p], trace, cpus, &numa);
				CHECK(o.once && o.makespan >= least * 0.999999);
				CHECK(o.makespan <= least * 1.03);
				CHECK(heavy > 1 || o.local >= 0.95);
				CHECK(o.hops < one_cursor.hops / 2);
			}
			o = simulate(&policy_static_by_node, trace, cpus, &numa);
			CHECK(o.once && o.local == 1 && o.makespan >= least * 0.999999);
			CHECK(heavy == 1 || o.makespan > least * 1.2); /* what helping is worth */
		}
	}
}

int main(void)
{
	if (UNDER_TSAN) /* it is long, and all one thread */
		return SKIPPED;
	for (int number = 0; number < NR_TRACES; number++) {
		struct trace trace = trace_make(number, SHRINK);

		trace_scale(&trace, 1e9);
		each_unit_once(&trace);
		near_the_ideal(&trace);
		trace_free(&trace);
	}

	struct trace even = trace_make(0, 1), triangle = trace_make(1, SHRINK);

	trace_scale(&even, 40e6);
	even_loops_cost_little(&even);
	on_nodes(&even);
	trace_free(&even);

	/* What these bounds are worth: the kernel's rule does not keep them. */
	trace_scale(&triangle, 200e6);
	CHECK(ratio(&policy_kernel, &triangle, 2) > 1.1);
	trace_free(&triangle);
	return 0;
}
