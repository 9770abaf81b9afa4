/* SPDX-License-Identifier: BSD-3-Clause */
/* How a task is cut, as one thread sees it: what is refused, where chunks end, which node comes next. By chunk.c itself. */
#include "check.h"
#include "ktask.h"

#include "../../csrc/chunk.h"

#include <errno.h>

enum { NODES = 4 };

static struct cursor cursors[NODES];
static struct cut cut = { .cursors = cursors };

static int nothing(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	return KTASK_RETURN_SUCCESS;
}

static void *step(void *position, size_t size)
{
	return AT((uintptr_t)position + size);
}

static int init(const struct ktask_node *nodes, size_t nr_nodes, size_t min, size_t align, ktask_iter_func iter)
{
	DEFINE_KTASK_CTL(ctl, nothing, NULL, min);

	ktask_ctl_set_align(&ctl, align);
	ktask_ctl_set_iter_func(&ctl, iter);
	for (int i = 0; i < NODES; i++) /* work that is nobody's, beyond the task's own */
		cursors[i] = (struct cursor){ .size = 1, .node = -1 };
	return cut_init(&cut, nodes, nr_nodes, &ctl);
}

static int init_one(uintptr_t start, size_t size, size_t min, size_t align, ktask_iter_func iter)
{
	return init(&(struct ktask_node){ AT(start), size, NUMA_NO_NODE }, 1, min, align, iter);
}

static void sizes_that_overflow(void)
{
	struct ktask_node two[2] = { { AT(0), KTASK_MAX_SIZE - 1, 0 }, { AT(0), 1, 0 } };

	CHECK(init_one(0, KTASK_MAX_SIZE, 1, 0, ktask_iter_range) == 0);
	CHECK(init_one(0, KTASK_MAX_SIZE + 1, 1, 0, ktask_iter_range) == -EOVERFLOW);
	CHECK(init_one(UINTPTR_MAX - 5, 5, 1, 0, ktask_iter_range) == 0);
	CHECK(init_one(UINTPTR_MAX - 5, 6, 1, 0, ktask_iter_range) == -EOVERFLOW);
	CHECK(init_one(UINTPTR_MAX - 5, 6, 1, 0, step) == 0); /* positions are what the iterator says */
	CHECK(init(two, 2, 1, 0, ktask_iter_range) == 0 && cut.total == KTASK_MAX_SIZE);
	two[1].kn_task_size++;
	CHECK(init(two, 2, 1, 0, ktask_iter_range) == -EOVERFLOW);
	CHECK(init_one(0, 1, 1, KTASK_MAX_SIZE, ktask_iter_range) == 0);
	CHECK(init_one(0, 1, 1, KTASK_MAX_SIZE + 1, ktask_iter_range) == -EOVERFLOW);
	CHECK(init_one(0, 1, SIZE_MAX, 1, ktask_iter_range) == 0 && cut.quantum == KTASK_MAX_SIZE);
}

static void quanta_and_leads(void)
{
	CHECK(init_one(5, 100, 10, 0, ktask_iter_range) == 0 && cut.quantum == 10 && cursors[0].lead == 0);
	CHECK(init_one(5, 100, 10, 8, ktask_iter_range) == 0 && cut.quantum == 16 && cursors[0].lead == 3);
	CHECK(init_one(8, 100, 16, 8, ktask_iter_range) == 0 && cut.quantum == 16 && cursors[0].lead == 0);
	CHECK(init_one(9, 2, 1, 8, ktask_iter_range) == 0 && cut.quantum == 8 && cursors[0].lead == 2);
	CHECK(init_one(5, 100, 10, 8, step) == 0 && cut.quantum == 16 && cursors[0].lead == 0);
}

/* The cursors of nodes 0 to 3, with a unit each, but for a node that has none, and so no cursor. */
static void init_nodes(void)
{
	const struct ktask_node nodes[] = {
		{ AT(0), 1, 10 }, { AT(1), 1, 11 }, { AT(2), 0, 12 }, { AT(2), 1, 13 }, { AT(3), 1, 14 },
	};

	CHECK(init(nodes, 5, 1, 0, ktask_iter_range) == 0);
	CHECK(cut.nr_cursors == NODES && cut.total == NODES && cursors[2].nid == 13 && cursors[2].node == -1);
	for (int i = 0; i < NODES; i++)
		cursors[i].node = i;
}

static size_t nr_chunks(uintptr_t start, size_t size)
{
	CHECK(init_one(start, size, 10, 8, ktask_iter_range) == 0);
	return cut_nr_chunks(&cut);
}

/* Of 16 units each, for the first may have more. */
static void numbers_of_chunks(void)
{
	CHECK(nr_chunks(8, 1) == 1 && nr_chunks(8, 16) == 1 && nr_chunks(8, 17) == 2 && nr_chunks(8, 32) == 2);
	CHECK(nr_chunks(5, 1) == 1 && nr_chunks(5, 3) == 1 && nr_chunks(5, 19) == 1 && nr_chunks(5, 20) == 2);
	CHECK(nr_chunks(5, 0) == 0);
	init_nodes();
	CHECK(cut_nr_chunks(&cut) == NODES);
}

/* Is the first chunk claimed as by a caller that is alone yet? */
static bool alone_at_first;

/* The next chunk goes from one unit to another, so many remain, and no claim goes beyond by more than all of them. */
static void claim(struct cursor *c, size_t size, size_t from, size_t to, size_t remaining)
{
	struct chunk chunk;

	if (alone_at_first && from == 0)
		cut_claim_first(c, size, &chunk);
	else
		CHECK(cut_claim(&cut, c, size, &chunk));
	CHECK(chunk.cursor == c && chunk.from == from && chunk.to == to);
	CHECK(c->next <= from + c->size);
	CHECK(chunk.start == (char *)c->start + from && chunk.end == (char *)c->start + to);
	CHECK(cursor_claimed(c) == to && cursor_remaining(c) == remaining && cut_remaining(&cut) == remaining);
}

static void claim_nothing(struct cursor *c)
{
	uint64_t next = c->next;
	struct chunk chunk;

	CHECK(!cut_claim(&cut, c, 1, &chunk) && c->next == next);
	CHECK(cursor_claimed(c) == c->size && cursor_remaining(c) == 0 && cut_remaining(&cut) == 0);
}

static void claims(ktask_iter_func iter)
{
	CHECK(init_one(5, 20, 1, 0, iter) == 0 && cut_remaining(&cut) == 20);
	claim(&cursors[0], 1, 0, 1, 19);
	claim(&cursors[0], 7, 1, 8, 12);
	claim(&cursors[0], 12, 8, 20, 0);
	claim_nothing(&cursors[0]);
	claim_nothing(&cursors[0]);
	cut_destroy(&cut);

	/* More than there is. */
	CHECK(init_one(5, 20, 1, 0, iter) == 0);
	claim(&cursors[0], 21, 0, 20, 0);
	claim_nothing(&cursors[0]);
	cut_destroy(&cut);
	CHECK(init_one(5, 20, 1, 0, iter) == 0);
	claim(&cursors[0], 19, 0, 19, 1);
	claim(&cursors[0], KTASK_MAX_SIZE, 19, 20, 0);
	claim_nothing(&cursors[0]);
	cut_destroy(&cut);
}

static void aligned_claims(void)
{
	CHECK(init_one(5, 40, 1, 8, ktask_iter_range) == 0);
	claim(&cursors[0], 8, 0, 11, 29);
	claim(&cursors[0], 16, 11, 27, 13);
	claim(&cursors[0], 8, 27, 35, 5);
	claim(&cursors[0], 8, 35, 40, 0);
	claim_nothing(&cursors[0]);

	/* The first chunk ends where the node does. */
	for (size_t size = 1; size <= 11; size++) {
		CHECK(init_one(5, size, 1, 8, ktask_iter_range) == 0);
		claim(&cursors[0], 8, 0, size, 0);
		claim_nothing(&cursors[0]);
	}
	CHECK(init_one(5, 12, 1, 8, ktask_iter_range) == 0);
	claim(&cursors[0], 8, 0, 11, 1);
	claim(&cursors[0], 8, 11, 12, 0);
	claim_nothing(&cursors[0]);
}

static void empty(struct cursor *c)
{
	struct chunk chunk;

	CHECK(cut_claim(&cut, c, 1, &chunk));
}

static void the_nearest_is_next(void)
{
	/* From node 1. Whatever the firmware says, nothing is nearer than itself; and of two as near, the first. */
	static const int distance[NODES] = { 40, 50, 20, 20 };
	struct cursor *c;

	init_nodes();
	CHECK(cut_go_on(&cut, &cursors[3], 1, distance) == &cursors[3]); /* as long as there is work */
	CHECK(cut_go_on(&cut, NULL, -1, NULL) == &cursors[0]);
	CHECK((c = cut_go_on(&cut, NULL, 1, distance)) == &cursors[1]);
	empty(c);
	CHECK((c = cut_go_on(&cut, c, 1, distance)) == &cursors[2]);
	empty(c);
	CHECK((c = cut_go_on(&cut, c, 1, distance)) == &cursors[3]);
	cursors[0].node = -1; /* anybody's */
	CHECK(cut_go_on(&cut, &cursors[1], 1, distance) == &cursors[0]);
	empty(c);
	CHECK((c = cut_go_on(&cut, c, 1, distance)) == &cursors[0]);
	empty(c);
	CHECK(!cut_go_on(&cut, c, 1, distance));
}

/* The first node is one like others. */
static void near_the_first(void)
{
	static const int distance[NODES] = { 10, 50, 40, 20 };

	init_nodes();
	CHECK(cut_go_on(&cut, NULL, 1, (const int[NODES]){ 1, 1, 1, 1 }) == &cursors[1]);
	CHECK(cut_go_on(&cut, NULL, 0, distance) == &cursors[0]);
	empty(&cursors[0]);
	CHECK(cut_go_on(&cut, &cursors[0], 0, distance) == &cursors[3]);
}

static void helpers_are_needed_in_turn(void)
{
	init_nodes();
	for (int turn = 0; turn < 2 * NODES; turn++)
		CHECK(cut_node_in_turn(&cut, (unsigned)turn) == turn % NODES);
	empty(&cursors[1]);
	empty(&cursors[3]);
	CHECK(cut_node_in_turn(&cut, 0) == 0 && cut_node_in_turn(&cut, 1) == 2 && cut_node_in_turn(&cut, 3) == 0);
	empty(&cursors[0]);
	empty(&cursors[2]);
	CHECK(cut_node_in_turn(&cut, 0) == -1);
}

/* Others may have claimed the rest between a thread's look and its claim: then there is nothing for it. Many units, so that
 * both threads are awake when they come to the last. */
enum { RACE_UNITS = 5000 };

static pthread_barrier_t barrier;
static _Atomic size_t claimed;

static void claim_all(void)
{
	struct chunk chunk;

	while (cut_claim(&cut, &cursors[0], 1, &chunk)) {
		CHECK(chunk.from < chunk.to && chunk.to <= cursors[0].size);
		atomic_fetch_add(&claimed, chunk.to - chunk.from);
	}
}

static void *help(void *nr_rounds)
{
	for (int i = 0; i < *(int *)nr_rounds; i++) {
		pthread_barrier_wait(&barrier);
		claim_all();
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void races_at_the_end(void)
{
	int nr_rounds = rounds(4000, 300);
	pthread_t helper;

	CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
	CHECK(pthread_create(&helper, NULL, help, &nr_rounds) == 0);
	for (int i = 0; i < nr_rounds; i++) {
		CHECK(init_one(7, RACE_UNITS, 1, 8, ktask_iter_range) == 0 && cursors[0].lead == 1);
		claimed = 0;
		pthread_barrier_wait(&barrier);
		claim_all();
		pthread_barrier_wait(&barrier);
		CHECK(claimed == RACE_UNITS);
	}
	CHECK(pthread_join(helper, NULL) == 0);
	pthread_barrier_destroy(&barrier);
}

int main(void)
{
	sizes_that_overflow();
	quanta_and_leads();
	numbers_of_chunks();
	claims(step);
	for (int i = 0; i < 2; i++) {
		alone_at_first = i == 1;
		claims(ktask_iter_range);
		aligned_claims();
	}
	the_nearest_is_next();
	near_the_first();
	helpers_are_needed_in_turn();
	races_at_the_end();
	return 0;
}
