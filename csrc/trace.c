/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.c: what happened, for people to look at.
 *
 * The process's trace may be switched off, and its room given up, while runs record into it: so they are counted.
 *   A run begins    1. it adds itself to users, 2. it reads the trace; if there is none, it takes itself off again.
 *   Switching       3. the trace is exchanged, 4. users is read.
 * These are sequentially consistent: either 2 comes after 3, and the run has the new trace; or 1 before 4, and is counted.
 * A run that ends releases what it recorded, and who reads 0 acquires it.
 */
#define _GNU_SOURCE
#include "trace.h"

#include "clock.h"

#include <sched.h>

_Atomic(struct ktask_trace *) trace_of_all;
static atomic_size_t users;
static _Atomic uint64_t runs;

void trace_add(struct ktask_trace *trace, const struct ktask_event *event)
{
	/* kt_count is a plain size_t, for C++ programs that include the header: hence the compiler's own atomics. */
	size_t i = __atomic_fetch_add(&trace->kt_count, 1, __ATOMIC_RELAXED);

	if (i >= trace->kt_capacity)
		return;
	/* The next one's memory comes while others work: waiting for it would be the most of what an event costs. */
	__builtin_prefetch(&trace->kt_events[i + 1], 1);
	trace->kt_events[i] = *event;
	trace->kt_events[i].ke_end = 0;
	__atomic_store_n(&trace->kt_events[i].ke_end, event->ke_end, __ATOMIC_RELEASE);
}

struct ktask_trace *trace_enter(void)
{
	struct ktask_trace *trace;

	if (!trace_is_on())
		return NULL;
	atomic_fetch_add(&users, 1);
	trace = atomic_load(&trace_of_all);
	if (!trace)
		trace_leave();
	return trace;
}

void trace_leave(void)
{
	atomic_fetch_sub_explicit(&users, 1, memory_order_release);
}

uint64_t trace_number(void)
{
	return atomic_fetch_add_explicit(&runs, 1, memory_order_relaxed) + 1;
}

void trace_done(const void *identity, size_t units, uint64_t ns, int result, int tid)
{
	struct ktask_trace *trace = trace_enter();
	struct ktask_event event = {
		.ke_end = clock_ns(),
		.ke_units = units,
		.ke_nid = NUMA_NO_NODE,
		.ke_result = result,
	};

	if (!trace)
		return;
	event.ke_begin = event.ke_end - ns;
	event.ke_cpu = sched_getcpu();
	event.ke_run = trace_number();
	event.ke_tid = tid;
	event.ke_kind = KTASK_EVENT_CHUNK;
	trace_add(trace, &event);
	event.ke_kind = KTASK_EVENT_RUN;
	event.ke_start = (void *)(uintptr_t)identity;
	trace_add(trace, &event);
	trace_leave();
}

size_t ktask_set_trace(struct ktask_trace *trace)
{
	atomic_exchange(&trace_of_all, trace);
	return atomic_load(&users);
}
