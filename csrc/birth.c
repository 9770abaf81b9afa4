/* SPDX-License-Identifier: BSD-3-Clause */
/* birth.c: the threads of helpers, made when they are called for the first time, or all at once. */
#define _GNU_SOURCE
#include "clock.h"
#include "futex.h"
#include "pool_private.h"
#include "priority.h"

#include <sched.h>

/* After a thread could not be made, runs go on without for so long before the next try. */
enum { NO_BIRTHS_NS = 100000000 };

/* Where threads have small stacks (musl: 128 KiB), thread functions get what ktask.h says. */
enum { STACK_SIZE = 8 << 20 };

/* Only those stay open that a thread brings on itself. */
void block_signals(sigset_t *before)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&all, own[i]);
	pthread_sigmask(SIG_BLOCK, &all, before);
}

static bool create(struct helper *h, const struct cpus *cpus)
{
	pthread_attr_t attr;
	sigset_t before;
	bool ok;

	if (pthread_attr_init(&attr) != 0)
		return false;
#ifdef __GLIBC__
	if (cpus)
		pthread_attr_setaffinity_np(&attr, sizeof(*cpus), (const cpu_set_t *)cpus);
#else /* then its call places it */
	(void)cpus;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
#endif
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	block_signals(&before);
	ok = pthread_create(&h->thread, &attr, helper_main, h) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return ok;
}

bool give_birth(struct helper *h, const struct cpus *cpus)
{
	uint64_t now = clock_ns();

	if (now < atomic_load_explicit(&pool.no_births_before, memory_order_relaxed))
		return false;
	atomic_fetch_add_explicit(&pool.coming, 1, memory_order_relaxed);
	atomic_store_explicit(&h->tid, 0, memory_order_relaxed);
	atomic_store_explicit(&h->nice, HELPERS_NICE, memory_order_relaxed);
	/* CPUs are refused when they have gone offline in the meantime; the next call will place the helper. */
	h->born = (cpus && create(h, cpus)) || create(h, NULL);
	if (!h->born) {
		atomic_fetch_sub_explicit(&pool.coming, 1, memory_order_relaxed);
		atomic_store_explicit(&pool.no_births_before, now + NO_BIRTHS_NS, memory_order_relaxed);
	}
	h->newborn = h->born;
	return h->born;
}

void await_births(void)
{
	uint32_t coming;

	while ((coming = atomic_load_explicit(&pool.coming, memory_order_relaxed)) != 0)
		futex_wait(&pool.coming, coming, FUTEX_FOREVER);
}
