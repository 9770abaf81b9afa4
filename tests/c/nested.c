/* SPDX-License-Identifier: BSD-3-Clause */
/* Thread functions that run tasks themselves, three deep: all is done once, and the limits hold for all together. */
#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>

enum { WIDTH = 12, DEPTH = 3, FAILS_AT = 700 };

static int helpers_allowed;
static atomic_int helpers_at_work;
static _Thread_local int depth;

struct level {
	int left; /* levels below this one */
	atomic_int *leaves;
};

static bool is_helper(void)
{
	char name[16];

	prctl(PR_GET_NAME, name);
	return strncmp(name, "ktask/", 6) == 0;
}

static int descend(void *start, void *end, struct level *level)
{
	bool counts = depth++ == 0 && is_helper();
	int error = KTASK_RETURN_SUCCESS;

	if (counts)
		CHECK(atomic_fetch_add(&helpers_at_work, 1) < helpers_allowed);
	for (uintptr_t at = (uintptr_t)start; at < (uintptr_t)end && !error; at++) {
		struct level below = { level->left - 1, level->leaves };
		DEFINE_KTASK_CTL(ctl, descend, &below, 1);

		if (level->left)
			error = ktask_run(AT(at * WIDTH), WIDTH, &ctl);
		else
			atomic_fetch_add(&level->leaves[at], 1);
	}
	if (counts)
		atomic_fetch_sub(&helpers_at_work, 1);
	depth--;
	return error;
}

static void everything_once(void)
{
	enum { LEAVES = WIDTH * WIDTH * WIDTH };
	static atomic_int leaves[LEAVES];
	struct level top = { DEPTH - 1, leaves };
	DEFINE_KTASK_CTL(ctl, descend, &top, 1);

	for (int i = 0; i < rounds(100, 3); i++) {
		CHECK(ktask_run(AT(0), WIDTH, &ctl) == KTASK_RETURN_SUCCESS);
		for (int j = 0; j < LEAVES; j++)
			CHECK(atomic_exchange(&leaves[j], 0) == 1);
	}
}

/* A failure deep below comes up through all the levels; what was finished beside it is undone there. */
static atomic_int done[WIDTH * WIDTH];

static int inner(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t at = (uintptr_t)start; at < (uintptr_t)end; at++)
		if (at == WIDTH * WIDTH / 2 + 3)
			return FAILS_AT;
	sched_yield();
	for (uintptr_t at = (uintptr_t)start; at < (uintptr_t)end; at++)
		CHECK(atomic_fetch_add(&done[at], 1) == 0);
	return KTASK_RETURN_SUCCESS;
}

static void undo_inner(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t at = (uintptr_t)start; at < (uintptr_t)end; at++)
		CHECK(atomic_fetch_sub(&done[at], 1) == 1);
}

static int outer(void *start, void *end, void *arg)
{
	size_t size = ((uintptr_t)end - (uintptr_t)start) * WIDTH;
	DEFINE_KTASK_CTL(ctl, inner, arg, 1);

	ktask_ctl_set_undo_func(&ctl, undo_inner);
	return ktask_run(AT((uintptr_t)start * WIDTH), size, &ctl);
}

static void undo_outer(void *start, void *end, void *arg)
{
	undo_inner(AT((uintptr_t)start * WIDTH), AT((uintptr_t)end * WIDTH), arg);
}

static void failure_below(void)
{
	DEFINE_KTASK_CTL(ctl, outer, NULL, 1);

	ktask_ctl_set_undo_func(&ctl, undo_outer);
	for (int i = 0; i < rounds(300, 10); i++) {
		CHECK(ktask_run(AT(0), WIDTH, &ctl) == FAILS_AT);
		for (int j = 0; j < WIDTH * WIDTH; j++)
			CHECK(done[j] == 0);
	}
}

static void all(void)
{
	const char *helpers = getenv("KTASK_HELPERS");

	helpers_allowed = helpers ? atoi(helpers) : (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
	everything_once();
	failure_below();
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
