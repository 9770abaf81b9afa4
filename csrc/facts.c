/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * facts.c: surveys of what may change.
 *
 * The files stay open from the first survey on, so that the next ones are a few pread(2) each, some µs in all. They are
 * opened anew where that does not tell any more: when the process was moved to another cgroup (proc/self/cgroup says
 * so), was forked, or when CPUs or a driver have come or gone.
 *
 * busy is 1 while a thread surveys; it alone uses what is not atomic here. It is a lock that helpers only try, and that
 * callers wait for only when they ask for a survey, never in a run.
 */
#define _GNU_SOURCE
#include "facts.h"

#include "clock.h"
#include "futex.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Surveys are this far apart: what they take does not show beside it, and people do not notice the delay. */
enum { STALE_NS = 100000000 };

/* A wait for the lock looks again after so long: the one that had it may not exist any more. */
enum { LOOK_AGAIN_NS = 1000000 };

static _Atomic uint32_t busy;
static _Atomic uint64_t stale_at;	/* the next one, of whatever kind, is due */
static _Atomic uint64_t whole_stale_at; /* the next one that opens files, so that those in runs do not put it off */
static _Atomic unsigned surveys;
static atomic_bool forked;

static struct topology *topology;
static void (*heed)(const struct facts *facts);
static struct facts known;
static struct cgroup cgroup;
static struct power_files power_files;

/* Could the thread that has the lock be cancelled? Not now: reading a file would end it, and the lock with it. */
static int cancellable;

/* Acquires what the one before did; unlock releases it. */
static bool try_lock(void)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	if (atomic_exchange_explicit(&busy, 1, memory_order_acquire) != 0) {
		pthread_setcancelstate(before, NULL);
		return false;
	}
	cancellable = before;
	return true;
}

static void unlock(void)
{
	int before = cancellable;

	atomic_store_explicit(&busy, 0, memory_order_release);
	futex_wake(&busy);
	pthread_setcancelstate(before, NULL);
}

static int lowest(const struct cpus *cpus)
{
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpus_has(cpus, cpu))
			return cpu;
	return 0;
}

/* Quotas are for whole threads: one more that works part of the time would have all of them stopped for the rest. */
static int threads_by(const struct facts *facts)
{
	uint64_t threads = (uint64_t)facts->cpus;

	if (facts->quota.period && threads > facts->quota.usec / facts->quota.period)
		threads = facts->quota.usec / facts->quota.period;
	if (facts->power.saves && facts->power_counts)
		threads = 1;
	return threads > 0 ? (int)threads : 1;
}

/* With the lock held. */
static void survey(bool in_run)
{
	bool first = atomic_load_explicit(&surveys, memory_order_relaxed) == 0;
	bool came_or_went = !in_run && (topology_update(topology) || first);
	bool renew = came_or_went || (!in_run && atomic_exchange_explicit(&forked, false, memory_order_relaxed));

	atomic_store_explicit(&stale_at, clock_ns() + STALE_NS, memory_order_relaxed);
	if (!in_run)
		atomic_store_explicit(&whole_stale_at, clock_ns() + STALE_NS, memory_order_relaxed);
	if (came_or_went) {
		struct cpus cpus;

		topology_all_cpus(topology, &cpus);
		known.cpus = cpus_count(&cpus);
	}
	if (renew || (!in_run && cgroup_moved(&cgroup)))
		cgroup_open(&cgroup);
	if (renew || (!in_run && power_changed_hands(&power_files))) {
		struct cpus cpus;

		topology_all_cpus(topology, &cpus);
		power_open(&power_files, lowest(&cpus));
	}
	cgroup_quota(&cgroup, &known.quota);
	power_read(&power_files, &known.power);
	known.threads = threads_by(&known);
	heed(&known);
	atomic_fetch_add_explicit(&surveys, 1, memory_order_relaxed);
}

void facts_start(struct topology *of, void (*to_heed)(const struct facts *facts))
{
	const char *power = getenv("KTASK_POWER");

	topology = of;
	heed = to_heed;
	known.power_counts = !power || strcasecmp(power, "ignore") != 0;
	facts_refresh(NULL);
}

bool facts_are_stale(bool in_run, uint64_t now)
{
	return now >= atomic_load_explicit(in_run ? &stale_at : &whole_stale_at, memory_order_relaxed);
}

void facts_survey(bool in_run)
{
	if (!try_lock())
		return;
	survey(in_run);
	unlock();
}

void facts_refresh(struct facts *facts)
{
	while (!try_lock())
		futex_wait(&busy, 1, LOOK_AGAIN_NS);
	if (topology) /* there is none where there was no memory for it */
		survey(false);
	if (facts)
		*facts = known;
	unlock();
}

unsigned facts_surveys(void)
{
	return atomic_load_explicit(&surveys, memory_order_relaxed);
}

void facts_forked(void)
{
	/* Whoever was about a survey is not here; what it left half done is opened anew. */
	atomic_store_explicit(&forked, true, memory_order_relaxed);
	atomic_store_explicit(&busy, 0, memory_order_relaxed);
	atomic_store_explicit(&stale_at, 0, memory_order_relaxed);
	atomic_store_explicit(&whole_stale_at, 0, memory_order_relaxed);
}
