/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory is cleared, filled, copied, provided, pinned and freed, at any size and alignment, and nothing beside it. */
#include "check.h"
#include "fsroot.h"
#include "ktask_memory.h"
#include "refuse.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGE = 4096, EDGE = 256, MIB = 1 << 20 };

static const size_t sizes[] = { 0,     1,     63,     64,      65,  4095,	 4096,	     65535,
				65536, 65600, 300001, MIB - 1, MIB, 3 * MIB + 5, 5 * MIB + 3 };

/* Larger than caches are, so that it is written past them. Fresh memory, as the one above it is by turns. */
static size_t large(void)
{
	return getenv("CHECK_QUICK") || UNDER_TSAN ? 20 * MIB + 40 : 72 * MIB + 40;
}

static bool all_are(const unsigned char *p, size_t size, unsigned char byte)
{
	return size == 0 || (*p == byte && memcmp(p, p + 1, size - 1) == 0);
}

static unsigned char *map(size_t size)
{
	unsigned char *p = mmap(NULL, size + 2 * EDGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	memset(p, 0xEE, EDGE);
	memset(p + EDGE + size, 0xEE, EDGE);
	return p;
}

static void check_edges_and_unmap(unsigned char *p, size_t size)
{
	CHECK(all_are(p, EDGE, 0xEE) && all_are(p + EDGE + size, EDGE, 0xEE));
	munmap(p, size + 2 * EDGE);
}

/* Bytes with no short period, as many as are ever needed. */
static unsigned char *marks;

static void make_marks(void)
{
	marks = malloc(large());
	CHECK(marks);
	for (size_t i = 0; i < large(); i++)
		marks[i] = (unsigned char)((i * UINT64_C(0x9E3779B97F4A7C15)) >> 56);
}

static void clear(size_t size, size_t shift, bool fresh)
{
	unsigned char *p = map(size + shift), *memory = p + EDGE + shift;

	memset(p + EDGE, 0xEE, shift);
	if (!fresh)
		memset(memory, 0x55, size);
	CHECK(ktask_memory_clear(memory, size) == 0);
	CHECK(all_are(memory, size, 0) && all_are(p + EDGE, shift, 0xEE));
	check_edges_and_unmap(p, size + shift);
}

static void fill(size_t size, size_t shift, size_t value_size, bool fresh)
{
	const unsigned char *value = marks + 1;
	unsigned char *p, *memory;

	size = size / value_size * value_size;
	p = map(size + shift);
	memory = p + EDGE + shift;
	memset(p + EDGE, 0xEE, shift);
	if (!fresh)
		memset(memory, 0x55, size);
	CHECK(ktask_memory_fill(memory, size, value, value_size) == 0);
	if (size > 0) /* the first is the value, and all are like the one before */
		CHECK(memcmp(memory, value, value_size) == 0 &&
		      memcmp(memory, memory + value_size, size - value_size) == 0);
	CHECK(all_are(p + EDGE, shift, 0xEE));
	check_edges_and_unmap(p, size + shift);
}

static void copy(size_t size, size_t shift_to, size_t shift_from, bool fresh)
{
	unsigned char *p = map(size + shift_to), *q = map(size + shift_from);
	unsigned char *to = p + EDGE + shift_to, *from = q + EDGE + shift_from;

	memset(p + EDGE, 0xEE, shift_to);
	if (!fresh)
		memset(to, 0x55, size);
	memcpy(from, marks, size);
	CHECK(ktask_memory_copy(to, from, size) == 0);
	CHECK(memcmp(to, marks, size) == 0 && memcmp(from, marks, size) == 0);
	CHECK(all_are(p + EDGE, shift_to, 0xEE));
	check_edges_and_unmap(p, size + shift_to);
	check_edges_and_unmap(q, size + shift_from);
}

static void writing(void)
{
	static const size_t value_sizes[] = { 1, 2, 3, 4, 8, 12, 16, 24, 100, 5000 };

	for (size_t i = 0; i <= sizeof(sizes) / sizeof(sizes[0]); i++) {
		bool last = i == sizeof(sizes) / sizeof(sizes[0]);
		size_t size = last ? large() : sizes[i];

		for (size_t shift = 0; shift < 32; shift += last ? 13 : 5) {
			clear(size, shift, shift % 2);
			copy(size, shift, shift / 2, shift % 2);
			copy(size, shift, (shift * 7) % 16, true);
		}
		for (size_t j = 0; j < sizeof(value_sizes) / sizeof(value_sizes[0]); j++)
			if (!last || value_sizes[j] == 8 || value_sizes[j] == 12)
				for (size_t shift = 0; shift < 16; shift += 7)
					fill(size, shift, value_sizes[j], shift % 2);
	}
}

/* Caches that hold next to nothing: what is there already is written past them. */
static void past_caches(void)
{
	static const size_t value_sizes[] = { 1, 8, 12, 16, 5000 };
	enum { SIZE = 5 * MIB + 3 };

	for (size_t shift = 0; shift < 64; shift += 21) {
		clear(SIZE, shift, false);
		copy(SIZE, shift, 63 - shift, false);
		for (size_t i = 0; i < sizeof(value_sizes) / sizeof(value_sizes[0]); i++)
			fill(SIZE, shift, value_sizes[i], false);
	}
}

static void small_caches(const char *sharers)
{
	fsroot_make();
	fsroot_write("/sys/devices/system/cpu/cpu0/cache/index3/size", "64K\n");
	fsroot_write("/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", sharers);
	in_child(past_caches);
	fsroot_remove();
	unsetenv("KTASK_FSROOT");
}

/* Equal bytes, a value in the memory's own first bytes, and what there is no way to do. */
static void refused(void)
{
	unsigned char bytes[64] = { 0 }, sevens[8] = { 7, 7, 7, 7, 7, 7, 7, 7 };
	void *end = (void *)(UINTPTR_MAX - 10);

	CHECK(ktask_memory_fill(bytes, 64, sevens, 8) == 0 && bytes[0] == 7 && bytes[63] == 7);
	CHECK(ktask_memory_fill(bytes, 64, sevens, 0) == -EINVAL);
	CHECK(ktask_memory_fill(bytes, 63, sevens, 8) == -EINVAL);
	CHECK(ktask_memory_copy(bytes, bytes + 8, 9) == -EINVAL);
	CHECK(ktask_memory_copy(bytes + 8, bytes, 9) == -EINVAL);
	CHECK(ktask_memory_copy(bytes, bytes, 1) == -EINVAL);
	CHECK(ktask_memory_copy(bytes, bytes + 8, 8) == 0);
	CHECK(ktask_memory_copy(bytes, bytes, 0) == 0);
	CHECK(ktask_memory_clear(end, 1 << 20) == -EOVERFLOW);
	CHECK(ktask_memory_copy(bytes, end, 11) == -EOVERFLOW);
	CHECK(ktask_memory_prefault(end, 11) == -EOVERFLOW);
	CHECK(ktask_memory_pin(end, 11) == -EOVERFLOW);
	CHECK(ktask_memory_free(end, 11) == -EOVERFLOW);
	CHECK(ktask_memory_advise_huge(end, 11) == -EOVERFLOW);
	CHECK(ktask_memory_place(bytes, 64, 3) == -EINVAL);
}

static size_t pages_there(unsigned char *memory, size_t size)
{
	unsigned char there[4096];
	size_t n = 0;

	CHECK(size / PAGE <= sizeof(there) && mincore(memory, size, there) == 0);
	for (size_t i = 0; i < size / PAGE; i++)
		n += there[i] & 1;
	return n;
}

static unsigned char *fresh_pages(size_t size)
{
	unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

/* A kernel that knows no MADV_POPULATE_WRITE. */
static void old_kernel(void)
{
	enum { SIZE = 5 * MIB };
	unsigned char *p = fresh_pages(SIZE);

	CHECK(refuse(SYS_madvise, EINVAL, 2, BPF_JEQ, MADV_POPULATE_WRITE) == 0);
	p[PAGE + 5] = 42;
	CHECK(ktask_memory_prefault(p, SIZE) == 0);
	CHECK(pages_there(p, SIZE) == SIZE / PAGE && p[PAGE + 5] == 42);
	munmap(p, SIZE);
	for (int fresh = 0; fresh < 2; fresh++) {
		clear(SIZE + 3, 5, fresh);
		copy(SIZE + 3, 5, 3, fresh);
	}
}

static void pages(void)
{
	enum { SIZE = 4 * MIB, PAGES = SIZE / PAGE };
	unsigned char *p = fresh_pages(SIZE);

	p[PAGE + 5] = 42;
	CHECK(ktask_memory_prefault(p + PAGE - 1, 2) == 0);
	CHECK(pages_there(p, SIZE) == 2 && p[PAGE + 5] == 42);
	CHECK(ktask_memory_prefault(p, SIZE) == 0);
	CHECK(pages_there(p, SIZE) == PAGES && p[PAGE + 5] == 42);
	CHECK(all_are(p, PAGE + 5, 0) && all_are(p + PAGE + 6, SIZE - PAGE - 6, 0));

	/* Whole pages only: what shares one with others stays. */
	memset(p, 0x55, SIZE);
	CHECK(ktask_memory_free(p + 1, SIZE - 2) == 0);
	CHECK(p[0] == 0x55 && p[SIZE - 1] == 0x55);
	CHECK(pages_there(p, SIZE) == 2 && p[PAGE] == 0 && p[SIZE - PAGE - 1] == 0);

	CHECK(mprotect(p + SIZE / 2, PAGE, PROT_READ) == 0);
	CHECK(ktask_memory_prefault(p, SIZE) < 0);
	CHECK(munmap(p + SIZE / 2, PAGE) == 0);
	CHECK(ktask_memory_prefault(p, SIZE) < 0);
	munmap(p, SIZE);
}

static long locked_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static void pins(void)
{
	enum { SIZE = 4 * MIB };
	struct rlimit limit = { SIZE, SIZE };
	unsigned char *p;

	if (UNDER_ASAN || UNDER_TSAN) /* for whom mlock() does nothing */
		return;
	p = fresh_pages(2 * SIZE);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || errno == EPERM);
	if (ktask_memory_pin(p, SIZE) != 0) /* not allowed here */
		return;
	CHECK(locked_kib() == SIZE / 1024 && pages_there(p, SIZE) == SIZE / PAGE);
	CHECK(ktask_memory_free(p, SIZE) == -EINVAL);
	CHECK(ktask_memory_unpin(p, SIZE) == 0 && locked_kib() == 0);

	/* A hole: all of it is unpinned again. */
	CHECK(munmap(p + SIZE / 2, PAGE) == 0);
	CHECK(ktask_memory_pin(p, SIZE) == -ENOMEM);
	CHECK(ktask_memory_unpin(p, SIZE / 2) == 0);
	CHECK(locked_kib() == 0);

	/* Read-only memory has pages to be pinned as well. */
	CHECK(mprotect(p + SIZE, SIZE, PROT_READ) == 0);
	CHECK(ktask_memory_pin(p + SIZE, SIZE) == 0 && locked_kib() == SIZE / 1024);
	CHECK(ktask_memory_unpin(p + SIZE, SIZE) == 0);
	if (geteuid() != 0) /* whom limits do not concern */
		CHECK(ktask_memory_pin(p + SIZE / 2 + PAGE, SIZE + PAGE) == -ENOMEM && locked_kib() == 0);
	munmap(p, 2 * SIZE);
}

static void pins_without_privilege(void)
{
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return;
	pins();
}

static bool advised_huge(void *address)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	bool inside = false, found = false;
	char line[512];

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= (uintptr_t)address && (uintptr_t)address < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, " hg") != NULL;
	}
	fclose(f);
	return found;
}

static void huge(void)
{
	unsigned char *p = fresh_pages(8 * MIB);
	int error = ktask_memory_advise_huge(p + 1, 8 * MIB - 1);

	CHECK(error == 0 || error == -EINVAL); /* kernels without huge pages */
	if (error == 0)
		CHECK(!advised_huge(p) && advised_huge(p + PAGE) && advised_huge(p + 8 * MIB - 1));
	CHECK(ktask_memory_advise_huge(p, 100) == 0); /* holds no page */
	munmap(p, 8 * MIB);
}

/* Are these the parts of memory, in order, without a gap, in whole units? */
static void check_parts(const struct ktask_node *parts, int nr, unsigned char *memory, size_t size, size_t unit)
{
	unsigned char *end = memory;

	CHECK(nr > 0);
	for (int i = 0; i < nr; i++) {
		CHECK(parts[i].kn_start == end && parts[i].kn_task_size > 0 && parts[i].kn_task_size % unit == 0);
		CHECK(i == 0 || parts[i].kn_nid != parts[i - 1].kn_nid);
		end += parts[i].kn_task_size;
	}
	CHECK(end == memory + size);
}

/* Here with one node; on machines with several: tests/vm. Pages that are not there are a node of their own. */
static void nodes_of(void)
{
	enum { PAGES = 1000, SIZE = PAGES * PAGE };
	static struct ktask_node parts[KTASK_MAX_NODES];
	unsigned char *p = fresh_pages(SIZE);
	size_t next = 0;
	int nr;

	CHECK(ktask_nodes_of(p, 0, 1, parts, 1) == 0);
	CHECK(ktask_nodes_of(p, 10, 0, parts, 1) == -EINVAL);
	CHECK(ktask_nodes_of(p, 10, 3, parts, 1) == -EINVAL);
	CHECK(ktask_nodes_of(p, 10, 1, parts, 0) == -EINVAL);
	CHECK(ktask_nodes_of(p, SIZE, 1, parts, 1) == 1 && parts[0].kn_nid == NUMA_NO_NODE);
	check_parts(parts, 1, p, SIZE, 1);

	for (size_t i = 0; i < PAGES; i += 10)
		p[i * PAGE] = p[(i + 1) * PAGE] = 1;
	nr = ktask_nodes_of(p, SIZE, 1, parts, KTASK_MAX_NODES);
	check_parts(parts, nr, p, SIZE, 1);
	if (nr == 1)
		return; /* this kernel does not tell */
	CHECK(nr == 2 * PAGES / 10);
	for (int i = 0; i < nr; i++)
		CHECK(parts[i].kn_task_size == (i % 2 ? 8 : 2) * (size_t)PAGE &&
		      (parts[i].kn_nid == NUMA_NO_NODE) == (i % 2 == 1));

	/* Units that lie across pages count where they begin. */
	nr = ktask_nodes_of(p + 100, SIZE / 3000 * 3000 - 3000, 3000, parts, KTASK_MAX_NODES);
	check_parts(parts, nr, p + 100, SIZE / 3000 * 3000 - 3000, 3000);
	for (int i = 0; i < nr; i++)
		for (size_t j = 0; j < parts[i].kn_task_size; j += 3000, next += 3000)
			CHECK(((100 + next) / PAGE % 10 < 2) == (parts[i].kn_nid != NUMA_NO_NODE));
	nr = ktask_nodes_of(p + PAGE, 30 * 3 * PAGE, 3 * PAGE, parts, KTASK_MAX_NODES);
	check_parts(parts, nr, p + PAGE, 30 * 3 * PAGE, 3 * PAGE);
	CHECK(parts[0].kn_task_size == 3 * PAGE && parts[0].kn_nid != NUMA_NO_NODE);

	/* With less room, the larger share decides. */
	nr = ktask_nodes_of(p, SIZE, 1, parts, 5);
	CHECK(nr == 1 && parts[0].kn_nid == NUMA_NO_NODE);
	for (size_t i = 0; i < PAGES / 2; i++)
		p[i * PAGE] = 1;
	nr = ktask_nodes_of(p, SIZE, 1, parts, 5);
	check_parts(parts, nr, p, SIZE, 1);
	CHECK(nr == 2 && parts[0].kn_nid != NUMA_NO_NODE && parts[1].kn_nid == NUMA_NO_NODE);
	munmap(p, SIZE);
}

static void places(void)
{
	for (int placement = KTASK_PLACE_LOCAL; placement <= KTASK_PLACE_SPREAD; placement++) {
		unsigned char *p = fresh_pages(4 * MIB);

		p[5000] = 42;
		CHECK(ktask_memory_place(p + 1, 4 * MIB - 2, (enum ktask_placement)placement) == 0);
		CHECK(pages_there(p, 4 * MIB) == 4 * MIB / PAGE && p[5000] == 42 && p[5001] == 0);
		munmap(p, 4 * MIB);
	}
}

int main(void)
{
	make_marks();
	with_each_setting(writing);
	small_caches("0\n");
	small_caches("nonsense");
	in_child(old_kernel);
	in_child(refused);
	with_each_setting(pages);
	with_each_setting(pins);
	in_child(pins_without_privilege);
	in_child(huge);
	with_each_setting(nodes_of);
	with_each_setting(places);
	return 0;
}
