/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * topology.c: nodes, CPUs and distances, read from sysfs.
 *
 * Files (Documentation/ABI/stable/sysfs-devices-node, sysfs-devices-system-cpu), under sys/devices/system: node/online
 * lists the nodes, node/nodeN/cpulist (or cpumap) the online CPUs of node N, node/nodeN/distance its distance to each
 * online node, in the order of their numbers; cpu/online and cpu/possible list CPUs, cpu/cpuN/topology/core_cpus_list
 * (or thread_siblings_list) those that share a core with CPU N.
 */
#define _GNU_SOURCE
#include "topology.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CPU_FILES  "sys/devices/system/cpu"
#define NODE_FILES "sys/devices/system/node"

enum { LOCAL_DISTANCE = 10, REMOTE_DISTANCE = 20 };

/* Longer files make no sense. */
enum { TEXT = 64 * 1024 };

int cpus_count(const struct cpus *set)
{
	int n = 0;

	for (size_t i = 0; i < CPUS_WORDS; i++)
		n += __builtin_popcountl(set->word[i]);
	return n;
}

bool cpus_empty(const struct cpus *set)
{
	for (size_t i = 0; i < CPUS_WORDS; i++)
		if (set->word[i])
			return false;
	return true;
}

/* FNV-1a, over words. The number is multiplied as well, or it could make up for the difference between two sets. */
uint64_t cpus_hash(const struct cpus *set, uint64_t number)
{
	const uint64_t prime = UINT64_C(0x100000001b3);
	uint64_t h = (UINT64_C(0xcbf29ce484222325) ^ number) * prime;

	for (size_t i = 0; i < CPUS_WORDS; i++)
		h = (h ^ set->word[i]) * prime;
	return h;
}

void cpus_and(struct cpus *set, const struct cpus *other)
{
	for (size_t i = 0; i < CPUS_WORDS; i++)
		set->word[i] &= other->word[i];
}

void cpus_or(struct cpus *set, const struct cpus *other)
{
	for (size_t i = 0; i < CPUS_WORDS; i++)
		set->word[i] |= other->word[i];
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
	node = atomic_load_explicit(&t->of_cpu[*cpu], memory_order_relaxed);
	return node < 0 ? 0 : node;
}

/* Relaxed, here and in set_cpus: a set half of before and half of now is as good as either. */
void topology_cpus(const struct topology *t, int node, struct cpus *set)
{
	for (size_t i = 0; i < CPUS_WORDS; i++)
		set->word[i] = atomic_load_explicit(&t->nodes[node].cpus[i], memory_order_relaxed);
}

void topology_all_cpus(const struct topology *t, struct cpus *set)
{
	struct cpus cpus;

	memset(set, 0, sizeof(*set));
	for (int node = 0; node < t->nr_nodes; node++) {
		topology_cpus(t, node, &cpus);
		cpus_or(set, &cpus);
	}
}

/* ---- parsers ----------------------------------------------------------------------------------------------------- */

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

bool topology_parse_map(const char *text, struct cpus *set, int max)
{
	size_t length = strspn(text, "0123456789abcdefABCDEF,");
	int bit = 0;

	memset(set, 0, sizeof(*set));
	if (length == 0 || text[length + strspn(text + length, " \t\n")] != '\0')
		return false;
	for (size_t i = length; i-- > 0;) {
		int digit = isdigit((unsigned char)text[i]) ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10;

		if (text[i] == ',') {
			bit = (bit + 31) / 32 * 32; /* the highest word may be written short, and so may others */
			continue;
		}
		for (int j = 0; j < 4; j++, bit++) {
			if (!(digit >> j & 1))
				continue;
			if (bit >= max)
				return false;
			cpus_add(set, bit);
		}
	}
	return true;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool read_list(struct topology *t, const char *path, struct cpus *set, int max)
{
	return fsroot_read(t->text, TEXT, "%s", path) && topology_parse_list(t->text, set, max);
}

/* A sysfs directory without the list: found out the hard way. */
static bool probe(const char *format, struct cpus *set, int max)
{
	char path[64];

	memset(set, 0, sizeof(*set));
	for (int i = 0; i < max; i++) {
		snprintf(path, sizeof(path), format, i);
		if (fsroot_exists("%s", path))
			cpus_add(set, i);
	}
	return !cpus_empty(set);
}

static bool read_online_cpus(struct topology *t, struct cpus *online)
{
	char text[16];

	if (read_list(t, CPU_FILES "/online", online, MAX_CPUS) && !cpus_empty(online))
		return true;
	if (!fsroot_exists(CPU_FILES) || !probe(CPU_FILES "/cpu%d", online, MAX_CPUS))
		return false;
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(online, cpu) && fsroot_read(text, sizeof(text), CPU_FILES "/cpu%d/online", cpu) &&
		    text[0] == '0')
			cpus_remove(online, cpu);
	return !cpus_empty(online);
}

static bool read_online_nodes(struct topology *t, struct cpus *online)
{
	if (read_list(t, NODE_FILES "/online", online, MAX_NODES) && !cpus_empty(online))
		return true;
	return fsroot_exists(NODE_FILES) && probe(NODE_FILES "/node%d", online, MAX_NODES);
}

/* Those of a node that are online; false: it is not told. */
static bool read_cpus_of(struct topology *t, int nid, struct cpus *cpus)
{
	if (!(fsroot_read(t->text, TEXT, NODE_FILES "/node%d/cpulist", nid) &&
	      topology_parse_list(t->text, cpus, MAX_CPUS)) &&
	    !(fsroot_read(t->text, TEXT, NODE_FILES "/node%d/cpumap", nid) &&
	      topology_parse_map(t->text, cpus, MAX_CPUS)))
		return false;
	if (!cpus_empty(&t->known_online))
		cpus_and(cpus, &t->known_online);
	return true;
}

static void set_cpus(struct topology *t, int node, const struct cpus *cpus)
{
	for (size_t i = 0; i < CPUS_WORDS; i++)
		atomic_store_explicit(&t->nodes[node].cpus[i], cpus->word[i], memory_order_relaxed);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(cpus, cpu))
			atomic_store_explicit(&t->of_cpu[cpu], (int16_t)node, memory_order_relaxed);
}

/* CPUs that are on no node count as the first one's. */
static void adopt_strays(struct topology *t)
{
	struct cpus all, first;

	topology_all_cpus(t, &all);
	topology_cpus(t, 0, &first);
	for (size_t i = 0; i < CPUS_WORDS; i++)
		first.word[i] |= t->known_online.word[i] & ~all.word[i];
	set_cpus(t, 0, &first);
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

/* Fills in a node's distances. index: of each online node. */
static void read_distances(struct topology *t, struct topology_node *node, const int16_t *index)
{
	const char *p = t->text;

	if (!fsroot_read(t->text, TEXT, NODE_FILES "/node%d/distance", node->nid))
		t->text[0] = '\0';
	for (int nid = 0; nid < MAX_NODES; nid++) {
		char *end;
		long distance;

		if (index[nid] < 0)
			continue;
		distance = strtol(p, &end, 10);
		if (end == p || distance <= 0 || distance > INT16_MAX)
			distance = nid == node->nid ? LOCAL_DISTANCE : REMOTE_DISTANCE;
		p = end;
		node->distance[index[nid]] = (int)distance;
	}
}

/* Fills in by_distance, and of_nid for all nids. */
static bool sort_by_distance(struct topology *t)
{
	struct by_distance *order = calloc((size_t)t->nr_nodes, sizeof(*order));

	if (!order)
		return false;
	for (int i = 0; i < t->nr_all; i++) {
		struct topology_node *node = &t->nodes[i];

		for (int j = 0; j < t->nr_nodes; j++)
			order[j] = (struct by_distance){ j, j == i ? 0 : node->distance[j] };
		/* Whatever the firmware says, nothing is nearer than itself. */
		qsort(order, (size_t)t->nr_nodes, sizeof(*order), nearer);
		for (int j = 0; j < t->nr_nodes; j++)
			node->by_distance[j] = order[j].node;
		t->of_nid[node->nid] = (int16_t)order[0].node;
	}
	free(order);
	return true;
}

static bool make_nodes(struct topology *t, int nr)
{
	size_t n = (size_t)nr;

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

/* Should the thread that is first be bound more narrowly than the program, others still have their CPUs. */
static void allowed_to_the_process(struct cpus *set)
{
	struct cpus main_thread = { { 0 } };

	topology_allowed(pthread_self(), set);
	if (sched_getaffinity(getpid(), sizeof(main_thread), (cpu_set_t *)&main_thread) == 0)
		cpus_or(set, &main_thread);
}

static bool one_node(struct topology *t)
{
	struct cpus cpus = t->known_online;

	if (!t->nodes && !make_nodes(t, 1))
		return false;
	if (cpus_empty(&cpus))
		allowed_to_the_process(&cpus);
	t->nr_nodes = t->nr_all = 1;
	t->nodes[0].nid = 0;
	t->of_nid[0] = 0;
	t->nodes[0].distance[0] = LOCAL_DISTANCE;
	set_cpus(t, 0, &cpus);
	return true;
}

/* With the nodes that are online; nr_nodes remains 0 where none of them has a CPU. */
static bool several_nodes(struct topology *t, const struct cpus *online)
{
	int16_t index[MAX_NODES], memory_only[MAX_NODES];
	int nr_memory_only = 0;

	if (!make_nodes(t, cpus_count(online)))
		return false;
	memset(index, -1, sizeof(index));
	for (int nid = 0; nid < MAX_NODES; nid++) {
		struct cpus cpus;

		if (!cpus_has(online, nid))
			continue;
		if (!read_cpus_of(t, nid, &cpus) || cpus_empty(&cpus)) {
			memory_only[nr_memory_only++] = (int16_t)nid;
			continue;
		}
		index[nid] = (int16_t)t->nr_nodes;
		t->nodes[t->nr_nodes].nid = nid;
		set_cpus(t, t->nr_nodes++, &cpus);
	}
	t->nr_all = t->nr_nodes;
	for (int i = 0; i < nr_memory_only; i++) {
		index[memory_only[i]] = (int16_t)t->nr_all;
		t->nodes[t->nr_all++].nid = memory_only[i];
	}
	for (int i = 0; i < t->nr_all; i++)
		read_distances(t, &t->nodes[i], index);
	return t->nr_nodes == 0 || sort_by_distance(t);
}

static void count_possible(struct topology *t)
{
	struct cpus cpus, possible;

	topology_all_cpus(t, &cpus);
	if (read_list(t, CPU_FILES "/possible", &possible, MAX_CPUS))
		cpus_or(&cpus, &possible);
	t->nr_possible = cpus_count(&cpus);
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(&cpus, cpu))
			t->end_possible = cpu + 1;
}

bool topology_read(struct topology *t)
{
	struct cpus online;

	memset(t, 0, sizeof(*t));
	memset(t->of_nid, -1, sizeof(t->of_nid));
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		atomic_init(&t->of_cpu[cpu], -1);
	t->text = malloc(TEXT);
	if (!t->text)
		return false;
	kept_open(&t->online, CPU_FILES "/online");
	if (!read_online_cpus(t, &t->known_online))
		memset(&t->known_online, 0, sizeof(t->known_online));
	if (read_online_nodes(t, &online) && !several_nodes(t, &online))
		return false;
	if (t->nr_nodes == 0 && !one_node(t))
		return false;
	adopt_strays(t);
	count_possible(t);
	return true;
}

bool topology_update(struct topology *t)
{
	struct cpus online, cpus, more;

	if (!t->online.open)
		return false;
	if (!kept_read(&t->online, t->text, TEXT) &&
	    (!kept_open(&t->online, CPU_FILES "/online") || !kept_read(&t->online, t->text, TEXT)))
		return false;
	if (!topology_parse_list(t->text, &online, MAX_CPUS) || cpus_empty(&online) ||
	    memcmp(&online, &t->known_online, sizeof(online)) == 0)
		return false;
	t->known_online = online;
	for (int i = 0; i < t->nr_nodes; i++) {
		if (!read_cpus_of(t, t->nodes[i].nid, &cpus)) {
			if (t->nr_all > 1)
				continue;
			cpus = online;
		}
		for (int j = t->nr_nodes; j < t->nr_all; j++)
			if (t->of_nid[t->nodes[j].nid] == i && read_cpus_of(t, t->nodes[j].nid, &more))
				cpus_or(&cpus, &more);
		set_cpus(t, i, &cpus);
	}
	adopt_strays(t);
	return true;
}

void topology_siblings(int cpu, struct cpus *set)
{
	static const char *const lists[] = { "core_cpus_list", "thread_siblings_list" };
	static const char *const maps[] = { "core_cpus", "thread_siblings" };
	char text[4096];

	for (size_t i = 0; i < 2; i++) {
		if (fsroot_read(text, sizeof(text), CPU_FILES "/cpu%d/topology/%s", cpu, lists[i]) &&
		    topology_parse_list(text, set, MAX_CPUS) && cpus_has(set, cpu))
			return;
		if (fsroot_read(text, sizeof(text), CPU_FILES "/cpu%d/topology/%s", cpu, maps[i]) &&
		    topology_parse_map(text, set, MAX_CPUS) && cpus_has(set, cpu))
			return;
	}
	memset(set, 0, sizeof(*set));
	cpus_add(set, cpu);
}
