/* SPDX-License-Identifier: BSD-3-Clause */
/* Every unit is done exactly once, in chunks of the promised sizes, whatever the task looks like. */
#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { MAX_UNITS = 200000, MAX_NODES = 4, MAX_CHUNKS = MAX_UNITS };

struct task {
	struct ktask_node nodes[MAX_NODES];
	size_t nr_nodes;
	size_t min, align;
};

static bool let_others; /* in between, so that helpers come even to short runs */
static atomic_uchar done[MAX_UNITS];
static atomic_size_t nr_chunks;
static struct chunk {
	uintptr_t start, end;
} chunks[MAX_CHUNKS];

static int mark(void *start, void *end, void *arg)
{
	struct chunk *c = &chunks[atomic_fetch_add(&nr_chunks, 1)];

	(void)arg;
	c->start = (uintptr_t)start;
	c->end = (uintptr_t)end;
	if (let_others)
		sched_yield();
	for (uintptr_t i = c->start; i < c->end; i++)
		atomic_fetch_add_explicit(&done[i], 1, memory_order_relaxed);
	return KTASK_RETURN_SUCCESS;
}

static void check_chunk(const struct task *t, const struct chunk *c)
{
	size_t align = t->align ? t->align : 1;

	CHECK(c->start < c->end);
	for (size_t i = 0; i < t->nr_nodes; i++) {
		uintptr_t start = (uintptr_t)t->nodes[i].kn_start, end = start + t->nodes[i].kn_task_size;

		if (c->start < start || c->start >= end)
			continue;
		CHECK(c->end <= end);
		CHECK(c->end == end || c->end - c->start >= t->min);
		CHECK(c->end == end || c->end % align == 0);
		return;
	}
	CHECK(!"a chunk that belongs to no node");
}

static void check_units(const struct task *t)
{
	uintptr_t at = 0;

	/* The nodes lie in ascending order, with gaps between them that nobody may touch. */
	for (size_t i = 0; i < t->nr_nodes; i++) {
		uintptr_t start = (uintptr_t)t->nodes[i].kn_start, end = start + t->nodes[i].kn_task_size;

		for (; at < start; at++)
			CHECK(done[at] == 0);
		for (; at < end; at++) {
			CHECK(done[at] == 1);
			atomic_store_explicit(&done[at], 0, memory_order_relaxed);
		}
	}
	CHECK(done[at] == 0);
}

static void try(struct task *t, size_t max_threads)
{
	DEFINE_KTASK_CTL(ctl, mark, NULL, t->min);
	int error;

	ktask_ctl_set_align(&ctl, t->align);
	ktask_ctl_set_max_threads(&ctl, max_threads);
	nr_chunks = 0;
	if (t->nr_nodes == 1 && t->nodes[0].kn_nid == NUMA_NO_NODE)
		error = ktask_run(t->nodes[0].kn_start, t->nodes[0].kn_task_size, &ctl);
	else
		error = ktask_run_numa(t->nodes, t->nr_nodes, &ctl);
	CHECK(error == KTASK_RETURN_SUCCESS);
	for (size_t i = 0; i < nr_chunks; i++)
		check_chunk(t, &chunks[i]);
	check_units(t);
}

/* All small tasks: one node, or several, some of them empty. */
static void small_tasks(void)
{
	static const size_t mins[] = { 1, 2, 3, 7, 64, SIZE_MAX }, aligns[] = { 0, 1, 2, 3, 8, 64 };
	static const size_t threads[] = { 0, 1, 2, 3 }, starts[] = { 0, 1, 5, 8 };
	size_t step = (size_t)rounds(1, 9);

	for (size_t size = 0; size < 36; size += step)
		for (size_t m = 0; m < sizeof(mins) / sizeof(mins[0]); m++)
			for (size_t a = 0; a < sizeof(aligns) / sizeof(aligns[0]); a++)
				for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
					void *start = AT(starts[s]);
					struct task one = { .nodes = { { start, size, NUMA_NO_NODE } }, .nr_nodes = 1 };
					struct task some = { .nodes = { { start, size / 2, 0 },
									{ AT(50), 0, 0 },
									{ AT(50), size, NUMA_NO_NODE },
									{ AT(100 + s), 3, 0 } },
							     .nr_nodes = 4 };

					one.min = some.min = mins[m];
					one.align = some.align = aligns[a];
					try(&one, threads[(size + a) % 4]);
					try(&some, threads[(size + s) % 4]);
				}
}

/* Long ones, in which chunks grow and shrink again. */
static void long_tasks(void)
{
	for (int i = 0; i < rounds(20, 2); i++) {
		struct task t = {
			.nodes = { { AT(1 + i), 99000, NUMA_NO_NODE }, { AT(100000), 50000 + (size_t)i, 0 } },
			.nr_nodes = (size_t)i % 2 + 1,
			.min = (size_t)(i * i + 1),
			.align = (size_t)i % 8,
		};

		try(&t, 0);
	}
}

static int add_length(void *start, void *end, void *sum)
{
	atomic_fetch_add((atomic_size_t *)sum, (uintptr_t)end - (uintptr_t)start);
	return KTASK_RETURN_SUCCESS;
}

/* The largest task there may be: nothing wraps around on the way. */
static void huge_task(void)
{
	static const size_t mins[] = { 1, 64, KTASK_MAX_SIZE / 3, KTASK_MAX_SIZE, SIZE_MAX };
	static const size_t aligns[] = { 0, 3, 4096, KTASK_MAX_SIZE };

	for (size_t m = 0; m < sizeof(mins) / sizeof(mins[0]); m++)
		for (size_t a = 0; a < sizeof(aligns) / sizeof(aligns[0]); a++) {
			atomic_size_t sum = 0;
			DEFINE_KTASK_CTL(ctl, add_length, &sum, mins[m]);

			ktask_ctl_set_align(&ctl, aligns[a]);
			CHECK(ktask_run(AT(12345), KTASK_MAX_SIZE, &ctl) == KTASK_RETURN_SUCCESS);
			CHECK(sum == KTASK_MAX_SIZE);
		}
}

/* More nodes than anyone has, each one chunk: the minimum is larger than all of them together. */
static void many_nodes(void)
{
	static struct ktask_node nodes[KTASK_MAX_NODES];
	atomic_size_t sum = 0;
	DEFINE_KTASK_CTL(ctl, add_length, &sum, SIZE_MAX);

	for (size_t i = 0; i < KTASK_MAX_NODES; i++)
		nodes[i] = (struct ktask_node){ AT(i * 100), 10, i % 2 ? 0 : NUMA_NO_NODE };
	ktask_ctl_set_align(&ctl, 64);
	CHECK(ktask_run_numa(nodes, KTASK_MAX_NODES, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(sum == KTASK_MAX_NODES * 10);
}

static int never(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	CHECK(!"called without work");
	return 1;
}

static void no_work(void)
{
	struct ktask_node empty[3] = { { AT(1), 0, NUMA_NO_NODE }, { NULL, 0, 0 }, { AT(9), 0, NUMA_NO_NODE } };
	DEFINE_KTASK_CTL(ctl, never, NULL, 1);

	CHECK(ktask_run(AT(1), 0, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_run(NULL, 0, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_run_numa(empty, 3, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_run_numa(empty, 0, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(ktask_run_numa(NULL, 0, &ctl) == KTASK_RETURN_SUCCESS);
}

static void all(void)
{
	no_work();
	small_tasks();
	let_others = true;
	small_tasks();
	long_tasks();
	huge_task();
	many_nodes();
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
