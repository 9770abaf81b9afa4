// SPDX-License-Identifier: BSD-3-Clause
// peers.hpp: every library measured, behind one function. peers.py compiles a program once for each of them, with
// -DPEER_ktask, -DPEER_openmp (and -DSCHEDULE=dynamic, guided, or static -DONE_BLOCK_EACH), -DPEER_tbb or
// -DPEER_pthreadpool.
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

#else
#error "compile with -DPEER_ktask, -DPEER_openmp, -DPEER_tbb or -DPEER_pthreadpool"
#endif
