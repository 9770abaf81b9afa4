/* SPDX-License-Identifier: BSD-3-Clause */
/* fork() at any moment: the child has a library that works, the parent notices nothing. */
#include "check.h"
#include "ktask.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Leaks are looked for in threads, of which a child is told that it has them and has not. */
#if UNDER_ASAN
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

enum { UNITS = 40, RESULT = UNITS * (UNITS - 1) / 2 };

static int add(void *start, void *end, void *sum)
{
	if ((uintptr_t)start % 8 == 0) /* not more often: on a busy machine each may take a time slice */
		sched_yield();
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add((atomic_int *)sum, (int)i);
	return KTASK_RETURN_SUCCESS;
}

static void check_library(void)
{
	for (int i = 0; i < 4; i++) {
		atomic_int sum = 0;
		DEFINE_KTASK_CTL(ctl, add, &sum, 1);

		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(sum == RESULT);
	}
}

/* Between runs; and children have children. */
static void generations(int left)
{
	pid_t child;

	check_library();
	child = left ? fork() : 1;
	if (child == 0) {
		generations(left - 1);
		exit(0);
	}
	if (left)
		check_child(child);
	check_library();
}

static void between_runs(void)
{
	for (int i = 0; i < rounds(20, 2); i++)
		generations(4);
}

/* While other threads run tasks. */
static atomic_bool stop;

static void *keep_running(void *unused)
{
	while (!stop)
		check_library();
	return unused;
}

static void beside_a_run(void)
{
	pthread_t thread[2];

	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&thread[i], NULL, keep_running, NULL) == 0);
	for (int i = 0; i < rounds(250, 5); i++) {
		pid_t child = fork();

		if (child == 0) {
			check_library();
			exit(0);
		}
		check_child(child);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

/* Inside a thread function, by whoever comes to the unit: the caller or a helper. */
struct task {
	uintptr_t forks_at;
	bool nested; /* and the child runs a task there and then */
	atomic_int sum, forks;
};

/* A helper blocks signals, but what it forks is a process like any other. */
static void check_signals(void)
{
	sigset_t blocked;

	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0);
	CHECK(sigismember(&blocked, SIGTERM) == 0 && sigismember(&blocked, SIGINT) == 0);
	CHECK(sigismember(&blocked, SIGUSR1) == 1); /* by main */
}

static int add_and_fork(void *start, void *end, struct task *task)
{
	sched_yield();
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++) {
		atomic_fetch_add(&task->sum, (int)i);
		if (i == task->forks_at) {
			pid_t child = fork();

			/* A helper's child ends when it leaves the thread function; a caller's goes on. */
			if (child == 0) {
				check_signals();
				if (task->nested)
					check_library();
				continue;
			}
			check_child(child);
			atomic_fetch_add(&task->forks, 1);
		}
	}
	return KTASK_RETURN_SUCCESS;
}

static void *step(void *position, size_t size)
{
	return AT((uintptr_t)position + size);
}

static void fork_at(uintptr_t unit, bool nested, bool in_order)
{
	struct task task = { .forks_at = unit, .nested = nested };
	DEFINE_KTASK_CTL(ctl, add_and_fork, &task, 1);
	pid_t parent = getpid();
	int error;

	if (in_order)
		ktask_ctl_set_iter_func(&ctl, step);
	error = ktask_run(AT(0), UNITS, &ctl);
	if (getpid() != parent) {
		CHECK(error == KTASK_RETURN_SUCCESS || error == -ECHILD);
		CHECK(error == -ECHILD || task.sum == RESULT);
		check_library();
		exit(0);
	}
	CHECK(error == KTASK_RETURN_SUCCESS);
	CHECK(task.sum == RESULT);
	CHECK(task.forks == 1);
}

static void inside_a_run(void)
{
	for (int i = 0; i < rounds(300, 6); i++)
		fork_at((uintptr_t)i % UNITS, i & 1, i & 2);
}

/* The same, where it is certain that another thread is at work at that moment. */
struct pair {
	pthread_t caller;
	bool caller_forks;
	atomic_int here;
};

/* A thread of the child gets the stack of one that is not there, and with it what was the run's. */
static void *fill_stack(void *unused)
{
	volatile char bytes[1 << 16];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = 'x';
	return unused;
}

static void use_a_stack(void)
{
	pthread_t thread;

	if (UNDER_TSAN) /* which takes the two threads for one */
		return;
	CHECK(pthread_create(&thread, NULL, fill_stack, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

static int meet_and_fork(void *start, void *end, struct pair *p)
{
	bool is_caller = pthread_equal(pthread_self(), p->caller);

	(void)start, (void)end;
	atomic_fetch_add(&p->here, 1);
	while (p->here < 2)
		sched_yield();
	if (is_caller == p->caller_forks) {
		pid_t child = fork();

		if (child == 0) {
			if (!is_caller)
				use_a_stack();
			return KTASK_RETURN_SUCCESS;
		}
		check_child(child);
	}
	/* Nobody leaves before the fork. */
	atomic_fetch_add(&p->here, 1);
	while (p->here < 4)
		sched_yield();
	return KTASK_RETURN_SUCCESS;
}

/* Helpers come in the child as well: the caller waits for one. */
static int meet(void *start, void *end, void *here)
{
	(void)start, (void)end;
	atomic_fetch_add((atomic_int *)here, 1);
	while (*(atomic_int *)here < 2)
		sched_yield();
	return KTASK_RETURN_SUCCESS;
}

static void check_helpers_come(void)
{
	atomic_int here = 0;
	DEFINE_KTASK_CTL(ctl, meet, &here, 1);

	CHECK(ktask_run(AT(0), 2, &ctl) == KTASK_RETURN_SUCCESS);
}

static void children_have_helpers(void)
{
	check_helpers_come();
	for (int i = 0; i < rounds(20, 2); i++) {
		pid_t child = fork();

		if (child == 0) {
			check_helpers_come();
			exit(0);
		}
		check_child(child);
	}
}

static void fork_in_company(bool caller_forks)
{
	struct pair p = { .caller = pthread_self(), .caller_forks = caller_forks };
	DEFINE_KTASK_CTL(ctl, meet_and_fork, &p, 1);
	pid_t parent = getpid();
	int error = ktask_run(AT(0), 2, &ctl);

	if (getpid() != parent) {
		CHECK(caller_forks && error == -ECHILD);
		check_helpers_come();
		check_library();
		exit(0);
	}
	CHECK(error == KTASK_RETURN_SUCCESS);
}

static void *helper_forks(void *unused)
{
	fork_in_company(false);
	return unused;
}

static void in_company(void)
{
	pthread_t thread;

	for (int i = 0; i < rounds(100, 4); i++)
		fork_in_company(i % 2);
	for (int i = 0; i < rounds(10, 2); i++) {
		CHECK(pthread_create(&thread, NULL, helper_forks, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
	}
}

static void all(void)
{
	between_runs();
	beside_a_run();
	inside_a_run();
}

int main(void)
{
	sigset_t own;

	sigemptyset(&own);
	sigaddset(&own, SIGUSR1);
	CHECK(pthread_sigmask(SIG_BLOCK, &own, NULL) == 0);
	if (UNDER_ASAN || UNDER_TSAN) /* whose shadow memory makes each fork take a tenth of a second */
		setenv("CHECK_QUICK", "1", 1);
	with_each_setting(all);
	use_helpers(7);
	in_child(in_company);
	in_child(children_have_helpers);
	return 0;
}
