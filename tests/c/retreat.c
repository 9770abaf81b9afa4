/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Beside somebody who wants every CPU, in this session or another, helpers go home, and the runs stay exact; when the
 * machine is free again they come back. With and without the right to raise priorities, with what tells them or
 * without, also where the system refuses to change anything. Nobody keeps what was lent to him.
 */
#include "check.h"
#include "fsroot.h"
#include "ktask.h"
#include "threads.h"

#include "../../csrc/clock.h"
#include "../../csrc/fsroot.h"
#include "../../csrc/retreat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

enum { NOBODY = 65534, UNITS_AT_FIRST = 1000, UNIT = 2000 /* additions, about a microsecond */ };

static cpu_set_t allowed;
static pid_t hogs[CPU_SETSIZE];
static int nr_hogs;
static bool in_session_of_its_own;

static void start_hogs(void)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		pid_t child;

		if (!CPU_ISSET(cpu, &allowed))
			continue;
		child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			cpu_set_t one;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
			if (in_session_of_its_own)
				CHECK(setsid() == getpid());
			for (volatile unsigned n = 0;; n++)
				;
		}
		hogs[nr_hogs++] = child;
	}
}

static void stop_hogs(void)
{
	for (int i = 0; i < nr_hogs; i++) {
		CHECK(kill(hogs[i], SIGKILL) == 0);
		CHECK(waitpid(hogs[i], NULL, 0) == hogs[i]);
	}
	nr_hogs = 0;
}

static uint64_t ns_of(clockid_t clock)
{
	struct timespec t;

	CHECK(clock_gettime(clock, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int work(void *start, void *end, void *done)
{
	size_t units = (size_t)((uintptr_t)end - (uintptr_t)start);

	for (volatile size_t n = 0; n < UNIT * units; n++)
		;
	atomic_fetch_add((atomic_size_t *)done, units);
	return KTASK_RETURN_SUCCESS;
}

static struct ktask_report one_run(size_t units)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	atomic_size_t done = 0;
	DEFINE_KTASK_CTL(ctl, work, &done, 1);

	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(AT(0), units, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(done == units);
	CHECK(report.kr_retreated <= report.kr_called);
	return report;
}

/* How many helpers are at another nice than this? */
static int at_another_nice(int nice)
{
	DIR *dir = opendir("/proc/self/task");
	int nr = 0;

	CHECK(dir);
	for (struct dirent *d; (d = readdir(dir));)
		nr += is_helper(d->d_name) && getpriority(PRIO_PROCESS, (id_t)atoi(d->d_name)) != nice;
	closedir(dir);
	return nr;
}

/*
 * Between runs: all get back to the nice that they stepped back to, whatever they were lent, and keep it. A helper gives that
 * back when its caller can go on already, and beside hogs it may lose its CPU right there.
 */
static void await_helpers_nice(int nice)
{
	while (at_another_nice(nice))
		usleep(1000);
	CHECK(at_another_nice(nice) == 0);
}

static void until_they_go(void)
{
	size_t units = UNITS_AT_FIRST;

	/* Longer and longer, since one that has to wait very long for a CPU is sent home before it comes. */
	while (one_run(units).kr_retreated == 0)
		units += units / 4;
}

/* How much of its time does a thread get on a CPU that works for a while on each CPU? The least of all, in percent. */
static int share_of_cpu(void)
{
	enum { PROBE_NS = 30000000 };
	pid_t probes[CPU_SETSIZE];
	int n = 0, least = 100;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		probes[n] = fork();
		CHECK(probes[n] >= 0);
		if (probes[n++] == 0) {
			cpu_set_t one;
			uint64_t begin, took;

			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			sched_setaffinity(0, sizeof(one),
					  &one); /* refused in one test: then they spread by themselves */
			begin = ns_of(CLOCK_MONOTONIC);
			while ((took = ns_of(CLOCK_MONOTONIC) - begin) < PROBE_NS)
				;
			_exit((int)(100 * ns_of(CLOCK_PROCESS_CPUTIME_ID) / took));
		}
	}
	for (int i = 0; i < n; i++) {
		int status;

		CHECK(waitpid(probes[i], &status, 0) == probes[i] && WIFEXITED(status));
		least = WEXITSTATUS(status) < least ? WEXITSTATUS(status) : least;
	}
	return least;
}

static void until_they_are_back(void)
{
	enum { FREE = 90, PATIENCE = 100 };
	int busy = 0;

	for (;;) {
		struct ktask_report report = one_run(20 * UNITS_AT_FIRST);

		if (report.kr_threads > 1 && report.kr_retreated == 0)
			return;
		busy = share_of_cpu() < FREE ? busy + 1 : 0;
		if (busy == PATIENCE) {
			fprintf(stderr, "helpers stay away: somebody else uses the CPUs all the time\n");
			exit(0);
		}
	}
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

static void go_and_come_back(void)
{
	int nice = can_raise() ? 19 : getpriority(PRIO_PROCESS, 0);

	start_hogs();
	until_they_go();
	await_helpers_nice(nice);
	stop_hogs();
	until_they_are_back();
	await_helpers_nice(nice);
	CHECK(sched_getscheduler(0) == SCHED_OTHER);
}

static void become_nobody(void)
{
	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHECK(!can_raise());
	/* Or else what belongs to this process in /proc is the superuser's. */
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void as_nobody(void)
{
	become_nobody();
	go_and_come_back();
}

enum { LEAVE = -1, CLOSE = -2 };

/* How many schedstats are open; or were, before they were closed, or another file got their numbers. */
static int nr_schedstats(int instead)
{
	char path[40], target[100];
	int n = 0;

	for (int fd = 0; fd < 100; fd++) {
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		if (!strstr(target, "schedstat"))
			continue;
		n++;
		/* Unbeknown to ThreadSanitizer, who would call it a race. */
		if (instead == CLOSE)
			CHECK(syscall(SYS_close, fd) == 0);
		else if (instead != LEAVE)
			CHECK(syscall(SYS_dup3, instead, fd, 0) == fd);
	}
	return n;
}

static void without_schedstat(int instead)
{
	CHECK(ktask_init() == 0);
	CHECK(nr_schedstats(instead) > 0);
	start_hogs();
	until_they_go();
	stop_hogs();
	until_they_are_back();
}

static void schedstat_closed(void)
{
	without_schedstat(CLOSE);
}

/* As by a program that closes all that it does not know, and opens files of its own: one that says, nobody ever waits. */
static void schedstat_replaced(void)
{
	FILE *file = tmpfile();

	CHECK(file && fputs("0 0 0\n", file) >= 0 && fflush(file) == 0);
	without_schedstat(fileno(file));
}

/* From now on these system calls fail, as they do in some sandboxes. */
static void refuse(int call, int another)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)another, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		exit(0); /* a kernel without */
}

static void refused_from_the_start(void)
{
	refuse(SYS_setpriority, SYS_sched_setscheduler);
	go_and_come_back();
}

/* Helpers stay at 19 then, and get nothing lent; the caller has to do without them as well. */
static void refused_all_of_a_sudden(void)
{
	CHECK(ktask_init() == 0);
	start_hogs();
	refuse(SYS_setpriority, SYS_sched_setaffinity);
	for (int i = 0; i < rounds(20, 3); i++)
		one_run(UNITS_AT_FIRST);
	stop_hogs();
	until_they_are_back();
}

/* KTASK_RETREAT=off: they stay. */
static void stubborn(void)
{
	setenv("KTASK_RETREAT", "off", 1);
	start_hogs();
	for (int i = 0; i < rounds(20, 3); i++)
		CHECK(one_run(20 * UNITS_AT_FIRST).kr_retreated == 0);
	stop_hogs();
}

/* A child keeps nothing open of helpers that it has not got, nor closes what is not theirs any more. */
static void files(void)
{
	int n, kept = -1;
	pid_t child;

	CHECK(ktask_init() == 0);
	n = nr_schedstats(LEAVE);
	CHECK(n > 0);
	child = fork();
	if (child == 0) {
		CHECK(nr_schedstats(LEAVE) == 0);
		exit(0);
	}
	check_child(child);
	CHECK(nr_schedstats(LEAVE) == n);

	for (int fd = 3; fd < 100; fd++)
		syscall(SYS_close, fd);
	for (int i = 0; i < n; i++)
		kept = open("/dev/null", O_RDONLY);
	CHECK(kept == 2 + n);
	child = fork();
	if (child == 0) {
		CHECK(fcntl(kept, F_GETFD) != -1);
		exit(0);
	}
	check_child(child);
}

/* Times that are made up. */
enum { MS = 1000000, LONG_AGO = 1000000000, LONGEST = 1000 * MS };

/* After a retreat callers are quick to take silence for another sign, until as much time as the pause has passed. */
static void patience(void)
{
	uint64_t t = LONG_AGO;

	CHECK(retreat_patience_ns(20000, t) == MS);
	retreat(0, t);
	CHECK(retreat_patience_ns(20000, t) == 125000 && retreat_patience_ns(20000, t + 7 * MS) == 125000);
	CHECK(retreat_patience_ns(50000, t) == 150000);
	CHECK(retreat_patience_ns(500000, t) == MS);
	CHECK(retreat_patience_ns(20000, t + 8 * MS) == MS);
}

/* Retreats at t, as soon as that pause is over, and so on, until the last pause is this long. When that one is over. */
static uint64_t after_a_pause(uint64_t t, int room, uint64_t ns)
{
	uint64_t least = 4 * MS, now;

	do {
		retreat(room, t);
		now = retreat_pause_ns(t);
		CHECK(now == least);
		t += now;
		CHECK(retreat_pause_ns(t) == 0);
		least = 2 * now < LONGEST ? 2 * now : LONGEST;
	} while (now < ns);
	return t;
}

/* The next pause is the shortest only when no one has retreated for as long as the last one took. */
static void forgotten(void)
{
	uint64_t t = after_a_pause(LONG_AGO, 0, LONGEST);

	retreat(0, t + 999 * MS);
	CHECK(retreat_pause_ns(t + 999 * MS) == LONGEST);
	t += 999 * MS + LONGEST;
	retreat(0, t + 1001 * MS);
	CHECK(retreat_pause_ns(t + 1001 * MS) == 4 * MS);
}

/* Or for 125 ms since a helper came in time that the pause had no room for: who drops in now and then does not stay. */
static void came(void)
{
	enum { ROOM = 2, SOON = 120 * MS, LATER = 126 * MS };
	uint64_t t = after_a_pause(LONG_AGO, ROOM, 256 * MS);

	retreat_came(ROOM + 1, t);
	CHECK(retreat_patience_ns(20000, t) == MS);
	retreat(ROOM, t + SOON);
	CHECK(retreat_pause_ns(t + SOON) == 512 * MS);

	t += SOON;
	retreat_came(ROOM + 1, t); /* while it lasts that says nothing, */
	CHECK(retreat_pause_ns(t) == 512 * MS);
	t += 512 * MS;
	retreat_came(ROOM, t); /* nor do those for whom there was room */
	CHECK(retreat_patience_ns(20000, t) == 125000);
	retreat_came(ROOM + 1, t);
	retreat_came(ROOM + 1, t + SOON); /* who comes later puts nothing off */
	retreat(ROOM, t + LATER);
	CHECK(retreat_pause_ns(t + LATER) == 4 * MS);

	t = after_a_pause(t + LATER + 9 * MS, ROOM, 512 * MS);
	retreat_came(ROOM + 1, t + 500 * MS); /* not even the first */
	retreat(ROOM, t + 513 * MS);
	CHECK(retreat_pause_ns(t + 513 * MS) == 4 * MS);
}

/* Helpers say that they came in time; if one was asleep, not newborn or still awake, and came in the time that counts. */
static bool says_that_it_came(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		uint64_t t;

		setenv("KTASK_RETREAT", "off", 1); /* or real neighbours would make other pauses */
		while (one_run(20 * UNITS_AT_FIRST).kr_threads == 1)
			;
		usleep(1000);
		t = after_a_pause(clock_ns() - 2020 * MS, 0, LONGEST);
		while (one_run(20 * UNITS_AT_FIRST).kr_threads == 1)
			;
		_exit(retreat_patience_ns(20000, t + 900 * MS) != MS);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status) == 0;
}

static void helpers_come(void)
{
	enum { TRIES = 1000 };
	int tries = 0;

	while (!says_that_it_came())
		CHECK(++tries < TRIES);
}

/* Nobody comes, but a CPU is free, by what the system counts: then it is not for a neighbour. */
static void unanswered(void)
{
	uint64_t t = LONG_AGO;
	char text[100];

	fsroot_make();
	fsroot_init();
	snprintf(text, sizeof(text), "7.50 7.25 7.00 %d/300 12345\n", CPU_COUNT(&allowed));
	fsroot_write("/proc/loadavg", text);
	retreat_start();
	retreat_unanswered(0, t);
	CHECK(retreat_pause_ns(t) == 0);
	snprintf(text, sizeof(text), "0.00 0.00 0.00 %d/300 12345\n", CPU_COUNT(&allowed) + 1);
	fsroot_write("/proc/loadavg", text);
	retreat_unanswered(0, t);
	CHECK(retreat_pause_ns(t) == 4 * MS);
	/* As in some sandboxes. */
	t += 9 * MS;
	fsroot_write("/proc/loadavg", "0.00 0.00 0.00 0/0 0\n");
	retreat_unanswered(0, t);
	CHECK(retreat_pause_ns(t) == 4 * MS);
	t += 9 * MS;
	fsroot_write("/proc/loadavg", "");
	retreat_unanswered(0, t);
	CHECK(retreat_pause_ns(t) == 4 * MS);
	fsroot_remove();
}

int main(void)
{
	unsetenv("KTASK_RETREAT");
	CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	if (CPU_COUNT(&allowed) < 2)
		return SKIPPED;
	for (int other = 0; other < 2; other++) {
		in_session_of_its_own = other;
		in_child(go_and_come_back);
		if (geteuid() == 0)
			in_child(as_nobody);
	}
	in_child(schedstat_closed);
	in_child(schedstat_replaced);
	in_child(refused_from_the_start);
	in_child(refused_all_of_a_sudden);
	in_child(stubborn);
	in_child(files);
	in_child(patience);
	in_child(forgotten);
	in_child(came);
	in_child(unanswered);
	helpers_come();
	return 0;
}
