/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * confined UID CPUS MEMS THREADS [REQUEST CPUS]: as an unprivileged user in a cgroup with a cpuset and perhaps a quota: no
 * helper may run elsewhere than on CPUS, runs have exactly so many threads, and memory comes from nodes MEMS only. Then
 * the file REQUEST is made, and whoever sees it moves the cgroup to the other CPUs, in the middle of the program's life.
 */
#include "machine.h"

#include <errno.h>

static cpu_set_t confines;
static atomic_int here;
static int expected, nr_runs;

static int meet(void *start, void *end, void *unused)
{
	static _Thread_local int counted_in;

	(void)start, (void)end, (void)unused;
	if (counted_in == nr_runs)
		return KTASK_RETURN_SUCCESS;
	counted_in = nr_runs;
	CHECK(is_subset(cpus_allowed(), confines));
	atomic_fetch_add(&here, 1);
	while (atomic_load(&here) < expected)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	return KTASK_RETURN_SUCCESS;
}

static cpu_set_t parse(const char *list)
{
	char path[] = "/tmp/list-XXXXXX";
	int fd = mkstemp(path);
	cpu_set_t set;

	CHECK(fd >= 0 && write(fd, list, strlen(list)) == (ssize_t)strlen(list));
	close(fd);
	set = cpus_in(path);
	unlink(path);
	return set;
}

static void run(void)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, meet, NULL, 1);

	nr_runs++;
	here = 0;
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(AT(0), 60, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK((int)report.kr_threads == expected);
}

static void memory(cpu_set_t mems)
{
	enum { SIZE = 8 * MIB };
	static const enum ktask_placement placements[] = { KTASK_PLACE_LOCAL, KTASK_PLACE_INTERLEAVE,
							   KTASK_PLACE_SPREAD };

	for (int i = 0; i < 3; i++) {
		char *p = fresh_pages(SIZE);

		CHECK(ktask_memory_place(p, SIZE, placements[i]) == 0);
		for (size_t j = 0; j < SIZE; j += PAGE)
			CHECK(CPU_ISSET(nid_of_page(p + j), &mems));
		munmap(p, SIZE);
	}
}

int main(int argc, char **argv)
{
	cpu_set_t mems;

	CHECK(argc == 5 || argc == 7);
	CHECK(setgid((gid_t)atoi(argv[1])) == 0 && setuid((uid_t)atoi(argv[1])) == 0);
	CHECK(setenv("KTASK_WAKE_NS", "0", 1) == 0 && setenv("KTASK_RETREAT", "off", 1) == 0);
	confines = parse(argv[2]);
	mems = parse(argv[3]);
	expected = atoi(argv[4]);
	run();
	run();
	memory(mems);
	if (argc == 7) { /* asks for the move, and waits until it is done */
		CHECK(fclose(fopen(argv[5], "w")) == 0);
		confines = parse(argv[6]);
		while (!is_subset(cpus_allowed(), confines))
			sched_yield();
		expected = CPU_COUNT(&confines);
		run();
	}
	return 0;
}
