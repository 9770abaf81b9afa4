/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crew.c: helpers for a queue of calls. To the pool a crew is a team like a run's (pool.c tells the protocol), with two
 * differences.
 *
 * Any thread may call helpers. That is safe while the crew is open: its caller has done what is done once (crew_open),
 * so nobody writes what members only read; and the team's end, crew_close, is the caller's, who sees to it that by
 * then nobody calls. So while somebody does, the caller is awake, as step 1 of the protocol wants it.
 *
 * What the pieces cost is not known, nor whether they are work at all or wait for something: so it is measured. A helper
 * that was on a CPU for less than three fifths of its time here would leave its seat to others better, whatever it
 * waited for. It goes home, and no other is called for 2 ms, then 4, up to a second; until one pays again.
 *
 * Beside the caller there are threads that submit calls and wait for results. A helper that had to wait for a CPU since
 * these had it is in nobody's way, and does not retreat: as long as the process itself has had all CPUs, but for a
 * quarter of one at most, since somebody last looked for a helper to call.
 *
 * Nor does it have its caller's priority, though calls of an interpreter share a lock as runs of Python callables do
 * (kc_shares_lock): those that mostly wait for it go home, and beside neighbours it made no difference that could be
 * measured.
 */
#define _GNU_SOURCE
#include "crew.h"

#include "clock.h"
#include "limits.h"
#include "pool.h"
#include "topology.h"

#include <stdlib.h>

/* What is judged lasted this long at least: below, a wake-up or a lock waited for once would decide. */
enum { JUDGED_NS = 500000 };

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

	/* When a helper was last looked for, and what CPU time the process had used then: estimates, too. */
	_Atomic uint64_t looked;
	_Atomic uint64_t used;
};

/* Does this helper do more than wait, since it came so long ago? */
static bool pays(struct crew *crew, uint64_t here_ns, uint64_t cpu_ns)
{
	uint64_t pause;

	if (here_ns < JUDGED_NS)
		return true;
	if (cpu_ns > here_ns / 5 * 3) {
		atomic_store_explicit(&crew->pause, 0, memory_order_relaxed);
		return true;
	}
	pause = 2 * atomic_load_explicit(&crew->pause, memory_order_relaxed);
	pause = pause < FIRST_PAUSE_NS ? FIRST_PAUSE_NS : pause > LONGEST_PAUSE_NS ? LONGEST_PAUSE_NS : pause;
	atomic_store_explicit(&crew->pause, pause, memory_order_relaxed);
	atomic_store_explicit(&crew->pause_until, clock_ns() + pause, memory_order_relaxed);
	return false;
}

static void help(struct team *team, int helper, int node, uint64_t now)
{
	struct crew *crew = (struct crew *)team;
	uint64_t came = now, cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
	bool more;

	(void)node;
	do {
		more = crew->work(crew->arg);
		now = clock_ns();
	} while (pays(crew, now - came, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu) && more && !pool_is_overfull(now) &&
		 !pool_wants_back(helper, now));
}

/* As many as this process may use; or as the helper may, where a quota makes that less. */
static uint64_t all_cpus(void)
{
	struct cpus mine;
	int here, most = limits_machine_max() + 1;

	topology_allowed(pthread_self(), &mine);
	here = cpus_count(&mine);
	return (uint64_t)(here > most ? here : most);
}

static bool had_all(struct team *team, uint64_t now)
{
	struct crew *crew = (struct crew *)team;
	uint64_t time = clock_since(atomic_load_explicit(&crew->looked, memory_order_relaxed), now);
	uint64_t used = clock_of(CLOCK_PROCESS_CPUTIME_ID) - atomic_load_explicit(&crew->used, memory_order_relaxed);

	return used + time / 4 > time * all_cpus();
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
	atomic_init(&crew->looked, 0);
	atomic_init(&crew->used, 0);
	return crew;
}

void crew_free(struct crew *crew)
{
	free(crew);
}

bool crew_open(struct crew *crew)
{
	team_init(&crew->team, help, MAX_HELPERS);
	crew->team.had_all = had_all;
	if (!team_muster(&crew->team))
		return false;
	atomic_store_explicit(&crew->open, true, memory_order_release);
	return true;
}

bool crew_call(struct crew *crew)
{
	uint64_t now = clock_ns();

	if (!atomic_load_explicit(&crew->open, memory_order_acquire) ||
	    now < atomic_load_explicit(&crew->pause_until, memory_order_relaxed))
		return false;
	atomic_store_explicit(&crew->looked, now, memory_order_relaxed);
	atomic_store_explicit(&crew->used, clock_of(CLOCK_PROCESS_CPUTIME_ID), memory_order_relaxed);
	return team_call(&crew->team, -1) > TEAM_NONE_IDLE;
}

void crew_close(struct crew *crew)
{
	atomic_store_explicit(&crew->open, false, memory_order_relaxed); /* nobody calls any more */
	/* In the child of a fork there is nobody to wait for. */
	while (crew->team.forks == pool_forks() && !team_gather(&crew->team, GATHER_NS))
		;
}
