/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where all work under one lock, helpers have their caller's priority for as long as they are at it, and before each chunk they
 * let everybody else go first; nor does another caller that comes late take it from them. Afterwards, and elsewhere, they
 * are where they stepped back to.
 */
#include "check.h"
#include "ktask.h"
#include "threads.h"

#include "../../csrc/pool_private.h"
#include "../../csrc/priority.h"

#include <dirent.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { NICE = 5, UNITS = 500, ENOUGH = 20 };

static bool lock;
static atomic_int nr_helper_chunks;
static _Thread_local bool has_made_way;

/* In place of the C library's. */
int sched_yield(void)
{
	has_made_way = true;
	return (int)syscall(SYS_sched_yield);
}

static struct team other; /* of the caller that comes late */
static _Thread_local bool comes_late;

/* In place of the C library's. By the time that the caller has lent its priority, the helper has left its team. */
int setpriority(__priority_which_t which, id_t id, int nice)
{
	if (comes_late)
		atomic_store(&other.called[0], 0);
	return (int)syscall(SYS_setpriority, which, id, nice);
}

static int nice_of(pid_t tid)
{
	return getpriority(PRIO_PROCESS, (id_t)tid);
}

static int stepped_back(void)
{
	return priority_privileged() ? 19 : NICE;
}

static int work(void *start, void *end, void *arg)
{
	int nice;

	(void)arg;
	for (volatile uintptr_t n = 10000 * ((uintptr_t)end - (uintptr_t)start); n > 0; n--)
		;
	if (ktask_thread() == 0) {
		CHECK(nice_of(gettid()) == NICE);
		return KTASK_RETURN_SUCCESS;
	}
	CHECK(has_made_way || !lock);
	/* A caller that waits lends its priority, lock or not; at any moment. */
	nice = nice_of(gettid());
	CHECK(nice == NICE || (!lock && nice == stepped_back()));
	has_made_way = false;
	atomic_fetch_add(&nr_helper_chunks, 1);
	return KTASK_RETURN_SUCCESS;
}

static void until_helpers_have_stepped_back(void)
{
	for (bool all = false; !all;) {
		DIR *dir = opendir("/proc/self/task");

		CHECK(dir);
		all = true;
		for (struct dirent *d; (d = readdir(dir));)
			all = all && (!is_helper(d->d_name) || nice_of(atoi(d->d_name)) == stepped_back());
		closedir(dir);
	}
}

static void until_helpers_have_worked(void)
{
	DEFINE_KTASK_CTL(ctl, work, NULL, 1);

	ktask_ctl_set_shares_lock(&ctl, lock);
	nr_helper_chunks = 0;
	while (nr_helper_chunks < ENOUGH)
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	until_helpers_have_stepped_back();
}

static atomic_int helper_at_work;
static atomic_bool done, too_late;

static int let_go(size_t units_done, size_t total, void *unused)
{
	(void)unused;
	too_late = units_done == total;
	return 0;
}

/* A helper is at work here. To the other caller it seems to be at work there, and then to have left. */
static int lend_late(void *start, void *end, void *arg)
{
	struct wait wait = { 0 };

	(void)start, (void)end, (void)arg;
	if (ktask_thread() > 0) {
		helper_at_work = gettid();
		while (!done && !too_late)
			sched_yield();
		helper_at_work = 0;
	} else if (!helper_at_work) {
		usleep(1000); /* long enough for the next one to have company */
	} else if (!done) {
		atomic_store(&other.called[0], 1);
		comes_late = true;
		will_one(&other, &wait);
		comes_late = false;
		CHECK(other.nr_willed == 1 && nice_of(helper_at_work) == NICE);
		done = true;
	}
	return KTASK_RETURN_SUCCESS;
}

static void late_restore(void)
{
	DEFINE_KTASK_CTL(ctl, lend_late, NULL, 1);

	ktask_ctl_set_shares_lock(&ctl, 1);
	ktask_ctl_set_poll_func(&ctl, let_go, NULL);
	while (!done) {
		too_late = false;
		CHECK(ktask_run(AT(0), 64, &ctl) == KTASK_RETURN_SUCCESS);
	}
	until_helpers_have_stepped_back();
}

int main(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, NICE) == 0);
	use_helpers(1);
	CHECK(ktask_init() == 0);
	for (int i = 0; i < 4; i++) {
		lock = i % 2;
		until_helpers_have_worked();
	}
	if (priority_privileged())
		late_restore();
	return 0;
}
