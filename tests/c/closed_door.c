/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that closes whatever is open has closed the table's door, and lost its row. It comes back by itself: with the
 * seats that it has, or without those of somebody who had the row meanwhile; whatever has become of its environment; and
 * no child that is forked just then has the row as well. On the library's own functions, which need no helper.
 */
#include "check.h"

#include "../../csrc/limits.h"
#include "../../csrc/table.h"
#include "ktask.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { CPUS = 2 };

static char door[] = "/tmp/ktask-door-XXXXXX";
static struct member witness; /* of the parent, which belongs to the table all the time */
static char why[TABLE_WHY];
static atomic_int *child_of_child;

/* ---- what the kernel is asked for ------------------------------------------------------------------------------- */

static atomic_bool forks_at_lock, forked;
static _Atomic pid_t forker;

/* It lives on, without a use for anything, until it is killed. */
static void *fork_child(void *unused)
{
	pid_t child;

	forker = gettid();
	child = fork();
	if (child == 0) {
		alarm(60);
		*child_of_child = getpid();
		for (;;)
			pause();
	}
	CHECK(child > 0);
	forked = true;
	return unused;
}

/* Does it wait for a lock? */
static bool is_asleep(pid_t tid)
{
	char path[64], text[256] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	fd = tid ? open(path, O_RDONLY) : -1;
	if (fd < 0)
		return false;
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

static pthread_t forking;

/* Another thread forks now, or waits until it may. */
static void fork_now(void)
{
	CHECK(pthread_create(&forking, NULL, fork_child, NULL) == 0);
	while (!forked && !is_asleep(forker))
		sched_yield();
}

/* In place of the C library's. */
int fcntl(int fd, int command, ...)
{
	struct flock *l;
	va_list args;
	int result;

	va_start(args, command);
	l = va_arg(args, struct flock *);
	va_end(args);
	result = (int)syscall(SYS_fcntl, fd, command, l);
	if (result == 0 && command == F_OFD_SETLK && l->l_type == F_WRLCK && l->l_start > 0 &&
	    atomic_exchange(&forks_at_lock, false))
		fork_now();
	return result;
}

/* ---- losing the row --------------------------------------------------------------------------------------------- */

static void close_all_files(void)
{
	for (int fd = STDERR_FILENO + 1; fd < 100; fd++)
		close(fd);
}

static uint32_t seat_at(int cpu)
{
	return atomic_load(&witness.table->seats[cpu]);
}

/* In a child: belongs to the table, with a helper's seat. Returns its row. */
static int join(void)
{
	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	CHECK(ktask_init() == 0);
	while (!limits_joined()) {
		CHECK(ktask_init() == 0);
		sched_yield();
	}
	CHECK(!limits_why_alone(why));
	CHECK(limits_sit_at(0, false));
	return (int)seat_at(0) - 1;
}

/* Needs a seat that somebody who has died has left, until it has it. */
static void want_seat(void)
{
	struct cpus cpus = { { 0 } };

	cpus_add(&cpus, 1);
	if (!seat_at(1))
		atomic_store(&witness.table->seats[1], (uint32_t)(seat_at(0) + TABLE_ROWS / 2) % TABLE_ROWS + 1);
	while (limits_sit(&cpus, true) < 0)
		sched_yield();
}

/* Is this process in the table, with so many helpers? */
static bool is_in_with(int helpers)
{
	struct table_user users[2];
	int n = table_users(door, users, 2, why);

	for (int i = 0; i < n && i < 2; i++)
		if (users[i].pid == getpid())
			return n == 2 && users[i].helpers == helpers;
	return false;
}

static void keeps_seats(void)
{
	join();
	close_all_files();
	CHECK(!is_in_with(1));
	setenv("KTASK_TABLE", "off", 1);
	want_seat();
	CHECK(is_in_with(1));
	limits_stand(0);
	CHECK(is_in_with(0));
}

static void after_somebody_else(void)
{
	int row = join();

	close_all_files();
	limits_stand(0);
	atomic_store(&witness.table->owners[row], 1);
	atomic_store(&witness.table->seats[0], (uint32_t)row + 1);
	want_seat();
	CHECK(is_in_with(0) && seat_at(0) == 0);
}

static void forks_meanwhile(void)
{
	join();
	close_all_files();
	forks_at_lock = true;
	want_seat();
	CHECK(pthread_join(forking, NULL) == 0);
	CHECK(is_in_with(1));
	_exit(0);
}

int main(void)
{
	struct table_user users[2];

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || UNDER_TSAN) /* which knows whose files they are */
		return SKIPPED;
	child_of_child = mmap(NULL, sizeof(*child_of_child), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(child_of_child != MAP_FAILED);
	CHECK(close(mkstemp(door)) == 0);
	setenv("KTASK_TABLE", door, 1);
	CHECK(table_join(&witness, door, why) == TABLE_JOINED);
	in_child(keeps_seats);
	in_child(after_somebody_else);
	in_child(forks_meanwhile);
	while (*child_of_child == 0) /* until it is all there, its parent's files are its own */
		sched_yield();
	CHECK(table_users(door, users, 2, why) == 1); /* the child of the child has no row of a process that is gone */
	CHECK(kill(*child_of_child, SIGKILL) == 0);
	table_leave(&witness);
	CHECK(unlink(door) == 0);
	return 0;
}
