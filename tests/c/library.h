/* SPDX-License-Identifier: BSD-3-Clause */
/* library.h: does the library still work, whatever was done to it? A run whose outcome is known. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <stdatomic.h>

static inline int library_add(void *start, void *end, void *sum)
{
	sched_yield();
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add((atomic_int *)sum, (int)i);
	return KTASK_RETURN_SUCCESS;
}

static inline void check_library(void)
{
	enum { NUMBERS = 64 };
	atomic_int sum = 0;
	DEFINE_KTASK_CTL(ctl, library_add, &sum, 1);

	CHECK(ktask_run(AT(0), NUMBERS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(sum == NUMBERS * (NUMBERS - 1) / 2);
}

#endif
