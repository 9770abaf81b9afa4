/* SPDX-License-Identifier: BSD-3-Clause */
/* describe.c: what ktask sees, as JSON for people and scripts. */
#include "ktask.h"
#include "limits.h"
#include "pool.h"
#include "priority.h"
#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

/* A string, or null. */
static void put_string(struct text *t, const char *string)
{
	if (!string) {
		put(t, "null");
		return;
	}
	put(t, "\"");
	for (const char *c = string; *c; c++) {
		if (*c == '"' || *c == '\\')
			put(t, "\\%c", *c);
		else if ((unsigned char)*c < ' ')
			put(t, "\\u%04x", (unsigned)*c);
		else
			put(t, "%c", *c);
	}
	put(t, "\"");
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
	char path[LIMITS_PATH];
	struct cpus online = { { 0 } }, allowed;

	topology_allowed(pthread_self(), &allowed);
	if (enabled && cpus_count(&allowed) == 1 && !pool_is_oversubscribed()) {
		enabled = false;
		why_off = "this thread may use one CPU only";
	}
	if (enabled && limits_max() == 0) {
		enabled = false;
		why_off = "this process is limited to no helpers (KTASK_MAX_HELPERS, ktask.limits or "
			  "ktask_set_max_helpers)";
	}
	for (int i = 0; i < pool_topology()->nr_nodes; i++)
		for (int cpu = 0; cpu < MAX_CPUS; cpu++)
			if (cpus_has(&pool_topology()->nodes[i].cpus, cpu))
				cpus_add(&online, cpu);
	put(&t, "{\"version\": \"%s\", \"enabled\": %s, \"reason\": ", KTASK_VERSION, enabled ? "true" : "false");
	put_string(&t, why_off);
	put(&t, ", ");
	put_nodes(&t, pool_topology());
	put(&t, ", \"cpus\": ");
	put_cpus(&t, &online);
	put(&t, ", \"allowed_cpus\": ");
	put_cpus(&t, &allowed);
	put(&t, ", \"helpers\": %d, \"max_helpers\": %d, \"running_helpers\": %d", pool_nr_helpers(), limits_max(),
	    limits_running());
	put(&t, ", \"table\": {\"path\": ");
	put_string(&t, limits_table(path));
	put(&t, ", \"joined\": %s, \"reason\": ", limits_joined() && !limits_why_alone() ? "true" : "false");
	put_string(&t, limits_why_alone());
	put(&t, "}, \"privileged\": %s", priority_privileged() ? "true" : "false");
	put(&t, ", \"wake_ns\": %llu, \"answer_ns\": %llu}", (unsigned long long)pool_wake_ns(),
	    (unsigned long long)pool_answer_ns());
	return t.length;
}

size_t ktask_describe_processes(char *text, size_t size)
{
	struct text t = { .buffer = text, .size = size };
	struct table_user *users = calloc(TABLE_ROWS, sizeof(*users));
	char buffer[LIMITS_PATH], why[TABLE_WHY] = "there is no memory";
	const char *path = limits_table(buffer);
	int n = -1;

	if (!path)
		snprintf(why, sizeof(why), "%s", LIMITS_OFF);
	else if (users)
		n = table_users(path, users, TABLE_ROWS, why);
	put(&t, "{\"path\": ");
	put_string(&t, path);
	put(&t, ", \"reason\": ");
	put_string(&t, n < 0 ? why : NULL);
	put(&t, ", \"processes\": [");
	for (int i = 0; i < n; i++)
		put(&t, "%s{\"pid\": %d, \"helpers\": %d, \"callers\": %d}", i ? ", " : "", users[i].pid,
		    users[i].helpers, users[i].callers);
	put(&t, "]}");
	free(users);
	return t.length;
}
