/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.h: records what happens into the room that the client gave (struct ktask_trace): a run's own, and the process's. */
#ifndef KTASK_TRACE_H
#define KTASK_TRACE_H

#include "ktask.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Thread-safe, wait-free. Events are in the order of their ends, more or less. */
void trace_add(struct ktask_trace *trace, const struct ktask_event *event);

/* The process's; NULL: off. */
extern _Atomic(struct ktask_trace *) trace_of_all;

static inline bool trace_is_on(void)
{
	return atomic_load_explicit(&trace_of_all, memory_order_relaxed) != NULL;
}

/* By a run that begins: the process's trace, which stays until the run leaves it; NULL: off, nothing to leave. */
struct ktask_trace *trace_enter(void);
void trace_leave(void);

/* A number for a run that is traced, from 1. */
uint64_t trace_number(void);

/* A run that its caller has done by itself, in one chunk, and that is over now. */
void trace_done(const void *identity, size_t units, uint64_t ns, int result, int tid);

#endif
