/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine of several nodes, made up: node 0 has CPU 0, node 2 has CPU 1, node 3 has memory only and lies next to
 * node 2. Where helpers start, and which numbers are nodes.
 */
#include "check.h"
#include "fsroot.h"
#include "ktask.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>

enum { HELPERS = 6, UNITS = 3000 };

static const int nids[] = { 0, 2, 3 };

static atomic_int here, done[3 * UNITS];
static _Thread_local int nr_calls;

static void describe_machine(void)
{
	fsroot_make();
	fsroot_write("online", "0,2-3\n");
	fsroot_write("node0/cpulist", "0\n");
	fsroot_write("node2/cpulist", "1\n");
	fsroot_write("node3/cpulist", "\n");
	fsroot_write("node0/distance", "10 20 40\n");
	fsroot_write("node2/distance", "20 10 15\n");
	fsroot_write("node3/distance", "40 15 10\n");
}

/* The first chunk of each helper is on its own node: all wait there, so there is work left for everybody. */
static int work(void *start, void *end, pthread_t *caller)
{
	uintptr_t from = (uintptr_t)start, to = (uintptr_t)end;
	int nid = -1, id;
	char name[16];

	CHECK(from / UNITS == (to - 1) / UNITS); /* one node */
	for (uintptr_t i = from; i < to; i++)
		atomic_fetch_add(&done[i], 1);
	if (nr_calls++ > 0)
		return KTASK_RETURN_SUCCESS;
	if (!pthread_equal(pthread_self(), *caller)) {
		prctl(PR_GET_NAME, name);
		CHECK(sscanf(name, "ktask/%d.%d", &nid, &id) == 2);
		CHECK(nid == 0 || nid == 2);
		/* Node 3 has no CPUs: its work is node 2's. */
		CHECK(nid == nids[from / UNITS] || (nid == 2 && nids[from / UNITS] == 3));
	}
	atomic_fetch_add(&here, 1);
	while (here < HELPERS + 1)
		sched_yield();
	return KTASK_RETURN_SUCCESS;
}

static void locality(void)
{
	struct ktask_node nodes[3] = { { AT(0), UNITS, 0 }, { AT(UNITS), UNITS, 2 }, { AT(2 * UNITS), UNITS, 3 } };
	pthread_t caller = pthread_self();
	DEFINE_KTASK_CTL(ctl, work, &caller, UNITS / 20);

	CHECK(ktask_run_numa(nodes, 3, &ctl) == KTASK_RETURN_SUCCESS);
	for (int i = 0; i < 3 * UNITS; i++)
		CHECK(done[i] == 1);
}

/*
 * Each node has a helper, but there are two CPUs, of which one is a caller's: two callers on different nodes may not
 * have both.
 */
static _Thread_local bool is_caller;
static atomic_int helpers_at_work;

static int work_alone(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	if (!is_caller)
		CHECK(atomic_fetch_add(&helpers_at_work, 1) == 0);
	sched_yield();
	if (!is_caller)
		atomic_fetch_sub(&helpers_at_work, 1);
	return KTASK_RETURN_SUCCESS;
}

static void *call(void *unused)
{
	DEFINE_KTASK_CTL(ctl, work_alone, NULL, 1);

	is_caller = true;
	for (int i = 0; i < rounds(3000, 50); i++)
		CHECK(ktask_run(AT(0), 60, &ctl) == KTASK_RETURN_SUCCESS);
	return unused;
}

static void system_limit(void)
{
	cpu_set_t two;

	CPU_ZERO(&two);
	CPU_SET(0, &two);
	CPU_SET(1, &two);
	if (sched_setaffinity(0, sizeof(two), &two) != 0 || sched_getaffinity(0, sizeof(two), &two) != 0 ||
	    CPU_COUNT(&two) != 2)
		return; /* not on this machine */
	in_threads(4, call);
}

static int count(void *start, void *end, void *n)
{
	atomic_fetch_add((atomic_size_t *)n, (uintptr_t)end - (uintptr_t)start);
	return KTASK_RETURN_SUCCESS;
}

static void numbers(void)
{
	for (int nid = -3; nid < 10; nid++) {
		struct ktask_node node = { AT(0), 100, nid };
		bool exists = nid == NUMA_NO_NODE || nid == 0 || nid == 2 || nid == 3;
		atomic_size_t n = 0;
		DEFINE_KTASK_CTL(ctl, count, &n, 1);

		CHECK(ktask_run_numa(&node, 1, &ctl) == (exists ? 0 : -EINVAL));
		CHECK(n == (exists ? 100 : 0));
	}
}

/* What makes no sense is taken for one node with all CPUs. */
static void one_node(void)
{
	struct ktask_node node = { AT(0), 100, 0 };
	atomic_size_t n = 0;
	DEFINE_KTASK_CTL(ctl, count, &n, 1);

	CHECK(ktask_run_numa(&node, 1, &ctl) == 0 && n == 100);
	node.kn_nid = 1;
	CHECK(ktask_run_numa(&node, 1, &ctl) == -EINVAL);
}

int main(void)
{
	static const char *const nonsense[] = { "", "nodes\n", "1-0\n", "0-99999999\n", "-1\n", "5,\n", "0" };

	use_helpers(HELPERS);
	describe_machine();
	for (int i = 0; i < rounds(6, 2); i++)
		in_child(locality);
	in_child(numbers);
	setenv("KTASK", "off", 1);
	in_child(numbers);
	unsetenv("KTASK");
	unsetenv("KTASK_HELPERS");
	in_child(system_limit);
	use_helpers(HELPERS);
	fsroot_remove();

	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		fsroot_make();
		fsroot_write("online", nonsense[i]);
		in_child(one_node);
		fsroot_remove();
	}
	return 0;
}
