/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A helper has as much stack as any thread of the program: a thread function may use a MiB of it, and one that never
 * ends calling itself is ended by the guard page, with all the process, and not left to write over other threads' data.
 */
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>

enum { PAGE = 4096, MIB = 1 << 20 };

static pthread_t caller;
static atomic_int here;

/* A frame of a page and a bit, for each of so many pages; -1: for ever. */
static int go_down(long pages) /* NOLINT(misc-no-recursion) */
{
	volatile char page[PAGE];

	page[0] = page[PAGE - 1] = 1;
	return pages == 0 ? 0 : go_down(pages - 1) + page[0] - page[PAGE - 1];
}

/* Two chunks, which the caller and a helper do at the same time. */
static int meet_and_go_down(void *start, void *end, long *pages)
{
	(void)start, (void)end;
	atomic_fetch_add(&here, 1);
	while (here < 2)
		sched_yield();
	return pthread_equal(pthread_self(), caller) ? KTASK_RETURN_SUCCESS : go_down(*pages);
}

static int run(long pages)
{
	DEFINE_KTASK_CTL(ctl, meet_and_go_down, &pages, 1);

	caller = pthread_self();
	here = 0;
	return ktask_run(AT(0), 2, &ctl);
}

static void enough(void)
{
	CHECK(run(MIB / PAGE) == KTASK_RETURN_SUCCESS);
}

static void too_much(void)
{
	struct rlimit none = { 0, 0 };
	int status;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &none);
		run(-1);
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void)
{
	use_helpers(1);
	in_child(enough);
	/* They have a word of their own to say about it. */
	if (!UNDER_ASAN && !UNDER_TSAN)
		in_child(too_much);
	return 0;
}
