// SPDX-License-Identifier: BSD-3-Clause
// turns.hpp: measures several ways to do the same, in turns in one process: A B B A A B ..., so that each stands as
// often before the other as after it, and whatever else the machine does meets all alike.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <sched.h>
#include <vector>

static inline uint64_t now(clockid_t clock = CLOCK_MONOTONIC)
{
	timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void rest(long us)
{
	timespec t = { 0, us * 1000 };

	if (us)
		nanosleep(&t, nullptr);
}

static inline uint64_t median(std::vector<uint64_t> v)
{
	if (v.empty())
		return 0;
	std::nth_element(v.begin(), v.begin() + (long)v.size() / 2, v.end());
	return v[v.size() / 2];
}

static inline unsigned nr_cpus()
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

// One way to do it, and what its calls took.
struct way {
	std::function<void()> call;
	std::vector<uint64_t> ns = {};
	uint64_t cpu_ns = 0, calls = 0;

	uint64_t took() const
	{
		return median(ns);
	}

	uint64_t cpu_per_call() const
	{
		return calls ? cpu_ns / calls : 0;
	}
};

// Calls it for so many ns, gap_us apart. In a row of calls it is the one before that a call is affected by, so the
// first quarter, which follows another way's calls, does not count. CPU time is that of all threads: those of the way
// before get some time to stop spinning, and what a thread has used is accounted when it goes to sleep.
static inline void block(way &w, uint64_t block_ns, long gap_us)
{
	uint64_t cpu, begin, end;
	std::vector<uint64_t> ns;

	rest(200 + 10 * gap_us);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	begin = now();
	do {
		uint64_t called;

		rest(gap_us);
		called = now();
		w.call();
		end = now();
		ns.push_back(end - called);
	} while (end - begin < block_ns);
	rest(200);
	w.cpu_ns += now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	w.calls += ns.size();
	w.ns.insert(w.ns.end(), ns.begin() + (long)ns.size() / 4, ns.end());
}

// Turns of blocks; a block of 0 ns is one call. `backwards` begins with the last way.
static inline void in_turns(std::vector<way *> ways, int turns, bool backwards, uint64_t block_ns, long gap_us)
{
	for (int turn = 0; turn < turns; turn++) {
		if (turn > 0 || backwards)
			std::reverse(ways.begin(), ways.end());
		for (way *w : ways)
			block(*w, block_ns, gap_us);
	}
}

// What run.py reads; times in ns. ideal is what no library can be faster than.
static inline void print(const char *workload, double size, const way &serial, const way &parallel, uint64_t ideal)
{
	std::printf("%s %.10g %llu %llu %llu %llu %llu\n", workload, size, (unsigned long long)serial.took(),
		    (unsigned long long)parallel.took(), (unsigned long long)ideal,
		    (unsigned long long)serial.cpu_per_call(), (unsigned long long)parallel.cpu_per_call());
	std::fflush(stdout);
}
