/* SPDX-License-Identifier: BSD-3-Clause */
/* record.h: what a run leaves behind for people to look at: its report, and events in its traces. */
#ifndef KTASK_RECORD_H
#define KTASK_RECORD_H

#include "run_private.h"

static inline bool is_traced(const struct plan *plan)
{
	return plan->own_trace || plan->trace;
}

/* A chunk that has just ended, and began then on that CPU. */
void record_chunk(const struct worker *w, const struct chunk *chunk, uint64_t begin, int cpu, int result);

/* All that a thread has done in the run; into the process's trace, which must be on. */
void record_all(const struct worker *w, enum ktask_event_kind kind, uint64_t begin, uint64_t end, int result);

/* Fills in the report that the client gave, when all helpers are gone. */
void record_report(const struct worker *caller, size_t undone);

/* The same for a run that was over before anything was prepared; its last chunk, the first one if that failed, ended there. */
void record_ahead(const struct run *run, const struct ktask_node *node, void *end);

#endif
