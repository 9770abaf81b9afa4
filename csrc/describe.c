/* SPDX-License-Identifier: BSD-3-Clause */
/* describe.c: what ktask sees, as JSON for people and scripts. */
#define _GNU_SOURCE
#include "clock.h"
#include "facts.h"
#include "ktask.h"
#include "limits.h"
#include "pool.h"
#include "price.h"
#include "priority.h"
#include "retreat.h"
#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* null where there is none. */
static void put_string(struct text *t, const char *string)
{
	if (!string || !*string) {
		put(t, "null");
		return;
	}
	put(t, "\"");
	for (; *string; string++) {
		unsigned char c = (unsigned char)*string;

		if (c == '"' || c == '\\')
			put(t, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			put(t, "\\u%04x", c); /* a path's bytes, whatever their encoding */
		else
			put(t, "%c", c);
	}
	put(t, "\"");
}

static const char *boolean(bool b)
{
	return b ? "true" : "false";
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
	int index[MAX_NODES]; /* in the table, of each nid: in order of these */
	const char *comma = "";

	for (int nid = 0; nid < MAX_NODES; nid++)
		index[nid] = -1;
	for (int i = 0; i < topology->nr_all; i++)
		index[topology->nodes[i].nid] = i;
	put(t, "\"nodes\": [");
	for (int nid = 0; nid < MAX_NODES; nid++) {
		const char *inner_comma = "";
		struct cpus cpus;

		if (index[nid] < 0)
			continue;
		topology_cpus(topology, index[nid], &cpus);
		put(t, "%s{\"id\": %d, \"cpus\": ", comma, nid);
		put_cpus(t, &cpus);
		put(t, ", \"distances\": {");
		for (int to = 0; to < MAX_NODES; to++) {
			if (index[to] < 0)
				continue;
			put(t, "%s\"%d\": %d", inner_comma, to, topology->nodes[index[nid]].distance[index[to]]);
			inner_comma = ", ";
		}
		put(t, "}}");
		comma = ", ";
	}
	put(t, "]");
}

/* The online CPUs of each core. */
static void put_cores(struct text *t, const struct cpus *online)
{
	struct cpus left = *online;
	const char *comma = "";

	put(t, "\"cores\": [");
	for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
		struct cpus core;

		if (!cpus_has(&left, cpu))
			continue;
		topology_siblings(cpu, &core);
		cpus_and(&core, &left);
		put(t, "%s", comma);
		put_cpus(t, &core);
		comma = ", ";
		for (int i = cpu; i < MAX_CPUS; i++)
			if (cpus_has(&core, i))
				cpus_remove(&left, i);
	}
	put(t, "]");
}

/* On another machine than this one, the process there is described, or one that may use everything. */
static void find_allowed(struct cpus *allowed, const struct cpus *online)
{
	static const char label[] = "\nCpus_allowed_list:";
	char text[16384], *list = NULL;

	if (fsroot_is_ours()) {
		topology_allowed(pthread_self(), allowed);
		return;
	}
	if (fsroot_read(text, sizeof(text), "proc/self/status"))
		list = strstr(text, label);
	if (list) {
		list += sizeof(label) - 1;
		list += strspn(list, " \t");
		list[strcspn(list, "\n")] = '\0';
	}
	if (list && topology_parse_list(list, allowed, MAX_CPUS))
		cpus_and(allowed, online);
	else
		*allowed = *online;
}

static double quota_cpus(const struct quota *q)
{
	return (double)q->usec / (double)q->period;
}

/* In words, why no more than so many threads may work. */
static void say_why(char *words, size_t size, int threads, int allowed, const struct facts *facts)
{
	const struct power *p = &facts->power;

	if (allowed == threads && allowed < facts->cpus)
		snprintf(words, size,
			 allowed == 1 ? "this thread may use one CPU only" : "this thread may use %d CPUs only",
			 allowed);
	else if (p->saves && facts->power_counts)
		snprintf(words, size, "the system is set to save power (%s)", p->why);
	else if (threads < facts->cpus)
		snprintf(words, size, "a quota of %g CPUs holds for the cgroup %s", quota_cpus(&facts->quota),
			 facts->quota.path);
	else
		snprintf(words, size, "this machine has one CPU");
}

static void put_quota(struct text *t, const struct quota *q)
{
	put(t, "\"quota\": ");
	if (!q->period) {
		put(t, "null");
		return;
	}
	put(t, "{\"cpus\": %.6g, \"path\": ", quota_cpus(q));
	put_string(t, q->path);
	put(t, "}");
}

static void put_power(struct text *t, const struct facts *facts)
{
	const struct power *p = &facts->power;

	put(t, "\"power\": {\"saves\": %s, \"ignored\": %s, \"driver\": ", boolean(p->saves),
	    boolean(!facts->power_counts));
	put_string(t, p->driver);
	put(t, ", \"governor\": ");
	put_string(t, p->governor);
	put(t, ", \"preference\": ");
	put_string(t, p->preference);
	put(t, ", \"profile\": ");
	put_string(t, p->profile);
	put(t, "}");
}

size_t ktask_describe(char *text, size_t size)
{
	struct text t = { .buffer = text, .size = size };
	const struct topology *topology = pool_topology();
	bool enabled = pool_start();
	struct cpus online, allowed;
	struct facts facts = { .threads = 1 };
	char words[FSROOT_PATH + 64] = "", path[LIMITS_PATH], why[LIMITS_WHY];
	const char *alone;
	int threads, helpers = 0;

	if (topology->nr_nodes > 0)
		facts_refresh(&facts);
	topology_all_cpus(topology, &online);
	find_allowed(&allowed, &online);
	threads = cpus_count(&allowed) < facts.threads ? cpus_count(&allowed) : facts.threads;
	helpers = pool_is_oversubscribed() ? pool_nr_helpers() : facts.cpus - 1;
	if (pool_is_oversubscribed())
		threads = helpers + 1;
	if (!enabled) {
		threads = 1;
		helpers = 0;
		snprintf(words, sizeof(words), "%s", pool_why_off());
	} else if (limits_max() + 1 < threads) {
		threads = limits_max() + 1;
		snprintf(words, sizeof(words),
			 "this process is limited to %s helpers (KTASK_MAX_HELPERS, ktask.limits or "
			 "ktask_set_max_helpers)",
			 threads == 1 ? "no" : "fewer");
	} else if (!pool_is_oversubscribed() && (threads == 1 || threads < facts.cpus)) {
		say_why(words, sizeof(words), threads, cpus_count(&allowed), &facts);
	}

	put(&t, "{\"version\": \"%s\", \"enabled\": %s, \"reason\": ", KTASK_VERSION, boolean(threads > 1));
	put_string(&t, threads > 1 ? NULL : words);
	put(&t, ", \"capped\": ");
	put_string(&t, threads > 1 ? words : NULL);
	put(&t, ", ");
	put_nodes(&t, topology);
	put(&t, ", \"cpus\": ");
	put_cpus(&t, &online);
	put(&t, ", ");
	put_cores(&t, &online);
	put(&t, ", \"allowed_cpus\": ");
	put_cpus(&t, &allowed);
	put(&t, ", ");
	put_quota(&t, &facts.quota);
	put(&t, ", ");
	put_power(&t, &facts);
	put(&t, ", \"helpers\": %d, \"max_helpers\": %d, \"running_helpers\": %d", helpers, threads - 1,
	    limits_running());
	put(&t, ", \"table\": {\"path\": ");
	put_string(&t, limits_table(path));
	alone = limits_why_alone(why);
	put(&t, ", \"joined\": %s, \"reason\": ", boolean(limits_joined() && !alone));
	put_string(&t, alone);
	put(&t, "}, \"privileged\": %s", boolean(priority_privileged()));
	put(&t, ", \"retreats\": %s, \"pause_ns\": %llu", pool_retreats() ? "true" : "false",
	    (unsigned long long)retreat_pause_ns(clock_ns()));
	put(&t, ", \"wake_ns\": %llu, \"answer_ns\": %llu}", (unsigned long long)price_wake_ns(),
	    (unsigned long long)price_answer_ns());
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
