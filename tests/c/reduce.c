/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reductions: every unit is folded once, whatever the cut; with blocks the same bits come out for any number of
 * threads; failures leave the result alone. Also compiled with CONFIG_KTASK=0.
 */
#include "check.h"
#include "ktask_reduce.h"

#include <errno.h>
#include <math.h>

enum { UNITS = 100000 };

static double values[UNITS];

static int add_values(double *start, double *end, double *into, void *arg)
{
	(void)arg;
	while (start < end)
		*into += *start++;
	return KTASK_RETURN_SUCCESS;
}

/* Positions are bytes, so blocks of whole values are multiples of their size. */
static int add_bytes(char *start, char *end, void *into, void *arg)
{
	CHECK((end - start) % sizeof(double) == 0);
	return add_values((double *)start, (double *)end, into, arg);
}

static void plus(double *into, const double *other, void *arg)
{
	(void)arg;
	*into += *other;
}

static const double zero = 0;

#define SUM(block)                                                                                                     \
	{                                                                                                              \
		sizeof(double), &zero, (ktask_fold_func)add_bytes, (ktask_combine_func)plus, (block)                   \
	}

static double sum_with(size_t threads, size_t block, size_t units)
{
	const struct ktask_reduction sum = SUM(block * sizeof(double));
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, NULL, sizeof(double));
	double result = -1;

	ktask_ctl_set_max_threads(&ctl, threads);
	if (!block)
		ktask_ctl_set_align(&ctl, sizeof(double));
	CHECK(ktask_reduce(values, units * sizeof(double), &ctl, &sum, &result) == KTASK_RETURN_SUCCESS);
	return result;
}

static void the_same_bits_for_any_number_of_threads(void)
{
	for (size_t block = 1; block <= 1000; block = block * 7 + 3) {
		double alone = sum_with(1, block, UNITS);

		for (size_t threads = 2; threads <= 64; threads *= 2)
			for (int i = 0; i < rounds(8, 2); i++)
				CHECK(sum_with(threads, block, UNITS) == alone);
	}
}

static void all_is_folded(void)
{
	double exact = 0;

	for (size_t i = 0; i < UNITS; i++)
		exact += values[i];
	for (size_t threads = 1; threads <= 8; threads++)
		for (int i = 0; i < rounds(8, 2); i++)
			CHECK(fabs(sum_with(threads, 0, UNITS) - exact) < 1e-6 * exact);
	CHECK(sum_with(4, 0, 0) == 0 && sum_with(4, 16, 0) == 0);
	CHECK(sum_with(4, 0, 1) == values[0] && sum_with(4, 16, 1) == values[0]);
	CHECK(sum_with(4, 16, 17) == sum_with(1, 16, 17));
}

/* Concatenation: associative, but not commutative. */
struct text {
	char letters[27];
};

static int append(uintptr_t start, uintptr_t end, struct text *into, void *arg)
{
	size_t n = strlen(into->letters);

	CHECK(arg == values);
	for (uintptr_t i = start; i < end; i++)
		into->letters[n++] = (char)('a' + i);
	return KTASK_RETURN_SUCCESS;
}

static int append_letters(void *start, void *end, void *into, void *arg)
{
	return append((uintptr_t)start, (uintptr_t)end, into, arg);
}

static void join(void *into, const void *other, void *arg)
{
	CHECK(arg == values);
	strcat(((struct text *)into)->letters, ((const struct text *)other)->letters);
}

static void blocks_are_combined_in_their_order(void)
{
	const struct text empty = { "" };

	for (size_t block = 1; block <= 27; block++) {
		const struct ktask_reduction letters = { sizeof(empty), &empty, append_letters, join, block };
		struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, values, 1);
		struct text result;

		CHECK(ktask_reduce(AT(0), 26, &ctl, &letters, &result) == KTASK_RETURN_SUCCESS);
		CHECK(strcmp(result.letters, "abcdefghijklmnopqrstuvwxyz") == 0);
	}
}

static int refuse_value_77(void *start, void *end, void *into, void *arg)
{
	(void)into, (void)arg;
	return (uintptr_t)start <= 77 && 77 < (uintptr_t)end ? 42 : KTASK_RETURN_SUCCESS;
}

static void failures_leave_the_result_alone(void)
{
	for (size_t block = 0; block < 40; block += 13) {
		const struct ktask_reduction failing = { sizeof(double), &zero, refuse_value_77,
							 (ktask_combine_func)plus, block };
		struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, NULL, 1);
		double result = 5;

		CHECK(ktask_reduce(AT(0), 1000, &ctl, &failing, &result) == 42 && result == 5);
	}
}

static void undo(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
}

static void *some_iterator(void *position, size_t size)
{
	return (char *)position + size;
}

static void what_cannot_be_is_refused(void)
{
	const struct ktask_reduction sum = SUM(0), blocks = SUM(8), no_fold = { 8, &zero, NULL, NULL, 0 };
	struct ktask_ctl ctl = KTASK_CTL_INITIALIZER(NULL, NULL, sizeof(double)), changed;
	double result = 5;

	CHECK(ktask_reduce(values, 8, NULL, &sum, &result) == -EINVAL);
	CHECK(ktask_reduce(values, 8, &ctl, NULL, &result) == -EINVAL);
	CHECK(ktask_reduce(values, 8, &ctl, &sum, NULL) == -EINVAL);
	CHECK(ktask_reduce(values, 8, &ctl, &no_fold, &result) == -EINVAL);
	for (int missing = 0; missing < 4; missing++) {
		struct ktask_reduction wrong = sum;

		if (missing == 0)
			wrong.kd_size = 0;
		else if (missing == 1)
			wrong.kd_init = NULL;
		else if (missing == 2)
			wrong.kd_combine = NULL;
		changed = ctl;
		changed.kc_struct_size -= missing == 3; /* an older program's has no room for what is added */
		CHECK(ktask_reduce(values, 8, &changed, &wrong, &result) == -EINVAL);
	}
	changed = ctl;
	changed.kc_min_chunk_size = 0;
	CHECK(ktask_reduce(values, 8, &changed, &sum, &result) == -EINVAL);
	CHECK(ktask_reduce(AT(UINTPTR_MAX - 8), 16, &ctl, &blocks, &result) == -EOVERFLOW);
	changed = ctl;
	ktask_ctl_set_undo_func(&changed, undo);
	CHECK(ktask_reduce(values, 8, &changed, &sum, &result) == -EINVAL);
	changed = ctl;
	ktask_ctl_set_iter_func(&changed, some_iterator);
	CHECK(ktask_reduce(values, 8, &changed, &blocks, &result) == -EINVAL);
	CHECK(ktask_reduce(values, 8, &changed, &sum, &result) == KTASK_RETURN_SUCCESS && result == values[0]);
	changed = ctl;
	ktask_ctl_set_align(&changed, 8);
	CHECK(ktask_reduce(values, 8, &changed, &blocks, &result) == -EINVAL);
	CHECK(ktask_reduce(values, KTASK_MAX_SIZE + 1, &ctl, &sum, &result) == -EOVERFLOW);
	CHECK(ktask_reduce(values, KTASK_MAX_SIZE, &ctl,
			   &(struct ktask_reduction){ SIZE_MAX / 2, &zero, refuse_value_77, join, 1 },
			   &result) == -ENOMEM);
	CHECK(result == values[0]);
}

int main(void)
{
	use_helpers(7);
	for (int i = 0; i < UNITS; i++)
		values[i] = 1.0 / (i + 1);
	all_is_folded();
	the_same_bits_for_any_number_of_threads();
	blocks_are_combined_in_their_order();
	failures_leave_the_result_alone();
	what_cannot_be_is_refused();
	return 0;
}
