/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gather.c: how a caller ends its team: it sends home who has not begun, and waits for the others. The protocol, with its
 * steps, is at the top of pool.c.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "futex.h"
#include "limits.h"
#include "pool_private.h"
#include "price.h"
#include "probes.h"

/* How often a caller looks whether its helpers have left, between two looks at other things: some 0.1 to 0.4 us. */
enum { LOOKS = 8 };

/* Step 8, for every helper that has not begun. */
static void dismiss(struct team *team)
{
	for (int i = 0; i < pool.nr_words; i++) {
		uint64_t bits = atomic_load_explicit(&team->called[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			struct helper *h = &pool.helpers[i * HELPER_BITS + __builtin_ctzll(bits)];
			/* Acquires helper->team of that call, or of a later one, after which the exchange fails. */
			uint32_t word = atomic_load_explicit(&h->word, memory_order_acquire);
			uint32_t free = word & ~(uint32_t)CALLED;
			uint64_t now, unanswered;
			bool silent;

			/* On its way already: then it had better stay awake for the next run. */
			if (team->hot)
				free = (free & ~(uint32_t)STATE) | LINGERING;

			if (!(word & CALLED) || atomic_load_explicit(&h->team, memory_order_relaxed) != team ||
			    !atomic_compare_exchange_strong_explicit(&h->word, &word, free, memory_order_acq_rel,
								     memory_order_relaxed))
				continue;
			atomic_fetch_and_explicit(&team->called[i], ~(bits & -bits), memory_order_relaxed);
			/* Willed when it was in this team before, in the moment it left. */
			take_back(h);
			limits_stand(h->seat);
			limits_give_back();
			give_place_back(team);
			team->nr_cancelled++;
			now = clock_ns();
			unanswered = clock_since(h->called_at, now); /* perhaps by another thread */
			PROBE2(helper__dismiss, team, h->id);
			team_trace(team, KTASK_EVENT_DISMISS, h, h->called_at, h->called_at + unanswered, 0);
			if (!h->newborn && !team->first)
				price_unanswered(unanswered);
			/* The helper may come at this very moment, and set it to 0: then one of the two is lost. */
			unanswered += atomic_load_explicit(&h->unanswered_ns, memory_order_relaxed);
			silent = unanswered > retreat_patience_ns(price_answer_ns(), now) && !pool.stubborn;
			atomic_store_explicit(&h->unanswered_ns, silent ? 0 : unanswered, memory_order_relaxed);
			set_idle(h);
			if (silent)
				retreat_unanswered(limits_running(), now);
		}
	}
}

/* Has the last helper left? Looks for a moment, without touching what helpers still write. */
static bool is_gone(const struct team *team)
{
	for (int i = 0; i < LOOKS; i++) {
		if (atomic_load_explicit(&team->here, memory_order_acquire) == 0)
			return true;
		clock_pause();
	}
	return false;
}

static bool gather(struct team *team, uint64_t timeout_ns)
{
	struct wait wait = { 0 };
	uint64_t begin, look_until;

	if (is_gone(team))
		return true;
	dismiss(team);
	/* Going to sleep and being woken costs about as much as a wake, so looking that long at most doubles it. */
	begin = clock_ns();
	look_until = begin + price_wake_ns();
	while (!is_gone(team) && clock_ns() < look_until)
		;
	while (atomic_load_explicit(&team->here, memory_order_acquire) != 0) {
		uint64_t now = clock_ns(), rest = timeout_ns - (now - begin);
		uint32_t here;

		if (now - begin >= timeout_ns)
			return false;
		dismiss(team);
		here = atomic_load_explicit(&team->here, memory_order_relaxed);
		will_one(team, &wait);
		if (wait.helper && !wait.settled && rest > STARVED_NS)
			rest = STARVED_NS;
		/* Whoever left after the load, the willed one for one, has changed the word: then there is news. */
		if (here != 0 && atomic_compare_exchange_strong_explicit(&team->here, &here, here | TEAM_CALLER_SLEEPS,
									 memory_order_relaxed, memory_order_relaxed))
			futex_wait(&team->here, here | TEAM_CALLER_SLEEPS, rest);
		atomic_fetch_and_explicit(&team->here, ~TEAM_CALLER_SLEEPS, memory_order_relaxed);
	}
	return true;
}

void caller_stands(void)
{
	limits_stand(caller_seat);
	caller_seat = -1;
}

bool team_gather(struct team *team, uint64_t timeout_ns)
{
	if (!gather(team, timeout_ns))
		return false;
	if (team->took_seat && team->forks == pool_forks()) /* after a fork, it is the parent's */
		caller_stands();
	team->took_seat = false;
	if (not_gathered == team)
		not_gathered = NULL;
	return true;
}
