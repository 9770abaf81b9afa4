/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where helpers start, and how many there are: the cases of "Resource Limits" in the kernel's document. Each chunk
 * waits until as many threads have come as there must be; so each thread's first chunk shows where it was sent.
 */
#include "machine.h"

#include <pthread.h>

static int nids_with_cpus[MAX_NIDS], nr_cpus_of[MAX_NIDS], nr_nids, nr_cpus;

/* What became of a run: threads by the node that they may run on. */
static struct {
	pthread_t caller;
	int expected;
	atomic_int here;
	atomic_int on[MAX_NIDS];	/* helpers */
	atomic_int first_own[MAX_NIDS]; /* those of them whose first chunk was of their own node */
	int callers_first;		/* the nid of its first chunk, */
	int callers_nid;		/* and where it was then */
} seen;

static int nr_runs;
static _Thread_local int counted_in; /* run number */

/* The node whose CPUs are all that this helper may use. */
static int nid_of_helper(void)
{
	cpu_set_t allowed = cpus_allowed();

	for (int i = 0; i < nr_nids; i++)
		if (is_subset(allowed, cpus_of(nids_with_cpus[i]))) {
			CHECK(nid_here() == nids_with_cpus[i]);
			return nids_with_cpus[i];
		}
	CHECK(!"a helper is pinned to one node");
	return -1;
}

/* Units are numbers; where there are parts, 1000 times the part's nid and more. */
static int meet(void *start, void *end, void *unused)
{
	(void)end, (void)unused;
	if (counted_in == nr_runs)
		return KTASK_RETURN_SUCCESS;
	counted_in = nr_runs;
	if (!pthread_equal(pthread_self(), seen.caller)) {
		int nid = nid_of_helper();

		atomic_fetch_add(&seen.on[nid], 1);
		atomic_fetch_add(&seen.first_own[nid], (int)((uintptr_t)start / 1000) == nid);
	} else {
		seen.callers_first = (int)((uintptr_t)start / 1000);
		seen.callers_nid = nid_here();
	}
	atomic_fetch_add(&seen.here, 1);
	while (atomic_load(&seen.here) < seen.expected) /* asleep: emulated CPUs take turns */
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	return KTASK_RETURN_SUCCESS;
}

static void expect(int threads)
{
	memset(&seen, 0, sizeof(seen));
	seen.caller = pthread_self();
	seen.expected = threads;
	nr_runs++;
}

static void run(int threads, size_t units, struct ktask_node *nodes, size_t nr_nodes)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	DEFINE_KTASK_CTL(ctl, meet, NULL, 1);

	expect(threads);
	ktask_ctl_set_max_threads(&ctl, (size_t)threads);
	ktask_ctl_set_report(&ctl, &report);
	CHECK((nodes ? ktask_run_numa(nodes, nr_nodes, &ctl) : ktask_run(AT(0), units, &ctl)) == 0);
	CHECK((int)report.kr_threads == threads);
}

static int far(int home, int nid)
{
	return nid == home ? 0 : distance_between(home, nid);
}

/* So many helpers of a caller at home are on the nearest nodes, home first, and no node has more than CPUs for them. */
static void check_nearest(int home, int helpers)
{
	for (int distance = 0; helpers > 0; distance++) {
		int there = 0, room = 0;

		CHECK(distance < 256);
		for (int i = 0; i < nr_nids; i++) {
			int nid = nids_with_cpus[i],
			    own_room = nr_cpus_of[nid] - (nid == home); /* one is the caller's */

			if (far(home, nid) != distance)
				continue;
			CHECK(seen.on[nid] <= own_room);
			room += own_room;
			there += seen.on[nid];
		}
		CHECK(there == (helpers < room ? helpers : room));
		helpers -= there;
	}
}

static void on_the_callers_node_first(int home)
{
	for (int threads = 2; threads <= nr_cpus; threads += threads < 6 ? 1 : nr_cpus / 3) {
		visit(home);
		run(threads, 1000, NULL, 0);
		if (seen.callers_nid == home && nid_here() == home) /* or the scheduler has moved it in between */
			check_nearest(home, threads - 1);
	}
}

/* Each on the node that is named, its first chunk too, also the caller's; then anywhere. */
static void on_the_nodes_named(void)
{
	struct ktask_node nodes[MAX_NIDS];

	for (int i = 0; i < nr_nids; i++)
		nodes[i] = (struct ktask_node){ AT(1000 * nids_with_cpus[i]), 1000, nids_with_cpus[i] };
	visit(nids_with_cpus[nr_nids - 1]);
	run(nr_cpus, 0, nodes, (size_t)nr_nids);
	CHECK(seen.callers_first == nids_with_cpus[nr_nids - 1]);
	for (int i = 0; i < nr_nids; i++) {
		int nid = nids_with_cpus[i];

		CHECK(seen.on[nid] <= nr_cpus_of[nid] && seen.on[nid] >= nr_cpus_of[nid] - 1);
		CHECK(seen.first_own[nid] == seen.on[nid]);
	}

	/* One node has work, and not enough CPUs: it is filled, and the others help. */
	visit(nids_with_cpus[0]);
	for (int threads = nr_cpus_of[nids_with_cpus[nr_nids - 1]] + 1; threads <= nr_cpus; threads += 3) {
		run(threads, 0, &nodes[nr_nids - 1], 1);
		CHECK(seen.on[nids_with_cpus[nr_nids - 1]] >= nr_cpus_of[nids_with_cpus[nr_nids - 1]] - 1);
	}

	/* A node without a name: anywhere. */
	nodes[0] = (struct ktask_node){ AT(0), 1000, NUMA_NO_NODE };
	run(nr_cpus, 0, nodes, 1);
}

/* As many callers as there are CPUs, all at work at once: no helper is to be had, and no one waits for one. */
static pthread_barrier_t all_at_work;
static atomic_int most_helpers, helpers;
static _Thread_local bool is_caller;

static int crowd(void *start, void *end, void *unused)
{
	(void)start, (void)end, (void)unused;
	if (!is_caller) {
		int now = atomic_fetch_add(&helpers, 1) + 1, most = atomic_load(&most_helpers);

		while (now > most && !atomic_compare_exchange_weak(&most_helpers, &most, now))
			;
	}
	for (int i = 0; i < 3; i++)
		sched_yield();
	if (!is_caller)
		atomic_fetch_sub(&helpers, 1);
	return KTASK_RETURN_SUCCESS;
}

static void *call(void *unused)
{
	DEFINE_KTASK_CTL(ctl, crowd, NULL, 1);

	is_caller = true;
	pthread_barrier_wait(&all_at_work);
	for (int i = 0; i < 3; i++)
		CHECK(ktask_run(AT(0), 100, &ctl) == KTASK_RETURN_SUCCESS);
	return unused;
}

static void system_full(void)
{
	pthread_t threads[MAX_NIDS];
	int n = nr_cpus < 8 ? nr_cpus : 8;

	pthread_barrier_init(&all_at_work, NULL, (unsigned)n);
	for (int i = 0; i < n; i++)
		CHECK(pthread_create(&threads[i], NULL, call, NULL) == 0);
	for (int i = 0; i < n; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(most_helpers <= nr_cpus - 1);
	printf("%d callers, %d helpers at a time, of %d\n", n, most_helpers, nr_cpus - 1);
}

int main(void)
{
	CHECK(setenv("KTASK_WAKE_NS", "0", 1) == 0 && setenv("KTASK_RETREAT", "off", 1) == 0);
	for (int nid = 0; nid < MAX_NIDS; nid++) {
		cpu_set_t cpus = cpus_of(nid);

		nr_cpus_of[nid] = CPU_COUNT(&cpus);
		nr_cpus += nr_cpus_of[nid];
		if (nr_cpus_of[nid])
			nids_with_cpus[nr_nids++] = nid;
	}
	CHECK(ktask_init() == 0);
	run(2, 60, NULL, 0); /* so few are taken to be long as long as nothing is known of them */
	on_the_callers_node_first(nids_with_cpus[0]);
	on_the_callers_node_first(nids_with_cpus[nr_nids / 2]);
	on_the_nodes_named();
	system_full();
	return 0;
}
