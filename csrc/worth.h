/* SPDX-License-Identifier: BSD-3-Clause */
/* worth.h: is a helper worth to a run what it costs? The reasons are told in worth.c. */
#ifndef KTASK_WORTH_H
#define KTASK_WORTH_H

#include "run_private.h"

/* Is work that takes so long not even worth a helper that waits awake? */
bool worth_none(double ns);

/* What is left has to take longer than this for one more helper to gain anything: for one that waits awake; and for any. */
double worth_least_awake(const struct plan *plan);
double worth_least(const struct plan *plan);

/* The same for one that is asleep, where a run of so many units is known to take ns. */
double worth_least_known(const struct run *run, size_t units, double ns);

/* If one were worth it, could a run of so many units have a helper? */
bool worth_may_have(const struct run *run, size_t units);

/* How a run went on that was known to take ns: it has called helpers, and one came; or it did without since they are so dear. */
void worth_called(const struct plan *plan, double ns, bool came);
void worth_declined(const struct plan *plan, double ns);

/* Did the last run call none, where this one knows how long it takes? Then its helper will be later than others. */
bool worth_is_first(const struct plan *plan);

#endif
