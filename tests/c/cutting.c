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
	return simulate(policy, trace, cpus).makespan / ideal(trace, cpus);
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
			struct outcome o = simulate(all[p], trace, cpus);

			CHECK(o.once);
			CHECK(o.makespan >= ideal(trace, cpus) * 0.999999);
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
			struct outcome o = simulate(ktask[p], even, cpus);

			CHECK((double)o.chunks * (m.line_ns + m.chunk_ns) <= 5 * (double)even->n);
			CHECK(cpus > 2 || o.chunks <= 400);
		}
}

int main(void)
{
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
	trace_free(&even);

	/* What these bounds are worth: the kernel's rule does not keep them. */
	trace_scale(&triangle, 200e6);
	CHECK(ratio(&policy_kernel, &triangle, 2) > 1.1);
	trace_free(&triangle);
	return 0;
}
