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
 *   3. Folds are cut into leaves: folds.c. So is the search for the place of a minimum: positions.c.
 *   4. Everything else is passed on: accumulations, overlapping operands, folds that are not associative.
 *
 * Floating-point state belongs to a thread: a helper works with the caller's (rounding and the like), and the flags
 * that it raises are raised again in the caller.
 */
#include "../../../csrc/hot.h"
#include "loops_private.h"

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

/* ---- floating-point state --------------------------------------------------------------------------------------- */

void call_begin(struct call *call, const struct loop *loop, char **args, const intptr_t *steps)
{
	call->loop = loop;
	call->args = args;
	call->steps = steps;
	call->caller = &this_thread;
	fp_get(&call->fp);
	atomic_init(&call->flags, 0);
}

void enter_chunk(const struct call *call, struct fp *own)
{
	if (call->caller != &this_thread) /* in the caller everything is as it should be */
		fp_borrow(&call->fp, own);
}

void leave_chunk(struct call *call, const struct fp *own)
{
	int flags;

	if (call->caller == &this_thread)
		return;
	flags = fp_give_back(own);
	if (flags) /* relaxed: the caller reads it after the run */
		atomic_fetch_or_explicit(&call->flags, flags, memory_order_relaxed);
}

/* So many elements took DIRECT_NS. A fast run tells; a slow one (new memory, a CPU that is shared) may be so for once. */
static void learn(struct loop *loop, double elements)
{
	double old = (double)atomic_load_explicit(&loop->direct, memory_order_relaxed);
	double direct = elements > old ? elements : old - (old - elements) / 8;

	direct = direct < (double)loops_limits.direct_least  ? (double)loops_limits.direct_least
		 : direct > (double)loops_limits.direct_most ? (double)loops_limits.direct_most
							     : direct;
	atomic_store_explicit(&loop->direct, (size_t)direct, memory_order_relaxed);
}

void call_run(struct call *call, ktask_thread_func func, void *arg, size_t units, size_t n, const void *identity)
{
	struct loop *loop = (struct loop *)call->loop;
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, func, arg, units == n ? loops_limits.min_chunk : 1);
	int flags;

	ktask_ctl_set_align(&ctl, units == n ? ALIGN : 0);
	ktask_ctl_set_identity(&ctl, identity);
	ktask_ctl_set_report(&ctl, &report);
	ktask_run(NULL, units, &ctl); /* nothing in it can fail */

	flags = atomic_load_explicit(&call->flags, memory_order_relaxed);
	if (flags)
		feraiseexcept(flags);
	*loops_report() = report;
	if (report.kr_busy_ns)
		learn(loop, DIRECT_NS * (double)n / (double)report.kr_busy_ns);
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
	struct fp own;

	for (int k = 0; k < l->nargs; k++)
		args[k] = call->args[k] + from * call->steps[k];
	enter_chunk(call, &own);
	l->func(args, &n, call->steps, l->data);
	leave_chunk(call, &own);
	return KTASK_RETURN_SUCCESS;
}

/* ---- the call --------------------------------------------------------------------------------------------------- */

/* Not part of loop_call(), which would save registers for it whether it is needed or not. */
static __attribute__((noinline)) void call_in_chunks(struct loop *l, char **args, const intptr_t *dimensions,
						     const intptr_t *steps)
{
	size_t n = (size_t)dimensions[0];

	if (loops_inside()) {
		/* passed on */
	} else if (is_fold(l, args, steps)) {
		if (fold_in_chunks(l, args, n, steps))
			return;
	} else if (independent(l, args, steps, n)) {
		struct call call;

		call_begin(&call, l, args, steps);
		call_run(&call, do_elements, &call, n, n, l);
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

HOT void loop_call(char **args, const intptr_t *dimensions, const intptr_t *steps, void *loop)
{
	struct loop *l = loop;

	if ((size_t)dimensions[0] < atomic_load_explicit(&l->direct, memory_order_relaxed))
		l->func(args, dimensions, steps, l->data);
	else
		call_in_chunks(l, args, dimensions, steps);
}
