/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "record.h"

#include "heartbeat.h"

#include <string.h>

void record_chunk(const struct worker *w, const struct chunk *chunk, uint64_t begin, int cpu, int result)
{
	struct ktask_trace *own = w->plan->own_trace, *process = w->plan->trace;
	const struct ktask_event event = {
		.ke_begin = begin,
		.ke_end = w->now,
		.ke_start = chunk->start,
		.ke_units = chunk->to - chunk->from,
		.ke_thread = w->thread,
		.ke_cpu = cpu,
		.ke_nid = chunk->cursor->nid,
		.ke_result = result,
		.ke_run = w->run->team.run,
		.ke_kind = KTASK_EVENT_CHUNK,
		.ke_tid = w->tid,
	};

	if (own)
		trace_add(own, &event);
	if (process && process != own)
		trace_add(process, &event);
}

void record_all(const struct worker *w, enum ktask_event_kind kind, uint64_t begin, uint64_t end, int result)
{
	const struct run *run = w->run;

	trace_add(run->team.trace, &(struct ktask_event){
					   .ke_begin = begin,
					   .ke_end = end,
					   .ke_start = (void *)(uintptr_t)run_identity(w->run),
					   .ke_units = kind == KTASK_EVENT_RUN ? w->plan->cut.total : w->pace.units,
					   .ke_thread = w->thread,
					   .ke_cpu = -1,
					   .ke_nid = NUMA_NO_NODE,
					   .ke_result = result,
					   .ke_run = run->team.run,
					   .ke_kind = kind,
					   .ke_tid = w->tid,
				   });
}

/* As much of it as the program that asked for it knows. */
static void give_report(const struct run *run, struct ktask_report *r)
{
	r->kr_struct_size = run->ctl.kc_report->kr_struct_size;
	memcpy(run->ctl.kc_report, r, r->kr_struct_size < sizeof(*r) ? r->kr_struct_size : sizeof(*r));
}

void record_report(const struct worker *caller, size_t undone)
{
	const struct run *run = caller->run;
	unsigned threads = atomic_load_explicit(&run->threads, memory_order_relaxed) + (caller->chunks != 0);
	struct ktask_report r = {
		.kr_ns = caller->now - run->plan.begin,
		.kr_chunks = atomic_load_explicit(&run->chunks, memory_order_relaxed) + caller->chunks,
		.kr_undone = undone,
		.kr_threads = threads < run->nr_holes ? threads : run->nr_holes, /* a helper may have come twice */
		.kr_called = atomic_load_explicit(&run->team.nr_called, memory_order_relaxed),
		.kr_cancelled = run->team.nr_cancelled,
		.kr_willed = run->team.nr_willed,
		.kr_error = atomic_load_explicit(&run->error, memory_order_relaxed),
		.kr_error_nid = run->chunk_failed ? run->failed.cursor->nid : NUMA_NO_NODE,
		.kr_error_start = run->chunk_failed ? run->failed.start : NULL,
		.kr_error_end = run->chunk_failed ? run->failed.end : NULL,
		.kr_retreated = atomic_load_explicit(&run->team.nr_retreated, memory_order_relaxed),
		.kr_why = caller->why,
		.kr_busy_ns = atomic_load_explicit(&run->busy_ns, memory_order_relaxed) + caller->pace.ns,
	};

	give_report(run, &r);
}

void record_ahead(const struct run *run, const struct ktask_node *node, void *end)
{
	const struct ahead *ahead = &run->ahead;
	bool failed = ahead->error != KTASK_RETURN_SUCCESS;
	struct ktask_report r = {
		.kr_ns = ahead->now - run->plan.begin,
		.kr_chunks = ahead->chunks,
		.kr_threads = 1,
		.kr_error = ahead->error,
		.kr_error_nid = failed ? node->kn_nid : NUMA_NO_NODE,
		.kr_error_start = failed ? node->kn_start : NULL,
		.kr_error_end = failed ? end : NULL,
		.kr_why = heartbeat_why_ahead(run, ahead->now),
		.kr_busy_ns = ahead->now - run->plan.begin,
	};

	give_report(run, &r);
}
