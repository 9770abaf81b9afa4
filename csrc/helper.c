/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * helper.c: what a helper does from its birth on: it waits for a call, answers, works, leaves, and is idle again. The
 * protocol, with its steps, is at the top of pool.c.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "facts.h"
#include "futex.h"
#include "limits.h"
#include "pool_private.h"
#include "price.h"
#include "priority.h"
#include "probes.h"
#include "tid.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* CPUs that come and go: a helper looks this far apart at most whether it was driven from its own. */
enum { STRAYED_NS = 10000000 };

/* A helper lingers no longer: about what waking it costs, so that it loses at most what it may win. */
enum { LINGER_NS = 50000 };

/* While it lingers: how often it lets others run, and the gap in its own time that tells that they did. */
enum { YIELD_NS = 2000, PREEMPTED_NS = 10000 };

/* It is to sleep, and gives back what it has kept. False: somebody has taken it, and calls it in a moment or leaves it. */
static bool park(struct helper *h)
{
	if (!is_idle(h->id) || !take_idle(h->id))
		return false;
	give_back_kept(h);
	/* No one writes this word but who has taken it. */
	atomic_store_explicit(&h->word, atomic_load_explicit(&h->word, memory_order_relaxed) ^ (LINGERING ^ PARKED),
			      memory_order_relaxed);
	set_idle(h);
	return true;
}

/* Waits awake for a call, until that no longer pays or somebody else wants the CPU. Was it looking when the call came? */
static bool linger(struct helper *h)
{
	uint64_t last = clock_ns(), end = last + LINGER_NS, yielded = last;
	bool looking = true, tired = false;

	atomic_store_explicit(&h->awake, true, memory_order_relaxed);
	while (!(atomic_load_explicit(&h->word, memory_order_relaxed) & CALLED)) {
		uint64_t now = clock_ns();

		looking = true;
		tired = tired || now >= end || now - last > PREEMPTED_NS;
		if (tired && park(h))
			break;
		last = now;
		/* Who has taken it, and does not call it yet, may be waiting for this CPU. */
		if (tired || now - yielded > YIELD_NS) {
			yielded = now;
			sched_yield();
			looking = false;
			continue;
		}
		for (int i = 0; i < 8 && !(atomic_load_explicit(&h->word, memory_order_relaxed) & CALLED); i++)
			clock_pause();
	}
	atomic_store_explicit(&h->awake, false, memory_order_relaxed);
	return looking;
}

/* Was it a thread of this process that it waited for? */
static bool waited_for_its_own(struct team *team, uint64_t now)
{
	return team->had_all && team->had_all(team, now);
}

/* Somebody else wants this helper's CPU: fewer of them from now on, and this one sleeps until it is called. */
static void go_home(struct helper *h, struct team *team, uint64_t now)
{
	PROBE2(helper__retreat, team, h->id);
	if (team) {
		atomic_fetch_add_explicit(&team->nr_retreated, 1, memory_order_relaxed);
		team_trace(team, KTASK_EVENT_RETREAT, h, now, now, 0);
	}
	/* In a team it is one of those at work. */
	retreat(limits_running() - (team ? 1 : 0), now);
	h->lingers = false;
}

bool pool_wants_back(int helper, uint64_t now)
{
	struct helper *h = &pool.helpers[helper];

	if (pool.stubborn || !waits_at_work(&h->waits, now) || waited_for_its_own(serving, now))
		return false;
	go_home(h, serving, now);
	return true;
}

bool pool_makes_way(int helper, uint64_t *now)
{
	struct helper *h = &pool.helpers[helper];
	uint64_t begin = *now;

	/* Also one that does not retreat: it had better lose its CPU here than with the lock in hand. */
	sched_yield();
	*now = clock_ns();
	if (pool.stubborn || *now - begin <= LATE_NS || !waits_late(&h->waits, *now))
		return false;
	go_home(h, serving, *now);
	return true;
}

static void sleep_until_woken(struct helper *h, uint32_t word)
{
	uint64_t now;

	waits_before_sleep(&h->waits);
	futex_wait(&h->word, word, FUTEX_FOREVER);
	if (!pool.stubborn)
		sched_yield(); /* whoever wants this CPU goes first, while it can still be sent home */
	now = clock_ns();
	waits_after_sleep(&h->waits, now);
	/* Sent home before it came: then it is asked here whether it would have come late. */
	if (!(atomic_load_explicit(&h->word, memory_order_relaxed) & CALLED) && !pool.stubborn) {
		atomic_store_explicit(&h->unanswered_ns, 0, memory_order_relaxed); /* it has come */
		if (waits_late(&h->waits, now))
			go_home(h, NULL, now);
	}
}

/* What it did when it was called: something else, or it waited awake, or slept. */
enum found { BUSY, LOOKING, ASLEEP };

/* Steps 4 and 5. */
static enum found await_call(struct helper *h)
{
	for (enum found found = BUSY;;) {
		uint32_t word = atomic_load_explicit(&h->word, memory_order_relaxed);

		if (word & CALLED) {
			if (atomic_compare_exchange_strong_explicit(&h->word, &word,
								    (word & ~(uint32_t)(STATE | CALLED)) | RUNNING,
								    memory_order_acq_rel, memory_order_relaxed))
				return found;
		} else if ((word & STATE) == LINGERING) {
			found = linger(h) ? LOOKING : BUSY;
		} else {
			sleep_until_woken(h, word);
			found = ASLEEP;
		}
	}
}

/* Step 6. */
static void leave(struct helper *h, struct team *team)
{
	unsigned lent;
	uint32_t here;

	/*
	 * This and the loads of the mark, here and in take_back, are sequentially consistent, as are their counterparts in
	 * will_one: either this helper sees what it was lent, or the caller sees that it has left, or both. Then the loan
	 * goes back; but not before the caller can go on, who waits as long as this helper has no CPU.
	 */
	atomic_fetch_and(&team->called[h->id / HELPER_BITS], ~(UINT64_C(1) << (h->id % HELPER_BITS)));
	lent = atomic_load(&h->lent);
	h->keeps = team != &pool.surveyors;
	if (!h->lingers || limits_running() > limits_max())
		give_back_kept(h);
	here = atomic_fetch_sub_explicit(&team->here, 1, memory_order_acq_rel);
	if (here & TEAM_CALLER_SLEEPS && (lent || here == (TEAM_CALLER_SLEEPS | 1)))
		futex_wake(&team->here);
	take_back(h);
}

/* Step 7. */
static void become_idle(struct helper *h)
{
	uint32_t word = atomic_load_explicit(&h->word, memory_order_relaxed);

	h->idle_since = clock_ns();
	atomic_store_explicit(&h->word, (word & ~(uint32_t)STATE) | (h->lingers ? LINGERING : PARKED),
			      memory_order_relaxed);
	set_idle(h);
}

/* A thread function has ended this thread: the next call makes another one. */
static void helper_ends(void *arg)
{
	struct helper *h = arg;

	h->born = false;
	h->lingers = false;
	waits_close(&h->waits);
	h->waits = (struct waits){ 0 };
	leave(h, serving);
	become_idle(h);
}

/*
 * When the last CPU goes offline that a thread may use, Linux lets it use all for good. Then the next call has to place
 * this helper anew.
 */
static void notice_if_strayed(struct helper *h)
{
	struct cpus now, own;

	topology_allowed(pthread_self(), &now);
	topology_cpus(&pool.topology, h->node, &own);
	for (int i = 0; i < CPUS_WORDS; i++) {
		if (now.word[i] & ~own.word[i]) {
			h->placed = 0;
			h->placed_off = -1;
			return;
		}
	}
}

void *helper_main(void *arg)
{
	struct helper *h = arg;
	unsigned forks = pool_forks();
	char name[32];

	snprintf(name, sizeof(name), "ktask/%d.%d", pool.topology.nodes[h->node].nid, h->id - pool.first[h->node]);
	name[15] = '\0'; /* what the kernel keeps */
	pthread_setname_np(pthread_self(), name);
	/* Who may use it has acquired a word that this thread writes later, or can do with 0. */
	atomic_store_explicit(&h->tid, this_tid(), memory_order_relaxed);
	thread_number = h->id + 1;
	waits_open(&h->waits);
	priority_step_back();
	if (atomic_fetch_sub_explicit(&pool.coming, 1, memory_order_relaxed) == 1)
		futex_wake(&pool.coming);
	for (;;) {
		struct team *team;
		uint64_t now, answer;
		enum found found = await_call(h);
		bool forward, late;

		team = atomic_load_explicit(&h->team, memory_order_relaxed);
		now = clock_ns();
		answer = clock_since(h->called_at, now);
		/* Where there is something to take off: who else has this line, keeps it. */
		if (atomic_load_explicit(&h->unanswered_ns, memory_order_relaxed))
			atomic_store_explicit(&h->unanswered_ns, 0, memory_order_relaxed);
		h->lingers = team->hot || clock_since(h->idle_since, h->called_at) < LINGER_NS;
		serving = team;
		/* Where it works under a lock, others wait for it. */
		forward = team->shares_lock && priority_privileged();
		if (forward)
			change_nice(h, team->nice);
		PROBE3(helper__come, team, h->id, answer);
		team_trace(team, KTASK_EVENT_CALL, h, h->called_at, h->called_at + answer, 0);
		if (found == LOOKING && answer <= PREEMPTED_NS / 2 && price_is_told(now))
			price_answered_awake(answer);
		else if (found == ASLEEP && !h->newborn && !team->first)
			price_answered(answer);
		late = answer > LATE_NS && !pool.stubborn && team != &pool.surveyors && waits_late(&h->waits, now);
		if (found == ASLEEP && !late && team != &pool.surveyors)
			retreat_came(limits_running(), now);
		if (late && !waited_for_its_own(team, now)) {
			go_home(h, team, now);
		} else {
			pthread_cleanup_push(helper_ends, h);
			team->work(team, h->id, h->node, now);
			pthread_cleanup_pop(0);
		}
		serving = NULL;
		if (h->newborn) /* else that line stays where it is */
			h->newborn = false;
		/* The thread function forked, and this is the child: a pthread's return would end it with exit(0), too. */
		if (pool_forks() != forks)
			exit(0);
		leave(h, team);
		/* Now that nobody waits for it any more; but the next run may want it at once. */
		if (answer > PREEMPTED_NS / 2 && now - h->looked > STRAYED_NS) {
			notice_if_strayed(h);
			h->looked = now;
		}
		if (forward)
			change_nice(h, HELPERS_NICE);
		if (facts_are_stale(false, h->called_at))
			facts_survey(false);
		become_idle(h);
	}
	return NULL;
}
