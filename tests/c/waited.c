/* SPDX-License-Identifier: BSD-3-Clause */
/* Helpers that say they only waited go home after their chunk, nobody takes their place, and the run stays exact. */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { UNITS = 200, ERROR = 4 };

static pthread_t caller;
static atomic_int done[UNITS], nr_helper_chunks;
static uintptr_t fails_at;

static int work(void *start, void *end, void *arg)
{
	(void)arg;
	sched_yield();
	ktask_waited(UINT64_C(1) << 50);
	if (!pthread_equal(pthread_self(), caller))
		atomic_fetch_add(&nr_helper_chunks, 1);
	if (fails_at >= (uintptr_t)start && fails_at < (uintptr_t)end)
		return ERROR;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add(&done[i], 1);
	return KTASK_RETURN_SUCCESS;
}

static void undo(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_sub(&done[i], 1);
}

static void all(void)
{
	static const char identities[2000];

	caller = pthread_self();
	ktask_waited(1000000000); /* to nobody */
	for (int i = 0; i < rounds(2000, 50); i++) {
		int threads = 1 + i % 4;
		DEFINE_KTASK_CTL(ctl, work, NULL, 4);

		fails_at = i % 3 ? UNITS : (uintptr_t)i % UNITS;
		nr_helper_chunks = 0;
		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_max_threads(&ctl, (size_t)threads);
		if (i & 1) /* not yet known for its waits */
			ktask_ctl_set_identity(&ctl, &identities[i]);
		CHECK(ktask_run(AT(0), UNITS, &ctl) == (fails_at < UNITS ? ERROR : 0));
		CHECK(threads > 2 || nr_helper_chunks < threads); /* more may be on their way at once */
		for (int j = 0; j < UNITS; j++)
			CHECK(atomic_exchange(&done[j], 0) == (fails_at == UNITS));
	}
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
