/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernels.c: the C functions of the demo, as a program of yours could have them.
 *
 * A thread function does the units from start up to, not including, end, and returns 0. Nothing here knows of threads
 * or needs ktask: no two chunks write to the same place, so that the result is the same however the range is cut.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Filling memory. Units are bytes, chunks hold whole words. Each word is filled with where it is, inverted, so that
 * none can pass for another one or for fresh memory, which is all zeros.
 */
static int fill(void *start, void *end, void *memory)
{
	for (uint64_t *word = start; word != end; word++)
		*word = ~(uint64_t)((char *)word - (char *)memory);
	return 0;
}

/*
 * The integral of 4 / (1 + x * x) from 0 to 1, which is pi. Units are the steps, from 0 on. Every STEPS_PER_SUM of
 * them have a sum of their own: floating-point sums depend on the order, and this way it is always the same. Chunks
 * end where the sums do.
 */
enum { STEPS_PER_SUM = 10000 };

struct integral {
	double step;  /* how wide one is */
	double *sums; /* one for STEPS_PER_SUM steps */
};

static int integrate(void *start, void *end, void *arg)
{
	const struct integral *integral = arg;

	for (uintptr_t i = (uintptr_t)start, next; i < (uintptr_t)end; i = next) {
		double sum = 0;

		next = (uintptr_t)end - i < STEPS_PER_SUM ? (uintptr_t)end : i + STEPS_PER_SUM;
		for (uintptr_t j = i; j < next; j++) {
			double x = ((double)j + 0.5) * integral->step;

			sum += 4 / (1 + x * x);
		}
		integral->sums[i / STEPS_PER_SUM] = sum * integral->step;
	}
	return 0;
}

/*
 * The Mandelbrot set. Units are the rows, from 0 on; a pixel is the number of steps z = z * z + c that it takes to get
 * away, made smooth by how far away, or 0 in the set.
 */
struct picture {
	float *pixels;
	size_t width;
	double left, top; /* of the picture in the plane */
	double size;	  /* of a pixel there */
	int max_steps;
};

static float steps_away(double cx, double cy, int max_steps)
{
	const double far_away = 1 << 16;
	double x = 0, y = 0;

	for (int n = 0; n < max_steps; n++) {
		double xx = x * x, yy = y * y;

		if (xx + yy > far_away)
			return (float)(n + 1 - log2(log2(xx + yy) / 2));
		y = 2 * x * y + cy;
		x = xx - yy + cx;
	}
	return 0;
}

static int mandelbrot(void *start, void *end, void *arg)
{
	const struct picture *p = arg;

	for (uintptr_t row = (uintptr_t)start; row < (uintptr_t)end; row++) {
		float *pixels = &p->pixels[row * p->width];
		double y = p->top - (double)row * p->size;

		for (size_t column = 0; column < p->width; column++)
			pixels[column] = steps_away(p->left + (double)column * p->size, y, p->max_steps);
	}
	return 0;
}

/*
 * A linked list. Units are its items, positions point to them, and the end of the list is NULL. An item is freed after
 * its checksum has been added to its own place in an array of zeros: that shows that each was freed, and only once.
 */
struct item {
	struct item *next;
	uint64_t number;
	unsigned char payload[240];
};

static int list_free(void *start, void *end, void *checksums)
{
	for (struct item *item = start, *next; item != end; item = next) {
		uint64_t sum = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

		for (size_t i = 0; i < sizeof(item->payload); i++)
			sum = (sum ^ item->payload[i]) * UINT64_C(0x100000001b3);
		((uint64_t *)checksums)[item->number] += sum;
		next = item->next;
		free(item);
	}
	return 0;
}

/* The iterator. It looks at no item before the position, so that those may be gone already. */
static void *list_skip(void *position, size_t size)
{
	struct item *item = position;

	while (size--)
		item = item->next;
	return item;
}

/* Returns a list of size items, or NULL if there is no memory for it. */
static struct item *list_new(size_t size)
{
	struct item *head = NULL;

	while (size--) {
		struct item *item = malloc(sizeof(*item));

		if (!item) {
			while ((item = head)) {
				head = item->next;
				free(item);
			}
			return NULL;
		}
		item->next = head;
		item->number = size;
		for (size_t i = 0; i < sizeof(item->payload); i++)
			item->payload[i] = (unsigned char)(size * 31 + i);
		head = item;
	}
	return head;
}
