/* SPDX-License-Identifier: BSD-3-Clause */
/* What NumPy's calls of small arrays go through besides: instructions.sh counts it. Here, that they are passed on as they are. */
#include "check.h"

#include "buffers.h"
#include "loops.h"

enum { CALLS = 100, SMALL = 1000, PAGE = 4096 };

struct ktask_report *(*const loops_report)(void);

static int nr_done, nr_had, nr_given_back;
static _Alignas(PAGE) char block[16 * PAGE];
static char *released; /* where a page begins, but no large one: as any block may */

static void nothing(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data)
{
	(void)args, (void)steps;
	nr_done += data == block && *dimensions == SMALL;
}

static void *their_malloc(void *context, size_t size)
{
	nr_had += context == block && size == SMALL;
	return block;
}

static void their_free(void *context, void *memory, size_t size)
{
	nr_given_back += context == block && memory == released && size == SMALL;
}

__attribute__((noinline)) static void small_loops(struct loop *loop)
{
	intptr_t n = SMALL;

	for (int i = 0; i < CALLS; i++)
		loop_call(NULL, &n, NULL, loop);
}

__attribute__((noinline)) static void small_blocks(const struct numpy_memory *memory)
{
	for (int i = 0; i < CALLS; i++) {
		memory->malloc(memory->context, SMALL);
		memory->free(memory->context, released, SMALL);
	}
}

int main(void)
{
	const struct numpy_memory theirs = { .context = block, .malloc = their_malloc, .free = their_free };
	struct loop loop = { .func = nothing, .data = block };

	released = block + ((uintptr_t)block / PAGE % 16 == 15 ? 2 : 1) * PAGE;
	loop_init(&loop);
	small_loops(&loop);
	small_blocks(buffers_before(&theirs, true));
	CHECK(nr_done == CALLS && nr_had == CALLS && nr_given_back == CALLS);
	return 0;
}
