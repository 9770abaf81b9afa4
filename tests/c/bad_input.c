/* SPDX-License-Identifier: BSD-3-Clause */
/* What makes no sense is refused with the documented error, before any work has begun. */
#include "check.h"
#include "ktask.h"

#include <errno.h>

static int nr_calls;

static int count(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	nr_calls++;
	return KTASK_RETURN_SUCCESS;
}

static void undo(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	nr_calls++;
}

static int poll(size_t done, size_t total, void *arg)
{
	(void)done, (void)total, (void)arg;
	nr_calls++;
	return 1;
}

static void *step(void *position, size_t size)
{
	nr_calls++;
	return AT((uintptr_t)position + size);
}

static struct ktask_ctl good(void)
{
	DEFINE_KTASK_CTL(ctl, count, NULL, 1);

	ktask_ctl_set_undo_func(&ctl, undo);
	ktask_ctl_set_poll_func(&ctl, poll, NULL);
	return ctl;
}

static void bad_ctl(void)
{
	struct ktask_ctl ctl = good(), zero = { 0 };

	CHECK(ktask_run(AT(1), 10, NULL) == -EINVAL);
	CHECK(ktask_run(AT(1), 0, NULL) == -EINVAL);
	CHECK(ktask_run(AT(1), 10, &zero) == -EINVAL);

	ctl.kc_thread_func = NULL;
	CHECK(ktask_run(AT(1), 10, &ctl) == -EINVAL);
	ctl = good();
	ctl.kc_min_chunk_size = 0;
	CHECK(ktask_run(AT(1), 10, &ctl) == -EINVAL);
	ctl = good();
	ctl.kc_struct_size = 0;
	CHECK(ktask_run(AT(1), 10, &ctl) == -EINVAL);
	ctl.kc_struct_size = offsetof(struct ktask_ctl, kc_iter_func) - 1;
	CHECK(ktask_run(AT(1), 10, &ctl) == -EINVAL);
}

static void bad_nodes(void)
{
	static struct ktask_node many[KTASK_MAX_NODES + 1];
	struct ktask_ctl ctl = good();
	static const int bad[] = { -2, 1023, 1024, 1 << 16, 0x7fffffff, -0x7fffffff - 1 };

	for (size_t i = 0; i <= KTASK_MAX_NODES; i++)
		many[i] = (struct ktask_node){ AT(1), 1, NUMA_NO_NODE };
	CHECK(ktask_run_numa(NULL, 1, &ctl) == -EINVAL);
	CHECK(ktask_run_numa(many, KTASK_MAX_NODES + 1, &ctl) == -E2BIG);
	CHECK(ktask_run_numa(many, SIZE_MAX, &ctl) == -E2BIG);

	/* The last of three, and also where there is nothing to do on it. */
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		many[2].kn_nid = bad[i];
		many[2].kn_task_size = i % 2;
		CHECK(ktask_run_numa(many, 3, &ctl) == -EINVAL);
	}
}

static void too_large(void)
{
	struct ktask_ctl ctl = good();
	struct ktask_node nodes[3] = { { AT(0), KTASK_MAX_SIZE / 2, NUMA_NO_NODE },
				       { AT(0), KTASK_MAX_SIZE / 2, NUMA_NO_NODE },
				       { AT(0), 2, NUMA_NO_NODE } };

	CHECK(ktask_run(AT(0), KTASK_MAX_SIZE + 1, &ctl) == -EOVERFLOW);
	CHECK(ktask_run(AT(0), SIZE_MAX, &ctl) == -EOVERFLOW);
	CHECK(ktask_run(AT(UINTPTR_MAX - 9), 10, &ctl) == -EOVERFLOW);
	CHECK(ktask_run_numa(nodes, 3, &ctl) == -EOVERFLOW);
	nodes[1].kn_task_size = SIZE_MAX; /* the sum wraps around to something small */
	CHECK(ktask_run_numa(nodes, 3, &ctl) == -EOVERFLOW);
	ktask_ctl_set_iter_func(&ctl, step);
	CHECK(ktask_run(AT(0), KTASK_MAX_SIZE + 1, &ctl) == -EOVERFLOW);
	ktask_ctl_set_iter_func(&ctl, ktask_iter_range);
	ktask_ctl_set_align(&ctl, KTASK_MAX_SIZE + 1);
	CHECK(ktask_run(AT(0), 10, &ctl) == -EOVERFLOW);
}

static void last_that_fits(void)
{
	struct ktask_ctl ctl = good();

	ctl.kc_poll_func = NULL;
	CHECK(ktask_run(AT(UINTPTR_MAX - 10), 10, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(nr_calls > 0);
}

static void all(void)
{
	bad_ctl();
	bad_nodes();
	too_large();
	CHECK(nr_calls == 0);
	use_helpers(0); /* the calls are counted without atomics */
	last_that_fits();
}

int main(void)
{
	in_child(all);
	setenv("KTASK", "off", 1);
	in_child(all);
	return 0;
}
