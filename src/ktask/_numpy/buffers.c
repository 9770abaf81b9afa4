/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffers.c: the memory of a large array is kept when the array goes, for the next one of its size.
 *
 * A ufunc makes a new array for its result, and an expression makes many. malloc() gives large ones back to the system,
 * often at once, and asks for new ones, which the system has to clear, page by page: for 10^7 doubles that takes about as
 * long as to add them, and much of it is done by one CPU whatever the number of threads.
 *
 * No more than KEEP_NR blocks are kept, and no more than a KEEP_PART-th of the memory that the machine has and the process's
 * cgroups allow; the oldest goes first.
 * KEEP_AS_IS bytes of that are what malloc() might keep as well. The rest is the system's for the taking (MADV_FREE): it
 * takes the pages when it is short of memory, and until then they are as they were.
 *
 * A slot has one word for each block:
 *
 *   EMPTY -> TAKEN            by who maps a block
 *   address | KEPT -> TAKEN   by who uses it again, or gives it back; or address | KEPT | OFFERED, with MADV_FREE
 *   TAKEN -> address          it is somebody's: only that one knows the address, and only he changes the word
 *   TAKEN -> EMPTY
 *   address -> address | KEPT or address | KEPT | OFFERED   by the one whose it was
 *
 * Steps from EMPTY and KEPT are compare-and-exchange, so that one thread wins; the size is written by who holds TAKEN.
 * TAKEN comes before memory is given back: from then on its address may be another's. A child of fork() has what was
 * kept, too; a word that was TAKEN by another thread stays so there, and is lost.
 *
 * Nothing is kept any more once keeping is false: who keeps a block looks at that afterwards, and who ends it looks for kept
 * blocks afterwards. These four steps, and those on used, are sequentially consistent, so one of the two sees the other, and
 * drops the block.
 */
#define _GNU_SOURCE
#include "buffers.h"
#include "../../../csrc/hot.h"

#include "../../../csrc/cgroup.h"
#include "../../../csrc/clock.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Smaller ones are NumPy's: malloc() keeps them as a rule (M_MMAP_THRESHOLD). */
#define LARGE ((size_t)128 << 10)

/* From here on NumPy asks for huge pages, and blocks are whole ones. Others are whole pages of any machine. */
#define HUGE_LARGE ((size_t)4 << 20)
#define HUGE_PAGE  ((size_t)2 << 20)
#define PAGE	   ((size_t)64 << 10)

/* Nobody has as much memory as that, and it can be rounded up. */
#define LARGEST (SIZE_MAX / 2)

enum { SLOTS = 64, KEEP_NR = 8, KEEP_PART = 16 };

/* malloc() keeps no more either (M_TRIM_THRESHOLD, when it has grown). */
#define KEEP_AS_IS ((size_t)64 << 20)

/* A block may be larger than what is asked for by an 8th of that. */
enum { WASTE = 8 };

/* How much may be kept is asked for again when a block is mapped so long afterwards, or later. */
#define STALE_NS 1000000000u

enum { EMPTY = 0, KEPT = 1, TAKEN = 2, OFFERED = 4, FLAGS = 7 };

static struct slot {
	_Atomic uintptr_t word;
	_Atomic size_t size; /* of the block */
	_Atomic uint64_t since;
} slots[SLOTS];

static _Atomic int used; /* slots, so far: the others are EMPTY. It only grows */
static _Atomic size_t most_kept;
static _Atomic uint64_t most_kept_is_stale_at;

/* One beside the other: NumPy reads ours before it calls, and theirs is not to be another page for small arrays. */
static struct {
	struct numpy_memory ours, theirs;
} memories = { .ours = { .name = "ktask", .version = 1 } };

#define ours   (memories.ours)
#define theirs (memories.theirs)

static bool asks_for_huge;
static _Atomic bool keeping;

/* ---- words ------------------------------------------------------------------------------------------------------ */

static bool take(struct slot *s, uintptr_t word)
{
	return atomic_compare_exchange_strong_explicit(&s->word, &word, TAKEN, memory_order_acquire,
						       memory_order_relaxed);
}

static void *become(struct slot *s, uintptr_t address)
{
	atomic_store_explicit(&s->word, address, memory_order_release);
	return (void *)address;
}

static void use(const struct slot *s)
{
	int nr = (int)(s - slots) + 1, old = atomic_load(&used);

	while (old < nr && !atomic_compare_exchange_weak(&used, &old, nr))
		;
}

static struct slot *end_of_used(void)
{
	return slots + atomic_load(&used);
}

/* NumPy's own blocks hardly ever are where a large page begins: a small one would be searched for at each release. */
static bool may_be_ours(const void *memory)
{
	return (uintptr_t)memory % PAGE == 0;
}

/* The slot of somebody's block; NULL: it is NumPy's. */
static struct slot *slot_of(const void *memory)
{
	if (!memory || !may_be_ours(memory))
		return NULL;
	for (struct slot *s = slots, *end = end_of_used(); s < end; s++)
		if (atomic_load_explicit(&s->word, memory_order_relaxed) == (uintptr_t)memory)
			return s;
	return NULL;
}

/* ---- what is kept ----------------------------------------------------------------------------------------------- */

static void look_how_much_may_be_kept(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (size_t)sysconf(_SC_PHYS_PAGES);
	uint64_t now = clock_ns(), allowed;

	if (now < atomic_load_explicit(&most_kept_is_stale_at, memory_order_relaxed))
		return;
	allowed = cgroup_memory_limit();
	if (pages > allowed / page)
		pages = (size_t)(allowed / page);
	atomic_store_explicit(&most_kept, pages / KEEP_PART * page, memory_order_relaxed);
	atomic_store_explicit(&most_kept_is_stale_at, now + STALE_NS, memory_order_relaxed);
}

/* Gives a slot's block back, if it is still kept. */
static size_t give_back(struct slot *s)
{
	uintptr_t word = atomic_load(&s->word);
	size_t size;

	if (!(word & KEPT) || !take(s, word))
		return 0;
	size = atomic_load_explicit(&s->size, memory_order_relaxed);
	munmap((void *)(word & ~(uintptr_t)FLAGS), size);
	become(s, EMPTY);
	return size;
}

/* Sizes and ages of blocks that change hands meanwhile are guesses, which do no harm. */
struct kept {
	int nr;
	size_t size;
	size_t as_is; /* of that, not offered to the system */
	struct slot *oldest;
};

static struct kept count_kept(void)
{
	struct kept kept = { 0 };
	uint64_t oldest = 0;

	for (struct slot *s = slots, *end = end_of_used(); s < end; s++) {
		uintptr_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
		size_t size = atomic_load_explicit(&s->size, memory_order_relaxed);
		uint64_t since = atomic_load_explicit(&s->since, memory_order_relaxed);

		if (!(word & KEPT))
			continue;
		kept.nr++;
		kept.size += size;
		kept.as_is += word & OFFERED ? 0 : size;
		if (!kept.oldest || since <= oldest) {
			kept.oldest = s;
			oldest = since;
		}
	}
	return kept;
}

/* Until no more is kept than may be. */
static void shrink(void)
{
	size_t most = atomic_load_explicit(&most_kept, memory_order_relaxed);

	for (int round = 0; round < SLOTS; round++) {
		struct kept kept = count_kept();

		if (kept.nr <= KEEP_NR && kept.size <= most)
			return;
		give_back(kept.oldest);
	}
}

size_t buffers_drop(void)
{
	size_t size = 0;

	for (struct slot *s = slots, *end = end_of_used(); s < end; s++)
		size += give_back(s);
	return size;
}

void buffers_keep(bool keep)
{
	atomic_store(&keeping, keep);
	if (!keep)
		buffers_drop();
}

/* ---- the allocator ---------------------------------------------------------------------------------------------- */

static size_t page_of(size_t size)
{
	return size >= HUGE_LARGE ? HUGE_PAGE : PAGE;
}

static size_t whole_pages(size_t size)
{
	size_t page = page_of(size);

	return size ? (size + page - 1) / page * page : page;
}

/* So many whole pages; NULL: there are none. */
static void *map(size_t size)
{
	size_t page = page_of(size), before;
	char *room = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)room % page;
	if (before)
		munmap(room, before);
	munmap(room + before + size, page - before);
	if (page == HUGE_PAGE && asks_for_huge)
		madvise(room + before, size, MADV_HUGEPAGE);
	return room + before;
}

static void *new_block(size_t size)
{
	for (struct slot *s = slots; s < slots + SLOTS; s++) {
		void *memory;

		if (atomic_load_explicit(&s->word, memory_order_relaxed) != EMPTY || !take(s, EMPTY))
			continue;
		use(s);
		look_how_much_may_be_kept();
		memory = map(size);
		if (!memory && buffers_drop())
			memory = map(size);
		atomic_store_explicit(&s->size, size, memory_order_relaxed);
		return become(s, (uintptr_t)memory);
	}
	return NULL;
}

/* One that is kept and fits. */
static void *old_block(size_t size)
{
	for (struct slot *s = slots, *end = end_of_used(); s < end; s++) {
		uintptr_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
		size_t has = atomic_load_explicit(&s->size, memory_order_relaxed);

		if (!(word & KEPT) || has < size || has > size + size / WASTE || !take(s, word))
			continue;
		has = atomic_load_explicit(&s->size, memory_order_relaxed);
		if (has >= size)
			return become(s, word & ~(uintptr_t)FLAGS);
		become(s, word); /* the block had another size when that was looked at */
	}
	return NULL;
}

/*
 * Allocation and release of small arrays go by here as well, and are not to notice: what is large has functions of its own,
 * so that no registers are saved for it.
 */
static __attribute__((noinline)) void *allocate_large(size_t size)
{
	void *memory = NULL;

	if (size <= LARGEST) {
		memory = old_block(whole_pages(size));
		if (!memory)
			memory = new_block(whole_pages(size));
	}
	return memory ? memory : theirs.malloc(theirs.context, size);
}

static HOT void *allocate(void *context, size_t size)
{
	(void)context;
	return size < LARGE ? theirs.malloc(theirs.context, size) : allocate_large(size);
}

/* Zeros are what new memory has. */
static __attribute__((noinline)) void *allocate_large_cleared(size_t nr, size_t size)
{
	void *memory = theirs.calloc(theirs.context, nr, size);

	return memory || !buffers_drop() ? memory : theirs.calloc(theirs.context, nr, size);
}

static void *allocate_cleared(void *context, size_t nr, size_t size)
{
	(void)context;
	return nr < LARGE && size == 1 ? theirs.calloc(theirs.context, nr, 1) : allocate_large_cleared(nr, size);
}

static __attribute__((noinline)) void release_large(void *memory, size_t size)
{
	static _Atomic uint64_t releases;
	struct slot *s = slot_of(memory);

	if (!s) {
		theirs.free(theirs.context, memory, size);
		return;
	}
	size = atomic_load_explicit(&s->size, memory_order_relaxed);
	atomic_store_explicit(&s->since, atomic_fetch_add_explicit(&releases, 1, memory_order_relaxed),
			      memory_order_relaxed);
	if (atomic_load(&keeping) && count_kept().as_is + size <= KEEP_AS_IS) {
		atomic_store(&s->word, (uintptr_t)memory | KEPT);
	} else if (atomic_load(&keeping) && madvise(memory, size, MADV_FREE) == 0) {
		atomic_store(&s->word, (uintptr_t)memory | KEPT | OFFERED);
	} else { /* not any more; or it is locked, or the system is older */
		become(s, TAKEN);
		munmap(memory, size);
		become(s, EMPTY);
		return;
	}
	if (atomic_load(&keeping))
		shrink();
	else
		give_back(s);
}

static HOT void release(void *context, void *memory, size_t size)
{
	(void)context;
	if (may_be_ours(memory))
		release_large(memory, size);
	else
		theirs.free(theirs.context, memory, size);
}

/* Of another size, and where whole pages begin, as all blocks do; NULL: that cannot be done, and nothing has changed. */
static void *remap(void *memory, size_t has, size_t size)
{
	void *room, *moved;

	if (size <= has)
		return mremap(memory, has, size, 0) == MAP_FAILED ? NULL : memory;
	room = map(size);
	if (!room)
		return NULL;
	moved = mremap(memory, has, size, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	if (moved != MAP_FAILED)
		return moved;
	munmap(room, size);
	return NULL;
}

static void *reallocate(void *context, void *memory, size_t size)
{
	struct slot *s = slot_of(memory);
	size_t has, whole;
	void *moved;

	(void)context;
	if (!s)
		return theirs.realloc(theirs.context, memory, size);
	if (size > LARGEST)
		return NULL;
	has = atomic_load_explicit(&s->size, memory_order_relaxed);
	whole = whole_pages(size);
	become(s, TAKEN);
	moved = remap(memory, has, whole);
	if (!moved) { /* no room, or parts of it are unlike others: locked, or on huge pages */
		become(s, (uintptr_t)memory);
		moved = allocate(context, size);
		if (moved) {
			memcpy(moved, memory, has < size ? has : size);
			release(context, memory, has);
		}
		return moved;
	}
	atomic_store_explicit(&s->size, whole, memory_order_relaxed);
	return become(s, (uintptr_t)moved);
}

struct numpy_memory *buffers_before(const struct numpy_memory *numpys, bool huge)
{
	if (!ours.malloc) {
		theirs = *numpys;
		asks_for_huge = huge;
		ours.realloc = reallocate;
		ours.calloc = allocate_cleared;
		ours.free = release;
		ours.malloc = allocate;
	}
	return &ours;
}
