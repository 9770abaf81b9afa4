/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * placement [MIB-PER-NODE]: memory lies where it was asked to, ktask_nodes_of() tells where, and a run over those parts
 * has each node's bytes worked on by the node's own CPUs. Prints a line for each placement, for bench/numa.py:
 *
 *         PLACEMENT bytes B local L chunks C local K claims NID:N NID:N ...
 */
#include "machine.h"

/*
 * Emulated CPUs take turns, so that threads which compute do not get on together as they would on a real machine. Those
 * that sleep do; so most of the work is to sleep.
 */
enum { MIB_EACH = 8, CHUNK = 16 * PAGE, LINE = 64, NS_PER_PAGE = 2500000 };

static struct ktask_node parts[KTASK_MAX_NODES];
static char *memory;
static size_t size;
static signed char *nids; /* of each page, as the kernel says */

static atomic_size_t bytes, local_bytes, chunks, local_chunks, claims[MAX_NIDS];

static int work(char *start, char *end, void *unused)
{
	uint64_t ns = (uint64_t)(end - start) / PAGE * NS_PER_PAGE;
	struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
	int here = nid_here();
	size_t local = 0;

	(void)unused;
	nanosleep(&t, NULL);
	for (char *p = start; p < end; p += LINE) {
		local += nids[(p - memory) / PAGE] == here ? LINE : 0;
		*p = (char)(*p + 1);
	}
	atomic_fetch_add(&bytes, (size_t)(end - start));
	atomic_fetch_add(&local_bytes, local);
	atomic_fetch_add(&chunks, 1);
	atomic_fetch_add(&claims[nids[(start - memory) / PAGE]], 1);
	atomic_fetch_add(&local_chunks, nids[(start - memory) / PAGE] == here);
	return KTASK_RETURN_SUCCESS;
}

/* The parts are the memory, page by page. */
static int check_parts(void)
{
	int nr = ktask_nodes_of(memory, size, PAGE, parts, KTASK_MAX_NODES);
	char *p = memory;

	CHECK(nr > 0);
	for (size_t i = 0; i < size / PAGE; i++)
		nids[i] = (signed char)nid_of_page(memory + i * PAGE);
	for (int i = 0; i < nr; i++) {
		CHECK(parts[i].kn_start == p);
		for (size_t n = 0; n < parts[i].kn_task_size; n += PAGE, p += PAGE)
			CHECK(nids[(p - memory) / PAGE] == parts[i].kn_nid);
	}
	CHECK(p == memory + size);
	return nr;
}

/* Over the parts, or over all of it as if nothing were known. */
static void run(const char *name, int nr, char expected)
{
	struct ktask_node whole = { memory, size, NUMA_NO_NODE };
	DEFINE_KTASK_CTL(ctl, work, NULL, CHUNK);

	bytes = local_bytes = chunks = local_chunks = 0;
	memset(claims, 0, sizeof(claims));
	ktask_ctl_set_align(&ctl, PAGE);
	CHECK((nr ? ktask_run_numa(parts, (size_t)nr, &ctl) : ktask_run_numa(&whole, 1, &ctl)) == KTASK_RETURN_SUCCESS);
	CHECK(bytes == size);
	for (size_t i = 0; i < size; i += LINE)
		CHECK(memory[i] == expected);
	printf("%s bytes %zu local %zu chunks %zu local %zu claims", name, (size_t)bytes, (size_t)local_bytes,
	       (size_t)chunks, (size_t)local_chunks);
	for (int nid = 0; nid < MAX_NIDS; nid++)
		if (claims[nid])
			printf(" %d:%zu", nid, (size_t)claims[nid]);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	size_t each = (size_t)(argc > 1 ? atoi(argv[1]) : MIB_EACH) * MIB, used[MAX_NIDS] = { 0 };
	int nr_cpus = 0, nr_nids = 0, home = 0, nr;

	CHECK(setenv("KTASK_WAKE_NS", "0", 1) == 0); /* threads take turns here, so what waking costs means nothing */
	for (int nid = 0; nid < MAX_NIDS; nid++) {
		cpu_set_t cpus = cpus_of(nid);

		nr_cpus += CPU_COUNT(&cpus);
		nr_nids += CPU_COUNT(&cpus) > 0;
		if (CPU_COUNT(&cpus) > 0 && has_memory(nid))
			home = nid; /* the last one, where the kernel has little of its own */
	}
	size = (size_t)nr_nids * each;
	nids = malloc(size / PAGE);
	CHECK(nids && ktask_init() == 0);

	/* Not touched: on no node. */
	memory = fresh_pages(size);
	CHECK(ktask_nodes_of(memory, size, 1, parts, 1) == 1 && parts[0].kn_nid == NUMA_NO_NODE);

	/* Each node's share of the memory is its share of the CPUs; without memory of its own, its neighbour has it. */
	CHECK(ktask_memory_place(memory, size, KTASK_PLACE_SPREAD) == 0);
	nr = check_parts();
	for (int i = 0; i < nr; i++)
		used[parts[i].kn_nid] += parts[i].kn_task_size;
	for (int nid = 0; nid < MAX_NIDS; nid++) {
		cpu_set_t cpus = cpus_of(nid);
		double share = (double)size * CPU_COUNT(&cpus) / nr_cpus;

		CHECK(has_memory(nid) || used[nid] == 0);
		if (has_memory(nid) && CPU_COUNT(&cpus))
			CHECK((double)used[nid] > share - 2 * MIB - PAGE);
	}
	run("spread", nr, 1);
	run("spread, unknown", 0, 2);

	munmap(memory, size);

	/* In turns: each node that has memory has some. */
	memory = fresh_pages(size);
	CHECK(ktask_memory_place(memory, size, KTASK_PLACE_INTERLEAVE) == 0);
	memset(used, 0, sizeof(used));
	for (size_t i = 0; i < size / PAGE; i++) {
		nids[i] = (signed char)nid_of_page(memory + i * PAGE);
		used[nids[i]] += PAGE;
	}
	for (int nid = 0; nid < MAX_NIDS; nid++)
		CHECK((used[nid] > 0) == has_memory(nid));
	nr = ktask_nodes_of(memory, size, PAGE, parts, 16);
	CHECK(nr > 0 && nr <= 16);
	run("interleave", nr, 1);

	/* On the caller's node: what is elsewhere is moved there, with what it holds. */
	visit(home);
	CHECK(nid_here() == home);
	size = each;
	CHECK(ktask_memory_place(memory, size, KTASK_PLACE_LOCAL) == 0);
	CHECK(check_parts() == 1);
	CHECK(parts[0].kn_nid == home || nid_here() != home); /* or the scheduler has moved this thread in between */
	for (size_t i = 0; i < size; i += LINE)
		CHECK(memory[i] == 1);
	run("local", 1, 2);
	return 0;
}
