/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bodies.h: the thread functions that everything here measures, compiled once and linked to each program, so that all
 * libraries run the same instructions. Units are counted from start up to, not including, end.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int nothing(void *start, void *end, void *unused);

/* One unit is one division, some 0.8 ns. */
int divide(void *start, void *end, void *unused);

/* Unit i is as many divisions as costs[i] says. */
int costly(void *start, void *end, void *costs);

/* The Mandelbrot set; units are the rows. */
struct picture {
	size_t width, height;
	uint16_t *pixels;
};

int mandelbrot(void *start, void *end, void *picture);

/* Memory; units are pages of PAGE bytes. */
enum { PAGE = 4096 };

struct arrays {
	char *a;
	const char *b, *c;
};

int clear(void *start, void *end, void *arrays); /* a = 0 */
int copy(void *start, void *end, void *arrays);	 /* a = b */
int triad(void *start, void *end, void *arrays); /* a = b + 3 c, of doubles */

#ifdef __cplusplus
}
#endif
