/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each of the allocations that making the pool takes fails in turn, and all from each on: the run is done by the caller
 * alone, or as if nothing had happened. The library is linked so that its allocations go to the functions below.
 */
#include "battery.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

/* What counts is what the library allocates; programs that count what they cover do so, too, at forks and at their end. */
static atomic_int nr_allocations = INT_MIN;
static int failing = -1; /* none */
static bool all_after;

static bool fails(void)
{
	int n = atomic_fetch_add(&nr_allocations, 1);

	if (n != failing && !(all_after && n > failing))
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return fails() ? NULL : __real_aligned_alloc(align, size);
}

static void one(void)
{
	char text[4096];
	int status;

	nr_allocations = 0;
	run_battery(20);
	CHECK(ktask_init() == 0);
	run_battery(20);
	CHECK(ktask_describe(text, sizeof(text)) < sizeof(text));
	status = nr_allocations <= failing ? SKIPPED : 0; /* there are no more than that */
	nr_allocations = INT_MIN;
	exit(status);
}

int main(void)
{
	use_helpers(3);
	for (int i = 0; i < 2; i++) {
		bool more = true;

		all_after = i;
		for (failing = 0; more; failing++) {
			pid_t child = fork();
			int status;

			if (child == 0)
				one();
			CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
			more = WEXITSTATUS(status) == 0;
			CHECK(more || WEXITSTATUS(status) == SKIPPED);
		}
		CHECK(failing > 3);
	}
	return 0;
}
