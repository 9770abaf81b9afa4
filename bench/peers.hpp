// SPDX-License-Identifier: BSD-3-Clause
// peers.hpp: every library measured, behind one function. peers.py compiles a program once for each of them, with
// -DPEER_ktask, -DPEER_openmp (and -DSCHEDULE=dynamic, guided, or static -DONE_BLOCK_EACH), -DPEER_tbb,
// -DPEER_pthreadpool or -DPEER_futex.
//
//   parallel(n, block, func, arg)    does the units 0 ... n - 1 by calls of func(start, end, arg)
//
// block is for libraries that leave the size of chunks to their user: as many units as such a user would choose. Those
// that choose it themselves (OWN_BLOCKS) take it as the least that they may give to a thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

// A thread function is one of ktask's: start and end are numbers of units here.
typedef int (*thread_func)(void *start, void *end, void *arg);

static inline void call(thread_func func, size_t start, size_t end, void *arg)
{
	func((void *)(uintptr_t)start, (void *)(uintptr_t)end, arg);
}

#if defined(PEER_ktask)
#include <ktask.h>

enum { OWN_BLOCKS = 1 };

static void parallel(size_t n, size_t block, thread_func func, void *arg)
{
	DEFINE_KTASK_CTL(ctl, func, arg, block);

	ktask_run(nullptr, n, &ctl);
}

#elif defined(PEER_openmp)
#include <omp.h>

enum { OWN_BLOCKS = 0 };

static void parallel(size_t n, size_t block, thread_func func, void *arg)
{
#if defined(ONE_BLOCK_EACH)
	size_t threads = (size_t)omp_get_max_threads();

	block = std::max(block, (n + threads - 1) / threads);
#endif
	size_t blocks = (n + block - 1) / block;

#pragma omp parallel for schedule(SCHEDULE)
	for (size_t b = 0; b < blocks; b++)
		call(func, b * block, std::min(n, (b + 1) * block), arg);
}

#elif defined(PEER_tbb)
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

enum { OWN_BLOCKS = 1 };

static void parallel(size_t n, size_t block, thread_func func, void *arg)
{
	tbb::parallel_for(tbb::blocked_range<size_t>(0, n, block),
			  [=](const tbb::blocked_range<size_t> &r) { call(func, r.begin(), r.end(), arg); });
}

#elif defined(PEER_pthreadpool)
#include <pthreadpool.h>

enum { OWN_BLOCKS = 0 };

struct job {
	thread_func func;
	void *arg;
};

static void tile(void *context, size_t start, size_t size)
{
	const job *j = static_cast<const job *>(context);

	call(j->func, start, start + size, j->arg);
}

static void parallel(size_t n, size_t block, thread_func func, void *arg)
{
	static pthreadpool_t pool = pthreadpool_create(0);
	job j = { func, arg };

	pthreadpool_parallelize_1d_tile_1d(pool, tile, &j, n, block, 0);
}

#elif defined(PEER_futex)
#include <atomic>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

enum { OWN_BLOCKS = 0 };

// No library, but plain code whose threads sleep: one on each CPU, the caller's own on the one where it first called. All are
// woken by one word, claim blocks by one addition, and are waited for, so nobody ever reads the job of another call.
struct sleepers {
	alignas(64) std::atomic<int> calls{ 0 };
	alignas(64) std::atomic<size_t> next{ 0 };
	alignas(64) std::atomic<unsigned> here{ 0 };
	alignas(64) unsigned threads = 0;
	size_t n, block;
	thread_func func;
	void *arg;

	sleepers()
	{
		cpu_set_t allowed;
		int own = sched_getcpu();

		sched_getaffinity(0, sizeof(allowed), &allowed);
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (cpu == own || !CPU_ISSET(cpu, &allowed))
				continue;
			std::thread thread([this] { serve(); });
			stay(thread.native_handle(), cpu);
			thread.detach();
			threads++;
		}
		stay(pthread_self(), own);
	}

	static void stay(pthread_t thread, int cpu)
	{
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		pthread_setaffinity_np(thread, sizeof(one), &one);
	}

	void serve()
	{
		for (int seen = 0;; seen++) {
			while (calls.load(std::memory_order_acquire) == seen)
				syscall(SYS_futex, &calls, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
			work();
			here.fetch_sub(1, std::memory_order_release);
		}
	}

	void work()
	{
		size_t start;

		while ((start = next.fetch_add(block, std::memory_order_relaxed)) < n)
			call(func, start, std::min(n, start + block), arg);
	}

	void run(size_t units, size_t size, thread_func f, void *argument)
	{
		n = units;
		block = size;
		func = f;
		arg = argument;
		next.store(0, std::memory_order_relaxed);
		here.store(threads, std::memory_order_relaxed);
		calls.fetch_add(1, std::memory_order_release);
		syscall(SYS_futex, &calls, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
		work();
		while (here.load(std::memory_order_acquire))
			;
	}
};

static void parallel(size_t n, size_t block, thread_func func, void *arg)
{
	static sleepers team;

	team.run(n, block, func, arg);
}

#else
#error "compile with -DPEER_ktask, -DPEER_openmp, -DPEER_tbb, -DPEER_pthreadpool or -DPEER_futex"
#endif
