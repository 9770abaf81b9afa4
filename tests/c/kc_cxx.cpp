/* SPDX-License-Identifier: BSD-3-Clause */
/* The header in C++: typed functions, all the setters, and both ways to call. */
#include "check.h"
#include "ktask.h"
#include "ktask_2d.h"
#include "ktask_reduce.h"

#include <atomic>
#include <vector>

struct numbers {
	std::atomic<long> sum;
	std::atomic<bool> fails;
};

static int add(int *start, int *end, numbers *n)
{
	long sum = 0;

	if (n->fails)
		return 1;
	for (int *i = start; i < end; i++)
		sum += *i;
	n->sum += sum;
	return KTASK_RETURN_SUCCESS;
}

static void undo(int *, int *, numbers *)
{
}

static int *step(int *position, size_t size)
{
	return position + size;
}

static int poll(size_t, size_t, void *)
{
	return 0;
}

int main()
{
	std::vector<int> v(1000, 2);
	numbers n{};
	ktask_event events[4];
	ktask_trace trace = { events, 4, 0 };
	ktask_report report = KTASK_REPORT_INITIALIZER;
	ktask_node node = { v.data(), v.size(), NUMA_NO_NODE };
	DEFINE_KTASK_CTL(ctl, add, &n, 10);

	ktask_ctl_set_iter_func(&ctl, step);
	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_max_threads(&ctl, 2);
	ktask_ctl_set_align(&ctl, 2);
	ktask_ctl_set_poll_func(&ctl, poll, nullptr);
	ktask_ctl_set_report(&ctl, &report);
	ktask_ctl_set_trace(&ctl, &trace);
	ktask_ctl_set_identity(&ctl, &n);
	CHECK(ktask_init() == 0);
	CHECK(ktask_run(v.data(), v.size(), &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_run_numa(&node, 1, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(n.sum == 4000);
	CHECK(report.kr_chunks > 0 && trace.kt_count >= report.kr_chunks);
	n.fails = true;
	CHECK(ktask_run_numa(&node, 1, &ctl) == 1);
	return 0;
}
