/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ktask_memory.h: what the Linux kernel uses its ktask for, for programs: clearing, touching, pinning and freeing of
 * large memory; and on which NUMA node memory lies.
 *
 * All functions here are thread-safe as far as the memory is the caller's alone, and return 0 or a negative errno, but
 * for those that say otherwise. Sizes are in bytes; with size 0 nothing is done. -EOVERFLOW: memory + size wraps
 * around, or is more than KTASK_MAX_SIZE.
 *
 * Less than a mebibyte is written on the spot, by the C library's memset() and memcpy(); what does not fit into the
 * caches is written past them.
 *
 * With CONFIG_KTASK=0 the first three are memset(), memset() for any value, and memcpy(); pinning is -ENOSYS, the other
 * advice is not given, and nothing is known of nodes.
 */
#ifndef KTASK_MEMORY_H
#define KTASK_MEMORY_H

#include "ktask.h"

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For ktask_memory_place(). */
enum ktask_placement {
	KTASK_PLACE_LOCAL,	/* all on the caller's node, as long as it has room */
	KTASK_PLACE_INTERLEAVE, /* page by page on each node in turn: for what all threads read everywhere */
	KTASK_PLACE_SPREAD,	/* one range after the other on each node, as long as the node's share of the CPUs */
};

#if CONFIG_KTASK

/* memset(memory, 0, size) */
int ktask_memory_clear(void *memory, size_t size);

/*
 * Copies the value into memory, over and over.
 *   -EINVAL  value_size is 0, or size is not a multiple of it
 */
int ktask_memory_fill(void *memory, size_t size, const void *value, size_t value_size);

/*
 * memcpy(to, from, size)
 *   -EINVAL  the two overlap
 */
int ktask_memory_copy(void *to, const void *from, size_t size);

/*
 * Has the system provide all pages that hold a byte of the memory, so that the first access is as quick as the next.
 * What is in the memory stays as it is.
 *   -EFAULT  some of it may not be written
 *   -ENOMEM  some of it is not mapped, or there are not enough pages
 */
int ktask_memory_prefault(void *memory, size_t size);

/*
 * mlock(memory, size): the pages are there, and stay there. If that fails, none of them is pinned afterwards, nor are
 * those that were before: pins do not nest.
 *   -ENOMEM  more than RLIMIT_MEMLOCK, or some of it is not mapped
 *   -EPERM   RLIMIT_MEMLOCK is 0
 */
int ktask_memory_pin(void *memory, size_t size);
int ktask_memory_unpin(void *memory, size_t size);

/*
 * Asks for huge pages, where the memory has whole ones that were not touched yet.
 *   -EINVAL  this kernel has none to give (CONFIG_TRANSPARENT_HUGEPAGE)
 */
int ktask_memory_advise_huge(void *memory, size_t size);

/*
 * Gives the pages back to the system; the addresses stay valid. What is in the memory is lost: it reads as zero where
 * whole pages of anonymous memory were given back, and anything elsewhere.
 *   -EINVAL  some of it is pinned
 */
int ktask_memory_free(void *memory, size_t size);

/*
 * Places the whole pages of the memory on NUMA nodes and has them provided. Those that are there already and on another
 * node than they may be are moved, if they are this process's own. Nodes without memory, or that the process may not use,
 * get none. Where a node has no room left, or the system does not let the process choose (a container without
 * CAP_SYS_NICE), pages come to lie elsewhere, and no error is returned; ktask_nodes_of() tells. A huge page that the
 * memory shares with its neighbour, such as the stack of a thread started since it was mapped, may stay where it is: call
 * ktask_init(), or this with a size of 0, before mapping it. Errors are ktask_memory_prefault()'s.
 *   -EINVAL  there is no such placement
 */
int ktask_memory_place(void *memory, size_t size, enum ktask_placement placement);

/*
 * Where does this memory lie? Fills nodes with consecutive parts for ktask_run_numa(), each on one NUMA node
 * (NUMA_NO_NODE: not touched yet, or not known), in units of one byte, and returns how many there are. A part ends
 * between two units of unit bytes from memory on; a unit counts for the page in which it begins.
 *
 * Exact for each page, as long as there is room for so many parts; otherwise neighbouring pages are taken together,
 * as few as will do, for the node of most of them, or else NUMA_NO_NODE. Takes some 0.35 µs a page, about as long as
 * copying it, and for a moment 2 bytes a page.
 *   -EINVAL  unit or room is 0, or size is not a multiple of unit
 *   -ENOMEM  no memory for that
 */
int ktask_nodes_of(const void *memory, size_t size, size_t unit, struct ktask_node *nodes, size_t room);

#else /* !CONFIG_KTASK */

static inline int ktask_memory_clear(void *memory, size_t size)
{
	if (size)
		memset(memory, 0, size);
	return 0;
}

static inline int ktask_memory_fill(void *memory, size_t size, const void *value, size_t value_size)
{
	if (!value_size || size % value_size)
		return -22; /* -EINVAL */
	for (size_t i = 0; i < size; i += value_size)
		memcpy((char *)memory + i, value, value_size);
	return 0;
}

static inline int ktask_memory_copy(void *to, const void *from, size_t size)
{
	uintptr_t a = (uintptr_t)to, b = (uintptr_t)from;

	if (a < b ? b - a < size : a - b < size)
		return size ? -22 : 0; /* -EINVAL */
	if (size)
		memcpy(to, from, size);
	return 0;
}

static inline int ktask_memory_prefault(void *memory, size_t size)
{
	(void)memory, (void)size;
	return 0;
}

static inline int ktask_memory_pin(void *memory, size_t size)
{
	(void)memory;
	return size ? -38 : 0; /* -ENOSYS */
}

static inline int ktask_memory_unpin(void *memory, size_t size)
{
	return ktask_memory_pin(memory, size);
}

static inline int ktask_memory_advise_huge(void *memory, size_t size)
{
	(void)memory, (void)size;
	return 0;
}

static inline int ktask_memory_free(void *memory, size_t size)
{
	(void)memory, (void)size;
	return 0;
}

static inline int ktask_memory_place(void *memory, size_t size, enum ktask_placement placement)
{
	(void)memory, (void)size;
	return (unsigned)placement <= KTASK_PLACE_SPREAD ? 0 : -22; /* -EINVAL */
}

static inline int ktask_nodes_of(const void *memory, size_t size, size_t unit, struct ktask_node *nodes, size_t room)
{
	if (!unit || !room || size % unit)
		return -22; /* -EINVAL */
	nodes->kn_start = (void *)(uintptr_t)memory;
	nodes->kn_task_size = size;
	nodes->kn_nid = NUMA_NO_NODE;
	return size > 0;
}

#endif /* CONFIG_KTASK */

#ifdef __cplusplus
}
#endif

#endif /* KTASK_MEMORY_H */
