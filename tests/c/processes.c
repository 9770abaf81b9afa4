/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many processes at once: together they never have more helpers at work than there are CPUs for them, and what a killed
 * process held is free again, whatever it was doing.
 */
#include "check.h"

#include "../../csrc/limits.h"
#include "../../csrc/table.h"
#include "ktask.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>

enum { PROCESSES = 8, UNITS = 100, KILLS = 200, AT_A_TIME = 4 };

static char door[] = "/tmp/ktask-door-XXXXXX";

/* What the processes share in this test. */
static struct {
	atomic_int helpers, most_helpers, runs_with_helpers;
	atomic_int here; /* for those who meet */
} * shared;

static _Thread_local bool is_caller;
static int max_helpers;

static int count(void *start, void *end, void *sum)
{
	int n = is_caller ? 0 : atomic_fetch_add(&shared->helpers, 1) + 1;

	CHECK(n <= max_helpers);
	if (n > shared->most_helpers)
		shared->most_helpers = n;
	/* So long that a run of them is worth a helper. */
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++) {
		atomic_fetch_add((atomic_long *)sum, (long)i);
		sched_yield();
	}
	if (!is_caller)
		atomic_fetch_sub(&shared->helpers, 1);
	return KTASK_RETURN_SUCCESS;
}

static int add(void *start, void *end, void *sum)
{
	/* So long that a run of them is worth a helper. */
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++) {
		atomic_fetch_add((atomic_long *)sum, (long)i);
		sched_yield();
	}
	return KTASK_RETURN_SUCCESS;
}

/* The same, and nobody else has the CPU meanwhile. */
static int add_slowly(void *start, void *end, void *sum)
{
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++) {
		atomic_fetch_add((atomic_long *)sum, (long)i);
		for (volatile int n = 0; n < 10000; n++)
			;
	}
	return KTASK_RETURN_SUCCESS;
}

/* True: a helper did some of it. */
static bool run(ktask_thread_func func)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	atomic_long sum = 0;
	DEFINE_KTASK_CTL(ctl, func, &sum, 1);

	is_caller = true;
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(sum == (long)UNITS * (UNITS - 1) / 2);
	if (report.kr_threads > 1)
		atomic_fetch_add(&shared->runs_with_helpers, 1);
	return report.kr_threads > 1;
}

/* ---- limits --------------------------------------------------------------------------------------------------- */

static void *keep_running(void *unused)
{
	for (int i = 0; i < rounds(150, 20); i++)
		run(count);
	return unused;
}

static void run_until_helped(void)
{
	while (!run(count))
		;
}

/* Two threads of each process run tasks. All that was taken is given back. */
static void at_once(void)
{
	pid_t child[PROCESSES];
	struct table_user users[1];
	struct member m;
	char why[TABLE_WHY];

	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	for (int i = 0; i < PROCESSES; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			pthread_t thread;

			CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
			CHECK(pthread_create(&thread, NULL, keep_running, NULL) == 0);
			keep_running(NULL);
			CHECK(pthread_join(thread, NULL) == 0);
			exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		check_child(child[i]);
	/* Where the CPUs are all taken by callers, there are no helpers for anybody; now there is room. */
	in_child(run_until_helped);
	CHECK(shared->most_helpers > 0);
	CHECK(shared->helpers == 0);
	table_reclaim(&m); /* from a process that ended while a helper waited awake */
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		CHECK(m.table->seats[cpu] == 0);
	CHECK(table_users(door, users, 1, why) == 1 && users[0].pid == getpid());
	table_leave(&m);
}

/* ---- SIGKILL -------------------------------------------------------------------------------------------------- */

/* What stands in the seats of a process that has died: one whose number was far from this one's. */
static uint32_t seat_of_the_dead(const struct member *m)
{
	return (uint32_t)(m->row + TABLE_ROWS / 2) % TABLE_ROWS + 1;
}

static void run_for_ever(void)
{
	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	for (;;)
		run(add);
}

/*
 * Some processes work, join and clear up after others, until they are killed; new ones take their places. In the
 * end the table shows nothing but what the living have: nothing.
 */
static void killed_at_any_time(void)
{
	pid_t child[AT_A_TIME] = { 0 };
	struct table_user users[AT_A_TIME + 1];
	struct member m;
	char why[TABLE_WHY];
	int left_behind = 0;

	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	srand(3);
	for (int i = 0; i < rounds(KILLS, 20) + AT_A_TIME; i++) {
		int c = i < AT_A_TIME ? i : rand() % AT_A_TIME;
		int with_helpers = shared->runs_with_helpers;

		if (child[c]) {
			/* Seldom is one killed before somebody has had a helper, but that happens, too. */
			while (rand() % 8 && shared->runs_with_helpers == with_helpers)
				sched_yield();
			for (int yields = rand() % 64; yields > 0; yields--)
				sched_yield();
			CHECK(kill(child[c], SIGKILL) == 0);
			CHECK(waitpid(child[c], NULL, 0) == child[c]);
			CHECK(table_users(door, users, AT_A_TIME + 1, why) <= AT_A_TIME);
		}
		child[c] = fork();
		if (child[c] == 0)
			run_for_ever();
		CHECK(child[c] > 0);
	}
	for (int i = 0; i < AT_A_TIME; i++) {
		CHECK(kill(child[i], SIGKILL) == 0);
		CHECK(waitpid(child[i], NULL, 0) == child[i]);
	}
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		left_behind += m.table->seats[cpu] != 0;
	CHECK(left_behind <= max_helpers + 1);
	CHECK(table_users(door, users, 1, why) == 1 && users[0].pid == getpid());
	CHECK(users[0].helpers == 0 && users[0].callers == 0);
	/* Somebody who finds all seats taken gets his, all the same. */
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (m.table->seats[cpu] == 0 && cpu < max_helpers + 1)
			atomic_store(&m.table->seats[cpu], seat_of_the_dead(&m));
	while (!run(add))
		;
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		while (m.table->seats[cpu] != 0) /* kept, as long as a helper waits awake for the next run */
			sched_yield();
	table_leave(&m);
}

/* ---- fork ----------------------------------------------------------------------------------------------------- */

static int parent_to_child[2], child_to_parent[2];

static void send_to(int pipe[2])
{
	CHECK(write(pipe[1], "x", 1) == 1);
}

static void receive_from(int pipe[2])
{
	char c;

	CHECK(read(pipe[0], &c, 1) == 1);
}

/* The caller, once there is a helper: in a child everything works, and its end does not touch what the parent has. */
static int meet(void *start, void *end, void *unused)
{
	struct table_user users[2];
	char why[TABLE_WHY];

	(void)start, (void)end, (void)unused;
	atomic_fetch_add(&shared->here, 1);
	while (shared->here < 2)
		sched_yield();
	if (is_caller) {
		pid_t child = fork();

		if (child == 0) {
			for (int i = 0; i < 10; i++)
				run(add);
			_exit(0);
		}
		check_child(child);
		CHECK(table_users(door, users, 2, why) == 1);
		CHECK(users[0].pid == getpid() && users[0].helpers == 1 && users[0].callers == 1);
	}
	atomic_fetch_add(&shared->here, 1);
	while (shared->here < 4)
		sched_yield();
	return KTASK_RETURN_SUCCESS;
}

static void a_child_of_a_run(void)
{
	DEFINE_KTASK_CTL(ctl, meet, NULL, 1);

	is_caller = true;
	shared->here = 0;
	CHECK(ktask_run(AT(0), 2, &ctl) == KTASK_RETURN_SUCCESS);
}

static int meet_and_die(void *start, void *end, void *unused)
{
	(void)start, (void)end, (void)unused;
	atomic_fetch_add(&shared->here, 1);
	while (shared->here < 2)
		sched_yield();
	if (is_caller) {
		if (fork() == 0) { /* it has all that its parent has, but for the row */
			receive_from(parent_to_child);
			while (!run(add))
				;
			send_to(child_to_parent);
			_exit(0);
		}
		raise(SIGKILL);
	}
	for (;;)
		pause();
	return KTASK_RETURN_SUCCESS;
}

/* A process is killed in the middle of a run, and a child of that moment lives on. */
static void a_child_of_the_dead(void)
{
	DEFINE_KTASK_CTL(ctl, meet_and_die, NULL, 1);
	pid_t child;
	int status;

	CHECK(pipe(parent_to_child) == 0 && pipe(child_to_parent) == 0);
	while (!run(add)) /* so that there is a table all the time */
		;
	shared->here = 0;
	child = fork();
	if (child == 0) {
		is_caller = true;
		ktask_run(AT(0), 2, &ctl);
		_exit(1);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	while (!run(add))
		;
	send_to(parent_to_child);
	receive_from(child_to_parent);
}

/* ---- the last one ends ---------------------------------------------------------------------------------------- */

/* The kernel takes its memory, and with it the table, before its locks. This one makes much of the time in between. */
static void be_on_the_way_out(void)
{
	struct member m;
	char why[TABLE_WHY];

	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	CHECK(shmdt(m.table) == 0);
	send_to(child_to_parent);
	receive_from(parent_to_child);
	_exit(0);
}

/* Who comes in just then does without helpers for that moment, and not for life. */
static void meets_the_last_one(void)
{
	struct table_user users[1];
	char why[LIMITS_WHY];
	pid_t child;

	CHECK(pipe(parent_to_child) == 0 && pipe(child_to_parent) == 0);
	while (table_users(door, users, 1, why) != 0) /* those of other tests are on their way out, too */
		sched_yield();
	child = fork();
	if (child == 0)
		be_on_the_way_out();
	receive_from(child_to_parent);
	CHECK(table_users(door, users, 1, why) == 0);
	for (int i = 0; i < 3; i++) /* not for so long that it gives up */
		CHECK(!run(add_slowly) && !limits_joined() && !limits_why_alone(why));
	send_to(parent_to_child);
	check_child(child);
	run_until_helped();
	CHECK(limits_joined() && !limits_why_alone(why));
}

/* ---- the door is closed --------------------------------------------------------------------------------------- */

static bool any_seat(const struct member *m)
{
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (m->table->seats[cpu])
			return true;
	return false;
}

/* A program that closes whatever is open loses its row. It gets it back when it lacks seats that a dead one has left. */
static void closes_all_files(void)
{
	struct table_user users[2];
	struct member m, other;
	char why[TABLE_WHY];
	pid_t child;

	CHECK(table_join(&m, door, why) == TABLE_JOINED);
	child = fork();
	if (child == 0) {
		CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
		run_until_helped();
		CHECK(table_users(door, users, 2, why) == 2);
		while (any_seat(&m)) /* kept by a helper that waits awake */
			sched_yield();
		for (int fd = STDERR_FILENO + 1; fd < 100; fd++)
			close(fd);
		for (int fd = STDERR_FILENO + 1; fd < 20; fd++)
			CHECK(open("/dev/null", O_RDWR) == fd);
		CHECK(table_users(door, users, 2, why) == 1);
		for (int cpu = 0; cpu < MAX_CPUS; cpu++)
			atomic_store(&m.table->seats[cpu], seat_of_the_dead(&m));
		CHECK(table_join(&other, door, why) == TABLE_JOINED); /* somebody else, with that row */
		for (int i = 0; i < 10; i++)
			CHECK(!run(add));
		table_leave(&other);
		run_until_helped();
		CHECK(table_users(door, users, 2, why) == 2);
		exit(0);
	}
	check_child(child);
	table_leave(&m);
}

/* ---- max_helpers ---------------------------------------------------------------------------------------------- */

static void limited(void)
{
	CHECK(ktask_set_max_helpers(0) == -1);
	for (int i = 0; i < 100; i++)
		CHECK(!run(add));
	CHECK(ktask_set_max_helpers(1) == 0);
	while (!run(add))
		;
	CHECK(ktask_set_max_helpers(-5) == 1);
	CHECK(ktask_set_max_helpers(-1) == -1);
}

static void limited_by_environment(void)
{
	CHECK(ktask_set_max_helpers(5) == -1);
	for (int i = 0; i < 100; i++)
		CHECK(!run(add));
}

/* Use few CPUs: so that they are scarce, and all are taken now and then. */
static bool use_two_cpus(void)
{
	cpu_set_t all, two;

	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	CPU_ZERO(&two);
	for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&two) < 2; cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &two);
	max_helpers = CPU_COUNT(&two) - 1;
	return max_helpers == 1 && sched_setaffinity(0, sizeof(two), &two) == 0;
}

int main(void)
{
	if (!use_two_cpus())
		return SKIPPED;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	CHECK(close(mkstemp(door)) == 0);
	setenv("KTASK_TABLE", door, 1);
	setenv("KTASK_WAKE_NS", "0", 1);
	in_child(at_once);
	in_child(killed_at_any_time);
	in_child(a_child_of_a_run);
	in_child(a_child_of_the_dead);
	in_child(meets_the_last_one);
	if (!UNDER_TSAN) /* which knows whose files they are */
		in_child(closes_all_files);
	in_child(limited);
	setenv("KTASK_MAX_HELPERS", "0", 1);
	in_child(limited_by_environment);
	CHECK(unlink(door) == 0);
	return 0;
}
