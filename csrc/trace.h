/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.h: records chunks into the room that the client gave (struct ktask_trace). */
#ifndef KTASK_TRACE_H
#define KTASK_TRACE_H

#include "ktask.h"

/* Thread-safe, wait-free. Events are in the order of their ends, more or less. */
void trace_add(struct ktask_trace *trace, const struct ktask_event *event);

#endif
