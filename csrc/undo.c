/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * undo.c: a node's units were claimed in ascending order from its start, so at the end those before the cursor are
 * finished, but for the holes. What lies between the holes is undone.
 */
#include "undo.h"

void holes_add(struct holes *holes, const struct chunk *chunk)
{
	/* Relaxed: a place of one's own is all it gives; leaving the team publishes what is written there. */
	holes->chunk[atomic_fetch_add_explicit(&holes->nr, 1, memory_order_relaxed)] = *chunk;
}

/* By cursor, then by offset. Insertion, since qsort may allocate and there are few. */
static void sort(struct chunk *chunk, unsigned nr)
{
	for (unsigned i = 1; i < nr; i++) {
		struct chunk c = chunk[i];
		unsigned at = i;

		for (; at > 0 && (chunk[at - 1].cursor > c.cursor ||
				  (chunk[at - 1].cursor == c.cursor && chunk[at - 1].from > c.from));
		     at--)
			chunk[at] = chunk[at - 1];
		chunk[at] = c;
	}
}

size_t undo_finished(const struct cut *cut, struct holes *holes, const struct ktask_ctl *ctl)
{
	unsigned nr = atomic_load_explicit(&holes->nr, memory_order_relaxed);
	const struct chunk *hole = holes->chunk, *last = hole + nr;
	size_t calls = 0;

	sort(holes->chunk, nr);
	for (size_t i = 0; i < cut->nr_cursors; i++) {
		const struct cursor *c = &cut->cursors[i];
		size_t claimed = cursor_claimed(c), from = 0;
		void *start = c->start;

		for (;; hole++) {
			bool more = hole < last && hole->cursor == c;
			size_t to = more ? hole->from : claimed;
			void *end = more	     ? hole->start
				    : cut->iter_func ? c->position
						     : (void *)((uintptr_t)c->start + claimed);

			if (from < to) {
				ctl->kc_undo_func(start, end, ctl->kc_func_arg);
				calls++;
			}
			if (!more)
				break;
			from = hole->to;
			start = hole->end;
		}
	}
	return calls;
}
