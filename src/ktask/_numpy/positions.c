/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * positions.c: where a minimum or maximum is (NumPy: argmin, argmax), in chunks.
 *
 * NumPy's own function finds it in each part, and then among those that were found, in order: so the rules are NumPy's,
 * the first one of equals and the first NaN before all.
 *
 * Among bools, and where there is a NaN, NumPy looks no further than the first. So does this: a part with such an
 * element makes those after it unnecessary.
 */
#include "loops_private.h"

#include <math.h>
#include <string.h>

enum { MOST_PARTS = 1 << LOOP_MAX_DEPTH, MOST_SIZE = 2 * sizeof(long double) };

struct search {
	struct call call;
	arg_func func;
	void *array;
	char *elements;
	size_t n;
	size_t part; /* elements in each, but for the last one */
	intptr_t found[MOST_PARTS];
	atomic_size_t last; /* no part after this one matters */
};

/* Is it an element that ends the search? */
static bool is_last(const struct loop *l, const char *element)
{
	union {
		uint16_t e;
		float f[2];
		double d[2];
		long double g[2];
	} value;

	memset(&value, 0, sizeof(value)); /* the gaps of long doubles, too: they are others' second parts */
	memcpy(&value, element, l->size[0]);
	switch (l->type) {
	case '?':
		return *element == l->absorbing;
	case 'e':
		return (value.e & 0x7fff) > 0x7c00;
	case 'f':
	case 'F':
		return isnan(value.f[0]) || isnan(value.f[1]);
	case 'd':
	case 'D':
		return isnan(value.d[0]) || isnan(value.d[1]);
	case 'g':
	case 'G':
		return isnan(value.g[0]) || isnan(value.g[1]);
	}
	return false;
}

static int search_parts(void *start, void *end, void *arg)
{
	struct search *s = arg;
	size_t size = s->call.loop->size[0];

	for (size_t part = (size_t)start; part < (size_t)end; part++) {
		size_t from = part * s->part, n = s->n - from < s->part ? s->n - from : s->part;
		size_t last = atomic_load_explicit(&s->last, memory_order_relaxed);

		if (part > last)
			break;
		s->func(s->elements + from * size, (intptr_t)n, &s->found[part], s->array);
		s->found[part] += (intptr_t)from;
		if (!is_last(s->call.loop, s->elements + (size_t)s->found[part] * size))
			continue;
		while (part < last && !atomic_compare_exchange_weak_explicit(
					      &s->last, &last, part, memory_order_relaxed, memory_order_relaxed))
			; /* relaxed: a hint, until the caller reads it after the run */
	}
	return KTASK_RETURN_SUCCESS;
}

int find_position(struct loop *l, arg_func func, void *elements, intptr_t n, intptr_t *index, void *array)
{
	_Alignas(max_align_t) char candidates[MOST_PARTS * MOST_SIZE];
	struct search s = { .func = func, .array = array, .elements = elements, .n = (size_t)n };
	size_t nr, size = l->size[0];
	intptr_t best = 0;
	unsigned depth;

	if ((size_t)n < atomic_load_explicit(&l->direct, memory_order_relaxed))
		return func(elements, n, index, array);
	depth = depth_of(s.n);
	if (depth == 0 || loops_inside())
		return func(elements, n, index, array);
	s.part = (s.n >> depth) + 1;
	nr = (s.n - 1) / s.part + 1;
	atomic_init(&s.last, nr - 1);
	call_begin(&s.call, l, NULL, NULL);
	call_run(&s.call, search_parts, &s, nr, s.n, &l->folds[depth]);

	nr = atomic_load_explicit(&s.last, memory_order_relaxed) + 1;
	for (size_t part = 0; part < nr; part++)
		memcpy(candidates + part * size, s.elements + (size_t)s.found[part] * size, size);
	func(candidates, (intptr_t)nr, &best, array);
	*index = s.found[best];
	return 0;
}
