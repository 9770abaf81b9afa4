/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crew.c: helpers for a queue of calls. To the pool a crew is a team like a run's (pool.c tells the protocol), with two
 * differences.
 *
 * Any thread may call helpers. That is safe while the crew is open: its caller has done what is done once (crew_open),
 * so nobody writes what members only read; and the team's end, crew_close, is the caller's, who sees to it that by
 * then nobody calls. So while somebody does, the caller is awake, as step 1 of the protocol wants it.
 *
 * What the pieces cost is not known, nor whether they are work at all or wait for something: so it is measured, again and
 * again while a helper is here. One that was on a CPU for less than three fifths of the time would leave its seat to
 * others better, whatever it waited for; unless all threads together used that much: then it waits for its turn, in
 * between, and others work meanwhile. It goes home, and no other is called for 2 ms, then 4, up to a second; until one
 * pays again.
 */
#define _GNU_SOURCE
#include "crew.h"

#include "clock.h"
#include "pool.h"

#include <stdlib.h>

/*
 * What is judged lasted this long at least. Below, a lock waited for once would decide: an interpreter gives others a turn
 * every 5 ms, and whoever submits many calls has as many turns as those who make them.
 */
enum { JUDGED_NS = 10000000 };

enum { FIRST_PAUSE_NS = 2000000, LONGEST_PAUSE_NS = 1000000000 };

/* Its caller looks after the last helpers this far apart. */
enum { GATHER_NS = 20000000 };

struct crew {
	struct team team; /* the first member: the team of a crew is the crew */
	bool (*work)(void *arg);
	void *arg;
	_Atomic bool open; /* with helpers to be had; released when the team is ready for them */

	/* Helpers do not pay, up to this time; and how long that pause is. Estimates: a lost update does no harm. */
	_Atomic uint64_t pause_until;
	_Atomic uint64_t pause;
};

/* A moment in the life of a helper, in ns. */
struct moment {
	uint64_t now;
	uint64_t mine; /* CPU time that it has used, */
	uint64_t all;  /* and that the process has */
};

static uint64_t clock_of(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct moment moment(uint64_t now)
{
	return (struct moment){ now, clock_of(CLOCK_THREAD_CPUTIME_ID), clock_of(CLOCK_PROCESS_CPUTIME_ID) };
}

/* Does this helper do more than wait? last: when that was asked the last time, or it came. */
static bool pays(struct crew *crew, struct moment *last, uint64_t now)
{
	struct moment was = *last;
	uint64_t enough = (now - was.now) / 5 * 3, pause;

	if (now - was.now < JUDGED_NS)
		return true;
	*last = moment(now);
	if (last->mine - was.mine > enough || last->all - was.all > enough * (team_size(&crew->team) + 1)) {
		atomic_store_explicit(&crew->pause, 0, memory_order_relaxed);
		return true;
	}
	pause = 2 * atomic_load_explicit(&crew->pause, memory_order_relaxed);
	pause = pause < FIRST_PAUSE_NS ? FIRST_PAUSE_NS : pause > LONGEST_PAUSE_NS ? LONGEST_PAUSE_NS : pause;
	atomic_store_explicit(&crew->pause, pause, memory_order_relaxed);
	atomic_store_explicit(&crew->pause_until, now + pause, memory_order_relaxed);
	return false;
}

static void help(struct team *team, int helper, int node, uint64_t now)
{
	struct crew *crew = (struct crew *)team;
	struct moment last = moment(now);
	bool more;

	(void)node;
	do {
		more = crew->work(crew->arg);
		now = clock_ns();
	} while (pays(crew, &last, now) && more && !pool_is_overfull(now) && !pool_wants_back(helper, now));
}

struct crew *crew_new(bool (*work)(void *arg), void *arg)
{
	struct crew *crew = aligned_alloc(_Alignof(struct crew), sizeof(*crew));

	if (!crew)
		return NULL;
	team_init(&crew->team, help, MAX_HELPERS);
	crew->work = work;
	crew->arg = arg;
	atomic_init(&crew->open, false);
	atomic_init(&crew->pause_until, 0);
	atomic_init(&crew->pause, 0);
	return crew;
}

void crew_free(struct crew *crew)
{
	free(crew);
}

bool crew_open(struct crew *crew)
{
	team_init(&crew->team, help, MAX_HELPERS);
	if (!team_muster(&crew->team))
		return false;
	atomic_store_explicit(&crew->open, true, memory_order_release);
	return true;
}

bool crew_call(struct crew *crew)
{
	return atomic_load_explicit(&crew->open, memory_order_acquire) &&
	       clock_ns() >= atomic_load_explicit(&crew->pause_until, memory_order_relaxed) &&
	       team_call(&crew->team, -1) != 0;
}

void crew_close(struct crew *crew)
{
	atomic_store_explicit(&crew->open, false, memory_order_relaxed); /* nobody calls any more */
	/* In the child of a fork there is nobody to wait for. */
	while (crew->team.forks == pool_forks() && !team_gather(&crew->team, GATHER_NS))
		;
}
