/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How large the next chunk is: the rules that chunk.c tells above pace_next, each by an example that is worked out by
 * hand. A unit takes 1 ns where nothing else is said, so that units and nanoseconds are the same numbers.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/chunk.h"

/* A thread about to take its next chunk, and what is left. */
struct moment {
	size_t last; /* units in its last chunk */
	bool unknown;
	double ns_per_unit; /* 0: 1 */
	size_t remaining;
	size_t others; /* remain to another node */
	size_t min_chunk_size;
	unsigned threads; /* 0: 1 */
	double floor_ns, target_ns, elapsed_ns;
};

#define NEXT(...) next(&(const struct moment){ __VA_ARGS__ })

static int nothing(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	return KTASK_RETURN_SUCCESS;
}

static size_t next(const struct moment *m)
{
	struct pace pace = { .last = m->last, .ns_per_unit = m->unknown ? 0 : m->ns_per_unit ? m->ns_per_unit : 1 };
	struct ktask_node nodes[2] = { { AT(0), m->remaining, NUMA_NO_NODE }, { AT(0), m->others, NUMA_NO_NODE } };
	struct cursor cursors[2];
	struct cut cut = { .cursors = cursors };
	size_t size;
	DEFINE_KTASK_CTL(ctl, nothing, NULL, m->min_chunk_size ? m->min_chunk_size : 1);

	CHECK(cut_init(&cut, nodes, 2, &ctl) == 0);
	size = pace_next(&pace, &cut, &cursors[0], m->threads ? m->threads : 1, m->floor_ns,
			 m->target_ns > 0 ? m->target_ns : PACE_TARGET_NS, m->elapsed_ns);
	cut_destroy(&cut);
	return size;
}

static void it_grows_where_costs_are_unknown(void)
{
	CHECK(NEXT(.unknown = true, .remaining = 1000) == 1);
	CHECK(NEXT(.unknown = true, .remaining = 1000, .min_chunk_size = 10) == 10);
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 8) == 16);
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 8, .threads = 2) == 16);
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 300) == 500);		   /* half of what remains, */
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 300, .threads = 5) == 100); /* half of an equal share */
}

static void it_is_a_multiple_of_the_least(void)
{
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 7, .min_chunk_size = 10) == 10); /* the nearest */
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 9, .min_chunk_size = 10) == 20);
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 10, .min_chunk_size = 10) == 20);
	CHECK(NEXT(.unknown = true, .remaining = 1000, .last = 14, .min_chunk_size = 10) == 30);
	CHECK(NEXT(.unknown = true, .remaining = 3, .last = 14, .min_chunk_size = 10) == 10);
}

/* As long as the run has lasted, and FIRST_NS; alone, not less than that. */
static void it_takes_as_long_as_the_run_has(void)
{
	CHECK(NEXT(.remaining = 1000000) == 5000);
	CHECK(NEXT(.remaining = 1000000, .ns_per_unit = 4) == 1250);
	CHECK(NEXT(.remaining = 1000000, .elapsed_ns = 3000) == 8000);
	CHECK(NEXT(.remaining = 1000000, .elapsed_ns = 3000, .last = 1000) == 2000);
	CHECK(NEXT(.remaining = 1000000, .elapsed_ns = 3000, .last = 4001) == 8000);
	CHECK(NEXT(.remaining = 1000000, .elapsed_ns = 1e9) == 250000); /* PACE_TARGET_NS */
	CHECK(NEXT(.remaining = 10000000, .elapsed_ns = 1e9, .target_ns = 1e6) == 1000000);
	CHECK(NEXT(.remaining = 1000000, .floor_ns = 9000) == 9000);
	CHECK(NEXT(.remaining = 5000) == 5000);
	CHECK(NEXT(.remaining = 5000, .last = 1) == 5000);
	CHECK(NEXT(.remaining = 5001, .last = 1) == 2);
	CHECK(NEXT(.remaining = 5003) == 5000);
	CHECK(NEXT(.remaining = 9000, .floor_ns = 9000, .min_chunk_size = 7) == 9000);
	CHECK(NEXT(.remaining = 9000, .ns_per_unit = 1e-18, .threads = 2) == 9000); /* more units than there can be */
}

static void it_is_shorter_with_more_threads(void)
{
	CHECK(NEXT(.remaining = 1000000, .threads = 2, .elapsed_ns = 4000) == 7000);
	CHECK(NEXT(.remaining = 1000000, .threads = 8, .elapsed_ns = 16000) == 7000);
	CHECK(NEXT(.remaining = 1000000, .threads = 16, .elapsed_ns = 16000) == 6000);
	CHECK(NEXT(.remaining = 1000000, .threads = 32, .elapsed_ns = 16000) == 6000);	/* CAUTIOUS */
	CHECK(NEXT(.remaining = 9000000, .threads = 100, .elapsed_ns = 16000) == 8500); /* CLAIM_NS for each */
	CHECK(NEXT(.remaining = 1000000, .threads = 2, .floor_ns = 6000, .elapsed_ns = 4000) == 8000);
}

static void the_end_is_shared_out(void)
{
	CHECK(NEXT(.remaining = 1000, .threads = 2) == 250);
	CHECK(NEXT(.remaining = 400, .threads = 2) == 150); /* CLAIM_NS for each */
	CHECK(NEXT(.remaining = 1000, .threads = 2, .floor_ns = 300) == 300);
	CHECK(NEXT(.remaining = 400, .threads = 2, .floor_ns = 300) == 300);
	CHECK(NEXT(.remaining = 200, .threads = 2, .floor_ns = 300) == 200);
	CHECK(NEXT(.remaining = 4000, .threads = 2, .floor_ns = 1200, .last = 10) == 20); /* no more than growth */
}

/* A node that has three fifths of what remains has as many of the threads, and one more. */
static void nodes_have_a_share_of_the_threads(void)
{
	CHECK(NEXT(.remaining = 600000, .others = 400000, .threads = 10, .elapsed_ns = 70000) == 15000);
	CHECK(NEXT(.remaining = 400000, .others = 600000, .threads = 10, .elapsed_ns = 70000) == 19000);
	CHECK(NEXT(.remaining = 600000, .others = 0, .threads = 10, .elapsed_ns = 70000) == 12000);
	CHECK(NEXT(.unknown = true, .remaining = 600, .others = 400, .threads = 10, .last = 99) == 600 / 2 / 7);
}

/* Where the other node has just been emptied, all threads are this one's. */
static void the_last_node_has_all_threads(void)
{
	struct pace pace = { .ns_per_unit = 1 };
	struct ktask_node nodes[2] = { { AT(0), 600000, NUMA_NO_NODE }, { AT(0), 5, NUMA_NO_NODE } };
	struct cursor cursors[2];
	struct cut cut = { .cursors = cursors };
	struct chunk chunk;
	DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);

	CHECK(cut_init(&cut, nodes, 2, &ctl) == 0);
	CHECK(cut_claim(&cut, &cursors[1], 5, &chunk));
	CHECK(pace_next(&pace, &cut, &cursors[0], 10, 0, PACE_TARGET_NS, 110000) == 16000);
	cut_destroy(&cut);
}

static size_t batch_lead(size_t size, size_t done, unsigned threads, double floor_ns, size_t min_chunk_size,
			 double lead_ns)
{
	struct pace pace = { .ns_per_unit = 1 };
	struct ktask_node node = { AT(0), size, NUMA_NO_NODE };
	struct cursor cursor;
	struct cut cut = { .cursors = &cursor };
	struct chunk chunk;
	size_t next;
	DEFINE_KTASK_CTL(ctl, nothing, NULL, min_chunk_size);

	CHECK(cut_init(&cut, &node, 1, &ctl) == 0);
	CHECK(done == 0 || cut_claim(&cut, &cursor, done, &chunk));
	next = batch_next(&pace, &cut, &cursor, threads, floor_ns, lead_ns);
	cut_destroy(&cut);
	return next;
}

static size_t batch(size_t size, size_t done, unsigned threads, double floor_ns, size_t min_chunk_size)
{
	return batch_lead(size, done, threads, floor_ns, min_chunk_size, 0);
}

/* Seven eighths, seven eighths of the rest, and the rest, each in one chunk for each thread; of more threads, quarters. */
static void even_units_go_in_batches(void)
{
	CHECK(batch(16000, 0, 2, 125, 1) == 7000);
	CHECK(batch(16000, 7000, 2, 125, 1) == 7000);
	CHECK(batch(16000, 14000, 2, 125, 1) == 1000 - 125);
	CHECK(batch(16000, 14875, 2, 125, 1) == 875);
	CHECK(batch(16000, 15750, 2, 125, 1) == 125); /* an eighth of it would be less than the floor */
	CHECK(batch(16000, 15875, 2, 125, 1) == 125);
	CHECK(batch(16000, 15975, 2, 125, 1) == 25);
	CHECK(batch(16000, 0, 4, 500, 1) == 3000);
	CHECK(batch(16000, 12000, 4, 500, 1) == 1000); /* nor a quarter of a rest */
	CHECK(batch(1999, 0, 2, 125, 1) == 1000);      /* nor is a rest of less */
	CHECK(batch(8, 0, 2, 0, 1) == 4 && batch(16, 0, 2, 0, 1) == 7 && batch(16, 14, 2, 0, 1) == 1);
}

/* Chunks that were rounded do not end where a batch does: what is missing most of a chunk is the next one. */
static void batches_are_told_by_what_remains(void)
{
	CHECK(batch(16000, 10500, 2, 125, 1) == 5500);
	CHECK(batch(16000, 10501, 2, 125, 1) == 875);
	CHECK(batch(16000, 13990, 2, 125, 1) == 875);
	CHECK(batch(16000, 0, 2, 500, 4000) == 8000); /* 7000, to the nearest */
	CHECK(batch(16000, 0, 2, 500, 5000) == 5000);
}

/* The last batch makes up for what is known to be lost before and after; the others do not. */
static void who_begins_later_has_less_of_the_last_batch(void)
{
	CHECK(batch_lead(16000, 0, 2, 125, 1, 300) == 7000 && batch_lead(16000, 0, 2, 125, 1, -300) == 7000);
	CHECK(batch_lead(16000, 0, 2, 2000, 1, 300) == 8300 && batch_lead(16000, 0, 2, 2000, 1, -300) == 7700);
	CHECK(batch_lead(16000, 8300, 2, 2000, 1, -300) == 7700 && batch_lead(16000, 7700, 2, 2000, 1, 300) == 8300);
	/* There is no more than all, and no less than half of a share: who begins later than that may find nothing left. */
	CHECK(batch_lead(16000, 0, 2, 2000, 1, 1e30) == 16000 && batch_lead(16000, 0, 2, 2000, 1, -1e30) == 4000);
}

static void costs_are_half_of_what_was(void)
{
	struct pace pace = { .ns_per_unit = 1000 };

	pace_update(&pace, 4, 80);
	CHECK(pace.ns_per_unit == 20 && pace.last == 4 && pace.units == 4 && pace.ns == 80);
	pace_update(&pace, 2, 20);
	CHECK(pace.ns_per_unit == 15 && pace.last == 2 && pace.units == 6 && pace.ns == 100);
	pace_update(&pace, 4, 0); /* less than the clock can tell */
	CHECK(pace.ns_per_unit == 7.625 && pace.last == 4 && pace.units == 10 && pace.ns == 100);
}

int main(void)
{
	it_grows_where_costs_are_unknown();
	it_is_a_multiple_of_the_least();
	it_takes_as_long_as_the_run_has();
	it_is_shorter_with_more_threads();
	the_end_is_shared_out();
	nodes_have_a_share_of_the_threads();
	the_last_node_has_all_threads();
	even_units_go_in_batches();
	batches_are_told_by_what_remains();
	who_begins_later_has_less_of_the_last_batch();
	costs_are_half_of_what_was();
	return 0;
}
