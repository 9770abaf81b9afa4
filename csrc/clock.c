/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.c: sets a thread's watch. */
#define _GNU_SOURCE
#include "clock.h"

#include "hot.h"

#include <stdbool.h>

#if defined(__x86_64__)

/* To look at the system's clock takes fewer ticks than this, unless the thread was interrupted: then it is not known when. */
enum { LOOK_TICKS = 500 };

/* How fast the count goes is measured over this time at least, which makes it right to some hundred-thousandths. */
enum { RATE_NS = 1000000 };

/* No processor's count goes slower: 0.25 GHz. So a watch is never ahead by more than some 4 ms. */
#define SLOWEST 0x1p34
enum { AHEAD_NS = 5000000 };

THREAD_LOCAL struct watch watch;

/* What the time was when the rate was last measured, and the latest time that the watch can have told. */
static THREAD_LOCAL uint64_t rated_ticks, rated_ns, told_ns;

/* 0 where it makes no sense: since then the machine has slept, or the count was set to something else. */
static uint64_t rate_since(uint64_t ticks, uint64_t ns)
{
	double rate = (double)ns / (double)ticks * 0x1p32;

	return rate < SLOWEST ? (uint64_t)rate : 0;
}

HOT uint64_t clock_set_watch(void)
{
	uint64_t before = clock_ticks(), ns = clock_of(CLOCK_MONOTONIC), took = clock_ticks() - before;
	uint64_t ticks = before + took / 2;
	bool sure = took < LOOK_TICKS;

	if (sure && ns - rated_ns > RATE_NS) {
		watch.rate = rated_ns ? rate_since(ticks - rated_ticks, ns - rated_ns) : 0;
		rated_ticks = ticks;
		rated_ns = ns;
	}
	/* To one thread, time does not go backwards: where the watch was ahead, it stands still. Unless it was the system's. */
	if (told_ns > ns + AHEAD_NS)
		told_ns = ns;
	sure = sure && watch.rate && ns >= told_ns;
	if (told_ns < ns)
		told_ns = ns;
	watch.ns = told_ns;
	watch.ticks = sure ? ticks : ticks - WATCH_TICKS;
	if (sure)
		told_ns += WATCH_TICKS * watch.rate >> 32;
	return watch.ns;
}

#endif
