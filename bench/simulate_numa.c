/* SPDX-License-Identifier: BSD-3-Clause */
/* simulate_numa.c: machines of several nodes, for simulate.c, and what a cut that knows them but never helps out does. */
#include "simulate.h"

#include <math.h>
#include <stdlib.h>

void numa_mesh(struct numa *numa, unsigned nodes, size_t n, double heavy)
{
	int width = (int)ceil(sqrt(nodes));

	*numa = (struct numa){ .nodes = nodes, .memory = 0.5 };
	for (int a = 0; a < (int)nodes; a++) {
		for (int b = 0; b < (int)nodes; b++)
			numa->distance[a][b] = 10 + 10 * (abs(a / width - b / width) + abs(a % width - b % width));
		numa->first[a + 1] = (size_t)((double)n * (heavy + a) / (heavy + nodes - 1));
	}
}

unsigned node_of(const struct machine *machine, unsigned cpu)
{
	return machine->numa ? cpu / (machine->cpus / machine->numa->nodes) : 0;
}

double far(const struct numa *numa, unsigned cpu_node, unsigned unit_node)
{
	return 1 + numa->memory * (numa->distance[cpu_node][unit_node] / 10.0 - 1);
}

static void *start(struct simulation *s)
{
	return calloc(s->machine.cpus, sizeof(bool)); /* who has had his part */
}

static void step(struct simulation *s, void *state, double time, unsigned cpu)
{
	unsigned node = node_of(&s->machine, cpu), cpus = s->machine.cpus / s->machine.numa->nodes, i = cpu % cpus;
	size_t first = s->machine.numa->first[node], n = s->machine.numa->first[node + 1] - first;
	bool *had = state;

	if (had[cpu])
		return;
	had[cpu] = true;
	do_units(s, time + s->machine.chunk_ns, cpu, first + n * i / cpus, first + n * (i + 1) / cpus);
}

const struct policy policy_static_by_node = { "static by node", start, step, NULL, false };
