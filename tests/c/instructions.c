/* SPDX-License-Identifier: BSD-3-Clause */
/* What instructions.sh counts the instructions of. Alone, it checks that these do what they are said to. */
#include "check.h"

#include "../../csrc/chunk.h"
#include "../../csrc/clock.h"

enum { CLAIMS = 1000 };

static int nothing(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	return KTASK_RETURN_SUCCESS;
}

static const char kind;
static struct ktask_event event;
static struct ktask_trace trace = { .kt_events = &event, .kt_capacity = 1 };
static struct cursor cursor;
static struct cut cut = { .cursors = &cursor };

/* A run of two units that do nothing, and are known to. */
__attribute__((noinline)) static int empty_run(struct ktask_ctl *ctl)
{
	return ktask_run(AT(0), 2, ctl);
}

/* The same with a trace, which takes the way that longer runs take. */
__attribute__((noinline)) static int traced_run(struct ktask_ctl *ctl)
{
	return ktask_run(AT(0), 2, ctl);
}

/* Neither is counted. */
static int untold(struct ktask_ctl *ctl)
{
	return ktask_run(AT(0), 2, ctl);
}

/* All that a thread does between two chunks, but for reading the clock. */
__attribute__((noinline)) static int claims(void)
{
	struct pace pace = { .ns_per_unit = 10000 };
	struct chunk chunk;
	int n = 0;

	while (cut_claim(&cut, &cursor, pace_next(&pace, &cut, &cursor, 2, 1000, PACE_TARGET_NS, 1000), &chunk)) {
		pace_update(&pace, chunk.to - chunk.from, 10000);
		n++;
	}
	return n;
}

/* This thread's; the emulator is too slow for it to go by itself. */
static void set_watch(void)
{
#if defined(__x86_64__)
	watch = (struct watch){ .ticks = clock_ticks(), .ns = clock_ns(), .rate = UINT64_C(1) << 31 };
#endif
}

int main(void)
{
	const struct cost cheap = { .ns_per_unit = 1 }, unknown = { 0 };
	struct ktask_node node = { AT(0), CLAIMS, NUMA_NO_NODE };
	DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);

	CHECK(ktask_init() == 0);
	ktask_ctl_set_identity(&ctl, &kind);
	/* The first time, the linker has things to do, and the emulator. */
	for (int i = 0; i < 2; i++) {
		ktask_ctl_set_trace(&ctl, NULL);
		cost_remember(cost_name(&kind, true), cheap, unknown);
		set_watch();
		CHECK((i ? empty_run : untold)(&ctl) == KTASK_RETURN_SUCCESS);
		ktask_ctl_set_trace(&ctl, &trace);
		cost_remember(cost_name(&kind, true), cheap, unknown);
		set_watch();
		CHECK((i ? traced_run : untold)(&ctl) == KTASK_RETURN_SUCCESS && trace.kt_count == 1);
		trace.kt_count = 0;
	}
	CHECK(cut_init(&cut, &node, 1, &ctl) == 0);
	CHECK(claims() == CLAIMS);
	return 0;
}
