/* SPDX-License-Identifier: BSD-3-Clause */
/* chunk.h: how a task is cut into chunks, and how large the next one should be. The protocol is told in chunk.c. */
#ifndef KTASK_CHUNK_H
#define KTASK_CHUNK_H

#include "ktask.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Where the next chunk of one node begins. */
struct cursor {
	/* Written at every claim, by all threads: alone on its cache line. */
	_Alignas(64) _Atomic uint64_t next;

	/* Written while the lock is held, with iterators other than ktask_iter_range only. */
	_Alignas(64) pthread_mutex_t lock;
	void *position; /* where next is */

	/* Constant during the run. */
	void *start;
	size_t size;
	size_t lead; /* units that the first chunk has more than others, so that they end where aligned */
	int nid;
	int node; /* the index of the nearest topology node; -1: any */
};

/* A task in the course of being cut. */
struct cut {
	struct cursor *cursors;
	size_t nr_cursors;
	size_t total;
	size_t quantum;		   /* chunk sizes are multiples of it, but for the last one of a node */
	ktask_iter_func iter_func; /* NULL: ktask_iter_range */
};

struct chunk {
	struct cursor *cursor;
	size_t from; /* offsets in its node, in units */
	size_t to;
	void *start; /* positions */
	void *end;
};

/*
 * Prepares the cut of the nodes, with room for nr_nodes cursors in cut->cursors. Returns 0, or a negative errno when
 * the sizes overflow.
 */
int cut_init(struct cut *cut, const struct ktask_node *nodes, size_t nr_nodes, const struct ktask_ctl *ctl);
void cut_destroy(struct cut *cut);

/* How many chunks there are at most. */
size_t cut_nr_chunks(const struct cut *cut);

/* Units that nobody has claimed. While others claim, a number from a moment ago. */
size_t cut_remaining(const struct cut *cut);
size_t cursor_remaining(const struct cursor *cursor);

/* Units of this node that were claimed in the end. Once no thread claims any more. */
size_t cursor_claimed(const struct cursor *cursor);

/*
 * Where a thread that was at cursor (NULL: it has just come) goes on: there, as long as work is left; then at the nearest
 * to its node that has some. NULL: nothing is left. distance is from its node to each node; node -1: not known.
 */
struct cursor *cut_go_on(const struct cut *cut, struct cursor *cursor, int node, const int *distance);

/* The node where the next helper, the turn-th, is needed: of each cursor in turn, as the kernel does. -1: any. */
int cut_node_in_turn(const struct cut *cut, unsigned turn);

/* Claims the next chunk of cursor, about size units. False: nothing is left. Thread-safe. */
bool cut_claim(const struct cut *cut, struct cursor *cursor, size_t size, struct chunk *chunk);

/*
 * The first claim of all, before anybody else can make one, and with the default iterator: it need not wait for what other threads
 * still have of this one's cache lines.
 */
void cut_claim_first(struct cursor *cursor, size_t size, struct chunk *chunk);

/* Where a thread's chunk sizes come from. Each thread has one; nothing in it is shared. */
struct pace {
	double ns_per_unit; /* of its last chunks, or of earlier runs; 0: not known */
	size_t last;	    /* units in its last chunk; 0: there was none */
	size_t units;	    /* that it has done, */
	uint64_t ns;	    /* and how long they took */
};

/* A chunk should take about this long: long beside a claim (0.03 us), short beside what a user calls at once. */
#define PACE_TARGET_NS 250000.0

/*
 * The size of the next chunk that a thread takes from cursor, as one of nr_threads (a number from a moment ago will do),
 * elapsed_ns after the run began. Less than floor_ns would be more trouble than it is worth; it should take target_ns at
 * most, unless that is less. The reasons are told in chunk.c.
 */
size_t pace_next(const struct pace *pace, const struct cut *cut, const struct cursor *cursor, unsigned nr_threads,
		 double floor_ns, double target_ns, double elapsed_ns);

/*
 * The same for units that are known to cost about the same, where all threads that there will be are at work or called:
 * fewer and longer chunks. In the last batch this thread has lead_ns more than an equal share; or less, if that is below 0.
 */
size_t batch_next(const struct pace *pace, const struct cut *cut, const struct cursor *cursor, unsigned nr_threads,
		  double floor_ns, double lead_ns);

/* Tells how long the last chunk took. */
void pace_update(struct pace *pace, size_t units, uint64_t ns);

/*
 * What is remembered of each kind of work (a cost_name), from the last run that had news. One table for the process,
 * without locks: entries that collide forget each other, which costs speed, nothing else.
 */
struct cost {
	double ns_per_unit; /* 0: not known */
	unsigned flags;	    /* COST_ */
};

enum {
	COST_ROUGH = 1,	    /* measured over so short a time that the calls themselves show: it may be much less */
	COST_CONFIRMED = 2, /* two runs, one after the other, took about as long or longer */
	COST_WAITS = 4,	    /* helpers wait for each other: they did little else */
	COST_EVEN = 8,	    /* to all threads of a short run units cost about the same */
	COST_DECEIVED = 16, /* a run took much longer than the one before had told, not long ago; */
	COST_VARIES = 32,   /* and so did another one soon after: what seems short may be long as well */
};

/* Where chunks can be no more than this, units may be long, and those of unknown cost are taken to be. */
enum { FEW_CHUNKS = 64 };

/* Are there so few, of at least so many units each? Whatever the sizes are: they need not be checked yet. */
static inline bool are_few(size_t units, size_t least)
{
	return (units - 1) / FEW_CHUNKS < least;
}

/* Under which name what is known of some kind of work is kept: what many short units have shown says nothing of a few. */
static inline const void *cost_name(const void *identity, bool few)
{
	return (const void *)(((uintptr_t)identity << 1) | few);
}

/* What units that took ns have shown, of work of which so much was known. */
struct cost cost_measured(size_t units, uint64_t ns, struct cost known);

/* Were units of which a thread has done so many, in ns, as dear as known says, or so nearly that more chunks would gain nothing? */
bool cost_is_as_known(size_t units, uint64_t ns, struct cost known);

struct cost cost_recall(const void *name);

/* What is known of so few units, or so many; of many that were never seen, what a few have shown. */
static inline struct cost cost_known(const void *identity, bool few)
{
	struct cost cost = cost_recall(cost_name(identity, few));

	if (cost.ns_per_unit == 0 && !few) {
		cost = cost_recall(cost_name(identity, true));
		cost.flags &= ~(unsigned)COST_CONFIRMED;
	}
	return cost;
}

/* cost is new, known was recalled before. What is no news is not written: runs at the same time share the table. */
void cost_remember(const void *name, struct cost cost, struct cost known);

/* Remembers what has been measured; quickly where a short run is no news. */
void cost_learn(const void *name, size_t units, uint64_t ns, struct cost known);

#endif
