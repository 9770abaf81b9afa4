/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loops.c: NumPy's inner loops as thread functions.
 *
 * Words: an elementwise call writes each output element once, from the inputs' elements with the same index; a fold
 * (NumPy: a reduction) combines all elements of an input with the one output element.
 *
 *   1. A call with few elements is passed on (loop_call).
 *   2. An elementwise call is cut anywhere, if no output overlaps another operand; but for operands that are the same
 *      elements, as in x += 1. Chunks end at multiples of ALIGN elements from the start, so that loops that do several
 *      elements at once treat the same ones as their remainder, whoever does them.
 *   3. A fold is cut into 2^depth leaves whose place depends on the number of elements only. Each has a result of its
 *      own; the caller combines them in order. So the result does not depend on who did what. Floating-point sums
 *      are cut where NumPy's pairwise summation cuts them: into halves, the first a multiple of 8 numbers; the result
 *      has the same bits as NumPy's.
 *   4. Everything else is passed on: accumulations, overlapping operands, folds that are not associative.
 *
 * Floating-point state belongs to a thread: a helper works with the caller's (rounding and the like), and the flags
 * that it raises are raised again in the caller.
 */
#include "loops.h"

#include <fenv.h>
#include <ktask.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

/* A multiple of what any loop does at once, in elements. */
enum { ALIGN = 64 };

/* Calls that would take less than this are passed on: beside it, a run's own cost shows. */
#define DIRECT_NS 5000

struct loops_limits loops_limits = {
	.direct_first = 4096,
	.direct_least = 512,
	.direct_most = 32768,
	.min_chunk = 1024,
	.min_leaf = 8192,
	.split_size = 1 << 16,
};

/* How many loops_enter() were called. Its address stands for the thread. */
static _Thread_local int this_thread;

/* What the threads of a call share. */
struct call {
	const struct loop *loop;
	char **args;
	const intptr_t *steps;
	const int *caller; /* this_thread of it */
	fenv_t env;	   /* the caller's */
	atomic_int flags;  /* raised by helpers */
};

struct fold_call {
	struct call call;
	size_t n;
	unsigned depth;
	char *results;	     /* one for each leaf */
	atomic_bool decided; /* an absorbing result was found */
};

/* ---- floating-point state --------------------------------------------------------------------------------------- */

static void begin(struct call *call, const struct loop *loop, char **args, const intptr_t *steps)
{
	call->loop = loop;
	call->args = args;
	call->steps = steps;
	call->caller = &this_thread;
	fegetenv(&call->env);
	atomic_init(&call->flags, 0);
}

static void enter_chunk(const struct call *call, fenv_t *own)
{
	if (call->caller == &this_thread)
		return; /* in the caller everything is as it should be */
	fegetenv(own);
	fesetenv(&call->env);
	feclearexcept(FE_ALL_EXCEPT);
}

static void leave_chunk(struct call *call, const fenv_t *own)
{
	int flags;

	if (call->caller == &this_thread)
		return;
	flags = fetestexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
	if (flags) /* relaxed: the caller reads it after the run */
		atomic_fetch_or_explicit(&call->flags, flags, memory_order_relaxed);
	fesetenv(own);
}

/* Runs the chunks and remembers how many elements are worth it. */
static void run(struct call *call, ktask_thread_func func, void *arg, size_t units, size_t n, const void *identity)
{
	struct loop *loop = (struct loop *)call->loop;
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, func, arg, units == n ? loops_limits.min_chunk : 1);
	uint64_t ns;
	int flags;

	ktask_ctl_set_align(&ctl, units == n ? ALIGN : 0);
	ktask_ctl_set_identity(&ctl, identity);
	ktask_ctl_set_report(&ctl, &report);
	ktask_run(NULL, units, &ctl); /* nothing in it can fail */

	flags = atomic_load_explicit(&call->flags, memory_order_relaxed);
	if (flags)
		feraiseexcept(flags);
	*loops_report() = report;
	ns = report.kr_ns * report.kr_threads;
	if (ns) {
		size_t direct = (size_t)(DIRECT_NS * (double)n / (double)ns);

		direct = direct < loops_limits.direct_least  ? loops_limits.direct_least
			 : direct > loops_limits.direct_most ? loops_limits.direct_most
							     : direct;
		atomic_store_explicit(&loop->direct, direct, memory_order_relaxed);
	}
}

/* ---- elementwise ------------------------------------------------------------------------------------------------ */

struct extent {
	uintptr_t from;
	uintptr_t to;
};

static struct extent extent(const char *start, size_t n, intptr_t step, size_t size)
{
	uintptr_t first = (uintptr_t)start, last = first + (uintptr_t)((intptr_t)(n - 1) * step);

	return first < last ? (struct extent){ first, last + size } : (struct extent){ last, first + size };
}

static bool disjoint(struct extent a, struct extent b)
{
	return a.to <= b.from || b.to <= a.from;
}

static size_t distance(intptr_t step)
{
	return step < 0 ? (size_t)-step : (size_t)step;
}

/* Does each element depend on nothing that another one writes? */
static bool independent(const struct loop *l, char **args, const intptr_t *steps, size_t n)
{
	for (int o = l->nin; o < l->nargs; o++) {
		struct extent out = extent(args[o], n, steps[o], l->size[o]);

		if (distance(steps[o]) < l->size[o])
			return false;
		for (int k = 0; k < o; k++) {
			bool same = args[k] == args[o] && steps[k] == steps[o] && l->size[k] <= distance(steps[k]);

			if (!same && !disjoint(out, extent(args[k], n, steps[k], l->size[k])))
				return false;
		}
	}
	return true;
}

static int do_elements(void *start, void *end, void *arg)
{
	struct call *call = arg;
	const struct loop *l = call->loop;
	intptr_t from = (intptr_t)start, n = (intptr_t)end - from;
	char *args[LOOP_MAX_ARGS];
	fenv_t own;

	for (int k = 0; k < l->nargs; k++)
		args[k] = call->args[k] + from * call->steps[k];
	enter_chunk(call, &own);
	l->func(args, &n, call->steps, l->data);
	leave_chunk(call, &own);
	return KTASK_RETURN_SUCCESS;
}

/* ---- folds ------------------------------------------------------------------------------------------------------ */

static bool is_fold(const struct loop *l, char **args, const intptr_t *steps)
{
	return l->nin == 2 && l->nargs == 3 && args[0] == args[2] && steps[0] == 0 && steps[2] == 0;
}

static bool is_complex(const struct loop *l)
{
	return l->type == 'F' || l->type == 'D' || l->type == 'G';
}

/* How often n elements are to be halved. */
static unsigned depth_of(size_t n)
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
	fenv_t own;

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

static void fold(struct loop *l, char **args, size_t n, const intptr_t *steps, unsigned depth)
{
	struct fold_call f = { .n = n, .depth = depth };
	_Alignas(max_align_t) char results[2 * sizeof(long double) << LOOP_MAX_DEPTH];

	begin(&f.call, l, args, steps);
	f.results = results;
	atomic_init(&f.decided, false);
	run(&f.call, do_leaves, &f, (size_t)1 << depth, n, &l->folds[depth]);
	combine(&f, args[2]);
}

/* ---- the call --------------------------------------------------------------------------------------------------- */

static void call_in_chunks(struct loop *l, char **args, const intptr_t *dimensions, const intptr_t *steps)
{
	size_t n = (size_t)dimensions[0];

	if (loops_inside()) {
		/* passed on */
	} else if (is_fold(l, args, steps)) {
		unsigned depth = depth_of(n);

		if (l->fold != FOLD_SERIAL && depth > 0) {
			fold(l, args, n, steps, depth);
			return;
		}
	} else if (independent(l, args, steps, n)) {
		struct call call;

		begin(&call, l, args, steps);
		run(&call, do_elements, &call, n, n, l);
		return;
	}
	l->func(args, dimensions, steps, l->data);
}

void loops_enter(void)
{
	this_thread++;
}

void loops_leave(void)
{
	this_thread--;
}

int loops_inside(void)
{
	return this_thread;
}

void loop_init(struct loop *loop)
{
	atomic_init(&loop->direct, loops_limits.direct_first);
}

void loop_call(char **args, const intptr_t *dimensions, const intptr_t *steps, void *loop)
{
	struct loop *l = loop;

	if ((size_t)dimensions[0] < atomic_load_explicit(&l->direct, memory_order_relaxed))
		l->func(args, dimensions, steps, l->data);
	else
		call_in_chunks(l, args, dimensions, steps);
}
