/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * simulate_tbb.c: oneTBB's auto_partitioner, as its header partitioner.h has it (2021.8).
 *
 * Modelled: a task is a range with a divisor (at first twice the number of threads) and a depth (at first 5). It halves
 * its range and queues the right half, as long as its divisor, which is halved as well, is above 1, and once more. Then
 * it keeps a pool of up to 8 ranges, the last one the smallest, made by halving no deeper than its depth, and does them
 * from the smallest on. A thread takes its own newest task or, out of work, the oldest of another thread, tried in an
 * order by lot. A task that was taken so, if its sibling is still under way, goes one level deeper and tells its
 * sibling, which then gives away its largest range, or goes one level deeper, before each range that it does.
 *
 * Left out: what making a task costs; the time that thieves spend looking (a steal has a fixed price, and who finds
 * nothing comes back when the next task is queued).
 */
#include "simulate.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNKS_PER_THREAD = 2, FIRST_DEPTH = 5, POOL = 8, NO_NODE = -1 };

/* Where two tasks part. */
struct node {
	int parent;
	int open; /* of its two sides, those that are not finished */
	bool stolen;
};

struct range {
	size_t from, to;
	unsigned depth; /* halvings since it belonged to its task */
};

struct task {
	struct range range;
	size_t divisor;
	unsigned depth; /* its ranges may be halved so often */
	int node;
};

struct worker {
	struct task *queue;	 /* from head, the oldest, */
	size_t head, tail, room; /* to tail */

	bool busy, idle; /* has a task; waits for one to be queued */
	struct task task;
	struct range pool[POOL]; /* its ranges, the largest first */
	unsigned nr_ranges;
};

struct tbb {
	struct node *nodes;
	size_t nr_nodes, room;
	size_t queued; /* tasks, in all queues */
	unsigned nr_idle;
	uint64_t dice;
	struct worker workers[];
};

static void *need(void *memory)
{
	if (!memory) {
		fprintf(stderr, "no memory for TBB's tasks\n");
		exit(1);
	}
	return memory;
}

/* Makes room for one more than n in an array that grows. */
static void *room_for(void *array, size_t n, size_t *room, size_t size)
{
	if (n < *room)
		return array;
	*room = *room ? 2 * *room : 64;
	return need(realloc(array, *room * size));
}

/* And wakes somebody for it. */
static void queue(struct simulation *s, struct tbb *tbb, double time, struct worker *w, struct task task)
{
	w->queue = room_for(w->queue, w->tail, &w->room, sizeof(*w->queue));
	w->queue[w->tail++] = task;
	tbb->queued++;
	for (unsigned cpu = 0; tbb->nr_idle && cpu < s->machine.cpus; cpu++)
		if (tbb->workers[cpu].idle) {
			tbb->workers[cpu].idle = false;
			tbb->nr_idle--;
			at(s, time, cpu);
			break;
		}
}

static int node_below(struct tbb *tbb, int parent)
{
	tbb->nodes = room_for(tbb->nodes, tbb->nr_nodes, &tbb->room, sizeof(*tbb->nodes));
	tbb->nodes[tbb->nr_nodes] = (struct node){ .parent = parent, .open = 2 };
	return (int)tbb->nr_nodes++;
}

/* Queues a range of w's task as a task of its own. */
static void give_away(struct simulation *s, struct tbb *tbb, double time, struct worker *w, struct range range)
{
	struct task *task = &w->task, child = *task;

	task->divisor /= 2;
	task->node = node_below(tbb, task->node);
	child.divisor = task->divisor;
	child.node = task->node;
	child.depth -= range.depth;
	child.range = (struct range){ range.from, range.to, 0 };
	queue(s, tbb, time, w, child);
}

static bool divisible(const struct range *r)
{
	return r->to - r->from > 1;
}

/* Halves r, which keeps the left part. */
static struct range right_half(struct range *r)
{
	size_t middle = r->from + (r->to - r->from) / 2;
	struct range right = { middle, r->to, r->depth };

	r->to = middle;
	return right;
}

/* What a task begins with. */
static void begin(struct simulation *s, struct tbb *tbb, double time, struct worker *w, bool stolen)
{
	struct task *task = &w->task;
	struct range right;

	if (task->divisor == 0) { /* not one of the first ones */
		task->divisor = 1;
		if (stolen && tbb->nodes[task->node].open == 2) {
			tbb->nodes[task->node].stolen = true;
			task->depth = (task->depth ? task->depth : 1) + 1;
		}
	}
	while (divisible(&task->range) && task->divisor && (task->divisor > 1 || task->depth)) {
		if (task->divisor == 1) {
			task->divisor = 0;
			task->depth--;
		}
		right = right_half(&task->range);
		give_away(s, tbb, time, w, right);
	}
	w->pool[0] = task->range;
	w->nr_ranges = 1;
	w->busy = true;
}

static void finish(struct tbb *tbb, struct worker *w)
{
	int node = w->task.node;

	while (node != NO_NODE && --tbb->nodes[node].open == 0)
		node = tbb->nodes[node].parent;
	w->busy = false;
}

/* False: nobody has any. */
static bool find_task(struct simulation *s, struct tbb *tbb, double *time, struct worker *w)
{
	unsigned cpus = s->machine.cpus, first;

	if (tbb->queued == 0)
		return false;
	tbb->queued--;
	if (w->head < w->tail) {
		w->task = w->queue[--w->tail];
		begin(s, tbb, *time, w, false);
		return true;
	}
	tbb->dice = tbb->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	first = (unsigned)(tbb->dice >> 33) % cpus;
	for (unsigned i = 0; i < cpus; i++) {
		struct worker *victim = &tbb->workers[(first + i) % cpus];

		if (victim->head < victim->tail) {
			w->task = victim->queue[victim->head++];
			break;
		}
	}
	*time += s->machine.steal_ns;
	begin(s, tbb, *time, w, true);
	return true;
}

/* Halves the smallest range until the pool is full or as deep as it may be. */
static void fill(struct worker *w)
{
	while (w->nr_ranges < POOL && divisible(&w->pool[w->nr_ranges - 1]) &&
	       w->pool[w->nr_ranges - 1].depth < w->task.depth) {
		struct range *last = &w->pool[w->nr_ranges - 1];

		last->depth++;
		w->pool[w->nr_ranges] = *last;
		*last = right_half(&w->pool[w->nr_ranges]);
		w->nr_ranges++;
	}
}

static void step(struct simulation *s, void *state, double time, unsigned cpu)
{
	struct tbb *tbb = state;
	struct worker *w = &tbb->workers[cpu];
	struct range r;

	for (;;) {
		if (w->busy && w->nr_ranges == 0)
			finish(tbb, w);
		if (!w->busy && !find_task(s, tbb, &time, w)) {
			w->idle = true;
			tbb->nr_idle++;
			return;
		}
		fill(w);
		if (w->task.node == NO_NODE || !tbb->nodes[w->task.node].stolen)
			break;
		w->task.depth++;
		if (w->nr_ranges > 1) {
			give_away(s, tbb, time, w, w->pool[0]);
			w->nr_ranges--;
			memmove(w->pool, w->pool + 1, w->nr_ranges * sizeof(*w->pool));
		} else if (!divisible(&w->pool[0])) {
			break;
		}
	}
	r = w->pool[--w->nr_ranges];
	do_units(s, time + s->machine.chunk_ns, cpu, r.from, r.to);
}

static void *start(struct simulation *s)
{
	unsigned cpus = s->machine.cpus;
	struct tbb *tbb = need(calloc(1, sizeof(*tbb) + cpus * sizeof(tbb->workers[0])));

	tbb->dice = 1;
	queue(s, tbb, 0, &tbb->workers[0],
	      (struct task){ .range = { .to = s->trace->n },
			     .divisor = CHUNKS_PER_THREAD * (size_t)cpus,
			     .depth = FIRST_DEPTH,
			     .node = NO_NODE });
	return tbb;
}

static void stop(void *state, unsigned cpus)
{
	struct tbb *tbb = state;

	for (unsigned cpu = 0; cpu < cpus; cpu++)
		free(tbb->workers[cpu].queue);
	free(tbb->nodes);
	free(tbb);
}

const struct policy policy_tbb = { "TBB auto_partitioner", start, step, stop, false };
