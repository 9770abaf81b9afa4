// SPDX-License-Identifier: BSD-3-Clause
// host.cpp: what the first two CPUs that we may use are to each other at this moment, in one word. On a virtual machine
// that is for its host to say, and it says something else from one minute to the next:
//
//   near     siblings of one core, or nearly so: a cache line goes to the other and back within 0.2 us
//   far      a cache line takes longer
//   one      two threads get no further than one: both are run by one CPU of the host

#include "bodies.h"
#include "turns.hpp"

#include <atomic>
#include <pthread.h>
#include <thread>

enum { TRIPS = 1000, UNITS = 1000000, TRIES = 3 };

static const uint64_t NEAR_NS = 200;

// What the other thread is told, and how it answers.
enum { IDLE, BALL, WORK, END };

static std::atomic<int> word{ IDLE };

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void work()
{
	divide(nullptr, (void *)(uintptr_t)UNITS, nullptr);
}

static void obey(int cpu)
{
	stay_on(cpu);
	for (int told; (told = word.load()) != END;) {
		if (told == WORK)
			work();
		if (told != IDLE)
			word.store(IDLE);
	}
}

static void await_other()
{
	while (word.load() != IDLE)
		;
}

// One thread's work, and that of two at once.
static bool two_get_further()
{
	uint64_t alone = UINT64_MAX, together = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t begin = now(), between;

		work();
		between = now();
		word.store(WORK);
		work();
		await_other();
		alone = std::min(alone, between - begin);
		together = std::min(together, now() - between);
	}
	return 2 * together < 3 * alone;
}

static uint64_t trip_ns()
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t begin = now();

		for (int k = 0; k < TRIPS; k++) {
			word.store(BALL);
			await_other();
		}
		best = std::min(best, (now() - begin) / TRIPS);
	}
	return best;
}

int main()
{
	const char *found = "one";
	cpu_set_t set;
	int cpus[2], n = 0;

	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	if (n == 2) {
		std::thread other(obey, cpus[1]);

		stay_on(cpus[0]);
		if (two_get_further())
			found = trip_ns() < NEAR_NS ? "near" : "far";
		word.store(END);
		other.join();
	}
	std::puts(found);
}
