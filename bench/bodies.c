/* SPDX-License-Identifier: BSD-3-Clause */
#include "bodies.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* What is stored here cannot be left out; nothing ever is, so that threads share no cache line. */
static volatile double sink;

int nothing(void *start, void *end, void *unused)
{
	(void)start, (void)end, (void)unused;
	return 0;
}

static void divisions(uintptr_t from, uintptr_t to)
{
	double sum = 0;

	for (uintptr_t i = from; i < to; i++)
		sum += 1.0 / (double)(i + 1);
	if (sum < 0)
		sink = sum;
}

int divide(void *start, void *end, void *unused)
{
	(void)unused;
	divisions((uintptr_t)start, (uintptr_t)end);
	return 0;
}

int costly(void *start, void *end, void *costs)
{
	const uint32_t *cost = costs;

	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		divisions(0, cost[i]);
	return 0;
}

int mandelbrot(void *start, void *end, void *picture)
{
	const struct picture *p = picture;

	for (uintptr_t row = (uintptr_t)start; row < (uintptr_t)end; row++) {
		double cy = 2.5 * (double)row / (double)p->height - 1.25;

		for (size_t column = 0; column < p->width; column++) {
			double cx = 2.5 * (double)column / (double)p->width - 2, x = 0, y = 0;
			uint16_t steps = 0;

			for (; steps < 1000 && x * x + y * y < 4; steps++) {
				double next = x * x - y * y + cx;

				y = 2 * x * y + cy;
				x = next;
			}
			p->pixels[row * p->width + column] = steps;
		}
	}
	return 0;
}

int clear(void *start, void *end, void *arrays)
{
	const struct arrays *m = arrays;

	memset(m->a + (uintptr_t)start * PAGE, 0, ((uintptr_t)end - (uintptr_t)start) * PAGE);
	return 0;
}

/*
 * Past the caches, as memcpy() does it when it is asked for all at once. Of a chunk it cannot know that it is part of so much: how
 * large chunks are would decide how it copies them, and that is not what is compared.
 */
int copy(void *start, void *end, void *arrays)
{
	const struct arrays *m = arrays;
	char *to = m->a + (uintptr_t)start * PAGE;
	const char *from = m->b + (uintptr_t)start * PAGE;
	size_t size = ((uintptr_t)end - (uintptr_t)start) * PAGE;

#ifdef __SSE2__
	for (size_t i = 0; i < size; i += 16)
		_mm_stream_si128((void *)(to + i), _mm_loadu_si128((const void *)(from + i)));
	_mm_sfence();
#else
	memcpy(to, from, size);
#endif
	return 0;
}

int triad(void *start, void *end, void *arrays)
{
	const struct arrays *m = arrays;
	double *restrict a = (void *)m->a;
	const double *b = (const void *)m->b, *c = (const void *)m->c;

	for (uintptr_t i = (uintptr_t)start * PAGE / sizeof(double); i < (uintptr_t)end * PAGE / sizeof(double); i++)
		a[i] = b[i] + 3 * c[i];
	return 0;
}
