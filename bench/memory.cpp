// SPDX-License-Identifier: BSD-3-Clause
// memory.cpp: 1 GiB of memory: fresh memory is cleared; half of it is copied to the other half; a third of it is
// computed from two others. The ideal is as many plain threads as there are CPUs, with an equal share each.
//
//   memory round scale

#include "bodies.h"
#include "peers.hpp"
#include "turns.hpp"

#include <cstdlib>
#include <sys/mman.h>
#include <thread>

static const double BYTES = 1 << 30;

static char *memory_new(size_t bytes)
{
	void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		std::perror("memory");
		std::exit(1);
	}
	return static_cast<char *>(memory);
}

static void plain_threads(size_t n, thread_func func, void *arg)
{
	std::vector<std::thread> threads;
	size_t parts = nr_cpus();

	for (size_t part = 1; part < parts; part++)
		threads.emplace_back([=] { call(func, n * part / parts, n * (part + 1) / parts, arg); });
	call(func, 0, n / parts, arg);
	for (std::thread &thread : threads)
		thread.join();
}

enum { LEAST = 256 }; // pages: 1 MiB

static const uint64_t AGAIN_NS = 200000000; // what is not fresh is measured for so long, call after call

// `fresh` bytes are mapped anew before each call; that, and giving them back, is not measured.
static void measure(const char *workload, size_t n, thread_func func, arrays *arg, size_t fresh, bool backwards)
{
	for (int turn = 0; turn < (fresh ? 4 : 2); turn++) {
		way serial{ [=] { call(func, 0, n, arg); } };
		way team{ [=] { parallel(n, LEAST, func, arg); } };
		way ideal{ [=] { plain_threads(n, func, arg); } };
		std::vector<way *> ways = { &serial, &team, &ideal };

		if (backwards != (turn % 2 == 1))
			std::reverse(ways.begin(), ways.end());
		for (way *w : ways) {
			if (fresh)
				arg->a = memory_new(fresh);
			block(*w, fresh ? 0 : AGAIN_NS, 0);
			if (fresh)
				munmap(arg->a, fresh);
		}
		print(workload, (double)n * PAGE, serial, team, ideal.took());
	}
}

int main(int argc, char **argv)
{
	bool backwards = argc > 1 && std::atoi(argv[1]) % 2;
	size_t pages = (size_t)(BYTES / PAGE * (argc > 2 ? std::atof(argv[2]) : 1));
	arrays m = {};
	char *memory;

	parallel(1000000, 12500, divide, nullptr);
	measure("clear", pages, clear, &m, pages * PAGE, backwards);

	memory = memory_new(pages * PAGE);
	m.a = memory;
	call(clear, 0, pages, &m);
	m.b = memory + pages / 2 * PAGE;
	measure("copy", pages / 2, copy, &m, 0, backwards);
	m.b = memory + pages / 3 * PAGE;
	m.c = memory + pages / 3 * 2 * PAGE;
	measure("triad", pages / 3, triad, &m, 0, backwards);
}
