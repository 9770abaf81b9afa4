/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * longjmp.c: notices a run that was left by longjmp() while helpers were at work on it.
 *
 * Its team is gone with the stack of its caller, but its helpers do not know. Nothing can be saved then: what they read
 * and write is somebody else's. But the program can be told: by a helper that finds, after a chunk, something else in its
 * team's place (team_check); or by the next run of that caller, if it comes to lie there (look_for_left).
 *
 * A false alarm would be worse than none. Threads may use several stacks (coroutines, sigaltstack), in any order in
 * memory and one in another's frame, so that a run lies deeper on the stack than another one, or less deep, proves nothing.
 * That the two overlap does: of two that live, one would be the other's memory. And that helpers are at work there is
 * seen from their side, as what is left of a dead run may be anything. Who copies stacks away (greenlet) and so has two
 * runs in one place does the same harm as longjmp(), and is told the same; without helpers both are harmless.
 *
 * Then its caller's seat is left to be given back. For that the next run that lies less deep will do: if the other one
 * lives, on another stack, it goes on without a seat, which others may miss by one CPU, and is looked for no more.
 */
#define _GNU_SOURCE
#include "pool_private.h"

#include <stdio.h>
#include <stdlib.h>

THREAD_LOCAL const struct team *not_gathered;

void tell_left(void)
{
	fputs("ktask: a run was left by longjmp(), or its stack was copied away, while helpers were at work on it: "
	      "they use memory now that is no longer theirs. A thread function has to return.\n",
	      stderr);
	abort();
}

/* Has a helper been called to that team, and not left it? Compares the address only. */
static bool has_helpers(const struct team *team)
{
	for (int i = 0; i < pool.nr_helpers; i++) {
		const struct helper *h = &pool.helpers[i];
		/* Acquires helper->team of that call. */
		uint32_t word = atomic_load_explicit(&h->word, memory_order_acquire);

		if (((word & CALLED) || (word & STATE) == RUNNING) &&
		    atomic_load_explicit(&h->team, memory_order_relaxed) == team)
			return true;
	}
	return false;
}

void look_for_left(uintptr_t run, size_t size)
{
	uintptr_t left = (uintptr_t)not_gathered;

	if (run + size <= left)
		return; /* a run inside another one's thread function */
	if (has_helpers(not_gathered)) {
		if (run < left + size)
			tell_left();
		return;
	}
	not_gathered = NULL;
	caller_stands();
}
