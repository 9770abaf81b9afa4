/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread's watch goes as CLOCK_MONOTONIC does, never backwards, whatever the processor's count does, and seldom asks. */
#define _GNU_SOURCE
#include "check.h"

#include "../../csrc/clock.h"

#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By so much a watch may be wrong, and by so much when the count has just jumped. */
enum { TOLERANCE_NS = 20000, JUMP_NS = 2000000 };

enum { READINGS = 100000 };

static unsigned asked;
static time_t set_back; /* in s */

/* The library's, too. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
	int error = (int)syscall(SYS_clock_gettime, clock, t);

	asked++;
	t->tv_sec -= set_back;
	return error;
}

static void check_right(uint64_t tolerance_ns)
{
	uint64_t before = clock_of(CLOCK_MONOTONIC), now = clock_ns(), after = clock_of(CLOCK_MONOTONIC);

	CHECK(now + tolerance_ns >= before && now <= after + tolerance_ns);
}

/* For as long as two watches last, and longer. */
static void check_goes(void)
{
	uint64_t last = clock_ns(), end = clock_of(CLOCK_MONOTONIC) + 5000000;

	for (int i = 0; i % 64 != 0 || clock_of(CLOCK_MONOTONIC) < end; i++) {
		uint64_t now = clock_ns();

		CHECK(now >= last);
		last = now;
	}
	check_right(TOLERANCE_NS);
}

/* As in a time namespace that the process has moved to: a watch does not wait until it is as late again. */
static void check_system_goes_back(void)
{
	set_back = 10;
	clock_ns();
	for (uint64_t end = clock_of(CLOCK_MONOTONIC) + 1000000; clock_of(CLOCK_MONOTONIC) < end;)
		clock_ns();
	check_goes();
}

#if defined(__x86_64__)

/* Where it takes very long to read the count, as in an emulator, there is nothing to be won. */
static bool is_quick(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 1000; i++) {
		uint64_t before = clock_ticks(), took;

		clock_of(CLOCK_MONOTONIC);
		took = clock_ticks() - before;
		least = took < least ? took : least;
	}
	return least < 300;
}

static void check_count_jumps(void)
{
	const uint64_t jump = UINT64_C(1) << 40;

	watch.ticks -= jump; /* as if the count had gone on by that much, */
	check_right(JUMP_NS);
	watch.ticks += jump; /* gone back, */
	check_right(JUMP_NS);
	check_goes();
	watch.rate *= 3; /* become quicker, */
	watch.ticks -= WATCH_TICKS;
	check_goes();
	watch.rate /= 3; /* or slower */
	check_goes();
}

static void check_seldom_asks(void)
{
	unsigned before = asked;

	for (int i = 0; i < READINGS; i++)
		clock_ns();
	CHECK(asked - before < READINGS / 10);
}

#else

static bool is_quick(void)
{
	return false;
}

static void check_count_jumps(void)
{
}

static void check_seldom_asks(void)
{
}

#endif

int main(void)
{
	check_right(0);
	check_goes();
	check_count_jumps();
	if (is_quick())
		check_seldom_asks();
	check_system_goes_back();
	CHECK(clock_since(5, 7) == 2 && clock_since(7, 5) == 0);
	return 0;
}
