/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes under one CPU quota: together they never have more seats than the quota has CPUs, other groups have theirs
 * beside them, and what a killed process held is free again. On the library's own functions, since it takes a cgroup
 * and many CPUs otherwise; tests/vm has these.
 */
#include "check.h"

#include "../../csrc/limits.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { CPUS = 16, QUOTA = 3, GROUPS = 2, PROCESSES = 3 };

static struct {
	atomic_int at_work[GROUPS];
	atomic_int sat[GROUPS];
	atomic_int ready;
} * shared;
static struct cpus cpus;

static void join(int group)
{
	limits_init(MAX_CPUS, true, CPUS);
	limits_set_max(MAX_CPUS);
	if (group % 2) /* before or after, as it happens */
		limits_set_group((uint64_t)getppid() * GROUPS + (uint64_t)group, QUOTA);
	while (!limits_join())
		sched_yield();
	limits_set_group((uint64_t)getppid() * GROUPS + (uint64_t)group, QUOTA);
}

static void sit_and_stand(int group)
{
	join(group);
	for (int i = 0; i < rounds(20000, 500) || shared->sat[group] == 0; i++) {
		int cpu = i % 2 ? limits_sit(&cpus, i % 3) : limits_sit_at(i % CPUS, i % 3) ? i % CPUS : -1;

		if (cpu < 0)
			continue;
		atomic_fetch_add(&shared->sat[group], 1);
		CHECK(atomic_fetch_add(&shared->at_work[group], 1) < QUOTA);
		if (i % 16 == 0)
			sched_yield();
		atomic_fetch_sub(&shared->at_work[group], 1);
		limits_stand(cpu);
	}
}

static void all_at_once(void)
{
	pid_t child[GROUPS * PROCESSES];

	for (int i = 0; i < GROUPS * PROCESSES; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			sit_and_stand(i % GROUPS);
			exit(0);
		}
	}
	for (int i = 0; i < GROUPS * PROCESSES; i++)
		check_child(child[i]);
}

static void take_all(void)
{
	for (int i = 0; i < QUOTA; i++)
		CHECK(limits_sit(&cpus, i == 0) >= 0);
	CHECK(limits_sit(&cpus, false) < 0);
}

/* One process, without the table. */
static void alone(void)
{
	setenv("KTASK_TABLE", "off", 1);
	join(0);
	take_all();
	limits_set_group(0, 0);
	for (int i = QUOTA; i < CPUS; i++)
		CHECK(limits_sit(&cpus, false) >= 0);
	CHECK(limits_sit(&cpus, false) < 0);
}

static void hold_all(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	join(0);
	take_all();
	shared->ready = 1;
	for (;;)
		pause();
}

static void try_in_vain_and_then_with_success(pid_t holder)
{
	int cpu;

	join(0);
	CHECK(limits_sit(&cpus, false) < 0);
	CHECK(kill(holder, SIGKILL) == 0);
	while ((cpu = limits_sit(&cpus, false)) < 0)
		sched_yield();
	limits_stand(cpu);
	take_all();
}

static void killed(void)
{
	pid_t holder = fork(), other;

	if (holder == 0)
		hold_all();
	CHECK(holder > 0);
	while (!shared->ready)
		sched_yield();
	other = fork();
	if (other == 0) {
		try_in_vain_and_then_with_success(holder);
		exit(0);
	}
	check_child(other);
	CHECK(waitpid(holder, NULL, 0) == holder);
}

int main(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	for (int cpu = 0; cpu < CPUS; cpu++)
		cpus_add(&cpus, cpu);
	all_at_once();
	in_child(alone);
	in_child(killed);
	return 0;
}
