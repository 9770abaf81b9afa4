/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Never are more threads at work on a task than kc_max_threads, nor than there are chunks; and that many do come: each
 * waits in its first chunk for the others, so that a missing one is found by the time limit on this test.
 */
#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

/* A helper of the last run may not be back yet when the next one calls: so there are twice as many as are needed. */
enum { HELPERS = 15, MAX_WANTED = 8 };

struct meeting {
	int wanted;
	atomic_int here, most;
	atomic_bool complete;
};

static int meet(void *start, void *end, struct meeting *m)
{
	int here = atomic_fetch_add(&m->here, 1) + 1, most = m->most;

	(void)start, (void)end;
	while (most < here && !atomic_compare_exchange_weak(&m->most, &most, here))
		;
	CHECK(here <= m->wanted);
	if (here == m->wanted)
		m->complete = true;
	while (!m->complete)
		sched_yield();
	atomic_fetch_sub(&m->here, 1);
	return KTASK_RETURN_SUCCESS;
}

static void try(size_t max_threads, size_t units, int wanted, const void *identity)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	struct meeting m = { .wanted = wanted };
	DEFINE_KTASK_CTL(ctl, meet, &m, 1);

	ktask_ctl_set_max_threads(&ctl, max_threads);
	ktask_ctl_set_report(&ctl, &report);
	/* Each run is the first of its kind: there the first chunks are small, and there are enough for all. */
	ktask_ctl_set_identity(&ctl, identity);
	CHECK(ktask_run(AT(1), units, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(m.most == wanted && m.here == 0);
	CHECK((int)report.kr_threads >= wanted);
}

static const char identities[60 * MAX_WANTED * 3];

static void exactly_so_many(void)
{
	const char *identity = identities;

	for (int i = 0; i < rounds(60, 10); i++)
		for (int n = 1; n <= MAX_WANTED; n += 2) {
			try((size_t)n, 64, n, identity++);
			try((size_t)n, (size_t)n, n, identity++);
			try(0, (size_t)n, n, identity++);
		}
}

/* Nobody waits: threads come and go, and several may call the last helper at the same time. */
static int stay_a_while(void *start, void *end, struct meeting *m)
{
	(void)start, (void)end;
	CHECK(atomic_fetch_add(&m->here, 1) < m->wanted);
	sched_yield();
	atomic_fetch_sub(&m->here, 1);
	return KTASK_RETURN_SUCCESS;
}

static void never_more(void)
{
	for (int i = 0; i < rounds(3000, 50); i++) {
		struct meeting m = { .wanted = 2 + i % 5 };
		DEFINE_KTASK_CTL(ctl, stay_a_while, &m, 1);

		ktask_ctl_set_max_threads(&ctl, (size_t)m.wanted);
		ktask_ctl_set_identity(&ctl, &identities[i % 60]);
		CHECK(ktask_run(AT(1), 60, &ctl) == KTASK_RETURN_SUCCESS);
	}
}

/* With none asked for, as many as there are. */
static void all_there_are(void)
{
	try(0, 64, HELPERS + 1, identities);
}

static void not_more_than_there_are(void)
{
	try(SIZE_MAX, 64, HELPERS + 1, identities);
}

int main(void)
{
	use_helpers(HELPERS);
	in_child(exactly_so_many);
	in_child(never_more);
	for (int i = 0; i < rounds(6, 2); i++) {
		in_child(all_there_are);
		in_child(not_more_than_there_are);
	}
	return 0;
}
