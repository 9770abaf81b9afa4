/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork() while another thread is in the middle of starting the pool, at the very first use. A pipe in place of a file
 * that describes the machine holds the start there.
 */
#include "check.h"
#include "fsroot.h"
#include "ktask.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

static int pipe_end;
static pid_t forking_thread;
static atomic_bool forking, forked;

static int count(void *start, void *end, void *n)
{
	atomic_fetch_add((atomic_size_t *)n, (size_t)((uintptr_t)end - (uintptr_t)start));
	return KTASK_RETURN_SUCCESS;
}

static void check_library(void)
{
	atomic_size_t n = 0;
	DEFINE_KTASK_CTL(ctl, count, &n, 1);

	CHECK(ktask_init() == 0);
	CHECK(ktask_run(AT(0), 100, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(n == 100);
}

static void *start_pool(void *unused)
{
	check_library();
	return unused;
}

static bool sleeps(pid_t thread)
{
	char path[64], text[512] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)thread);
	f = fopen(path, "r");
	CHECK(f);
	CHECK(fgets(text, sizeof(text), f));
	CHECK(fclose(f) == 0);
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

/* Lets the start go on once the fork is over, or waits for it. */
static void *answer(void *unused)
{
	while (!forking || (!forked && !sleeps(forking_thread)))
		sched_yield();
	CHECK(write(pipe_end, "0\n", 2) == 2);
	CHECK(close(pipe_end) == 0);
	return unused;
}

int main(void)
{
	pthread_t starting, answering;
	pid_t child;

	use_helpers(2);
	fsroot_make();
	fsroot_write("node0/cpulist", "0\n");
	CHECK(mkfifo(fsroot_path("online"), 0600) == 0);
	forking_thread = gettid();

	CHECK(pthread_create(&starting, NULL, start_pool, NULL) == 0);
	pipe_end = open(fsroot_path("online"), O_WRONLY | O_CLOEXEC); /* opens when the other end does */
	CHECK(pipe_end >= 0);
	CHECK(pthread_create(&answering, NULL, answer, NULL) == 0);

	forking = true;
	child = fork();
	if (child == 0) {
		close(pipe_end);
		alarm(30); /* what hangs is ended, and so found */
		check_library();
		_exit(0); /* what the starting thread had in hand is no leak */
	}
	forked = true;
	CHECK(pthread_join(answering, NULL) == 0);
	CHECK(pthread_join(starting, NULL) == 0);
	fsroot_remove();
	check_child(child);
	check_library();
	return 0;
}
