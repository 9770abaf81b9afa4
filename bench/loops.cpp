// SPDX-License-Identifier: BSD-3-Clause
// loops.cpp: one loop, run serially and by one peer in turns; prints what each took. bench/run.py starts it for each
// peer, round after round, since a peer whose threads spin would slow down the next one in the same process.
//
//   loops gap_us serial_us...     for each length: "serial_us serial_ns parallel_ns cpu_ns", medians of one round
//
// Compiled once for each peer, with -DPEER_ktask, -DPEER_openmp, -DPEER_tbb or -DPEER_pthreadpool.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#if defined(PEER_ktask)
#include <ktask.h>
#elif defined(PEER_tbb)
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#elif defined(PEER_pthreadpool)
#include <pthreadpool.h>
#include <unistd.h>
#endif

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

#if defined(PEER_ktask)
static int chunk(void *start, void *end, void *)
{
	work((size_t)start, (size_t)end);
	return KTASK_RETURN_SUCCESS;
}

static void parallel(size_t n)
{
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(chunk, nullptr, 1);

	ktask_run(nullptr, n, &ctl);
}
#elif defined(PEER_openmp)
static void parallel(size_t n)
{
	// Blocks of about 10 us are what a user would choose; single units would take tens of times longer.
	size_t block = 12500, blocks = (n + block - 1) / block;

	if (blocks < 2) {
		block = (n + 1) / 2;
		blocks = 2;
	}
#pragma omp parallel for schedule(dynamic)
	for (size_t b = 0; b < blocks; b++)
		work(b * block, std::min(n, (b + 1) * block));
}
#elif defined(PEER_tbb)
static void parallel(size_t n)
{
	tbb::parallel_for(tbb::blocked_range<size_t>(0, n),
			  [](const tbb::blocked_range<size_t> &r) { work(r.begin(), r.end()); });
}
#elif defined(PEER_pthreadpool)
struct blocks {
	size_t n, block;
};

static void block(void *context, size_t b)
{
	const blocks *all = static_cast<const blocks *>(context);

	work(b * all->block, std::min(all->n, (b + 1) * all->block));
}

static void parallel(size_t n)
{
	static pthreadpool_t pool = pthreadpool_create(0);
	blocks all = { n, std::max<size_t>(1, std::min<size_t>(12500, n / 8)) };

	pthreadpool_parallelize_1d(pool, block, &all, (n + all.block - 1) / all.block, 0);
}
#endif

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
