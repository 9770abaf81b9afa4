/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * topology.c: nodes, CPUs and distances, read from sysfs once.
 *
 * Files (Documentation/ABI/stable/sysfs-devices-node): devices/system/node/online lists the nodes, nodeN/cpulist the
 * online CPUs of node N, nodeN/distance its distance to each online node, in the order of their numbers.
 */
#define _GNU_SOURCE
#include "topology.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOCAL_DISTANCE = 10, REMOTE_DISTANCE = 20 };

int cpus_count(const struct cpus *set)
{
	int n = 0;

	for (size_t i = 0; i < sizeof(set->word) / sizeof(set->word[0]); i++)
		n += __builtin_popcountl(set->word[i]);
	return n;
}

bool cpus_empty(const struct cpus *set)
{
	for (size_t i = 0; i < sizeof(set->word) / sizeof(set->word[0]); i++)
		if (set->word[i])
			return false;
	return true;
}

void cpus_and(struct cpus *set, const struct cpus *other)
{
	for (size_t i = 0; i < sizeof(set->word) / sizeof(set->word[0]); i++)
		set->word[i] &= other->word[i];
}

void topology_allowed(pthread_t thread, struct cpus *set)
{
	memset(set, 0, sizeof(*set));
	if (pthread_getaffinity_np(thread, sizeof(*set), (cpu_set_t *)set) != 0 || cpus_empty(set))
		cpus_add(set, 0);
}

int topology_of_nid(const struct topology *t, int nid)
{
	return nid >= 0 && nid < MAX_NODES ? t->of_nid[nid] : -1;
}

int topology_here(const struct topology *t, int *cpu)
{
	int node;

	*cpu = sched_getcpu();
	if (*cpu < 0 || *cpu >= MAX_CPUS)
		*cpu = 0;
	node = t->of_cpu[*cpu];
	return node < 0 ? 0 : node;
}

bool topology_parse_list(const char *text, struct cpus *set, int max)
{
	memset(set, 0, sizeof(*set));
	for (const char *p = text;; p++) {
		unsigned long first, last;
		char *end;

		if (p == text && p[strspn(p, " \t\n")] == '\0')
			return true; /* the empty list */
		if (!isdigit((unsigned char)*p))
			return false;
		first = last = strtoul(p, &end, 10);
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return false;
			last = strtoul(end + 1, &end, 10);
		}
		if (last < first || last >= (unsigned long)max)
			return false;
		for (unsigned long i = first; i <= last; i++)
			cpus_add(set, (int)i);
		if (*end != ',') {
			p = end;
			return p[strspn(p, " \t\n")] == '\0';
		}
		p = end;
	}
}

/* Reads the file root/sys/devices/system/node/NAME into text as a string. Longer files are refused. */
static bool read_node_file(const char *name, char *text, size_t size)
{
	const char *root = getenv("KTASK_FSROOT");
	char path[512];
	size_t length;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/sys/devices/system/node/%s", root ? root : "", name) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	length = fread(text, 1, size, f);
	fclose(f);
	if (length == size)
		return false;
	text[length] = '\0';
	return true;
}

struct by_distance {
	int node;
	int distance;
};

static int nearer(const void *a, const void *b)
{
	const struct by_distance *x = a, *y = b;

	return x->distance != y->distance ? x->distance - y->distance : x->node - y->node;
}

/* Fills in of_nid, distance and by_distance, from the list of nodes that are online. */
static bool read_distances(struct topology *t, const struct cpus *online, char *text, size_t size)
{
	struct by_distance *order = calloc((size_t)t->nr_nodes, sizeof(*order));

	if (!order)
		return false;
	for (int nid = 0; nid < MAX_NODES; nid++) {
		int self = t->of_nid[nid], nearest = -1;
		char name[64], *p = text;

		if (!cpus_has(online, nid))
			continue;
		snprintf(name, sizeof(name), "node%d/distance", nid);
		if (!read_node_file(name, text, size))
			text[0] = '\0';
		for (int to = 0; to < MAX_NODES; to++) {
			int node = t->of_nid[to], distance;
			char *end;

			if (!cpus_has(online, to))
				continue;
			distance = (int)strtol(p, &end, 10);
			if (end == p || distance <= 0)
				distance = to == nid ? LOCAL_DISTANCE : REMOTE_DISTANCE;
			p = end;
			if (node < 0 || t->nodes[node].nid != to) /* a node without CPUs */
				continue;
			order[node] = (struct by_distance){ node, distance };
			if (nearest < 0 || distance < order[nearest].distance)
				nearest = node;
		}
		if (self < 0) {
			t->of_nid[nid] = (int16_t)nearest;
			continue;
		}
		for (int i = 0; i < t->nr_nodes; i++)
			t->nodes[self].distance[i] = order[i].distance;
		order[self].distance = 0; /* whatever the firmware says, nothing is nearer */
		qsort(order, (size_t)t->nr_nodes, sizeof(*order), nearer);
		for (int i = 0; i < t->nr_nodes; i++)
			t->nodes[self].by_distance[i] = order[i].node;
	}
	free(order);
	return true;
}

static bool make_nodes(struct topology *t, int nr_nodes)
{
	size_t n = (size_t)nr_nodes;

	t->nodes = calloc(n, sizeof(*t->nodes));
	if (!t->nodes)
		return false;
	for (size_t i = 0; i < n; i++) {
		t->nodes[i].distance = calloc(2 * n, sizeof(int));
		if (!t->nodes[i].distance)
			return false;
		t->nodes[i].by_distance = t->nodes[i].distance + n;
	}
	return true;
}

static void add_cpus(struct topology *t, int node, const struct cpus *cpus)
{
	t->nodes[node].cpus = *cpus;
	t->nodes[node].nr_cpus = cpus_count(cpus);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(cpus, cpu))
			t->of_cpu[cpu] = (int16_t)node;
}

/* Should the thread that is first be bound more narrowly than the program, others still have their CPUs. */
static void add_main_thread(struct cpus *allowed)
{
	struct cpus main_thread = { { 0 } };

	if (sched_getaffinity(getpid(), sizeof(main_thread), (cpu_set_t *)&main_thread) != 0)
		return;
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(&main_thread, cpu))
			cpus_add(allowed, cpu);
}

static bool one_node(struct topology *t)
{
	if (!t->nodes && !make_nodes(t, 1))
		return false;
	t->nr_nodes = 1;
	t->of_nid[0] = 0;
	t->nodes[0].distance[0] = LOCAL_DISTANCE;
	add_cpus(t, 0, &t->allowed);
	return true;
}

bool topology_read(struct topology *t)
{
	enum { TEXT = 64 * 1024 };
	struct cpus online, cpus;
	char name[64], *text = malloc(TEXT);
	bool ok;

	memset(t, 0, sizeof(*t));
	memset(t->of_cpu, -1, sizeof(t->of_cpu));
	memset(t->of_nid, -1, sizeof(t->of_nid));
	topology_allowed(pthread_self(), &t->allowed);
	add_main_thread(&t->allowed);
	if (!text)
		return false;
	if (!read_node_file("online", text, TEXT) || !topology_parse_list(text, &online, MAX_NODES) ||
	    cpus_count(&online) == 0) {
		free(text);
		return one_node(t);
	}
	ok = make_nodes(t, cpus_count(&online));
	for (int nid = 0; nid < MAX_NODES && ok; nid++) {
		if (!cpus_has(&online, nid))
			continue;
		snprintf(name, sizeof(name), "node%d/cpulist", nid);
		if (!read_node_file(name, text, TEXT) || !topology_parse_list(text, &cpus, MAX_CPUS) ||
		    cpus_count(&cpus) == 0)
			continue; /* memory only */
		t->of_nid[nid] = (int16_t)t->nr_nodes;
		t->nodes[t->nr_nodes].nid = nid;
		add_cpus(t, t->nr_nodes, &cpus);
		t->nr_nodes++;
	}
	if (ok && t->nr_nodes == 0) {
		free(text);
		return one_node(t);
	}
	ok = ok && read_distances(t, &online, text, TEXT);
	free(text);
	return ok;
}
