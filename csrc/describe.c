/* SPDX-License-Identifier: BSD-3-Clause */
/* describe.c: what ktask sees, as JSON for people and scripts. */
#include "ktask.h"
#include "limits.h"
#include "pool.h"
#include "priority.h"
#include "retreat.h"

#include <stdarg.h>
#include <stdio.h>

struct text {
	char *buffer;
	size_t size;
	size_t length; /* of the whole text, also where it does not fit */
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
	size_t room = t->length < t->size ? t->size - t->length : 0;
	va_list args;

	va_start(args, format);
	t->length += (size_t)vsnprintf(room ? t->buffer + t->length : NULL, room, format, args);
	va_end(args);
}

static void put_cpus(struct text *t, const struct cpus *cpus)
{
	const char *comma = "";

	put(t, "[");
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(cpus, cpu)) {
			put(t, "%s%d", comma, cpu);
			comma = ", ";
		}
	put(t, "]");
}

static void put_nodes(struct text *t, const struct topology *topology)
{
	put(t, "\"nodes\": [");
	for (int i = 0; i < topology->nr_nodes; i++) {
		const struct topology_node *n = &topology->nodes[i];

		put(t, "%s{\"id\": %d, \"cpus\": ", i ? ", " : "", n->nid);
		put_cpus(t, &n->cpus);
		put(t, ", \"distances\": {");
		for (int j = 0; j < topology->nr_nodes; j++)
			put(t, "%s\"%d\": %d", j ? ", " : "", topology->nodes[j].nid, n->distance[j]);
		put(t, "}}");
	}
	put(t, "]");
}

size_t ktask_describe(char *text, size_t size)
{
	struct text t = { .buffer = text, .size = size };
	bool enabled = pool_start();
	const char *why_off = pool_why_off();
	struct cpus online = { { 0 } }, allowed;

	topology_allowed(pthread_self(), &allowed);
	if (enabled && cpus_count(&allowed) == 1 && !pool_is_oversubscribed()) {
		enabled = false;
		why_off = "this thread may use one CPU only";
	}
	for (int i = 0; i < pool_topology()->nr_nodes; i++)
		for (int cpu = 0; cpu < MAX_CPUS; cpu++)
			if (cpus_has(&pool_topology()->nodes[i].cpus, cpu))
				cpus_add(&online, cpu);
	put(&t, "{\"version\": \"%s\", \"enabled\": %s, \"reason\": ", KTASK_VERSION, enabled ? "true" : "false");
	put(&t, why_off ? "\"%s\"" : "null", why_off);
	put(&t, ", ");
	put_nodes(&t, pool_topology());
	put(&t, ", \"cpus\": ");
	put_cpus(&t, &online);
	put(&t, ", \"allowed_cpus\": ");
	put_cpus(&t, &allowed);
	put(&t, ", \"helpers\": %d, \"max_helpers\": %d, \"running_helpers\": %d", pool_nr_helpers(), limits_max(),
	    limits_running());
	put(&t, ", \"privileged\": %s", priority_privileged() ? "true" : "false");
	put(&t, ", \"retreats\": %s, \"pause_ns\": %llu", pool_retreats() ? "true" : "false",
	    (unsigned long long)retreat_pause_ns());
	put(&t, ", \"wake_ns\": %llu, \"answer_ns\": %llu}", (unsigned long long)pool_wake_ns(),
	    (unsigned long long)pool_answer_ns());
	return t.length;
}
