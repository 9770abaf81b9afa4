/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CPUs go offline and come back in the middle of runs, a whole node's among them: each unit is done once, and afterwards
 * helpers are on their own nodes again, although the system has let them go everywhere in the meantime.
 */
#include "machine.h"

#include <fcntl.h>
#include <pthread.h>

enum { UNITS = 4000, ROUNDS = 12 };

static atomic_int done[UNITS];
static atomic_bool stop;

static void set_online(int cpu, bool online)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY);
	CHECK(fd >= 0);
	CHECK(write(fd, online ? "1" : "0", 1) == 1);
	close(fd);
}

/* All CPUs of the last node, again and again. */
static void *plug(void *unused)
{
	cpu_set_t cpus = cpus_of(1);

	while (!atomic_load(&stop)) {
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &cpus))
				set_online(cpu, false);
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &cpus))
				set_online(cpu, true);
	}
	return unused;
}

static int work(void *start, void *end, void *unused)
{
	struct timespec t = { 0, 100000 };

	(void)unused;
	nanosleep(&t, NULL);
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add(&done[i], 1);
	return KTASK_RETURN_SUCCESS;
}

static void run(int round)
{
	struct ktask_node nodes[2] = { { AT(0), UNITS / 2, 0 }, { AT(UNITS / 2), UNITS / 2, 1 } };
	DEFINE_KTASK_CTL(ctl, work, NULL, 4);

	CHECK(ktask_run_numa(nodes, 2, &ctl) == KTASK_RETURN_SUCCESS);
	for (int i = 0; i < UNITS; i++)
		CHECK(done[i] == round);
}

/* Helpers that may run on other nodes' CPUs. */
static atomic_int here, strays;
static int nr_looks;

static int look(void *start, void *end, void *caller)
{
	static _Thread_local int counted_in;
	cpu_set_t allowed = cpus_allowed();

	(void)start, (void)end;
	if (counted_in == nr_looks)
		return KTASK_RETURN_SUCCESS;
	counted_in = nr_looks;
	if (!pthread_equal(pthread_self(), *(pthread_t *)caller) && !is_subset(allowed, cpus_of(0)) &&
	    !is_subset(allowed, cpus_of(1)))
		atomic_fetch_add(&strays, 1);
	atomic_fetch_add(&here, 1);
	while (atomic_load(&here) < 4)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	return KTASK_RETURN_SUCCESS;
}

int main(void)
{
	struct ktask_node nodes[2] = { { AT(0), 20, 0 }, { AT(20), 20, 1 } };
	pthread_t plugger, self = pthread_self();
	DEFINE_KTASK_CTL(ctl, look, &self, 1);
	int round = 0;

	CHECK(setenv("KTASK_WAKE_NS", "0", 1) == 0 && setenv("KTASK_RETREAT", "off", 1) == 0);
	CHECK(ktask_init() == 0);
	visit(0);
	run(++round);
	CHECK(pthread_create(&plugger, NULL, plug, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++)
		run(++round);
	atomic_store(&stop, true);
	CHECK(pthread_join(plugger, NULL) == 0);

	CHECK(ktask_refresh() == 0); /* all CPUs are back, not only those that the last survey saw */
	/* Who strays is noticed when it is called out of its sleep, and brought back by the next such call. */
	visit(0);
	do {
		CHECK(nr_looks++ < 500);
		here = strays = 0;
		CHECK(ktask_run_numa(nodes, 2, &ctl) == KTASK_RETURN_SUCCESS);
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	} while (strays > 0);
	printf("back after %d runs\n", nr_looks);
	return 0;
}
