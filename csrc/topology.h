/* SPDX-License-Identifier: BSD-3-Clause */
/* topology.h: read-only facts about the machine: CPUs, NUMA nodes, distances. */
#ifndef KTASK_TOPOLOGY_H
#define KTASK_TOPOLOGY_H

#include "fsroot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
	MAX_CPUS = 8192, /* NR_CPUS of the largest kernels that distributions build */
	MAX_NODES = 1024 /* 1 << CONFIG_NODES_SHIFT of the same */
};

enum { CPUS_WORD_BITS = 8 * sizeof(unsigned long), CPUS_WORDS = MAX_CPUS / CPUS_WORD_BITS };

/* A set of CPUs, laid out as sched_setaffinity(2) wants it. */
struct cpus {
	unsigned long word[CPUS_WORDS];
};

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
void cpus_or(struct cpus *set, const struct cpus *other);

/* Another one for each number. */
uint64_t cpus_hash(const struct cpus *set, uint64_t number);

struct topology_node {
	int nid;				/* the system's number */
	_Atomic unsigned long cpus[CPUS_WORDS]; /* online: see topology_cpus */
	int *distance;	  /* to each of the nr_all nodes, as the firmware's SLIT says: 10 is local */
	int *by_distance; /* the indexes of the nr_nodes nodes that have CPUs, the nearest first: itself */
};

/*
 * Nodes are counted in two ways: nid is the system's number, which may have gaps; node is the index in this table, the
 * only one used inside. First come the nr_nodes that had CPUs online when the table was made, then those with memory
 * only; a CPU that comes online in one of these counts as the nearest node's. CPUs come and go (topology_update), all
 * else stays as it is.
 */
struct topology {
	int nr_nodes;
	int nr_all;
	int nr_possible;  /* CPUs there may ever be, */
	int end_possible; /* and a number above all of theirs */
	struct topology_node *nodes;
	_Atomic int16_t of_cpu[MAX_CPUS]; /* the node of each CPU, or -1 */
	int16_t of_nid[MAX_NODES];	  /* for each nid that exists: the nearest node that has CPUs; or -1 */
	struct kept_file online;
	struct cpus known_online; /* what that file said; for who updates only */
	char *text;		  /* room to read files into; likewise */
};

/*
 * Reads the machine. Where sysfs is missing or makes no sense, one node 0 with all the CPUs that are online or, where
 * not even that is known, that the calling thread may run on. Returns false when there is no memory.
 */
bool topology_read(struct topology *t);

/*
 * Looks whether CPUs have come online or gone, and brings the nodes' CPUs up to date. By one thread at a time; others
 * go on reading. Opens no file unless there is news. Returns whether there was.
 */
bool topology_update(struct topology *t);

/* The CPUs of a node that were online lately. Which of them can be used now, topology_allowed tells. */
void topology_cpus(const struct topology *t, int node, struct cpus *set);

/* The CPUs of all nodes. */
void topology_all_cpus(const struct topology *t, struct cpus *set);

/* The CPUs that this thread of the process may run on now. Never empty. */
void topology_allowed(pthread_t thread, struct cpus *set);

/* The node index of the CPU that the caller runs on. */
int topology_here(const struct topology *t, int *cpu);

/* The node index for a system's number, or -1 if it does not exist; NUMA_NO_NODE is for the caller to handle. */
int topology_of_nid(const struct topology *t, int nid);

/* The CPUs that share a core with this one, itself included. For people: it reads a file each time. */
void topology_siblings(int cpu, struct cpus *set);

/* ---- parsers: they take any text ---------------------------------------------------------------------------------- */

/* Parses a list such as "0-3,8,10-11" into set. Returns false at anything else, and at a number of max or more. */
bool topology_parse_list(const char *text, struct cpus *set, int max);

/* Parses a map such as "ff,00000001": hexadecimal words of 32 bits, the highest first. False as above. */
bool topology_parse_map(const char *text, struct cpus *set, int max);

#endif
