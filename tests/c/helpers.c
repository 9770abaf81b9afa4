/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What helper threads are like: their names, signals, CPUs and priority, with and without the right to raise it again;
 * that the caller stays as it was; and that a pool without work sleeps.
 */
#include "check.h"
#include "ktask.h"
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { HELPERS = 5, NOBODY = 65534 };

static cpu_set_t allowed;
static pid_t caller;
static bool privileged;
static int caller_nice;
static atomic_int here;
static atomic_bool seen[HELPERS];

/* All that a thread brings on itself stays open. */
static void check_signals(void)
{
	static const int open[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGKILL, SIGSTOP };
	sigset_t blocked;

	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0);
	for (int s = 1; s < SIGRTMAX; s++) {
		bool is_open = s > SIGSYS && s < SIGRTMIN; /* the C library's own */

		for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
			is_open = is_open || s == open[i];
		CHECK(is_open || sigismember(&blocked, s) == 1);
		if (is_open && s <= SIGSYS)
			CHECK(sigismember(&blocked, s) == 0);
	}
}

static void check_helper(void)
{
	cpu_set_t mine, both;
	char name[16];
	int id = -1, end = 0;

	prctl(PR_GET_NAME, name);
	CHECK(sscanf(name, "ktask/0.%d%n", &id, &end) == 1 && name[end] == '\0');
	CHECK(id >= 0 && id < HELPERS);
	seen[id] = true;
	check_signals();

	CHECK(sched_getaffinity(0, sizeof(mine), &mine) == 0);
	CPU_AND(&both, &mine, &allowed);
	CHECK(CPU_COUNT(&mine) > 0 && CPU_EQUAL(&mine, &both));

	errno = 0;
	if (privileged) {
		/* One that the caller waits for has the caller's. */
		int nice = getpriority(PRIO_PROCESS, (id_t)gettid());

		CHECK(errno == 0 && (nice == 19 || nice == caller_nice));
	} else {
		CHECK(getpriority(PRIO_PROCESS, (id_t)gettid()) == caller_nice && errno == 0);
		CHECK(sched_getscheduler(0) == SCHED_BATCH);
	}
}

static int look(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	if (gettid() != caller)
		check_helper();
	atomic_fetch_add(&here, 1);
	while (here < HELPERS + 1)
		sched_yield();
	return KTASK_RETURN_SUCCESS;
}

static long context_switches(const char *thread)
{
	char path[300], line[200];
	long n = 0, all = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", thread);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %ld", &n) == 1)
			all += n;
	fclose(f);
	return all;
}

static char state(const char *thread)
{
	char path[300], text[512], *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/stat", thread);
	f = fopen(path, "r");
	CHECK(f);
	CHECK(fgets(text, sizeof(text), f));
	fclose(f);
	end = strrchr(text, ')');
	CHECK(end);
	return end[2];
}

/* The sum over all helpers, once all of them sleep. */
static long helpers_switches(void)
{
	long switches = 0;
	int n = 0;
	DIR *dir = opendir("/proc/self/task");

	CHECK(dir);
	for (struct dirent *d; (d = readdir(dir));) {
		if (!is_helper(d->d_name))
			continue;
		while (state(d->d_name) != 'S')
			sched_yield();
		switches += context_switches(d->d_name);
		n++;
	}
	closedir(dir);
	CHECK(n == HELPERS);
	return switches;
}

/* However long it takes others to do something: here, a hundred processes to come and go. */
static void check_sleep(void)
{
	long before = helpers_switches();

	for (int i = 0; i < rounds(100, 10); i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		check_child(child);
	}
	CHECK(helpers_switches() == before);
}

/* Can this process raise its priority again? Tried out by a child, since nothing else tells for sure. */
static bool can_raise(void)
{
	int nice = getpriority(PRIO_PROCESS, 0), status;
	pid_t child = fork();

	if (child == 0)
		_exit(setpriority(PRIO_PROCESS, 0, 19) != 0 || setpriority(PRIO_PROCESS, 0, nice) != 0);
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status) == 0;
}

static void one_meeting(void)
{
	DEFINE_KTASK_CTL(ctl, look, NULL, 1);
	sigset_t before, after;
	cpu_set_t mine;

	caller = gettid();
	CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	caller_nice = getpriority(PRIO_PROCESS, 0);
	privileged = can_raise();
	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &before) == 0);

	CHECK(ktask_run(AT(0), 64, &ctl) == KTASK_RETURN_SUCCESS);
	for (int i = 0; i < HELPERS; i++)
		CHECK(seen[i]);

	CHECK(getpriority(PRIO_PROCESS, 0) == caller_nice);
	CHECK(sched_getscheduler(0) == SCHED_OTHER);
	CHECK(sched_getaffinity(0, sizeof(mine), &mine) == 0 && CPU_EQUAL(&mine, &allowed));
	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &after) == 0);
	for (int s = 1; s < SIGRTMAX; s++)
		CHECK(sigismember(&before, s) == sigismember(&after, s));
	check_sleep();
}

static void on_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
	one_meeting();
}

static void nicer(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
	one_meeting();
}

/* Changing the user gives up the right to raise priorities. */
static void as_nobody(void)
{
	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHECK(!can_raise());
	/* Or else what belongs to this process in /proc is the superuser's. */
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	one_meeting();
}

static void nicer_as_nobody(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
	as_nobody();
}

int main(void)
{
	use_helpers(HELPERS);
	in_child(one_meeting);
	in_child(on_one_cpu);
	in_child(nicer);
	if (geteuid() == 0) {
		in_child(as_nobody);
		in_child(nicer_as_nobody);
	}
	return 0;
}
