/* SPDX-License-Identifier: BSD-3-Clause */
#include "trace.h"

void trace_add(struct ktask_trace *trace, const struct ktask_event *event)
{
	/* kt_count is a plain size_t, for C++ programs that include the header: hence the compiler's own atomics. */
	size_t i = __atomic_fetch_add(&trace->kt_count, 1, __ATOMIC_RELAXED);

	if (i < trace->kt_capacity)
		trace->kt_events[i] = *event;
}
