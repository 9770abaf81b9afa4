/* SPDX-License-Identifier: BSD-3-Clause */
/* topology.h: read-only facts about the machine: CPUs, NUMA nodes, distances. */
#ifndef KTASK_TOPOLOGY_H
#define KTASK_TOPOLOGY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	MAX_CPUS = 8192, /* NR_CPUS of the largest kernels that distributions build */
	MAX_NODES = 1024 /* 1 << CONFIG_NODES_SHIFT of the same */
};

/* A set of CPUs, laid out as sched_setaffinity(2) wants it. */
struct cpus {
	unsigned long word[MAX_CPUS / (8 * sizeof(unsigned long))];
};

enum { CPUS_WORD_BITS = 8 * sizeof(unsigned long) };

static inline bool cpus_has(const struct cpus *set, int cpu)
{
	return set->word[cpu / CPUS_WORD_BITS] >> (cpu % CPUS_WORD_BITS) & 1;
}

static inline void cpus_add(struct cpus *set, int cpu)
{
	set->word[cpu / CPUS_WORD_BITS] |= 1UL << (cpu % CPUS_WORD_BITS);
}

static inline void cpus_remove(struct cpus *set, int cpu)
{
	set->word[cpu / CPUS_WORD_BITS] &= ~(1UL << (cpu % CPUS_WORD_BITS));
}

int cpus_count(const struct cpus *set);
bool cpus_empty(const struct cpus *set);
void cpus_and(struct cpus *set, const struct cpus *other);

/* A NUMA node that has CPUs online. */
struct topology_node {
	int nid; /* the system's number */
	int nr_cpus;
	struct cpus cpus;
	int *distance;	  /* to each of the nr_nodes nodes, as the firmware's SLIT says: 10 is local */
	int *by_distance; /* the indexes of all nodes, the nearest first: itself */
};

/*
 * Nodes are counted in two ways: nid is the system's number, which may have gaps and include nodes without CPUs; node
 * is the index in this table, 0 to nr_nodes - 1, the only one used inside.
 */
struct topology {
	int nr_nodes;
	struct topology_node *nodes;
	struct cpus allowed;	   /* those */
	int16_t of_cpu[MAX_CPUS];  /* the node of each CPU, or -1 */
	int16_t of_nid[MAX_NODES]; /* for each nid that exists: the nearest node that has CPUs; or -1 */
};

/*
 * Reads the machine under the root KTASK_FSROOT (default: /). Where sysfs is missing or makes no sense, one node 0
 * with all the CPUs that the calling thread may run on. Returns false when there is no memory.
 */
bool topology_read(struct topology *t);

/* The CPUs that this thread of the process may run on now. Never empty. */
void topology_allowed(pthread_t thread, struct cpus *set);

/* The node index of the CPU that the caller runs on. */
int topology_here(const struct topology *t, int *cpu);

/* The node index for a system's number, or -1 if it does not exist; NUMA_NO_NODE is for the caller to handle. */
int topology_of_nid(const struct topology *t, int nid);

/* Parses a list such as "0-3,8,10-11" into set. Returns false at anything else, and at a number of max or more. */
bool topology_parse_list(const char *text, struct cpus *set, int max);

#endif
