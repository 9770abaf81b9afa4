/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * placement.c: on which NUMA nodes memory lies, and where it is to lie.
 *
 * The kernel is asked about pages by move_pages(2) without a destination, for many at a time, and is told by mbind(2).
 * Both may be refused in a container. Then where memory lies is not known (NUMA_NO_NODE), and memory comes to lie where
 * it is first touched: by threads of the node that is to have it, as far as they are quick enough.
 */
#define _GNU_SOURCE
#include "memory.h"

#include "pool.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Pages that the kernel is asked about in one call. */
enum { BATCH = 512 };

enum { HUGE_PAGE = 2 << 20 };

/* ---- where memory lies ------------------------------------------------------------------------------------------ */

/* Asks about nr pages, stride bytes apart. */
static void ask(char *page, size_t stride, size_t nr, int16_t *nids)
{
	void *pages[BATCH];
	int status[BATCH];

	for (size_t n; nr > 0; nr -= n, nids += n) {
		n = nr < BATCH ? nr : BATCH;
		for (size_t i = 0; i < n; i++, page += stride)
			pages[i] = page;
		if (syscall(SYS_move_pages, 0, n, pages, NULL, status, 0) != 0)
			for (size_t i = 0; i < n; i++)
				status[i] = NUMA_NO_NODE;
		/* A negative errno where there is no page; and a node may have come since the topology was read. */
		for (size_t i = 0; i < n; i++)
			nids[i] = topology_of_nid(pool_topology(), status[i]) < 0 ? NUMA_NO_NODE : (int16_t)status[i];
	}
}

/* Memory seen in steps: one page in each. */
struct survey {
	char *memory;
	size_t size;
	size_t unit;
	char *first; /* where the first step begins: a page's beginning, at memory or before it */
	size_t step;
	size_t nr_steps;
	int16_t *nids;
};

/* The node of most of the n steps, or NUMA_NO_NODE. */
static int majority(const int16_t *nids, size_t n)
{
	int candidate = nids[0];
	size_t votes = 0;

	for (size_t i = 0; i < n; i++) { /* if there is one, this finds it (Boyer and Moore) */
		if (votes == 0)
			candidate = nids[i];
		votes += nids[i] == candidate ? 1 : (size_t)-1;
	}
	votes = 0;
	for (size_t i = 0; i < n; i++)
		votes += nids[i] == candidate;
	return votes > n / 2 ? candidate : NUMA_NO_NODE;
}

/* The offset of the first unit that begins in this step or after it. */
static size_t first_unit(const struct survey *s, size_t step)
{
	uintptr_t here = (uintptr_t)s->first + step * s->step, memory = (uintptr_t)s->memory;
	size_t offset = here > memory ? (here - memory + s->unit - 1) / s->unit * s->unit : 0;

	return offset < s->size ? offset : s->size;
}

/* The parts, with so many steps taken together. Returns their number, or more than room if there is none for them. */
static size_t join(const struct survey *s, size_t together, struct ktask_node *parts, size_t room)
{
	size_t nr = 0;

	for (size_t i = 0, n; i < s->nr_steps; i += n) {
		n = together < s->nr_steps - i ? together : s->nr_steps - i;

		int nid = majority(s->nids + i, n);
		size_t from = first_unit(s, i), to = i + n < s->nr_steps ? first_unit(s, i + n) : s->size;

		if (from == to)
			continue; /* the inside of a long unit */
		if (nr > 0 && parts[nr - 1].kn_nid == nid) {
			parts[nr - 1].kn_task_size += to - from;
			continue;
		}
		if (nr == room)
			return room + 1;
		parts[nr++] = (struct ktask_node){ s->memory + from, to - from, nid };
	}
	return nr;
}

static size_t join_to_fit(const struct survey *s, struct ktask_node *parts, size_t room)
{
	size_t nr;

	for (size_t together = 1; (nr = join(s, together, parts, room)) > room; together *= 2)
		;
	return nr;
}

int ktask_nodes_of(const void *memory, size_t size, size_t unit, struct ktask_node *nodes, size_t room)
{
	struct survey s = { .memory = (char *)(uintptr_t)memory, .size = size, .unit = unit };
	int error = memory_check(memory, size);
	char *end;

	if (!error && (!unit || !room || size % unit))
		error = -EINVAL;
	if (error || !size)
		return error;
	pool_start(); /* reads the topology, also where there is no pool to be had */
	/* Up to the last unit's beginning. */
	memory_pages(memory, size - unit + 1, true, &s.first, &end);
	s.step = (size_t)sysconf(_SC_PAGESIZE);
	s.nr_steps = (size_t)(end - s.first) / s.step;
	s.nids = malloc(s.nr_steps * sizeof(*s.nids));
	if (!s.nids)
		return -ENOMEM;
	/* By one thread: the kernel's lock on the address space makes two slower. */
	ask(s.first, s.step, s.nr_steps, s.nids);
	room = join_to_fit(&s, nodes, room < INT32_MAX ? room : INT32_MAX);
	free(s.nids);
	return (int)room;
}

size_t placement_guess(void *memory, size_t size, struct ktask_node parts[static MEMORY_PARTS])
{
	int16_t nids[MEMORY_PARTS];
	struct survey s = { .memory = memory, .size = size, .unit = 1, .nids = nids };
	size_t least = (size + MEMORY_PARTS - 1) / MEMORY_PARTS;
	char *end;

	parts[0] = (struct ktask_node){ memory, size, NUMA_NO_NODE };
	if (!pool_start() || pool_topology()->nr_nodes == 1)
		return 1;
	memory_pages(memory, size, true, &s.first, &end);
	s.step = (least + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	s.nr_steps = ((size_t)(end - s.first) + s.step - 1) / s.step;
	ask(s.first, s.step, s.nr_steps, nids);
	return join(&s, 1, parts, MEMORY_PARTS);
}

/* ---- where memory is to lie ------------------------------------------------------------------------------------- */

/* A set of nodes as the kernel takes it. */
struct nodes {
	unsigned long word[MAX_NODES / (8 * sizeof(unsigned long))];
};

enum { NODES_WORD_BITS = 8 * sizeof(unsigned long) };

static bool nodes_has(const struct nodes *set, int nid)
{
	return set->word[nid / NODES_WORD_BITS] >> (nid % NODES_WORD_BITS) & 1;
}

/* The nodes that have memory which this process may use. False: the kernel does not tell. */
static bool nodes_with_memory(struct nodes *set)
{
	memset(set, 0, sizeof(*set));
	return syscall(SYS_get_mempolicy, NULL, set->word, (unsigned long)MAX_NODES, NULL, MPOL_F_MEMS_ALLOWED) == 0;
}

/* Failure is no error: first touch will do what it can. The kernel takes one bit less than it is told. */
static void bind(const struct ktask_node *part, int mode, const struct nodes *set)
{
	syscall(SYS_mbind, part->kn_start, part->kn_task_size, mode, set->word, (unsigned long)MAX_NODES + 1,
		MPOL_MF_MOVE);
}

static void bind_to_node(const struct ktask_node *part)
{
	struct nodes one = { { 0 } };

	if (part->kn_nid < 0 || part->kn_task_size == 0)
		return;
	one.word[part->kn_nid / NODES_WORD_BITS] |= 1UL << (part->kn_nid % NODES_WORD_BITS);
	bind(part, MPOL_PREFERRED, &one);
}

/* The nearest node with memory, as the system counts; NUMA_NO_NODE: none of those that have CPUs. */
static int nearest_with_memory(const struct topology *t, int node, const struct nodes *with_memory)
{
	for (int i = 0; i < t->nr_nodes; i++) {
		int nid = t->nodes[t->nodes[node].by_distance[i]].nid;

		if (nodes_has(with_memory, nid))
			return nid;
	}
	return NUMA_NO_NODE;
}

/* How many of a node's CPUs are among these. */
static int nr_allowed(const struct topology *t, int node, const struct cpus *allowed)
{
	struct cpus cpus;

	topology_cpus(t, node, &cpus);
	cpus_and(&cpus, allowed);
	return cpus_count(&cpus);
}

/*
 * Cuts [start, end) into a part for each node that has CPUs which the calling thread may use, as large as its share of
 * them; its memory is on the nearest node that has some. parts has room for as many as there are nodes, and one.
 */
static size_t spread(char *start, char *end, const struct nodes *with_memory, struct ktask_node *parts)
{
	const struct topology *t = pool_topology();
	size_t size = (size_t)(end - start), nr = 0, page = (size_t)sysconf(_SC_PAGESIZE);
	char *begin = start;
	struct cpus allowed;
	int all = 0, so_far = 0;

	topology_allowed(pthread_self(), &allowed);
	for (int node = 0; node < t->nr_nodes; node++)
		all += nr_allowed(t, node, &allowed);
	if (size / (size_t)t->nr_nodes >= 8 * HUGE_PAGE)
		page = HUGE_PAGE;
	for (int node = 0; node < t->nr_nodes && so_far < all; node++) {
		uintptr_t until;

		so_far += nr_allowed(t, node, &allowed);
		until = (uintptr_t)begin + (uintptr_t)((double)size * so_far / all);
		until = so_far == all ? (uintptr_t)end : until - until % page;
		if (until <= (uintptr_t)start)
			continue;
		parts[nr].kn_start = start;
		parts[nr].kn_task_size = until - (uintptr_t)start;
		parts[nr++].kn_nid = nearest_with_memory(t, node, with_memory);
		start = (char *)until;
	}
	if (start < end) /* the topology has none of the CPUs allowed */
		parts[nr++] = (struct ktask_node){ start, (size_t)(end - start), NUMA_NO_NODE };
	return nr;
}

int ktask_memory_place(void *memory, size_t size, enum ktask_placement placement)
{
	int error = memory_check(memory, size), cpu;
	const struct topology *t = pool_topology();
	struct nodes with_memory;
	char *start, *end;

	if (!error && (placement < KTASK_PLACE_LOCAL || placement > KTASK_PLACE_SPREAD))
		error = -EINVAL;
	if (error)
		return error;
	memory_pages(memory, size, false, &start, &end);
	pool_start(); /* reads the topology, also where there is no pool to be had */
	if (start == end || t->nr_nodes == 1 || !nodes_with_memory(&with_memory))
		return ktask_memory_prefault(memory, size);

	struct ktask_node parts[t->nr_nodes + 1];
	size_t nr = 1;

	parts[0] = (struct ktask_node){ start, (size_t)(end - start), NUMA_NO_NODE };
	if (placement == KTASK_PLACE_SPREAD)
		nr = spread(start, end, &with_memory, parts);
	else if (placement == KTASK_PLACE_INTERLEAVE)
		bind(&parts[0], MPOL_INTERLEAVE, &with_memory);
	else
		parts[0].kn_nid = nearest_with_memory(t, topology_here(t, &cpu), &with_memory);
	for (size_t i = 0; i < nr; i++)
		bind_to_node(&parts[i]);
	error = memory_prefault(parts, nr);
	return error ? error : ktask_memory_prefault(memory, size); /* the pages at the ends */
}
