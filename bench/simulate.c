/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * simulate.c: how long would loops take on 2 to 1,024 CPUs, cut by ktask and by others? bench/simulate.py builds and
 * starts it, and draws the picture; docs/cutting.md explains both.
 *
 * Prints CSV. "simulate nodes": for machines of 1 to 64 NUMA nodes. Without an argument: for each trace, policy and number of CPUs, with 100 ms of work for each CPU ("each"), and with 10 s for
 * all of them ("all").
 */
#include "simulate.h"

#include <stdio.h>
#include <string.h>

static const struct policy *const policies[] = {
	&policy_ktask,	    &policy_ktask_first, &policy_kernel, &policy_static, &policy_dynamic,
	&policy_dynamic_64, &policy_guided,	 &policy_tbb,	 &policy_free,
};

static bool told(const struct outcome *o, const struct policy *policy, const struct trace *trace, unsigned cpus)
{
	if (!o->once)
		fprintf(stderr, "%s, %u CPUs: %s gave a unit out twice or not at all\n", trace->name, cpus,
			policy->name);
	return o->once;
}

static bool print(const char *kind, const struct policy *policy, const struct trace *trace, unsigned cpus)
{
	struct outcome o = simulate(policy, trace, cpus, NULL);

	printf("%s,%s,\"%s\",%u,%.0f,%.0f,%zu\n", kind, trace->name, policy->name, cpus, o.makespan,
	       ideal(trace, cpus, NULL), o.chunks);
	return told(&o, policy, trace, cpus);
}

static bool cutting(void)
{
	bool right = true;

	printf("work,trace,policy,cpus,makespan_ns,ideal_ns,chunks\n");
	for (int number = 0; number < NR_TRACES; number++) {
		struct trace trace = trace_make(number, 1);

		for (unsigned cpus = 2; cpus <= 1024; cpus *= 2)
			for (size_t p = 0; p < sizeof(policies) / sizeof(policies[0]); p++) {
				trace_scale(&trace, 100e6 * cpus);
				right &= print("each", policies[p], &trace, cpus);
				trace_scale(&trace, 10e9);
				right &= print("all", policies[p], &trace, cpus);
			}
		trace_free(&trace);
	}
	return right;
}

/* On nodes of 16 CPUs, with as much work on each, and with twice as much on node 0. */
static bool nodes(void)
{
	static const struct policy *const by[] = { &policy_ktask, &policy_ktask_numa, &policy_ktask_numa_first,
						   &policy_static_by_node };
	enum { CPUS = 16, EVEN = 0, RANDOM = 3 };
	bool right = true;

	printf("heavy,trace,policy,nodes,makespan_ns,ideal_ns,chunks,local,hops,work_ns\n");
	for (int number = EVEN; number <= RANDOM; number += RANDOM - EVEN) {
		struct trace trace = trace_make(number, 1);
		struct numa numa;

		for (unsigned n = 1; n <= MAX_SIMULATED_NODES; n *= 2)
			for (int heavy = 1; heavy <= 2; heavy++)
				for (size_t p = 0; p < sizeof(by) / sizeof(by[0]); p++) {
					struct outcome o;

					trace_scale(&trace, 100e6 * CPUS * n);
					numa_mesh(&numa, n, trace.n, heavy);
					o = simulate(by[p], &trace, CPUS * n, &numa);
					printf("%d,%s,\"%s\",%u,%.0f,%.0f,%zu,%.4f,%.4f,%.0f\n", heavy, trace.name,
					       by[p]->name, n, o.makespan, ideal(&trace, CPUS * n, &numa), o.chunks,
					       o.local, o.hops, trace.until[trace.n]);
					right &= told(&o, by[p], &trace, CPUS * n);
				}
		trace_free(&trace);
	}
	return right;
}

int main(int argc, char **argv)
{
	return (argc == 2 && strcmp(argv[1], "nodes") == 0 ? nodes() : cutting()) ? 0 : 1;
}
