/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A system that refuses what ktask asks of it, as containers and sandboxes do: system calls, files, memory, threads.
 * Runs go on with what there is, and what is refused from the start or only later makes no difference to the result.
 */
#include "battery.h"
#include "refuse.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

enum { HELPERS = 5, NOBODY = 65534 };

/* What is refused in the next child. */
static const struct refusal {
	int number;
	int arg; /* ANY, or the one that is looked at */
	uint32_t bits;
} refusals[] = {
	{ SYS_sched_setaffinity, ANY, 0 },
	{ SYS_sched_getaffinity, ANY, 0 },
	{ SYS_setpriority, ANY, 0 },
	{ SYS_getpriority, ANY, 0 },
	{ SYS_sched_setscheduler, ANY, 0 },
	{ SYS_sched_getscheduler, ANY, 0 },
	{ SYS_sched_yield, ANY, 0 },
	{ SYS_prctl, ANY, 0 },
	{ SYS_openat, ANY, 0 },
	{ SYS_clone, 0, CLONE_THREAD },
	{ SYS_mprotect, ANY, 0 },
	{ SYS_mmap, ANY, 0 },
	{ SYS_pread64, ANY, 0 },
	{ SYS_fstat, ANY, 0 },
	{ SYS_newfstatat, ANY, 0 },
	{ SYS_prlimit64, ANY, 0 },
	{ SYS_fcntl, ANY, 0 },
	{ SYS_shmget, ANY, 0 },
	{ SYS_shmat, ANY, 0 },
	{ SYS_pwrite64, ANY, 0 },
};
static const struct refusal *refusal;
static int error;

static void check_refused(void)
{
	/* clone3 has its flags in memory, where no filter sees them: clone is what C libraries take then. */
	CHECK(refusal->number != SYS_clone || refuse(SYS_clone3, ENOSYS, ANY, 0, 0) == 0);
	CHECK(refuse(refusal->number, error, refusal->arg, BPF_JSET, refusal->bits) == 0);
	run_battery(rounds(60, 10));
	CHECK(ktask_init() == 0);
	run_battery(rounds(60, 10));
}

static void check_refused_later(void)
{
	CHECK(ktask_init() == 0);
	run_battery(10);
	check_refused();
}

static void system_calls(void)
{
	static const int errors[] = { EPERM, ENOSYS };

	for (refusal = refusals; refusal < refusals + ARRAY_SIZE(refusals); refusal++)
		for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
			error = errors[i];
			in_child(check_refused);
			in_child(check_refused_later);
		}
}

static long helpers_sleeps(void)
{
	struct rusage all, mine;

	CHECK(getrusage(RUSAGE_SELF, &all) == 0 && getrusage(RUSAGE_THREAD, &mine) == 0);
	return all.ru_nvcsw - mine.ru_nvcsw;
}

static int yield(void *start, void *end, void *n)
{
	sched_yield();
	atomic_fetch_add((atomic_int *)n, (int)((uintptr_t)end - (uintptr_t)start));
	return KTASK_RETURN_SUCCESS;
}

/*
 * Without futexes the C library's own locks abort when two threads meet at one: so no iterators here, and no threads
 * that are still to be made. Helpers that are asleep cannot be woken; or, if only waiting is refused, cannot sleep any
 * more: they must not burn the CPU either.
 */
static uint32_t refused_operation;

static void check_no_futex(void)
{
	CHECK(ktask_init() == 0);
	CHECK(refuse(SYS_futex, error, 1, BPF_JEQ, refused_operation) == 0);
	for (int i = 0; i < rounds(200, 20); i++) {
		atomic_int n = 0;
		DEFINE_KTASK_CTL(ctl, yield, &n, 1);

		CHECK(ktask_run(AT(0), 100, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(n == 100);
	}
	/* A helper that naps gives up its CPU again and again; one that spins never does, and we wait in vain. */
	for (long before = helpers_sleeps(); refused_operation == FUTEX_WAIT_PRIVATE && helpers_sleeps() < before + 20;)
		sched_yield();
	_exit(0); /* exit takes locks */
}

static void no_futex(void)
{
	for (int i = 0; i < 4; i++) {
		error = i & 1 ? EPERM : ENOSYS;
		refused_operation = i & 2 ? FUTEX_WAIT_PRIVATE : FUTEX_WAKE_PRIVATE;
		in_child(check_no_futex);
	}
}

/* No /proc and no /sys, as in the barest of containers. */
static void no_files(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/sys", "tmpfs", 0, NULL) || mount("none", "/proc", "tmpfs", 0, NULL))
		return; /* only root may */
	CHECK(access("/proc/self", F_OK) != 0 && access("/sys/devices", F_OK) != 0);
	run_battery(rounds(60, 10));
	CHECK(ktask_init() == 0);
	run_battery(rounds(60, 10));
	_exit(0); /* the sanitizers look into /proc in the end */
}

/* As many processes as the user may have: threads count. */
static rlim_t nr_processes;

static void few_processes(void)
{
	const struct rlimit limit = { nr_processes, nr_processes };

	if (setgid(NOBODY) || setuid(NOBODY))
		return; /* root is not limited, and others may have any number of processes */
	CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
	CHECK(ktask_init() == 0);
	run_battery(rounds(100, 10));
	_exit(0); /* as above */
}

/* Room for so many stacks, of 8 MiB mostly. */
static int nr_stacks;

static void few_addresses(void)
{
	pthread_attr_t attr;
	unsigned long pages;
	struct rlimit limit;
	size_t stack;
	FILE *f = fopen("/proc/self/statm", "r");

	CHECK(f && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	CHECK(pthread_getattr_default_np(&attr) == 0 && pthread_attr_getstacksize(&attr, &stack) == 0);
	limit.rlim_cur = limit.rlim_max = pages * (rlim_t)sysconf(_SC_PAGESIZE) + stack * (rlim_t)nr_stacks + stack / 2;
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	CHECK(ktask_init() == 0);
	CHECK(run_battery(rounds(100, 10)) <= (unsigned)nr_stacks + 1);
}

int main(void)
{
	use_helpers(HELPERS);
	for (nr_processes = 0; nr_processes < 3; nr_processes++)
		in_child(few_processes);
	in_child(no_files);
	/* The sanitizers' own system calls and memory are none of our concern. */
	if (UNDER_ASAN || UNDER_TSAN)
		return 0;
	system_calls();
	no_futex();
	for (nr_stacks = 0; nr_stacks < 4; nr_stacks++)
		in_child(few_addresses);
	return 0;
}
