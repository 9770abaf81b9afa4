/* SPDX-License-Identifier: BSD-3-Clause */
/* priority.h: helpers step back for everybody else, and a waiting caller never for a helper. */
#ifndef KTASK_PRIORITY_H
#define KTASK_PRIORITY_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * May this process raise a thread's priority again after lowering it? Tried out on a thread of its own, since neither
 * the capability (user namespaces) nor the resource limit (RLIMIT_NICE) alone tells. Call once, before the first helper.
 */
void priority_probe(void);
bool priority_privileged(void);

/*
 * What a helper does first, for itself: SCHED_BATCH, whose wake-ups pre-empt nobody, and nice 19 where that can be taken
 * back. Elsewhere it keeps the nice it was made with: a nice 19 for ever would leave the caller waiting behind a starved
 * helper.
 */
void priority_step_back(void);

/* The nice of the calling thread. */
int priority_of_caller(void);

/* Gives thread tid a nice; HELPERS_NICE is what helpers have as a rule. For the privileged only. */
enum { HELPERS_NICE = 19 };
void priority_set(pid_t tid, int nice);

#endif
