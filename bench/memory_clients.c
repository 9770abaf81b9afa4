/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory_clients PEER: how fast memory is cleared, filled and copied, for bench/memory.py. PEER is libc, openmp or ktask. Prints
 * "operation size ns" for the median call of each operation and size. Serial libc is a peer as well: each has a process
 * of its own, so that none meets the threads of another.
 */
#define _GNU_SOURCE
#include "ktask_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { PIECE = 1 << 20, MOST_CALLS = 201 };

enum operation { CLEAR, FILL, COPY, CLEAR_FRESH, NR_OPERATIONS };

static const char *const names[] = { "clear", "fill", "copy", "clear fresh" };
static const size_t sizes[] = { 4 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20, 64 << 20, 1 << 30 };
static const double value = 1.5;

static char *to, *from;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void with_libc(enum operation what, char *start, size_t size)
{
	if (what == COPY)
		memcpy(start, from + (start - to), size);
	else if (what == FILL)
		for (double *d = (double *)start; d < (double *)(start + size); d++)
			*d = value;
	else
		memset(start, 0, size);
}

static void with_openmp(enum operation what, char *start, size_t size)
{
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < size; i += PIECE)
		with_libc(what, start + i, size - i < PIECE ? size - i : PIECE);
}

static void with_ktask(enum operation what, char *start, size_t size)
{
	if (what == COPY)
		ktask_memory_copy(start, from, size);
	else if (what == FILL)
		ktask_memory_fill(start, size, &value, sizeof(value));
	else
		ktask_memory_clear(start, size);
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void renew(size_t size)
{
	munmap(to, size);
	to = mmap(to, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

int main(int argc, char **argv)
{
	void (*with)(enum operation what, char *start, size_t size) = argc < 2			       ? NULL
								      : strcmp(argv[1], "libc") == 0   ? with_libc
								      : strcmp(argv[1], "openmp") == 0 ? with_openmp
								      : strcmp(argv[1], "ktask") == 0  ? with_ktask
												       : NULL;
	static uint64_t ns[MOST_CALLS];

	if (!with)
		return 2;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i];
		int calls = size < 1 << 20 ? MOST_CALLS : size < 1 << 26 ? 51 : size < 1 << 30 ? 11 : 3;

		to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		from = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(from, 1, size);
		memset(to, 1, size);
		for (enum operation what = CLEAR; what < NR_OPERATIONS; what++) {
			/* Short ones several times over: a look at the clock costs as much as they do. */
			int times = what == CLEAR_FRESH || size > 1 << 18 ? 1 : 20;

			for (int call = -1; call < calls; call++) { /* once to get warm */
				uint64_t begin;

				if (what == CLEAR_FRESH)
					renew(size);
				begin = now_ns();
				for (int j = 0; j < times; j++) {
					with(what, to, size);
					__asm__ volatile("" : : "r"(to) : "memory");
				}
				if (call >= 0)
					ns[call] = (now_ns() - begin) / (uint64_t)times;
			}
			qsort(ns, (size_t)calls, sizeof(ns[0]), by_size);
			printf("%s,%zu,%llu\n", names[what], size, (unsigned long long)ns[calls / 2]);
		}
		munmap(to, size);
		munmap(from, size);
	}
	return 0;
}
