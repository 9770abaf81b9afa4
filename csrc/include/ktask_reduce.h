/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ktask_reduce.h: loops with a result: sums, extremes, histograms, any fold whose parts can be combined.
 *
 * In place of
 *
 *         result = init;
 *         error = fold(start, start + size, &result, arg);
 *
 * a program writes
 *
 *         struct ktask_reduction sum = { sizeof(double), &zero, fold, combine, 0 };
 *         error = ktask_reduce(start, size, &ctl, &sum, &result);
 *
 * Every thread folds its chunks into a result of its own; at the end the caller combines them. Needs nothing but
 * ktask.h, also with CONFIG_KTASK=0.
 */
#ifndef KTASK_REDUCE_H
#define KTASK_REDUCE_H

#include "ktask.h"

#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Folds the units from start up to, not including, end into a result. Returns like a ktask_thread_func. */
typedef int (*ktask_fold_func)(void *start, void *end, void *into, void *arg);

/* into = into (+) other: associative, and commutative too unless kd_block is set. */
typedef void (*ktask_combine_func)(void *into, const void *other, void *arg);

struct ktask_reduction {
	size_t kd_size;	     /* of a result, in bytes */
	const void *kd_init; /* what a result begins with; combining with it must change nothing */
	ktask_fold_func kd_fold;
	ktask_combine_func kd_combine;
	/*
	 * 0: which units are folded together depends on the threads, so that sums of floating-point numbers differ
	 * in the last bits from run to run. n: always n units, in the same order, combined as the same tree: the same
	 * bits for any number of threads. Takes room for one result for each n units.
	 */
	size_t kd_block;
};

/* A task's fold as its thread function sees it. */
struct ktask_reduce_task {
	const struct ktask_reduction *reduction;
	void *arg;
	char *results; /* stride bytes each: of a thread, or of a block */
	size_t stride;
	char *start; /* with blocks: */
	size_t size;
};

static inline int ktask_reduce_chunk(void *start, void *end, void *task_)
{
	const struct ktask_reduce_task *task = (const struct ktask_reduce_task *)task_;

	return task->reduction->kd_fold(start, end, task->results + (size_t)ktask_thread() * task->stride, task->arg);
}

/* Positions are the numbers of blocks. */
static inline int ktask_reduce_blocks(void *first, void *end, void *task_)
{
	const struct ktask_reduce_task *task = (const struct ktask_reduce_task *)task_;
	size_t block = task->reduction->kd_block;

	for (size_t i = (size_t)(uintptr_t)first; i < (size_t)(uintptr_t)end; i++) {
		size_t from = i * block, to = task->size - from > block ? from + block : task->size;
		int error = task->reduction->kd_fold((void *)((uintptr_t)task->start + from),
						     (void *)((uintptr_t)task->start + to),
						     task->results + i * task->stride, task->arg);

		if (error)
			return error;
	}
	return KTASK_RETURN_SUCCESS;
}

/*
 * Folds task_size units from start on into *result (kd_size bytes, aligned as the type needs), with what ctl says of
 * arg, minimum chunk, iterator, threads, polling, report and trace; its thread function is not used.
 *
 * Returns as ktask_run does, and -ENOMEM (-12) where there is no room for the results; *result is written only
 * if all went well. -EINVAL (-22) too when ctl has an undo function (a fold changes nothing), or an iterator or an
 * alignment where kd_block is set. Memory is taken before the work begins and given back after it ends.
 */
static inline int ktask_reduce(void *start, size_t task_size, const struct ktask_ctl *ctl,
			       const struct ktask_reduction *reduction, void *result)
{
	struct ktask_reduce_task task = { reduction, NULL, NULL, 0, (char *)start, task_size };
	struct ktask_ctl own;
	size_t nr, block;
	int error;

	if (!ctl || !reduction || !result || !reduction->kd_size || !reduction->kd_init || !reduction->kd_fold ||
	    !reduction->kd_combine || ctl->kc_struct_size != sizeof(own))
		return -22;
	own = *ctl;
	block = reduction->kd_block;
	if (own.kc_undo_func || !own.kc_min_chunk_size ||
	    (block && (own.kc_align > 1 || (own.kc_iter_func && own.kc_iter_func != ktask_iter_range))))
		return -22;
	if (task_size > KTASK_MAX_SIZE || (block && task_size > UINTPTR_MAX - (uintptr_t)start))
		return -75; /* -EOVERFLOW */

	/* Results of threads share no cache line. */
	task.stride = block ? reduction->kd_size : (reduction->kd_size + 63) / 64 * 64 + 64;
	nr = block ? task_size / block + (task_size % block != 0) : ktask_max_threads();
	if (nr > SIZE_MAX / task.stride || !(task.results = (char *)malloc(nr ? nr * task.stride : 1)))
		return -12; /* -ENOMEM */
	for (size_t i = 0; i < nr; i++)
		memcpy(task.results + i * task.stride, reduction->kd_init, reduction->kd_size);

	task.arg = own.kc_func_arg;
	own.kc_func_arg = &task;
	own.kc_thread_func = block ? ktask_reduce_blocks : ktask_reduce_chunk;
	if (!own.kc_identity) {
		union {
			ktask_fold_func func;
			const void *address;
		} fold;

		fold.func = reduction->kd_fold;
		own.kc_identity = fold.address;
	}
	if (block) {
		own.kc_min_chunk_size = own.kc_min_chunk_size / block + (own.kc_min_chunk_size % block != 0);
		own.kc_iter_func = NULL;
		error = ktask_run(NULL, nr, &own);
	} else {
		error = ktask_run(start, task_size, &own);
	}

	/* Neighbours first: the tree depends on their number only, and rounding errors grow with its height. */
	for (size_t step = 1; !error && step < nr; step *= 2)
		for (size_t i = 0; i + step < nr; i += 2 * step)
			reduction->kd_combine(task.results + i * task.stride, task.results + (i + step) * task.stride,
					      task.arg);
	if (!error)
		memcpy(result, nr ? task.results : (const char *)reduction->kd_init, reduction->kd_size);
	free(task.results);
	return error;
}

#ifdef __cplusplus
}
#endif

#endif /* KTASK_REDUCE_H */
