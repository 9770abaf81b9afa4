/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A run that is known to be over before a helper that waits awake could help is one plain call: with the same results as any other, and
 * what is learned from it misleads no longer run. And what the memory of costs keeps, and what it does not.
 */
#include "check.h"

#include <sched.h>
#include <stdbool.h>
#include <time.h>

#include "../../csrc/chunk.h"
#include "../../csrc/clock.h"

enum { UNITS = 8 };

struct seen {
	unsigned char done[UNITS];
	int calls, moves, undone, result;
};

static int mark(unsigned char *start, unsigned char *end, struct seen *seen)
{
	seen->calls++;
	if (seen->result)
		return seen->result;
	while (start < end)
		(*start++)++;
	return KTASK_RETURN_SUCCESS;
}

static void unmark(unsigned char *start, unsigned char *end, struct seen *seen)
{
	seen->undone++;
	while (start < end)
		(*start++)--;
}

static struct seen *moved_for;

static unsigned char *move(unsigned char *position, size_t size)
{
	moved_for->moves++;
	return position + size;
}

static const char quick, refused;

/* So few units as are run here have a name of their own. */
static const void *few(const void *identity)
{
	return cost_name(identity, true);
}

static const struct cost one_ns = { .ns_per_unit = 1 }, unknown = { 0 }, waiting = { .flags = COST_WAITS };

/* Runs all units, known to take 1 ns each. */
static int run(struct seen *seen, struct ktask_ctl *ctl)
{
	cost_remember(few(&quick), one_ns, unknown);
	ktask_ctl_set_identity(ctl, &quick);
	ktask_ctl_set_undo_func(ctl, unmark);
	return ktask_run(seen->done, UNITS, ctl);
}

static void one_call_does_it(void)
{
	struct seen seen = { .result = 0 };
	DEFINE_KTASK_CTL(ctl, mark, &seen, 1);

	for (int i = 1; i <= 3; i++) {
		CHECK(run(&seen, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(seen.calls == i);
		for (int u = 0; u < UNITS; u++)
			CHECK(seen.done[u] == i);
	}
	CHECK(ktask_run(seen.done, 0, &ctl) == KTASK_RETURN_SUCCESS && seen.calls == 3);
}

static void iterators_are_asked_once(void)
{
	struct seen seen = { .result = 0 };
	DEFINE_KTASK_CTL(ctl, mark, &seen, 1);

	moved_for = &seen;
	ktask_ctl_set_iter_func(&ctl, move);
	CHECK(run(&seen, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(seen.calls == 1 && seen.moves == 1 && seen.done[UNITS - 1] == 1);
}

/* What failed has cleaned up after itself, and nothing else was finished. */
static void failures_undo_nothing(void)
{
	struct seen seen = { .result = 42 };
	DEFINE_KTASK_CTL(ctl, mark, &seen, 1);

	CHECK(run(&seen, &ctl) == 42);
	CHECK(seen.calls == 1 && seen.undone == 0);
	CHECK(cost_recall(few(&quick)).ns_per_unit == 1); /* of a failure nothing is learned */
}

/* Also with the report that a run of more chunks would give. */
static void reports_are_filled_in(void)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	struct seen seen = { .result = 0 };
	DEFINE_KTASK_CTL(ctl, mark, &seen, 1);

	ktask_ctl_set_report(&ctl, &report);
	CHECK(run(&seen, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(report.kr_chunks == 1 && report.kr_threads == 1 && report.kr_called == 0);
	CHECK(report.kr_error == 0 && report.kr_error_start == NULL && report.kr_error_end == NULL);

	seen.result = 42;
	CHECK(run(&seen, &ctl) == 42);
	CHECK(report.kr_error == 42 && report.kr_chunks == 1 && report.kr_undone == 0);
	CHECK(report.kr_error_start == seen.done && report.kr_error_end == seen.done + UNITS);
}

/* However little is known to be enough, what has to be refused is. */
static void sizes_are_looked_at(void)
{
	DEFINE_KTASK_CTL(ctl, mark, NULL, 1);

	cost_remember(cost_name(&refused, false), (struct cost){ .ns_per_unit = 1e-18 }, unknown);
	cost_remember(few(&refused), (struct cost){ .ns_per_unit = 1e-18 }, unknown);
	ktask_ctl_set_identity(&ctl, &refused);
	CHECK(ktask_run(AT(0), KTASK_MAX_SIZE + 1, &ctl) < 0);
	CHECK(ktask_run(AT(UINTPTR_MAX - 1), 4, &ctl) < 0);
}

static void memory_keeps_what_is_news(void)
{
	static const char work;
	struct cost long_run = cost_measured(1000, 1000000, unknown);

	CHECK(long_run.ns_per_unit == 1000 && !(long_run.flags & COST_ROUGH));
	CHECK(cost_recall(&work).ns_per_unit == 0);
	cost_remember(&work, long_run, unknown);
	CHECK(cost_recall(&work).ns_per_unit > 999 && !(cost_recall(&work).flags & COST_ROUGH));

	/* A unit alone took 900 ns more: that was the call, or a cold cache. */
	cost_remember(&work, cost_measured(1, 1900, unknown), cost_recall(&work));
	CHECK(cost_recall(&work).ns_per_unit < 1001 && !(cost_recall(&work).flags & (COST_CONFIRMED | COST_ROUGH)));
	/* It cannot be more than it took in all. */
	cost_remember(&work, cost_measured(2, 500, unknown), cost_recall(&work));
	CHECK((cost_recall(&work).flags & COST_ROUGH) && cost_recall(&work).ns_per_unit < 251);
	/* A better measure replaces a rough one, whatever it says. */
	cost_remember(&work, cost_measured(100, 50000, unknown), cost_recall(&work));
	CHECK(!(cost_recall(&work).flags & COST_ROUGH) && cost_recall(&work).ns_per_unit > 499 &&
	      !(cost_recall(&work).flags & COST_CONFIRMED));
	/* About the same confirms it; that helpers wait is news. */
	cost_remember(&work, cost_measured(100, 51000, unknown), cost_recall(&work));
	CHECK(cost_recall(&work).ns_per_unit < 501 && (cost_recall(&work).flags & COST_CONFIRMED) &&
	      !(cost_recall(&work).flags & COST_ROUGH));
	cost_remember(&work, cost_measured(1, 1900, unknown), cost_recall(&work));
	CHECK(cost_recall(&work).ns_per_unit < 501 && (cost_recall(&work).flags & COST_CONFIRMED));
	cost_remember(&work, cost_measured(100, 51000, waiting), cost_recall(&work));
	CHECK(cost_recall(&work).ns_per_unit > 509 && (cost_recall(&work).flags & COST_WAITS) &&
	      !(cost_recall(&work).flags & COST_CONFIRMED));
	cost_remember(&work, cost_measured(100, 110000, unknown), cost_recall(&work));
	CHECK(cost_recall(&work).ns_per_unit > 1099 && !(cost_recall(&work).flags & COST_WAITS));
}

/* An eighth more or less is news, and any first measure. Up to twice as much confirms a sixteenth more than what is known. */
static void news(void)
{
	static const struct {
		uint64_t ns;
		double remembered;
		bool confirmed;
	} runs[] = {
		{ 400000, 400, false },	   { 875000, 875, false },    { 876000, 1000, true },
		{ 1000000, 1000, true },   { 1124000, 1000, true },   { 1125000, 1062.5, true },
		{ 1500000, 1062.5, true }, { 2000000, 1062.5, true }, { 2000001, 2000, false },
		{ 7000000, 7000, false },
	};
	static const char work, rough;
	struct cost before = cost_measured(1000, 1000000, unknown);

	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		struct cost now;

		cost_remember(&work, before, unknown);
		CHECK(!(cost_recall(&work).flags & COST_CONFIRMED));
		cost_remember(&work, cost_measured(1000, runs[i].ns, unknown), before);
		now = cost_recall(&work);
		CHECK(now.ns_per_unit > runs[i].remembered - 1 && now.ns_per_unit < runs[i].remembered + 1);
		CHECK(!(now.flags & COST_CONFIRMED) == !runs[i].confirmed);
	}
	cost_remember(&rough, cost_measured(1, 500, unknown), unknown);
	CHECK(cost_recall(&rough).ns_per_unit > 499 && (cost_recall(&rough).flags & COST_ROUGH));
	/* A rough measure confirms nothing new, and is not confirmed. */
	cost_remember(&work, before, unknown);
	cost_remember(&work, cost_measured(3, 1500, unknown), cost_recall(&work));
	CHECK(!(cost_recall(&work).flags & COST_CONFIRMED));
	cost_remember(&rough, cost_measured(1, 400, unknown), cost_recall(&rough));
	CHECK(!(cost_recall(&rough).flags & COST_CONFIRMED));
	cost_remember(&rough, cost_measured(10, 5500, unknown), cost_recall(&rough));
	CHECK(!(cost_recall(&rough).flags & (COST_CONFIRMED | COST_ROUGH)));
}

/* In so many runs of these costs in turns, how often was more confirmed than the cheaper ones can bear? */
static int too_much(const uint64_t *ns, int nr, int runs)
{
	static const char work;
	int n = 0;

	cost_remember(&work, cost_measured(1000, ns[0], unknown), unknown);
	for (int i = 1; i < runs; i++) {
		struct cost known = cost_recall(&work);

		n += known.flags & COST_CONFIRMED && known.ns_per_unit > 1.25 * (double)ns[i % nr] / 1000;
		cost_remember(&work, cost_measured(1000, ns[i % nr], unknown), known);
	}
	return n;
}

static void what_is_confirmed_can_be_borne(void)
{
	static const uint64_t alternating[] = { 1000000, 2000000 },
			      now_and_then[] = { 1000000, 1000000, 1000000, 1900000 };
	static const uint64_t three[] = { 4000000, 2000000, 1000000 };
	static const uint64_t falling[] = {
		128000000, 64000000, 32000000, 16000000, 8000000, 4000000, 2000000, 1000000
	};

	CHECK(too_much(alternating, 2, 1000) == 0);
	CHECK(too_much(now_and_then, 4, 1000) == 0);
	CHECK(too_much(three, 3, 1000) == 0);
	CHECK(too_much(falling, 8, 8) == 0);
}

/* What has risen for good is believed after some runs. */
static void a_cost_that_rises_is_believed(void)
{
	static const char work;
	int runs = 0;

	cost_remember(&work, cost_measured(1000, 1000000, unknown), unknown);
	for (; cost_recall(&work).ns_per_unit < 1400; runs++)
		cost_remember(&work, cost_measured(1000, 1600000, unknown), cost_recall(&work));
	CHECK(runs == 6 && cost_recall(&work).flags & COST_CONFIRMED);
}

/* To learn is to measure and to remember, if sometimes on a shorter way. */
static void learns(struct cost known, size_t units, uint64_t ns)
{
	static const char work;
	struct cost learned;

	cost_remember(&work, known, unknown);
	known = cost_recall(&work);
	cost_learn(&work, units, ns, known);
	learned = cost_recall(&work);
	cost_remember(&work, known, unknown);
	cost_remember(&work, cost_measured(units, ns, known), known);
	known = cost_recall(&work);
	CHECK(learned.ns_per_unit == known.ns_per_unit && learned.flags == known.flags);
}

static void learning(void)
{
	static const size_t units[] = { 1, 7, 100 };

	for (unsigned flags = 0; flags < 64; flags++) {
		for (uint64_t all = 500; all < 10000; all *= 2) {
			for (size_t u = 0; u < 3; u++)
				for (uint64_t ns = 1; ns < 30000; ns += ns / 50 + 1)
					learns((struct cost){ (double)all / (double)units[u], flags }, units[u], ns);
			learns((struct cost){ (double)all, flags }, 1, 2000); /* not rough any more */
		}
	}
	cost_learn(&refused, 4, 100, unknown);
	CHECK(cost_recall(&refused).ns_per_unit > 24 && cost_recall(&refused).ns_per_unit < 26);
}

static void small_costs(void)
{
	static const char work;
	struct cost none = cost_recall(NULL);

	CHECK(none.ns_per_unit == 0 && !(none.flags & COST_WAITS) && !(none.flags & COST_ROUGH) &&
	      !(none.flags & COST_CONFIRMED));
	CHECK(cost_measured(4, 0, unknown).ns_per_unit == 0.25); /* less than the clock can tell */
	CHECK((cost_measured(1, 1999, unknown).flags & COST_ROUGH) &&
	      !(cost_measured(1, 2000, unknown).flags & COST_ROUGH));
	cost_remember(&work, cost_measured(2000000, 1000000, unknown), unknown);
	CHECK(cost_recall(&work).ns_per_unit == 0.5 && !(cost_recall(&work).flags & COST_WAITS));
}

/* Whatever the last bits of a cost, they do not say what it is not. */
static void costs_say_what_they_are(void)
{
	static const char work;

	for (size_t units = 1; units <= 100; units++) {
		cost_remember(&work, cost_measured(units, 1000003, unknown), unknown);
		CHECK(!(cost_recall(&work).flags & COST_ROUGH) && !(cost_recall(&work).flags & COST_CONFIRMED));
		CHECK(cost_recall(&work).ns_per_unit > 999990.0 / (double)units);
		CHECK(cost_recall(&work).ns_per_unit < 1000010.0 / (double)units);
	}
}

static void costs_may_vary(void)
{
	const unsigned both = COST_DECEIVED | COST_VARIES;
	static const char work;
	struct cost cheap = cost_measured(100, 3001, unknown), dear = cost_measured(100, 60001, cheap);
	struct cost cheap_again = cost_measured(100, 3001, dear), eighth = { .ns_per_unit = 100 };
	struct cost little = { .ns_per_unit = 0.0001 };

	CHECK(!(cheap.flags & both));
	CHECK(!(cost_measured(100, 60001, unknown).flags & both));
	CHECK(!(cost_measured(100, 40001, cheap).flags & both)); /* no helper would have come in time */
	CHECK(!(cost_measured(1000, 60001, cheap).flags & both));
	CHECK(!(cost_measured(100, 50000, cheap).flags & both) && cost_measured(100, 50001, cheap).flags & both);
	CHECK(cost_measured(1000000, 60001, little).flags & both);
	CHECK(!(cost_measured(100, 80000, eighth).flags & both) && cost_measured(100, 80001, eighth).flags & both);

	CHECK((dear.flags & both) == COST_DECEIVED && (cheap_again.flags & both) == COST_DECEIVED);
	CHECK((cost_measured(100, 60001, cheap_again).flags & both) == both);
	CHECK(!(cost_measured(100, 3008, dear).flags & both)); /* forgotten, one time in 8 */

	dear.flags |= COST_VARIES;
	CHECK(cost_measured(100, 3008, dear).flags & COST_VARIES);
	CHECK(!(cost_measured(100, 3072, dear).flags & both)); /* one time in 128 */
	CHECK((cost_measured(100, 60416, cheap_again).flags & both) == both);
	cost_remember(&work, dear, cheap);
	CHECK((cost_recall(&work).flags & both) == both);
}

/* Within 1.3 times; and in so little that it does not matter, 2 us or half of it. */
static void as_dear_as_known(void)
{
	const struct cost known = { .ns_per_unit = 10 };

	CHECK(cost_is_as_known(10000, 131999, known) && !cost_is_as_known(10000, 132000, known));
	CHECK(!cost_is_as_known(10000, 75384, known) && cost_is_as_known(10000, 75385, known));
	CHECK(cost_is_as_known(400, 7199, known) && !cost_is_as_known(400, 7200, known));
	CHECK(!cost_is_as_known(400, 1538, known) && cost_is_as_known(400, 1539, known));
	CHECK(cost_is_as_known(100, 1799, known) && !cost_is_as_known(100, 1800, known)); /* half of what there is */
	CHECK(cost_is_as_known(100, 385, known) && !cost_is_as_known(100, 384, known));
}

static int sleep_if(void *start, void *end, void *dear)
{
	struct timespec t = { .tv_nsec = 200000 };

	for (uintptr_t n = (uintptr_t)end - (uintptr_t)start; *(bool *)dear && n; n--)
		nanosleep(&t, NULL);
	return KTASK_RETURN_SUCCESS;
}

/* Taken for a short one, a long run is one chunk; but not time and again, where it comes every other time. */
static void long_runs_are_not_always_taken_for_short_ones(void)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	bool dear;
	DEFINE_KTASK_CTL(ctl, sleep_if, &dear, 1);

	ktask_ctl_set_report(&ctl, &report);
	do {
		dear = false;
		CHECK(ktask_run(NULL, 10, &ctl) == KTASK_RETURN_SUCCESS);
		dear = true;
		CHECK(ktask_run(NULL, 10, &ctl) == KTASK_RETURN_SUCCESS);
	} while (report.kr_chunks == 1);
}

static int last_for(void *start, void *end, void *us)
{
	uint64_t begin = clock_ns();

	(void)start, (void)end;
	while (clock_ns() - begin < (uint64_t) * (long *)us * 1000)
		;
	return KTASK_RETURN_SUCCESS;
}

/* One that was long all the same is noticed, and about how long it was. What its caller does none of, it can't tell: so alone. */
static void a_long_one_is_noticed(void)
{
	static const char identities[64];

	for (size_t i = 0; i < sizeof(identities); i++) {
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		long us = 0;
		DEFINE_KTASK_CTL(ctl, last_for, &us, 1);
		double ns;

		cost_remember(few(&identities[i]), one_ns, unknown);
		ktask_ctl_set_identity(&ctl, &identities[i]);
		ktask_ctl_set_max_threads(&ctl, 1);
		for (int k = 0; k < 8; k++)
			CHECK(ktask_run(NULL, UNITS, &ctl) == 0);
		us = 200;
		CHECK(ktask_run(NULL, UNITS, &ctl) == 0);
		ns = cost_recall(few(&identities[i])).ns_per_unit * UNITS;
		CHECK(ns > 100000);
		CHECK(ns < 1e9);
		ktask_ctl_set_report(&ctl, &report);
		CHECK(ktask_run(NULL, UNITS, &ctl) == 0);
		CHECK(report.kr_ns > 150000);
	}
}

/* Of many units that are short it is not concluded that a few are: they are work of a kind never seen before. */
static void many_tell_nothing_of_few(void)
{
	static const char identities[64];
	uint64_t called = 0;

	for (size_t i = 0; i < sizeof(identities); i++) {
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		long us = 0;
		DEFINE_KTASK_CTL(ctl, last_for, &us, 1);

		ktask_ctl_set_identity(&ctl, &identities[i]);
		ktask_ctl_set_report(&ctl, &report);
		for (int k = 0; k < 8; k++)
			CHECK(ktask_run(NULL, 65, &ctl) == 0);
		CHECK(cost_recall(cost_name(&identities[i], false)).ns_per_unit > 0);
		CHECK(cost_recall(few(&identities[i])).ns_per_unit == 0);
		CHECK(ktask_run(NULL, 64, &ctl) == 0);
		called += report.kr_called;
		sched_yield();			    /* for a helper on its way home */
		ktask_ctl_set_max_threads(&ctl, 1); /* or a helper may do all, and the caller learns nothing */
		CHECK(ktask_run(NULL, 64, &ctl) == 0);
		CHECK(cost_recall(few(&identities[i])).ns_per_unit > 0);
	}
	CHECK(called > 0 || ktask_max_threads() == 1); /* unless it is still on its way; but not all the time */
}

/* But a few that are long tell something of many; and those are then remembered apart. */
static void few_tell_something_of_many(void)
{
	static const char work;
	struct cost of_few = cost_measured(10, 1000000, unknown), of_many;

	cost_remember(few(&work), of_few, unknown);
	cost_remember(few(&work), of_few, cost_recall(few(&work)));
	CHECK(cost_known(&work, true).flags & COST_CONFIRMED);
	of_many = cost_known(&work, false);
	CHECK(of_many.ns_per_unit > 99000 && !(of_many.flags & COST_CONFIRMED));
	cost_remember(cost_name(&work, false), cost_measured(100, 10000000, of_many), of_many);
	CHECK(cost_recall(cost_name(&work, false)).ns_per_unit > 99000);
	cost_remember(few(&work), cost_measured(10, 5000, unknown), cost_recall(few(&work)));
	CHECK(cost_known(&work, false).ns_per_unit > 99000 && cost_known(&work, true).ns_per_unit < 1000);
}

int main(void)
{
	setenv("KTASK_RETREAT", "off", 1); /* whoever else is on the CPUs */
	one_call_does_it();
	iterators_are_asked_once();
	failures_undo_nothing();
	reports_are_filled_in();
	sizes_are_looked_at();
	memory_keeps_what_is_news();
	news();
	what_is_confirmed_can_be_borne();
	a_cost_that_rises_is_believed();
	learning();
	small_costs();
	costs_say_what_they_are();
	costs_may_vary();
	as_dear_as_known();
	long_runs_are_not_always_taken_for_short_ones();
	a_long_one_is_noticed();
	many_tell_nothing_of_few();
	few_tell_something_of_many();
	return 0;
}
