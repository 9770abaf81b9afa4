/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One of several processes that compete for the CPUs; bench/processes.py starts them and adds up what they print.
 *
 *   processes (serial | ktask) BEGIN_NS FOR_NS LOOP_US SHARED
 *
 * Waits until BEGIN_NS of CLOCK_MONOTONIC, runs loops of LOOP_US of serial work one after the other for FOR_NS, and
 * prints how many it finished and the CPU time they took in ns. SHARED is a file of 8 bytes that all of them map: the
 * helpers at work at the moment, and the most there were.
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
} *helpers;

static pid_t caller;

static long long ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A unit is 1000 steps that depend on each other. */
static int work(size_t start, size_t end, double *sink)
{
	int is_helper = gettid() != caller;
	double x = 1;

	if (is_helper) {
		int n = atomic_fetch_add(&helpers->now, 1) + 1;

		if (n > helpers->most)
			helpers->most = n;
	}
	for (size_t i = 0; i < (end - start) * 1000; i++)
		x = x * 0.999 + 0.5;
	*(volatile double *)sink = x;
	if (is_helper)
		atomic_fetch_sub(&helpers->now, 1);
	return KTASK_RETURN_SUCCESS;
}

int main(int argc, char **argv)
{
	long long begin, for_ns, loop_us, loops = 0, cpu, unit_ns = 1000000000;
	double sink;
	size_t units;
	int fd;
	DEFINE_KTASK_CTL(ctl, work, &sink, 1);

	if (argc != 6)
		return 2;
	begin = atoll(argv[2]);
	for_ns = atoll(argv[3]);
	loop_us = atoll(argv[4]);
	fd = open(argv[5], O_RDWR | O_CLOEXEC);
	helpers = mmap(NULL, sizeof(*helpers), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || helpers == MAP_FAILED)
		return 1;
	caller = gettid();
	for (int i = 0; i < 20; i++) { /* what a unit takes, undisturbed */
		long long t = ns(CLOCK_MONOTONIC);

		work(0, 100, &sink);
		t = (ns(CLOCK_MONOTONIC) - t) / 100;
		unit_ns = t < unit_ns ? t : unit_ns;
	}
	units = (size_t)(loop_us * 1000 / (unit_ns ? unit_ns : 1)) + 1;
	ktask_init();
	while (ns(CLOCK_MONOTONIC) < begin)
		usleep(500);
	cpu = ns(CLOCK_PROCESS_CPUTIME_ID);
	while (ns(CLOCK_MONOTONIC) < begin + for_ns) {
		if (strcmp(argv[1], "serial") == 0)
			work(0, units, &sink);
		else
			ktask_run(0, units, &ctl);
		loops++;
	}
	printf("%lld %lld\n", loops, ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	return 0;
}
