/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits.h: who may start a helper (the kernel document's "Resource Limits").
 *
 * Callers are never limited, and nothing here ever waits. A helper at work counts against the node whose CPUs it runs
 * on and against the whole system. A limit is never exceeded: a helper works only if both counters, when it added
 * itself, were below their limits. Two that add themselves at once may both be refused the last place;
 * that costs speed, nothing else.
 */
#ifndef KTASK_LIMITS_H
#define KTASK_LIMITS_H

#include <stdbool.h>

/* Sets the limits, and all counters to 0: when the pool starts, and in a child after fork. False: no memory. */
bool limits_init(int nr_nodes, int system_max);
void limits_reset(void);

/* At any time: helpers above a limit that is lowered finish what they do. */
void limits_set_node(int node, int max);
void limits_set_max(int max);
enum limits_answer { LIMITS_TAKEN, LIMITS_NODE_FULL, LIMITS_SYSTEM_FULL };

enum limits_answer limits_take(int node);
void limits_give_back(int node);

/* Helpers that are at work now, and the most there may be. */
int limits_running(void);
int limits_max(void);

#endif
