/* SPDX-License-Identifier: BSD-3-Clause */
/* undo.h: what was done of a task that failed, and giving it back. */
#ifndef KTASK_UNDO_H
#define KTASK_UNDO_H

#include "chunk.h"

/*
 * Chunks that were claimed but are not done. A thread adds one at most, since it stops at it, and who takes its place in
 * the team afterwards sees the failure (take_place in team.c) and claims nothing: so there is room for as many as the
 * run may have threads. Only the caller reads, once they are gone.
 */
struct holes {
	_Atomic unsigned nr;
	struct chunk *chunk;
};

void holes_add(struct holes *holes, const struct chunk *chunk);

/*
 * Calls ctl's undo function on all that was claimed of the cut, but for the holes: in the order of the nodes, within
 * each in ascending order, chunks that follow each other joined. Returns how many calls that were. Caller only, when
 * no other thread works on the task any more.
 */
size_t undo_finished(const struct cut *cut, struct holes *holes, const struct ktask_ctl *ctl);

#endif
