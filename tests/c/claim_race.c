/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between a thread's look at what is left and its claim, another one claims, as much as can be: then the first gets what is
 * left after that, or nothing, and each unit is one thread's. Every moment of every small task is tried, in the
 * library's own code: its additions are compiled so that the test comes first.
 */
#include "check.h"

#include <stdatomic.h>

static void meanwhile(void);

#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(object, value, order) (meanwhile(), __atomic_fetch_add(object, value, order))
#include "../../csrc/chunk.c"

enum { MOST_UNITS = 24 };

static struct cursor cursor;
static struct cut cut = { .cursors = &cursor };
static int owner[MOST_UNITS];
static size_t others_claims; /* that another thread makes at the first chance */
static size_t others_size;

static int nothing(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	return KTASK_RETURN_SUCCESS;
}

/* False: there is nothing left. */
static bool claim(int thread, size_t size)
{
	struct chunk chunk;

	if (!cut_claim(&cut, &cursor, size, &chunk))
		return false;
	CHECK(chunk.from < chunk.to && chunk.to <= cursor.size);
	CHECK(chunk.start == (char *)cursor.start + chunk.from && chunk.end == (char *)cursor.start + chunk.to);
	for (size_t i = chunk.from; i < chunk.to; i++) {
		CHECK(!owner[i]);
		owner[i] = thread;
	}
	return true;
}

static void meanwhile(void)
{
	while (others_claims > 0) {
		others_claims--;
		claim(2, others_size);
	}
}

/* After so many claims, the other thread makes as many, in the middle of the next one. */
static void race(uintptr_t start, size_t units, size_t size, size_t claims, size_t of_others, size_t their_size)
{
	DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);
	struct ktask_node node = { AT(start), units, NUMA_NO_NODE };

	ktask_ctl_set_align(&ctl, 8);
	CHECK(cut_init(&cut, &node, 1, &ctl) == 0);
	memset(owner, 0, sizeof(owner));
	others_claims = 0;
	for (size_t i = 0; i < claims; i++)
		claim(1, size);
	others_claims = of_others;
	others_size = their_size;
	while (claim(1, size))
		;
	CHECK(!claim(2, their_size) && cursor_remaining(&cursor) == 0);
	for (size_t i = 0; i < units; i++)
		CHECK(owner[i]);
}

int main(void)
{
	for (uintptr_t start = 0; start < 8; start++) /* which makes the lead 0 to 7 */
		for (size_t units = 1; units <= MOST_UNITS; units++)
			for (size_t size = 8; size <= 16; size += 8)
				for (size_t claims = 0; claims < 3; claims++)
					for (size_t of_others = 1; of_others < 5; of_others++)
						for (size_t their_size = 8; their_size <= 24; their_size += 8)
							race(start, units, size, claims, of_others, their_size);
	return 0;
}
