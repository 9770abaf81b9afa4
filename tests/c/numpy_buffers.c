/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of large arrays: never anybody else's as well, kept for the next one, and no more of it than is allowed. */
#include "check.h"
#include "fsroot.h"

#include "buffers.h"
#include "ktask.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#if UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { MIB = 1 << 20, THREADS = 4, HELD = 3, MANY = 80, KEPT = 8 };

static struct numpy_memory *memory;
static _Atomic int nr_theirs;

struct ktask_report *(*const loops_report)(void);

/* NumPy's own, of which only the number of calls matters here. */

static void *their_malloc(void *context, size_t size)
{
	nr_theirs++;
	return context == &memory ? malloc(size) : NULL;
}

static void *their_calloc(void *context, size_t nr, size_t size)
{
	return context == &memory ? calloc(nr, size) : NULL;
}

static void *their_realloc(void *context, void *block, size_t size)
{
	return context == &memory ? realloc(block, size) : NULL;
}

static void their_free(void *context, void *block, size_t size)
{
	(void)context, (void)size;
	free(block);
}

static void *get(size_t mib)
{
	void *block = memory->malloc(memory->context, mib * MIB);

	CHECK(block);
	return block;
}

static void put(void *block)
{
	memory->free(memory->context, block, 0); /* sizes that NumPy tells may be wrong */
}

static void blocks_are_used_again(void)
{
	char *first = get(80), *second, *third;

	memset(first, 1, 80 * MIB);
	put(first);
	second = get(80);
	CHECK(second == first);
	third = get(80);
	CHECK(third != second);
	put(second);
	CHECK(get(79) == second); /* a little less fits */
	put(second);
	second = get(40); /* much less does not */
	CHECK(second != first);
	put(second);
	put(third);
	CHECK(buffers_drop() == 200 * (size_t)MIB);
	CHECK(buffers_drop() == 0);
}

static void zeros_are_zero(void)
{
	char *block = get(64);

	memset(block, 1, 64 * MIB);
	put(block);
	block = memory->calloc(memory->context, 64, MIB);
	for (size_t i = 0; i < 64 * MIB; i += 4096)
		CHECK(block[i] == 0);
	put(block);
	buffers_drop();
}

static void little_is_kept(void)
{
	void *blocks[MANY];
	int before = nr_theirs;

	for (int i = 0; i < MANY; i++)
		blocks[i] = get(32);
	CHECK(nr_theirs > before); /* more than there are slots for */
	for (int i = 0; i < MANY; i++)
		put(blocks[i]);
	CHECK(buffers_drop() == KEPT * 32 * (size_t)MIB);
	before = nr_theirs;
	put(memory->malloc(memory->context, 100000)); /* not large */
	CHECK(nr_theirs == before + 1 && buffers_drop() == 0);
	put(NULL);
}

static void sizes_change(void)
{
	uint64_t *block = get(34);

	for (size_t mib = 0; mib < 34; mib++)
		block[mib * MIB / 8] = mib;
	block = memory->realloc(memory->context, block, 300 * (size_t)MIB);
	CHECK((uintptr_t)block % (2 * MIB) == 0); /* moved, to where whole pages are */
	for (size_t mib = 0; mib < 34; mib++)
		CHECK(block[mib * MIB / 8] == mib);
	block[299 * MIB / 8] = 1;
	CHECK(!memory->realloc(memory->context, block, SIZE_MAX - 5));
	block = memory->realloc(memory->context, block, 100);
	CHECK(block[0] == 0);
	put(block);
	CHECK(buffers_drop() == 64 << 10);
	block = memory->realloc(memory->context, NULL, 100);
	block = memory->realloc(memory->context, block, 40 * (size_t)MIB); /* NumPy's remain NumPy's */
	put(block);
	CHECK(buffers_drop() == 0);
}

/* What is above what malloc() might keep is offered to the system; where it must not take it, it is given back. */
static void much_is_offered(void)
{
	void *few[] = { get(32), get(32) }, *more = get(32), *locked = get(32);
	bool is_locked = !UNDER_ASAN && !UNDER_TSAN && mlock(locked, 4096) == 0; /* sanitizers lock nothing */

	put(few[0]);
	put(few[1]);
	put(more);
	put(locked);
	CHECK(buffers_drop() == (is_locked ? 3 : 4) * 32 * (size_t)MIB);
}

/* What mremap() leaves is ordered before what the next one finds there, which only the kernel knows: tells the sanitizer. */
static void *resize(void *block, size_t size)
{
#if UNDER_TSAN
	static char address_space;

	__tsan_release(&address_space);
	block = memory->realloc(memory->context, block, size);
	__tsan_acquire(&address_space);
	return block;
#else
	return memory->realloc(memory->context, block, size);
#endif
}

static void *come_and_go(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	uint64_t *held[HELD] = { NULL };

	for (int i = rounds(3000, 300); i-- > 0;) {
		uint64_t **h = &held[i % HELD], mine = (uint64_t)seed << 32 | (unsigned)i;
		size_t mib = 1 + (size_t)(rand_r(&seed) % 8);

		if (*h)
			put(*h);
		*h = get(mib);
		(*h)[1] = (*h)[mib * MIB / 8 - 1] = mine;
		if (rand_r(&seed) % 8 == 0)
			*h = resize(*h, (mib + 1) * MIB);
		if (rand_r(&seed) % 64 == 0)
			buffers_drop();
		CHECK((*h)[1] == mine && (*h)[mib * MIB / 8 - 1] == mine);
	}
	for (int i = 0; i < HELD; i++)
		put(held[i]);
	return NULL;
}

static void threads_share_them(void)
{
	in_threads(THREADS, come_and_go);
	CHECK(buffers_drop() <= KEPT * 10 * (size_t)MIB);
}

static void nothing_is_kept_unless_asked_for(void)
{
	void *kept = memory->malloc(memory->context, 32 * MIB);

	memory->free(memory->context, kept, 32 * MIB);
	CHECK(buffers_drop() == 0);
	buffers_keep(true);
	kept = memory->malloc(memory->context, 32 * MIB);
	memory->free(memory->context, memory->malloc(memory->context, 32 * MIB), 32 * MIB);
	buffers_keep(false);
	CHECK(buffers_drop() == 0);
	memory->free(memory->context, kept, 32 * MIB);
	CHECK(buffers_drop() == 0);
}

/* mremap() refuses memory that is not all of one kind. */
static void parts_may_differ(void)
{
	char *block = memory->malloc(memory->context, 32 * MIB);

	block[0] = 1;
	block[32 * MIB - 1] = 2;
	CHECK(madvise(block + 8 * MIB, 8 * MIB, MADV_DONTDUMP) == 0);
	block = memory->realloc(memory->context, block, 64 * MIB);
	CHECK(block && block[0] == 1 && block[32 * MIB - 1] == 2);
	memory->free(memory->context, block, 64 * MIB);
	buffers_drop();
}

/* How much of 64 MiB is kept that came in two parts, by a process that has not asked for a block before. */
static size_t kept_of_two(void)
{
	void *first, *second;

	buffers_keep(true);
	first = get(32), second = get(32);
	put(first);
	put(second);
	return buffers_drop();
}

static void a_part_is_kept(void)
{
	CHECK(kept_of_two() == 32 * (size_t)MIB);
}

static void all_is_kept(void)
{
	CHECK(kept_of_two() == 64 * (size_t)MIB);
}

static void nothing_is_kept(void)
{
	CHECK(kept_of_two() == 0);
}

/* In children, since the memory of another machine is looked at. */
static void no_more_is_kept_than_the_cgroups_allow(void)
{
	static const char *const limits[][2] = { { "/cg/a/b/memory.max", "/cg/a/memory.max" },
						 { "/mem/a/b/memory.limit_in_bytes", "/mem/a/memory.limit_in_bytes" } };

	for (int v = 0; v < 2; v++) {
		fsroot_make();
		fsroot_write("/proc/self/cgroup", v == 0 ? "0::/a/b\n" : "5:cpu:/none\n7:memory:/a/b\n0::/a/b\n");
		fsroot_write("/proc/self/mountinfo", "1 2 0:3 / /cg rw - cgroup2 cgroup2 rw\n"
						     "1 2 0:4 / /mem rw - cgroup cgroup rw,memory\n");
		in_child(all_is_kept); /* there are no such files */
		fsroot_write(limits[v][0], v == 0 ? "max\n" : "9223372036854771712\n");
		fsroot_write(limits[v][1], "900000000\n"); /* a 16th is 56 MB */
		in_child(a_part_is_kept);
		fsroot_write(limits[v][0], "500000000\n");
		in_child(nothing_is_kept);
		fsroot_write(limits[v][0], "9000000000\n");
		fsroot_write(limits[v][1], "9000000000\n");
		in_child(all_is_kept);
		fsroot_remove();
	}
	/* What is tested next looks there as well, and finds no limit. */
}

int main(void)
{
	struct numpy_memory theirs = { .context = &memory,
				       .malloc = their_malloc,
				       .calloc = their_calloc,
				       .realloc = their_realloc,
				       .free = their_free };

	memory = buffers_before(&theirs, true);
	CHECK(memory == buffers_before(&theirs, true));
	no_more_is_kept_than_the_cgroups_allow();
	nothing_is_kept_unless_asked_for();
	buffers_keep(true);
	blocks_are_used_again();
	parts_may_differ();
	zeros_are_zero();
	little_is_kept();
	sizes_change();
	much_is_offered();
	threads_share_them();
	return 0;
}
