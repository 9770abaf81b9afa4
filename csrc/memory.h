/* SPDX-License-Identifier: BSD-3-Clause */
/* memory.h: what memory.c and placement.c share. */
#ifndef KTASK_MEMORY_PRIVATE_H
#define KTASK_MEMORY_PRIVATE_H

#include "ktask_memory.h"

/* For runs over memory: parts of a task that differ by their node; more would not be worth looking for. */
enum { MEMORY_PARTS = 64 };

/* 0, or -EOVERFLOW. */
int memory_check(const void *memory, size_t size);

/* The whole pages inside (or, if outwards, all pages that hold some of it), from *start up to *end. */
void memory_pages(const void *memory, size_t size, int outwards, char **start, char **end);

/* Has the pages of the parts provided, each part's by its own node's threads first. */
int memory_prefault(struct ktask_node *parts, size_t nr_parts);

/*
 * Where the memory lies, roughly: seen from one page in each of MEMORY_PARTS pieces. Returns the number of parts, at
 * least 1. Takes some microseconds, and no memory.
 */
size_t placement_guess(void *memory, size_t size, struct ktask_node parts[static MEMORY_PARTS]);

#endif
