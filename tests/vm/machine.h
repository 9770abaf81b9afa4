/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.h: what the kernel says of this machine, asked without ktask. */
#ifndef MACHINE_H
#define MACHINE_H

#include "check.h"
#include "ktask_memory.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

enum { PAGE = 4096, MIB = 1 << 20, MAX_NIDS = 64 };

/* The node of the CPU that this thread runs on. */
static inline int nid_here(void)
{
	unsigned cpu, nid;

	CHECK(syscall(SYS_getcpu, &cpu, &nid, NULL) == 0);
	return (int)nid;
}

/* The node that this page is on; negative: there is none. */
static inline int nid_of_page(void *page)
{
	int status;

	CHECK(syscall(SYS_move_pages, 0, 1UL, &page, NULL, &status, 0) == 0);
	return status;
}

/* The CPUs in a file with a list such as 0-3,8. */
static inline cpu_set_t cpus_in(const char *path)
{
	FILE *f = fopen(path, "r");
	cpu_set_t set;
	int first, last, end;

	CPU_ZERO(&set);
	if (!f)
		return set;
	while (fscanf(f, "%d", &first) == 1) {
		last = first;
		end = fgetc(f);
		if (end == '-') {
			CHECK(fscanf(f, "%d", &last) == 1);
			end = fgetc(f);
		}
		for (int cpu = first; cpu <= last; cpu++)
			CPU_SET(cpu, &set);
	}
	fclose(f);
	return set;
}

static inline cpu_set_t cpus_of(int nid)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", nid);
	return cpus_in(path);
}

static inline bool has_memory(int nid)
{
	cpu_set_t nids = cpus_in("/sys/devices/system/node/has_memory");

	return CPU_ISSET(nid, &nids);
}

/* How far it is from one node to another: distances are listed for the nodes online, in order. */
static inline int distance_between(int from, int to)
{
	cpu_set_t online = cpus_in("/sys/devices/system/node/online");
	char path[64];
	int distance = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", from);
	f = fopen(path, "r");
	CHECK(f);
	for (int nid = 0; nid <= to; nid++)
		if (CPU_ISSET(nid, &online))
			CHECK(fscanf(f, "%d", &distance) == 1);
	fclose(f);
	return distance;
}

/* Where this thread may run, as /proc tells: Cpus_allowed_list. */
static inline cpu_set_t cpus_allowed(void)
{
	char path[64], line[4096];
	cpu_set_t set;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/status", syscall(SYS_gettid));
	f = fopen(path, "r");
	CHECK(f);
	CPU_ZERO(&set);
	while (fgets(line, sizeof(line), f)) {
		char *p = line + strlen("Cpus_allowed_list:");

		if (strncmp(line, "Cpus_allowed_list:", strlen("Cpus_allowed_list:")) != 0)
			continue;
		while (*p && *p != '\n') {
			long first = strtol(p, &p, 10), last = *p == '-' ? strtol(p + 1, &p, 10) : first;

			for (long cpu = first; cpu <= last; cpu++)
				CPU_SET((int)cpu, &set);
			if (*p == ',')
				p++;
		}
	}
	fclose(f);
	CHECK(CPU_COUNT(&set) > 0);
	return set;
}

static inline bool is_subset(cpu_set_t set, cpu_set_t of)
{
	cpu_set_t both;

	CPU_AND(&both, &set, &of);
	return CPU_EQUAL(&both, &set);
}

/* Moves this thread to a node, and leaves it there. */
static inline void go_to(int nid)
{
	cpu_set_t cpus = cpus_of(nid);

	CHECK(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
	CHECK(nid_here() == nid);
}

/* To a node, but free to go anywhere. */
static inline void visit(int nid)
{
	cpu_set_t all = cpus_in("/sys/devices/system/cpu/online");

	go_to(nid);
	CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
}

static inline void *fresh_pages(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

#endif
