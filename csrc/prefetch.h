/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * prefetch.h: asks for cache lines that other threads have had, all at once and before they are needed: so a thread waits for
 * them once, where it would wait for each in turn.
 */
#ifndef KTASK_PREFETCH_H
#define KTASK_PREFETCH_H

enum { LINE_BYTES = 64 };

/* For itself alone: this thread is about to write there. */
static inline void prefetch_to_write(const void *line)
{
#if defined(__x86_64__)
	/* Compilers would ask for a copy, as long as they are not told that the processor has this. All have since 2006, if as a nop. */
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/* All lines from there to there. */
static inline void prefetch_all_to_write(const void *from, const void *to)
{
	for (const char *line = from; line < (const char *)to; line += LINE_BYTES)
		prefetch_to_write(line);
}

static inline void prefetch_all_to_read(const void *from, const void *to)
{
	for (const char *line = from; line < (const char *)to; line += LINE_BYTES)
		__builtin_prefetch(line);
}

#endif
