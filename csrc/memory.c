/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c: ktask's own clients, as the kernel's clear huge pages, prepare struct pages, and pin memory for devices.
 *
 * Each is a thread function over a range of bytes. Two things make writing quicker than memset() and memcpy(), whose
 * calls do not know that they are parts of something large:
 *   - What does not fit into the last cache is written past the caches: then lines are not read before they are
 *     overwritten. What does fit is better left in them, for whoever reads it next.
 *   - Pages that are not there yet are asked for a block at a time (MADV_POPULATE_WRITE), not by a fault each. The
 *     kernel has just cleared such a block, so it is in the caches, and is written there.
 */
#define _GNU_SOURCE
#include "memory.h"

#include "fsroot.h"
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/*
 * What fits into a CPU's second-level cache is there, or will be: other CPUs only take it away. Up to some times as much
 * they help if pages have to be made, which takes longer than all the rest.
 */
enum { SMALL = 1 << 20, MEDIUM = 4 << 20 };

/* Chunks are no smaller, so that their ends, which share pages with others', do not matter. */
enum { MIN_CHUNK = 64 << 10 };

/* Looked at, and asked for, at once. No longer than a second-level cache. */
enum { BLOCK = 1 << 20 };

/* From here on it is worth asking where the memory lies: that takes some 10 µs, this some 300. */
enum { LARGE = 16 << 20 };

/* Threads that get pages share no huge page. */
enum { HUGE_PAGE = 2 << 20, USUAL_CACHE = 32 << 20 };

static size_t page_size;
static size_t cache_size; /* the last-level caches of all CPUs together */
static bool knows_populate;

#define CACHE "sys/devices/system/cpu/cpu0/cache/index3/"

/* How much last-level cache CPU 0 has (0: not told), and with how many CPUs it shares that. */
static size_t read_cache(int *sharers)
{
	char text[4096];
	struct cpus cpus;

	*sharers = 1;
	if (fsroot_read(text, sizeof(text), CACHE "shared_cpu_list") && topology_parse_list(text, &cpus, MAX_CPUS) &&
	    !cpus_empty(&cpus))
		*sharers = cpus_count(&cpus);
	return fsroot_read(text, sizeof(text), CACHE "size") ? strtoul(text, NULL, 10) << 10 : 0; /* "512K" */
}

static void look_around(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int sharers;

	fsroot_init();
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	cache_size = read_cache(&sharers);
	cache_size = cache_size ? cache_size * (cpus > sharers ? (size_t)(cpus / sharers) : 1) : USUAL_CACHE;
	knows_populate = madvise(NULL, 0, MADV_POPULATE_WRITE) == 0;
}

int memory_check(const void *memory, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, look_around);
	return size > KTASK_MAX_SIZE || size > UINTPTR_MAX - (uintptr_t)memory ? -EOVERFLOW : 0;
}

void memory_pages(const void *memory, size_t size, int outwards, char **start, char **end)
{
	uintptr_t from = (uintptr_t)memory, to = from + size, mask = page_size - 1;

	from = outwards ? from & ~mask : (from + mask) & ~mask;
	to = outwards ? (to + mask) & ~mask : to & ~mask;
	*start = (char *)from;
	*end = (char *)(to < from ? from : to);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

enum what { SET, FILL, COPY };

/* What is to be written, and how. */
struct writing {
	enum what what;
	bool past_caches;
	const char *to;		/* the beginning of the memory */
	const char *from;	/* COPY: of the source */
	unsigned char byte;	/* SET: all are the same */
	const char *value;	/* FILL: the value, repeated, */
	size_t value_size;	/* and how long it is then: a multiple of the value */
	unsigned char lane[16]; /* SET and FILL past the caches: 16 bytes at a multiple of 16 from to */
};

static void write_plainly(char *start, char *end, const struct writing *w)
{
	size_t size = (size_t)(end - start), offset = (size_t)(start - w->to), n;

	switch (w->what) {
	case SET:
		memset(start, w->byte, size);
		break;
	case FILL:
		for (offset %= w->value_size; size > 0; size -= n, start += n, offset = 0) {
			n = w->value_size - offset < size ? w->value_size - offset : size;
			memcpy(start, w->value + offset, n);
		}
		break;
	case COPY:
		memcpy(start, w->from + offset, size);
		break;
	}
}

#ifdef __SSE2__
enum { LINE = 64 };

/* Whole lines past the caches, what is around them plainly. */
static void write_past_caches(char *start, char *end, const struct writing *w)
{
	char *first = start + (LINE - (uintptr_t)start % LINE) % LINE, *last = end - (uintptr_t)end % LINE;
	__m128i lane[4];

	if (first >= last) {
		write_plainly(start, end, w);
		return;
	}
	write_plainly(start, first, w);
	/* The lane as it is from here on: first need not be a multiple of 16 away from the memory's beginning. */
	for (size_t i = 0; i < sizeof(lane[0]); i++)
		((unsigned char *)lane)[i] = w->lane[((size_t)(first - w->to) + i) % sizeof(w->lane)];
	for (char *p = first; p < last; p += LINE) {
		__m128i *line = (__m128i *)p;

		if (w->what == COPY) {
			const __m128i *from = (const __m128i *)(w->from + (p - w->to));

			for (int i = 0; i < 4; i++)
				lane[i] = _mm_loadu_si128(from + i);
			for (int i = 0; i < 4; i++)
				_mm_stream_si128(line + i, lane[i]);
		} else {
			for (int i = 0; i < 4; i++)
				_mm_stream_si128(line + i, lane[0]);
		}
	}
	_mm_sfence(); /* or they could come after what says that the chunk is done */
	write_plainly(last, end, w);
}
#else
static void write_past_caches(char *start, char *end, const struct writing *w)
{
	write_plainly(start, end, w);
}
#endif

/* Is there a page for this byte? In doubt, yes. */
static bool is_there(char *byte)
{
	unsigned char there = 1;

	mincore((void *)((uintptr_t)byte & ~(uintptr_t)(page_size - 1)), 1, &there);
	return there & 1;
}

static void write_block(char *start, char *end, const struct writing *w)
{
	char *first, *last;

	if (!is_there(end - 1)) {
		memory_pages(start, (size_t)(end - start), false, &first, &last);
		if (knows_populate && first < last)
			madvise(first, (size_t)(last - first), MADV_POPULATE_WRITE); /* if not, by faults */
		write_plainly(start, end, w);
	} else if (w->past_caches) {
		write_past_caches(start, end, w);
	} else {
		write_plainly(start, end, w);
	}
}

static int write_chunk(char *start, char *end, struct writing *w)
{
	while (start < end) {
		char *next = end - start > BLOCK ? start + BLOCK : end;

		write_block(start, next, w);
		start = next;
	}
	return 0;
}

static int write_all(void *memory, size_t size, struct writing *w)
{
	static const char identities[COPY + 1][2]; /* what a byte costs depends on where it goes */
	struct ktask_node parts[MEMORY_PARTS];
	size_t nr_parts = 1;
	DEFINE_KTASK_CTL(ctl, write_chunk, w, MIN_CHUNK);

	if (size < SMALL || (size < MEDIUM && is_there((char *)memory + size - 1))) {
		write_plainly(memory, (char *)memory + size, w);
		return 0;
	}
	w->past_caches = w->past_caches && size > cache_size;
	parts[0] = (struct ktask_node){ memory, size, NUMA_NO_NODE };
	if (size >= LARGE)
		nr_parts = placement_guess(memory, size, parts);
	ktask_ctl_set_identity(&ctl, &identities[w->what][w->past_caches]);
	ktask_ctl_set_align(&ctl, size >= LARGE ? HUGE_PAGE : page_size);
	return ktask_run_numa(parts, nr_parts, &ctl);
}

static __attribute__((noinline)) int clear_much(void *memory, size_t size)
{
	struct writing w = { .what = SET, .to = memory, .past_caches = true };
	int error = memory_check(memory, size);

	return error ? error : write_all(memory, size, &w);
}

/* So little is done as soon as it is known for what it is: a call more than memset() shows in a few kilobytes. */
static bool is_little(const void *memory, size_t size)
{
	return size < SMALL && size <= UINTPTR_MAX - (uintptr_t)memory;
}

int ktask_memory_clear(void *memory, size_t size)
{
	if (!is_little(memory, size))
		return clear_much(memory, size);
	if (size)
		memset(memory, 0, size);
	return 0;
}

/* Are all bytes of the value the same? */
static bool is_uniform(const char *value, size_t size)
{
	return memcmp(value, value + 1, size - 1) == 0;
}

/* Repeats the first so many bytes until all of the memory is full. */
static void repeat(char *memory, size_t size, size_t first)
{
	for (size_t n; first < size; first += n) {
		n = first < size - first ? first : size - first;
		memcpy(memory + first, memory, n);
	}
}

int ktask_memory_fill(void *memory, size_t size, const void *value, size_t value_size)
{
	char repeated[4096];
	struct writing w = { .what = FILL, .to = memory, .value = value, .value_size = value_size };
	int error = memory_check(memory, size);

	if (!error && (!value_size || size % value_size))
		error = -EINVAL;
	if (error || !size)
		return error;
	if (is_uniform(value, value_size)) {
		w.what = SET;
		w.byte = *(const unsigned char *)value;
	} else if (value_size <= sizeof(repeated) / 2) {
		w.value_size = sizeof(repeated) / value_size * value_size;
		w.value = memcpy(repeated, value, value_size);
		repeat(repeated, w.value_size, value_size);
	}
	/* A lane repeats itself if the value fits into it without a rest. */
	w.past_caches = sizeof(w.lane) % value_size == 0 || w.what == SET;
	for (size_t i = 0; i < sizeof(w.lane) && w.past_caches; i++)
		w.lane[i] = ((const unsigned char *)value)[i % value_size];
	return write_all(memory, size, &w);
}

static __attribute__((noinline)) int copy_much(void *to, const void *from, size_t size, bool overlap)
{
	struct writing w = { .what = COPY, .to = to, .from = from, .past_caches = true };
	int error = memory_check((uintptr_t)to > (uintptr_t)from ? to : from, size);

	if (!error && overlap)
		error = -EINVAL;
	return error ? error : write_all(to, size, &w);
}

int ktask_memory_copy(void *to, const void *from, size_t size)
{
	uintptr_t a = (uintptr_t)to, b = (uintptr_t)from;
	bool overlap = size && (a < b ? b - a < size : a - b < size);

	if (overlap || !is_little(a > b ? to : from, size))
		return copy_much(to, from, size, overlap);
	if (size)
		memcpy(to, from, size);
	return 0;
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

static int prefault_chunk(char *start, char *end, void *unused)
{
	(void)unused;
	if (knows_populate && madvise(start, (size_t)(end - start), MADV_POPULATE_WRITE) != 0)
		return errno == EINVAL ? -EFAULT : -errno; /* may not be written */
	if (knows_populate)
		return 0;
	/* Adding nothing changes nothing, also for others who write here at the same time. */
	for (; start < end; start += page_size)
		__atomic_fetch_add(start, 0, __ATOMIC_RELAXED);
	return 0;
}

static int free_chunk(char *start, char *end, void *unused)
{
	(void)unused;
	return madvise(start, (size_t)(end - start), MADV_DONTNEED) == 0 ? 0 : -errno;
}

/* Chunks of whole pages, and of whole huge pages where there are many. */
static int run_pages(struct ktask_node *parts, size_t nr_parts, ktask_thread_func func)
{
	DEFINE_KTASK_CTL(ctl, func, NULL, MIN_CHUNK);
	size_t size = 0;

	for (size_t i = 0; i < nr_parts; i++)
		size += parts[i].kn_task_size;
	ktask_ctl_set_align(&ctl, size >= LARGE ? HUGE_PAGE : page_size);
	return ktask_run_numa(parts, nr_parts, &ctl);
}

int memory_prefault(struct ktask_node *parts, size_t nr_parts)
{
	return run_pages(parts, nr_parts, (ktask_thread_func)prefault_chunk);
}

int ktask_memory_prefault(void *memory, size_t size)
{
	int error = memory_check(memory, size);
	char *start, *end;

	if (error || !size)
		return error;
	memory_pages(memory, size, true, &start, &end);
	return memory_prefault(&(struct ktask_node){ start, (size_t)(end - start), NUMA_NO_NODE }, 1);
}

int ktask_memory_pin(void *memory, size_t size)
{
	int error = memory_check(memory, size);

	if (error || !size)
		return error;
	/* First for all of it: the limit is asked before any work begins, and the map is changed once, not by each chunk. */
	if (mlock2(memory, size, MLOCK_ONFAULT) != 0)
		return -errno;
	error = ktask_memory_prefault(memory, size);
	if (error == -EFAULT) /* read-only memory is pinned by reading it */
		error = mlock(memory, size) == 0 ? 0 : -errno;
	if (error)
		munlock(memory, size);
	return error;
}

int ktask_memory_unpin(void *memory, size_t size)
{
	int error = memory_check(memory, size);

	if (error || !size)
		return error;
	return munlock(memory, size) == 0 ? 0 : -errno;
}

int ktask_memory_advise_huge(void *memory, size_t size)
{
	int error = memory_check(memory, size);
	char *start, *end;

	if (error)
		return error;
	memory_pages(memory, size, false, &start, &end);
	return start == end || madvise(start, (size_t)(end - start), MADV_HUGEPAGE) == 0 ? 0 : -errno;
}

int ktask_memory_free(void *memory, size_t size)
{
	struct ktask_node parts[MEMORY_PARTS];
	int error = memory_check(memory, size);
	size_t nr_parts = 1;
	char *start, *end;

	if (error)
		return error;
	memory_pages(memory, size, false, &start, &end);
	parts[0] = (struct ktask_node){ start, (size_t)(end - start), NUMA_NO_NODE };
	if (parts[0].kn_task_size >= LARGE)
		nr_parts = placement_guess(start, parts[0].kn_task_size, parts);
	return run_pages(parts, nr_parts, (ktask_thread_func)free_chunk);
}
