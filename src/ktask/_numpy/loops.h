/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loops.h: inner loops in the manner of NumPy's ufuncs, run in chunks by ktask.
 *
 * An inner loop does dimensions[0] elements: operand k of element i is at args[k] + i * steps[k], inputs first. A
 * struct loop wraps one: whoever called func(args, dimensions, steps, data) calls loop_call(args, dimensions, steps,
 * loop) instead and gets the same result, bit for bit, and the same floating-point flags.
 *
 * Thread-safety: loop_call may be called from any thread, also for the same loop.
 */
#ifndef KTASK_LOOPS_H
#define KTASK_LOOPS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*inner_loop)(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data);

enum { LOOP_MAX_ARGS = 8, LOOP_MAX_DEPTH = 8 };

/* How a reduction, out = out op in[0] op in[1] ..., may be cut. */
enum fold {
	FOLD_SERIAL,   /* not at all */
	FOLD_ANYHOW,   /* the result is the same however it is cut: integers, minima */
	FOLD_PAIRWISE, /* floating-point sums: only where NumPy's own pairwise summation cuts them */
};

/* One loop of a ufunc, for one combination of types. Written once, before its first call, but for direct. */
struct loop {
	inner_loop func;
	void *data;
	atomic_size_t direct; /* fewer elements than that are not worth a run. Here, as all that small calls look at */
	int nin;
	int nargs;
	size_t size[LOOP_MAX_ARGS]; /* of an element of each operand, in bytes */
	enum fold fold;
	char type;     /* of a FOLD_PAIRWISE loop's elements: f, d or g, or F, D, G where they are complex */
	int absorbing; /* a one-byte result that nothing changes any more; -1: there is none */
	char folds[LOOP_MAX_DEPTH + 1]; /* their addresses stand for reductions cut so many times, see kc_identity */
};

/* What is worth doing, in elements. To be changed by tests only, before the first call. */
struct loops_limits {
	/*
	 * Calls with fewer elements are passed on: to begin with direct_first, later what the loop's runs have shown, but
	 * within these bounds. A fast run counts at once, a slow one for an eighth.
	 */
	size_t direct_first, direct_least, direct_most;
	size_t min_chunk;
	size_t min_leaf;   /* of a fold */
	size_t split_size; /* a call that is not one loop is made as several */
};

extern struct loops_limits loops_limits;

/* Where this thread's runs are reported; defined by the program that these loops are part of. */
extern struct ktask_report *(*const loops_report)(void);

/*
 * The place of a minimum or maximum, as NumPy's dtypes have it: writes the index of one of n elements, and returns 0.
 * find_position does the same as func, for a loop whose size[0] is an element's; it is the first one of equals.
 */
typedef int (*arg_func)(void *elements, intptr_t n, intptr_t *index, void *array);

int find_position(struct loop *loop, arg_func func, void *elements, intptr_t n, intptr_t *index, void *array);

/* To be called once, when the other members are written. */
void loop_init(struct loop *loop);

/* Calls loop->func, or runs it in chunks if there is enough to do. */
void loop_call(char **args, const intptr_t *dimensions, const intptr_t *steps, void *loop);

/*
 * Between these two, which may be nested, this thread's calls are passed on: it is doing a chunk of something larger.
 */
void loops_enter(void);
void loops_leave(void);
int loops_inside(void);

#endif
