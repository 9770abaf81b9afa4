/* SPDX-License-Identifier: BSD-3-Clause */
/* A linked list, cut by an iterator that walks it: called in order, by one thread at a time, once for each chunk. */
#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { ITEMS = 3000, LISTS = 3 };

struct item {
	struct item *next;
	int list;
	atomic_int visits;
};

static struct item items[LISTS][ITEMS];
static struct item *expected[LISTS]; /* where the next chunk of each list begins */
static atomic_bool walking[LISTS];
static atomic_size_t nr_walks, nr_chunks;
static size_t min_chunk;

/* Each list in an order of its own: 7 and the number of items have no common divisor. */
static void make_lists(void)
{
	for (int l = 0; l < LISTS; l++)
		for (int i = 0; i < ITEMS; i++) {
			struct item *item = &items[l][i * 7 % ITEMS];

			item->list = l;
			item->next = i + 1 < ITEMS ? &items[l][(i + 1) * 7 % ITEMS] : NULL;
		}
}

static struct item *walk(struct item *item, size_t n)
{
	int list;

	CHECK(item != NULL);
	CHECK(n > 0);
	list = item->list;
	CHECK(!atomic_exchange(&walking[list], true));
	CHECK(item == expected[list]);
	atomic_fetch_add(&nr_walks, 1);
	if (n % 4 == 0)
		sched_yield();
	for (size_t i = 0; i < n; i++) {
		CHECK(item != NULL); /* never past the end */
		item = item->next;
	}
	CHECK(n >= min_chunk || item == NULL);
	expected[list] = item;
	atomic_store(&walking[list], false);
	return item;
}

static int visit(struct item *item, struct item *end, int *by)
{
	atomic_fetch_add(&nr_chunks, 1);
	sched_yield();
	for (; item != end; item = item->next)
		atomic_fetch_add(&item->visits, *by);
	return KTASK_RETURN_SUCCESS;
}

static void try(int nr_lists, size_t min, size_t align)
{
	struct ktask_node nodes[LISTS];
	int by = 3;
	DEFINE_KTASK_CTL(ctl, visit, &by, min);

	ktask_ctl_set_iter_func(&ctl, walk);
	ktask_ctl_set_align(&ctl, align);
	min_chunk = min;
	nr_walks = nr_chunks = 0;
	for (int l = 0; l < nr_lists; l++) {
		expected[l] = &items[l][0];
		nodes[l] = (struct ktask_node){ expected[l], ITEMS, l == 1 ? 0 : NUMA_NO_NODE };
	}
	if (nr_lists == 1)
		CHECK(ktask_run(nodes[0].kn_start, nodes[0].kn_task_size, &ctl) == KTASK_RETURN_SUCCESS);
	else
		CHECK(ktask_run_numa(nodes, (size_t)nr_lists, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(nr_walks == nr_chunks);
	for (int l = 0; l < nr_lists; l++)
		for (int i = 0; i < ITEMS; i++) {
			CHECK(items[l][i].visits == by);
			items[l][i].visits = 0;
		}
}

static void all(void)
{
	make_lists();
	for (int i = 0; i < rounds(30, 3); i++) {
		try(i % LISTS + 1, 1, 0);
		try(i % LISTS + 1, (size_t)i + 1, 4);
	}
	try(LISTS, SIZE_MAX, 0);
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
