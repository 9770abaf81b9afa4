/* SPDX-License-Identifier: BSD-3-Clause */
/* NumPy's inner loops in chunks: the same results and floating-point flags, whatever the operands and the threads. */
#include "check.h"
#include "ktask.h"
#include "loops.h"

#include <fenv.h>
#include <math.h>
#include <stdbool.h>
#include <time.h>

enum { N = 40000 };

static double a[N + 1], b[N + 1], out[N + 1], expected[N + 1];
static struct ktask_report reported;

static struct ktask_report *report_here(void)
{
	return &reported;
}

struct ktask_report *(*const loops_report)(void) = report_here;

/* NumPy's pairwise summation, less unrolled. */
static double pairwise(const char *in, intptr_t n, intptr_t step)
{
	double sum = -0.0;

	if (n > 128) {
		intptr_t half = n / 2 - n / 2 % 8;

		return pairwise(in, half, step) + pairwise(in + half * step, n - half, step);
	}
	for (intptr_t i = 0; i < n; i++)
		sum += *(const double *)(const void *)(in + i * step);
	return sum;
}

static void add(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data)
{
	CHECK(data == a);
	if (args[0] == args[2] && steps[0] == 0 && steps[2] == 0) {
		*(double *)(void *)args[0] += pairwise(args[1], dimensions[0], steps[1]);
		return;
	}
	for (intptr_t i = 0; i < dimensions[0]; i++)
		*(double *)(void *)(args[2] + i * steps[2]) =
			*(double *)(void *)(args[0] + i * steps[0]) + *(double *)(void *)(args[1] + i * steps[1]);
}

static void divide(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data)
{
	(void)data;
	for (intptr_t i = 0; i < dimensions[0]; i++)
		*(double *)(void *)(args[2] + i * steps[2]) = *(volatile double *)(void *)(args[0] + i * steps[0]) /
							      *(volatile double *)(void *)(args[1] + i * steps[1]);
}

/* On x86-64 these are the x87's, which has modes and flags of its own. */
static long double long_a[N], long_b[N], long_out[N], long_expected[N];

static void divide_long(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data)
{
	(void)steps, (void)data;
	for (intptr_t i = 0; i < dimensions[0]; i++)
		((volatile long double *)(void *)args[2])[i] =
			((volatile long double *)(void *)args[0])[i] / ((volatile long double *)(void *)args[1])[i];
}

static void any(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data)
{
	(void)data;
	CHECK(args[0] == args[2]);
	for (intptr_t i = 0; i < dimensions[0]; i++)
		*args[0] |= args[1][i * steps[1]];
}

/* Both ways with what a and b are now: out is compared, which may overlap them. */
static void compare(struct loop *l, size_t n, double *x, intptr_t x_step, double *y, intptr_t y_step, double *z,
		    intptr_t z_step)
{
	static double saved_a[N + 1], saved_b[N + 1];
	intptr_t count = (intptr_t)n, steps[] = { x_step * 8, y_step * 8, z_step * 8 };

	memcpy(saved_a, a, sizeof(a));
	memcpy(saved_b, b, sizeof(b));
	memset(out, 0, sizeof(out));
	l->func((char *[]){ (char *)x, (char *)y, (char *)z }, &count, steps, l->data);
	memcpy(expected, z >= out && z <= out + N ? out : a, sizeof(expected));
	memcpy(a, saved_a, sizeof(a));
	memcpy(b, saved_b, sizeof(b));
	memset(out, 0, sizeof(out));
	loop_call((char *[]){ (char *)x, (char *)y, (char *)z }, &count, steps, l);
	CHECK(memcmp(expected, z >= out && z <= out + N ? out : a, sizeof(expected)) == 0);
	memcpy(a, saved_a, sizeof(a));
}

static void elementwise(struct loop *l)
{
	for (size_t n = 1; n <= N; n = n * 3 + 1) {
		compare(l, n, a, 1, b, 1, out, 1);
		compare(l, n, a, 0, b, 1, out, 1);
		compare(l, n, a, 1, b + n - 1, -1, out + n - 1, -1);
		compare(l, n / 2, a, 2, b, 1, out + 1, 2);
		compare(l, n, a, 1, b, 1, a, 1);     /* in place */
		compare(l, n, a + 1, 1, b, 1, a, 1); /* ahead of the output */
		compare(l, n, a, 1, b, 1, a + 1, 1); /* accumulates */
		compare(l, n, a, 1, b, 1, out, 0);   /* the last one counts */
	}
}

static void folds(struct loop *l)
{
	for (size_t n = 1; n <= N; n = n * 3 + 1) {
		compare(l, n, out, 0, b, 1, out, 0);
		compare(l, n, out, 0, b + n - 1, -1, out, 0);
		compare(l, n / 2, out, 0, b, 2, out, 0);
	}
	CHECK(reported.kr_chunks > 0);
}

static void finds_any(void)
{
	struct loop l = { .func = any, .nin = 2, .nargs = 3, .size = { 1, 1, 1 }, .fold = FOLD_ANYHOW, .absorbing = 1 };
	static char flags[N];

	loop_init(&l);
	for (size_t at = 0; at <= N; at += N / 4) {
		char result = 0;

		memset(flags, 0, N);
		if (at < N)
			flags[at] = 1;
		loop_call((char *[]){ &result, flags, &result }, (intptr_t[]){ N }, (intptr_t[]){ 0, 1, 0 }, &l);
		CHECK(result == (at < N));
	}
}

static void raises_flags(void)
{
	struct loop l = { .func = divide, .nin = 2, .nargs = 3, .size = { 8, 8, 8 }, .absorbing = -1 };

	loop_init(&l);
	for (int i = 0; i < 50; i++) {
		b[N - 1] = i % 2 ? 0 : 1;
		feclearexcept(FE_ALL_EXCEPT);
		loop_call((char *[]){ (char *)a, (char *)b, (char *)out }, (intptr_t[]){ N }, (intptr_t[]){ 8, 8, 8 },
			  &l);
		CHECK(!fetestexcept(FE_DIVBYZERO) == !(i % 2));
		CHECK(!fetestexcept(FE_INVALID));
	}
	b[N - 1] = 1;
	/* Helpers round as the caller does. */
	fesetround(FE_UPWARD);
	compare(&l, N, a, 1, b, 1, out, 1);
	fesetround(FE_TONEAREST);
	/* A part of something larger is not cut. */
	reported.kr_chunks = 0;
	loops_enter();
	compare(&l, N, a, 1, b, 1, out, 1);
	loops_leave();
	CHECK(reported.kr_chunks == 0);
}

static const volatile double one = 1, three = 3;
static const volatile long double long_one = 1, long_three = 3;

static int rounds_as_ever(void *start, void *end, void *unused)
{
	(void)start, (void)end, (void)unused;
	/* So long that helpers are called, each time: who came is in the report. */
	nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	CHECK(one / three == 1.0 / 3 && long_one / long_three == 1.0L / 3);
	CHECK(-one / three == -1.0 / 3 && -long_one / long_three == -1.0L / 3); /* upwards, one of the two is another */
	return KTASK_RETURN_SUCCESS;
}

/* The same, in long doubles; and nothing of one call is left in a helper for the next. */
static void leaves_helpers_as_they_were(void)
{
	struct loop l = { .func = divide_long, .nin = 2, .nargs = 3, .absorbing = -1 };
	char *args[] = { (char *)long_a, (char *)long_b, (char *)long_out };
	char *serial[] = { (char *)long_a, (char *)long_b, (char *)long_expected };
	const intptr_t n = N, step = sizeof(*long_a), steps[] = { step, step, step }, double_steps[] = { 8, 8, 8 };
	struct loop doubles = { .func = divide, .nin = 2, .nargs = 3, .size = { 8, 8, 8 }, .absorbing = -1 };
	char *double_args[] = { (char *)a, (char *)b, (char *)out };
	int helped = 0;
	static const int modes[] = { FE_TONEAREST, FE_UPWARD, FE_TONEAREST, FE_DOWNWARD };

	for (int k = 0; k < 3; k++)
		l.size[k] = sizeof(*long_a);
	loop_init(&l);
	loop_init(&doubles);
	for (int i = 0; i < N; i++) {
		long_a[i] = i + 1;
		long_b[i] = 3;
	}
	for (int i = 0; i < 100 || helped < 100; i++) {
		fesetround(modes[i % 4]);
		long_b[N - 1] = i / 4 % 2 ? 0 : 3;
		divide_long(serial, &n, steps, NULL);
		feclearexcept(FE_ALL_EXCEPT);
		loop_call(args, &n, steps, &l);
		CHECK(!fetestexcept(FE_DIVBYZERO) == !(i / 4 % 2));
		CHECK(!fetestexcept(FE_INVALID));
		CHECK(fegetround() == modes[i % 4]);
		helped += reported.kr_threads > 1;
		for (int k = 0; k < N; k++)
			CHECK(long_out[k] == long_expected[k]);
	}
	/* Helpers have their own modes again. */
	for (helped = 0; helped<20; helped += reported.kr_threads> 1) {
		DEFINE_KTASK_CTL(ctl, rounds_as_ever, NULL, 1);

		ktask_ctl_set_report(&ctl, &reported);
		fesetround(FE_UPWARD);
		loop_call(double_args, &n, double_steps, &doubles);
		loop_call(args, &n, steps, &l);
		fesetround(FE_TONEAREST);
		CHECK(ktask_run(NULL, 60, &ctl) == KTASK_RETURN_SUCCESS);
	}
}

static void takes_long(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data)
{
	(void)args, (void)dimensions, (void)steps, (void)data;
	nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
}

/* What is worth a run is not forgotten because one of them was slow. */
static void one_slow_run_tells_little(void)
{
	struct loop l = { .func = takes_long, .nin = 1, .nargs = 2, .size = { 8, 8 }, .absorbing = -1 };
	const struct loops_limits before = loops_limits;

	loops_limits.direct_first = N / 2;
	loops_limits.direct_most = N;
	loop_init(&l);
	loop_call((char *[]){ (char *)a, (char *)out }, (intptr_t[]){ N }, (intptr_t[]){ 8, 8 }, &l);
	CHECK(l.direct < N / 2 && l.direct >= N / 2 / 8 * 7);
	loops_limits = before;
}

int main(void)
{
	struct loop l = {
		.func = add,
		.data = a,
		.nin = 2,
		.nargs = 3,
		.size = { 8, 8, 8 },
		.fold = FOLD_PAIRWISE,
		.type = 'd',
		.absorbing = -1,
	};

	use_helpers(3);
	loops_limits = (struct loops_limits){
		.direct_first = 2, .direct_least = 2, .direct_most = 2, .min_chunk = 1, .min_leaf = 128
	};
	loop_init(&l);
	for (int i = 0; i <= N; i++) {
		a[i] = sin(i);
		b[i] = cos(i) * 1e3 + 2e3;
	}
	elementwise(&l);
	folds(&l);
	finds_any();
	raises_flags();
	leaves_helpers_as_they_were();
	one_slow_run_tells_little();
	return 0;
}
