/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * simulate_ktask.c: a run of ktask on the virtual clock. The sizes and the claims are made by the library itself
 * (chunk.c); when helpers are called is what heartbeat.c does, told again for this clock.
 */
#include "../csrc/chunk.h"
#include "simulate.h"

#include <stdio.h>
#include <stdlib.h>

enum { FEW_CHUNKS = 64, FLOOR_NS = 1000 };

struct worker {
	struct pace pace;
	double called_at;
	double began; /* its last chunk */
	size_t units; /* that this had; 0: the thread has just come */
};

struct run {
	struct cursor cursor;
	struct cut cut;
	unsigned threads; /* called, the caller included */
	double known;
	struct worker workers[];
};

static struct run *start(const struct simulation *s, double known)
{
	struct run *run = aligned_alloc(64, (sizeof(*run) + s->machine.cpus * sizeof(struct worker) + 63) / 64 * 64);
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, NULL, 1);
	struct ktask_node node = { .kn_task_size = s->trace->n, .kn_nid = NUMA_NO_NODE };

	if (!run) {
		fprintf(stderr, "no memory for %u threads\n", s->machine.cpus);
		exit(1);
	}
	run->cut.cursors = &run->cursor;
	cut_init(&run->cut, &node, 1, &ctl);
	run->threads = 1;
	run->known = known;
	for (unsigned i = 0; i < s->machine.cpus; i++)
		run->workers[i] = (struct worker){ .pace.ns_per_unit = known };
	return run;
}

/* The work was seen before: its mean cost is remembered. */
static void *start_known(struct simulation *s)
{
	return start(s, s->trace->until[s->trace->n] / (double)s->trace->n);
}

static void *start_first(struct simulation *s)
{
	return start(s, 0);
}

/* Returns when the thread goes on. */
static double call_if_worth(struct simulation *s, struct run *run, double time, struct worker *w, double prices)
{
	size_t remaining = cut_remaining(&run->cut);
	double ns_per_unit = w->pace.ns_per_unit;
	double price = prices * (2 * s->machine.wake_ns + s->machine.answer_ns);

	if (run->threads >= s->machine.cpus || remaining == 0)
		return time;
	if (ns_per_unit > 0 ? ns_per_unit * (double)remaining / run->threads < price : s->trace->n > FEW_CHUNKS)
		return time;
	run->workers[run->threads] = (struct worker){ .pace.ns_per_unit = ns_per_unit };
	at(s, time + s->machine.answer_ns, run->threads++);
	return w->called_at = time + s->machine.wake_ns;
}

static void step(struct simulation *s, void *state, double time, unsigned cpu)
{
	struct run *run = state;
	struct worker *w = &run->workers[cpu];
	struct chunk chunk;

	if (w->units) {
		pace_update(&w->pace, w->units, (uint64_t)(time - w->began));
		if (time - w->called_at >= s->machine.wake_ns)
			time = call_if_worth(s, run, time, w, 1);
	} else {
		w->called_at = time;
		time = call_if_worth(s, run, time, w, cpu == 0 ? 2 : 1);
	}
	w->began = time;
	if (!cut_claim(&run->cut, &run->cursor,
		       pace_next(&w->pace, &run->cut, &run->cursor, run->threads, FLOOR_NS, time), &chunk))
		return;
	w->units = chunk.to - chunk.from;
	do_units(s, claim(s, time), cpu, chunk.from, chunk.to);
}

const struct policy policy_ktask = { "ktask", start_known, step, NULL, true };
const struct policy policy_ktask_first = { "ktask, first run", start_first, step, NULL, true };
