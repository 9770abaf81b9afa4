/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h: what time it is, for decisions and traces. */
#ifndef KTASK_CLOCK_H
#define KTASK_CLOCK_H

#include "thread_local.h"

#include <stdint.h>
#include <time.h>

/* Any clock in nanoseconds; 0 if it is not there. */
static inline uint64_t clock_of(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#if defined(__x86_64__)

/* The processor's own count. */
static inline uint64_t clock_ticks(void)
{
	return __builtin_ia32_rdtsc();
}

/* A watch is good for so many ticks since it was set: some 0.3 ms. */
enum { WATCH_TICKS = 1 << 20 };

/* Each thread has its own. */
struct watch {
	uint64_t ticks, ns; /* when it was set, by both clocks */
	uint64_t rate;	    /* how many ns are 2^32 ticks */
};

extern THREAD_LOCAL struct watch watch;

/* Sets this thread's watch by CLOCK_MONOTONIC, which is returned. */
uint64_t clock_set_watch(void);

/*
 * CLOCK_MONOTONIC in nanoseconds, by this thread's watch: to look at the system's clock takes some 25 ns, this takes 10. It is
 * right to some tens of ns, but may be read earlier than what stands before it: up to 1 us, if that waits for memory. Where the
 * processor's counts are not what they should be (they differ between CPUs, or change their rate, or the machine has
 * slept), it is wrong, but only until it is set again, and never for correctness: nothing but decisions and traces come
 * from it. Between two threads time may seem to go backwards: see clock_since.
 */
static inline uint64_t clock_ns(void)
{
	uint64_t gone = clock_ticks() - watch.ticks;

	return gone < WATCH_TICKS ? watch.ns + (gone * watch.rate >> 32) : clock_set_watch();
}

#else

/* CLOCK_MONOTONIC in nanoseconds, without a system call. */
static inline uint64_t clock_ns(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

#endif

/* How long ago that was, which another thread has read. */
static inline uint64_t clock_since(uint64_t then, uint64_t now)
{
	return now > then ? now - then : 0;
}

/* Tells the processor that this thread spins. */
static inline void clock_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#endif
}

#endif
