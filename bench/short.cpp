// SPDX-License-Identifier: BSD-3-Clause
// short.cpp: runs that are over before anybody has woken up: empty ones, and loops of 1 us to 1 ms.
//
//   short round scale gap_us serial_us...     gap_us of sleep before each call, or none

#include "bodies.h"
#include "peers.hpp"
#include "turns.hpp"

#include <atomic>
#include <cstdlib>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

// Units of divide() that take one microsecond.
static double units_per_us()
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t begin = now();

		call(divide, 0, 1000000, nullptr);
		best = std::min(best, now() - begin);
	}
	return 1e9 / (double)best;
}

static long futex(std::atomic<int> &word, int operation, int value)
{
	return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

static void keep_off_this_cpu(std::thread &thread)
{
	cpu_set_t cpus;

	sched_getaffinity(0, sizeof(cpus), &cpus);
	CPU_CLR(sched_getcpu(), &cpus);
	if (CPU_COUNT(&cpus))
		pthread_setaffinity_np(thread.native_handle(), sizeof(cpus), &cpus);
}

// What a sleeping thread costs that is woken after the same rest: the caller's time in the system call, and the time
// until the thread runs, on another CPU than the caller's. Together they are what no library that sleeps can avoid.
static uint64_t wake_ns(long gap_us)
{
	std::atomic<int> word{ 0 };
	std::atomic<uint64_t> awake{ 0 };
	std::vector<uint64_t> cost;
	std::thread sleeper([&] {
		for (int seen = 0; seen >= 0;) {
			while (word.load() == seen)
				futex(word, FUTEX_WAIT, seen);
			awake.store(now());
			seen = word.load();
		}
	});

	for (int i = 1; i <= 50; i++) {
		uint64_t begin, called;

		rest(gap_us);
		keep_off_this_cpu(sleeper);
		awake.store(0);
		begin = now();
		word.store(i);
		futex(word, FUTEX_WAKE, 1);
		called = now();
		while (!awake.load())
			;
		cost.push_back(called - begin + awake.load() - begin);
	}
	word.store(-1);
	futex(word, FUTEX_WAKE, 1);
	sleeper.join();
	return median(cost);
}

int main(int argc, char **argv)
{
	bool backwards = argc > 1 && std::atoi(argv[1]) % 2;
	double scale = argc > 2 ? std::atof(argv[2]) : 1;
	long gap_us = argc > 3 ? std::atol(argv[3]) : 0;
	uint64_t block_ns = (uint64_t)(scale * (gap_us ? 30e6 : 20e6)), wake = gap_us ? wake_ns(gap_us) : 0;
	double rate = units_per_us();

	parallel(1000000, 12500, divide, nullptr);
	for (int i = 4; i < argc; i++) {
		double us = std::atof(argv[i]);
		thread_func func = us > 0 ? divide : nothing;
		size_t n = us > 0 ? (size_t)(us * rate) : 64;
		// 10 us is what a user would choose; single units would take tens of times longer.
		size_t size = OWN_BLOCKS ? 1 : std::max<size_t>(1, std::min((size_t)(10 * rate), n / 8));
		way serial{ [=] { call(func, 0, n, nullptr); } };
		way team{ [=] { parallel(n, size, func, nullptr); } };
		uint64_t took;

		in_turns({ &serial, &team }, 3, backwards, block_ns, gap_us);
		took = serial.took();
		print(us > 0 ? "loop" : "empty", us, serial, team,
		      gap_us ? std::min(took, (took + wake) / 2) : took / nr_cpus());
	}
}
