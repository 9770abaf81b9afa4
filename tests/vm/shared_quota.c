/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shared_quota HELPERS: two processes that run tasks at the same time, in a cgroup with a quota for fewer threads than
 * there are CPUs: both together never have more helpers at work than HELPERS, and now and then so many.
 */
#include "machine.h"

#include <sched.h>
#include <sys/mman.h>

enum { PROCESSES = 2, RUNS = 30, UNITS = 12 };

static int most;
static struct {
	atomic_int at_work, seen;
} * shared;

static int count_helpers(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	if (ktask_thread() != 0) {
		int n = atomic_fetch_add(&shared->at_work, 1) + 1;

		CHECK(n <= most);
		if (n > shared->seen)
			shared->seen = n;
	}
	nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
	if (ktask_thread() != 0)
		atomic_fetch_sub(&shared->at_work, 1);
	return KTASK_RETURN_SUCCESS;
}

static void run_tasks(void)
{
	DEFINE_KTASK_CTL(ctl, count_helpers, NULL, 1);

	for (int i = 0; i < RUNS || shared->seen < most; i++)
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
}

int main(int argc, char **argv)
{
	pid_t child[PROCESSES];

	CHECK(argc == 2);
	most = atoi(argv[1]);
	CHECK(setenv("KTASK_WAKE_NS", "0", 1) == 0 && setenv("KTASK_RETREAT", "off", 1) == 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	for (int i = 0; i < PROCESSES; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			run_tasks();
			exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		check_child(child[i]);
	return 0;
}
