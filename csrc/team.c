/* SPDX-License-Identifier: BSD-3-Clause */
/* team.c: a team gets its helpers, from their caller's side. The protocol, with its steps, is at the top of pool.c. */
#define _GNU_SOURCE
#include "clock.h"
#include "facts.h"
#include "futex.h"
#include "hot.h"
#include "limits.h"
#include "pool_private.h"
#include "prefetch.h"
#include "price.h"
#include "priority.h"
#include "probes.h"

#include <sched.h>

/* The helper that this thread called last. */
static THREAD_LOCAL struct helper *partner;

void team_init(struct team *team, team_work *work, unsigned max)
{
	team->work = work;
	team->had_all = NULL;
	team->trace = NULL;
	team->max = max;
	team->shares_lock = false;
	team->hot = false;
	team->first = false;
	team->forks = pool_forks();
	team->enrolled = false;
	team->seated = false;
	team->took_seat = false;
	team->nr_cancelled = 0;
	team->nr_willed = 0;
	atomic_init(&team->here, 0);
	atomic_init(&team->nr_called, 0);
	atomic_init(&team->nr_retreated, 0);
}

/* Joins the table of seats, once. The lock is held over a fork, so that no child has half of it. False: not now. */
static bool join(void)
{
	bool joined = limits_joined();
	int cancellable;

	if (!joined && pthread_mutex_trylock(&pool.starting) == 0) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellable); /* as in pool_start */
		joined = limits_join();
		pthread_mutex_unlock(&pool.starting);
		pthread_setcancelstate(cancellable, NULL);
		limits_warn();
	}
	return joined;
}

/* Is this run one of a helper's own, inside another? In the child of a helper that forked, that other one is not there. */
static bool is_helping(void)
{
	return serving && serving->forks == pool_forks();
}

/* What a run that calls no helper does without. */
static bool enroll(struct team *team)
{
	if (!pool_start() || !join())
		return false;
	/* A helper's own mask is one node's; in a run of its own it goes by the caller whose work that is part of. */
	team->caller = is_helping() ? serving->caller : pthread_self();
	team->home = topology_here(&pool.topology, &team->caller_cpu);
	if (team->shares_lock && priority_privileged())
		team->nice = priority_of_caller();
	for (int i = 0; i < pool.nr_words; i++)
		atomic_init(&team->called[i], 0);
	team->enrolled = true;
	if (!not_gathered)
		not_gathered = team;
	return true;
}

/* This thread has come to where its own helper waits for it. */
static void free_partners_seat(int cpu)
{
	struct helper *h = partner ? take_idle(partner->id) : NULL;

	if (!h)
		return;
	if (h->seat == cpu)
		give_back_kept(h);
	set_idle(h);
}

/* A seat for the caller: its CPU's if that is free, any that it may use if not; -1: none. */
static int find_seat(const struct team *team)
{
	struct cpus allowed;

	if (limits_sit_at(team->caller_cpu, true))
		return team->caller_cpu;
	free_partners_seat(team->caller_cpu);
	if (limits_sit_at(team->caller_cpu, true))
		return team->caller_cpu;
	topology_allowed(team->caller, &allowed);
	return limits_sit(&allowed, true);
}

/*
 * The team's caller takes a seat, before it calls its first helper: so that others do not put a helper beside it. In a
 * run inside another one this thread has its seat already, as a caller or as a helper.
 */
static bool sit_down(struct team *team)
{
	if (team->seated)
		return true;
	if (!pool.oversubscribed && !is_helping() && caller_seat < 0) {
		caller_seat = find_seat(team);
		if (caller_seat < 0)
			return false;
		team->took_seat = true;
	}
	team->seated = true;
	return true;
}

unsigned team_size(const struct team *team)
{
	return atomic_load_explicit(&team->here, memory_order_relaxed) & ~TEAM_CALLER_SLEEPS;
}

static bool is_lingering(const struct helper *h)
{
	return (atomic_load_explicit(&h->word, memory_order_relaxed) & (STATE | CALLED)) == LINGERING;
}

HOT bool pool_is_warm(void)
{
	return partner && is_lingering(partner) && atomic_load_explicit(&partner->awake, memory_order_relaxed);
}

void pool_prefetch(void)
{
	if (partner)
		prefetch_to_write((const void *)&pool.idle[partner->id / HELPER_BITS]);
}

void give_back_kept(struct helper *h)
{
	if (!h->keeps)
		return;
	h->keeps = false;
	limits_stand(h->seat);
	limits_give_back();
}

/* The lowest idle one of a node, so that a few stay warm and the others asleep, or are never born. */
static struct helper *take_lowest_idle(int node)
{
	for (int id = pool.first[node]; id < pool.first[node + 1]; id++) {
		uint64_t bits = atomic_load_explicit(&pool.idle[id / HELPER_BITS], memory_order_relaxed);
		struct helper *h;

		bits >>= id % HELPER_BITS;
		if (!bits) { /* none in the rest of the word */
			id |= HELPER_BITS - 1;
			continue;
		}
		id += __builtin_ctzll(bits);
		h = id < pool.first[node + 1] ? take_idle(id) : NULL;
		if (h)
			return h;
	}
	return NULL;
}

/*
 * Gets a seat for a helper and brings it, before it is woken, to those CPUs of its node that the team's caller may use,
 * without the one that the caller itself is on: woken there it would only wait. False: there is no such CPU, or no
 * free seat, or it is not born and cannot be.
 */
static bool place(struct helper *h, const struct team *team, const struct cpus *allowed)
{
	struct cpus mask;
	uint64_t wanted;

	topology_cpus(&pool.topology, h->node, &mask);
	cpus_and(&mask, allowed);
	if (cpus_has(&mask, team->caller_cpu)) {
		cpus_remove(&mask, team->caller_cpu);
		if (cpus_empty(&mask) && pool.oversubscribed)
			cpus_add(&mask, team->caller_cpu);
	}
	if (cpus_empty(&mask))
		return false;
	if (!pool.oversubscribed) {
		int seat = limits_sit(&mask, false);

		if (seat < 0)
			return false; /* h->seat stays: who lingers where it was may be called there again */
		h->seat = seat;
	}
	wanted = cpus_hash(&mask, facts_surveys()); /* CPUs that come and go change the masks of threads */
	if (!h->born && !give_birth(h, &mask)) {
		limits_stand(h->seat);
		return false;
	}
	/* Refused where the CPUs have just gone offline or out of the cpuset: then where it was is as good. */
	if (h->placed != wanted && pthread_setaffinity_np(h->thread, sizeof(mask), (const cpu_set_t *)&mask) == 0)
		h->placed = wanted;
	h->placed_by = team->caller;
	h->placed_off = team->caller_cpu;
	return true;
}

void pool_bring_up(void)
{
	const struct topology *t = &pool.topology;
	struct cpus allowed, mask;

	join();
	topology_allowed(pthread_self(), &allowed);
	for (int node = 0; node < t->nr_nodes; node++) {
		int nr;

		topology_cpus(t, node, &mask);
		cpus_and(&mask, &allowed);
		nr = pool.oversubscribed ? pool.nr_helpers : cpus_count(&mask);
		for (int id = pool.first[node]; id < pool.first[node + 1] && nr > 0; id++, nr--) {
			struct helper *h = take_idle(id);

			if (!h)
				continue; /* at work, so it is born */
			if (!h->born)
				give_birth(h, cpus_empty(&mask) ? &allowed : &mask);
			give_back_kept(h);
			set_idle(h);
		}
	}
	await_births();
}

/* Steps 2 and 3. Returns what time it is. */
static uint64_t call(struct team *team, struct helper *h)
{
	/* Nobody else writes it before it has CALLED. */
	uint32_t word = atomic_load_explicit(&h->word, memory_order_relaxed);
	uint64_t begin = clock_ns(), now = begin;
	bool newborn = (word & STATE) == PARKED && h->newborn;

	if (newborn && atomic_load_explicit(&h->tid, memory_order_relaxed))
		newborn = h->newborn = false; /* its thread has come up since */
	atomic_fetch_add_explicit(&team->nr_called, 1, memory_order_relaxed);
	atomic_fetch_or_explicit(&team->called[h->id / HELPER_BITS], UINT64_C(1) << (h->id % HELPER_BITS),
				 memory_order_relaxed);
	/* Its line last, and by stores alone: who lingers looks at it all the time, and the caller need not wait until it has it. */
	h->called_at = begin;
	atomic_store_explicit(&h->team, team, memory_order_relaxed);
	atomic_store_explicit(&h->word, (word + ONE_CALL) | CALLED, memory_order_release);
	PROBE2(helper__call, team, h->id);
	if ((word & STATE) == PARKED) {
		futex_wake(&h->word);
		now = clock_ns();
		if (!newborn) /* h is not ours any more */
			price_woke(now - begin);
	}
	return now;
}

/*
 * A place in the team. Acquires what those did who left it, a failure of the run for one: who comes after them
 * must know.
 */
static bool take_place(struct team *team)
{
	uint32_t here = atomic_load_explicit(&team->here, memory_order_relaxed);

	do {
		if ((here & ~TEAM_CALLER_SLEEPS) >= team->max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&team->here, &here, here + 1, memory_order_acquire,
							memory_order_relaxed));
	return true;
}

/* It waits awake where it was some 50 us ago, for the same caller. Whether that has since been confined is not looked up. */
static bool is_in_place(const struct helper *h, const struct team *team)
{
	return is_lingering(h) && pthread_equal(h->placed_by, team->caller) && h->placed_off == team->caller_cpu;
}

/* The one that this thread called last if it waits for that, or else the lowest. */
static struct helper *take_idle_of(int node)
{
	struct helper *h = pool_is_warm() && partner->node == node ? take_idle(partner->id) : NULL;

	return h ? h : take_lowest_idle(node);
}

/*
 * Step 1, on the given node or the nearest where the limits and the caller's affinity leave room. refused: one is idle, but
 * may not be called.
 */
static struct helper *take_helper(struct team *team, int node, bool *refused)
{
	const struct topology *t = &pool.topology;
	bool counted = false; /* by the limits */
	bool asked = false;   /* what the caller may use: once, not for each node */
	struct cpus allowed;

	for (int i = 0; i < t->nr_nodes; i++) {
		struct helper *h = take_idle_of(t->nodes[node].by_distance[i]);
		bool in_place;

		if (!h)
			continue;
		*refused = true;
		if (atomic_load_explicit(&h->lent, memory_order_relaxed))
			take_back(h); /* the mark came after it had left */
		in_place = is_in_place(h, team);
		if (h->keeps && in_place && limits_running() <= limits_max()) {
			h->keeps = false;
			if (counted)
				limits_give_back();
			return h;
		}
		give_back_kept(h);
		if (!counted && (retreat_forbids(limits_running()) || !limits_take())) {
			set_idle(h);
			return NULL;
		}
		counted = true;
		if (in_place && (pool.oversubscribed || limits_sit_at(h->seat, false)))
			return h;
		if (!asked)
			topology_allowed(team->caller, &allowed);
		asked = true;
		if (place(h, team, &allowed))
			return h;
		set_idle(h);
	}
	if (counted)
		limits_give_back();
	return NULL;
}

uint64_t team_call(struct team *team, int node)
{
	struct helper *h = NULL;
	bool refused;

	/* One that waits awake has all that it needs, and is at work already as far as others are concerned. */
	if (!pool_is_warm() && (retreat_forbids(limits_running()) || limits_full()))
		return TEAM_REFUSED;
	if (team->forks != pool_forks() || (!team->enrolled && !enroll(team)))
		return TEAM_REFUSED;
	if (!take_place(team))
		return TEAM_REFUSED;
	refused = !sit_down(team);
	if (!refused)
		h = take_helper(team, node < 0 ? team->home : node, &refused);
	if (!h) {
		give_place_back(team);
		if (!refused)
			return TEAM_NONE_IDLE;
		if (!pool.oversubscribed)
			limits_found_full();
		return TEAM_REFUSED;
	}
	partner = h;
	return call(team, h);
}

bool team_muster(struct team *team)
{
	return (team->enrolled || enroll(team)) && sit_down(team);
}

static void only_survey(struct team *team, int helper, int node, uint64_t now)
{
	(void)team, (void)helper, (void)node, (void)now; /* before it becomes idle again, like every other */
}

void pool_reset_surveyors(void)
{
	team_init(&pool.surveyors, only_survey, 1);
	pool.surveyors.first = true; /* called now and then */
	for (int i = 0; i < pool.nr_words; i++)
		atomic_init(&pool.surveyors.called[i], 0);
}

void pool_look_again(uint64_t now)
{
	struct helper *h = NULL;
	int cpu, home;

	if (pool_nr_helpers() == 0 || limits_machine_max() > 0 || !facts_are_stale(false, now) ||
	    !take_place(&pool.surveyors))
		return;
	home = topology_here(&pool.topology, &cpu);
	for (int i = 0; i < pool.topology.nr_nodes && !h; i++)
		h = take_lowest_idle(pool.topology.nodes[home].by_distance[i]);
	if (h)
		give_back_kept(h);
	if (h && !h->born && !give_birth(h, NULL)) {
		set_idle(h);
		h = NULL;
	}
	if (h)
		call(&pool.surveyors, h); /* wherever it may run */
	else
		give_place_back(&pool.surveyors);
}
