/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * will.c: a helper's nice, and what a caller that waits lends to it, its priority and its CPU, and how that goes back. The
 * protocol is at the top of pool.c, steps 10 and 11.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "pool_private.h"
#include "priority.h"
#include "probes.h"

#include <sched.h>

/*
 * Step 11. Sequentially consistent, as is the kernel, which changes one thread's nice after the other: if this comes after
 * what the helper set itself, it also sees in h->nice what that was.
 */
static void restore(const struct helper *h, pid_t tid)
{
	int nice;

	do {
		nice = atomic_load(&h->nice);
		priority_set(tid, nice);
	} while (atomic_load(&h->nice) != nice);
}

void change_nice(struct helper *h, int nice)
{
	atomic_store(&h->nice, nice);
	priority_set(atomic_load_explicit(&h->tid, memory_order_relaxed), nice);
}

/* As pthread_getcpuclockid(3), but of a thread that may have ended: 0. The number is made as the kernel defines it. */
static uint64_t cpu_time(pid_t tid)
{
	enum { OF_A_THREAD = 4, TIME_ON_CPUS = 2 };

	return clock_of((clockid_t)(~(unsigned)tid << 3 | OF_A_THREAD | TIME_ON_CPUS));
}

/*
 * A helper that has hardly run since the caller waits is brought to the caller's CPU, to have what the caller had. It may
 * leave at this very moment, and be another team's when it is brought there: then it stays there until its next call, which
 * costs that team speed. To know would take a lock; and a helper that starves hardly ever leaves in the same microsecond.
 */
static bool lend_cpu(const struct helper *h, pid_t tid, struct wait *wait)
{
	uint64_t now = clock_ns();
	struct cpus cpus = { { 0 } };
	int cpu;

	if (wait->helper != h)
		*wait = (struct wait){ .helper = h, .since = now, .cpu_ns = cpu_time(tid) };
	if (wait->settled || now - wait->since < STARVED_NS)
		return false;
	wait->settled = true;
	cpu = sched_getcpu();
	if (cpu < 0 || cpu >= MAX_CPUS || cpu_time(tid) - wait->cpu_ns > (now - wait->since) / 2)
		return false;
	cpus_add(&cpus, cpu);
	return sched_setaffinity(tid, sizeof(cpus), (const cpu_set_t *)&cpus) == 0;
}

/* Step 10. */
void will_one(struct team *team, struct wait *wait)
{
	for (int i = 0; i < pool.nr_words; i++) {
		uint64_t bits = atomic_load_explicit(&team->called[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			struct helper *h = &pool.helpers[i * HELPER_BITS + __builtin_ctzll(bits)];
			uint64_t now;
			unsigned lent;
			pid_t tid;

			if ((atomic_load_explicit(&h->word, memory_order_acquire) & STATE) != RUNNING)
				continue;
			tid = atomic_load_explicit(&h->tid, memory_order_relaxed);
			if (!tid) /* it has left since, its thread has ended, and another one is being made */
				continue;
			/* First the loan, then the mark: who takes the mark takes back a loan that has come. */
			lent = lend_cpu(h, tid, wait) ? LENT_CPU : 0;
			if (priority_privileged()) {
				priority_set(tid, priority_of_caller());
				lent |= LENT_PRIORITY;
			}
			if (!lent)
				return;
			if (!atomic_fetch_or(&h->lent, lent)) {
				team->nr_willed++;
				now = clock_ns();
				PROBE3(helper__will, team, h->id, lent);
				team_trace(team, KTASK_EVENT_WILL, h, now, now, (int)lent);
			}
			if (atomic_load(&team->called[i]) & (bits & -bits))
				return;
			/* It left before the mark came. That may be another team's by now, so it stays. */
			if (lent & LENT_PRIORITY)
				restore(h, tid);
		}
	}
}

void take_back(struct helper *h)
{
	unsigned lent = atomic_load(&h->lent) ? atomic_exchange(&h->lent, 0) : 0;
	pid_t tid = atomic_load_explicit(&h->tid, memory_order_relaxed);

	if (lent & LENT_PRIORITY && tid) /* 0: the mark is left over from the thread before */
		restore(h, tid);
	if (lent & LENT_CPU) {
		h->placed = 0; /* anew at the next call, also when it lingers */
		h->placed_off = -1;
	}
}
