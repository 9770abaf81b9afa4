/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which chunks are holes, and in which order threads report them, makes no difference: all else is undone, in ascending
 * order. All orders of all sets of up to five of a task's chunks are tried, on the library's own functions.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/undo.h"

enum { NODES = 2, UNITS = 4, CHUNKS = NODES * UNITS, MOST = 5 };

static struct cursor cursors[NODES];
static struct cut cut = { .cursors = cursors };
static struct chunk chunks[CHUNKS];
static int is_hole[CHUNKS], is_undone[CHUNKS];
static size_t nr_calls;
static uintptr_t undo_from;

static int nothing(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	return KTASK_RETURN_SUCCESS;
}

static void undo(void *start, void *end, void *arg)
{
	(void)arg;
	CHECK((uintptr_t)start >= undo_from && start < end && end <= AT(CHUNKS));
	undo_from = (uintptr_t)end;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		is_undone[i] = 1;
	nr_calls++;
}

static void *step(void *position, size_t size)
{
	return AT((uintptr_t)position + size);
}

/* Adds one more hole, in each possible way, after having tried what there is. */
static void try(struct chunk *holes, unsigned nr, struct ktask_ctl *ctl)
{
	struct chunk copy[MOST + 1];
	struct holes given = { .nr = nr, .chunk = copy };

	memcpy(copy, holes, nr * sizeof(*holes));
	copy[nr] = chunks[CHUNKS - 1]; /* what lies beyond them is none */
	memset(is_undone, 0, sizeof(is_undone));
	nr_calls = undo_from = 0;
	CHECK(undo_finished(&cut, &given, ctl) == nr_calls);
	for (int i = 0; i < CHUNKS; i++)
		CHECK(is_undone[i] == !is_hole[i]);
	for (int i = 0; i < CHUNKS && nr < MOST; i++) {
		if (is_hole[i])
			continue;
		is_hole[i] = 1;
		holes[nr] = chunks[i];
		try(holes, nr + 1, ctl);
		is_hole[i] = 0;
	}
}

int main(void)
{
	struct ktask_node nodes[NODES] = { { AT(0), UNITS, NUMA_NO_NODE }, { AT(UNITS), UNITS, NUMA_NO_NODE } };
	struct chunk holes[MOST];

	for (int in_order = 0; in_order < 2; in_order++) {
		DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);

		ktask_ctl_set_undo_func(&ctl, undo);
		if (in_order)
			ktask_ctl_set_iter_func(&ctl, step);
		CHECK(cut_init(&cut, nodes, NODES, &ctl) == 0);
		for (int i = 0; i < CHUNKS; i++)
			CHECK(cut_claim(&cut, &cursors[i / UNITS], 1, &chunks[i]));
		try(holes, 0, &ctl);
		cut_destroy(&cut);
	}
	return 0;
}
