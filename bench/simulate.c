/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * simulate.c: how long would loops take on 2 to 1,024 CPUs, cut by ktask and by others? bench/simulate.py builds and
 * starts it, and draws the picture; docs/cutting.md explains both.
 *
 * Prints CSV: for each trace, policy and number of CPUs, with 100 ms of work for each CPU ("each"), and with 10 s for
 * all of them ("all").
 */
#include "simulate.h"

#include <stdio.h>

static const struct policy *const policies[] = {
	&policy_ktask,	    &policy_ktask_first, &policy_kernel, &policy_static, &policy_dynamic,
	&policy_dynamic_64, &policy_guided,	 &policy_tbb,	 &policy_free,
};

static bool print(const char *kind, const struct policy *policy, const struct trace *trace, unsigned cpus)
{
	struct outcome o = simulate(policy, trace, cpus);

	printf("%s,%s,\"%s\",%u,%.0f,%.0f,%zu\n", kind, trace->name, policy->name, cpus, o.makespan, ideal(trace, cpus),
	       o.chunks);
	if (!o.once)
		fprintf(stderr, "%s, %u CPUs: %s gave a unit out twice or not at all\n", trace->name, cpus,
			policy->name);
	return o.once;
}

int main(void)
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
	return right ? 0 : 1;
}
