/* SPDX-License-Identifier: BSD-3-Clause */
#include "limits.h"

#include <stdatomic.h>
#include <stdlib.h>

/*
 * All operations on the counters are relaxed: they guard no data, only their own values, and the order of changes to
 * one atomic object is the same for all threads. What a helper does is ordered by the word it is called through.
 */
struct counter {
	_Alignas(64) _Atomic int running;
	_Atomic int max;
};

static struct counter whole_system;
static struct counter *of_node;
static int nr_counters;

bool limits_init(int nr_nodes, int system_max)
{
	of_node = aligned_alloc(_Alignof(struct counter), (size_t)nr_nodes * sizeof(*of_node));
	if (!of_node)
		return false;
	nr_counters = nr_nodes;
	limits_set_max(system_max);
	for (int i = 0; i < nr_nodes; i++)
		limits_set_node(i, 0);
	limits_reset();
	return true;
}

void limits_set_node(int node, int max)
{
	atomic_store_explicit(&of_node[node].max, max, memory_order_relaxed);
}

void limits_set_max(int max)
{
	atomic_store_explicit(&whole_system.max, max, memory_order_relaxed);
}

void limits_reset(void)
{
	atomic_store_explicit(&whole_system.running, 0, memory_order_relaxed);
	for (int i = 0; i < nr_counters; i++)
		atomic_store_explicit(&of_node[i].running, 0, memory_order_relaxed);
}

static bool take(struct counter *c)
{
	if (atomic_fetch_add_explicit(&c->running, 1, memory_order_relaxed) <
	    atomic_load_explicit(&c->max, memory_order_relaxed))
		return true;
	atomic_fetch_sub_explicit(&c->running, 1, memory_order_relaxed);
	return false;
}

static void give_back(struct counter *c)
{
	atomic_fetch_sub_explicit(&c->running, 1, memory_order_relaxed);
}

enum limits_answer limits_take(int node)
{
	if (!take(&whole_system))
		return LIMITS_SYSTEM_FULL;
	if (take(&of_node[node]))
		return LIMITS_TAKEN;
	give_back(&whole_system);
	return LIMITS_NODE_FULL;
}

void limits_give_back(int node)
{
	give_back(&of_node[node]);
	give_back(&whole_system);
}

int limits_running(void)
{
	return atomic_load_explicit(&whole_system.running, memory_order_relaxed);
}

int limits_max(void)
{
	return atomic_load_explicit(&whole_system.max, memory_order_relaxed);
}
