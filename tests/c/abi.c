/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The structures are laid out as they were released, on machines with 64-bit pointers. A line that fails means that
 * compiled programs would break: new members go to the end of ktask_ctl and ktask_report, and get a line here.
 */
#include "check.h"
#include "ktask.h"
#include "ktask_2d.h"
#include "ktask_memory.h"
#include "ktask_reduce.h"

#include <assert.h>

#define AT_OFFSET(type, member, offset) static_assert(offsetof(struct type, member) == (offset), #type "." #member)
#define HAS_SIZE(type, size)		static_assert(sizeof(struct type) == (size), #type)

#if UINTPTR_MAX == UINT64_MAX
AT_OFFSET(ktask_node, kn_start, 0);
AT_OFFSET(ktask_node, kn_task_size, 8);
AT_OFFSET(ktask_node, kn_nid, 16);
HAS_SIZE(ktask_node, 24);

/* These two may grow. */
AT_OFFSET(ktask_ctl, kc_struct_size, 0);
AT_OFFSET(ktask_ctl, kc_thread_func, 8);
AT_OFFSET(ktask_ctl, kc_undo_func, 16);
AT_OFFSET(ktask_ctl, kc_func_arg, 24);
AT_OFFSET(ktask_ctl, kc_min_chunk_size, 32);
AT_OFFSET(ktask_ctl, kc_iter_func, 40);
AT_OFFSET(ktask_ctl, kc_max_threads, 48);
AT_OFFSET(ktask_ctl, kc_align, 56);
AT_OFFSET(ktask_ctl, kc_poll_func, 64);
AT_OFFSET(ktask_ctl, kc_poll_arg, 72);
AT_OFFSET(ktask_ctl, kc_report, 80);
AT_OFFSET(ktask_ctl, kc_trace, 88);
AT_OFFSET(ktask_ctl, kc_identity, 96);
AT_OFFSET(ktask_ctl, kc_call_ns, 104);
AT_OFFSET(ktask_ctl, kc_shares_lock, 112);

AT_OFFSET(ktask_report, kr_struct_size, 0);
AT_OFFSET(ktask_report, kr_ns, 8);
AT_OFFSET(ktask_report, kr_chunks, 16);
AT_OFFSET(ktask_report, kr_undone, 24);
AT_OFFSET(ktask_report, kr_threads, 32);
AT_OFFSET(ktask_report, kr_called, 36);
AT_OFFSET(ktask_report, kr_cancelled, 40);
AT_OFFSET(ktask_report, kr_willed, 44);
AT_OFFSET(ktask_report, kr_error, 48);
AT_OFFSET(ktask_report, kr_error_nid, 52);
AT_OFFSET(ktask_report, kr_error_start, 56);
AT_OFFSET(ktask_report, kr_error_end, 64);
AT_OFFSET(ktask_report, kr_retreated, 72);
AT_OFFSET(ktask_report, kr_why, 76);
AT_OFFSET(ktask_report, kr_busy_ns, 80);

AT_OFFSET(ktask_event, ke_begin, 0);
AT_OFFSET(ktask_event, ke_end, 8);
AT_OFFSET(ktask_event, ke_start, 16);
AT_OFFSET(ktask_event, ke_units, 24);
AT_OFFSET(ktask_event, ke_thread, 32);
AT_OFFSET(ktask_event, ke_cpu, 36);
AT_OFFSET(ktask_event, ke_nid, 40);
AT_OFFSET(ktask_event, ke_result, 44);
AT_OFFSET(ktask_event, ke_run, 48);
AT_OFFSET(ktask_event, ke_kind, 56);
AT_OFFSET(ktask_event, ke_tid, 60);
HAS_SIZE(ktask_event, 64);

AT_OFFSET(ktask_trace, kt_events, 0);
AT_OFFSET(ktask_trace, kt_capacity, 8);
AT_OFFSET(ktask_trace, kt_count, 16);
HAS_SIZE(ktask_trace, 24);
#endif

static_assert(KTASK_RETURN_SUCCESS == 0 && NUMA_NO_NODE == -1, "compiled in");
static_assert(KTASK_EVENT_CHUNK == 0 && KTASK_EVENT_RETREAT == 6 && KTASK_WHY_NONE_FREE == 4, "compiled in");
static_assert(KTASK_PLACE_LOCAL == 0 && KTASK_PLACE_INTERLEAVE == 1 && KTASK_PLACE_SPREAD == 2, "compiled in");

int main(void)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, NULL, NULL, 1);

	CHECK(ctl.kc_struct_size == sizeof(ctl) && report.kr_struct_size == sizeof(report));
	return 0;
}
