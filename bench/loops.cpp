// SPDX-License-Identifier: BSD-3-Clause
// loops.cpp: one loop, run serially and by one peer in turns; prints what each took. bench/run.py starts it for each
// peer, round after round, since a peer whose threads spin would slow down the next one in the same process.
//
//   loops gap_us serial_us...     for each length: "serial_us serial_ns parallel_ns cpu_ns", medians of one round

#include "peers.hpp"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

static volatile double sink;

// One unit is a division, some 0.8 ns.
__attribute__((noinline)) static void work(size_t from, size_t to)
{
	double sum = 0;

	for (size_t i = from; i < to; i++)
		sum += 1.0 / (double)(i + 1);
	if (sum < 0)
		sink = sum;
}

static int chunk(void *start, void *end, void *)
{
	work((size_t)start, (size_t)end);
	return 0;
}

// Blocks of about 10 us are what a user would choose; single units would take tens of times longer.
static void parallel(size_t n)
{
	parallel(n, OWN_BLOCKS ? 1 : std::max<size_t>(1, std::min<size_t>(12500, n / 8)), chunk, nullptr);
}

static uint64_t now(clockid_t clock)
{
	timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t median(std::vector<uint64_t> &v)
{
	std::nth_element(v.begin(), v.begin() + v.size() / 2, v.end());
	return v[v.size() / 2];
}

static void pause_for(long us)
{
	timespec t = { 0, us * 1000 };

	if (us)
		nanosleep(&t, nullptr);
}

// How many units take one microsecond.
static double units_per_us()
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t begin = now(CLOCK_MONOTONIC);

		work(0, 1000000);
		best = std::min(best, now(CLOCK_MONOTONIC) - begin);
	}
	return 1e9 / (double)best;
}

// Blocks of runs of one kind, in turns: in a hot loop it is the run before that a run is affected by.
static void measure(double us, long gap_us, double rate)
{
	size_t n = (size_t)(us * rate), block = gap_us ? 20 : 200;
	int blocks = (int)std::max(3.0, std::min(20.0, 300000.0 / ((us + (double)gap_us) * (double)block)));
	std::vector<uint64_t> serial, parallel_;
	uint64_t cpu = 0, calls = 0;

	for (int b = 0; b < 2 * blocks; b++) {
		uint64_t cpu_begin = now(CLOCK_PROCESS_CPUTIME_ID);

		for (size_t i = 0; i < block; i++) {
			uint64_t begin;

			pause_for(gap_us);
			begin = now(CLOCK_MONOTONIC);
			if (b % 2)
				parallel(n);
			else
				work(0, n);
			if (i >= block / 4)
				(b % 2 ? parallel_ : serial).push_back(now(CLOCK_MONOTONIC) - begin);
		}
		if (b % 2) {
			cpu += now(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
			calls += block;
		}
	}
	std::printf("%g %llu %llu %llu\n", us, (unsigned long long)median(serial), (unsigned long long)median(parallel_),
		    (unsigned long long)(cpu / calls));
}

int main(int argc, char **argv)
{
	double rate = units_per_us();

	parallel(1000000);
	for (int i = 2; i < argc; i++)
		measure(std::atof(argv[i]), std::atol(argv[1]), rate);
}
