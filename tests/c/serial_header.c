/* SPDX-License-Identifier: BSD-3-Clause */
/* With CONFIG_KTASK=0 the header is all there is, and the results are the same, undo included. */
#include "check.h"
#include "ktask.h"
#include "ktask_memory.h"

#include <errno.h>
#include <stdbool.h>

#if CONFIG_KTASK
#error this test is about the header without the library
#endif

enum { UNITS = 40, ERROR = 3 };

static char done[UNITS];
static size_t fails_at, nr_calls, nr_polls;

static int work(char *start, char *end, size_t *calls)
{
	++*calls;
	if (start <= done + fails_at && end > done + fails_at)
		return ERROR;
	for (; start < end; start++)
		CHECK((*start)++ == 0);
	return KTASK_RETURN_SUCCESS;
}

static void undo(char *start, char *end, size_t *calls)
{
	CHECK(calls == &nr_calls);
	for (; start < end; start++)
		CHECK(--*start == 0);
}

static int poll(size_t nr_done, size_t total, void *stop_at)
{
	CHECK(nr_done <= total && total == UNITS);
	return nr_polls++ == *(size_t *)stop_at ? -7 : 0;
}

static void check_none_done(void)
{
	for (int i = 0; i < UNITS; i++)
		CHECK(done[i] == 0);
}

static void runs(void)
{
	DEFINE_KTASK_CTL(ctl, work, &nr_calls, 5);

	fails_at = UNITS;
	CHECK(ktask_init() == 0);
	CHECK(ktask_refresh() == 0);
	CHECK(ktask_run(done, UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	for (int i = 0; i < UNITS; i++)
		CHECK(done[i]-- == 1);
	nr_calls = 0;
	CHECK(ktask_run(done, 0, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_run_numa(NULL, 0, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(nr_calls == 0);
}

static void failures(void)
{
	for (fails_at = 0; fails_at < UNITS; fails_at++)
		for (size_t cut = 0; cut <= UNITS; cut++) {
			struct ktask_node nodes[3] = { { done, cut, 0 },
						       { done, 0, NUMA_NO_NODE },
						       { done + cut, UNITS - cut, NUMA_NO_NODE } };
			DEFINE_KTASK_CTL(ctl, work, &nr_calls, 1);

			ktask_ctl_set_undo_func(&ctl, undo);
			CHECK(ktask_run_numa(nodes, 3, &ctl) == ERROR);
			check_none_done();
		}
}

static void polls(void)
{
	for (size_t stop_at = 0; stop_at < 2; stop_at++) {
		struct ktask_node nodes[2] = { { done, 10, NUMA_NO_NODE }, { done + 10, UNITS - 10, NUMA_NO_NODE } };
		DEFINE_KTASK_CTL(ctl, work, &nr_calls, 1);

		nr_polls = 0;
		fails_at = UNITS;
		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_poll_func(&ctl, poll, &stop_at);
		CHECK(ktask_run_numa(nodes, 2, &ctl) == -7);
		check_none_done();
	}
}

/* Refused alike with and without the library. */
static void bad_input(void)
{
	static struct ktask_node nodes[KTASK_MAX_NODES + 1];
	struct ktask_ctl zero = { 0 };
	DEFINE_KTASK_CTL(ctl, work, &nr_calls, 0);

	nr_calls = 0;
	CHECK(ktask_run(done, UNITS, NULL) == -EINVAL);
	CHECK(ktask_run(done, UNITS, &zero) == -EINVAL);
	CHECK(ktask_run(done, UNITS, &ctl) == -EINVAL);
	ctl.kc_min_chunk_size = 1;
	CHECK(ktask_run_numa(NULL, 1, &ctl) == -EINVAL);
	CHECK(ktask_run(done, KTASK_MAX_SIZE + 1, &ctl) == -EOVERFLOW);
	CHECK(ktask_run(AT(UINTPTR_MAX - 9), 10, &ctl) == -EOVERFLOW);
	CHECK(ktask_run_numa(nodes, KTASK_MAX_NODES + 1, &ctl) == -E2BIG);
	ctl.kc_struct_size = 0;
	CHECK(ktask_run(done, UNITS, &ctl) == -EINVAL);
	CHECK(nr_calls == 0);
}

static void default_iterator(void)
{
	DEFINE_KTASK_CTL(ctl, work, &nr_calls, 1);

	ktask_ctl_set_iter_func(&ctl, NULL); /* the default, as with the library */
	fails_at = UNITS;
	CHECK(ktask_run(done, UNITS, &ctl) == KTASK_RETURN_SUCCESS);
}

static void report(void)
{
	struct ktask_report r = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, work, &nr_calls, 1);

	memset(done, 0, sizeof(done));
	fails_at = UNITS;
	r.kr_error = 1234;
	ktask_ctl_set_report(&ctl, &r);
	CHECK(ktask_run(done, UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(r.kr_error == KTASK_RETURN_SUCCESS && r.kr_threads == 1 && r.kr_chunks == 1);
}

/* The failed node is told of, and each call is an event, as far as there is room. */
static void failures_are_reported(void)
{
	struct ktask_report r = KTASK_REPORT_INITIALIZER;
	struct ktask_event event;
	struct ktask_trace trace = { .kt_events = &event, .kt_capacity = 1 };
	struct ktask_node nodes[2] = { { done, 10, NUMA_NO_NODE }, { done + 10, UNITS - 10, 5 } };
	DEFINE_KTASK_CTL(ctl, work, &nr_calls, 1);

	memset(done, 0, sizeof(done));
	fails_at = 20;
	ktask_ctl_set_report(&ctl, &r);
	ktask_ctl_set_trace(&ctl, &trace);
	CHECK(ktask_run_numa(nodes, 2, &ctl) == ERROR);
	CHECK(r.kr_error == ERROR && r.kr_error_nid == 5 && r.kr_undone == 0 && r.kr_chunks == 2);
	CHECK(r.kr_error_start == done + 10 && r.kr_error_end == done + UNITS);
	CHECK(trace.kt_count == 2 && event.ke_start == done && event.ke_units == 10 && event.ke_result == 0);
}

/* Memory is written as with the library; what only a system could do is not done. */
static void memory(void)
{
	double numbers[100], copies[100];
	const double value = 1.5;
	volatile size_t both = 16; /* which the compiler need not know */
	struct ktask_node part;

	CHECK(ktask_memory_fill(numbers, sizeof(numbers), &value, sizeof(value)) == 0 && numbers[99] == 1.5);
	CHECK(ktask_memory_fill(numbers, 7, &value, sizeof(value)) == -EINVAL);
	CHECK(ktask_memory_copy(copies, numbers, sizeof(copies)) == 0 && copies[99] == 1.5);
	CHECK(ktask_memory_copy(numbers, numbers + 1, both) == -EINVAL);
	CHECK(ktask_memory_copy(numbers + 1, numbers, both) == -EINVAL);
	CHECK(ktask_memory_copy(numbers, numbers, both - 16) == 0 && ktask_memory_clear(numbers, both - 16) == 0);
	CHECK(ktask_memory_fill(numbers, 8, &value, both - 16) == -EINVAL);
	CHECK(ktask_memory_clear(numbers, sizeof(numbers)) == 0 && numbers[0] == 0 && numbers[99] == 0);
	CHECK(ktask_memory_prefault(numbers, sizeof(numbers)) == 0 && ktask_memory_free(numbers, 0) == 0);
	CHECK(ktask_memory_pin(numbers, 8) == -ENOSYS && ktask_memory_unpin(numbers, 8) == -ENOSYS);
	CHECK(ktask_memory_pin(numbers, 0) == 0 && ktask_memory_unpin(numbers, 0) == 0);
	CHECK(ktask_memory_place(numbers, 8, KTASK_PLACE_SPREAD) == 0);
	CHECK(ktask_memory_place(numbers, 8, (enum ktask_placement)(KTASK_PLACE_SPREAD + 1)) == -EINVAL);
	CHECK(ktask_nodes_of(numbers, 8, 0, &part, 1) == -EINVAL && ktask_nodes_of(numbers, 8, 3, &part, 1) == -EINVAL);
	CHECK(ktask_nodes_of(numbers, 8, 8, &part, 0) == -EINVAL && ktask_nodes_of(numbers, 0, 8, &part, 1) == 0);
	CHECK(ktask_nodes_of(numbers, sizeof(numbers), 8, &part, 1) == 1);
	CHECK(part.kn_start == numbers && part.kn_task_size == sizeof(numbers) && part.kn_nid == NUMA_NO_NODE);
}

int main(void)
{
	memory();
	char text[200], little[5];
	size_t length = ktask_describe(text, sizeof(text));

	CHECK(length == strlen(text) && strstr(text, "\"enabled\": false"));
	CHECK(ktask_describe(little, sizeof(little)) == length && strlen(little) == 4);
	CHECK(ktask_describe(NULL, 0) == length);
	runs();
	failures();
	polls();
	bad_input();
	in_child(default_iterator);
	report();
	failures_are_reported();
	return 0;
}
