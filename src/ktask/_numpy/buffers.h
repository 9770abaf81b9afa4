/* SPDX-License-Identifier: BSD-3-Clause */
/* buffers.h: the memory of large arrays, which is kept for the next ones: an allocator in NumPy's manner (NEP 49). */
#ifndef KTASK_BUFFERS_H
#define KTASK_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NumPy's PyDataMem_Handler. */
struct numpy_memory {
	char name[127];
	uint8_t version;
	void *context;
	void *(*malloc)(void *context, size_t size);
	void *(*calloc)(void *context, size_t nr, size_t size);
	void *(*realloc)(void *context, void *memory, size_t size);
	void (*free)(void *context, void *memory, size_t size);
};

/*
 * The allocator that keeps, in front of NumPy's own, which does all that is not large. huge: ask for huge pages, as
 * NumPy does. The same one at each call. Its functions may be called from any thread.
 */
struct numpy_memory *buffers_before(const struct numpy_memory *numpys, bool huge);

/* Whether blocks that are released from now on are kept; not, as long as nobody has said so. */
void buffers_keep(bool keep);

/* Gives the system what is kept; returns how many bytes. */
size_t buffers_drop(void);

#endif
