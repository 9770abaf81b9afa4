/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Crews: helpers take pieces of work that come while others are under way, each piece once; any thread calls them; when
 * the crew is closed they are gone; and a child of fork does not wait for those of its parent.
 */
#include "../../csrc/crew.h"
#include "check.h"
#include "ktask.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { PIECES = 2000, CALLERS = 3 };

struct queue {
	struct crew *crew;
	atomic_int waiting; /* pieces in the queue */
	atomic_int done;
	atomic_int inside;
	atomic_int by_helpers;
	atomic_int callers;
	atomic_bool hold; /* helpers wait in their piece */
};

static bool take(void *arg)
{
	struct queue *q = arg;
	int waiting = q->waiting;

	atomic_fetch_add(&q->inside, 1);
	do {
		if (waiting == 0) {
			atomic_fetch_sub(&q->inside, 1);
			return false;
		}
	} while (!atomic_compare_exchange_weak(&q->waiting, &waiting, waiting - 1));
	if (ktask_thread() > 0) {
		atomic_fetch_add(&q->by_helpers, 1);
		while (q->hold)
			sched_yield();
	}
	atomic_fetch_add(&q->done, 1);
	atomic_fetch_sub(&q->inside, 1);
	return true;
}

static void *submit(void *arg)
{
	struct queue *q = arg;

	for (int i = 0; i < PIECES; i++) {
		atomic_fetch_add(&q->waiting, 1);
		crew_call(q->crew);
	}
	atomic_fetch_sub(&q->callers, 1);
	return NULL;
}

static void take_all(void)
{
	for (int round = 0; round < rounds(6, 2); round++) {
		struct queue q = { .callers = CALLERS };
		pthread_t threads[CALLERS];

		q.crew = crew_new(take, &q);
		CHECK(q.crew);
		CHECK(!crew_call(q.crew)); /* it is not open */
		for (int again = 0; again < 2; again++) {
			q.done = q.waiting = 0;
			q.callers = CALLERS;
			crew_open(q.crew);
			for (int i = 0; i < CALLERS; i++)
				CHECK(pthread_create(&threads[i], NULL, submit, &q) == 0);
			while (q.callers > 0 || q.waiting > 0)
				take(&q);
			for (int i = 0; i < CALLERS; i++)
				CHECK(pthread_join(threads[i], NULL) == 0);
			crew_close(q.crew);
			CHECK(q.inside == 0 && q.done == CALLERS * PIECES);
		}
		crew_free(q.crew);
	}
}

/* The caller never takes a piece: so if it ends, helpers did them. */
static void helpers_come(void)
{
	struct queue q = { .waiting = PIECES };

	q.crew = crew_new(take, &q);
	CHECK(q.crew && crew_open(q.crew));
	while (q.done < PIECES) {
		crew_call(q.crew);
		sched_yield();
	}
	crew_close(q.crew);
	CHECK(q.by_helpers == PIECES && q.inside == 0);
	crew_free(q.crew);
}

/* A helper that is in the middle of a piece in the parent does not exist in the child. */
static void fork_in_the_middle(void)
{
	struct queue q = { .waiting = 1, .hold = true };
	pid_t child;

	q.crew = crew_new(take, &q);
	CHECK(q.crew && crew_open(q.crew));
	while (q.by_helpers == 0) {
		crew_call(q.crew);
		sched_yield();
	}
	child = fork();
	if (child == 0) {
		CHECK(!crew_call(q.crew));
		crew_close(q.crew);
		if (UNDER_TSAN ||
		    UNDER_ASAN) /* which allows no new threads here; or has locked its allocator over the fork */
			_exit(0);
		q.waiting = 1;
		q.hold = false;
		CHECK(crew_open(q.crew));
		while (q.done == 0) {
			crew_call(q.crew);
			sched_yield();
		}
		crew_close(q.crew);
		_exit(q.done == 1 ? 0 : 1);
	}
	check_child(child);
	q.hold = false;
	crew_close(q.crew);
	CHECK(q.done == 1);
	crew_free(q.crew);
}

int main(void)
{
	with_each_setting(take_all);
	use_helpers(3);
	in_child(helpers_come);
	in_child(fork_in_the_middle);
	return 0;
}
