/* SPDX-License-Identifier: BSD-3-Clause */
/* What the report and the trace say is what happened. */
#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

enum { UNITS = 500, OTHER = 1000, ERROR = 9, MAX_EVENTS = 2 * UNITS };

static atomic_size_t nr_calls;
static size_t nr_undo_calls;
static atomic_uint fails_at = UINT32_MAX; /* a unit */
static uintptr_t failed_start, failed_end;
static struct ktask_event events[MAX_EVENTS];

static int work(void *start, void *end, void *arg)
{
	uintptr_t at = fails_at;

	(void)arg;
	atomic_fetch_add(&nr_calls, 1);
	sched_yield();
	if (at < (uintptr_t)start || at >= (uintptr_t)end)
		return KTASK_RETURN_SUCCESS;
	failed_start = (uintptr_t)start;
	failed_end = (uintptr_t)end;
	return ERROR;
}

static void undo(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	nr_undo_calls++;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A watch (clock.h) timed the run and its events: they are as exact as that, and so are two threads' to each other. */
enum { EXACT_NS = 10000 };

static unsigned nr_threads(const struct ktask_trace *trace)
{
	bool seen[64] = { false };
	unsigned n = 0;

	for (size_t i = 0; i < trace->kt_count; i++) {
		int t = trace->kt_events[i].ke_thread;

		CHECK(t >= 0 && t < 64);
		n += !seen[t];
		seen[t] = true;
	}
	return n;
}

static void check_events(const struct ktask_trace *trace, uint64_t begin, uint64_t end, size_t units)
{
	for (size_t i = 0; i < trace->kt_count; i++) {
		const struct ktask_event *e = &trace->kt_events[i];
		uintptr_t start = (uintptr_t)e->ke_start;
		bool failed = fails_at >= start && fails_at < start + e->ke_units;

		CHECK(begin <= e->ke_begin + EXACT_NS && e->ke_begin <= e->ke_end && e->ke_end <= end + EXACT_NS);
		CHECK(e->ke_nid == (start < OTHER ? NUMA_NO_NODE : 0));
		CHECK(start < OTHER ? start + e->ke_units <= UNITS : start + e->ke_units <= OTHER + UNITS);
		CHECK(e->ke_cpu >= 0 && e->ke_cpu < sysconf(_SC_NPROCESSORS_CONF));
		CHECK(e->ke_result == (failed ? ERROR : KTASK_RETURN_SUCCESS));
		CHECK(units >= e->ke_units);
		units -= e->ke_units;
		for (size_t j = 0; j < i; j++) {
			const struct ktask_event *other = &trace->kt_events[j];

			CHECK(start + e->ke_units <= (uintptr_t)other->ke_start ||
			      start >= (uintptr_t)other->ke_start + other->ke_units);
			/* A thread does one chunk after the other. */
			CHECK(e->ke_thread != other->ke_thread || e->ke_begin >= other->ke_end);
		}
	}
	CHECK(fails_at != UINT32_MAX || units == 0);
}

static void try(unsigned fails, size_t capacity)
{
	struct ktask_node nodes[2] = { { AT(0), UNITS, NUMA_NO_NODE }, { AT(OTHER), UNITS, 0 } };
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	struct ktask_trace trace = { .kt_events = events, .kt_capacity = capacity };
	DEFINE_KTASK_CTL(ctl, work, NULL, 4);
	uint64_t begin, end;
	int error;

	memset(events, 0, sizeof(events));
	fails_at = fails;
	nr_calls = nr_undo_calls = 0;
	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_report(&ctl, &report);
	ktask_ctl_set_trace(&ctl, &trace);
	begin = now();
	error = ktask_run_numa(nodes, 2, &ctl);
	end = now();

	CHECK(report.kr_struct_size == sizeof(report));
	CHECK(report.kr_error == error && error == (fails == UINT32_MAX ? 0 : ERROR));
	CHECK(report.kr_ns <= end - begin + EXACT_NS);
	CHECK(report.kr_chunks == nr_calls);
	CHECK(report.kr_undone == nr_undo_calls && (error || nr_undo_calls == 0));
	CHECK(report.kr_threads >= 1 && report.kr_threads <= report.kr_called + 1);
	CHECK(report.kr_cancelled <= report.kr_called);
	if (error) {
		CHECK(report.kr_error_start == AT(failed_start) && report.kr_error_end == AT(failed_end));
		CHECK(report.kr_error_nid == (failed_start < OTHER ? NUMA_NO_NODE : 0));
	} else {
		CHECK(!report.kr_error_start && !report.kr_error_end);
	}

	CHECK(trace.kt_count == nr_calls);
	if (trace.kt_count > capacity) {
		for (size_t i = capacity; i < MAX_EVENTS; i++)
			CHECK(events[i].ke_units == 0);
		return;
	}
	CHECK(nr_threads(&trace) == report.kr_threads);
	check_events(&trace, begin, end, 2 * UNITS);
}

/* Several runs share one trace: it goes on where the last one ended. */
static void shared_trace(void)
{
	struct ktask_trace trace = { .kt_events = events, .kt_capacity = MAX_EVENTS };
	DEFINE_KTASK_CTL(ctl, work, NULL, 1);

	fails_at = UINT32_MAX;
	nr_calls = 0;
	ktask_ctl_set_trace(&ctl, &trace);
	for (int i = 0; i < 3; i++) {
		CHECK(ktask_run(AT(0), 10, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(trace.kt_count == nr_calls);
	}
}

/* A poll function that stops the run: an error without a chunk. */
static int stop(size_t done, size_t total, void *arg)
{
	(void)done, (void)total, (void)arg;
	return ERROR;
}

static int slow(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	nanosleep(&(struct timespec){ .tv_nsec = 21000000 }, NULL);
	return KTASK_RETURN_SUCCESS;
}

static void stopped(void)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, slow, NULL, 1);

	ktask_ctl_set_report(&ctl, &report);
	ktask_ctl_set_poll_func(&ctl, stop, NULL);
	CHECK(ktask_run(AT(0), 4, &ctl) == ERROR);
	CHECK(report.kr_error == ERROR && report.kr_error_nid == NUMA_NO_NODE);
	CHECK(!report.kr_error_start && !report.kr_error_end);
}

static void all(void)
{
	for (unsigned i = 0; i < (unsigned)rounds(60, 4); i++) {
		try(UINT32_MAX, MAX_EVENTS);
		try(i * 7, MAX_EVENTS);
		try(OTHER + i, MAX_EVENTS);
		try(UINT32_MAX, i % 4);
	}
	shared_trace();
	stopped();
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
