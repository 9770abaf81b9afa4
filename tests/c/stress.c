/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything at once, at random: several callers, nodes, sizes, iterators, alignments, limits, failures in several
 * places, polls that stop, runs inside runs, traces. After each run its outcome is checked to the unit.
 *
 *	stress [rounds [seed]]
 */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { CALLERS = 3, MAX_NODES = 5, MAX_UNITS = 4000, MAX_EVENTS = 64, STOPPED = -1000 };

enum state { UNTOUCHED, FINISHED, FAILED, UNDONE };

struct task {
	pthread_t caller;
	struct ktask_node nodes[MAX_NODES];
	size_t nr_nodes, nr_units, min, align;
	unsigned fails_in; /* one unit of so many fails, 0: none; known by their numbers alone */
	unsigned yields_in;
	bool nests;
	atomic_size_t nr_chunks;
	uintptr_t undo_from;
	int polls_left;
	_Atomic unsigned char state[MAX_UNITS];
};

/* xorshift64: each caller has its own, so that a seed tells all that it does. */
static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static size_t below(uint64_t *seed, size_t n)
{
	return (size_t)(next_random(seed) >> 16) % n;
}

static bool unit_fails(const struct task *t, uintptr_t unit)
{
	return t->fails_in && unit * 2654435761u % 1000003 % t->fails_in == 0;
}

static void check_chunk(const struct task *t, uintptr_t start, uintptr_t end)
{
	const struct ktask_node *n = t->nodes;

	CHECK(start < end && end <= t->nr_units);
	while (start >= (uintptr_t)n->kn_start + n->kn_task_size)
		n++;
	CHECK(end <= (uintptr_t)n->kn_start + n->kn_task_size);
	if (end < (uintptr_t)n->kn_start + n->kn_task_size)
		CHECK(end - start >= t->min);
}

static int count(void *start, void *end, void *n)
{
	atomic_fetch_add((atomic_size_t *)n, (uintptr_t)end - (uintptr_t)start);
	return KTASK_RETURN_SUCCESS;
}

static void nest(uintptr_t size)
{
	atomic_size_t n = 0;
	DEFINE_KTASK_CTL(ctl, count, &n, 1);

	CHECK(ktask_run(AT(0), size, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(n == size);
}

static int work(void *from, void *to, struct task *t)
{
	uintptr_t start = (uintptr_t)from, end = (uintptr_t)to;
	size_t number = atomic_fetch_add(&t->nr_chunks, 1);
	int error = KTASK_RETURN_SUCCESS;

	check_chunk(t, start, end);
	if (t->yields_in && number % t->yields_in == 0)
		sched_yield();
	if (t->nests && number % 4 == 0)
		nest(end - start);
	for (uintptr_t i = start; i < end && !error; i++)
		if (unit_fails(t, i))
			error = (int)i + 1;
	for (uintptr_t i = start; i < end; i++)
		CHECK(atomic_exchange_explicit(&t->state[i], error ? FAILED : FINISHED, memory_order_relaxed) ==
		      UNTOUCHED);
	return error;
}

static void undo(void *from, void *to, struct task *t)
{
	uintptr_t start = (uintptr_t)from, end = (uintptr_t)to;

	CHECK(pthread_equal(pthread_self(), t->caller));
	CHECK(start >= t->undo_from && start < end && end <= t->nr_units);
	t->undo_from = end;
	for (uintptr_t i = start; i < end; i++)
		CHECK(atomic_exchange_explicit(&t->state[i], UNDONE, memory_order_relaxed) == FINISHED);
}

static void *walk(void *position, size_t size)
{
	sched_yield();
	return AT((uintptr_t)position + size);
}

static int poll(size_t done, size_t total, void *arg)
{
	struct task *t = arg;

	CHECK(pthread_equal(pthread_self(), t->caller));
	CHECK(total == t->nr_units && done <= total);
	return --t->polls_left == 0 ? STOPPED : 0;
}

/* Nodes one after the other; sizes of all magnitudes. */
static void make_nodes(struct task *t, uint64_t *seed)
{
	t->nr_nodes = 1 + below(seed, MAX_NODES);
	t->nr_units = 0;
	for (size_t i = 0; i < t->nr_nodes; i++) {
		size_t size = below(seed, (size_t)1 << below(seed, 10));

		t->nodes[i] = (struct ktask_node){ AT(t->nr_units), size, below(seed, 2) ? 0 : NUMA_NO_NODE };
		t->nr_units += size;
	}
	CHECK(t->nr_units <= MAX_UNITS);
}

static void check_outcome(const struct task *t, int error)
{
	size_t failing = 0;

	for (size_t i = 0; i < t->nr_units; i++)
		failing += unit_fails(t, i);
	if (!error) {
		CHECK(failing == 0);
		for (size_t i = 0; i < t->nr_units; i++)
			CHECK(t->state[i] == FINISHED);
		return;
	}
	CHECK(error == STOPPED || unit_fails(t, (uintptr_t)error - 1));
	CHECK(error == STOPPED || t->state[error - 1] == FAILED);
	for (size_t i = 0; i < t->nr_units; i++)
		CHECK(t->state[i] != FINISHED);
}

static void one_round(struct task *t, uint64_t *seed)
{
	static const unsigned fails_in[] = { 0, 0, 5, 50, 500 };
	struct ktask_event events[MAX_EVENTS];
	struct ktask_trace trace = { .kt_events = events, .kt_capacity = MAX_EVENTS };
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	int error;

	make_nodes(t, seed);
	t->min = 1 + below(seed, (size_t)1 << below(seed, 8));
	t->align = below(seed, 2) ? 0 : below(seed, 20);
	t->fails_in = fails_in[below(seed, 5)];
	t->yields_in = (unsigned)below(seed, 4);
	t->nests = below(seed, 8) == 0;
	t->nr_chunks = 0;
	t->undo_from = 0;
	t->polls_left = (int)below(seed, 3);
	memset((void *)t->state, 0, t->nr_units);

	DEFINE_KTASK_CTL(ctl, work, t, t->min);
	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_align(&ctl, t->align);
	ktask_ctl_set_max_threads(&ctl, below(seed, 5));
	ktask_ctl_set_report(&ctl, &report);
	ktask_ctl_set_trace(&ctl, &trace);
	if (below(seed, 3) == 0)
		ktask_ctl_set_iter_func(&ctl, walk);
	if (below(seed, 3) == 0)
		ktask_ctl_set_poll_func(&ctl, poll, t);
	if (below(seed, 2))
		ktask_ctl_set_identity(&ctl, &events[below(seed, MAX_EVENTS)]);

	error = ktask_run_numa(t->nodes, t->nr_nodes, &ctl);
	check_outcome(t, error);
	CHECK(report.kr_error == error);
	CHECK(report.kr_chunks == t->nr_chunks && trace.kt_count == t->nr_chunks);
	CHECK(report.kr_threads <= report.kr_called + 1);
	CHECK(ctl.kc_max_threads != 1 || report.kr_called == 0);
}

static int nr_rounds;
static uint64_t first_seed;
static atomic_int nr_callers;

static void *call(void *unused)
{
	uint64_t seed = first_seed + (uint64_t)atomic_fetch_add(&nr_callers, 1) * 1000003;
	struct task *t = calloc(1, sizeof(*t));

	CHECK(t);
	t->caller = pthread_self();
	for (int i = 0; i < nr_rounds; i++)
		one_round(t, &seed);
	free(t);
	return unused;
}

static void all(void)
{
	in_threads(CALLERS, call);
}

int main(int argc, char **argv)
{
	nr_rounds = argc > 1 ? atoi(argv[1]) : rounds(20000, 50);
	first_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 20181105;
	CHECK(nr_rounds > 0 && first_seed > 0);
	printf("stress %d %llu\n", nr_rounds, (unsigned long long)first_seed);
	fflush(stdout);
	with_each_setting(all);
	return 0;
}
