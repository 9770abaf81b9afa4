/* SPDX-License-Identifier: BSD-3-Clause */
/* share.h: how much of a run a thread takes at once. */
#ifndef KTASK_SHARE_H
#define KTASK_SHARE_H

#include "run_private.h"

/* No chunk should be shorter than this, where a call of the thread function alone takes so long. */
double share_floor_ns(uint64_t call_ns);

/* By the caller, when a helper waits awake: is a run of units that are known to take so long (0: not known) cut in batches? */
bool share_in_batches(const struct worker *caller, double ns_per_unit);

/* The size of the next chunk that w takes from its cursor, as one of so many threads. */
size_t share_size(const struct worker *w, unsigned threads);

/* By a helper that has done some of the run; and at the end, whether the units of all threads were even. */
void share_leave(const struct worker *helper);
void share_judge(const struct worker *caller, struct cost *cost);

#endif
