/* SPDX-License-Identifier: BSD-3-Clause */
/* loops_private.h: a large call and the threads at work on it, as the ways to cut one share them. */
#ifndef KTASK_LOOPS_PRIVATE_H
#define KTASK_LOOPS_PRIVATE_H

#include "fp.h"
#include "loops.h"

#include <ktask.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What the threads of a call share. */
struct call {
	const struct loop *loop;
	char **args;
	const intptr_t *steps;
	const int *caller; /* stands for its thread */
	struct fp fp;	   /* the caller's */
	atomic_int flags;  /* raised by helpers */
};

void call_begin(struct call *call, const struct loop *loop, char **args, const intptr_t *steps);

/* Around each chunk: floating-point state is the caller's, and flags come back to it. */
void enter_chunk(const struct call *call, struct fp *own);
void leave_chunk(struct call *call, const struct fp *own);

/* Runs func(..., arg) over so many units, which are n elements, and remembers how many are worth it. */
void call_run(struct call *call, ktask_thread_func func, void *arg, size_t units, size_t n, const void *identity);

/* How often n elements are to be halved, for parts that are worth a result each; 0: not at all. */
unsigned depth_of(size_t n);

/* folds.c: what a call is, and that it has been done; false where it is not to be cut. */
bool is_fold(const struct loop *loop, char **args, const intptr_t *steps);
bool fold_in_chunks(struct loop *loop, char **args, size_t n, const intptr_t *steps);

#endif
