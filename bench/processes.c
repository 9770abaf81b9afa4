/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One of several processes that compete for the CPUs; bench/processes.py starts them and adds up what they print.
 *
 *   processes (serial | ktask) BEGIN_NS FOR_NS UNITS SHARED
 *
 * Waits until BEGIN_NS of CLOCK_MONOTONIC, runs loops of so many units one after the other for FOR_NS, and prints how
 * many it finished and the CPU time they took in ns. SHARED is a file of 8 bytes that all of them map: the helpers at
 * work at the moment, and the most there were. Without arguments: prints what 1000 units take, undisturbed, in ns.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <ktask.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct {
	atomic_int now, most;
} * helpers;

static long long ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A unit is 1000 steps that depend on each other. */
static int work(char *start, char *end, double *sink)
{
	int is_helper = ktask_thread() != 0;
	double x = 1;

	if (is_helper) {
		int n = atomic_fetch_add(&helpers->now, 1) + 1;

		if (n > helpers->most)
			helpers->most = n;
	}
	for (long i = 0; i < (end - start) * 1000; i++)
		x = x * 0.999 + 0.5;
	*(volatile double *)sink = x;
	if (is_helper)
		atomic_fetch_sub(&helpers->now, 1);
	return KTASK_RETURN_SUCCESS;
}

static long long calibrate(void)
{
	long long best = 1000000000;
	double sink;

	for (int i = 0; i < 100; i++) {
		long long t = ns(CLOCK_MONOTONIC);

		work(NULL, (char *)1000, &sink);
		t = ns(CLOCK_MONOTONIC) - t;
		best = t < best ? t : best;
	}
	return best;
}

int main(int argc, char **argv)
{
	long long begin, for_ns, loops = 0, cpu;
	double sink;
	size_t units;
	int fd;
	DEFINE_KTASK_CTL(ctl, work, &sink, 1);

	if (argc != 6) {
		printf("%lld\n", calibrate());
		return 0;
	}
	begin = atoll(argv[2]);
	for_ns = atoll(argv[3]);
	units = (size_t)atoll(argv[4]);
	fd = open(argv[5], O_RDWR | O_CLOEXEC);
	helpers = mmap(NULL, sizeof(*helpers), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || helpers == MAP_FAILED)
		return 1;
	ktask_init();
	while (ns(CLOCK_MONOTONIC) < begin)
		usleep(500);
	cpu = ns(CLOCK_PROCESS_CPUTIME_ID);
	while (ns(CLOCK_MONOTONIC) < begin + for_ns) {
		if (strcmp(argv[1], "serial") == 0)
			work(NULL, (char *)units, &sink);
		else
			ktask_run(NULL, units, &ctl);
		loops++;
	}
	printf("%lld %lld\n", loops, ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	return 0;
}
