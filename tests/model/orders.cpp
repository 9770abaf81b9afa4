/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * orders.cpp: the memory orders that the protocol at the top of csrc/pool.c relies on, each in the smallest program that
 * needs it, with the names, steps and orders of the code. Relacy runs through all interleavings, and through all values
 * that a load may return under C11: so what only a weakly ordered processor does shows here too. It looks for data races
 * on plain variables (rl::var). A thread that sees that it came too early just ends.
 *
 * CONFIG all executions:
 *
 * BUG 1: CALLED is added relaxed (step 3)
 * BUG 2: the call is answered relaxed (step 5)
 * BUG 3: the idle bit is set relaxed (step 7)
 * BUG 4: the idle bit is cleared relaxed (step 1)
 * BUG 5: a helper leaves with a relaxed subtraction (step 6)
 * BUG 6: the caller looks at team->here relaxed (step 9)
 * BUG 7: dismiss loads the word relaxed (step 8)
 * BUG 8: a place in the team is taken relaxed (step 1)
 * BUG 9: the mark of a willed helper is taken relaxed (step 6)
 * BUG 10: the caller marks a willed helper relaxed
 * BUG 11: the pool is declared started with a relaxed store
 * BUG 12: the caller says that it sleeps with a store, not a read-modify-write (step 9)
 * BUG 13: a seat is taken acquire-release (limits.c, step 6)
 * BUG 14: the seats of a group are counted relaxed (limits.c, step 7)
 */
#include <cstdlib>
#include <iostream>
#include <sstream>

#include <relacy/relacy.hpp>

/* The first argument; 0: none. */
static int BUG;

static const rl::memory_order relaxed = rl::mo_relaxed, acquire = rl::mo_acquire, release = rl::mo_release,
			      acq_rel = rl::mo_acq_rel, seq_cst = rl::mo_seq_cst;

enum { PARKED = 0, RUNNING = 2, STATE = 3, CALLED = 4, ONE_CALL = 8 };
static const unsigned CALLER_SLEEPS = 1u << 31;

/* Steps 2 to 5: the helper sees its team, and all of the run. */
struct calling : rl::test_suite<calling, 2> {
	rl::atomic<unsigned> word;
	rl::atomic<int> team;
	rl::var<int> run;

	void before()
	{
		word($) = PARKED;
		team($) = 0;
		run($) = 0;
	}

	void thread(unsigned helper)
	{
		if (!helper) {
			unsigned seen = word($).load(relaxed);

			run($) = 1;
			team($).store(1, relaxed);
			word($).store((seen + ONE_CALL) | CALLED, BUG == 1 ? relaxed : release);
			return;
		}
		unsigned seen = word($).load(relaxed);

		if (seen & CALLED && word($).compare_exchange_strong(seen, (seen & ~(STATE | CALLED)) | RUNNING,
								     BUG == 2 ? relaxed : acq_rel, relaxed)) {
			RL_ASSERT(team($).load(relaxed) == 1);
			RL_ASSERT(run($) == 1);
		}
	}
};

/* Steps 7 and 1: who takes an idle helper finds what its last owner has written, and its word as it is left. */
struct owning : rl::test_suite<owning, 3> {
	rl::atomic<unsigned> idle, word;
	rl::var<int> idle_since;

	void before()
	{
		idle($) = 0;
		word($) = RUNNING;
		idle_since($) = 0;
	}

	void thread(unsigned taker)
	{
		if (!taker) {
			idle_since($) = 1;
			word($).store(PARKED, relaxed);
			idle($).fetch_or(1, BUG == 3 ? relaxed : release);
			return;
		}
		if (idle($).fetch_and(~1u, BUG == 4 ? relaxed : acquire) & 1) {
			RL_ASSERT(idle_since($) == 1);
			RL_ASSERT((word($).load(relaxed) & STATE) == PARKED);
			idle_since($) = 2;
		}
	}
};

/* Steps 6 and 9: the caller that sees 0 finds what all the helpers have done, though it marked itself in between. */
struct gathering : rl::test_suite<gathering, 3> {
	rl::atomic<unsigned> here;
	rl::var<int> done[2];

	void before()
	{
		here($) = 2;
		done[0]($) = done[1]($) = 0;
	}

	void thread(unsigned helper)
	{
		if (helper < 2) {
			done[helper]($) = 1;
			here($).fetch_sub(1, BUG == 5 ? relaxed : acq_rel);
			return;
		}
		unsigned seen = here($).load(relaxed);

		if (BUG == 12)
			here($).store(seen | CALLER_SLEEPS, relaxed);
		else if (seen)
			here($).compare_exchange_strong(seen, seen | CALLER_SLEEPS, relaxed, relaxed);
		here($).fetch_and(~CALLER_SLEEPS, relaxed);
		if (here($).load(BUG == 6 ? relaxed : acquire) == 0)
			RL_ASSERT(done[0]($) + done[1]($) == 2);
	}

	/* What each subtracted has arrived: a store would have lost one. */
	void after()
	{
		RL_ASSERT(here($).load(relaxed) == 0);
	}
};

/*
 * Step 8: team 0's helper has left, and team 1 has taken and called it. Who sees that CALLED sees that team too, and so
 * leaves it alone.
 */
struct dismissing : rl::test_suite<dismissing, 2> {
	rl::atomic<unsigned> word;
	rl::atomic<int> team;

	void before()
	{
		word($) = PARKED;
		team($) = 0;
	}

	void thread(unsigned caller)
	{
		if (caller == 1) {
			unsigned seen = word($).load(relaxed);

			team($).store(1, relaxed);
			word($).store((seen + ONE_CALL) | CALLED, release);
			return;
		}
		unsigned seen = word($).load(BUG == 7 ? relaxed : acquire);

		if (seen & CALLED && team($).load(relaxed) == 0)
			RL_ASSERT(!word($).compare_exchange_strong(seen, seen & ~CALLED, acq_rel, relaxed));
	}
};

/* Step 1: a helper fails and leaves; who takes its place, and whom he calls, knows. There is one place. */
struct succeeding : rl::test_suite<succeeding, 3> {
	rl::atomic<unsigned> here, word;
	rl::atomic<int> error;

	void before()
	{
		here($) = 1;
		word($) = PARKED;
		error($) = 0;
	}

	void thread(unsigned who)
	{
		unsigned seen;

		switch (who) {
		case 0: /* the helper that fails */
			error($).store(5, relaxed);
			here($).fetch_sub(1, acq_rel);
			break;
		case 1: /* the caller */
			seen = here($).load(relaxed);
			if (seen == 0 && here($).compare_exchange_strong(seen, seen + 1, BUG == 8 ? relaxed : acquire, relaxed))
				word($).fetch_or(CALLED, release);
			break;
		default: /* the helper that it calls */
			if (word($).load(acquire) & CALLED)
				RL_ASSERT(error($).load(relaxed) == 5);
		}
	}
};

/* leave and will_one: the helper sees that it was willed, or the caller sees that it has left. */
struct willing : rl::test_suite<willing, 2> {
	rl::atomic<unsigned> called, willed;
	bool helper_saw, caller_saw;

	void before()
	{
		called($) = 1;
		willed($) = 0;
		helper_saw = caller_saw = false;
	}

	void thread(unsigned caller)
	{
		if (!caller) {
			called($).fetch_and(~1u, BUG == 9 ? relaxed : seq_cst);
			helper_saw = willed($).load(BUG == 9 ? relaxed : seq_cst) == 1 && willed($).exchange(0, seq_cst) == 1;
		} else {
			willed($).exchange(1, BUG == 10 ? relaxed : seq_cst);
			caller_saw = (called($).load(BUG == 10 ? relaxed : seq_cst) & 1) == 0;
		}
	}

	void after()
	{
		RL_ASSERT(helper_saw || caller_saw);
	}
};

/* limits_sit_at: of two that take the seats of a group that has one too many, one counts both. */
struct sitting : rl::test_suite<sitting, 2> {
	rl::atomic<unsigned> seat[2];
	bool keeps[2];

	void before()
	{
		seat[0]($) = seat[1]($) = 0;
		keeps[0] = keeps[1] = false;
	}

	void thread(unsigned me)
	{
		unsigned nobody = 0, n = 0;

		seat[me]($).compare_exchange_strong(nobody, me + 1, BUG == 13 ? acq_rel : seq_cst, relaxed);
		for (unsigned cpu = 0; cpu < 2; cpu++)
			n += seat[cpu]($).load(BUG == 14 ? relaxed : seq_cst) != 0;
		keeps[me] = n <= 1;
	}

	void after()
	{
		RL_ASSERT(!(keeps[0] && keeps[1]));
	}
};

/* pool_start: who sees that the pool stands sees its tables. */
struct starting : rl::test_suite<starting, 2> {
	rl::atomic<int> state;
	rl::var<int> tables;

	void before()
	{
		state($) = 0;
		tables($) = 0;
	}

	void thread(unsigned late)
	{
		if (!late) {
			tables($) = 1;
			state($).store(1, BUG == 11 ? relaxed : release);
		} else if (state($).load(acquire) == 1) {
			RL_ASSERT(tables($) == 1);
		}
	}
};

template <typename test> static void explore(const char *name)
{
	std::ostringstream text;
	rl::test_params params;

	params.search_type = rl::sched_full;
	params.iteration_count = 100000000;
	params.output_stream = params.progress_stream = &text;
	if (rl::simulate<test>(params))
		std::cout << "OK: " << params.stop_iteration << std::endl;
	else
		std::cout << "FAILED: " << name << ", " << rl::test_result_str(params.test_result) << std::endl;
}

int main(int argc, char **argv)
{
	BUG = argc > 1 ? std::atoi(argv[1]) : 0;
	explore<calling>("calling");
	explore<owning>("owning");
	explore<gathering>("gathering");
	explore<dismissing>("dismissing");
	explore<succeeding>("succeeding");
	explore<willing>("willing");
	explore<sitting>("sitting");
	explore<starting>("starting");
	std::cout << "DONE" << std::endl;
}
