/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h: what time it is, for decisions and traces. */
#ifndef KTASK_CLOCK_H
#define KTASK_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Any clock in nanoseconds; 0 if it is not there. */
static inline uint64_t clock_of(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CLOCK_MONOTONIC: some 25 ns a call, without a system call. */
static inline uint64_t clock_ns(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

/*
 * The processor's own count, in ticks of a length that is nobody's business: a third of what clock_ns costs. CPUs may differ, so
 * it is good for a guess. 0 where there is no such thing.
 */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	return 0;
#endif
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
