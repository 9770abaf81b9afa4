/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sum.c: adds up a large array on all the CPUs that are free.
 *
 *	cc -o sum sum.c $(pkg-config --cflags --libs ktask)
 *	./sum
 */
#include <inttypes.h>
#include <ktask.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* What all the chunks work on together. */
struct sum {
	_Atomic uint64_t total;
};

/*
 * Does one chunk: the numbers from start up to, not including, end. Several threads are in here at the same time, each
 * with its own chunk, so each first adds up on its own and touches what they share only once.
 */
static int add_chunk(const uint32_t *start, const uint32_t *end, struct sum *sum)
{
	uint64_t part = 0;

	for (const uint32_t *n = start; n < end; n++)
		part += *n;
	atomic_fetch_add(&sum->total, part);
	return KTASK_RETURN_SUCCESS;
}

int main(void)
{
	const size_t count = 20 * 1000 * 1000, size = count * sizeof(uint32_t);
	uint32_t *numbers = malloc(size);
	struct sum sum = { 0 };
	uint64_t expected = (uint64_t)count * (count - 1) / 2;
	int error;

	if (!numbers) {
		perror("malloc");
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < count; i++)
		numbers[i] = (uint32_t)i;

	/*
	 * ktask counts in bytes here: start is an address, and size is how many follow it. A chunk of less than 64 KiB
	 * is not worth giving to a thread; and chunks end where a cache line does, which is never within a number.
	 */
	DEFINE_KTASK_CTL(ctl, add_chunk, &sum, 64 * 1024);
	ktask_ctl_set_align(&ctl, 64);

	/* In place of: error = add_chunk(numbers, numbers + count, &sum); */
	error = ktask_run(numbers, size, &ctl);
	free(numbers);
	if (error) {
		fprintf(stderr, "ktask_run: error %d\n", error);
		return EXIT_FAILURE;
	}

	printf("%" PRIu64 "\n", sum.total);
	return sum.total == expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
