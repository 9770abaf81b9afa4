/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chunk.c: cursors and claims.
 *
 * Each node has one cursor. With the default iterator, a thread claims a chunk by one atomic addition to cursor->next:
 * the value before is the chunk's first unit. Additions to one object are totally ordered, so no unit is claimed
 * twice; each adds a multiple of the quantum and starts where the one before ended, so none is left out. Near the end
 * additions may go beyond cursor->size; the part of the chunk beyond it does not exist. A thread looks before it adds
 * and adds no more than cursor->size, so each thread goes beyond by that much at most, once: with 2^13 + 1 threads and
 * KTASK_MAX_SIZE of 2^48, next stays below 2^62 and does not wrap around.
 *
 * A caller that has called nobody yet is alone: its first claim may be a store. Who is called later sees it.
 *
 * Alignment: chunks are to end where start + offset is a multiple of it. The quantum is made a multiple of the
 * alignment, and the first chunk is longer by cursor->lead units. So next counts from start + lead on, and the chunk
 * that begins at 0 takes the lead as well.
 *
 * With other iterators, next and position move together under the cursor's lock, and the iterator is called there:
 * in order, one thread at a time, once for each chunk.
 *
 * Completion: when the last helper is gone, each unit before the cursor has been given to one thread, which has finished
 * it, or has added its chunk to the holes before it left (undo.c). Once the run has failed nobody claims: a thread
 * looks before a claim, and again after it, since the failure may have come meanwhile; then its chunk is a hole that was
 * never begun. At a hole a thread stops, so it adds one at most, and who takes its place in the team sees the failure:
 * there are no more holes than places. Explored by tests/model/claims.pml.
 *
 * All operations on next are relaxed: it orders nothing but itself. What the thread function of one chunk wrote is
 * made visible to the caller when its thread leaves the team (pool.c, step 6).
 */
#include "chunk.h"

#include "hot.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

static_assert((UINT64_C(8192) + 1) * (UINT64_C(1) << 48) < UINT64_C(1) << 62, "claims do not wrap around");
static_assert(KTASK_MAX_SIZE <= UINT64_C(1) << 48, "see above");
static_assert(offsetof(struct cursor, lock) % 64 == 0 && sizeof(struct cursor) % 64 == 0,
	      "a claim writes one cache line, and nothing else is on it");

/* By 1, as nearly always, without a division: that takes as long as all the rest. */
static size_t modulo(size_t n, size_t by)
{
	return by == 1 ? 0 : n % by;
}

static size_t round_up(size_t n, size_t multiple)
{
	size_t over = modulo(n, multiple);

	return over ? n - over + multiple : n;
}

int cut_init(struct cut *cut, const struct ktask_node *nodes, size_t nr_nodes, const struct ktask_ctl *ctl)
{
	size_t align = ctl->kc_align ? ctl->kc_align : 1;
	size_t min = ctl->kc_min_chunk_size < KTASK_MAX_SIZE ? ctl->kc_min_chunk_size : KTASK_MAX_SIZE;

	if (align > KTASK_MAX_SIZE)
		return -EOVERFLOW;
	cut->iter_func = ctl->kc_iter_func == ktask_iter_range ? NULL : ctl->kc_iter_func;
	cut->quantum = round_up(min, align);
	cut->nr_cursors = 0;
	cut->total = 0;
	for (size_t i = 0; i < nr_nodes; i++) {
		const struct ktask_node *n = &nodes[i];
		struct cursor *c = &cut->cursors[cut->nr_cursors];
		uintptr_t start = (uintptr_t)n->kn_start;

		if (n->kn_task_size > KTASK_MAX_SIZE - cut->total ||
		    (!cut->iter_func && n->kn_task_size > UINTPTR_MAX - start))
			return -EOVERFLOW;
		if (n->kn_task_size == 0)
			continue;
		cut->total += n->kn_task_size;
		cut->nr_cursors++;
		atomic_init(&c->next, 0);
		if (cut->iter_func)
			c->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
		c->position = n->kn_start;
		c->start = n->kn_start;
		c->size = n->kn_task_size;
		c->lead = cut->iter_func ? 0 : round_up(start, align) - start;
		if (c->lead > c->size)
			c->lead = c->size;
		c->nid = n->kn_nid;
		c->node = -1;
	}
	return 0;
}

void cut_destroy(struct cut *cut)
{
	for (size_t i = 0; cut->iter_func && i < cut->nr_cursors; i++)
		pthread_mutex_destroy(&cut->cursors[i].lock);
}

size_t cut_nr_chunks(const struct cut *cut)
{
	size_t n = 0;

	for (size_t i = 0; i < cut->nr_cursors; i++) {
		size_t size = cut->cursors[i].size - cut->cursors[i].lead;

		n += size == 0 ? 1 : cut->quantum == 1 ? size : (size - 1) / cut->quantum + 1;
	}
	return n;
}

/* What next stands for: the offset of the first unit that is not claimed. */
static size_t cursor_offset(const struct cursor *c, uint64_t next)
{
	return next == 0 ? 0 : next < c->size - c->lead ? (size_t)next + c->lead : c->size;
}

size_t cursor_claimed(const struct cursor *cursor)
{
	return cursor_offset(cursor, atomic_load_explicit(&cursor->next, memory_order_relaxed));
}

size_t cursor_remaining(const struct cursor *cursor)
{
	return cursor->size - cursor_claimed(cursor);
}

size_t cut_remaining(const struct cut *cut)
{
	size_t n = 0;

	for (size_t i = 0; i < cut->nr_cursors; i++)
		n += cursor_remaining(&cut->cursors[i]);
	return n;
}

struct cursor *cut_go_on(const struct cut *cut, struct cursor *cursor, int node, const int *distance)
{
	struct cursor *nearest = NULL;
	int least = 0;

	if (cursor && cursor_remaining(cursor))
		return cursor;
	for (size_t i = 0; i < cut->nr_cursors; i++) {
		struct cursor *c = &cut->cursors[i];
		int far = node < 0 || c->node < 0 || c->node == node ? 0 : distance[c->node];

		if (cursor_remaining(c) && (!nearest || far < least)) {
			nearest = c;
			least = far;
		}
	}
	return nearest;
}

int cut_node_in_turn(const struct cut *cut, unsigned turn)
{
	for (size_t i = 0; i < cut->nr_cursors; i++) {
		const struct cursor *c = &cut->cursors[modulo(turn + i, cut->nr_cursors)];

		if (cursor_remaining(c))
			return c->node;
	}
	return -1;
}

static bool claim_in_order(const struct cut *cut, struct cursor *c, size_t size, struct chunk *chunk)
{
	pthread_mutex_lock(&c->lock);
	chunk->from = (size_t)atomic_load_explicit(&c->next, memory_order_relaxed);
	if (size > c->size - chunk->from)
		size = c->size - chunk->from;
	if (size) {
		chunk->to = chunk->from + size;
		chunk->start = c->position;
		chunk->end = cut->iter_func(c->position, size);
		c->position = chunk->end;
		atomic_store_explicit(&c->next, chunk->to, memory_order_relaxed);
	}
	pthread_mutex_unlock(&c->lock);
	return size != 0;
}

static void cut_out(const struct cursor *cursor, uint64_t next, size_t size, struct chunk *chunk)
{
	chunk->from = cursor_offset(cursor, next);
	chunk->to = cursor_offset(cursor, next + size);
	chunk->start = (void *)((uintptr_t)cursor->start + chunk->from);
	chunk->end = (void *)((uintptr_t)cursor->start + chunk->to);
}

bool cut_claim(const struct cut *cut, struct cursor *cursor, size_t size, struct chunk *chunk)
{
	uint64_t next = atomic_load_explicit(&cursor->next, memory_order_relaxed);

	chunk->cursor = cursor;
	if (next != 0 && next >= cursor->size - cursor->lead)
		return false;
	if (cut->iter_func)
		return claim_in_order(cut, cursor, size, chunk);

	if (size > cursor->size)
		size = cursor->size;
	next = atomic_fetch_add_explicit(&cursor->next, size, memory_order_relaxed);
	if (next != 0 && next >= cursor->size - cursor->lead)
		return false;
	cut_out(cursor, next, size, chunk);
	return true;
}

void cut_claim_first(struct cursor *cursor, size_t size, struct chunk *chunk)
{
	chunk->cursor = cursor;
	if (size > cursor->size)
		size = cursor->size;
	atomic_store_explicit(&cursor->next, size, memory_order_relaxed);
	cut_out(cursor, 0, size, chunk);
}

/*
 * How large the next chunk is: the least of three sizes.
 *
 *   growth     twice the thread's last chunk; the first one is as small as may be, unless the cost of a unit is known.
 *   target     what takes about as long as the run has lasted, divided by the threads: little has been seen at first,
 *              and the more threads, the more of them wait for one whose chunk was a surprise. So a caller that is
 *              alone looks whether to call a helper at most twice as late as it could, and a large team is called
 *              quickly. At least FIRST_NS, at most target_ns (PACE_TARGET_NS as a rule) or floor_ns.
 *   the end    half of an equal share of what remains (guided: Polychronopoulos and Kuck, 1987; half of it, since the
 *              next units may cost more than those after them), so that all finish together. But no less than
 *              takes floor_ns: that much difference between threads no longer shows.
 *
 * All threads of a cursor claim on one cache line, one after the other. So the more they are, the longer the chunks:
 * on average one claim in CLAIM_NS is made, about what a line takes to travel where machines are that large.
 *
 * docs/cutting.md has what comes of it, on 2 to 1,024 CPUs.
 */
#define FIRST_NS 5000.0
#define CLAIM_NS 75.0
enum { CAUTIOUS = 16 };

/* As many units as take ns, if a unit takes ns_per_unit. */
static size_t units_in(double ns, double ns_per_unit)
{
	double units = ns / ns_per_unit;

	return units < (double)KTASK_MAX_SIZE ? (size_t)(int64_t)units : KTASK_MAX_SIZE; /* signed: one instruction */
}

/* How many of the threads are this cursor's: as large a part of them as it has of what remains. */
static unsigned share_of(const struct cut *cut, size_t remaining, unsigned nr_threads)
{
	size_t all = cut->nr_cursors > 1 ? cut_remaining(cut) : 0;

	/* all is less than remaining, even 0, where others have just claimed. */
	return all > remaining ? (unsigned)((double)nr_threads * (double)remaining / (double)all) + 1 : nr_threads;
}

/* To the nearest: if it is a few quanta, rounding down would make it many more chunks. */
static size_t whole(const struct cut *cut, size_t size)
{
	size += cut->quantum / 2;
	size -= modulo(size, cut->quantum);
	return size ? size : cut->quantum;
}

size_t pace_next(const struct pace *pace, const struct cut *cut, const struct cursor *cursor, unsigned nr_threads,
		 double floor_ns, double target_ns, double elapsed_ns)
{
	size_t remaining = cursor_remaining(cursor);
	unsigned threads = share_of(cut, remaining, nr_threads);
	size_t size = pace->last ? 2 * pace->last : cut->quantum;
	size_t most = remaining / 2 / threads;

	if (pace->ns_per_unit > 0) {
		double crowd_ns = CLAIM_NS * (double)threads, wanted_ns;
		size_t target, floor;

		if (floor_ns < crowd_ns)
			floor_ns = crowd_ns;
		wanted_ns = floor_ns < FIRST_NS ? FIRST_NS : floor_ns;
		if (nr_threads == 1) {
			floor_ns = wanted_ns;
			if (pace->ns_per_unit * (double)remaining <= floor_ns)
				return remaining;
		}
		wanted_ns += elapsed_ns / (double)(threads < CAUTIOUS ? threads : CAUTIOUS);
		if (wanted_ns > target_ns)
			wanted_ns = floor_ns > target_ns ? floor_ns : target_ns;
		target = units_in(wanted_ns, pace->ns_per_unit);
		floor = units_in(floor_ns, pace->ns_per_unit);
		if (!pace->last || size > target)
			size = target;
		if (most < floor)
			most = floor;
	}
	if (size > most)
		size = most;
	if (size > remaining)
		size = remaining;
	return whole(cut, size);
}

/*
 * Even units go in batches of one chunk for each thread. Each batch leaves a quarter of what those before it have left,
 * the last one is all (factoring: Hummel, Schonberg and Flynn, 1992; theirs leave half). Which batch it is shows in what
 * remains. Where a thread comes late, or takes a quarter as long again as the others, the rest makes up for it. Of two
 * threads each has had half of all, and an eighth does as well. In the last batch one has as much more as the others have less.
 */
size_t batch_next(const struct pace *pace, const struct cut *cut, const struct cursor *cursor, unsigned nr_threads,
		  double floor_ns, double lead_ns)
{
	size_t remaining = cursor_remaining(cursor), units = cursor->size;
	size_t floor = units_in(floor_ns, pace->ns_per_unit);
	size_t lead = units_in(lead_ns < 0 ? -lead_ns : lead_ns, pace->ns_per_unit);
	unsigned threads = share_of(cut, remaining, nr_threads), halvings = threads == 2 ? 3 : 2;

	for (;;) {
		size_t rest = units >> halvings, share;

		if (rest / threads < floor)
			rest = 0;
		share = (units - rest + threads - 1) / threads;
		if (rest == 0)
			share = lead_ns >= 0 ? share + lead : share - (lead < share / 2 ? lead : share / 2);
		if (rest == 0 || remaining >= rest + share / 2)
			return whole(cut, share < remaining ? share : remaining);
		units = rest;
	}
}

void pace_update(struct pace *pace, size_t units, uint64_t ns)
{
	double now = (double)(ns ? ns : 1) / (double)units;

	/* Irregular work: half of what was, half of what is. */
	pace->ns_per_unit = pace->last ? (pace->ns_per_unit + now) / 2 : now;
	pace->last = units;
	pace->units += units;
	pace->ns += ns;
}

/*
 * An entry is one word: the high half tells whose, the low half is the cost as a float, whose last bits are the flags. A torn
 * entry is therefore impossible, and relaxed order is enough.
 */
enum { COST_BITS = 10, FLAGS = 63 };

/* Costs no further apart than this are the same. */
#define ABOUT 0.125

/* Twice as long a run takes now and then for no reason of its own. What takes longer still is other work. */
#define MORE 2.0

/* What takes less is a rough measure. */
enum { ROUGH_NS = 2000 };

/* A run has deceived that took so many times as long as the last one would have, and long enough for a helper. */
enum { MUCH_MORE = 8, LONG_NS = 50000 };

static _Atomic uint64_t costs[1 << COST_BITS];

/* Fibonacci hashing, by 2^64 over the golden ratio: the high bits find the entry, the low half tells whose it is. */
static uint64_t hash(const void *name)
{
	return (uint64_t)(uintptr_t)name * UINT64_C(0x9E3779B97F4A7C15);
}

/*
 * Whoever has to make way for another thread is slow once in thousands of short runs; work that varies is it time and again.
 * So what is known is not relied on any more when it has deceived twice within some eight runs, and it is again after some
 * hundred in which it has not. Nobody counts: the last digits of a time are as good as dice.
 */
enum { SOON = 8, LATER = 128 };

HOT struct cost cost_measured(size_t units, uint64_t ns, struct cost known)
{
	struct cost cost = { (double)(ns ? ns : 1) / (double)units,
			     known.flags & ~(unsigned)(COST_ROUGH | COST_CONFIRMED) };

	if (ns < ROUGH_NS)
		cost.flags |= COST_ROUGH;
	if (ns > LONG_NS && known.ns_per_unit > 0 && cost.ns_per_unit > MUCH_MORE * known.ns_per_unit) {
		cost.flags |= known.flags & COST_DECEIVED ? COST_DECEIVED | COST_VARIES : COST_DECEIVED;
	} else if (cost.flags & (COST_DECEIVED | COST_VARIES)) {
		if (ns / 8 % SOON == 0)
			cost.flags &= ~(unsigned)COST_DECEIVED;
		if (ns / 8 % LATER == 0)
			cost.flags &= ~(unsigned)COST_VARIES;
	}
	return cost;
}

/* Units are even to threads for which they took no further apart than this. */
#define MARGIN_EVEN 1.3

/*
 * And where a thread's share took but so much more or less, up to half of it: more chunks would cost that as well. And each
 * thread then has the same units again in the next run, which are in its caches.
 */
#define SLACK_EVEN_NS 2000.0

bool cost_is_as_known(size_t units, uint64_t ns, struct cost known)
{
	double now = (double)ns, before = known.ns_per_unit * (double)units;
	double slack = before / 2 < SLACK_EVEN_NS ? before / 2 : SLACK_EVEN_NS;

	return now < MARGIN_EVEN * before + slack && before < MARGIN_EVEN * now + slack;
}

HOT struct cost cost_recall(const void *name)
{
	uint64_t h = hash(name), entry = atomic_load_explicit(&costs[h >> (64 - COST_BITS)], memory_order_relaxed);
	uint32_t bits = (uint32_t)entry;
	struct cost cost = { .flags = bits & FLAGS };
	float ns;

	if (entry >> 32 != (h & UINT32_MAX))
		return (struct cost){ 0 };
	memcpy(&ns, &bits, sizeof(ns));
	cost.ns_per_unit = (double)ns;
	return cost;
}

/* Is it what is known already, but perhaps for COST_EVEN? A rough measure is news only where it is less, or the first. */
static bool is_known(struct cost cost, struct cost known)
{
	if (known.ns_per_unit == 0 || (cost.flags ^ known.flags) & (COST_WAITS | COST_DECEIVED | COST_VARIES) ||
	    known.flags & ~cost.flags & COST_ROUGH)
		return false;
	return cost.ns_per_unit > known.ns_per_unit * (1 - ABOUT) &&
	       (cost.flags & COST_ROUGH || cost.ns_per_unit < known.ns_per_unit * (1 + ABOUT));
}

/*
 * What two runs took at least, one after the other, they confirm, and a little more: so one that was disturbed does not make
 * the next ones doubtful, and what has risen for good is believed within a few runs. In work whose cost alternates this ends
 * at (1 + ABOUT / 2) / (1 - ABOUT) of the lower one, below MARGIN in worth.c. A fall is news: the next may be cheaper still.
 */
static struct cost confirmed(struct cost cost, struct cost known)
{
	if ((cost.flags ^ known.flags) & ~(unsigned)(COST_CONFIRMED | COST_EVEN) || cost.flags & COST_ROUGH ||
	    cost.ns_per_unit < known.ns_per_unit || cost.ns_per_unit > known.ns_per_unit * MORE)
		return cost;
	cost.ns_per_unit = known.ns_per_unit * (1 + ABOUT / 2);
	cost.flags |= COST_CONFIRMED;
	return cost;
}

HOT void cost_remember(const void *name, struct cost cost, struct cost known)
{
	uint64_t h = hash(name);
	uint32_t bits;
	float ns;

	if (is_known(cost, known)) {
		cost.flags = (known.flags & ~(unsigned)COST_EVEN) | (cost.flags & COST_EVEN) |
			     (cost.flags & COST_ROUGH ? 0 : COST_CONFIRMED);
		if (cost.flags == known.flags)
			return;
		cost.ns_per_unit = known.ns_per_unit;
	} else {
		cost = confirmed(cost, known);
	}
	ns = (float)cost.ns_per_unit;
	memcpy(&bits, &ns, sizeof(bits));
	bits = (bits & ~(uint32_t)FLAGS) | cost.flags;
	atomic_store_explicit(&costs[h >> (64 - COST_BITS)], (h & UINT32_MAX) << 32 | bits, memory_order_relaxed);
}

HOT void cost_learn(const void *name, size_t units, uint64_t ns, struct cost known)
{
	double all = known.ns_per_unit * (double)units;

	/* By far the most often it is known; this says the same as is_known, and sooner. */
	if (all > 0 && !(known.flags & (COST_DECEIVED | COST_VARIES)) && (double)ns > all * (1 - ABOUT) &&
	    (ns < ROUGH_NS ||
	     ((known.flags & (COST_CONFIRMED | COST_ROUGH)) == COST_CONFIRMED && (double)ns < all * (1 + ABOUT))))
		return;
	cost_remember(name, cost_measured(units, ns, known), known);
}
