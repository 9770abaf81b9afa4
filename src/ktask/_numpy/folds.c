/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * folds.c: reductions in chunks.
 *
 * The elements are cut into 2^depth leaves, whose place depends on the number of elements only. Each has a result of its
 * own, and the caller combines them in order: so the result does not depend on who did what. Floating-point sums are cut
 * where NumPy's pairwise summation cuts them: into halves, the first a multiple of 8 numbers; the result has the same
 * bits as NumPy's.
 */
#include "loops_private.h"

#include <string.h>

enum { RESULTS_SIZE = 2 * sizeof(long double) << LOOP_MAX_DEPTH };

struct fold_call {
	struct call call;
	size_t n;
	unsigned depth;
	char *results;	     /* one for each leaf */
	atomic_bool decided; /* an absorbing result was found */
};

bool is_fold(const struct loop *l, char **args, const intptr_t *steps)
{
	return l->nin == 2 && l->nargs == 3 && args[0] == args[2] && steps[0] == 0 && steps[2] == 0;
}

static bool is_complex(const struct loop *l)
{
	return l->type == 'F' || l->type == 'D' || l->type == 'G';
}

unsigned depth_of(size_t n)
{
	unsigned depth = 0;

	while (depth < LOOP_MAX_DEPTH && n >> (depth + 1) >= loops_limits.min_leaf)
		depth++;
	return depth;
}

/* Where the first half of n elements ends, as NumPy's pairwise summation has it; that counts complex numbers twice. */
static size_t half(const struct loop *l, size_t n)
{
	size_t numbers = is_complex(l) ? 2 : 1;
	size_t first = n * numbers / 2;

	return (first - first % 8) / numbers;
}

/* The elements of a leaf, counted from the left. */
static void find_leaf(const struct fold_call *f, size_t leaf, size_t *from, size_t *n)
{
	*from = 0;
	*n = f->n;
	for (unsigned level = f->depth; level-- > 0;) {
		size_t first = half(f->call.loop, *n);

		if (leaf >> level & 1) {
			*from += first;
			*n -= first;
		} else {
			*n = first;
		}
	}
}

/* -0.0 is what changes no sum. */
static void set_to_nothing(const struct loop *l, void *result)
{
	switch (l->type) {
	case 'f':
		*(float *)result = -0.0f;
		break;
	case 'd':
		*(double *)result = -0.0;
		break;
	case 'g':
		*(long double *)result = -0.0L;
		break;
	case 'F':
		((float *)result)[0] = ((float *)result)[1] = -0.0f;
		break;
	case 'D':
		((double *)result)[0] = ((double *)result)[1] = -0.0;
		break;
	case 'G':
		((long double *)result)[0] = ((long double *)result)[1] = -0.0L;
		break;
	}
}

/* result op= n elements from in. */
static void fold_serially(const struct loop *l, char *result, char *in, intptr_t n, intptr_t step)
{
	char *args[] = { result, in, result };
	intptr_t steps[] = { 0, step, 0 };

	l->func(args, &n, steps, l->data);
}

static void do_leaf(struct fold_call *f, size_t leaf)
{
	const struct loop *l = f->call.loop;
	char *result = f->results + leaf * l->size[0];
	intptr_t step = f->call.steps[1];
	size_t from, n;
	char *in;

	find_leaf(f, leaf, &from, &n);
	in = f->call.args[1] + (intptr_t)from * step;
	if (l->fold == FOLD_PAIRWISE) {
		set_to_nothing(l, result);
		fold_serially(l, result, in, (intptr_t)n, step);
		return;
	}
	memcpy(result, in, l->size[0]);
	if (atomic_load_explicit(&f->decided, memory_order_relaxed))
		return; /* another leaf's result will do */
	fold_serially(l, result, in + step, (intptr_t)n - 1, step);
	if (l->absorbing >= 0 && *result == l->absorbing)
		atomic_store_explicit(&f->decided, true, memory_order_relaxed);
}

static int do_leaves(void *start, void *end, void *arg)
{
	struct fold_call *f = arg;
	struct fp own;

	enter_chunk(&f->call, &own);
	for (size_t leaf = (size_t)start; leaf < (size_t)end; leaf++)
		do_leaf(f, leaf);
	leave_chunk(&f->call, &own);
	return KTASK_RETURN_SUCCESS;
}

/* Adds neighbours until one sum is left, of so many numbers (2: a complex one), and adds that to out. */
#define SUM_UP(type, numbers)                                                                                          \
	do {                                                                                                           \
		type *sum = results, *total = out;                                                                     \
                                                                                                                       \
		for (size_t nr = (size_t)1 << f->depth; nr > 1; nr /= 2)                                               \
			for (size_t i = 0; i < nr / 2; i++)                                                            \
				for (size_t k = 0; k < (numbers); k++)                                                 \
					sum[i * (numbers) + k] =                                                       \
						sum[2 * i * (numbers) + k] + sum[(2 * i + 1) * (numbers) + k];         \
		for (size_t k = 0; k < (numbers); k++)                                                                 \
			total[k] = total[k] + sum[k];                                                                  \
	} while (0)

static void combine(struct fold_call *f, void *out)
{
	const struct loop *l = f->call.loop;
	void *results = f->results;

	if (l->fold == FOLD_ANYHOW) {
		fold_serially(l, out, f->results, (intptr_t)1 << f->depth, (intptr_t)l->size[0]);
		return;
	}
	switch (l->type) {
	case 'f':
		SUM_UP(float, 1);
		break;
	case 'd':
		SUM_UP(double, 1);
		break;
	case 'g':
		SUM_UP(long double, 1);
		break;
	case 'F':
		SUM_UP(float, 2);
		break;
	case 'D':
		SUM_UP(double, 2);
		break;
	case 'G':
		SUM_UP(long double, 2);
		break;
	}
}

bool fold_in_chunks(struct loop *l, char **args, size_t n, const intptr_t *steps)
{
	struct fold_call f = { .n = n, .depth = l->fold == FOLD_SERIAL ? 0 : depth_of(n) };
	_Alignas(max_align_t) char results[RESULTS_SIZE];

	if (f.depth == 0)
		return false;
	call_begin(&f.call, l, args, steps);
	f.results = results;
	atomic_init(&f.decided, false);
	call_run(&f.call, do_leaves, &f, (size_t)1 << f.depth, n, &l->folds[f.depth]);
	combine(&f, args[2]);
	return true;
}
