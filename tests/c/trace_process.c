/* SPDX-License-Identifier: BSD-3-Clause */
/* The process's trace has all that happened in all its runs, and can be switched at any time. */
#include "check.h"
#include "ktask.h"

#include "../../csrc/trace.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>

enum { UNITS = 300, MAX_EVENTS = 1 << 14, ERROR = 5, CALLERS = 3, RUNS = 40 };

/* Between two threads, times are as exact as that. */
enum { EXACT_NS = 10000 };

static struct ktask_event events[MAX_EVENTS], own_events[MAX_EVENTS];

static struct ktask_trace *start(struct ktask_trace *trace, size_t capacity)
{
	memset(events, 0, sizeof(events));
	*trace = (struct ktask_trace){ .kt_events = events, .kt_capacity = capacity };
	CHECK(ktask_set_trace(trace) == 0);
	return trace;
}

static int work(void *from, void *to, void *fails)
{
	(void)from, (void)to;
	sched_yield();
	return fails ? ERROR : KTASK_RETURN_SUCCESS;
}

static const struct ktask_event *only(const struct ktask_trace *trace, uint64_t run, int kind, size_t *count)
{
	const struct ktask_event *found = NULL;

	*count = 0;
	CHECK(trace->kt_count <= MAX_EVENTS);
	for (size_t i = 0; i < trace->kt_count; i++) {
		const struct ktask_event *e = &trace->kt_events[i];

		CHECK(e->ke_end >= e->ke_begin && e->ke_begin > 0 && e->ke_run > 0);
		if (e->ke_run != run || e->ke_kind != kind)
			continue;
		found = e;
		++*count;
	}
	return found;
}

static size_t count(const struct ktask_trace *trace, uint64_t run, int kind)
{
	size_t n;

	only(trace, run, kind, &n);
	return n;
}

/* Everything that belongs to the run lies within it, and adds up to what its report says. */
static void check_run(const struct ktask_trace *trace, const struct ktask_event *run, const struct ktask_report *report)
{
	size_t units = 0, stayed = 0, n;
	uint64_t busy = 0;

	for (size_t i = 0; i < trace->kt_count; i++) {
		const struct ktask_event *e = &trace->kt_events[i];

		if (e->ke_run != run->ke_run)
			continue;
		CHECK(e->ke_begin + EXACT_NS >= run->ke_begin && e->ke_end <= run->ke_end + EXACT_NS);
		if (e->ke_kind == KTASK_EVENT_STAY)
			stayed += e->ke_units;
		if (e->ke_kind != KTASK_EVENT_CHUNK)
			continue;
		CHECK(e->ke_tid > 0 && (e->ke_thread > 0 || e->ke_tid == run->ke_tid));
		units += e->ke_units;
		busy += e->ke_end - e->ke_begin;
		stayed += e->ke_thread == 0 ? e->ke_units : 0;
	}
	CHECK(run->ke_result == report->kr_error);
	CHECK(units == stayed);
	CHECK(report->kr_error || units == run->ke_units);
	CHECK(busy == report->kr_busy_ns);
	CHECK(count(trace, run->ke_run, KTASK_EVENT_CHUNK) == report->kr_chunks);
	CHECK(count(trace, run->ke_run, KTASK_EVENT_DISMISS) == report->kr_cancelled);
	CHECK(count(trace, run->ke_run, KTASK_EVENT_CALL) == report->kr_called - report->kr_cancelled);
	n = count(trace, run->ke_run, KTASK_EVENT_STAY);
	CHECK(n + report->kr_retreated >= report->kr_called - report->kr_cancelled && n + 1 >= report->kr_threads);
	CHECK(count(trace, run->ke_run, KTASK_EVENT_RETREAT) == report->kr_retreated);
	CHECK(count(trace, run->ke_run, KTASK_EVENT_WILL) == report->kr_willed);
}

static void whole(void)
{
	const char *const kind = "a kind of work";
	struct ktask_trace trace;

	start(&trace, MAX_EVENTS);
	for (int i = 0; i < 30; i++) {
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		const struct ktask_event *run = NULL;
		bool fails = i % 5 == 4;
		DEFINE_KTASK_CTL(ctl, work, fails ? &trace : NULL, 1);

		ktask_ctl_set_report(&ctl, &report);
		ktask_ctl_set_identity(&ctl, kind);
		CHECK(ktask_run(AT(0), UNITS, &ctl) == (fails ? ERROR : KTASK_RETURN_SUCCESS));
		for (size_t j = 0; j < trace.kt_count; j++)
			if (events[j].ke_kind == KTASK_EVENT_RUN)
				run = &events[j];
		CHECK(run && run->ke_start == kind && run->ke_units == UNITS && run->ke_thread == 0);
		CHECK(run->ke_tid == (int)syscall(SYS_gettid));
		check_run(&trace, run, &report);
	}
	CHECK(trace.kt_count <= MAX_EVENTS);
	CHECK(ktask_set_trace(NULL) == 0);
}

/* Runs with and without a trace of their own are both in the process's; nothing is after it was switched off. */
static void beside_own(void)
{
	struct ktask_trace trace, own = { .kt_events = own_events, .kt_capacity = MAX_EVENTS };
	DEFINE_KTASK_CTL(ctl, work, NULL, 1);
	size_t chunks = 0, before;

	ktask_ctl_set_trace(&ctl, &own);
	start(&trace, MAX_EVENTS);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_set_trace(NULL) == 0);
	for (size_t i = 0; i < trace.kt_count; i++)
		chunks += events[i].ke_kind == KTASK_EVENT_CHUNK;
	CHECK(own.kt_count == chunks && chunks > 0);
	for (size_t i = 0; i < own.kt_count; i++)
		CHECK(own_events[i].ke_kind == KTASK_EVENT_CHUNK && own_events[i].ke_run > 0);

	before = trace.kt_count;
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(trace.kt_count == before && own.kt_count > chunks);
}

/* The shortest of runs, that are otherwise one plain call. */
static int nothing(void *from, void *to, void *arg)
{
	(void)from, (void)to, (void)arg;
	return KTASK_RETURN_SUCCESS;
}

static void short_runs(void)
{
	struct ktask_trace trace;
	DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);
	size_t nr_runs = 0;

	for (int i = 0; i < 5; i++)
		CHECK(ktask_run(AT(0), 2, &ctl) == KTASK_RETURN_SUCCESS);
	start(&trace, MAX_EVENTS);
	for (int i = 0; i < 5; i++)
		CHECK(ktask_run(AT(0), 2, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_run(AT(0), 0, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_set_trace(NULL) == 0);
	for (size_t i = 0; i < trace.kt_count; i++)
		nr_runs += events[i].ke_kind == KTASK_EVENT_RUN;
	CHECK(nr_runs == 6);
}

static void full(void)
{
	struct ktask_trace trace;
	DEFINE_KTASK_CTL(ctl, work, NULL, 1);

	start(&trace, 3);
	for (int i = 0; i < 4; i++)
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_set_trace(NULL) == 0);
	CHECK(trace.kt_count >= 8);
	for (size_t i = 0; i < MAX_EVENTS; i++)
		CHECK((events[i].ke_end != 0) == (i < 3));
}

/* Switched off by the run itself: it is still counted, and still records. */
static struct ktask_trace switched;
static atomic_bool is_off;

static int switch_off(void *from, void *to, void *arg)
{
	(void)from, (void)to, (void)arg;
	if (!atomic_exchange(&is_off, true))
		CHECK(ktask_set_trace(NULL) == 1);
	return KTASK_RETURN_SUCCESS;
}

static void off_within(void)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, switch_off, NULL, 1);

	is_off = false;
	start(&switched, MAX_EVENTS);
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_set_trace(NULL) == 0);
	CHECK(switched.kt_count >= report.kr_chunks + 1);
	check_run(&switched, &events[switched.kt_count - 1], &report);
}

/* Runs inside runs, in helpers too, have numbers of their own. */
static int inner(void *from, void *to, void *arg)
{
	DEFINE_KTASK_CTL(ctl, work, NULL, 1);

	(void)arg;
	return ktask_run(from, (size_t)((char *)to - (char *)from), &ctl);
}

static void nested(void)
{
	struct ktask_trace trace;
	DEFINE_KTASK_CTL(ctl, inner, NULL, 10);
	uint64_t numbers = 0, last = 0;

	start(&trace, MAX_EVENTS);
	CHECK(ktask_run(AT(0), 100, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_set_trace(NULL) == 0);
	for (size_t i = 0; i < trace.kt_count; i++) {
		if (events[i].ke_kind != KTASK_EVENT_RUN)
			continue;
		CHECK(count(&trace, events[i].ke_run, KTASK_EVENT_RUN) == 1);
		CHECK(count(&trace, events[i].ke_run, KTASK_EVENT_CHUNK) > 0);
		numbers++;
		last = events[i].ke_run;
	}
	CHECK(numbers >= 2 && count(&trace, last, KTASK_EVENT_CHUNK) == numbers - 1); /* the outer one ends last */
}

/* Switched on and off, to two traces in turn, while others run; what is no longer in use may be overwritten. */
static atomic_bool done;

static void *run_and_run(void *unused)
{
	DEFINE_KTASK_CTL(ctl, work, NULL, 1);

	for (int i = 0; i < RUNS; i++)
		CHECK(ktask_run(AT(0), UNITS / 10, &ctl) == KTASK_RETURN_SUCCESS);
	return unused;
}

static void *switch_and_switch(void *unused)
{
	static struct ktask_trace traces[2];
	struct ktask_event *room[2] = { events, own_events };

	for (unsigned i = 0; !done; i++) {
		while (ktask_set_trace(NULL) != 0)
			sched_yield();
		memset(room[i % 2], 0, 1000 * sizeof(*events));
		traces[i % 2] = (struct ktask_trace){ .kt_events = room[i % 2], .kt_capacity = 1000 };
		ktask_set_trace(&traces[i % 2]);
		sched_yield();
	}
	while (ktask_set_trace(NULL) != 0)
		sched_yield();
	return unused;
}

static void switched_at_any_time(void)
{
	pthread_t callers[CALLERS], switcher;

	done = false;
	CHECK(pthread_create(&switcher, NULL, switch_and_switch, NULL) == 0);
	for (int i = 0; i < CALLERS; i++)
		CHECK(pthread_create(&callers[i], NULL, run_and_run, NULL) == 0);
	for (int i = 0; i < CALLERS; i++)
		CHECK(pthread_join(callers[i], NULL) == 0);
	done = true;
	CHECK(pthread_join(switcher, NULL) == 0);
}

/* A caller that ends in the middle of its run leaves the trace. */
static int end_caller(void *from, void *to, void *caller)
{
	(void)from, (void)to;
	if (pthread_equal(pthread_self(), *(pthread_t *)caller))
		pthread_exit(NULL);
	return KTASK_RETURN_SUCCESS;
}

static void *ending(void *unused)
{
	pthread_t self = pthread_self();
	DEFINE_KTASK_CTL(ctl, end_caller, &self, 1);

	ktask_run(AT(0), UNITS, &ctl);
	return unused;
}

static void caller_ends(void)
{
	struct ktask_trace trace;
	pthread_t caller;

	start(&trace, MAX_EVENTS);
	CHECK(pthread_create(&caller, NULL, ending, NULL) == 0);
	CHECK(pthread_join(caller, NULL) == 0);
	CHECK(ktask_set_trace(NULL) == 0);
}

/* Work that was done without a run is told of in the same way. */
static void done_without_a_run(void)
{
	static const char identity;
	struct ktask_trace trace;

	trace_done(&identity, 5, 100, 0, 1); /* nobody listens */
	start(&trace, MAX_EVENTS);
	trace_done(&identity, 5, 100, 3, 1);
	CHECK(ktask_set_trace(NULL) == 0);
	CHECK(trace.kt_count == 2 && events[0].ke_kind == KTASK_EVENT_CHUNK && events[1].ke_kind == KTASK_EVENT_RUN);
	CHECK(events[1].ke_start == (void *)&identity && events[1].ke_run == events[0].ke_run);
	CHECK(events[1].ke_units == 5 && events[1].ke_result == 3 && events[1].ke_end - events[1].ke_begin == 100);
}

static void all(void)
{
	done_without_a_run();
	whole();
	beside_own();
	short_runs();
	full();
	off_within();
	nested();
	switched_at_any_time();
	caller_ends();
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
