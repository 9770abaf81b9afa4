// SPDX-License-Identifier: BSD-3-Clause
// neighbour.cpp: who shares the machine with whom. bench/neighbour.py starts it in several parts at the same time:
//
//   neighbour rate                                   units that take a microsecond here
//   neighbour victim SECONDS                         works all the time, by itself: units done in each microsecond
//   neighbour hog                                    works until its parent ends
//   neighbour task serial|parallel UNITS GAP_US SECONDS
//                                                    runs of so many units, a gap before each, until the time is over:
//                                                    "runs ns cpu_ns", ns without the gaps, cpu_ns of the whole process

#include "peers.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sys/prctl.h>

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

static uint64_t now(clockid_t clock)
{
	timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double rate()
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t begin = now(CLOCK_MONOTONIC);

		work(0, 1000000);
		best = std::min(best, now(CLOCK_MONOTONIC) - begin);
	}
	return 1e9 / (double)best;
}

static void victim(double seconds)
{
	const size_t units = 12500;
	uint64_t begin = now(CLOCK_MONOTONIC), end = begin + (uint64_t)(seconds * 1e9), last;
	size_t done = 0;

	do {
		work(0, units);
		done += units;
		last = now(CLOCK_MONOTONIC);
	} while (last < end);
	std::printf("%g\n", (double)done * 1e3 / (double)(last - begin));
}

static void task(bool serial, size_t n, long gap_us, double seconds)
{
	// Blocks of about 10 us are what a user would choose.
	size_t block = OWN_BLOCKS ? 1 : std::max<size_t>(1, std::min<size_t>(12500, n / 8));
	timespec gap = { 0, gap_us * 1000 };
	uint64_t end = now(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9), in_runs = 0, runs = 0;
	uint64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID), last;

	do {
		uint64_t begin;

		if (gap_us)
			nanosleep(&gap, nullptr);
		begin = now(CLOCK_MONOTONIC);
		if (serial)
			call(chunk, 0, n, nullptr);
		else
			parallel(n, block, chunk, nullptr);
		last = now(CLOCK_MONOTONIC);
		in_runs += last - begin;
		runs++;
	} while (last < end);
	std::printf("%llu %llu %llu\n", (unsigned long long)runs, (unsigned long long)in_runs,
		    (unsigned long long)(now(CLOCK_PROCESS_CPUTIME_ID) - cpu));
}

int main(int argc, char **argv)
{
	const char *part = argc > 1 ? argv[1] : "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!std::strcmp(part, "rate"))
		std::printf("%g\n", rate());
	else if (!std::strcmp(part, "victim") && argc == 3)
		victim(std::atof(argv[2]));
	else if (!std::strcmp(part, "hog"))
		for (;;)
			work(0, 12500);
	else if (!std::strcmp(part, "task") && argc == 6)
		task(!std::strcmp(argv[2], "serial"), std::strtoull(argv[3], nullptr, 10), std::atol(argv[4]),
		     std::atof(argv[5]));
	else
		return 2;
}
