/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * priority.c: nice 19 and willing (the kernel document's "Scheduler Interaction"), where the process may.
 *
 * setpriority(2) takes a thread id in Linux, though POSIX says process. Errors are ignored on purpose: the thread may
 * not be changed, and then it works as it is.
 */
#define _GNU_SOURCE
#include "priority.h"

#include "tid.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

static atomic_bool privileged;

static void *lower_and_raise(void *unused)
{
	int before = priority_of_caller(), other = before == HELPERS_NICE ? HELPERS_NICE - 1 : HELPERS_NICE;

	(void)unused;
	if (setpriority(PRIO_PROCESS, (id_t)this_tid(), other) == 0 &&
	    setpriority(PRIO_PROCESS, (id_t)this_tid(), before) == 0)
		atomic_store_explicit(&privileged, true, memory_order_relaxed);
	return NULL;
}

void priority_probe(void)
{
	pthread_t thread;

	atomic_store_explicit(&privileged, false, memory_order_relaxed);
	if (pthread_create(&thread, NULL, lower_and_raise, NULL) == 0)
		pthread_join(thread, NULL);
}

bool priority_privileged(void)
{
	return atomic_load_explicit(&privileged, memory_order_relaxed);
}

void priority_step_back(void)
{
	/*
	 * Also because whoever made this thread may be a real-time one, whose policy it has inherited. The C library's
	 * function would be about processes, and musl therefore refuses it.
	 */
	syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &(struct sched_param){ .sched_priority = 0 });
	if (priority_privileged())
		setpriority(PRIO_PROCESS, (id_t)this_tid(), HELPERS_NICE);
}

int priority_of_caller(void)
{
	return getpriority(PRIO_PROCESS, (id_t)this_tid());
}

void priority_set(pid_t tid, int nice)
{
	setpriority(PRIO_PROCESS, (id_t)tid, nice);
}
